//! A server in this process, and a client that speaks just enough HTTP.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use clap::Parser;
use nearfield_engine::SystemClock;
use nearfield_server::api;
use nearfield_server::catalog::{Catalog, Role};
use nearfield_server::config::ServerConfig;
use nearfield_server::http::{Limits, Listener, Server, Stop};
use nearfield_server::workers::Store;
use serde_json::Value;
use tempfile::TempDir;
use tokio::net::TcpSocket;
use tokio::runtime::Runtime;

/// How long a test waits for an answer before it fails.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Parser)]
struct Flags {
    #[command(flatten)]
    config: ServerConfig,
}

/// The settings that flags mean.
pub(crate) fn config(flags: &[&str]) -> ServerConfig {
    Flags::parse_from(flags).config
}

/// A running server; it ends with this value.
pub(crate) struct Running {
    pub(crate) address: SocketAddr,
    /// Opens everything.
    pub(crate) admin: String,
    pub(crate) catalog: Arc<Catalog>,
    pub(crate) dir: TempDir,
    server: Arc<Server>,
    config: ServerConfig,
    store: Option<Arc<Store>>,
    stop: Stop,
    runtime: Runtime,
}

impl Running {
    /// One whose default collection has `dim` 3 and the metric dot.
    pub(crate) fn start() -> Running {
        Running::with(&["--dim", "3"])
    }

    pub(crate) fn with(flags: &[&str]) -> Running {
        Running::limited(flags, |_| {})
    }

    /// One with other limits of its connections.
    pub(crate) fn limited(flags: &[&str], limit: impl FnOnce(&mut Limits)) -> Running {
        let mut running = Running::bound(flags, limit);
        running.open();
        running
    }

    /// One whose store is not open yet.
    pub(crate) fn recovering(flags: &[&str]) -> Running {
        Running::bound(flags, |_| {})
    }

    fn bound(flags: &[&str], limit: impl FnOnce(&mut Limits)) -> Running {
        let dir = TempDir::new().unwrap();
        let data_dir = dir.path().join("data");
        let first = ["serve", "--data-dir", data_dir.to_str().unwrap()];
        let config = config(&[&first[..], flags].concat());
        let catalog = Catalog::open(&config.data_dir, Arc::new(SystemClock)).unwrap();
        let admin = catalog.create_key("admin", Role::Admin.into(), None).unwrap();
        let clock = Arc::new(SystemClock);
        let server =
            Server::new(config.clone(), Arc::clone(&catalog), clock, api::document()).unwrap();
        let (runtime, stop) = (Runtime::new().unwrap(), Stop::default());
        let mut limits = Limits::of(&config);
        limit(&mut limits);
        let listener = Listener::network(Ipv4Addr::LOCALHOST.into(), 0, limits);
        let listener = runtime.block_on(listener).unwrap();
        let address = listener.address().unwrap();
        runtime.spawn(listener.serve(&server, api::APIS, &stop));
        let (admin, store) = (admin.token.reveal().to_owned(), None);
        Running { address, admin, catalog, dir, server, config, store, stop, runtime }
    }

    /// What a server says that does not start with these settings.
    pub(crate) fn refused(config: ServerConfig) -> String {
        let dir = TempDir::new().unwrap();
        let catalog = Catalog::open(dir.path(), Arc::new(SystemClock)).unwrap();
        Server::new(config, catalog, Arc::new(SystemClock), api::document())
            .unwrap_err()
            .to_string()
    }

    /// Recovers the store.
    pub(crate) fn open(&mut self) {
        let store = Store::open(&self.config, Arc::clone(&self.catalog), || {}).unwrap();
        self.server.ready(Arc::clone(&store));
        self.store = Some(store);
    }

    /// The store, which is open.
    pub(crate) fn store(&self) -> &Store {
        self.store.as_ref().unwrap()
    }

    /// A new key with one role.
    pub(crate) fn key(&self, role: Role) -> String {
        let key = self.catalog.create_key("test", role.into(), None).unwrap();
        key.token.reveal().to_owned()
    }

