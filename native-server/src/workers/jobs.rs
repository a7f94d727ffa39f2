//! Work that an operator asks for: what it is called, how far it is, how it ended.

use serde::Serialize;
use serde_json::Value;

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
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
    /// Its word in JSON and in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            JobKind::Checkpoint => "checkpoint",
            JobKind::Compact => "compact",
            JobKind::Snapshot => "snapshot",
            JobKind::Verify => "verify",
        }
    }
}

/// How far a job is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum JobState {
    /// Under way.
    Running,
    /// Done.
    Completed,
    /// There was nothing to do.
    Idle,
    /// Ended with an error; `details.message` says which.
    Failed,
}

impl JobState {
    /// Its word in JSON and in the catalog.
    pub fn name(self) -> &'static str {
        match self {
            JobState::Running => "running",
            JobState::Completed => "completed",
            JobState::Idle => "idle",
            JobState::Failed => "failed",
        }
    }
}

/// A job as it is reported.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Job {
    /// `job_<hex>`.
    pub job_id: String,
    /// What it does.
    pub kind: JobKind,
    /// On one collection, or on all.
    pub collection: Option<String>,
    /// How far it is.
    pub state: JobState,
    /// What came out.
    pub details: Value,
    /// Milliseconds since 1970.
    pub started_ms: u64,
    /// Milliseconds since 1970; none while it runs.
    pub finished_ms: Option<u64>,
}
