//! The HTTP API under `/v2`: its table of routes (`ROUTES`) for points, queries, collections, and administration. Used
//! by `http::router` and by the OpenAPI document; the handlers are in the modules below.
//!
//! | file | what |
//! |---|---|
//! | `values`, `names` | values of requests: ids, vectors, words |
//! | `write`, `query`, `points`, `collections`, `admin` | handlers of JSON, each with its requests and answers |
//! | `arrow`, `near` | Arrow streams in both directions, and `.near` files |
//! | `point`, `refused` | a point as JSON; an error as JSON |
//!
//! Handlers translate; they decide nothing about data.

mod admin;
mod arrow;
mod collections;
mod names;
mod near;
mod point;
mod points;
mod query;
pub(super) mod refused;
mod values;
mod write;

use axum::http::Method;

use super::openapi;
use crate::catalog::Role;
use crate::http::{Access, Also, Handler, Parameter, Route, Takes, handler, shape};
use crate::workers::JobKind;

/// What the path of a collection's routes may begin with; the first one means the default collection.
const COLLECTION: &[&str] = &["/v2", "/v2/collections/{name}"];

const WAIT: &[Parameter] =
    &[("wait", "false: answered once it is checked and queued", &["true", "false"])];
const JOB_WAIT: &[Parameter] =
    &[("wait", "false: answered once the job has begun", &["true", "false"])];
const AS: &[Parameter] = &[("as", "string: digits are a text, not a number", &["string"])];

const QUEUED: Also = (202, "Checked and queued, with wait=false", shape::<write::Accepted>);
const JOB_BEGUN: Also = (202, "The job has begun and has not ended", shape::<admin::Job>);

const ADMIN: Access = Access::Role(Role::Admin);
const QUERY: Access = Access::Role(Role::Query);

/// A route of each collection.
const fn each(
    method: Method,
    path: &'static str,
    role: Role,
    action: &'static str,
    handler: Handler,
) -> Route {
    Route::below(COLLECTION, method, path, Access::Role(role), action, handler)
}

/// A route that begins a job.
const fn job(path: &'static str, action: &'static str, handler: Handler) -> Route {
    Route::once(Method::POST, path, ADMIN, action, handler)
        .takes(Takes::Perhaps(shape::<admin::JobOf>))
        .parameters(JOB_WAIT)
        .gives(200, shape::<admin::Job>)
        .also(&[JOB_BEGUN])
}

