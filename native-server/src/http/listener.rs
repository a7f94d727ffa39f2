//! `Listener`: the sockets of the server, its connections, their number, their time limits (`Limits`) and their
//! orderly end (`Stop`). Started by `nearfield serve`; it passes requests to `router`.
//!
//! A connection costs memory only for headers until its key was checked. A client that sends its headers
//! slowly, or says nothing between two requests, is cut off after a while, and so is one that reads its answer
//! too slowly ([`Limits`]). At the end requests under way are answered, idle connections are closed.
//!
//! The control socket has mode 0600 and is trusted like the files beside it. It is bound under another name
//! and moved into place, by the holder of the store's lock, so that a stale one is never in the way.

use std::convert::Infallible;
use std::fs;
use std::future::poll_fn;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::Request;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use nearfield_engine::{Error, Result};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::{TcpListener, UnixListener};
use tokio::sync::watch;
use tower::Service;
use tracing::warn;

use super::connection_slots::{ConnectionSlots, HeldSlot};
use super::gate::Origin;
use super::pace::Paced;
use super::route::Api;
use super::router::{leaving, router};
use super::server::Server;
use crate::config::{CONNECTIONS_MAX, ServerConfig};

/// Most connections of the control socket.
const CONTROL_CONNECTIONS_MAX: usize = 64;
/// Bytes of headers, and of what is read ahead of a body.
const BUFFER_BYTES_MAX: usize = 64 << 10;
const HEADERS_MAX: usize = 64;
/// After a refusal the rest of the body is thrown away for this long, so that the client reads the answer
/// before its own sending fails.
const LINGER_TIME: Duration = Duration::from_secs(2);
const LINGER_BYTES_MAX: usize = 32 << 20;
/// Pause after the system refused a connection, usually for want of file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Name of the control socket in the data directory.
pub(crate) const CONTROL_SOCKET: &str = "control.sock";

/// Ends all connections of the listeners made with its receivers.
#[derive(Debug, Default)]
pub struct Stop {
    sender: watch::Sender<bool>,
}

impl Stop {
    /// Stops accepting, and waits until every connection has ended, or `limit` is over.
    pub async fn drain(&self, limit: Duration) {
        self.sender.send_replace(true);
        let ended = tokio::time::timeout(limit, self.sender.closed()).await;
        if ended.is_err() {
            warn!("connections that did not end in time are cut off");
        }
    }
}

/// How many connections there may be, and how long each may keep what it has without getting on.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// From the start of a connection to the end of its first headers: a new connection has a request to send.
    pub first_header: Duration,
    /// From the end of a request to the end of the next headers.
    pub header: Duration,
    /// For reading an answer, beside the time that its length is worth; never saved up beyond this.
    pub answer: Duration,
    /// Bytes of an answer that are worth a second of reading.
    pub answer_bytes_per_second: u32,
    /// Connections from the network at a time; for a further one another is closed, as `connection_slots` says.
    pub connections_max: usize,
    /// Of them, those of one address, likewise. 0: as many as there are.
    pub address_connections_max: usize,
}

impl Limits {
    /// The usual ones, with what the operator decides.
    pub fn of(config: &ServerConfig) -> Limits {
        Limits {
            first_header: Duration::from_secs(5),
            header: Duration::from_secs(20),
            answer: Duration::from_secs(30),
            answer_bytes_per_second: 64_000,
            connections_max: CONNECTIONS_MAX,
            address_connections_max: config.connections_per_address,
        }
    }
}

/// A bound socket.
#[derive(Debug)]
pub struct Listener {
    socket: Socket,
    limits: Limits,
}

#[derive(Debug)]
enum Socket {
    Network(TcpListener),
    Control(UnixListener),
}

impl Listener {
    /// Binds a TCP socket.
    ///
    /// # Errors
    /// `Io` naming the address.
    pub async fn network(host: IpAddr, port: u16, limits: Limits) -> Result<Listener> {
        let address = SocketAddr::new(host, port);
        let bound = TcpListener::bind(address).await;
        let socket = bound.map_err(|error| Error::io("listen on", &address.to_string(), error))?;
        Ok(Listener { socket: Socket::Network(socket), limits })
    }

    /// Binds the control socket in `data_dir`, whose lock the caller holds; returns its path too.
    ///
    /// # Errors
    /// `Io` naming the path: also if it is longer than a socket's may be, about 100 bytes.
    pub fn control(data_dir: &Path, limits: Limits) -> Result<(Listener, PathBuf)> {
        let path = data_dir.join(CONTROL_SOCKET);
        let fresh = data_dir.join(format!("{CONTROL_SOCKET}.new"));
        let named = |error| Error::io("listen on", &path.display().to_string(), error);
        // Left over from a process that ended between its two steps.
        drop(fs::remove_file(&fresh));
        let socket = UnixListener::bind(&fresh).map_err(named)?;
        fs::set_permissions(&fresh, fs::Permissions::from_mode(0o600)).map_err(named)?;
        fs::rename(&fresh, &path).map_err(named)?;
        Ok((Listener { socket: Socket::Control(socket), limits }, path))
    }

