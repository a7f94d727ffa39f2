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
use super::{admin, arrow, collections, health, points, search, ui, write};
use crate::catalog::Role;

/// What a route does with a call.
pub(super) type Handler = fn(Call) -> Pin<Box<dyn Future<Output = Result<Response<Body>>> + Send>>;

/// Who may call a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Access {
    /// Everybody.
    Public,
    /// Everybody, or with `--public-health-metrics false` who has the role `query`.
    Health,
    /// Everybody, or with `--public-health-metrics false` who has the role `admin`.
    Metrics,
    /// Who has the role.
    Role(Role),
}

/// Where a route is found.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Scope {
    /// At its path.
    Once,
    /// Below `/v2` for the default collection and below `/v2/collections/{name}`.
    Collection,
}

/// One row.
#[derive(Debug)]
pub(super) struct Route {
    pub(super) method: Method,
    pub(super) scope: Scope,
    path: &'static str,
    pub(super) access: Access,
    /// Its word in the audit, and the operation's name in the OpenAPI document.
    pub(super) action: &'static str,
    pub(super) handler: Handler,
}

impl Route {
    /// A row for one path.
    pub(super) const fn once(
        method: Method,
        path: &'static str,
        access: Access,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        Route { method, scope: Scope::Once, path, access, action, handler }
    }

    /// A row for every collection.
    const fn each(
        method: Method,
        path: &'static str,
        role: Role,
        action: &'static str,
        handler: Handler,
    ) -> Route {
        Route {
            method,
            scope: Scope::Collection,
            path,
            access: Access::Role(role),
            action,
            handler,
        }
    }

    /// All paths it is found at, with `{name}` and `{id}` where they vary.
    pub(super) fn paths(&self) -> Vec<String> {
        match self.scope {
            Scope::Once => vec![self.path.to_owned()],
            Scope::Collection => ["/v2", "/v2/collections/{name}"]
                .map(|base| format!("{base}{}", self.path))
                .to_vec(),
        }
    }
}

/// All routes.
pub(super) static ROUTES: &[Route] = &[
    Route::each(Method::POST, "/vectors", Role::Ingest, "vectors", |call| {
        Box::pin(write::one(call))
    }),
    Route::each(Method::POST, "/vectors/batch", Role::Ingest, "vectors_batch", |call| {
        Box::pin(write::batch(call))
    }),
    Route::each(Method::POST, "/query", Role::Query, "query", |call| Box::pin(search::query(call))),
    Route::each(Method::POST, "/points/get", Role::Query, "points_get", |call| {
        Box::pin(points::get(call))
    }),
    Route::each(Method::GET, "/points/{id}", Role::Query, "point_get", |call| {
        Box::pin(points::get_one(call))
    }),
    Route::each(Method::POST, "/points/delete", Role::Ingest, "points_delete", |call| {
        Box::pin(points::delete(call))
    }),
    Route::each(Method::DELETE, "/points/{id}", Role::Ingest, "point_delete", |call| {
        Box::pin(points::delete_one(call))
    }),
    Route::each(Method::POST, "/count", Role::Query, "count", |call| Box::pin(points::count(call))),
    Route::each(Method::POST, "/ingest", Role::Ingest, "ingest", |call| {
        Box::pin(arrow::ingest(call))
    }),
    Route::each(Method::POST, "/export", Role::Query, "export", |call| {
        Box::pin(arrow::export(call))
    }),
    Route::once(
        Method::POST,
        "/v2/collections",
        Access::Role(Role::Admin),
        "collection_create",
        |call| Box::pin(collections::create(call)),
    ),
    Route::once(
        Method::GET,
        "/v2/collections",
        Access::Role(Role::Query),
        "collections_list",
        |call| Box::pin(collections::list(call)),
    ),
    Route::once(
        Method::GET,
        "/v2/collections/{name}",
        Access::Role(Role::Query),
        "collection_get",
        |call| Box::pin(collections::get(call)),
    ),
    Route::once(
        Method::DELETE,
        "/v2/collections/{name}",
        Access::Role(Role::Admin),
        "collection_drop",
        |call| Box::pin(collections::remove(call)),
    ),
    Route::once(
        Method::POST,
        "/v2/admin/checkpoint",
        Access::Role(Role::Admin),
        "checkpoint",
        |call| Box::pin(admin::checkpoint(call)),
    ),
    Route::once(Method::POST, "/v2/admin/compact", Access::Role(Role::Admin), "compact", |call| {
        Box::pin(admin::compact(call))
    }),
    Route::once(
        Method::POST,
        "/v2/admin/snapshot",
        Access::Role(Role::Admin),
        "snapshot",
        |call| Box::pin(admin::snapshot(call)),
    ),
    Route::once(Method::POST, "/v2/admin/verify", Access::Role(Role::Admin), "verify", |call| {
        Box::pin(admin::verify(call))
    }),
    Route::once(Method::GET, "/v2/admin/stats", Access::Role(Role::Admin), "stats", |call| {
        Box::pin(admin::stats(call))
    }),
    Route::once(Method::GET, "/v2/admin/jobs", Access::Role(Role::Admin), "jobs", |call| {
        Box::pin(admin::jobs(call))
    }),
    Route::once(Method::GET, "/v2/admin/jobs/{id}", Access::Role(Role::Admin), "job", |call| {
        Box::pin(admin::job(call))
    }),
    Route::once(Method::GET, "/v2/health/live", Access::Health, "health_live", |call| {
        Box::pin(health::live(call))
    }),
    Route::once(Method::GET, "/v2/health/ready", Access::Health, "health_ready", |call| {
        Box::pin(health::ready(call))
    }),
    Route::once(Method::GET, "/livez", Access::Health, "livez", |call| {
        Box::pin(health::live(call))
    }),
    Route::once(Method::GET, "/healthz", Access::Health, "healthz", |call| {
        Box::pin(health::live(call))
    }),
    Route::once(Method::GET, "/readyz", Access::Health, "readyz", |call| {
        Box::pin(health::ready(call))
    }),
    Route::once(Method::GET, "/v2/metrics", Access::Metrics, "metrics", |call| {
        Box::pin(health::metrics(call))
    }),
    Route::once(Method::GET, "/metrics", Access::Metrics, "metrics_root", |call| {
        Box::pin(health::metrics(call))
    }),
    Route::once(Method::GET, "/ui", Access::Public, "ui", |call| Box::pin(ui::page(call))),
];
