//! Shapes that are only told: what is read or written by hand elsewhere, for the OpenAPI document.
//!
//! Requests refuse keys that are not here, and take `null` for a key that is left out ([`super::cursor`]).

#![expect(dead_code, reason = "these types are shapes; no value of them is ever made")]

use std::collections::BTreeMap;

use serde_json::{Map, Value};
use utoipa::openapi::schema::{ArrayBuilder, ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::words::{JobKindName, JobStateName, MetricName, ScoreKindName, SearchTier, StoreName};

/// A number from 0 to 2^64 - 1, or a string of 1 to 256 bytes.
pub(super) struct Id;

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer).minimum(Some(0.0));
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.min_length(Some(1)).max_length(Some(256));
        OneOfBuilder::new().item(number).item(text).into()
    }
}

impl ToSchema for Id {}

/// A row to write
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Row {
    /// Of the default vector field
    vector: Option<Vec<f32>>,
    /// By vector field
    vectors: Option<BTreeMap<String, Vec<f32>>>,
    /// Left out: an id is assigned. Either every row of a batch has one or none
    id: Option<Id>,
    metadata: Option<Map<String, Value>>,
    /// A later row with the same key is not written and answered with the id of this one
    #[schema(min_length = 1, max_length = 256)]
    idempotency_key: Option<String>,
}

/// One point to write
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteOne {
    /// Of the default vector field
    vector: Option<Vec<f32>>,
    /// By vector field
    vectors: Option<BTreeMap<String, Vec<f32>>>,
    /// Left out: an id is assigned
    id: Option<Id>,
    metadata: Option<Map<String, Value>>,
    /// A later point with the same key is not written and answered with the id of this one
    #[schema(min_length = 1, max_length = 256)]
    idempotency_key: Option<String>,
    /// false: answered once it is checked and queued
    wait: Option<bool>,
}

/// Points to write as one atomic batch
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WriteBatch {
    /// At most 1,000,000; an empty list is answered by 200 and changes nothing
    #[schema(max_items = 1_000_000)]
    vectors: Vec<Row>,
    /// A later batch with the same key is not written and answered as this one
    #[schema(min_length = 1, max_length = 256)]
    idempotency_key: Option<String>,
    /// false: answered once it is checked and queued
    wait: Option<bool>,
}

/// A point that was written
#[derive(ToSchema)]
pub(super) struct WrittenPoint {
    id: Id,
    /// false if it replaced one, or had been written before
    created: bool,
}

/// A change that was checked and queued
#[derive(ToSchema)]
pub(super) struct Accepted {
    /// Rows of a write; 1 for a deletion
    accepted: u64,
}

/// A batch that was written
#[derive(ToSchema)]
pub(super) struct WrittenBatch {
    /// In the order of the rows
    results: Vec<WrittenPoint>,
    /// Its position in the log
    lsn: u64,
}

/// A question with one vector or many
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Query {
    vector: Option<Vec<f32>>,
    /// Instead of vector: the answer is a list of lists
    vectors: Option<Vec<Vec<f32>>>,
    /// Results wanted, 1 to 1,000,000; 10 if left out
    #[schema(minimum = 1, maximum = 1_000_000)]
    k: Option<u32>,
    /// Candidates a graph search keeps: more is slower and finds more
    #[schema(minimum = 1, maximum = 1_000_000)]
    ef: Option<u32>,
    /// Compare with every point
    exact: Option<bool>,
    /// Only points whose metadata pass, as in {"price": {"lt": 10}}
    filter: Option<Map<String, Value>>,
    /// all, active (memory and young files) or archive; all if left out
    search_tier: Option<SearchTier>,
    /// true if left out
    include_metadata: Option<bool>,
    include_vector: Option<bool>,
    /// Vector field searched; the default one if left out
    field: Option<String>,
}

/// A point found
#[derive(ToSchema)]
pub(super) struct FoundPoint {
    id: Id,
    /// Similarity (larger is closer) or Euclidean distance, as score_kind says
    score: f32,
    metadata: Option<Map<String, Value>>,
    vector: Option<Vec<f32>>,
}

/// A list of points, or for several vectors a list of such lists.
pub(super) struct Results;

