//! Every route, walked from the OpenAPI document: without a key, with each role, with a revoked key.

use std::io::Write;

use nearfield_server::catalog::Role;
use serde_json::Value;

use crate::running::{Answer, Running};

/// One operation of the document.
struct Operation {
    method: String,
    path: String,
    /// The role it needs; none for public ones.
    role: Option<Role>,
    health: bool,
}

fn operations() -> Vec<Operation> {
    let document: Value = serde_json::from_str(nearfield_server::api::document()).unwrap();
    let mut all = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let says = operation["description"].as_str().unwrap_or_default();
            let role = Role::ALL.into_iter().find(|role| says.contains(role.name()));
            let path = path
                .replace("{name}", "nowhere")
                .replace("{id}", "7")
                .replace("{file}", "page.css");
            let health = path.contains("health") || path.contains("z") || path.contains("metrics");
            all.push(Operation { method: method.to_ascii_uppercase(), path, role, health });
        }
    }
    assert!(all.len() > 30);
    all
}

#[test]
fn without_a_key_only_the_public_routes_answer() {
    let running = Running::start();
    for Operation { method, path, role, .. } in operations() {
        let answer = running.send(&method, &path, &[], b"");
        if path.starts_with("/demo") {
            assert_eq!(answer.refusal(), (404, "no_demo".to_owned()), "{method} {path}");
            continue;
        }
        if role.is_none() {
            assert_eq!(answer.status, 200, "{method} {path}");
            continue;
        }
        let expected = (401, "missing_authorization".to_owned());
        assert_eq!(answer.refusal(), expected, "{method} {path}");
        assert!(answer.head.contains("x-request-id: req_"), "{}", answer.head);
    }
    let public = operations().into_iter().filter(|operation| operation.role.is_none());
    let mut public: Vec<String> = public.map(|operation| operation.path).collect();
    public.sort();
    let listed = [
        "/demo",
        "/demo/",
        "/demo/nearfield/page.css",
        "/demo/page.css",
        "/healthz",
        "/livez",
        "/metrics",
        "/readyz",
        "/ui",
        "/v2/health/live",
        "/v2/health/ready",
        "/v2/metrics",
        "/v2/openapi.json",
    ];
    assert_eq!(public, listed);
    let unknown = running.send("GET", "/v2/nowhere", &[], b"");
    assert_eq!(unknown.refusal().0, 401, "without a key a client cannot find out what exists");
}

#[test]
fn health_and_metrics_are_closed_on_request() {
    let running = Running::with(&["--dim", "3", "--public-health-metrics", "false"]);
    let query = running.key(Role::Query);
    for Operation { method, path, .. } in operations().into_iter().filter(|found| found.health) {
        assert_eq!(running.send(&method, &path, &[], b"").status, 401, "{path}");
        let expected = if path.contains("metrics") { 403 } else { 200 };
        assert_eq!(running.ask(&query, &method, &path, "").status, expected, "{path}");
        assert_eq!(running.ask(&running.admin, &method, &path, "").status, 200, "{path}");
    }
}

#[test]
fn each_role_opens_its_routes_and_no_others() {
    let running = Running::start();
    for role in Role::ALL {
        let key = running.key(role);
        for Operation { method, path, role: needed, .. } in operations() {
            let Some(needed) = needed else { continue };
            let answer = running.ask(&key, &method, &path, "");
            if role == Role::Admin || role == needed {
                assert!(![401, 403, 405].contains(&answer.status), "{method} {path}");
                assert!(!answer.body.starts_with(b"{\"code\":\"no_such_route\""), "{path}");
            } else {
                let expected = (403, "forbidden".to_owned());
                assert_eq!(answer.refusal(), expected, "{method} {path} with {role:?}");
            }
        }
    }
}

#[test]
fn a_revoked_key_and_a_wrong_secret_open_nothing() {
    let running = Running::start();
    let key = running.key(Role::Admin);
    assert_eq!(running.ask(&key, "POST", "/v2/count", "").status, 200);
    running.catalog.revoke_key(key.split('.').next().unwrap()).unwrap();
    let wrong = format!("{}{}", &running.admin[..running.admin.len() - 1], "!");
    let zeros = format!("{}.{}", &running.admin[..20], "0".repeat(64));
    for Operation { method, path, role, .. } in operations() {
        if role.is_none() {
            continue;
        }
        let answer = running.ask(&key, &method, &path, "");
        assert_eq!(answer.refusal(), (403, "revoked".to_owned()), "{method} {path}");
        let answer = running.ask(&wrong, &method, &path, "");
        assert_eq!(answer.refusal(), (401, "invalid_authorization".to_owned()), "{path}");
        let answer = running.ask(&zeros, &method, &path, "");
        assert_eq!(answer.refusal(), (401, "unauthorized".to_owned()), "{path}");
    }
}

#[test]
fn a_gibibyte_is_refused_before_it_is_sent() {
    let running = Running::start();
    for (authorization, status) in [(String::new(), 401), (running.admin.clone(), 413)] {
        let mut stream = running.connect();
        let head = format!(
            "POST /v2/vectors/batch HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n{}\r\n",
            1u64 << 30,
            if authorization.is_empty() {
                String::new()
            } else {
                format!("authorization: Bearer {authorization}\r\n")
            },
        );
        stream.write_all(head.as_bytes()).unwrap();
        let answer = Answer::read(stream);
        assert_eq!(answer.status, status);
        assert!(answer.head.contains("connection: close"), "{}", answer.head);
    }
}

#[test]
fn the_table_decides_methods_and_paths() {
    let running = Running::start();
    assert_eq!(running.get("/v2/query").refusal(), (405, "method_not_allowed".to_owned()));
    assert_eq!(running.get("/v2/nowhere").refusal(), (404, "no_such_route".to_owned()));
    assert_eq!(running.get("/").refusal(), (404, "no_such_route".to_owned()));
}

#[test]
fn a_request_id_is_echoed_if_it_is_visible_ascii() {
    let running = Running::start();
    let echoed = |id: &str| running.send("GET", "/livez", &[("x-request-id", id)], b"").head;
    assert!(echoed("mine-1").contains("x-request-id: mine-1"));
    assert!(echoed("two words").contains("x-request-id: req_"));
    assert!(echoed(&"x".repeat(129)).contains("x-request-id: req_"));
}

#[test]
fn who_did_what_is_written_down_without_secrets() {
    let running = Running::start();
    running.post("/v2/collections/nowhere/count", "");
    running.send("POST", "/v2/count", &[], b"");
    running.get("/livez");
    let rows = running.catalog.audit_tail(10).unwrap();
    let written: Vec<_> = rows.iter().map(|row| (row.action.as_str(), row.status)).collect();
    assert_eq!(written, [("key_create", 201), ("count", 404), ("count", 401)]);
    let [made, nowhere, without_key] = &rows[..] else { panic!("{rows:?}") };
    assert_eq!(nowhere.collection.as_deref(), Some("nowhere"));
    let shown = format!("{rows:?}");
    assert!(made.key_id.is_some() && made.key_id == nowhere.key_id && without_key.key_id.is_none());
    let query = running.key(Role::Query);
    running.ask(&query, "POST", "/v2/admin/verify", "");
    let last = running.catalog.audit_tail(1).unwrap().remove(0);
    assert_eq!((last.status, last.action.as_str()), (403, "verify"));
    assert!(last.key_id.is_some(), "whose key is good is named, also when it lacks the role");
    assert!(!shown.contains(running.admin.split('.').nth(1).unwrap()), "{shown}");
}
