//! Work that an operator asks for: each job on a thread of its own, one of a kind at a time.
//!
//! Jobs are remembered by the catalog, also after a restart. They go on when whoever asked goes away; the
//! merges among them stop when the server closes. What fails is an answer, not an error.

use std::collections::BTreeSet;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use nearfield_engine::task::Effort;
use nearfield_engine::{Database, Error, ErrorKind, Result, verify, verify_collection};
use nearfield_segment::storage::Storage;
use serde::{Serialize, Serializer};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::background::Background;
use super::context::Context;
use super::line::Line;
use super::readiness::Topic;
use crate::catalog::{self, Catalog, JobId, JobState};

/// What can be asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum JobKind {
    /// Write what is in memory to files.
    Checkpoint,
    /// Merge every collection into its final form.
    Compact,
    /// Write a backup.
    Snapshot,
    /// Read every byte and check it.
    Verify,
}

impl JobKind {
    fn recorded(self) -> catalog::JobKind {
        match self {
            JobKind::Checkpoint => catalog::JobKind::Checkpoint,
            JobKind::Compact => catalog::JobKind::Compaction,
            JobKind::Snapshot => catalog::JobKind::Snapshot,
            JobKind::Verify => catalog::JobKind::Verify,
        }
    }
}

/// A job as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// `job_<hex>`.
    pub job_id: String,
    /// What it does, in a word.
    pub kind: &'static str,
    /// On one collection, or on all.
    pub collection: Option<String>,
    /// How far it is.
    #[serde(serialize_with = "name_of_state")]
    pub state: JobState,
    /// What came out; `message` if it failed.
    pub details: Value,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970; none while it runs.
    pub finished_ms: Option<u64>,
}

fn name_of_state<S: Serializer>(
    state: &JobState,
    serializer: S,
) -> std::result::Result<S::Ok, S::Error> {
    serializer.serialize_str(state.name())
}

impl From<catalog::Job> for Job {
    fn from(job: catalog::Job) -> Job {
        Job {
            job_id: job.id.to_string(),
            kind: job.kind.name(),
            collection: job.collection,
            state: job.state,
            details: job.details,
            started_ms: job.started_ms,
            finished_ms: job.finished_ms,
        }
    }
}

/// Runs jobs.
#[derive(Debug)]
pub(super) struct Jobs {
    context: Arc<Context>,
    background: Arc<Background>,
    catalog: Arc<Catalog>,
    database: Arc<Database>,
    storage: Arc<dyn Storage>,
    running: Mutex<BTreeSet<JobKind>>,
    ended: Condvar,
}

/// What a job works on.
#[derive(Debug)]
pub(super) struct Scope {
    /// As it was asked for; none for everything.
    pub(super) collection: Option<String>,
    /// The collections that are.
    pub(super) lines: Vec<Arc<Line>>,
}

impl Jobs {
    pub(super) fn new(
        context: Arc<Context>,
        background: Arc<Background>,
        catalog: Arc<Catalog>,
        database: Arc<Database>,
        storage: Arc<dyn Storage>,
    ) -> Arc<Jobs> {
        let (running, ended) = (Mutex::new(BTreeSet::new()), Condvar::new());
        Arc::new(Jobs { context, background, catalog, database, storage, running, ended })
    }

    /// Starts a job. The receiver gets it when it has ended.
    ///
    /// # Errors
    /// `Conflict` while one of its kind runs; `Io` without a thread.
    pub(super) fn start(
        self: &Arc<Self>,
        kind: JobKind,
        scope: Scope,
    ) -> Result<(JobId, oneshot::Receiver<()>)> {
        let recorded = kind.recorded();
        if !self.running().insert(kind) {
            let message = format!("a {} is running already; wait for it to end", recorded.name());
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let id = self.catalog.begin_job(recorded, scope.collection.as_deref());
        let (sender, receiver) = oneshot::channel();
        let this = Arc::clone(self);
        let builder = std::thread::Builder::new().name(format!("job-{}", recorded.name()));
        let started = builder.spawn(move || {
            let (state, details) = this.attempt(kind, &scope);
            this.catalog.finish_job(id, state, details);
            this.end(kind);
            // Who went away has no use for the answer.
            let _gone = sender.send(());
        });
        if let Err(error) = started {
            self.catalog.finish_job(id, JobState::Failed, json!({"message": error.to_string()}));
            self.end(kind);
            return Err(Error::io("start", "a thread for the job", error));
        }
        Ok((id, receiver))
    }

    /// A job by its id.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(super) fn job(&self, id: JobId) -> Result<Option<Job>> {
        Ok(self.catalog.job(id)?.map(Job::from))
    }

    /// The newest jobs, newest first.
    ///
    /// # Errors
    /// Those of the catalog.
    pub(super) fn newest(&self, limit: usize) -> Result<Vec<Job>> {
        Ok(self.catalog.jobs(limit)?.into_iter().map(Job::from).collect())
    }

    /// Waits until no job runs. False if `limit` passed first.
    pub(super) fn wait(&self, limit: Duration) -> bool {
        let waited =
            self.ended.wait_timeout_while(self.running(), limit, |kinds| !kinds.is_empty());
        let (kinds, _) = waited.unwrap_or_else(PoisonError::into_inner);
        kinds.is_empty()
    }

    fn end(&self, kind: JobKind) {
        self.running().remove(&kind);
        self.ended.notify_all();
    }

    fn attempt(&self, kind: JobKind, scope: &Scope) -> (JobState, Value) {
        let ended = catch_unwind(AssertUnwindSafe(|| self.run(kind, scope)));
        let ended = ended.unwrap_or_else(|_| {
            self.context.panicked("a job", scope.collection.as_deref().unwrap_or_default());
            Err(super::Code::Internal.error("the job failed inside the server"))
        });
        ended.unwrap_or_else(|error| {
            tracing::warn!(%error, job = kind.recorded().name(), "a job failed");
            (JobState::Failed, json!({"message": error.message()}))
        })
    }

    fn run(&self, kind: JobKind, scope: &Scope) -> Result<(JobState, Value)> {
        match kind {
            JobKind::Checkpoint => self.merge(scope, Effort::Checkpoint, "no_pending_wal"),
            JobKind::Compact => {
                self.merge(scope, Effort::Everything, "not_enough_compaction_candidates")
            }
            JobKind::Snapshot => {
                let named: Vec<String> = scope.collection.iter().cloned().collect();
                let snapshot = self.database.snapshot(&named)?;
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
            JobKind::Verify => {
                let report = self.background.aside(|| match &scope.collection {
                    Some(name) => verify_collection(&self.storage, name),
                    None => verify(&self.storage),
                })?;
                Ok((JobState::Completed, json!(report)))
            }
        }
    }

    /// Merges each collection; `idle` is the reason to give if none had anything to merge.
    fn merge(&self, scope: &Scope, effort: Effort, idle: &str) -> Result<(JobState, Value)> {
        let mut merged = Vec::new();
        for line in &scope.lines {
            let carried = line
                .collection
                .merge_by(effort, &mut |task| self.background.carry(task, &|| line.is_dropped()));
            self.context.observe(line, carried.as_ref().err().map(Error::message));
            let name = line.collection.name();
            if carried.map_err(|error| error.context(name))? {
                self.context.board.clear(Topic::Upkeep, name);
                merged.push(name);
            }
        }
        if merged.is_empty() {
            return Ok((JobState::Idle, json!({"reason": idle})));
        }
        Ok((JobState::Completed, json!({"collections": merged})))
    }

    fn running(&self) -> MutexGuard<'_, BTreeSet<JobKind>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