impl PartialSchema for Results {
    fn schema() -> RefOr<Schema> {
        let point = Ref::from_schema_name(FoundPoint::name());
        let points = || ArrayBuilder::new().items(point.clone());
        OneOfBuilder::new().item(points()).item(ArrayBuilder::new().items(points())).into()
    }
}

impl ToSchema for Results {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FoundPoint::name().into_owned(), FoundPoint::schema()));
        FoundPoint::schemas(schemas);
    }
}

/// The nearest points, closest first
#[derive(ToSchema)]
pub(super) struct QueryAnswer {
    results: Results,
    score_kind: ScoreKindName,
    query_time_ms: f64,
}

/// Points by id, or a page of them
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsGet {
    /// At most 10,000; unknown ones are left out of the answer
    #[schema(max_items = 10_000)]
    ids: Option<Vec<Id>>,
    /// Instead of ids
    filter: Option<Map<String, Value>>,
    /// Points of a page, 1 to 10,000; 100 if left out
    #[schema(minimum = 1, maximum = 10_000)]
    limit: Option<u32>,
    /// The page begins behind this id
    after: Option<Id>,
    /// true if left out
    include_metadata: Option<bool>,
    include_vector: Option<bool>,
    /// Vector field shown
    field: Option<String>,
}

/// A point
#[derive(ToSchema)]
pub(super) struct PointAnswer {
    id: Id,
    metadata: Option<Map<String, Value>>,
    vector: Option<Vec<f32>>,
}

/// Points looked up
#[derive(ToSchema)]
pub(super) struct Points {
    points: Vec<PointAnswer>,
    /// Behind this id comes the next page; left out at the end
    next: Option<Id>,
}

/// Points to delete: by ids or by filter
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PointsDelete {
    #[schema(max_items = 1_000_000)]
    ids: Option<Vec<Id>>,
    filter: Option<Map<String, Value>>,
    /// false: answered once it is checked and queued
    wait: Option<bool>,
}

/// What was deleted
#[derive(ToSchema)]
pub(super) struct Deleted {
    deleted: u64,
    lsn: u64,
}

/// Which points are meant
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Filtered {
    filter: Option<Map<String, Value>>,
}

/// How many points
#[derive(ToSchema)]
pub(super) struct Counted {
    count: u64,
}

/// What is exported
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Export {
    filter: Option<Map<String, Value>>,
    /// true if left out
    include_vector: Option<bool>,
}

/// One vector field of a new collection
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewField {
    /// Elements of a vector
    #[schema(minimum = 1, maximum = 65_536)]
    dim: u32,
    /// cosine if left out
    metric: Option<MetricName>,
    /// f32 if left out
    store: Option<StoreName>,
}

/// A collection to create: with dim for one vector field, or with vectors for several
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Create {
    /// Of A-Z a-z 0-9 . _ - and no dot in front
    #[schema(min_length = 1, max_length = 255)]
    name: String,
    #[schema(minimum = 1, maximum = 65_536)]
    dim: Option<u32>,
    metric: Option<MetricName>,
    store: Option<StoreName>,
    vectors: Option<BTreeMap<String, NewField>>,
}

/// What a job is for
#[derive(ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct JobOf {
    /// All if left out
    collection: Option<String>,
}

/// A job
#[derive(ToSchema)]
pub(super) struct Job {
    job_id: String,
    kind: JobKindName,
    /// All if null
    collection: Option<String>,
    state: JobStateName,
    /// What came out, or message if it failed
    details: Map<String, Value>,
    /// Milliseconds since 1970
    started_ms: u64,
    finished_ms: Option<u64>,
}

/// The database in numbers; more fields may come
#[derive(ToSchema)]
pub(super) struct Stats {
    ready: bool,
    live: bool,
    active_segments: u64,
    failed_segments: u64,
    hot_vectors: u64,
    wal_pending: u64,
    total_vectors: u64,
    checkpoint_jobs_inflight: u64,
    compaction_jobs_inflight: u64,
    sqlite_wal_bytes: u64,
    ingest_queue_bytes: u64,
    memory_proxy_bytes: u64,
    memory_budget_bytes: u64,
    resident_segment_bytes: u64,
    collections: Vec<Map<String, Value>>,
}

/// What went wrong
#[derive(ToSchema)]
pub(super) struct Refused {
    /// For programs; stable
    code: String,
    /// For people
    message: String,
    /// What the message says, by name
    details: Map<String, Value>,
}
