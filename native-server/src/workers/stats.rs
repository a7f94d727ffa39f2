//! What is going on, in numbers: for the stats route, the metrics and the status page.

use serde::Serialize;

/// One collection in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CollectionStats {
    /// Its name.
    pub name: String,
    /// Live points.
    pub points: u64,
    /// Segments searched.
    pub segments: u64,
    /// The newest batch.
    pub lsn: u64,
    /// Rows in memory and log only.
    pub hot_vectors: u64,
    /// Bytes of rows in memory and log only.
    pub memory_bytes: u64,
    /// Batches in the log and in no file.
    pub wal_pending: u64,
    /// Bytes of the log outside its archive.
    pub wal_size_bytes: u64,
    /// When the log was last truncated by this process, in milliseconds since 1970.
    pub wal_last_truncate_ms: Option<u64>,
    /// Bytes written to the log since.
    pub wal_bytes_since_truncate: u64,
    /// Batches waiting to be written.
    pub queue_batches: u64,
    /// Bytes waiting to be written.
    pub queue_bytes: u64,
}

/// The whole database in numbers; the names of Vibrato's `/admin/stats` and more.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct StoreStats {
    /// As in readiness.
    pub ready: bool,
    /// As in readiness.
    pub live: bool,
    /// Segments that are searched.
    pub active_segments: u64,
    /// Files no longer searched that are kept for the past.
    pub obsolete_segments: u64,
    /// Segments with a damaged section, and collections that cannot be opened.
    pub failed_segments: u64,
    /// Rows in memory and log only.
    pub hot_vectors: u64,
    /// Batches in the log and in no file.
    pub wal_pending: u64,
    /// Live points.
    pub total_vectors: u64,
    /// Checkpoints under way.
    pub checkpoint_jobs_inflight: u64,
    /// Compactions under way.
    pub compaction_jobs_inflight: u64,
    /// Files in quarantine.
    pub quarantine_files: u64,
    /// Their bytes.
    pub quarantine_bytes: u64,
    /// Files that quarantine gave up for lack of room.
    pub quarantine_evictions_total: u64,
    /// Bytes waiting to be written.
    pub ingest_queue_bytes: u64,
    /// Bytes the budget counts: queues, requests, rows not yet in files.
    pub memory_proxy_bytes: u64,
    /// Their limit.
    pub memory_budget_bytes: u64,
    /// Each collection.
    pub collections: Vec<CollectionStats>,
}
