//! Every route there is, each with who may call it.
//!
//! The router, the OpenAPI document and the test that walks all routes are made from this one table. A row
//! cannot be written without its [`Access`].

use std::future::Future;
use std::pin::Pin;

use axum::body::Body;
use axum::http::Method;
use axum::response::Response;

use super::call::Call;
use super::error::Result;
use super::openapi::{Gives, Shape, Takes, shape};
use super::{
    admin, arrow, collections, demo, describe, health, near, openapi, points, search, shapes, ui,
    write,
};
use crate::catalog::Role;

/// What a route does with a call.
pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;

/// A parameter behind the `?`: its name, what it says, its values.
type Parameter = (&'static str, &'static str, &'static [&'static str]);

const WAIT: &[Parameter] =
    &[("wait", "false: answered once it is checked and queued", &["true", "false"])];
const JOB_WAIT: &[Parameter] =
    &[("wait", "false: answered once the job has begun", &["true", "false"])];
const AS: &[Parameter] = &[("as", "string: digits are a text, not a number", &["string"])];

/// A further answer: its status, when it is given, its shape.
type Also = (u16, &'static str, Shape);

const QUEUED: Also = (202, "Checked and queued, with wait=false", shape::<shapes::Accepted>);
const JOB_BEGUN: Also = (202, "The job has begun and has not ended", shape::<shapes::Job>);
const NOT_READY: Also = (503, "Not everything can be served", shape::<describe::Health>);

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Everybody; what is said to callers without the role `query` depends on `--public-health-metrics`.
    Health,
    /// Callers with the role `admin`, and everybody as far as `--public-health-metrics` says.
    Metrics,
    /// Who has the role.
    Role(Role),
}

/// Where a route is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Scope {
    /// At its path.
    Once,
    /// Below `/v2` for the default collection and below `/v2/collections/{name}`.
    Collection,
}

/// The methods there are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Verb {
    Get,
    Post,
    Delete,
}

impl Verb {
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Verb::Get => "GET",
            Verb::Post => "POST",
            Verb::Delete => "DELETE",
        }
    }

    pub(super) fn method(self) -> Method {
        match self {
            Verb::Get => Method::GET,
            Verb::Post => Method::POST,
            Verb::Delete => Method::DELETE,
        }
    }
}

/// One row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Route {
    pub(super) method: Verb,
    scope: Scope,
    path: &'static str,
    pub(super) access: Access,
    /// Its word in the audit, and the operation's name in the OpenAPI document.
    pub(super) action: &'static str,
    pub(super) handler: Handler,
    /// What it is for, in a line.
    pub(super) says: &'static str,
    pub(super) takes: Takes,
    pub(super) parameters: &'static [Parameter],
    pub(super) success: u16,
    pub(super) gives: Gives,
    pub(super) also: &'static [Also],
    /// Whether `--search-timeout-secs` can end a request: it is answered with 504 then.
    pub(super) has_deadline: bool,
}

impl Route {
    /// A row for one path.
    pub(super) const fn once(
        method: Verb,
        path: &'static str,
        access: Access,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        Route {
            method,
            scope: Scope::Once,
            path,
            access,
            action,
            handler,
            says: "",
            takes: Takes::Nothing,
            parameters: &[],
            success: 200,
            gives: Gives::Typed("application/json"),
            also: &[],
            has_deadline: false,
        }
    }

    /// A row for every collection.
    const fn each(
        method: Verb,
        path: &'static str,
        role: Role,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        let mut route = Route::once(method, path, Access::Role(role), action, handler);
        route.scope = Scope::Collection;
        route
    }

    /// Whether it is about one collection: the default one, where the path names none.
    pub(super) fn is_of_collection(&self) -> bool {
        self.scope == Scope::Collection
    }

    const fn says(mut self, line: &'static str) -> Route {
        self.says = line;
        self
    }

