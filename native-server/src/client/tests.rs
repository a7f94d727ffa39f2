//! The client against a small server of the same crates, over TCP and a Unix socket.

use http_body_util::BodyExt;
use hyper::server::conn::http1 as serving;
use hyper::service::service_fn;
use serde_json::json;
use tempfile::TempDir;
use tokio::net::{TcpListener, UnixListener};

use super::*;

/// Answers by path; `/cut` breaks off in the middle of its answer.
async fn answer(request: Request<Incoming>) -> std::io::Result<Response<Outgoing>> {
    let (head, mut body) = request.into_parts();
    let reply = |status: u16, body: Outgoing| {
        let reply = Response::builder().status(status).body(body);
        reply.map_err(std::io::Error::other)
    };
    let said = |value: Value| Outgoing::whole(value.to_string());
    match head.uri.path() {
        "/caller" => {
            let key = head.headers.get(AUTHORIZATION).map(|key| key.to_str().expect("ASCII"));
            reply(200, said(json!({"data": {"method": head.method.as_str(), "key": key}})))
        }
        "/count" => {
            let mut len = 0;
            while let Some(frame) = body.frame().await {
                let frame = frame.map_err(std::io::Error::other)?;
                len += frame.into_data().map_or(0, |piece| piece.len());
            }
            reply(201, said(json!({"data": {"len": len}})))
        }
        "/refuse" => {
            let details = json!({"batches_written": 3, "row": 7});
            let message = "row 7: expected 2 elements, got 3";
            let error = json!({"code": "dimension", "message": message, "details": details});
            reply(400, said(error))
        }
        "/pieces" | "/cut" => {
            let (sender, fed) = Outgoing::fed();
            let cut = head.uri.path() == "/cut";
            tokio::spawn(async move {
                for piece in ["one ", "two ", "three"] {
                    drop(sender.send(Ok(Bytes::from_static(piece.as_bytes()))).await);
                }
                if cut {
                    drop(sender.send(Err(std::io::Error::other("on purpose"))).await);
                }
            });
            reply(200, fed)
        }
        _ => reply(502, Outgoing::whole("<html>bad gateway</html>".to_owned())),
    }
}

/// A server on TCP and on the socket of a directory, as long as it is held.
struct Running {
    _runtime: Runtime,
    url: String,
    dir: TempDir,
}

impl Running {
    fn start() -> Running {
        let runtime = Builder::new_multi_thread().worker_threads(1).enable_io().build();
        let runtime = runtime.expect("starts");
        let dir = TempDir::new().expect("a directory");
        let (tcp, unix) = runtime.block_on(async {
            let tcp = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
            (tcp, UnixListener::bind(dir.path().join(CONTROL_SOCKET)).expect("a free name"))
        });
        let url = format!("http://{}", tcp.local_addr().expect("bound"));
        runtime.spawn(async move {
            while let Ok((stream, _)) = tcp.accept().await {
                let served = serving::Builder::new();
                tokio::spawn(served.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        });
        runtime.spawn(async move {
            while let Ok((stream, _)) = unix.accept().await {
                let served = serving::Builder::new();
                tokio::spawn(served.serve_connection(TokioIo::new(stream), service_fn(answer)));
            }
        });
        Running { _runtime: runtime, url, dir }
    }

    fn clients(&self) -> [Client; 2] {
        let tcp = Client::of_url(&self.url, Some("nfk_a.b")).expect("an address");
        [tcp, Client::beside(self.dir.path()).expect("a socket")]
    }
}

#[test]
fn calls_arrive_over_both_transports_and_only_tcp_carries_the_key() {
    let running = Running::start();
    let [tcp, socket] = running.clients();
    let key = json!("Bearer nfk_a.b");
    assert_eq!(tcp.get("/caller").expect("answers"), json!({"method": "GET", "key": key}));
    assert_eq!(socket.get("/caller").expect("answers"), json!({"method": "GET", "key": null}));
    let counted = socket.post("/count", &json!([1, 2])).expect("answers");
    assert_eq!(counted, json!({"len": 5}));
}

#[test]
fn bodies_are_streamed_both_ways() {
    let running = Running::start();
    for client in running.clients() {
        let mut left = 100;
        let mut produce = || {
            left -= 1;
            Ok((left >= 0).then(|| Bytes::from(vec![7; 100_000])))
        };
        let counted = client.upload("/count", "application/x", &mut produce).expect("answers");
        assert_eq!(counted, json!({"len": 10_000_000}));
        let mut text = Vec::new();
        let len = client.download("/pieces", Some(&json!({})), &mut |piece| {
            text.extend_from_slice(piece);
            Ok(())
        });
        assert_eq!((len.expect("whole"), text.as_slice()), (13, &b"one two three"[..]));
    }
}

#[test]
fn errors_of_the_server_keep_kind_code_and_details_even_before_the_body_ends() {
    let running = Running::start();
    let [tcp, _] = running.clients();
    let mut endless = || Ok(Some(Bytes::from_static(&[0; 1 << 16])));
    let error = tcp.upload("/refuse", "application/x", &mut endless).expect_err("refused");
    assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Dimension), "{error}");
    assert_eq!(error.detail("batches_written"), Some(&json!(3)));
    assert_eq!(error.detail("code"), Some(&json!("dimension")));
    assert!(error.message().starts_with("row 7: expected 2"), "{error}");
}

#[test]
fn what_breaks_off_is_an_error_on_either_side() {
    let running = Running::start();
    let [tcp, socket] = running.clients();
    let error = tcp.download("/cut", Some(&json!({})), &mut |_| Ok(())).expect_err("cut off");
    assert!(error.message().contains("broke"), "{error}");
    let mut first = true;
    let mut gives_up = || {
        if std::mem::take(&mut first) {
            return Ok(Some(Bytes::from_static(b"some")));
        }
        Err(Error::invalid(Fault::Parameter, "the file ends early"))
    };
    let error = socket.upload("/count", "application/x", &mut gives_up).expect_err("gave up");
    assert!(error.message().contains("the file ends early"), "{error}");
}

#[test]
fn what_is_no_server_of_ours_is_said_with_its_address() {
    let running = Running::start();
    let [tcp, _] = running.clients();
    let message = tcp.get("/other").expect_err("html").message().to_owned();
    assert!(message.contains("502") && message.contains("<html>"), "{message}");
    let place = TempDir::new().expect("a directory");
    let error = Client::beside(place.path()).expect_err("no socket");
    assert_eq!(error.kind(), ErrorKind::NotFound);
    let socket = std::os::unix::net::UnixListener::bind(place.path().join(CONTROL_SOCKET));
    drop(socket.expect("a free name"));
    let error = Client::beside(place.path()).expect("a file").get("/caller").expect_err("stale");
    assert!(error.message().contains("no server answers at"), "{error}");
}
