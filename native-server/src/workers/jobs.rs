//! `Jobs`: runs the jobs that an operator requests (checkpoint, compaction, snapshot, verify), each on a thread of its
//! own, one of a kind at a time. Started by the handlers of `admin`, through `Store::run_job`.
//!
//! The catalog records jobs, also across a restart. A job goes on when its client disconnects; it stops on request,
//! or when the server closes. A failed job is an answer, not an error.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nearfield_engine::manifest::{DatabaseManifest, load_newest};
use nearfield_engine::task::{MergeScope, Progress};
use nearfield_engine::{Database, Error, ErrorKind, Result, VerifyReport, verify};
use nearfield_segment::storage::Storage;
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::background::Background;
use super::error::{StoreError, StoreResult};
use super::health::Topic;
use super::managed::{Context, ManagedCollection};
use super::upkeep::Upkeep;
use crate::catalog::{Catalog, Job, JobId, JobKind, JobState};
use crate::host::lock;

/// Steps of a verification between two notes of how far it is; a step is a block of 64 KiB or a batch.
const PROGRESS_STEPS: u64 = 64;

/// Runs jobs.
#[derive(Debug)]
pub(crate) struct Jobs {
    context: Arc<Context>,
    background: Arc<Background>,
    upkeep: Arc<Upkeep>,
    catalog: Arc<Catalog>,
    database: Arc<Database>,
    storage: Arc<dyn Storage>,
    state: Mutex<State>,
    ended: Condvar,
}

#[derive(Debug, Default)]
struct State {
    running: BTreeMap<JobKind, Running>,
    /// No more are started.
    closing: bool,
}

/// A job that runs.
#[derive(Debug)]
struct Running {
    /// None until the catalog has named it.
    id: Option<JobId>,
    is_stopped: Arc<AtomicBool>,
    /// How far it is.
    progress: Value,
}

/// What a job works on.
#[derive(Debug)]
pub(super) struct Scope {
    /// The collection of the request; none for all collections.
    pub(super) collection: Option<String>,
    /// The collections that are open.
    pub(super) open: Vec<Arc<ManagedCollection>>,
    /// Of those asked for, the ones that cannot be opened.
    pub(super) closed: Vec<String>,
}

impl Jobs {
    pub(super) fn new(
        context: Arc<Context>,
        background: Arc<Background>,
        upkeep: Arc<Upkeep>,
        catalog: Arc<Catalog>,
        database: Arc<Database>,
        storage: Arc<dyn Storage>,
    ) -> Arc<Jobs> {
        let (state, ended) = (Mutex::default(), Condvar::new());
        Arc::new(Jobs { context, background, upkeep, catalog, database, storage, state, ended })
    }

    /// Starts a job. The receiver gets it when it has ended.
    ///
    /// # Errors
    /// `Conflict` while one of its kind runs; [`StoreError::ShuttingDown`]; `Io` without a thread.
    pub(super) fn start(
        self: &Arc<Self>,
        kind: JobKind,
        scope: Scope,
    ) -> StoreResult<(JobId, oneshot::Receiver<()>)> {
        let is_stopped = self.enter(kind)?;
        let id = self.catalog.begin_job(kind, scope.collection.as_deref());
        if let Some(running) = lock(&self.state).running.get_mut(&kind) {
            running.id = Some(id);
        }
        let (sender, receiver) = oneshot::channel();
        let this = Arc::clone(self);
        let builder = std::thread::Builder::new().name(format!("job-{}", kind.name()));
        let started = builder.spawn(move || {
            let (state, details) = this.attempt(kind, &scope, &is_stopped);
            this.catalog.finish_job(id, state, details);
            this.end(kind);
            // A caller that has gone does not need the answer.
            let _gone = sender.send(());
        });
        if let Err(error) = started {
            self.catalog.finish_job(id, JobState::Failed, json!({"message": error.to_string()}));
            self.end(kind);
            return Err(Error::io("start", "a thread for the job", error).into());
        }
        Ok((id, receiver))
    }