/// The routes under `/v2`, except those of probes.
pub(super) const ROUTES: &[Route] = &[
    each(Method::POST, "/vectors", Role::Ingest, "vectors", handler!(write::one))
        .says("Write one point")
        .takes(Takes::Json(shape::<write::WriteOne>))
        .parameters(WAIT)
        .gives(201, shape::<write::WrittenPoint>)
        .also(&[QUEUED]),
    each(Method::POST, "/vectors/batch", Role::Ingest, "vectors_batch", handler!(write::batch))
    .says("Write points as one atomic batch")
    .takes(Takes::Json(shape::<write::WriteBatch>))
    .parameters(WAIT)
    .gives(201, shape::<write::WrittenBatch>)
    .also(&[QUEUED, (200, "No rows, nothing written", shape::<write::WrittenBatch>)]),
    each(Method::POST, "/query", Role::Query, "query", handler!(query::query))
        .says("Find the nearest points to one vector or to many")
        .takes(Takes::Json(shape::<query::Query>))
        .gives(200, shape::<query::QueryAnswer>)
        .with_deadline(),
    each(Method::POST, "/points/get", Role::Query, "points_get", handler!(points::get))
    .says("Look points up by id, or page through them in order of ids")
    .takes(Takes::Perhaps(shape::<points::PointsGet>))
    .gives(200, shape::<points::Points>)
    .with_deadline(),
    each(Method::GET, "/points/{id}", Role::Query, "point_get", handler!(points::get_one))
    .says("Look one point up")
    .parameters(AS)
    .gives(200, shape::<point::PointAnswer>),
    each(Method::POST, "/points/delete", Role::Ingest, "points_delete", handler!(points::delete))
    .says(
        "Delete points by id or by filter, as one atomic batch; by filter as several with one sync if the ids exceed \
         half a GiB",
    )
    .takes(Takes::Json(shape::<points::PointsDelete>))
    .parameters(WAIT)
    .gives(200, shape::<points::Deleted>)
    .also(&[QUEUED])
    .with_deadline(),
    each(Method::DELETE, "/points/{id}", Role::Ingest, "point_delete", handler!(points::delete_one))
    .says("Delete one point")
    .parameters(AS)
    .gives(200, shape::<points::Deleted>)
    .also(&[QUEUED]),
    each(Method::POST, "/count", Role::Query, "count", handler!(points::count))
        .says("Count points")
        .takes(Takes::Perhaps(shape::<points::Filtered>))
        .gives(200, shape::<points::Counted>)
        .with_deadline(),
    each(Method::POST, "/ingest", Role::Ingest, "ingest", handler!(arrow::ingest))
    .says("Write an Arrow IPC stream, each record batch atomically")
    .takes(Takes::Typed(arrow::ARROW_TYPE))
    .parameters(WAIT)
    .gives(201, shape::<arrow::Ingested>),
    each(Method::POST, "/export", Role::Query, "export", handler!(arrow::export))
        .says("Read all points, or those of a filter, as an Arrow IPC stream")
        .takes(Takes::Perhaps(shape::<arrow::Export>))
        .gives_typed(arrow::ARROW_TYPE)
        .with_deadline(),
    each(Method::GET, "/export.near", Role::Query, "export_near", handler!(near::export))
    .says("Read the collection as a .near file, for the browser, Python and the command line")
    .gives_typed(near::NEAR_TYPE),
    Route::once(Method::POST, "/v2/collections", ADMIN, "collection_create", handler!(collections::create))
    .says("Create a collection")
    .takes(Takes::Json(shape::<collections::Create>))
    .gives(201, shape::<collections::CollectionInfo>),
    Route::once(Method::GET, "/v2/collections", QUERY, "collections_list", handler!(collections::list))
    .says("List collections")
    .gives(200, shape::<collections::Collections>),
    Route::once(Method::GET, "/v2/collections/{name}", QUERY, "collection_get", handler!(collections::get))
    .says("Say what is known about a collection")
    .gives(200, shape::<collections::CollectionInfo>),
    Route::once(Method::DELETE, "/v2/collections/{name}", ADMIN, "collection_drop", handler!(collections::remove))
    .says("Drop a collection and its files")
    .gives(200, shape::<collections::Dropped>),
    job("/v2/admin/checkpoint", "checkpoint", |call| Box::pin(admin::run(call, JobKind::Checkpoint)))
        .says("Write what is in memory to files"),
    job("/v2/admin/compact", "compact", |call| Box::pin(admin::run(call, JobKind::Compaction)))
        .says("Merge files into their final form"),
    job("/v2/admin/snapshot", "snapshot", |call| Box::pin(admin::run(call, JobKind::Snapshot)))
        .says("Write a backup"),
    job("/v2/admin/verify", "verify", |call| Box::pin(admin::run(call, JobKind::Verify)))
        .says("Read every byte and check it"),
    Route::once(Method::GET, "/v2/admin/stats", ADMIN, "stats", handler!(admin::stats))
        .says("Say what is going on, in numbers")
        .gives(200, shape::<crate::workers::StoreStats>),
    Route::once(Method::GET, "/v2/admin/jobs", ADMIN, "jobs", handler!(admin::jobs))
        .says("List jobs, newest first")
        .gives(200, shape::<admin::Jobs>),
    Route::once(Method::GET, "/v2/admin/jobs/{id}", ADMIN, "job", handler!(admin::job))
        .says("Say how far a job is")
        .gives(200, shape::<admin::Job>),
    Route::once(Method::DELETE, "/v2/admin/jobs/{id}", ADMIN, "job_cancel", handler!(admin::cancel))
    .says("Tell a job to stop; 202 while it has not yet")
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Method::GET, "/v2/openapi.json", Access::Public, "openapi", handler!(openapi::get))
    .says("This document"),
];
