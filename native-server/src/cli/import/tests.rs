//! Imports into a small server that decodes streams as the real one does, over TCP and its socket.

use std::sync::{Arc, Mutex};

use clap::Parser;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Method, Request, Response};
use hyper_util::rt::TokioIo;
use nearfield_engine::{Database, Mode, Options, SystemClock};
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{PointId, Schema};
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};
use tokio::runtime::{Builder, Runtime};

use super::*;
use crate::cli::{Command, run};
use crate::rows::arrow::ArrowRows;

#[derive(Debug, Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

/// What the server received.
#[derive(Debug, Default)]
struct Received {
    /// Body of `POST /v2/collections`.
    created: Option<Value>,
    ids: Vec<PointId>,
    /// Batches after which ingest fails.
    fails_after: Option<usize>,
}

fn ingest(received: &mut Received, body: &[u8]) -> (u16, Value) {
    let schema = Schema::dense(2, Metric::L2, Encoding::F32).expect("good");
    let mut rows = ArrowRows::new(ColumnNames::default(), Some(schema), 64 << 20);
    let (mut rest, mut batches) = (body, 0);
    while let Some(batch) = rows.next(&mut rest, &mut |_| Ok(())).expect("a good stream") {
        if received.fails_after == Some(batches) {
            let details = json!({ "batches_written": batches });
            return (507, json!({"code": "storage_full", "message": "full", "details": details}));
        }
        batches += 1;
        received.ids.extend(batch.ids.expect("has ids"));
    }
    rows.finish().expect("its end");
    let count = received.ids.len();
    let data =
        json!({"rows": count, "batches": batches, "inserted": count, "replaced": 0, "lsn": 9});
    (201, json!({ "data": data }))
}

async fn answer(
    received: Arc<Mutex<Received>>,
    request: Request<Incoming>,
) -> hyper::Result<Response<Full<bytes::Bytes>>> {
    let (head, body) = request.into_parts();
    let body = body.collect().await?.to_bytes();
    let mut received = received.lock().expect("no panic");
    let (status, answer) = match (head.method, head.uri.path()) {
        (Method::GET, "/v2/collections/new") if received.created.is_none() => {
            (404, json!({"code": "not_found", "message": "no", "details": {}}))
        }
        (Method::GET, _) => {
            (200, json!({"data": {"dim": 2, "metric": "l2", "points": received.ids.len()}}))
        }
        (Method::POST, "/v2/collections") => {
            received.created = serde_json::from_slice(&body).ok();
            (201, json!({"data": {}}))
        }
        (Method::POST, "/v2/collections/new/ingest") => ingest(&mut received, &body),
        (method, path) => panic!("{method} {path}"),
    };
    let mut response = Response::new(Full::from(answer.to_string()));
    *response.status_mut() = status.try_into().expect("a status");
    Ok(response)
}

/// A server at an address and at the socket in a directory whose lock it holds.
struct Running {
    _runtime: Runtime,
    _database: Database,
    received: Arc<Mutex<Received>>,
    url: String,
    dir: TempDir,
}

impl Running {
    fn start(fails_after: Option<usize>) -> Running {
        let dir = TempDir::new().expect("a directory");
        let storage: Arc<dyn Storage> = Arc::new(open_directory(dir.path()).expect("opens"));
        let (options, clock) = (Options::default(), Arc::new(SystemClock));
        let database = Database::open(storage, Mode::Write, options, clock, 1, "a server");
        let received = Arc::new(Mutex::new(Received { fails_after, ..Received::default() }));
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_io().build();
        let runtime = runtime.expect("starts");
        let (tcp, unix) = runtime.block_on(async {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            (tcp, UnixListener::bind(dir.path().join("control.sock")).expect("a free name"))
        });
        let url = format!("http://{}", tcp.local_addr().expect("bound"));
        let copies = [Arc::clone(&received), Arc::clone(&received)];
        runtime.spawn(async move {
            let [tcp_received, unix_received] = copies;
            loop {
                tokio::select! {
                    Ok((stream, _)) = tcp.accept() => serve(TokioIo::new(stream), &tcp_received),
                    Ok((stream, _)) = unix.accept() => serve(TokioIo::new(stream), &unix_received),
                }
            }
        });
        let _database = database.expect("opens");
        Running { _runtime: runtime, _database, received, url, dir }
    }

    fn file(&self, rows: usize) -> PathBuf {
        let path = self.dir.path().join("rows.jsonl");
        let line = |row| format!("{{\"id\": {row}, \"vector\": [1, {row}]}}\n");
        std::fs::write(&path, (0..rows).map(line).collect::<String>()).expect("a file");
        path
    }
}

fn serve<S>(stream: S, received: &Arc<Mutex<Received>>)
where
    S: hyper::rt::Read + hyper::rt::Write + Unpin + Send + 'static,
{
    let received = Arc::clone(received);
    let service = service_fn(move |request| answer(Arc::clone(&received), request));
    tokio::spawn(hyper::server::conn::http1::Builder::new().serve_connection(stream, service));
}

fn import(arguments: &[&str]) -> std::result::Result<Value, String> {
    let words = ["nearfield", "import"].iter().chain(arguments);
    let line = Line::try_parse_from(words).map_err(|error| error.to_string())?;
    let mut out = Vec::new();
    match run(line.command, &mut out) {
        Ok(_) => Ok(serde_json::from_slice(&out).expect("--json")),
        Err(failure) => Err(failure.message().unwrap_or_default()),
    }
}

#[test]
fn rows_arrive_at_a_server_whose_collection_is_made() {
    let running = Running::start(None);
    let file = running.file(20_000);
    let file = file.to_str().expect("UTF-8");
    let server = ["--server", &running.url, "--collection", "new", "--metric", "l2", "--json"];
    let report = import(&[&[file][..], &server].concat()).expect("imports");
    assert_eq!((&report["rows"], &report["total"]), (&json!(20_000), &json!(20_000)));
    assert_eq!(report["index_s"], Value::Null);
    let received = running.received.lock().expect("no panic");
    assert_eq!(
        received.created,
        Some(json!({"name": "new", "dim": 2, "metric": "l2", "store": "f32"}))
    );
    assert!(received.ids.iter().cloned().eq((0..20_000).map(PointId::U64)));
}

#[test]
fn a_directory_that_a_server_has_open_is_reached_through_it() {
    let running = Running::start(None);
    let file = running.file(10);
    let dir = running.dir.path().to_str().expect("UTF-8");
    let report = import(&[dir, "new", file.to_str().expect("UTF-8"), "--json"]);
    assert_eq!(report.expect("imports")["rows"], json!(10));
    assert_eq!(running.received.lock().expect("no panic").ids.len(), 10);
}

#[test]
fn an_error_says_how_many_rows_are_in() {
    let running = Running::start(Some(2));
    let file = running.file(20_000);
    let file = file.to_str().expect("UTF-8");
    let message =
        import(&[file, "--server", &running.url, "--collection", "new"]).expect_err("full");
    assert!(message.contains("the first 16384 rows are in (2 batches)"), "{message}");
}

#[test]
fn places_that_contradict_each_other_are_refused() {
    let cases: [&[&str]; 5] = [
        &["file.npy"],
        &["dir", "name"],
        &["file.npy", "--collection", "c"],
        &["dir", "name", "file.npy", "--server", "http://host"],
        &["file.npy", "--collection", "c", "--server", "http://host", "--data-dir", "dir"],
    ];
    for arguments in cases {
        let message = import(arguments).expect_err("refused");
        assert!(message.contains("--server") && message.contains("--data-dir"), "{message}");
    }
}
