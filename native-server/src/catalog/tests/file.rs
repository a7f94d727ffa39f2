//! The file itself: its mode, what happens when it is damaged or full, and that vectors do not depend on it.

use std::fs;
use std::process::Command;

use super::*;

/// Bytes of every file of the catalog, by name.
fn files(place: &Place) -> Vec<(String, Vec<u8>)> {
    let entries = fs::read_dir(place.path()).expect("listed");
    let named = entries.map(|entry| {
        let path = entry.expect("listed").path();
        (path.display().to_string(), fs::read(&path).expect("read"))
    });
    named.collect()
}

#[test]
fn no_file_holds_a_secret() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    drop(catalog);
    let (_, hex) = key.token.reveal().split_once('.').expect("a dot");
    let (_, secret) = Token::parse(key.token.reveal()).expect("our own");
    let found = files(&place);
    assert_eq!(found.len(), 3, "the catalog, the pepper and the reserve");
    for (name, bytes) in found {
        let holds = |part: &[u8]| bytes.windows(part.len()).any(|window| window == part);
        assert!(!holds(hex.as_bytes()) && !holds(secret.bytes()), "{name}");
        assert_eq!(name.ends_with(CATALOG), holds(key.info.id.to_string().as_bytes()), "{name}");
    }
}

#[cfg(unix)]
#[test]
fn only_the_owner_may_read_the_files() {
    use std::os::unix::fs::PermissionsExt;

    let place = Place::new();
    let mode = |path: &Path| fs::metadata(path).expect("there").permissions().mode() & 0o777;
    drop(place.open());
    let path = place.path().join(CATALOG);
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).expect("loosened");
    let catalog = place.open();
    query_key(&catalog);
    let found: Vec<_> = fs::read_dir(place.path()).expect("listed").collect();
    assert_eq!(found.len(), 5, "catalog, -wal, -shm, pepper, reserve");
    for entry in found {
        let path = entry.expect("listed").path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn many_may_open_a_new_catalog_at_once() {
    for _ in 0..10 {
        let place = Place::new();
        let (path, clock) = (place.path(), &place.clock);
        let keys: Vec<NewKey> = std::thread::scope(|scope| {
            let open = || query_key(&open_at(path, clock, None, 10).expect("opens"));
            let threads: Vec<_> = (0..8).map(|_| scope.spawn(open)).collect();
            threads.into_iter().map(|thread| thread.join().expect("no panic")).collect()
        });
        let catalog = place.open();
        for key in keys {
            assert!(catalog.authenticate(key.token.reveal()).is_ok());
        }
    }
}

#[test]
fn a_file_that_is_no_catalog_is_named_with_what_to_do() {
    let place = Place::new();
    fs::write(place.path().join(CATALOG), "not a database\n".repeat(100)).expect("written");
    let error = place.try_open(None, 10).expect_err("no catalog");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    for part in [CATALOG, "no vectors", "move it", "create new keys"] {
        assert!(error.message().contains(part), "{part}: {error}");
    }
}

#[test]
fn damaged_pages_of_keys_are_found_when_opening() {
    let place = Place::new();
    let catalog = place.open();
    (0..200).for_each(|_| drop(query_key(&catalog)));
    drop(catalog);
    let path = place.path().join(CATALOG);
    let mut bytes = fs::read(&path).expect("read");
    bytes[4096..].fill(0x5a);
    fs::write(&path, bytes).expect("written");
    let error = place.try_open(None, 10).expect_err("damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert!(error.message().contains(CATALOG), "{error}");
}

#[test]
fn keys_in_memory_decide_while_the_file_cannot_be_read() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    let shell = place.shell();
    shell.execute("ALTER TABLE facts RENAME TO hidden", []).expect("renamed");
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    assert_eq!(catalog.authenticate("nonsense"), Err(Refusal::Malformed));
    assert_eq!(catalog.stale_decisions_total(), 1);
    shell.execute("ALTER TABLE hidden RENAME TO facts", []).expect("renamed");
    shell.execute("UPDATE keys SET revoked_ms = 1", []).expect("revoked");
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Revoked));
}

#[test]
fn changes_of_this_process_are_known_while_the_file_cannot_be_read() {
    let place = Place::new();
    let catalog = place.open();
    place.shell().execute("DELETE FROM facts WHERE name = 'key_generation'", []).expect("deleted");
    let key = query_key(&catalog);
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    catalog.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Revoked));
    assert_eq!(catalog.stale_decisions_total(), 2);
}

#[test]
fn while_another_process_holds_the_catalog_keys_open_and_changes_say_locked() {
    let place = Place::new();
    let catalog = place.open();
    let key = query_key(&catalog);
    let shell = place.shell();
    shell.execute_batch("BEGIN EXCLUSIVE").expect("locked");
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    let error = catalog.create_key("late", Role::Query.into(), None).expect_err("locked");
    assert_eq!(error.kind(), ErrorKind::Locked);
    assert!(error.message().contains("another process"), "{error}");
    // A reader opens all the same.
    assert_eq!(host::lock(&place.open().main).ledger.list_keys().expect("listed").len(), 1);
}

