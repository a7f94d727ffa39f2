//! `nearfield serve`: the server from its start to its orderly end. `Serve` is the command, run by
//! `cli::run`, with the arguments of `ServerConfig`; it starts `http::Listener` and `workers`. Also here:
//! `OpenApi`, the command that prints the OpenAPI document.
//!
//! Order: catalog (keys), port, lock and names of the database, recovery, control socket. Health answers from the
//! port on; `listening on` and a bootstrap key are printed once nothing but recovery is left, so a start that
//! fails prints neither and makes no key. At the end the other way round: no new requests, those under way are
//! answered, the store writes out what is in memory and gives up its lock. A second signal ends the process at
//! once; nothing acknowledged is lost. SIGHUP is ignored: there is no file of settings to read again.

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::Path;
use std::pin::pin;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use clap::Args;
use nearfield_engine::{Error, ErrorKind, SystemClock};
use tokio::runtime::{Builder, Runtime};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::{Notify, oneshot};
use tracing::{info, warn};

use super::exit::Result;
use crate::api;
use crate::catalog::{Catalog, Role};
use crate::config::ServerConfig;
use crate::host;
use crate::http::{Limits, Listener, Server, Stop};
use crate::workers::Store;

/// Exit code after a second signal: what a shell reports for an interrupted process.
const INTERRUPTED: i32 = 130;

#[derive(Debug, Args)]
pub struct Serve {
    #[command(flatten)]
    config: ServerConfig,
    /// End like after a signal when standard input ends: for a parent that may die
    #[arg(long, hide = true)]
    ends_with_input: bool,
}

impl Serve {
    /// Serves until a signal ends it.
    ///
    /// # Errors
    /// `InvalidInput` for the flags, `Locked` if another process writes the directory, `Io` for the address.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let Serve { config, ends_with_input } = self;
        config.check()?;
        host::set_up_heap();
        let catalog = Catalog::open(&config.data_dir, Arc::new(SystemClock))?;
        refuse_open_doors(&config, &catalog)?;
        let runtime = runtime(&config)?;
        let ended = runtime.block_on(serve(config, catalog, ends_with_input, out));
        // What still runs in it was cut off on purpose.
        runtime.shutdown_background();
        ended
    }
}

#[derive(Debug, Args)]
pub struct OpenApi {}

impl OpenApi {
    /// Prints what `/v2/openapi.json` answers.
    ///
    /// # Errors
    /// What `out` returns.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let OpenApi {} = self;
        Ok(out.write_all(api::document().as_bytes())?)
    }
}

/// Refuses to serve the network while no key exists.
fn refuse_open_doors(config: &ServerConfig, catalog: &Catalog) -> Result {
    if config.host.is_loopback() || catalog.has_usable_key() || config.bootstrap_admin_key {
        return Ok(());
    }
    let message = format!(
        "--host {}: reachable from outside, but there is no key; create one with `nearfield key-create \
         --data-dir {} --name admin --roles admin`, or start with --bootstrap-admin-key true",
        config.host,
        config.data_dir.display(),
    );
    Err(Error::new(ErrorKind::Conflict, message).into())
}

fn runtime(config: &ServerConfig) -> Result<Runtime> {
    let mut builder = Builder::new_multi_thread();
    if let Some(threads) = config.http_threads {
        builder.worker_threads(threads);
    }
    let runtime = builder.thread_name("http").enable_all().build();
    Ok(runtime.map_err(|error| Error::io("start", "threads", error))?)
}

