//! Opens the `Store` of a server: takes the lock, recovers every collection, and starts the threads. Called by
//! `nearfield serve`. `warn_of_recovery`, which prints what recovery did, is also used by commands.
//!
//! A collection that cannot be opened is named in the health registry with the reason; the others are served.

use std::sync::atomic::AtomicU64;
use std::sync::{Arc, OnceLock, RwLock};
use std::time::Duration;

use nearfield_engine::log::Torn;
use nearfield_engine::manifest::{DatabaseManifest, Manifest, load_newest};
use nearfield_engine::{
    Clock, Collection, Database, Error, ErrorKind, Mode, Options, Result, SystemClock,
};
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, Schema};

use super::background::Background;
use super::budget::{Budget, merges_bytes_max};
use super::committer::Committers;
use super::damage::Damage;
use super::health::{HealthRegistry, Topic};
use super::jobs::Jobs;
use super::managed::Context;
use super::schedule::Intervals;
use super::scrub::Scrub;
use super::search::SearchThreads;
use super::store::{Names, Recovered, Store};
use super::trimming::Trimming;
use super::upkeep::{LOOK_EVERY, Limits, Upkeep};
use crate::catalog::Catalog;
use crate::config::{DEFAULT_NAME, Fsync, ServerConfig};
use crate::host::{self, Behind, Stopwatch};
use crate::pacing::{PacedStorage, Pacer};

/// The budget where the machine does not say how much memory it has.
const MEMORY_UNKNOWN_BYTES: u64 = 2 << 30;
const MEGABYTE: u64 = 1_000_000;
/// Between two attempts to open what the medium kept closed.
const RETRY_EVERY: Duration = Duration::from_secs(5);

impl Store {
    /// Opens the directory of `config`: locks it and recovers every collection. Calls `checked` once only the recovery
    /// of collections is left, which does not fail.
    ///
    /// # Errors
    /// `Locked`, `Corrupt` or `Version` of the database itself; a collection that cannot be opened only
    /// makes the store not ready.
    pub fn open(
        config: &ServerConfig,
        catalog: Arc<Catalog>,
        checked: impl FnOnce(),
    ) -> Result<Arc<Store>> {
        config.check()?;
        let storage: Arc<dyn Storage> = Arc::new(open_directory(&config.data_dir)?);
        let store = Store::lock(storage, config, catalog, Arc::new(SystemClock))?;
        checked();
        store.open_collections();
        Ok(store)
    }

