//! Handlers of `collections`: create, list and drop collections. Also here: the structs of their requests and answers
//! (`Create`, `CollectionInfo`). Called by the routes of `v2`.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use nearfield_engine::{DECLARED_FIELDS_MAX, Error, Fault};
use nearfield_segment::{
    DEFAULT_FIELD, Encoding, FieldKind, FieldKinds, Metric, Schema, VectorSpec,
};
use serde::Serialize;
use utoipa::ToSchema;

use super::names::{FieldKindName, MetricName, StoreName};
use crate::http::{self, ApiError, Call, Cursor, FromJson, Result, request};
use crate::workers::{CollectionService, CollectionStats};

/// Vector fields of a collection that is created here.
const FIELDS_MAX: usize = 256;

request! {
    /// A collection to create: with dim for one vector field, or with vectors for several
    pub(super) struct Create {
        /// Of A-Z a-z 0-9 . _ - and no dot in front
        #[schema(value_type = String, min_length = 1, max_length = 255)]
        name: String,
        #[schema(minimum = 1, maximum = 65_536)]
        dim: u32,
        #[schema(value_type = Option<MetricName>)]
        metric: Metric,
        #[schema(value_type = Option<StoreName>)]
        store: Encoding,
        #[schema(value_type = Option<BTreeMap<String, NewField>>)]
        vectors: NewFields,
        /// Kinds of metadata fields, by path: "datetime" for fields whose texts are compared as moments
        #[schema(value_type = Option<BTreeMap<String, FieldKindName>>)]
        fields: NewKinds,
    }
}

request! {
    /// One vector field of a new collection
    pub(super) struct NewField {
        /// Elements of a vector
        #[schema(value_type = u32, minimum = 1, maximum = 65_536)]
        dim: u32,
        /// cosine if left out
        #[schema(value_type = Option<MetricName>)]
        metric: Metric,
        /// f32 if left out
        #[schema(value_type = Option<StoreName>)]
        store: Encoding,
    }
}

/// The vector fields of a new collection by name.
#[derive(Debug)]
pub(super) struct NewFields(BTreeMap<String, VectorSpec>);

/// The declared metadata fields of a new collection.
#[derive(Debug)]
pub(super) struct NewKinds(FieldKinds);

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
    /// Metadata fields whose kind is declared
    #[schema(value_type = BTreeMap<String, FieldKindName>)]
    fields: FieldKinds,
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
    /// The idempotency keys that are kept
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
    fn unavailable(name: &str, error: &str) -> CollectionInfo {
        CollectionInfo {
            name: name.to_owned(),
            error: Some(error.to_owned()),
            metric: Metric::Cosine.name(),
            ..CollectionInfo::default()
        }
    }

    fn of(served: &CollectionService) -> CollectionInfo {
        let (view, stats) = (served.view(), CollectionStats::of(served));
        let field = |spec: &VectorSpec| FieldInfo {
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
            fields: view.schema.fields.clone(),
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
    collections: Vec<CollectionInfo>,
}

/// The collection that is gone.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Dropped {
    dropped: String,
}

/// Answers `POST collections`.
pub(super) async fn create(mut call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let (name, schema) = call.request::<Create>().await?.checked()?;
    let served = run_blocking(move || store.create(&name, &schema)).await?;
    Ok(http::data(StatusCode::CREATED, CollectionInfo::of(&served)))
}

/// Answers `GET collections`.
pub(super) async fn list(call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let names = store.names();
    let described = names.iter().map(|name| match store.collection(Some(name)) {
        Ok(served) => CollectionInfo::of(&served),
        Err(error) => CollectionInfo::unavailable(name, &error.to_string()),
    });
    let collections = described.collect();
    Ok(http::ok(Collections { collections }))
}

/// Answers `GET collections/{name}`.
pub(super) async fn get(call: Call) -> Result<Response<Body>> {
    Ok(http::ok(CollectionInfo::of(&*call.served()?)))
}

/// Answers `DELETE collections/{name}`.
pub(super) async fn remove(call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let name = call.collection.unwrap_or_default();
    let dropped = name.clone();
    run_blocking(move || store.drop_collection(&name)).await?;
    Ok(http::ok(Dropped { dropped }))
}

/// Runs work that waits for the disk, on a thread of the runtime's pool for such work. A panic of it is a panic of
/// the caller.
async fn run_blocking<R: Send + 'static>(
    work: impl FnOnce() -> nearfield_engine::Result<R> + Send + 'static,
) -> Result<R> {
    let ended = tokio::task::spawn_blocking(work).await;
    Ok(ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))?)
}

impl Create {
    /// The name and the schema of the collection.
    fn checked(self) -> Result<(String, Schema)> {
        let Create { name, dim, metric, store, vectors, fields } = self;
        let name = name.ok_or_else(|| missing("name", "the collection's name"))?;
        let default = NewField { dim, metric, store };
        let vectors = match vectors {
            Some(_) if default.is_given() => {
                let expected =
                    "either \"vectors\" or \"dim\", \"metric\" and \"store\" of the default field";
                let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
                return Err(error.with("expected", expected).into());
            }
            Some(NewFields(vectors)) if vectors.is_empty() => {
                return Err(missing("vectors", "at least one vector field by name"));
            }
            Some(NewFields(vectors)) => vectors,
            None => BTreeMap::from([(DEFAULT_FIELD.to_owned(), default.spec()?)]),
        };
        let fields = fields.map_or(FieldKinds::NONE, |NewKinds(kinds)| kinds);
        Ok((name, Schema { vectors, fields }))
    }
}

impl<S> FromJson<S> for NewKinds {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let mut kinds = FieldKinds::NONE;
        cursor.map(|name, cursor| {
            let kind: FieldKind = cursor.read::<String>("\"datetime\"")?.parse()?;
            if kinds.len() == DECLARED_FIELDS_MAX {
                let message = format!("fields: expected at most {DECLARED_FIELDS_MAX}, got more");
                let error = Error::invalid(Fault::Parameter, message);
                return Err(error.with("expected", DECLARED_FIELDS_MAX).into());
            }
            if !kinds.insert(name, kind) {
                return Err(cursor.refuse("each field once"));
            }
            Ok(())
        })?;
        Ok(NewKinds(kinds))
    }
}

impl<S> FromJson<S> for NewFields {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let mut fields = BTreeMap::new();
        cursor.map(|name, cursor| {
            let field = NewField::read(cursor, &mut ())?;
            if fields.len() == FIELDS_MAX {
                let message = format!("vectors: expected at most {FIELDS_MAX} fields, got more");
                let error = Error::invalid(Fault::Parameter, message);
                return Err(error.with("expected", FIELDS_MAX).into());
            }
            if fields.insert(name, field.spec()?).is_some() {
                return Err(cursor.refuse("each vector field once"));
            }
            Ok(())
        })?;
        Ok(NewFields(fields))
    }
}

impl NewField {
    fn is_given(&self) -> bool {
        self.dim.is_some() || self.metric.is_some() || self.store.is_some()
    }

    fn spec(self) -> Result<VectorSpec> {
        let dim = self.dim.ok_or_else(|| missing("dim", "elements of a vector"))?;
        let metric = self.metric.unwrap_or(Metric::Cosine);
        Ok(VectorSpec { dim, metric, store: self.store.unwrap_or_default() })
    }
}

fn missing(key: &'static str, what: &str) -> ApiError {
    let message = format!("expected \"{key}\": {what}");
    Error::invalid(Fault::Parameter, message).with("expected", key).into()
}
