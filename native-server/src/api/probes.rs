//! `health/*` and `metrics`: for whoever watches.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;

use super::answer;
use super::call::Call;
use super::describe::Health;
use super::error::Result;
use crate::workers::Readiness;

/// The content type of Prometheus' text format.
pub(super) const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Answers whether the process works at all.
pub(super) async fn live(call: Call) -> Result<Response<Body>> {
    Ok(answer::data(StatusCode::OK, report(&call)))
}

/// Answers whether everything can be served.
pub(super) async fn ready(call: Call) -> Result<Response<Body>> {
    let ready = call.server.readiness().ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(answer::data(status, report(&call)))
}

fn report(call: &Call) -> Health {
    let Readiness { live, ready, blockers, report } = call.server.readiness();
    let status = if ready { "ok" } else { "degraded" };
    if !call.may_name {
        let report = format!("{status}; a key shows more");
        return Health { status, ready, live, report, blockers: Vec::new() };
    }
    Health { status, ready, live, report, blockers }
}

/// Answers everything that is counted.
pub(super) async fn metrics(call: Call) -> Result<Response<Body>> {
    let store = call.store()?;
    let counted = &store.metrics().audit_failures;
    counted.inc_by(call.server.catalog.audit_failures_total().saturating_sub(counted.get()));
    Ok(answer::typed(StatusCode::OK, METRICS_TYPE, store.render_metrics()))
}