    /// The lock, the names, the default collection, the threads; no collection is open yet.
    pub(super) fn lock(
        storage: Arc<dyn Storage>,
        config: &ServerConfig,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Store>> {
        let pacer = Arc::new(Pacer::new(config.background_io_mb_per_sec * MEGABYTE));
        let storage: Arc<dyn Storage> = Arc::new(PacedStorage::new(storage, Arc::clone(&pacer)));
        let budget_bytes = config.memory_budget_bytes.unwrap_or_else(half_of_memory);
        let options = options(config, budget_bytes)?;
        let memtable_bytes_max = options.memtable_bytes_max;
        let (time, owner) = (Arc::clone(&clock), host::owner("serve"));
        let seed = host::seed();
        let database =
            Database::open(Arc::clone(&storage), Mode::Write, options, time, seed, &owner)?;
        for warning in &database.opening_report().warnings {
            tracing::warn!("{warning}");
        }
        for file in &database.opening_report().quarantined {
            tracing::warn!(file, "a collection without a name and without rows is in quarantine");
        }
        // Under the lock: the process that left jobs running has ended.
        if let Err(error) = catalog.interrupt_left_jobs() {
            tracing::warn!(%error, "jobs of the process before stay listed as running");
        }
        check_default(&*storage, config)?;
        if let (true, Some(dim)) = (database.names().is_empty(), config.dim) {
            let metric = config.metric.unwrap_or(Metric::Dot);
            let schema = Schema::dense(dim as usize, metric, Encoding::F32)?;
            database.create(&config.collection, &schema)?;
        }
        let context = Arc::new(Context {
            clock,
            time: Stopwatch::start(),
            metrics: Arc::default(),
            budget: Arc::new(Budget::new(budget_bytes)),
            health: HealthRegistry::default(),
            damage: Damage::default(),
        });
        let intervals = Intervals {
            checkpoint: Duration::from_secs(config.checkpoint_interval_secs),
            merge: Duration::from_secs(config.compaction_interval_secs),
        };
        let limits = Limits { intervals, memtable_bytes_max, look_every: LOOK_EVERY };
        let store = start(config, context, Arc::new(database), storage, catalog, pacer, limits)?;
        retry_blocked(&store)?;
        Ok(store)
    }

    /// Opens collections that could not be opened because of the medium.
    fn open_blocked(&self) {
        let of_medium =
            |error: &Error| matches!(error.kind(), ErrorKind::StorageFull | ErrorKind::Io);
        let blocked: Vec<String> = {
            let names = self.names_mut();
            let blocked = names.blocked.iter().filter(|(_, error)| of_medium(error));
            blocked.map(|(name, _)| name.clone()).collect()
        };
        for name in blocked {
            match self.database.collection(&name).map(|collection| self.serve(collection)) {
                Ok(served) => {
                    self.context.health.clear(Topic::Opening, &name);
                    tracing::info!(
                        collection = name,
                        points = served.view().len(),
                        "recovered at last"
                    );
                }
                Err(error) => {
                    tracing::debug!(collection = name, %error, "still cannot be opened");
                    // Unless it was dropped meanwhile.
                    if let Some(cause) = self.names_mut().blocked.get_mut(&name) {
                        *cause = error;
                    }
                }
            }
        }
    }

    /// Opens every collection; what recovery found goes to log and report.
    pub(super) fn open_collections(&self) {
        let mut recovered = Recovered::default();
        for name in &self.database.names() {
            match self.database.collection(name).map(|collection| self.serve(collection)) {
                Ok(served) => {
                    let collection = &served.managed.collection;
                    let recovery = collection.recovery();
                    recovered.batches += recovery.replayed;
                    recovered.orphans += recovery.orphans.len() as u64;
                    self.context.metrics.quarantine_evictions.inc_by(recovery.evicted);
                    let (points, batches) = (served.view().len(), recovery.replayed);
                    tracing::info!(collection = name, points, batches, "recovered");
                    warn_of_recovery(collection);
                }
                Err(error) => {
                    tracing::error!(collection = name, %error, "cannot be opened");
                    let words = format!("{name}: cannot be opened: {error}");
                    self.context.health.note(Topic::Opening, name, words);
                    self.names_mut().blocked.insert(name.clone(), error);
                }
            }
        }
        let _once = self.recovered.set(recovered);
    }
}

/// Tries again, as long as there is a store, to open collections that the medium kept closed: a full disk gets space
/// again. Damage stays.
fn retry_blocked(store: &Arc<Store>) -> Result<()> {
    let store = Arc::downgrade(store);
    let retry = move || {
        loop {
            std::thread::park_timeout(RETRY_EVERY);
            let Some(store) = store.upgrade() else { return };
            store.open_blocked();
        }
    };
    let builder = std::thread::Builder::new().name("reopening".to_owned());
    let started = builder.spawn(retry);
    started.map(drop).map_err(|error| Error::io("start", "a thread for reopening", error))
}

/// Says in the log what recovery of a collection found; everything acknowledged is there all the same.
pub fn warn_of_recovery(collection: &Collection) {
    let (name, recovery) = (collection.name(), collection.recovery());
    if let Some(Torn { file, offset, bytes }) = &recovery.torn {
        tracing::warn!(
            collection = name,
            file,
            offset,
            bytes,
            "an unfinished, never acknowledged end of the log was cut off"
        );
    }
    if !recovery.orphans.is_empty() {
        let files = &recovery.orphans;
        tracing::warn!(
            collection = name,
            ?files,
            "files of unfinished work were put into quarantine"
        );
    }
    if recovery.evicted > 0 {
        let files = recovery.evicted;
        tracing::warn!(collection = name, files, "old files were removed from quarantine");
    }
    for warning in &recovery.warnings {
        tracing::warn!(collection = name, "{warning}");
    }
    for segment in &recovery.degraded {
        tracing::warn!(
            collection = name,
            segment,
            "a damaged derived section is done without; a compaction rebuilds it"
        );
    }
}

/// Compares the flags about the default collection with the collection that is there.
///
/// # Errors
/// `Conflict` naming the flag. A collection that cannot be read is named when it is opened.
fn check_default(storage: &dyn Storage, config: &ServerConfig) -> Result<()> {
    let Some(database) = load_newest::<DatabaseManifest>(storage, "")? else { return Ok(()) };
    let (database, name) = (database.document, config.collection.as_str());
    let Ok(id) = database.resolve(name) else {
        if !database.collections.is_empty() && (name != DEFAULT_NAME || config.dim.is_some()) {
            let there: Vec<&String> = database.collections.keys().collect();
            tracing::warn!(
                ?there,
                "--collection {name}: there is no such collection, and it is not made"
            );
        }
        return Ok(());
    };
    let Ok(Some(manifest)) = load_newest::<Manifest>(storage, &format!("c/{id}")) else {
        return Ok(());
    };
    let field = manifest.document.schema.vectors.get(DEFAULT_FIELD);
    let dim = config.dim.map(|dim| ("dim", dim.to_string(), field.map(|f| f.dim.to_string())));
    let metric = config.metric.map(|metric| {
        ("metric", metric.name().to_owned(), field.map(|f| f.metric.name().to_owned()))
    });
    for (flag, said, there) in dim.into_iter().chain(metric) {
        if there.as_ref() != Some(&said) {
            let there = there.map_or_else(
                || "no vector field without a name".to_owned(),
                |there| format!("{flag} {there}"),
            );
            let message = format!(
                "--{flag} {said}: the collection {name:?} exists and has {there}; leave the flag out, or \
                 name another --collection"
            );
            return Err(Error::new(ErrorKind::Conflict, message));
        }
    }
    Ok(())
}

/// The threads, and the store around them.
fn start(
    config: &ServerConfig,
    context: Arc<Context>,
    database: Arc<Database>,
    storage: Arc<dyn Storage>,
    catalog: Arc<Catalog>,
    pacer: Arc<Pacer>,
    limits: Limits,
) -> Result<Arc<Store>> {
    let shared = || Arc::clone(&context);
    let behind = if config.audio_colocated { Behind::Everything } else { Behind::Requests };
    let background = Arc::new(Background::new(shared(), behind));
    let threads = config.search_threads.unwrap_or_else(host::processors);
    let deadline = Duration::from_secs(config.search_timeout_secs);
    let searches = SearchThreads::start(shared(), threads, deadline)?;
    let (runner, place) = (Arc::clone(&background), Arc::clone(&storage));
    let upkeep = Upkeep::start(shared(), runner, pacer, place, limits)?;
    let (runner, place) = (Arc::clone(&background), Arc::clone(&storage));
    let interval = Duration::from_secs(config.scrub_interval_secs);
    let scrub = Scrub::start(shared(), runner, place, interval)?;
    let flush_interval = Duration::from_millis(config.flush_interval_ms);
    let (capacity, looked_after) = (config.queue_capacity, Arc::clone(&upkeep));
    let committers = Committers::new(shared(), looked_after, capacity, flush_interval);
    let (runner, merger) = (Arc::clone(&background), Arc::clone(&upkeep));
    let jobs = Jobs::new(shared(), runner, merger, catalog, Arc::clone(&database), storage);
    Ok(Arc::new(Store {
        context,
        database,
        background,
        upkeep,
        scrub,
        committers,
        searches,
        jobs,
        _trimming: Trimming::start()?,
        default: config.collection.clone(),
        waits_by_default: config.fsync == Fsync::Always,
        shutdown_limit: Duration::from_secs(config.shutdown_timeout_secs),
        data_dir: config.data_dir.clone(),
        next_number: AtomicU64::new(0),
        names: RwLock::new(Names::default()),
        recovered: OnceLock::new(),
    }))
}

fn half_of_memory() -> u64 {
    host::memory_bytes().unwrap_or(2 * MEMORY_UNKNOWN_BYTES) / 2
}

/// The engine's usual options; a small budget is not used up by one memtable, nor by merges. The engine's own hard limit
/// is out of reach: the budget counts all collections together, slows writes down and then refuses them.
fn options(config: &ServerConfig, budget_bytes: u64) -> Result<Options> {
    let hours_ms = |hours: u64| hours.saturating_mul(3_600_000);
    let mut options = Options {
        history_ms: Some(hours_ms(config.history_hours)),
        quarantine_ms: hours_ms(config.orphan_ttl_hours),
        quarantine_files_max: config.quarantine_max_files,
        quarantine_bytes_max: config.quarantine_max_bytes,
        ..Options::default()
    };
    options.segment.kernel = host::kernel()?;
    options.memtable_bytes_max = options.memtable_bytes_max.min(budget_bytes / 8);
    options.memtable_bytes_hard = u64::MAX;
    options.merge_bytes_max = merges_bytes_max(budget_bytes);
    options.one_merge_bytes_max = options.merge_bytes_max;
    Ok(options)
}