    const fn takes(mut self, takes: Takes, parameters: &'static [Parameter]) -> Route {
        self.takes = takes;
        self.parameters = parameters;
        self
    }

    const fn gives(mut self, success: u16, shape: Shape) -> Route {
        self.success = success;
        self.gives = Gives::Data(shape);
        self
    }

    const fn also(mut self, answers: &'static [Also]) -> Route {
        self.also = answers;
        self
    }

    const fn gives_typed(mut self, kind: &'static str) -> Route {
        self.gives = Gives::Typed(kind);
        self
    }

    const fn with_deadline(mut self) -> Route {
        self.has_deadline = true;
        self
    }

    const fn redirects(mut self) -> Route {
        self.success = 308;
        self
    }

    /// All paths it is found at, with `{name}`, `{id}` and `{file}` where they vary.
    pub(super) fn paths(&self) -> Vec<String> {
        match self.scope {
            Scope::Once => vec![self.path.to_owned()],
            Scope::Collection => {
                let below = |base| format!("{base}{}", self.path);
                ["/v2", "/v2/collections/{name}"].map(below).to_vec()
            }
        }
    }
}

const ADMIN: Access = Access::Role(Role::Admin);
const QUERY: Access = Access::Role(Role::Query);

/// All routes.
pub(super) static ROUTES: &[Route] = &[
    Route::each(Verb::Post, "/vectors", Role::Ingest, "vectors", |call| Box::pin(write::one(call)))
        .says("Write one point")
        .takes(Takes::Json(shape::<shapes::WriteOne>), WAIT)
        .gives(201, shape::<shapes::WrittenPoint>)
        .also(&[QUEUED]),
    Route::each(Verb::Post, "/vectors/batch", Role::Ingest, "vectors_batch", |call| {
        Box::pin(write::batch(call))
    })
    .says("Write points as one atomic batch")
    .takes(Takes::Json(shape::<shapes::WriteBatch>), WAIT)
    .gives(201, shape::<shapes::WrittenBatch>)
    .also(&[QUEUED, (200, "No rows, nothing written", shape::<shapes::WrittenBatch>)]),
    Route::each(Verb::Post, "/query", Role::Query, "query", |call| Box::pin(search::query(call)))
        .says("Find the nearest points to one vector or to many")
        .takes(Takes::Json(shape::<shapes::Query>), &[])
        .gives(200, shape::<shapes::QueryAnswer>)
        .with_deadline(),
    Route::each(Verb::Post, "/points/get", Role::Query, "points_get", |call| {
        Box::pin(points::get(call))
    })
    .says("Look points up by id, or page through them in order of ids")
    .takes(Takes::Perhaps(shape::<shapes::PointsGet>), &[])
    .gives(200, shape::<shapes::Points>)
    .with_deadline(),
    Route::each(Verb::Get, "/points/{id}", Role::Query, "point_get", |call| {
        Box::pin(points::get_one(call))
    })
    .says("Look one point up")
    .takes(Takes::Nothing, AS)
    .gives(200, shape::<shapes::PointAnswer>),
    Route::each(Verb::Post, "/points/delete", Role::Ingest, "points_delete", |call| {
        Box::pin(points::delete(call))
    })
    .says(
        "Delete points by id or by filter, as one atomic batch; by filter as several with one sync if the ids exceed \
         half a GiB",
    )
    .takes(Takes::Json(shape::<shapes::PointsDelete>), WAIT)
    .gives(200, shape::<shapes::Deleted>)
    .also(&[QUEUED])
    .with_deadline(),
    Route::each(Verb::Delete, "/points/{id}", Role::Ingest, "point_delete", |call| {
        Box::pin(points::delete_one(call))
    })
    .says("Delete one point")
    .takes(Takes::Nothing, AS)
    .gives(200, shape::<shapes::Deleted>)
    .also(&[QUEUED]),
    Route::each(Verb::Post, "/count", Role::Query, "count", |call| Box::pin(points::count(call)))
        .says("Count points")
        .takes(Takes::Perhaps(shape::<shapes::Filtered>), &[])
        .gives(200, shape::<shapes::Counted>)
        .with_deadline(),
    Route::each(Verb::Post, "/ingest", Role::Ingest, "ingest", |call| {
        Box::pin(arrow::ingest(call))
    })
    .says("Write an Arrow IPC stream, each record batch atomically")
    .takes(Takes::Arrow, WAIT)
    .gives(201, shape::<describe::Ingested>),
    Route::each(Verb::Post, "/export", Role::Query, "export", |call| Box::pin(arrow::export(call)))
        .says("Read all points, or those of a filter, as an Arrow IPC stream")
        .takes(Takes::Perhaps(shape::<shapes::Export>), &[])
        .gives_typed(arrow::ARROW_TYPE)
        .with_deadline(),
    Route::each(Verb::Get, "/export.near", Role::Query, "export_near", |call| {
        Box::pin(near::export(call))
    })
    .says("Read the collection as a .near file, for the browser, Python and the command line")
    .gives_typed(near::NEAR_TYPE),
    Route::once(Verb::Post, "/v2/collections", ADMIN, "collection_create", |call| {
        Box::pin(collections::create(call))
    })
    .says("Create a collection")
    .takes(Takes::Json(shape::<shapes::Create>), &[])
    .gives(201, shape::<describe::CollectionInfo>),
    Route::once(Verb::Get, "/v2/collections", QUERY, "collections_list", |call| {
        Box::pin(collections::list(call))
    })
    .says("List collections")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Collections>),
    Route::once(Verb::Get, "/v2/collections/{name}", QUERY, "collection_get", |call| {
        Box::pin(collections::get(call))
    })
    .says("Say what is known about a collection")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::CollectionInfo>),
    Route::once(Verb::Delete, "/v2/collections/{name}", ADMIN, "collection_drop", |call| {
        Box::pin(collections::remove(call))
    })
    .says("Drop a collection and its files")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Dropped>),
    Route::once(Verb::Post, "/v2/admin/checkpoint", ADMIN, "checkpoint", |call| {
        Box::pin(admin::checkpoint(call))
    })
    .says("Write what is in memory to files")
    .takes(Takes::Perhaps(shape::<shapes::JobOf>), JOB_WAIT)
    .gives(200, shape::<shapes::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/compact", ADMIN, "compact", |call| {
        Box::pin(admin::compact(call))
    })
    .says("Merge files into their final form")
    .takes(Takes::Perhaps(shape::<shapes::JobOf>), JOB_WAIT)
    .gives(200, shape::<shapes::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/snapshot", ADMIN, "snapshot", |call| {
        Box::pin(admin::snapshot(call))
    })
    .says("Write a backup")
    .takes(Takes::Perhaps(shape::<shapes::JobOf>), JOB_WAIT)
    .gives(200, shape::<shapes::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Post, "/v2/admin/verify", ADMIN, "verify", |call| {
        Box::pin(admin::verify(call))
    })
    .says("Read every byte and check it")
    .takes(Takes::Perhaps(shape::<shapes::JobOf>), JOB_WAIT)
    .gives(200, shape::<shapes::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Get, "/v2/admin/stats", ADMIN, "stats", |call| Box::pin(admin::stats(call)))
        .says("Say what is going on, in numbers")
        .takes(Takes::Nothing, &[])
        .gives(200, shape::<shapes::Stats>),
    Route::once(Verb::Get, "/v2/admin/jobs", ADMIN, "jobs", |call| Box::pin(admin::jobs(call)))
        .says("List jobs, newest first")
        .takes(Takes::Nothing, &[])
        .gives(200, shape::<describe::Jobs>),
    Route::once(Verb::Get, "/v2/admin/jobs/{id}", ADMIN, "job", |call| Box::pin(admin::job(call)))
        .says("Say how far a job is")
        .takes(Takes::Nothing, &[])
        .gives(200, shape::<shapes::Job>),
    Route::once(Verb::Delete, "/v2/admin/jobs/{id}", ADMIN, "job_cancel", |call| {
        Box::pin(admin::cancel(call))
    })
    .says("Tell a job to stop; 202 while it has not yet")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<shapes::Job>)
    .also(&[JOB_BEGUN]),
    Route::once(Verb::Get, "/v2/health/live", Access::Health, "health_live", |call| {
        Box::pin(health::live(call))
    })
    .says("Say whether the process works")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Health>),
    Route::once(Verb::Get, "/v2/health/ready", Access::Health, "health_ready", |call| {
        Box::pin(health::ready(call))
    })
    .says("Say whether everything can be served, and if not, why")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Health>)
    .also(&[NOT_READY]),
    Route::once(Verb::Get, "/livez", Access::Health, "livez", |call| Box::pin(health::live(call)))
        .says("As /v2/health/live")
        .takes(Takes::Nothing, &[])
        .gives(200, shape::<describe::Health>),
    Route::once(Verb::Get, "/healthz", Access::Health, "healthz", |call| {
        Box::pin(health::live(call))
    })
    .says("As /v2/health/live")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Health>),
    Route::once(Verb::Get, "/readyz", Access::Health, "readyz", |call| {
        Box::pin(health::ready(call))
    })
    .says("As /v2/health/ready")
    .takes(Takes::Nothing, &[])
    .gives(200, shape::<describe::Health>)
    .also(&[NOT_READY]),
    Route::once(Verb::Get, "/v2/metrics", Access::Metrics, "metrics", |call| {
        Box::pin(health::metrics(call))
    })
    .says("Prometheus metrics")
    .takes(Takes::Nothing, &[])
    .gives_typed(health::METRICS_TYPE),
    Route::once(Verb::Get, "/metrics", Access::Metrics, "metrics_root", |call| {
        Box::pin(health::metrics(call))
    })
    .says("As /v2/metrics")
    .takes(Takes::Nothing, &[])
    .gives_typed(health::METRICS_TYPE),
    Route::once(Verb::Get, "/v2/openapi.json", Access::Public, "openapi", |call| {
        Box::pin(openapi::get(call))
    })
    .says("This document")
    .takes(Takes::Nothing, &[]),
    Route::once(Verb::Get, "/ui", Access::Public, "ui", |call| Box::pin(ui::page(call)))
        .says("A page for people that shows how the server is")
        .takes(Takes::Nothing, &[])
        .gives_typed(ui::PAGE_TYPE),
    Route::once(Verb::Get, "/demo", Access::Public, "demo", |call| Box::pin(demo::door(call)))
        .says("The way to /demo/; 404 without --demo-dir")
        .takes(Takes::Nothing, &[])
        .gives_typed(ui::PAGE_TYPE)
        .redirects(),
    Route::once(Verb::Get, "/demo/", Access::Public, "demo_page", |call| {
        Box::pin(demo::file(call))
    })
    .says("The page that searches .near files in the browser; 404 without --demo-dir")
    .takes(Takes::Nothing, &[])
    .gives_typed(ui::PAGE_TYPE),
    Route::once(Verb::Get, "/demo/{file}", Access::Public, "demo_file", |call| {
        Box::pin(demo::file(call))
    })
    .says("What the page consists of, and its sample; byte ranges are answered by 206")
    .takes(Takes::Nothing, &[])
    .gives_typed(demo::ANY_TYPE),
    Route::once(Verb::Get, "/demo/nearfield/{file}", Access::Public, "demo_package", |call| {
        Box::pin(demo::file(call))
    })
    .says("The package that the page uses")
    .takes(Takes::Nothing, &[])
    .gives_typed(demo::ANY_TYPE),
];
