//! `Store`: the open database of a server, with its collections by name and the entry to all work of the threads
//! (writes, searches, jobs, memory). Made by `opening`; used by the handlers through `Server`.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};
use std::time::Duration;

use nearfield_engine::{Collection, Database, Error, ErrorKind, Result};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::{Pool, Schema};

use super::background::Background;
use super::budget::{Holder, Purpose, Reservation};
use super::committer::Committers;
use super::damage::Met;
use super::error::{StoreError, StoreResult};
use super::health::{Readiness, Topic};
use super::jobs::{Jobs, Scope};
use super::managed::{Context, ManagedCollection};
use super::scrub::Scrub;
use super::search::SearchThreads;
use super::trimming::Trimming;
use super::upkeep::Upkeep;
use super::{CollectionService, CollectionStats, Cost, Job, JobKind, Owner, StoreStats};
use crate::catalog::CATALOG;
use crate::metrics::Metrics;

/// The open database and its threads.
#[derive(Debug)]
pub struct Store {
    pub(super) context: Arc<Context>,
    pub(super) database: Arc<Database>,
    pub(super) background: Arc<Background>,
    pub(super) upkeep: Arc<Upkeep>,
    pub(super) scrub: Arc<Scrub>,
    pub(super) committers: Arc<Committers>,
    pub(super) searches: Arc<SearchThreads>,
    pub(super) jobs: Arc<Jobs>,
    pub(super) _trimming: Trimming,
    pub(super) default: String,
    pub(super) waits_by_default: bool,
    pub(super) shutdown_limit: Duration,
    pub(super) data_dir: PathBuf,
    pub(super) next_number: AtomicU64,
    pub(super) names: RwLock<Names>,
    pub(super) recovered: OnceLock<Recovered>,
}

/// What opening the collections found.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Recovered {
    pub(super) batches: u64,
    pub(super) orphans: u64,
}

/// What is served under which name.
#[derive(Debug, Default)]
pub(super) struct Names {
    pub(super) served: BTreeMap<String, Arc<CollectionService>>,
    /// Collections that could not be opened, and why.
    pub(super) blocked: BTreeMap<String, Error>,
}

impl Store {
    /// A collection; the default one without a name. A pointer clone.
    ///
    /// # Errors
    /// `NotFound` listing near names, with [`StoreError::NoDefaultCollection`] if no name was given;
    /// [`StoreError::CollectionUnavailable`] with the error that its recovery met.
    pub fn collection(&self, name: Option<&str>) -> StoreResult<Arc<CollectionService>> {
        let wanted = name.unwrap_or(&self.default);
        {
            let names = self.names_read();
            if let Some(served) = names.served.get(wanted) {
                return Ok(Arc::clone(served));
            }
            if let Some(error) = names.blocked.get(wanted) {
                let context = format!("collection {wanted:?} cannot be opened");
                return Err(StoreError::CollectionUnavailable(error.again().context(context)));
            }
        }
        if name.is_none() {
            return Err(StoreError::NoDefaultCollection(wanted.to_owned()));
        }
        // The database words the refusal, with near names.
        Ok(self.serve(self.database.collection(wanted)?))
    }

    /// Creates a collection. Does IO: not for a thread that must not wait.
    ///
    /// # Errors
    /// As [`Database::create`].
    pub fn create(&self, name: &str, schema: &Schema) -> Result<Arc<CollectionService>> {
        Ok(self.serve(self.database.create(name, schema)?))
    }

