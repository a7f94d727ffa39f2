//! Statistics of the server: `StoreStats` and `CollectionStats` for the stats route and the status page,
//! `scrape` for the metrics. Called by `Store`; read from views and from the last observation of the writers,
//! so that no call waits for a sync.

use nearfield_engine::{Error, KeyCounts};
use serde::Serialize;
use utoipa::ToSchema;

use super::health::Readiness;
use super::service::CollectionService;
use crate::metrics::{Metrics, Scrape};

/// One collection in numbers.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
pub struct CollectionStats {
    /// Its name.
    pub name: String,
    /// Why it cannot be opened, if it cannot; all numbers are 0 then.
    pub error: Option<String>,
    /// Live points.
    pub points: u64,
    /// Segments searched, in memory and in files.
    pub segments: u64,
    /// Segments with a damaged derived section, until the next compaction.
    pub degraded_segments: u64,
    /// The newest batch.
    pub lsn: u64,
    /// Live rows in memory and log only.
    pub hot_vectors: u64,
    /// Bytes of rows in memory and log only.
    pub memory_bytes: u64,
    /// Bytes of memory that the segments of its files take beside the maps of the files.
    pub resident_bytes: u64,
    /// Batches in the log and in no file.
    pub wal_pending: u64,
    /// Bytes of the log outside its archive.
    pub wal_size_bytes: u64,
    /// When the log was last truncated, in milliseconds since 1970; none before the first checkpoint.
    pub wal_last_truncate_ms: Option<u64>,
    /// Bytes written to the log since.
    pub wal_bytes_since_truncate: u64,
    /// Syncs of the log since the collection was opened or recovered.
    pub wal_fsyncs: u64,
    /// Batches waiting to be written.
    pub queue_batches: u64,
    /// Bytes waiting to be written.
    pub queue_bytes: u64,
    /// Idempotency keys remembered.
    pub idempotency: KeyCounts,
    /// Files in quarantine, as of some minutes ago at most.
    pub quarantine_files: u64,
    /// Their bytes.
    pub quarantine_bytes: u64,
}

impl CollectionStats {
    /// A collection that cannot be opened.
    pub(super) fn unavailable(name: &str, error: &Error) -> CollectionStats {
        let (name, error) = (name.to_owned(), Some(error.message().to_owned()));
        CollectionStats { name, error, ..CollectionStats::default() }
    }

    pub(crate) fn of(served: &CollectionService) -> CollectionStats {
        let (managed, view) = (&served.managed, served.view());
        let (seen, quarantine) = (managed.collection.stats(), managed.quarantine());
        let (queue_batches, queue_bytes) = served.committers.depth(managed);
        let in_memory = view.segments.iter().filter(|live| live.file.is_none());
        let in_files = view.segments.iter().filter(|live| live.file.is_some());
        let degraded = view.segments.iter().filter(|live| !live.segment.degraded().is_empty());
        CollectionStats {
            name: served.name().to_owned(),
            error: None,
            points: view.len(),
            segments: view.segments.len() as u64,
            degraded_segments: degraded.count() as u64,
            lsn: view.lsn.0,
            hot_vectors: in_memory.map(|live| u64::from(live.live_rows())).sum(),
            memory_bytes: seen.memory_bytes,
            resident_bytes: in_files.map(|live| live.segment.beside_bytes()).sum(),
            wal_pending: managed.pending(),
            wal_size_bytes: seen.log.bytes,
            wal_last_truncate_ms: seen.log.truncated_ms,
            wal_bytes_since_truncate: seen.log.bytes_since_truncation,
            wal_fsyncs: seen.log.syncs,
            queue_batches,
            queue_bytes,
            idempotency: seen.keys,
            quarantine_files: quarantine.files,
            quarantine_bytes: quarantine.bytes,
        }
    }
}

/// The database in numbers; more fields may come
#[derive(Debug, Clone, Default, PartialEq, Serialize, ToSchema)]
#[schema(as = Stats)]
pub struct StoreStats {
    /// Every collection reads and writes.
    pub ready: bool,
    /// The process works.
    pub live: bool,
    /// Segments that are searched.
    pub active_segments: u64,
    /// Damaged files and segments, and collections that cannot be opened.
    pub failed_segments: u64,
    /// Live rows in memory and log only.
    pub hot_vectors: u64,
    /// Batches in the log and in no file.
    pub wal_pending: u64,
    /// Live points.
    pub total_vectors: u64,
    /// Checkpoints under way.
    pub checkpoint_jobs_inflight: u64,
    /// Compactions under way.
    pub compaction_jobs_inflight: u64,
    /// Files in quarantine, as of some minutes ago at most.
    pub quarantine_files: u64,
    /// Bytes of the files in quarantine.
    pub quarantine_bytes: u64,
    /// Files removed from quarantine because they were too old, too many or too large.
    pub quarantine_evictions_total: u64,
    /// Bytes of the catalog's own log.
    pub sqlite_wal_bytes: u64,
    /// Bytes waiting to be written.
    pub ingest_queue_bytes: u64,
    /// Bytes the budget counts: queues, requests, merges, rows not yet in files with what their checkpoint takes.
    pub memory_proxy_bytes: u64,
    /// The limit of memory_proxy_bytes.
    pub memory_budget_bytes: u64,
    /// Bytes of memory that the segments of files take beside their maps, which the budget does not count.
    pub resident_segment_bytes: u64,
    /// Each collection.
    #[schema(value_type = Vec<Map<String, Value>>)]
    pub collections: Vec<CollectionStats>,
}

