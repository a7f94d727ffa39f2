//! `ServerConfig`: the arguments of `nearfield serve` (`serve-v2`), with their units and bounds. Parsed and checked by
//! `cli::serve`; read by `http` and `workers`.
//!
//! Every bound is checked here, once, before anything is opened; after [`ServerConfig::check`] other code relies
//! on a [`ServerConfig`]. Secrets are not here: they never come by argument.

use std::net::IpAddr;
use std::path::PathBuf;

use clap::builder::{PossibleValuesParser, TypedValueParser};
use clap::{ArgAction, Args, ValueEnum};
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{DIM_MAX, Metric};

/// Serve a database over HTTP
#[derive(Debug, Clone, Args)]
pub struct ServerConfig {
    /// Directory of the database; made if missing
    #[arg(long, default_value = "./nearfield_data")]
    pub data_dir: PathBuf,
    /// The collection that paths without a collection mean
    #[arg(long, default_value = DEFAULT_NAME)]
    pub collection: String,
    /// Dimension of the default collection; creates it if the database has no collection at all. A collection that
    /// exists with another one is an error
    #[arg(long)]
    pub dim: Option<u32>,
    /// How the default collection compares vectors: cosine, dot or l2. A collection that exists with another one is
    /// an error [default if it is created: dot]
    #[arg(long, value_parser = metric_parser())]
    pub metric: Option<Metric>,
    /// Address to listen on; other than loopback only with a key
    #[arg(long, default_value = "127.0.0.1")]
    pub host: IpAddr,
    /// Port to listen on; 0 takes a free one
    #[arg(long, default_value_t = 8080)]
    pub port: u16,
    /// Seconds after which rows in memory are written to a file
    #[arg(long, default_value_t = 30)]
    pub checkpoint_interval_secs: u64,
    /// Seconds after which files are merged although they are few
    #[arg(long, default_value_t = 180)]
    pub compaction_interval_secs: u64,
    /// Seconds between two rounds of reading the files of all collections again and comparing their checksums, at
    /// 10 MB a second; 0 for none
    #[arg(long, default_value_t = 3600)]
    pub scrub_interval_secs: u64,
    /// Hours that files of unfinished work are kept in quarantine
    #[arg(long, default_value_t = 168)]
    pub orphan_ttl_hours: u64,
    /// Run background work at idle priority of processor and disk, because something urgent shares the machine
    #[arg(long, default_value_t = true, action = ArgAction::Set)]
    pub audio_colocated: bool,
    /// Connections of one address (of IPv6: one /64); 0 for no limit but that of all, behind a proxy
    #[arg(long, default_value_t = 256)]
    pub connections_per_address: usize,
    /// Answer health and metrics without a key [default: true for --host on loopback and requests that name it;
    /// else health says only whether it is ready, and metrics need a key]
    #[arg(long, action = ArgAction::Set)]
    pub public_health_metrics: Option<bool>,
    /// Make an admin key if there is none, and print it once
    #[arg(long, default_value_t = false, action = ArgAction::Set)]
    pub bootstrap_admin_key: bool,
    /// Bytes of memory beside the segments of files: queues, requests, merges and rows not yet in files
    /// [default: half of the memory]
    #[arg(long)]
    pub memory_budget_bytes: Option<u64>,
    /// Megabytes (10⁶) a second that background work may write; 0 for no limit
    #[arg(long, default_value_t = 40)]
    pub background_io_mb_per_sec: u64,
    /// Largest body of a request, in bytes
    #[arg(long, default_value_t = 64 << 20)]
    pub body_bytes_max: u64,
    /// Batches that may wait to be written, for each collection
    #[arg(long, visible_alias = "ingest-queue-capacity", default_value_t = 1024)]
    pub queue_capacity: usize,
    /// Files kept in quarantine
    #[arg(long, default_value_t = 50)]
    pub quarantine_max_files: u64,
    /// Bytes kept in quarantine
    #[arg(long, default_value_t = 5 << 30)]
    pub quarantine_max_bytes: u64,
    /// Hours of the past that `replay-to-lsn` can reach; 0 keeps the present only
    #[arg(long, default_value_t = 24)]
    pub history_hours: u64,
    /// When a write is answered that does not say `wait`
    #[arg(long, value_enum, default_value_t = Fsync::Always)]
    pub fsync: Fsync,
    /// Milliseconds within which a write answered early is durable; on a slower disk such writes get 429
    #[arg(long, default_value_t = 100)]
    pub flush_interval_ms: u64,
    /// Directory of the demo page, as `cargo run -p xtask -- demo` makes it, to be served at /demo/
    #[arg(long, value_name = "DIR")]
    pub demo_dir: Option<PathBuf>,
    /// Threads that the long searches of one key may use at once [default: one per processor]; one more serves the others
    #[arg(long)]
    pub search_threads: Option<usize>,
    /// Seconds within which a search, count or page must end, waiting included
    #[arg(long, default_value_t = 30)]
    pub search_timeout_secs: u64,
    /// Threads that answer requests [default: one per processor]
    #[arg(long)]
    pub http_threads: Option<usize>,
    /// Seconds the body of a request may take to arrive; Arrow streams only must not pause
    #[arg(long, default_value_t = 60)]
    pub request_timeout_secs: u64,
    /// Seconds for requests under way to end, and as many again for queues and checkpoints
    #[arg(long, default_value_t = 30)]
    pub shutdown_timeout_secs: u64,
}

