//! Handlers and routes (`ROUTES`) of health (`healthz`, `readyz`) and metrics, for the probes of orchestrators and for
//! monitoring. Used by the tables of `api`.

use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::response::Response;
use serde::Serialize;
use utoipa::ToSchema;

use crate::http::{self, Access, Also, Call, Result, Route, handler, shape};
use crate::workers::Readiness;

/// The content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

const NOT_READY: Also = (503, "Not everything can be served", shape::<Health>);

/// The routes of probes.
pub(super) const ROUTES: &[Route] = &[
    Route::once(Method::GET, "/v2/health/live", Access::Health, "health_live", handler!(live))
        .says("Say whether the process works")
        .gives(200, shape::<Health>),
    Route::once(Method::GET, "/v2/health/ready", Access::Health, "health_ready", handler!(ready))
        .says("Say whether everything can be served, and if not, why")
        .gives(200, shape::<Health>)
        .also(&[NOT_READY]),
    Route::once(Method::GET, "/livez", Access::Health, "livez", handler!(live))
        .says("As /v2/health/live")
        .gives(200, shape::<Health>),
    Route::once(Method::GET, "/healthz", Access::Health, "healthz", handler!(live))
        .says("As /v2/health/live")
        .gives(200, shape::<Health>),
    Route::once(Method::GET, "/readyz", Access::Health, "readyz", handler!(ready))
        .says("As /v2/health/ready")
        .gives(200, shape::<Health>)
        .also(&[NOT_READY]),
    Route::once(Method::GET, "/v2/metrics", Access::Metrics, "metrics", handler!(metrics))
        .says("Prometheus metrics")
        .gives_typed(METRICS_TYPE),
    Route::once(Method::GET, "/metrics", Access::Metrics, "metrics_root", handler!(metrics))
        .says("As /v2/metrics")
        .gives_typed(METRICS_TYPE),
];

/// Whether everything can be served
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
#[serde(rename_all = "lowercase")]
enum HealthStatus {
    Ok,
    Degraded,
}

/// What health routes say.
#[derive(Debug, Serialize, ToSchema)]
struct Health {
    status: HealthStatus,
    /// Every collection reads and writes
    ready: bool,
    /// The process works at all
    live: bool,
    /// recovered: …, or degraded: … blockers=a | b
    report: String,
    /// What stands in the way, one sentence each
    blockers: Vec<String>,
}

/// Answers whether the process works at all.
async fn live(call: Call) -> Result<Response<Body>> {
    Ok(http::data(StatusCode::OK, report(&call)))
}

/// Answers whether everything can be served.
async fn ready(call: Call) -> Result<Response<Body>> {
    let ready = call.server.readiness().ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(http::data(status, report(&call)))
}

fn report(call: &Call) -> Health {
    let Readiness { live, ready, blockers, report } = call.server.readiness();
    let status = if ready { HealthStatus::Ok } else { HealthStatus::Degraded };
    if !call.may_name {
        let report = if ready { "ok; a key shows more" } else { "degraded; a key shows more" };
        let report = report.to_owned();
        return Health { status, ready, live, report, blockers: Vec::new() };
    }
    Health { status, ready, live, report, blockers }
}

/// Answers everything that is counted.
async fn metrics(call: Call) -> Result<Response<Body>> {
    let store = call.store()?;
    let counted = &store.metrics().audit_failures;
    counted.inc_by(call.server.catalog.audit_failures_total().saturating_sub(counted.get()));
    Ok(http::typed(StatusCode::OK, METRICS_TYPE, store.render_metrics()))
}
