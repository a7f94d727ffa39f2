//! Keys from the command line, beside a catalog that is open in this process as a server has it.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::Path;
use std::process::{Command, Output};
use std::sync::Arc;

use nearfield_engine::SystemClock;
use nearfield_server::catalog::{AuditRow, Catalog, Refusal, Role};
use serde_json::Value;
use tempfile::TempDir;

/// Code, standard output, standard error of `nearfield` with arguments separated by spaces.
fn run(dir: &Path, arguments: &str) -> (i32, String, String) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearfield"));
    command.args(arguments.split(' ')).current_dir(dir);
    command.env_remove("NEARFIELD_API_PEPPER").env_remove("RUST_LOG");
    let Output { status, stdout, stderr } = command.output().unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    (status.code().unwrap_or(-1), text(stdout), text(stderr))
}

#[track_caller]
fn run_well(dir: &Path, arguments: &str) -> String {
    let (code, out, err) = run(dir, arguments);
    assert_eq!((code, err.as_str()), (0, ""), "{arguments}\n{out}");
    out
}

fn server(dir: &Path) -> Arc<Catalog> {
    Catalog::open(&dir.join("data"), Arc::new(SystemClock)).unwrap()
}

fn word_after(text: &str, label: &str) -> String {
    let line = text.lines().find_map(|line| line.strip_prefix(label)).expect("the line");
    line.trim().to_owned()
}

#[test]
fn a_key_made_before_the_server_starts_opens_it() {
    let place = TempDir::new().unwrap();
    let out =
        run_well(place.path(), "key-create --data-dir ./data --name prod-query --roles query");
    assert!(out.contains("shown this once"), "{out}");
    let (id, token) = (word_after(&out, "key id"), word_after(&out, "token"));
    let identity = server(place.path()).authenticate(&token).unwrap();
    assert_eq!(identity.key_id.to_string(), id);
    assert!(identity.allows(Role::Query) && !identity.allows(Role::Ingest));
}

#[test]
fn keys_made_and_revoked_beside_a_running_server_count_at_once() {
    let place = TempDir::new().unwrap();
    let server = server(place.path());
    let out = run_well(
        place.path(),
        "key-create --data-dir data --name both --roles query,ingest --expires-days 2 --json",
    );
    let made: Value = serde_json::from_str(&out).unwrap();
    let (id, token) = (made["key_id"].as_str().unwrap(), made["token"].as_str().unwrap());
    assert!(server.authenticate(token).unwrap().allows(Role::Ingest));

    let said = run_well(place.path(), &format!("key-revoke --data-dir data --key-id {id}"));
    assert!(said.contains(id) && said.contains("revoked"), "{said}");
    assert_eq!(server.authenticate(token), Err(Refusal::Revoked));
}

#[test]
fn the_list_shows_every_key_and_no_token() {
    let place = TempDir::new().unwrap();
    let server = server(place.path());
    assert!(run_well(place.path(), "key-list --data-dir data").contains("no keys"));
    let one = server.create_key("one", Role::Query.into(), None).unwrap();
    let two = server.create_key("two", Role::Admin.into(), None).unwrap();
    server.revoke_key(&one.info.id.to_string()).unwrap();

    let text = run_well(place.path(), "key-list --data-dir data");
    let lines: Vec<&str> = text.lines().collect();
    assert_eq!(lines.len(), 3, "{text}");
    let line_of = |id: String| lines.iter().copied().find(|line| line.starts_with(&id)).unwrap();
    assert!(line_of(one.info.id.to_string()).contains("revoked"));
    assert!(line_of(two.info.id.to_string()).contains("active"));

    let json = run_well(place.path(), "key-list --data-dir data --json");
    let listed: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(listed["keys"][1]["roles"], serde_json::json!(["admin"]));
    assert_eq!(listed["keys"].as_array().unwrap().len(), 2);
    for secret in [&one, &two].map(|key| key.token.reveal().split_once('.').unwrap().1) {
        assert!(!text.contains(secret) && !json.contains(secret));
    }
}

#[test]
fn what_is_wrong_ends_with_the_documented_code_and_a_helpful_word() {
    let place = TempDir::new().unwrap();
    let server = server(place.path());
    let key = server.create_key("one", Role::Query.into(), None).unwrap();
    let typo = &key.info.id.to_string()[..19];
    for (arguments, expected, word) in [
        ("key-create --data-dir data --name a --roles root", 2, "query, ingest, admin"),
        ("key-create --data-dir data --name a --roles query --expires-days 0", 2, "0"),
        (&format!("key-revoke --data-dir data --key-id {typo}"), 3, &key.info.id.to_string()),
        ("key-list --data-dir nowhere", 3, "nowhere"),
        ("key-revoke --data-dir nowhere --key-id nfk_0", 3, "nowhere"),
        ("audit --data-dir nowhere", 3, "nowhere"),
    ] {
        let (code, out, err) = run(place.path(), arguments);
        assert_eq!((code, out.as_str()), (expected, ""), "{arguments}: {err}");
        assert!(err.contains(word), "{arguments}: {err}");
    }
    assert!(!place.path().join("nowhere").exists());
    std::fs::create_dir(place.path().join("broken")).unwrap();
    std::fs::write(place.path().join("broken/catalog.sqlite3"), "no database at all").unwrap();
    let (code, _, err) = run(place.path(), "key-list --data-dir broken");
    assert_eq!(code, 5, "{err}");
}

#[test]
fn the_audit_command_shows_the_newest_rows_last() {
    let place = TempDir::new().unwrap();
    let server = server(place.path());
    for (status, request) in [(200, "req_1"), (403, "req_2"), (201, "req_3")] {
        let (key_id, collection, request_id) =
            (None, Some("po\u{1b}ints".to_owned()), request.to_owned());
        let (time_ms, action, latency_us) = (0, "query", 7);
        server.audit(AuditRow {
            address: None,
            time_ms,
            key_id,
            action,
            collection,
            status,
            latency_us,
            request_id,
        });
    }
    server.close();
    let text = run_well(place.path(), "audit --data-dir data --limit 2");
    let lines: Vec<&str> = text.lines().collect();
    assert!(lines.len() == 2 && lines[0].contains("403") && lines[1].contains("req_3"), "{text}");
    assert!(!text.contains('\u{1b}'));
    let json = run_well(place.path(), "audit --data-dir data --limit 1 --json");
    let row: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&row["status"], &row["time"]), (&201.into(), &"1970-01-01T00:00:00.000Z".into()));
}
