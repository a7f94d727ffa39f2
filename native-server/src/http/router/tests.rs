//! Two APIs beside each other: each reads keys and writes errors by its own conventions.

use clap::Parser;
use http_body_util::BodyExt;
use nearfield_engine::SystemClock;
use tempfile::TempDir;
use tower::Service;

use super::super::conventions::{Conventions, KeyHeader};
use super::super::{answer, gate::Origin};
use super::*;
use crate::catalog::Catalog;
use crate::config::ServerConfig;

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: ServerConfig,
}

async fn fine(_: Call) -> Result<Response<Body>> {
    Ok(answer::typed(StatusCode::OK, "text/plain", "fine"))
}

static APIS: [Api; 2] = [
    Api {
        conventions: &Conventions {
            key_headers: &[KeyHeader { name: "authorization", prefix: "Bearer " }],
            challenge: "Bearer",
            error_body: |code, message, _| format!("1 {code}: {message}"),
            document_path: "/1.json",
        },
        tables: &[&[Route::once(Method::GET, "/1", QUERY, "one", handler!(fine))]],
    },
    Api {
        conventions: &Conventions {
            key_headers: &[KeyHeader { name: "api-key", prefix: "" }],
            challenge: "Key",
            error_body: |code, message, _| format!("2 {code}: {message}"),
            document_path: "/2.json",
        },
        tables: &[&[Route::once(Method::GET, "/2", QUERY, "two", handler!(fine))]],
    },
];

const QUERY: Access = Access::Role(Role::Query);

#[tokio::test]
async fn each_api_reads_keys_and_writes_errors_in_its_own_way() {
    let dir = TempDir::new().expect("a directory");
    let config = Flags::parse_from(["serve"]).config;
    let catalog = Catalog::open(dir.path(), Arc::new(SystemClock)).expect("an empty directory");
    let key = catalog.create_key("a", Role::Query.into(), None).expect("a key").token;
    let server = Server::new(config, catalog, Arc::new(SystemClock), "").expect("no demo page");
    let mut router = router(&server, &APIS);
    let (plain, bearer) = (key.reveal(), format!("Bearer {}", key.reveal()));
    let (first, second) = (("authorization", bearer.as_str()), ("api-key", plain));
    let cases = [
        ("GET", "/1", first, 200, "fine"),
        ("GET", "/2", second, 200, "fine"),
        ("GET", "/1", second, 401, "1 missing_authorization: expected a header authorization: B"),
        ("GET", "/2", first, 401, "2 missing_authorization: expected a header api-key: nfk_…"),
        ("GET", "/2", ("api-key", "x"), 401, "2 invalid_authorization: the header api-key: ex"),
        ("PUT", "/1", first, 405, "1 method_not_allowed: /1 has no method PUT; see /1.json"),
        ("PUT", "/2", second, 405, "2 method_not_allowed: /2 has no method PUT; see /2.json"),
        ("GET", "/3", first, 404, "1 no_such_route: there is no route GET /3; see /1.json"),
    ];
    for (method, path, (name, value), status, expected) in cases {
        let request = Request::builder().method(method).uri(path).header("host", "localhost");
        let request = request.header(name, value).extension(Origin::Network([10, 0, 0, 1].into()));
        let request = request.body(Body::empty()).expect("a request");
        let (head, body) = router.call(request).await.expect("an answer").into_parts();
        let body = body.collect().await.expect("a body").to_bytes();
        let body = String::from_utf8_lossy(&body);
        let case = format!("{method} {path} {name}: {} {body}", head.status);
        assert!(head.status == status && body.starts_with(expected), "{case}");
        let challenge = head.headers.get("www-authenticate").map(|value| value.as_bytes());
        let own: &[u8] = if path == "/2" { b"Key" } else { b"Bearer" };
        assert_eq!(challenge, (status == 401).then_some(own), "{case}");
    }
}
