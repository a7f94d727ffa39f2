//! A connection whose client reads all answers, each a little slower than its length is worth. The clock is tokio's; it
//! advances only when all tasks wait for it.

use axum::routing::get;
use clap::Parser;
use nearfield_engine::SystemClock;
use tempfile::TempDir;
use tokio::io::{DuplexStream, duplex};

use super::*;
use crate::catalog::Catalog;

const SECOND: Duration = Duration::from_secs(1);
const ANSWER_BYTES: usize = 200_000;
const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: test\r\n\r\n";

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: ServerConfig,
}

/// A client's side of a connection on which all is answered with [`ANSWER_BYTES`], worth 1,000 a second.
fn connected(dir: &TempDir, stop: &Stop) -> DuplexStream {
    let config = Flags::parse_from(["serve"]).config;
    let limits = Limits { answer_bytes_per_second: 1_000, ..Limits::of(&config) };
    let catalog = Catalog::open(dir.path(), Arc::new(SystemClock)).expect("an empty directory");
    let server = Server::new(config, catalog, Arc::new(SystemClock), "").expect("no demo page");
    let router = Router::new().route("/", get(|| async { vec![7; ANSWER_BYTES] }));
    let held_slot =
        ConnectionSlots::new(1, 0).enter(Ipv4Addr::LOCALHOST.into()).expect("the only one");
    let shared = Shared { router, server, limits, held_slot };
    let (ours, theirs) = duplex(1_000);
    tokio::spawn(connection(
        ours,
        Origin::Network([127, 0, 0, 1].into()),
        shared,
        stop.sender.subscribe(),
    ));
    theirs
}

/// Reads the bodies of `count` answers, 900 bytes a second.
async fn read(client: &mut DuplexStream, count: usize) {
    let (mut piece, mut bodies) = ([0; 900], 0);
    while bodies < count * ANSWER_BYTES {
        tokio::time::sleep(SECOND).await;
        let read = client.read(&mut piece).await.expect("an open connection");
        assert!(read > 0, "cut after {bodies} bytes of {count} answers");
        bodies += piece[..read].iter().filter(|byte| **byte == 7).count();
    }
}

#[tokio::test(start_paused = true)]
async fn answers_in_turn_are_each_given_their_time() {
    let (dir, stop) = (TempDir::new().expect("a directory"), Stop::default());
    let mut client = connected(&dir, &stop);
    for _ in 0..5 {
        client.write_all(REQUEST).await.expect("an open connection");
        read(&mut client, 1).await;
    }
}

#[tokio::test(start_paused = true)]
async fn answers_that_were_asked_for_at_once_are_each_given_their_time() {
    let (dir, stop) = (TempDir::new().expect("a directory"), Stop::default());
    let mut client = connected(&dir, &stop);
    client.write_all(&REQUEST.repeat(5)).await.expect("an open connection");
    read(&mut client, 5).await;
}
