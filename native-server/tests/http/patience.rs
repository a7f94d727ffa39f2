//! Clients that keep what others need: connections, and memory for answers they do not read.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use nearfield_server::catalog::KeyId;
use nearfield_server::http::Limits;

use crate::running::Running;

/// No test waits for so long.
const NEVER: Duration = Duration::from_secs(3_600);
const SOON: Duration = Duration::from_millis(300);
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that waits for ever, except where `limit` says otherwise.
fn patient(flags: &[&str], limit: impl FnOnce(&mut Limits)) -> Running {
    Running::limited(flags, |limits| {
        (limits.first_header, limits.header, limits.answer) = (NEVER, NEVER, NEVER);
        limit(limits);
    })
}

/// Waits until `holds`, within reason.
#[track_caller]
#[expect(clippy::disallowed_methods, reason = "a test that fails has to end")]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < PATIENCE, "not within {PATIENCE:?}: {what}");
        std::thread::yield_now();
    }
}

fn open_connections(running: &Running) -> u64 {
    let text = String::from_utf8(running.get("/v2/metrics").body).unwrap();
    let mut lines = text.lines().filter(|line| line.contains("active_connections "));
    lines.find_map(|line| line.rsplit(' ').next()?.parse().ok()).unwrap()
}

/// Length of the answer that [`large_answer`] begins: more than the system keeps for a connection.
const LARGE_BYTES: usize = 20_000_000;

/// A connection with an answer that has begun.
fn large_answer(running: &Running) -> TcpStream {
    let row = format!("{{\"vector\":[{}]}}", vec!["0.12345678"; 512].join(","));
    let rows = format!("{{\"vectors\":[{}]}}", vec![row; 400].join(","));
    for _ in 0..10 {
        running.post("/v2/vectors/batch", &rows).data(201);
    }
    let body = "{\"limit\":4000,\"include_vector\":true}";
    let head = format!(
        "POST /v2/points/get HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-length: {}\r\n\r\n",
        running.admin,
        body.len()
    );
    let mut stream = running.connect();
    stream.write_all(format!("{head}{body}").as_bytes()).unwrap();
    let mut begin = [0; 12];
    stream.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 200");
    stream
}

#[test]
fn a_client_that_never_reads_a_large_answer_is_cut_off() {
    let running = patient(&["--dim", "512"], |limits| limits.answer = SOON);
    let mut stream = large_answer(&running);
    // The one that asks is open as well.
    until("the connection is closed", || open_connections(&running) == 1);
    let mut rest = Vec::new();
    let _reset = stream.read_to_end(&mut rest);
    assert!(rest.len() < LARGE_BYTES, "{} bytes arrived", rest.len());
}

/// Asks for something that needs no key, and keeps the connection.
fn asks(stream: &mut TcpStream) -> bool {
    let asked = stream.write_all(b"GET /livez HTTP/1.1\r\nhost: localhost\r\n\r\n");
    let mut answer = [0; 4096];
    let mut taken = 0;
    while asked.is_ok() && !answer[..taken].ends_with(b"}") {
        match stream.read(&mut answer[taken..]) {
            Ok(read) if read > 0 => taken += read,
            Ok(_) | Err(_) => break,
        }
    }
    answer.starts_with(b"HTTP/1.1 200")
}

/// Whether the other side has closed; waits for it.
fn is_closed(stream: &mut TcpStream) -> bool {
    match stream.read(&mut [0; 1]) {
        Ok(read) => read == 0,
        Err(error) => error.kind() == std::io::ErrorKind::ConnectionReset,
    }
}

#[test]
fn who_connects_and_asks_nothing_is_closed_long_before_who_has_asked() {
    let running = patient(&["--dim", "3"], |limits| limits.first_header = SOON);
    let mut kept = running.connect();
    assert!(asks(&mut kept));
    let mut silent = running.connect();
    let mut slow = running.connect();
    slow.write_all(b"GET /livez HTTP/1.1\r\nho").unwrap();
    assert!(is_closed(&mut silent) && is_closed(&mut slow));
    assert!(asks(&mut kept));
}

#[test]
fn one_address_cannot_take_all_connections() {
    let flags = ["--dim", "3", "--connections-per-address", "4"];
    let running = patient(&flags, |limits| limits.connections_max = 8);
    let mut held: Vec<TcpStream> = (0..4).map(|_| running.connect()).collect();
    assert!(held.iter_mut().all(asks));
    let mut other = running.connect_from([127, 0, 0, 2]);
    assert!(asks(&mut other), "another address is served");
    let mut newer: Vec<TcpStream> = (0..4).map(|_| running.connect()).collect();
    assert!(newer.iter_mut().all(asks));
    assert!(held.iter_mut().all(is_closed), "the idle ones of the same address had to leave");
    assert!(asks(&mut other));
}

#[test]
fn requests_without_a_key_end_their_connection() {
    let running = patient(&["--dim", "3"], |_| {});
    let mut stream = running.connect();
    stream.write_all(b"GET /v2/collections HTTP/1.1\r\nhost: test\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 401") && answer.contains("connection: close"), "{answer}");
}

#[test]
fn when_all_connections_are_busy_health_is_answered_and_the_rest_is_told_so() {
    let running = patient(&["--dim", "3"], |limits| limits.connections_max = 4);
    let head = format!(
        "POST /v2/query HTTP/1.1\r\nhost: test\r\nauthorization: Bearer {}\r\ncontent-length: 9\r\n",
        running.admin
    );
    let mut busy: Vec<TcpStream> = (0..4).map(|_| running.connect()).collect();
    for stream in &mut busy {
        // The server asks for the body once it has the request: from then on the connection is not idle.
        stream.write_all(format!("{head}expect: 100-continue\r\n\r\n").as_bytes()).unwrap();
        let mut interim = [0; b"HTTP/1.1 100 Continue\r\n\r\n".len()];
        stream.read_exact(&mut interim).unwrap();
        assert!(interim.starts_with(b"HTTP/1.1 100"));
    }
    let mut late = running.connect();
    late.write_all(format!("{head}\r\n{{\"k\": 1 }}").as_bytes()).unwrap();
    let mut begin = [0; 12];
    late.read_exact(&mut begin).unwrap();
    assert_eq!(&begin, b"HTTP/1.1 429");
    assert!(asks(&mut running.connect()));
    drop(busy);
    until("there is room again", || running.post("/v2/count", "{}").status == 200);
}

#[test]
fn behind_a_proxy_one_address_may_have_all_connections() {
    let running = patient(&["--dim", "3", "--connections-per-address", "0"], |_| {});
    let mut held: Vec<TcpStream> = (0..300).map(|_| running.connect()).collect();
    assert!(held.iter_mut().all(asks));
}

#[test]
fn a_write_that_waits_for_memory_is_refused_for_want_of_memory_and_not_of_time() {
    let budget_bytes = 16 << 20;
    let budget = format!("{budget_bytes}");
    let flags = ["--dim", "3", "--request-timeout-secs", "1", "--memory-budget-bytes", &budget];
    let running = Running::with(&flags);
    let store = running.store();
    // Two clients hold 84 % of the budget; writes are refused from 85 % on.
    let other = KeyId::parse("nfk_0000000000000001");
    let _held = store.reserve(None, budget_bytes / 100 * 70).unwrap();
    let _held_by_other = store.reserve(other, budget_bytes / 100 * 14).unwrap();
    let answer = running.post("/v2/vectors/batch", &" ".repeat(200_000));
    assert_eq!(answer.refusal(), (429, "resource_exhausted".to_owned()));
}