async fn serve(
    config: ServerConfig,
    catalog: Arc<Catalog>,
    ends_with_input: bool,
    out: &mut dyn Write,
) -> Result {
    let mut signals = Signals::new()?;
    if ends_with_input {
        signals.watch_input()?;
    }
    let server =
        Server::new(config.clone(), Arc::clone(&catalog), Arc::new(SystemClock), api::document())?;
    let limits = Limits::of(&config);
    let listener = Listener::network(config.host, config.port, limits).await?;
    let address = listener.address();
    let stop = Stop::default();
    tokio::spawn(listener.serve(&server, api::APIS, &stop));
    let (checked, passed) = oneshot::channel();
    let (settings, keys) = (config.clone(), Arc::clone(&catalog));
    let mut opening = pin!(run_blocking(move || {
        // Whether anything waits for this does not matter to the opening.
        Store::open(&settings, keys, || {
            let _received = checked.send(());
        })
    }));
    tokio::select! {
        biased;
        Ok(()) = passed => announce(&config, &catalog, address, out)?,
        failed = &mut opening => return Ok(failed?.map(drop)?),
        () = signals.next() => return Ok(()),
    }
    let opened = tokio::select! {
        opened = &mut opening => opened?,
        () = signals.next() => return Ok(()),
    };
    let store = opened?;
    server.ready(Arc::clone(&store));
    let control = control_socket(&config.data_dir, limits, &server, &stop);
    info!("{}", store.readiness().report);
    signals.next().await;
    info!("shutting down");
    tokio::spawn(async move {
        signals.next().await;
        std::process::exit(INTERRUPTED);
    });
    // Requests that wait for one are among those that are waited for.
    store.jobs().cancel_all();
    stop.drain(Duration::from_secs(config.shutdown_timeout_secs)).await;
    server.closing();
    if let Some(path) = control {
        drop(std::fs::remove_file(path));
    }
    let closed = run_blocking(move || store.close()).await;
    catalog.close();
    closed
}

/// Prints the address, and a key with `--bootstrap-admin-key` if none exists: only recovery can fail from here on.
fn announce(
    config: &ServerConfig,
    catalog: &Catalog,
    address: Option<SocketAddr>,
    out: &mut dyn Write,
) -> Result {
    if config.bootstrap_admin_key && !catalog.has_usable_key_for(Role::Admin) {
        let key = catalog.create_key("bootstrap", Role::Admin.into(), None)?;
        writeln!(out, "BOOTSTRAP_ADMIN_KEY={}", key.token.reveal())?;
    }
    if let Some(address) = address {
        writeln!(out, "listening on http://{address}")?;
    }
    Ok(out.flush()?)
}

/// Runs work that may take long on a thread of its own.
async fn run_blocking<R: Send + 'static>(work: impl FnOnce() -> R + Send + 'static) -> Result<R> {
    let done = tokio::task::spawn_blocking(work).await;
    Ok(done.map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?)
}

/// Opens the control socket; the server works without it.
fn control_socket(
    data_dir: &Path,
    limits: Limits,
    server: &Arc<Server>,
    stop: &Stop,
) -> Option<std::path::PathBuf> {
    match Listener::control(data_dir, limits) {
        Ok((listener, path)) => {
            tokio::spawn(listener.serve(server, api::APIS, stop));
            Some(path)
        }
        Err(error) => {
            warn!(%error, "commands beside this server will find the directory locked");
            None
        }
    }
}

/// The signals that end the server.
struct Signals {
    interrupt: Signal,
    terminate: Signal,
    input_ended: Arc<Notify>,
}

impl Signals {
    fn new() -> Result<Signals> {
        let listen = |kind| signal(kind).map_err(|error| Error::io("wait for", "signals", error));
        let interrupt = listen(SignalKind::interrupt())?;
        let terminate = listen(SignalKind::terminate())?;
        let mut hangup = listen(SignalKind::hangup())?;
        tokio::spawn(async move {
            while hangup.recv().await.is_some() {
                info!("SIGHUP is ignored: keys are read with each change, flags at the start");
            }
        });
        Ok(Signals { interrupt, terminate, input_ended: Arc::default() })
    }

    /// Takes the end of standard input for a signal as well.
    fn watch_input(&self) -> Result {
        let ended = Arc::clone(&self.input_ended);
        let watch = move || {
            // Whether it ends or fails, the other end is gone.
            drop(io::copy(&mut io::stdin(), &mut io::sink()));
            ended.notify_one();
        };
        let thread = thread::Builder::new().name("input".to_owned()).spawn(watch);
        thread.map_err(|error| Error::io("watch", "standard input", error))?;
        Ok(())
    }

    async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
            () = self.input_ended.notified() => {}
        }
    }
}