    /// Takes the place of a kind of job; what is returned tells it to stop.
    fn enter(&self, kind: JobKind) -> StoreResult<Arc<AtomicBool>> {
        let mut state = lock(&self.state);
        if state.closing {
            return Err(StoreError::ShuttingDown);
        }
        if state.running.contains_key(&kind) {
            let name = kind.name();
            let message = format!("a {name} is running already; wait for it to end");
            return Err(Error::new(ErrorKind::Conflict, message).into());
        }
        let is_stopped = Arc::new(AtomicBool::new(false));
        let (stop, progress) = (Arc::clone(&is_stopped), json!({}));
        state.running.insert(kind, Running { id: None, is_stopped: stop, progress });
        Ok(is_stopped)
    }

    /// Tells a job to stop, and says how it is now; one that has ended stays as it is.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) fn cancel(&self, id: JobId) -> Result<Option<Job>> {
        for running in lock(&self.state).running.values().filter(|running| running.id == Some(id)) {
            running.is_stopped.store(true, Ordering::Relaxed);
        }
        self.job(id)
    }

    /// Tells every job to stop and starts no more.
    pub(crate) fn cancel_all(&self) {
        let mut state = lock(&self.state);
        state.closing = true;
        for running in state.running.values() {
            running.is_stopped.store(true, Ordering::Relaxed);
        }
    }

    /// A job by its id.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.catalog.job(id)?.map(|job| self.reported(job)))
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(crate) fn newest(&self, limit: usize) -> Result<Vec<Job>> {
        Ok(self.catalog.jobs(limit)?.into_iter().map(|job| self.reported(job)).collect())
    }

    /// A job as it is reported; while it runs its details say how far it is.
    fn reported(&self, mut job: Job) -> Job {
        if job.state == JobState::Running {
            let state = lock(&self.state);
            let running = state.running.values().find(|running| running.id == Some(job.id));
            job.details = running.map_or(job.details, |running| running.progress.clone());
        }
        job
    }

    /// Remembers how far the running job of a kind is.
    fn advance(&self, kind: JobKind, progress: Value) {
        if let Some(running) = lock(&self.state).running.get_mut(&kind) {
            running.progress = progress;
        }
    }

    /// Waits until no job runs. False if `limit` passed first.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let some = |state: &mut State| !state.running.is_empty();
        let waited = self.ended.wait_timeout_while(lock(&self.state), limit, some);
        let (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        state.running.is_empty()
    }

    fn end(&self, kind: JobKind) {
        lock(&self.state).running.remove(&kind);
        self.ended.notify_all();
    }

    fn attempt(&self, kind: JobKind, scope: &Scope, stop: &AtomicBool) -> (JobState, Value) {
        let go_on = || !stop.load(Ordering::Relaxed);
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(kind, scope, &go_on)));
        let ended = ended.unwrap_or_else(|_| {
            self.context.panicked("a job", scope.collection.as_deref().unwrap_or_default());
            Err(Error::new(ErrorKind::Io, "the job failed inside the server; its log says more"))
        });
        ended.unwrap_or_else(|error| {
            if error.kind() == ErrorKind::Cancelled && !go_on() {
                return (JobState::Cancelled, json!({"message": error.message()}));
            }
            tracing::warn!(%error, job = kind.name(), "a job failed");
            (JobState::Failed, json!({"message": error.message()}))
        })
    }

    fn run(
        &self,
        kind: JobKind,
        scope: &Scope,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(JobState, Value)> {
        match kind {
            JobKind::Checkpoint => {
                self.merge(scope, kind, MergeScope::Checkpoint, "no_pending_wal", go_on)
            }
            JobKind::Compaction => {
                let idle = "not_enough_compaction_candidates";
                self.merge(scope, kind, MergeScope::Everything, idle, go_on)
            }
            JobKind::Snapshot => self.snapshot(scope, go_on),
            JobKind::Verify => {
                let report = self.verify(scope, go_on)?;
                Ok((JobState::Completed, json!(report)))
            }
        }
    }

    fn snapshot(
        &self,
        scope: &Scope,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(JobState, Value)> {
        for managed in &scope.open {
            let name = managed.name();
            if let Some(damage) = self.context.damage.first(name) {
                let message = format!(
                    "collection {name:?} is damaged, and so would be its snapshot: {damage}"
                );
                return Err(Error::new(ErrorKind::Corrupt, message));
            }
        }
        let named: Vec<String> = scope.collection.iter().cloned().collect();
        self.advance(JobKind::Snapshot, json!({"collections": scope.open.len()}));
        let snapshot = self.database.snapshot(&named, go_on)?;
        Ok((
            JobState::Completed,
            json!({
                "snapshot_id": snapshot.id,
                "snapshot_dir": snapshot.dir,
                "segments": snapshot.segments,
                "collections": snapshot.collections,
                "files": snapshot.files,
            }),
        ))
    }

    /// Reads one collection after the other; what is found goes to the health, the metrics and the log.
    fn verify(&self, scope: &Scope, go_on: &(dyn Fn() -> bool + Sync)) -> Result<VerifyReport> {
        let Context { health, damage, .. } = &*self.context;
        let document = load_newest::<DatabaseManifest>(&*self.storage, "");
        if scope.collection.is_none() && document.is_err() {
            let report = self.background.run_low_priority(|| verify(&self.storage, None, go_on))?;
            damage.verified(health, "", &report.findings);
            return Ok(report);
        }
        damage.verified(health, "", &[]);
        let all = || self.database.names();
        let names = scope.collection.clone().map_or_else(all, |name| vec![name]);
        let (mut whole, steps) = (VerifyReport::default(), AtomicU64::new(0));
        for (done, name) in names.iter().enumerate() {
            let watch = || {
                let steps = steps.fetch_add(1, Ordering::Relaxed);
                if steps % PROGRESS_STEPS == 0 {
                    let progress = json!({
                        "collection": name, "collections_done": done, "collections": names.len(),
                        "steps_done": steps,
                    });
                    self.advance(JobKind::Verify, progress);
                }
                go_on()
            };
            let read =
                self.background.run_low_priority(|| verify(&self.storage, Some(name), &watch));
            let report = match read {
                // Dropped since the names were listed.
                Err(error) if error.kind() == ErrorKind::NotFound && names.len() > 1 => continue,
                read => read?,
            };
            // The health registry names a collection that is closed already.
            if scope.open.iter().any(|managed| managed.name() == name) {
                damage.verified(health, name, &report.findings);
            }
            whole.absorb(report);
        }
        Ok(whole)
    }

    /// Merges each collection; `idle` is the reason to give if none had anything to merge.
    fn merge(
        &self,
        scope: &Scope,
        kind: JobKind,
        merge_scope: MergeScope,
        idle: &str,
        go_on: &(dyn Fn() -> bool + Sync),
    ) -> Result<(JobState, Value)> {
        let mut merged = Vec::new();
        for (done, managed) in scope.open.iter().enumerate() {
            let name = managed.name();
            let so_far = json!({
                "collection": name, "collections_done": done, "collections": scope.open.len(),
            });
            self.advance(kind, so_far.clone());
            let advance = |Progress { done: rows, total }| {
                let mut progress = so_far.clone();
                progress["rows_done"] = rows.into();
                progress["rows"] = total.into();
                self.advance(kind, progress);
            };
            let gives_way = || managed.is_dropped() || !go_on();
            let mut run = |task| self.upkeep.run_task(managed, task, &gives_way, &advance);
            let ended = managed.collection.merge_by(merge_scope, &mut run);
            managed.observe(ended.as_ref().err().map(Error::message));
            if let Err(error) = &ended {
                managed.note_error(error);
            }
            if ended.map_err(|error| error.context(name))? {
                self.context.health.clear(Topic::Upkeep, name);
                merged.push(name);
            }
        }
        if !scope.closed.is_empty() {
            let closed = scope.closed.join(", ");
            let message = format!("cannot be opened: {closed}; done: {}", merged.join(", "));
            return Err(Error::new(ErrorKind::Io, message));
        }
        if merged.is_empty() {
            return Ok((JobState::Idle, json!({"reason": idle})));
        }
        Ok((JobState::Completed, json!({"collections": merged})))
    }
}