    /// Removes a collection. Does IO: not for a thread that must not wait. What waits to be written to it
    /// is refused.
    ///
    /// # Errors
    /// As [`Database::drop_collection`].
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        let served = self.names_read().served.get(name).cloned();
        if let Some(served) = &served {
            served.managed.mark_dropped();
        }
        let dropped = self.database.drop_collection(name);
        let gone = dropped.is_ok() || !self.names().iter().any(|there| there == name);
        let mut names = self.names_mut();
        // Whether or not it succeeded, this handle may refuse changes now: if the collection is still there,
        // it is opened anew. Under the name may be another one already.
        if let Some(served) = served {
            self.upkeep.remove(&served.managed);
            self.scrub.remove(&served.managed);
            if names.served.get(name).is_some_and(|there| Arc::ptr_eq(there, &served)) {
                names.served.remove(name);
            }
        }
        if gone {
            names.blocked.remove(name);
            // In this order: damage that a round notes at this moment reaches the registry before that forgets it.
            self.context.damage.forget(name);
            self.context.health.forget(name);
        }
        dropped
    }

    /// Names of the collections, sorted, those that cannot be opened among them.
    pub fn names(&self) -> Vec<String> {
        self.database.names()
    }

    /// Whether a write that does not say `wait` waits.
    pub fn waits_by_default(&self) -> bool {
        self.waits_by_default
    }

    /// Whether everything can be served, in words.
    pub fn readiness(&self) -> Readiness {
        let (names, points) = {
            let names = self.names_read();
            let points: u64 = names.served.values().map(|served| served.view().len()).sum();
            ((names.served.len() + names.blocked.len()) as u64, points)
        };
        let Recovered { batches, orphans } = self.recovered.get().copied().unwrap_or_default();
        self.context.health.readiness(&format!(
            "{}, {}, {} from the log, {}",
            counted(names, "collection", "s"),
            counted(points, "point", "s"),
            counted(batches, "batch", "es"),
            counted(orphans, "orphan", "s"),
        ))
    }

    /// Records damage that a request to a collection met: health, metrics and log report it from now on.
    pub fn met_damage(&self, collection: Option<&str>, met: Met<'_>) {
        // An alias is no name of its own.
        let served = self.collection(collection);
        let name = served.as_ref().map_or(collection.unwrap_or(&self.default), |s| s.name());
        self.context.damage.met(&self.context.health, name, met);
    }

    /// Everything in numbers; never waits for a running sync.
    pub fn stats(&self) -> StoreStats {
        let (served, closed) = {
            let names = self.names_read();
            let served: Vec<Arc<CollectionService>> = names.served.values().cloned().collect();
            let closed = names.blocked.iter();
            let closed = closed.map(|(name, error)| CollectionStats::unavailable(name, error));
            (served, closed.collect::<Vec<_>>())
        };
        let damaged = self.context.damage.files(|name| closed.iter().all(|c| c.name != name));
        let open = served.iter().map(|served| CollectionStats::of(served));
        let mut collections: Vec<CollectionStats> = open.chain(closed).collect();
        collections.sort_by(|a, b| a.name.cmp(&b.name));
        let (readiness, budget) = (self.readiness(), &self.context.budget);
        StoreStats {
            sqlite_wal_bytes: len_bytes(&self.data_dir.join(format!("{CATALOG}-wal"))),
            memory_proxy_bytes: budget.used_bytes(),
            memory_budget_bytes: budget.limit_bytes(),
            ..StoreStats::of(&readiness, &self.context.metrics, collections, damaged)
        }
    }

    /// The metrics of the server.
    pub fn metrics(&self) -> &Metrics {
        &self.context.metrics
    }

    /// All metrics in Prometheus' text format 0.0.4.
    pub fn render_metrics(&self) -> String {
        self.context.metrics.render(self.stats().scrape(self.context.clock.now_ms()))
    }

    /// Memory for what a request that changes something has sent.
    ///
    /// # Errors
    /// [`StoreError::ResourceExhausted`] if the budget, or the owner's share of it, is used up.
    pub fn reserve(&self, owner: Owner, bytes: u64) -> StoreResult<Reservation> {
        self.context.reserve(bytes, Purpose::Write, Holder::Request(owner))
    }

    /// Memory for a request that only reads, and for its answer.
    ///
    /// # Errors
    /// As [`Store::reserve`].
    pub fn reserve_for_reading(&self, owner: Owner, bytes: u64) -> StoreResult<Reservation> {
        self.context.reserve(bytes, Purpose::Read, Holder::Request(owner))
    }

    /// Whether so much of the memory budget is used that writes are slowed down.
    pub fn is_tight(&self) -> bool {
        self.context.budget.is_tight()
    }

    /// Runs a job on one collection or all; answers when it has ended, or at once without `wait`. It goes on
    /// when the caller goes away.
    ///
    /// # Errors
    /// `NotFound` for an unknown collection; `Conflict` if one of its kind is running; [`StoreError::ShuttingDown`]. A job
    /// that fails is an answer with the state `Failed`.
    pub async fn run_job(
        &self,
        kind: JobKind,
        collection: Option<&str>,
        wait: bool,
    ) -> StoreResult<Job> {
        let (id, ended) = self.jobs.start(kind, self.scope(kind, collection)?)?;
        if wait {
            // A thread that vanished has left its job as it is, and that is what is reported.
            let _vanished = ended.await;
        }
        let unknown = || Error::new(ErrorKind::NotFound, format!("there is no job {id}"));
        self.jobs.job(id)?.ok_or_else(|| unknown().into())
    }

    /// What a job is to work on. A collection that cannot be opened can be verified, and nothing else.
    fn scope(&self, kind: JobKind, collection: Option<&str>) -> StoreResult<Scope> {
        let (served, closed) = match collection {
            None => {
                let names = self.names_read();
                let served: Vec<Arc<CollectionService>> = names.served.values().cloned().collect();
                (served, names.blocked.keys().cloned().collect())
            }
            Some(name) => match self.collection(collection) {
                Ok(served) => (vec![served], Vec::new()),
                Err(StoreError::CollectionUnavailable(_)) if kind == JobKind::Verify => {
                    (Vec::new(), vec![name.to_owned()])
                }
                Err(error) => return Err(error),
            },
        };
        let open = served.iter().map(|served| Arc::clone(&served.managed)).collect();
        Ok(Scope { collection: collection.map(str::to_owned), open, closed })
    }

    /// The jobs there are.
    pub(crate) fn jobs(&self) -> &Jobs {
        &self.jobs
    }

    /// Does work that only reads: short work right here, long work on the search threads, in the turn of its
    /// owner. `work` ends with an error once its check returns false: after `--search-timeout-secs`, or when
    /// this future is dropped.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::DeadlineExceeded`]; [`StoreError::ResourceExhausted`] if too many long searches
    /// of the owner wait; [`StoreError::Internal`] if `work` panicked.
    pub async fn search<R: Send + 'static>(
        &self,
        owner: Owner,
        cost: Cost,
        work: impl FnOnce(GoOn<'_>) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        match cost.is_short() {
            true => self.searches.search_here(work),
            false => self.searches.search(owner, work).await,
        }
    }

    /// Threads that one long search may use: its own and those that have nothing to do right now.
    pub fn search_pool(&self) -> Pool {
        self.searches.spare()
    }

    /// Stops taking work, finishes what was taken, checkpoints; within `--shutdown-timeout-secs`. Blocks.
    /// What is left undone is replayed from the log by the next start, except changes accepted with
    /// `wait=false` that were still queued: those are counted and logged as lost.
    pub fn close(&self) {
        let started = self.context.time.elapsed();
        let left = || self.shutdown_limit.saturating_sub(self.context.time.elapsed() - started);
        let words = "the server is closing".to_owned();
        self.context.health.note(Topic::Closing, "", words);
        self.searches.close();
        self.jobs.cancel_all();
        self.committers.close(left());
        self.background.stop();
        self.scrub.stop();
        let stopped = self.upkeep.stop(left());
        if !(stopped && self.jobs.wait(left())) {
            tracing::warn!("background work did not stop in time");
        }
        let served: Vec<Arc<CollectionService>> =
            self.names_read().served.values().cloned().collect();
        for served in served {
            let managed = &served.managed;
            if let Err(error) = self.background.last_checkpoint(managed, &|| left().is_zero()) {
                let collection = served.name();
                tracing::warn!(collection, %error, "no checkpoint; the next start replays the log");
            }
        }
    }

    /// Serves a collection under its name from now on.
    pub(super) fn serve(&self, collection: Arc<Collection>) -> Arc<CollectionService> {
        let number = self.next_number.fetch_add(1, Ordering::Relaxed);
        let managed =
            Arc::new(ManagedCollection::new(number, collection, Arc::clone(&self.context)));
        let served = Arc::new(CollectionService {
            managed: Arc::clone(&managed),
            context: Arc::clone(&self.context),
            committers: Arc::clone(&self.committers),
        });
        {
            let mut names = self.names_mut();
            if let Some(there) = names.served.get(served.name())
                && Arc::ptr_eq(&there.managed.collection, &managed.collection)
            {
                return Arc::clone(there);
            }
            names.served.insert(served.name().to_owned(), Arc::clone(&served));
            names.blocked.remove(served.name());
        }
        managed.observe(Some("its log could not be repaired"));
        self.scrub.add(Arc::clone(&managed));
        self.upkeep.add(managed);
        served
    }

    fn names_read(&self) -> RwLockReadGuard<'_, Names> {
        self.names.read().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn names_mut(&self) -> RwLockWriteGuard<'_, Names> {
        self.names.write().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A number and what it counts.
fn counted(count: u64, what: &str, plural: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { plural })
}

/// Length of a file outside the store; 0 if it is not there.
fn len_bytes(path: &Path) -> u64 {
    std::fs::metadata(path).map_or(0, |metadata| metadata.len())
}