    /// A connection whose reads end after a while.
    pub(crate) fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// A connection from another address of this machine.
    pub(crate) fn connect_from(&self, address: [u8; 4]) -> TcpStream {
        let stream = self.runtime.block_on(async {
            let socket = TcpSocket::new_v4().unwrap();
            socket.bind((address, 0).into()).unwrap();
            socket.connect(self.address).await.unwrap().into_std().unwrap()
        });
        stream.set_nonblocking(false).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream
    }

    /// Sends a request on a connection of its own.
    pub(crate) fn send(
        &self,
        method: &str,
        path: &str,
        headers: &[(&str, &str)],
        body: &[u8],
    ) -> Answer {
        let mut stream = self.connect();
        let mut head =
            format!("{method} {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n");
        for (name, value) in headers {
            head += &format!("{name}: {value}\r\n");
        }
        head += &format!("content-length: {}\r\n\r\n", body.len());
        stream.write_all(head.as_bytes()).unwrap();
        // An answer may come before the body was taken.
        let _refused = stream.write_all(body);
        Answer::read(stream)
    }

    /// Sends JSON with a key.
    pub(crate) fn ask(&self, key: &str, method: &str, path: &str, body: &str) -> Answer {
        let bearer = format!("Bearer {key}");
        self.send(method, path, &[("authorization", &bearer)], body.as_bytes())
    }

    /// Sends JSON as an admin.
    pub(crate) fn post(&self, path: &str, body: &str) -> Answer {
        self.ask(&self.admin, "POST", path, body)
    }

    /// Asks as an admin.
    pub(crate) fn get(&self, path: &str) -> Answer {
        self.ask(&self.admin, "GET", path, "")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.runtime.block_on(self.stop.drain(Duration::from_secs(5)));
        self.server.closing();
        if let Some(store) = &self.store {
            store.close();
        }
        self.catalog.close();
    }
}

/// What came back.
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) head: String,
    pub(crate) body: Vec<u8>,
}

impl Answer {
    pub(crate) fn read(mut stream: TcpStream) -> Answer {
        let mut bytes = Vec::new();
        // A reset after the answer is the server's right.
        let _ended = stream.read_to_end(&mut bytes);
        let end = bytes.windows(4).position(|part| part == b"\r\n\r\n");
        let end = end.unwrap_or_else(|| panic!("no answer: {}", String::from_utf8_lossy(&bytes)));
        let head = String::from_utf8(bytes[..end].to_vec()).unwrap().to_ascii_lowercase();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let body = bytes.split_off(end + 4);
        let chunked = head.contains("transfer-encoding: chunked");
        Answer { status, head, body: if chunked { unchunked(&body) } else { body } }
    }

    #[track_caller]
    pub(crate) fn json(&self) -> Value {
        let text = || String::from_utf8_lossy(&self.body);
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("{e} in {}", text()))
    }

    /// What is under `data`, after checking the status.
    #[track_caller]
    pub(crate) fn data(&self, status: u16) -> Value {
        let mut json = self.json();
        assert_eq!(self.status, status, "{json}");
        json["data"].take()
    }

    /// Status and code of a refusal.
    #[track_caller]
    pub(crate) fn refusal(&self) -> (u16, String) {
        let json = self.json();
        assert!(json["details"].is_object() && json["message"].is_string(), "{json}");
        (self.status, json["code"].as_str().unwrap_or_else(|| panic!("{json}")).to_owned())
    }
}

fn unchunked(mut rest: &[u8]) -> Vec<u8> {
    let mut whole = Vec::new();
    loop {
        let end = rest.windows(2).position(|part| part == b"\r\n").unwrap();
        let len = usize::from_str_radix(std::str::from_utf8(&rest[..end]).unwrap(), 16).unwrap();
        if len == 0 {
            return whole;
        }
        whole.extend_from_slice(&rest[end + 2..end + 2 + len]);
        rest = &rest[end + 2 + len + 2..];
    }
}
