//! `health/*` and `metrics`: for whoever watches.

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use serde_json::json;

use super::answer;
use super::call::Call;
use super::error::Result;
use super::server::Server;

/// The content type of Prometheus' text format.
const METRICS_TYPE: &str = "text/plain; version=0.0.4";

/// Answers whether the process works at all.
pub(super) async fn live(call: Call) -> Result<Response<Body>> {
    Ok(answer::data(StatusCode::OK, report(&call.server)))
}

/// Answers whether everything can be served.
pub(super) async fn ready(call: Call) -> Result<Response<Body>> {
    let ready = call.server.readiness().ready;
    let status = if ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(answer::data(status, report(&call.server)))
}

fn report(server: &Server) -> serde_json::Value {
    let readiness = server.readiness();
    json!({
        "status": if readiness.ready { "ok" } else { "degraded" },
        "ready": readiness.ready,
        "live": readiness.live,
        "report": readiness.report,
        "blockers": readiness.blockers,
    })
}

/// Answers everything that is counted.
pub(super) async fn metrics(call: Call) -> Result<Response<Body>> {
    let store = call.store()?;
    let counted = &store.metrics().audit_failures;
    counted.inc_by(call.server.catalog.audit_failures_total().saturating_sub(counted.get()));
    Ok(answer::typed(StatusCode::OK, METRICS_TYPE, store.render_metrics()))
}