    /// The address of a TCP socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match &self.socket {
            Socket::Network(socket) => socket.local_addr().ok(),
            Socket::Control(_) => None,
        }
    }

    /// Accepts connections and answers their requests, by the routes of `apis`, until `stop`.
    pub fn serve(
        self,
        server: &Arc<Server>,
        apis: &'static [Api],
        stop: &Stop,
    ) -> impl Future<Output = ()> + Send + use<> {
        let (router, mut stopped) = (router(server, apis), stop.sender.subscribe());
        let server = Arc::clone(server);
        async move {
            let slots = match &self.socket {
                Socket::Network(_) => ConnectionSlots::new(
                    self.limits.connections_max,
                    self.limits.address_connections_max,
                ),
                Socket::Control(_) => ConnectionSlots::new(CONTROL_CONNECTIONS_MAX, 0),
            };
            let ends = stopped.clone();
            loop {
                let next = tokio::select! {
                    _ = stopped.changed() => break,
                    next = self.next(&slots, &router, &server, &ends) => next,
                };
                if let Err(error) = next {
                    warn!(%error, "a connection was not accepted");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            }
        }
    }

    /// Accepts one connection and leaves it to a task of its own.
    async fn next(
        &self,
        slots: &Arc<ConnectionSlots>,
        router: &Router,
        server: &Arc<Server>,
        stopped: &watch::Receiver<bool>,
    ) -> std::io::Result<()> {
        let share = |held_slot| {
            let (router, server) = (router.clone(), Arc::clone(server));
            Shared { router, server, limits: self.limits, held_slot }
        };
        match &self.socket {
            Socket::Network(socket) => {
                let (stream, from) = socket.accept().await?;
                let Some(held_slot) = slots.enter(from.ip()) else { return Ok(()) };
                stream.set_nodelay(true)?;
                let origin = Origin::Network(from.ip());
                let served = connection(stream, origin, share(held_slot), stopped.clone());
                tokio::spawn(served);
            }
            Socket::Control(socket) => {
                let (stream, _) = socket.accept().await?;
                let nowhere = Ipv4Addr::UNSPECIFIED.into();
                let Some(held_slot) = slots.enter(nowhere) else { return Ok(()) };
                let origin = Origin::ControlSocket;
                tokio::spawn(connection(stream, origin, share(held_slot), stopped.clone()));
            }
        }
        Ok(())
    }
}

/// What a connection needs.
struct Shared {
    router: Router,
    server: Arc<Server>,
    limits: Limits,
    held_slot: HeldSlot,
}

/// Answers the requests of one connection.
async fn connection<S>(stream: S, origin: Origin, shared: Shared, mut stop: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let Shared { router, server, limits, held_slot } = shared;
    let slot = Arc::clone(&held_slot.slot);
    let open = server.connected();
    let asked = Arc::new(AtomicBool::new(false));
    let asks = Arc::clone(&asked);
    let service = service_fn(move |mut request: Request<Incoming>| {
        asks.store(true, Ordering::Relaxed);
        request.extensions_mut().insert(origin);
        request.extensions_mut().insert(Arc::clone(&slot));
        slot.begin();
        let answer = router.clone().call(request.map(Body::new));
        let slot = Arc::clone(&slot);
        Box::pin(async move {
            let answer = answer.await.map(leaving).map_err(|never: Infallible| never);
            slot.end();
            answer
        })
    });
    let mut settings = http1::Builder::new();
    settings.timer(TokioTimer::new()).header_read_timeout(limits.header);
    settings.max_buf_size(BUFFER_BYTES_MAX).max_headers(HEADERS_MAX);
    let pace = limits.answer_bytes_per_second;
    let pulse = Arc::clone(&held_slot.slot.pulse);
    let stream = Paced::new(stream, limits.answer, pace, pulse);
    let mut connection = settings.serve_connection(TokioIo::new(stream), service);
    let first_header = tokio::time::sleep(limits.first_header);
    tokio::pin!(first_header);
    let (mut stopping, mut begun) = (false, false);
    let ended = loop {
        tokio::select! {
            ended = poll_fn(|context| connection.poll_without_shutdown(context)) => break ended.is_ok(),
            () = &mut first_header, if !begun => {
                begun = asked.load(Ordering::Relaxed);
                if !begun {
                    break false;
                }
            }
            () = held_slot.slot.evicted.notified() => break false,
            _ = stop.changed(), if !stopping => {
                stopping = true;
                std::pin::Pin::new(&mut connection).graceful_shutdown();
            }
        }
    };
    // An error here is the client's: it broke off, sent what is not HTTP, or reads too slowly.
    if ended {
        linger(connection.into_parts().io.into_inner()).await;
    }
    drop((open, held_slot, stop));
}

/// Ends a connection so that its last answer arrives: our side is closed, theirs is read and forgotten.
async fn linger(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let rest = async {
        stream.shutdown().await?;
        let (mut forgotten, mut count) = ([0; 16 << 10], 0);
        while count < LINGER_BYTES_MAX {
            match stream.read(&mut forgotten).await? {
                0 => break,
                read => count += read,
            }
        }
        std::io::Result::Ok(())
    };
    // Whether it worked is known to the client alone.
    drop(tokio::time::timeout(LINGER_TIME, rest).await);
}

#[cfg(test)]
mod tests;
