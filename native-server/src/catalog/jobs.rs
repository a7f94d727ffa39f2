//! The job history: `JobBook` stores in SQLite which jobs ran, for which collection, and how they ended. Used by
//! `Catalog` for `workers::jobs`, and by `admin/jobs` to list them.
//!
//! A job is never refused because its row cannot be written: checkpoints are what make space. Such rows
//! stay in memory and are written with the next one that can be.

use std::collections::BTreeMap;
use std::fmt;

use nearfield_engine::Result;
use rusqlite::types::{FromSql, FromSqlError, FromSqlResult, ToSql, ToSqlOutput, ValueRef};
use rusqlite::{Row, Transaction, params};
use serde::{Serialize, Serializer};
use serde_json::Value;
use tracing::warn;
use utoipa::ToSchema;

use super::sqlite::{Done, Sqlite};

/// Rows kept; the oldest go first.
const JOBS_MAX: u64 = 10_000;
/// Rows that wait in memory while the file cannot be written.
const UNSAVED_MAX: usize = 1_000;

/// Defines an enum whose variants have a word each, in JSON and in the catalog.
macro_rules! words {
    (
        $(#[$about:meta])*
        $name:ident { $($(#[$note:meta])* $variant:ident = $word:literal,)* }
    ) => {
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ToSchema)]
        $(#[$about])*
        pub enum $name {
            $($(#[$note])* $variant,)*
        }

        impl $name {
            /// The word.
            pub fn name(self) -> &'static str {
                match self {
                    $($name::$variant => $word,)*
                }
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, to: S) -> std::result::Result<S::Ok, S::Error> {
                to.serialize_str(self.name())
            }
        }

        impl ToSql for $name {
            fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
                Ok(self.name().into())
            }
        }

        impl FromSql for $name {
            fn column_result(value: ValueRef<'_>) -> FromSqlResult<$name> {
                match value.as_str()? {
                    $($word => Ok($name::$variant),)*
                    _ => Err(FromSqlError::InvalidType),
                }
            }
        }
    };
}

words! {
    /// What a job does
    #[schema(as = JobKindName, rename_all = "lowercase")]
    JobKind {
        /// Rows of the log into a segment file.
        Checkpoint = "checkpoint",
        /// Segment files into one.
        Compaction = "compaction",
        /// A backup.
        Snapshot = "snapshot",
        /// Every byte read and checked.
        Verify = "verify",
    }
}

words! {
    /// How far a job is; idle: there was nothing to do
    #[schema(as = JobStateName, rename_all = "lowercase")]
    JobState {
        /// Under way.
        Running = "running",
        /// Done.
        Completed = "completed",
        /// There was nothing to do.
        Idle = "idle",
        /// It failed; the details give the reason.
        Failed = "failed",
        /// It was stopped, by a request or because the server closed.
        Cancelled = "cancelled",
        /// Its process ended before it.
        Interrupted = "interrupted",
    }
}

/// Names a job. Shown as `job_<16 hex>`.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct JobId(pub(super) u64);

impl JobId {
    /// The id written in `text`, which is nothing else.
    pub fn parse(text: &str) -> Option<JobId> {
        let number = u64::from_str_radix(text.strip_prefix("job_")?, 16).ok().map(JobId)?;
        (number.to_string() == text).then_some(number)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "job_{:016x}", self.0)
    }
}

impl fmt::Debug for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// A job.
#[derive(Debug, Clone, PartialEq)]
pub struct Job {
    /// Its id.
    pub id: JobId,
    /// What it does.
    pub kind: JobKind,
    /// For which collection; `None` for all.
    pub collection: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// When it began, in milliseconds since 1970.
    pub started_ms: u64,
    /// When it ended.
    pub finished_ms: Option<u64>,
    /// What it did or why it failed; an object.
    pub details: Value,
}

/// The jobs of this process whose rows may still change, and those of all in the file.
#[derive(Debug)]
pub(super) struct JobBook {
    /// By number: running, or not saved as they are.
    open: BTreeMap<u64, Job>,
    next: u64,
}

impl JobBook {
    pub(super) fn new() -> JobBook {
        JobBook { open: BTreeMap::new(), next: 0 }
    }

    /// Begins a job.
    pub(super) fn begin(&mut self, catalog: &mut Sqlite, job: Job) {
        if self.open.len() >= UNSAVED_MAX {
            self.open.pop_first();
        }
        self.open.insert(self.next, job);
        self.next += 1;
        self.save(catalog);
    }

    /// Ends a job; an unknown job, or one that has ended, stays as it is.
    pub(super) fn finish(
        &mut self,
        catalog: &mut Sqlite,
        id: JobId,
        state: JobState,
        details: Value,
        now_ms: u64,
    ) {
        let running = |job: &&mut Job| job.id == id && job.state == JobState::Running;
        if let Some(job) = self.open.values_mut().find(running) {
            (job.state, job.details, job.finished_ms) = (state, details, Some(now_ms));
        }
        self.save(catalog);
    }

    fn save(&mut self, catalog: &mut Sqlite) {
        let saved = catalog.change("write jobs", |change| {
            self.open.values().try_for_each(|job| upsert(change, job))?;
            let text = "DELETE FROM jobs WHERE number <= (SELECT max(number) FROM jobs) - ?1";
            change.execute(text, [JOBS_MAX])?;
            Ok(())
        });
        match saved {
            Ok(()) => self.open.retain(|_, job| job.state == JobState::Running),
            Err(error) => warn!(%error, "jobs are not written down for now"),
        }
    }

    /// The newest `limit` jobs, newest first.
    pub(super) fn newest(&self, catalog: &Sqlite, limit: usize) -> Result<Vec<Job>> {
        let text = "SELECT id, kind, collection, state, started_ms, finished_ms, details
                    FROM jobs ORDER BY number DESC LIMIT ?1";
        let saved = catalog.read("read jobs", |connection| {
            let rows = i64::try_from(limit).unwrap_or(i64::MAX);
            let mut statement = connection.prepare(text)?;
            let jobs = statement.query_map([rows], job)?;
            Ok(jobs.collect::<rusqlite::Result<Vec<Job>>>()?)
        })?;
        let mut jobs: Vec<Job> = self.unsaved(&saved).rev().cloned().collect();
        let current = |job: Job| self.find(job.id).cloned().unwrap_or(job);
        jobs.extend(saved.into_iter().map(current));
        jobs.truncate(limit);
        Ok(jobs)
    }

    /// One job.
    pub(super) fn job(&self, catalog: &Sqlite, id: JobId) -> Result<Option<Job>> {
        if let Some(job) = self.find(id) {
            return Ok(Some(job.clone()));
        }
        let text = "SELECT id, kind, collection, state, started_ms, finished_ms, details
                    FROM jobs WHERE id = ?1";
        catalog.read("read a job", |connection| {
            let mut statement = connection.prepare(text)?;
            let mut found = statement.query_map([id], job)?;
            Ok(found.next().transpose()?)
        })
    }

    fn find(&self, id: JobId) -> Option<&Job> {
        self.open.values().find(|job| job.id == id)
    }

    fn unsaved(&self, saved: &[Job]) -> impl DoubleEndedIterator<Item = &Job> {
        self.open.values().filter(|open| saved.iter().all(|job| job.id != open.id))
    }
}

/// Marks running jobs of processes that are gone; their number.
pub(super) fn interrupt(change: &Transaction<'_>, now_ms: u64) -> Done<u64> {
    let text = "UPDATE jobs SET state = ?1, finished_ms = ?2 WHERE state = ?3";
    let values = params![JobState::Interrupted, now_ms, JobState::Running];
    Ok(change.execute(text, values)? as u64)
}

fn upsert(change: &Transaction<'_>, job: &Job) -> Done<()> {
    let text = "INSERT INTO jobs (id, kind, collection, state, started_ms, finished_ms, details)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)
                ON CONFLICT (id) DO UPDATE SET
                    state = excluded.state, finished_ms = excluded.finished_ms, details = excluded.details";
    let Job { id, kind, collection, state, started_ms, finished_ms, details } = job;
    let details = details.to_string();
    let values = params![id, kind, collection, state, started_ms, finished_ms, details];
    change.prepare_cached(text)?.execute(values)?;
    Ok(())
}

fn job(row: &Row<'_>) -> rusqlite::Result<Job> {
    Ok(Job {
        id: row.get(0)?,
        kind: row.get(1)?,
        collection: row.get(2)?,
        state: row.get(3)?,
        started_ms: row.get(4)?,
        finished_ms: row.get(5)?,
        details: row.get::<_, Details>(6)?.0,
    })
}

struct Details(Value);

impl FromSql for Details {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<Details> {
        let read = serde_json::from_str(value.as_str()?);
        read.map(Details).map_err(|error| FromSqlError::Other(Box::new(error)))
    }
}

impl ToSql for JobId {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(self.to_string().into())
    }
}

impl FromSql for JobId {
    fn column_result(value: ValueRef<'_>) -> FromSqlResult<JobId> {
        JobId::parse(value.as_str()?).ok_or(FromSqlError::InvalidType)
    }
}
