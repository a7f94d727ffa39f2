//! The shapes of requests and answers, for the OpenAPI document; some answers are written from them.
//!
//! Requests are read by hand (`cursor`), and the answers of the hot path are written by hand: what is said
//! here about those is held against the running server by a test.

use std::collections::BTreeMap;

use nearfield_segment::{DEFAULT_FIELD, Metric};
use serde::Serialize;
use utoipa::ToSchema;

use super::shapes::Job;
use super::words::{HealthStatus, MetricName, StoreName};
use crate::workers::{CollectionStats, Served};

/// What is said about one collection.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct CollectionInfo {
    /// Its name
    name: String,
    /// Why it cannot be opened, if it cannot; nothing else is known of it then
    error: Option<String>,
    /// Live points
    points: u64,
    /// Elements of the default vector field, or of the first
    dim: u32,
    /// How that field is compared
    #[schema(value_type = MetricName)]
    metric: &'static str,
    /// Every vector field by name; "" is the default one
    vectors: BTreeMap<String, FieldInfo>,
    /// Segments searched
    segments: u64,
    /// The newest batch
    lsn: u64,
    /// Bytes of the log outside its archive
    wal_size_bytes: u64,
    /// When the log was last truncated, RFC 3339
    wal_last_truncate: Option<String>,
    /// Bytes written to the log since
    wal_bytes_since_truncate: u64,
    /// Bytes of rows in memory and log only
    memory_bytes: u64,
    /// What repeated keys are told apart by
    idempotency: IdempotencyInfo,
}

/// One vector field.
#[derive(Debug, Serialize, ToSchema)]
struct FieldInfo {
    dim: u32,
    #[schema(value_type = MetricName)]
    metric: &'static str,
    #[schema(value_type = StoreName)]
    store: &'static str,
}

/// How idempotency keys are kept.
#[derive(Debug, Default, Serialize, ToSchema)]
struct IdempotencyInfo {
    /// Keys of whole batches that are remembered
    batches: usize,
    /// Keys of rows that are remembered
    rows: usize,
    /// The most of each; the oldest are forgotten first
    max: usize,
    /// Longest key
    key_bytes_max: usize,
}

impl CollectionInfo {
    /// A collection that cannot be opened: numbers are 0, and the metric stands for none.
    pub(super) fn unavailable(name: &str, error: &str) -> CollectionInfo {
        CollectionInfo {
            name: name.to_owned(),
            error: Some(error.to_owned()),
            metric: Metric::Cosine.name(),
            ..CollectionInfo::default()
        }
    }

    pub(super) fn new(served: &Served, stats: CollectionStats) -> CollectionInfo {
        let view = served.view();
        let field = |spec: &nearfield_segment::VectorSpec| FieldInfo {
            dim: spec.dim,
            metric: spec.metric.name(),
            store: spec.store.name(),
        };
        let vectors: BTreeMap<_, _> =
            view.schema.vectors.iter().map(|(name, spec)| (name.clone(), field(spec))).collect();
        let first = vectors.get(DEFAULT_FIELD).or_else(|| vectors.values().next());
        let (dim, metric) = first.map_or((0, ""), |field| (field.dim, field.metric));
        CollectionInfo {
            name: served.name().to_owned(),
            error: None,
            points: view.len(),
            dim,
            metric,
            vectors,
            segments: view.segments.len() as u64,
            lsn: view.lsn.0,
            wal_size_bytes: stats.wal_size_bytes,
            wal_last_truncate: stats.wal_last_truncate_ms.map(crate::json::time),
            wal_bytes_since_truncate: stats.wal_bytes_since_truncate,
            memory_bytes: stats.memory_bytes,
            idempotency: IdempotencyInfo {
                batches: stats.idempotency.batches,
                rows: stats.idempotency.rows,
                max: stats.idempotency.max,
                key_bytes_max: nearfield_engine::batch::IDEMPOTENCY_KEY_BYTES_MAX,
            },
        }
    }
}

/// All collections, those that cannot be opened among them.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Collections {
    pub(super) collections: Vec<CollectionInfo>,
}

/// The collection that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dropped {
    pub(super) dropped: String,
}

/// Jobs, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Jobs {
    #[schema(value_type = Vec<Job>)]
    pub(super) jobs: Vec<crate::workers::Job>,
}

/// What health routes say.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    #[schema(value_type = HealthStatus)]
    pub(super) status: &'static str,
    /// Every collection reads and writes
    pub(super) ready: bool,
    /// The process works at all
    pub(super) live: bool,
    /// recovered: …, or degraded: … blockers=a | b
    pub(super) report: String,
    /// What stands in the way, one sentence each
    pub(super) blockers: Vec<String>,
}

/// What an Arrow stream wrote.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Ingested {
    pub(super) rows: u64,
    /// Record batches, each one atomic
    pub(super) batches: u64,
    pub(super) inserted: u64,
    pub(super) replaced: u64,
    /// Of the last batch
    pub(super) lsn: u64,
}
