//! The API under `/v2`: points, queries, collections, and the work that an operator asks for.
//!
//! | file | what |
//! |---|---|
//! | `values`, `names` | values of requests: ids, vectors, words |
//! | `write`, `query`, `points`, `collections`, `admin` | handlers of JSON, each with its requests and answers |
//! | `arrow`, `near` | Arrow streams in both directions, and `.near` files |
//! | `point` | a point as JSON |
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
mod values;
mod write;

use super::openapi;
use crate::catalog::Role;
use crate::http::{Access, Also, Handler, Parameter, Route, Takes, Verb, shape};

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
    method: Verb,
    path: &'static str,
    role: Role,
    action: &'static str,
    handler: Handler,
) -> Route {
    Route::below(COLLECTION, method, path, Access::Role(role), action, handler)
}

/// The routes under `/v2`, except those of probes.
pub(super) const ROUTES: &[Route] = &[
    each(Verb::Post, "/vectors", Role::Ingest, "vectors", |call| Box::pin(write::one(call)))
        .says("Write one point")
        .takes(Takes::Json(shape::<write::WriteOne>))
        .parameters(WAIT)
        .gives(201, shape::<write::WrittenPoint>)
        .also(&[QUEUED]),
    each(Verb::Post, "/vectors/batch", Role::Ingest, "vectors_batch", |call| {
        Box::pin(write::batch(call))
    })
    .says("Write points as one atomic batch")
    .takes(Takes::Json(shape::<write::WriteBatch>))
    .parameters(WAIT)
    .gives(201, shape::<write::WrittenBatch>)
    .also(&[QUEUED, (200, "No rows, nothing written", shape::<write::WrittenBatch>)]),
    each(Verb::Post, "/query", Role::Query, "query", |call| Box::pin(query::query(call)))
        .says("Find the nearest points to one vector or to many")
        .takes(Takes::Json(shape::<query::Query>))
        .gives(200, shape::<query::QueryAnswer>)
        .with_deadline(),
    each(Verb::Post, "/points/get", Role::Query, "points_get", |call| {
        Box::pin(points::get(call))
    })
    .says("Look points up by id, or page through them in order of ids")
    .takes(Takes::Perhaps(shape::<points::PointsGet>))
    .gives(200, shape::<points::Points>)
    .with_deadline(),
    each(Verb::Get, "/points/{id}", Role::Query, "point_get", |call| {
        Box::pin(points::get_one(call))
    })
    .says("Look one point up")
    .parameters(AS)
    .gives(200, shape::<point::PointAnswer>),
    each(Verb::Post, "/points/delete", Role::Ingest, "points_delete", |call| {
        Box::pin(points::delete(call))
    })
    .says(
        "Delete points by id or by filter, as one atomic batch; by filter as several with one sync if the ids exceed \
         half a GiB",
    )
    .takes(Takes::Json(shape::<points::PointsDelete>))
    .parameters(WAIT)
    .gives(200, shape::<points::Deleted>)
    .also(&[QUEUED])
    .with_deadline(),
    each(Verb::Delete, "/points/{id}", Role::Ingest, "point_delete", |call| {
        Box::pin(points::delete_one(call))
    })
    .says("Delete one point")
    .parameters(AS)
    .gives(200, shape::<points::Deleted>)
    .also(&[QUEUED]),
    each(Verb::Post, "/count", Role::Query, "count", |call| Box::pin(points::count(call)))
        .says("Count points")
        .takes(Takes::Perhaps(shape::<points::Filtered>))
        .gives(200, shape::<points::Counted>)
        .with_deadline(),
    each(Verb::Post, "/ingest", Role::Ingest, "ingest", |call| {
        Box::pin(arrow::ingest(call))
    })
    .says("Write an Arrow IPC stream, each record batch atomically")
    .takes(Takes::Typed(arrow::ARROW_TYPE))
    .parameters(WAIT)
    .gives(201, shape::<arrow::Ingested>),
    each(Verb::Post, "/export", Role::Query, "export", |call| Box::pin(arrow::export(call)))
        .says("Read all points, or those of a filter, as an Arrow IPC stream")
        .takes(Takes::Perhaps(shape::<arrow::Export>))
        .gives_typed(arrow::ARROW_TYPE)
        .with_deadline(),
    each(Verb::Get, "/export.near", Role::Query, "export_near", |call| {
        Box::pin(near::export(call))
    })
    .says("Read the collection as a .near file, for the browser, Python and the command line")
    .gives_typed(near::NEAR_TYPE),
    Route::once(Verb::Post, "/v2/collections", ADMIN, "collection_create", |call| {
        Box::pin(collections::create(call))
    })
    .says("Create a collection")
    .takes(Takes::Json(shape::<collections::Create>))
    .gives(201, shape::<collections::CollectionInfo>),
    Route::once(Verb::Get, "/v2/collections", QUERY, "collections_list", |call| {
        Box::pin(collections::list(call))
    })
    .says("List collections")
    .gives(200, shape::<collections::Collections>),
    Route::once(Verb::Get, "/v2/collections/{name}", QUERY, "collection_get", |call| {
        Box::pin(collections::get(call))
    })
    .says("Say what is known about a collection")
    .gives(200, shape::<collections::CollectionInfo>),
    Route::once(Verb::Delete, "/v2/collections/{name}", ADMIN, "collection_drop", |call| {
        Box::pin(collections::remove(call))
    })
    .says("Drop a collection and its files")
    .gives(200, shape::<collections::Dropped>),
    Route::once(Verb::Post, "/v2/admin/checkpoint", ADMIN, "checkpoint", |call| {
        Box::pin(admin::checkpoint(call))
    })
    .says("Write what is in memory to files")
    .takes(Takes::Perhaps(shape::<admin::JobOf>))
    .parameters(JOB_WAIT)
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/compact", ADMIN, "compact", |call| {
        Box::pin(admin::compact(call))
    })
    .says("Merge files into their final form")
    .takes(Takes::Perhaps(shape::<admin::JobOf>))
    .parameters(JOB_WAIT)
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/snapshot", ADMIN, "snapshot", |call| {
        Box::pin(admin::snapshot(call))
    })
    .says("Write a backup")
    .takes(Takes::Perhaps(shape::<admin::JobOf>))
    .parameters(JOB_WAIT)
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/verify", ADMIN, "verify", |call| {
        Box::pin(admin::verify(call))
    })
    .says("Read every byte and check it")
    .takes(Takes::Perhaps(shape::<admin::JobOf>))
    .parameters(JOB_WAIT)
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Get, "/v2/admin/stats", ADMIN, "stats", |call| Box::pin(admin::stats(call)))
        .says("Say what is going on, in numbers")
        .gives(200, shape::<crate::workers::StoreStats>),
    Route::once(Verb::Get, "/v2/admin/jobs", ADMIN, "jobs", |call| Box::pin(admin::jobs(call)))
        .says("List jobs, newest first")
        .gives(200, shape::<admin::Jobs>),
    Route::once(Verb::Get, "/v2/admin/jobs/{id}", ADMIN, "job", |call| Box::pin(admin::job(call)))
        .says("Say how far a job is")
        .gives(200, shape::<admin::Job>),
    Route::once(Verb::Delete, "/v2/admin/jobs/{id}", ADMIN, "job_cancel", |call| {
        Box::pin(admin::cancel(call))
    })
    .says("Tell a job to stop; 202 while it has not yet")
    .gives(200, shape::<admin::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Get, "/v2/openapi.json", Access::Public, "openapi", |call| {
        Box::pin(openapi::get(call))
    })
    .says("This document"),
];