impl StoreStats {
    /// Sums up; damage was found in so many files of collections that are open.
    pub(super) fn of(
        readiness: &Readiness,
        metrics: &Metrics,
        collections: Vec<CollectionStats>,
        damaged_files: u64,
    ) -> StoreStats {
        let sum = |value: fn(&CollectionStats) -> u64| collections.iter().map(value).sum();
        let closed = collections.iter().filter(|stats| stats.error.is_some()).count() as u64;
        let count = |value: i64| u64::try_from(value).unwrap_or_default();
        StoreStats {
            ready: readiness.ready,
            live: readiness.live,
            active_segments: sum(|stats| stats.segments),
            failed_segments: sum(|stats| stats.degraded_segments) + closed + damaged_files,
            hot_vectors: sum(|stats| stats.hot_vectors),
            wal_pending: sum(|stats| stats.wal_pending),
            total_vectors: sum(|stats| stats.points),
            checkpoint_jobs_inflight: count(metrics.checkpoints_inflight.get()),
            compaction_jobs_inflight: count(metrics.compactions_inflight.get()),
            quarantine_files: sum(|stats| stats.quarantine_files),
            quarantine_bytes: sum(|stats| stats.quarantine_bytes),
            quarantine_evictions_total: metrics.quarantine_evictions.get(),
            ingest_queue_bytes: sum(|stats| stats.queue_bytes),
            resident_segment_bytes: sum(|stats| stats.resident_bytes),
            collections,
            ..StoreStats::default()
        }
    }

    /// The numbers of metrics that are read and not counted.
    pub(super) fn scrape(&self, now_ms: u64) -> Scrape {
        let one = |value: u64| vec![(None, value as f64)];
        let each = |value: &dyn Fn(&CollectionStats) -> f64| {
            let labelled = |stats: &CollectionStats| (Some(stats.name.clone()), value(stats));
            let open = self.collections.iter().filter(|stats| stats.error.is_none());
            open.map(labelled).collect::<Vec<_>>()
        };
        let open = |stats: &CollectionStats| {
            (Some(stats.name.clone()), f64::from(u8::from(stats.error.is_none())))
        };
        let since_ms = |stats: &CollectionStats| {
            stats.wal_last_truncate_ms.map_or(f64::INFINITY, |at| now_ms.saturating_sub(at) as f64)
        };
        vec![
            ("ready", "1 if every collection reads and writes", one(u64::from(self.ready))),
            ("active_segments", "Segments searched", one(self.active_segments)),
            ("failed_segments", "Damaged files and closed collections", one(self.failed_segments)),
            ("hot_vectors", "Rows in memory and log only", one(self.hot_vectors)),
            ("wal_pending", "Batches in the log and in no file", one(self.wal_pending)),
            ("wal_pending_rows", "Rows in the log and in no file", one(self.hot_vectors)),
            ("total_vectors", "Live points", one(self.total_vectors)),
            ("quarantine_files", "Files in quarantine", one(self.quarantine_files)),
            ("quarantine_bytes", "Bytes in quarantine", one(self.quarantine_bytes)),
            ("sqlite_wal_bytes", "Bytes of the catalog's own log", one(self.sqlite_wal_bytes)),
            ("ingest_queue_bytes", "Bytes waiting to be written", one(self.ingest_queue_bytes)),
            ("memory_proxy_bytes", "Bytes the budget counts", one(self.memory_proxy_bytes)),
            ("memory_budget_bytes", "Their limit", one(self.memory_budget_bytes)),
            (
                "resident_segment_bytes",
                "Bytes of memory of segments in files beside their maps, which the budget does not count",
                one(self.resident_segment_bytes),
            ),
            (
                "collection_open",
                "1 if the collection is served, 0 if it cannot be opened",
                self.collections.iter().map(open).collect(),
            ),
            ("points", "Live points", each(&|stats| stats.points as f64)),
            ("segments", "Segments searched", each(&|stats| stats.segments as f64)),
            ("wal_size_bytes", "Bytes of the log", each(&|stats| stats.wal_size_bytes as f64)),
            (
                "wal_seconds_since_truncate",
                "Since the log was truncated; inf if never",
                each(&|stats| since_ms(stats) / 1e3),
            ),
            (
                "wal_bytes_since_truncate",
                "Bytes written to the log since it was truncated",
                each(&|stats| stats.wal_bytes_since_truncate as f64),
            ),
            (
                "wal_fsyncs_total",
                "Syncs of the log since the collection was opened or recovered",
                each(&|stats| stats.wal_fsyncs as f64),
            ),
        ]
    }
}