/// When a write is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Fsync {
    /// Once it is durable
    Always,
    /// Once it is checked and queued; durable within `--flush-interval-ms` where the disk keeps up
    Interval,
}

impl ServerConfig {
    /// Checks every bound that the types do not.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` naming the flag, what it may be and what it was.
    pub fn check(&self) -> Result<()> {
        if self.data_dir.exists() && !self.data_dir.is_dir() {
            let found = self.data_dir.display();
            let message = format!("--data-dir {found}: expected a directory, found a file");
            return Err(Error::invalid(Fault::Parameter, message));
        }
        const DAY_SECS: u64 = 86_400;
        const CENTURY_HOURS: u64 = 100 * 366 * 24;
        let dim = u64::from(self.dim.unwrap_or(1));
        let threads = |threads: Option<usize>| threads.unwrap_or(1) as u64;
        let budget = self.memory_budget_bytes.unwrap_or(MEMORY_BUDGET_BYTES_MIN);
        for (flag, value, least, most) in [
            ("dim", dim, 1, DIM_MAX as u64),
            (
                "connections-per-address",
                self.connections_per_address as u64,
                0,
                CONNECTIONS_MAX as u64,
            ),
            ("checkpoint-interval-secs", self.checkpoint_interval_secs, 1, DAY_SECS),
            ("compaction-interval-secs", self.compaction_interval_secs, 1, DAY_SECS),
            ("scrub-interval-secs", self.scrub_interval_secs, 0, 365 * DAY_SECS),
            ("orphan-ttl-hours", self.orphan_ttl_hours, 0, CENTURY_HOURS),
            ("history-hours", self.history_hours, 0, CENTURY_HOURS),
            ("memory-budget-bytes", budget, MEMORY_BUDGET_BYTES_MIN, u64::MAX),
            ("background-io-mb-per-sec", self.background_io_mb_per_sec, 0, 1_000_000),
            ("body-bytes-max", self.body_bytes_max, 1 << 10, 1 << 30),
            ("queue-capacity", self.queue_capacity as u64, 1, 1 << 20),
            ("flush-interval-ms", self.flush_interval_ms, 1, 60_000),
            ("search-threads", threads(self.search_threads), 1, 1024),
            ("http-threads", threads(self.http_threads), 1, 1024),
            ("search-timeout-secs", self.search_timeout_secs, 1, DAY_SECS),
            ("request-timeout-secs", self.request_timeout_secs, 1, DAY_SECS),
            ("shutdown-timeout-secs", self.shutdown_timeout_secs, 1, DAY_SECS),
        ] {
            if !(least..=most).contains(&value) {
                let expected = format!("{least} to {most}");
                let message = format!("--{flag}: expected {expected}, got {value}");
                return Err(Error::invalid(Fault::Parameter, message)
                    .with("expected", expected)
                    .with("got", value));
            }
        }
        Ok(())
    }
}

/// The default collection, unless the operator names another.
pub(crate) const DEFAULT_NAME: &str = "default";
/// Connections from the network at a time.
pub(crate) const CONNECTIONS_MAX: usize = 512;
/// Below this a single request of ordinary size would be refused.
const MEMORY_BUDGET_BYTES_MIN: u64 = 16 << 20;

/// A metric by its name, for the command line.
pub(crate) fn metric_parser() -> impl TypedValueParser<Value = Metric> {
    PossibleValuesParser::new(Metric::ALL.map(Metric::name)).try_map(|name| name.parse())
}