#[test]
fn a_catalog_of_a_later_version_is_left_alone() {
    let place = Place::new();
    drop(place.open());
    place.shell().execute("UPDATE schema_version SET version = 99", []).expect("raised");
    let error = place.try_open(None, 10).expect_err("too new");
    assert_eq!(error.kind(), ErrorKind::Version);
    assert!(error.message().contains("99"), "{error}");
}

#[test]
fn the_pepper_of_the_file_is_the_same_in_the_environment() {
    let place = Place::new();
    let key = query_key(&place.open());
    let text = fs::read_to_string(place.path().join("pepper")).expect("there");
    fs::remove_file(place.path().join("pepper")).expect("removed");
    let catalog = place.try_open(Some(&text), 10).expect("the same pepper");
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
}

#[test]
fn a_lost_or_another_pepper_is_refused_while_there_are_keys() {
    let place = Place::new();
    let id = query_key(&place.open()).info.id;
    let error = place.try_open(Some("quite another pepper"), 10).expect_err("another");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    fs::remove_file(place.path().join("pepper")).expect("removed");
    let error = place.try_open(None, 10).expect_err("lost");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(error.message().contains(PEPPER_VARIABLE), "{error}");
    assert!(!place.path().join("pepper").exists());
    assert!(!error.message().contains(&id.to_string()));
}

#[test]
fn the_pepper_may_change_while_there_are_no_keys() {
    let place = Place::new();
    drop(place.open());
    let catalog = place.try_open(Some("quite another pepper"), 10).expect("no keys yet");
    let key = query_key(&catalog);
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
}

#[test]
fn a_pepper_that_was_given_is_not_replaced_by_a_file() {
    let place = Place::new();
    let given = Some("quite another pepper");
    let server = place.try_open(given, 10).expect("opens");
    let error = place.try_open(None, 10).expect_err("keys made here would open nothing there");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert!(!place.path().join("pepper").exists());
    fs::write(place.path().join("pepper"), "left by an earlier catalog").expect("written");
    let error = place.try_open(None, 10).expect_err("the pepper was not given");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    let key = query_key(&place.try_open(given, 10).expect("opens"));
    assert!(server.authenticate(key.token.reveal()).is_ok());
}

#[test]
fn without_the_pepper_keys_are_listed_and_revoked_all_the_same() {
    let place = Place::new();
    let server = place.try_open(Some("quite another pepper"), 10).expect("opens");
    let key = query_key(&server);
    let clock = Arc::clone(&place.clock) as Arc<dyn Clock>;
    let mut ledger = Ledger::open(place.path(), clock).expect("opens");
    assert_eq!(ledger.list_keys().expect("listed"), std::slice::from_ref(&key.info));
    ledger.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(server.authenticate(key.token.reveal()), Err(Refusal::Revoked));
}

#[test]
fn a_pepper_that_can_be_guessed_is_refused_without_showing_it() {
    let error = Pepper::new("  salt-and-more  ").expect_err("13 bytes");
    assert!(error.message().contains("16") && !error.message().contains("salt"), "{error}");
}

/// A file system of 1 MiB in memory that goes away when dropped.
struct Mount(TempDir);

impl Mount {
    fn new() -> Option<Mount> {
        let dir = TempDir::new().expect("a directory");
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=1m", "nearfield-test"]).arg(dir.path());
        let done = mount.output().is_ok_and(|output| output.status.success());
        done.then_some(Mount(dir))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

#[test]
fn on_a_full_disk_keys_open_jobs_run_and_changes_say_so_until_there_is_space() {
    let Some(mount) = Mount::new() else {
        eprintln!("no file system can be mounted here");
        return;
    };
    let clock = Arc::new(ManualClock::new(NOW_MS));
    let catalog = open_at(mount.0.path(), &clock, None, 10_000).expect("opens");
    let (key, other) = (query_key(&catalog), query_key(&catalog));
    let ballast = mount.0.path().join("ballast");
    assert!(fs::write(&ballast, vec![1; 2 << 20]).is_err(), "the disk is full");

    let mut made = (0..1_000).map(|_| catalog.create_key("more", Role::Query.into(), None));
    let error = made.find_map(std::result::Result::err).expect("no space for a thousand");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(catalog.authenticate(key.token.reveal()).is_ok());
    let error = catalog.revoke_key(&other.info.id.to_string()).expect_err("no space");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(catalog.authenticate(other.token.reveal()).is_ok(), "not revoked if not said so");
    let job = catalog.begin_job(JobKind::Checkpoint, None);
    (0..5_000).for_each(|_| catalog.audit(audit::row("query")));
    catalog.audit_tail(1).expect("read");
    assert!(catalog.audit_failures_total() > 0);

    fs::remove_file(&ballast).expect("removed");
    catalog.revoke_key(&other.info.id.to_string()).expect("revoked");
    assert_eq!(catalog.authenticate(other.token.reveal()), Err(Refusal::Revoked));
    catalog.finish_job(job, JobState::Completed, serde_json::json!({}));
    catalog.audit(audit::row("after"));
    let last = catalog.audit_tail(2).expect("read");
    assert_eq!((last[0].action.as_str(), last[1].action.as_str()), ("audit_lost", "after"));
    let again = open_at(mount.0.path(), &clock, None, 10_000).expect("opens");
    assert_eq!(again.job(job).expect("read").expect("written").state, JobState::Completed);
}
