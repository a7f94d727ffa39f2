//! Success answers: `{"data": …}`, written once, without a tree in between where it counts.

use axum::body::Body;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use serde::Serialize;

/// A JSON body with its status.
pub(super) fn json(status: StatusCode, body: Vec<u8>) -> Response<Body> {
    typed(status, "application/json", body)
}

/// A body of any type.
pub(super) fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

/// What every success looks like.
#[derive(Serialize)]
struct Envelope<T> {
    data: T,
}

/// `{"data": data}`.
pub(super) fn data(status: StatusCode, data: impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(&Envelope { data });
    json(status, body.expect("answers have string keys and finite numbers"))
}

/// `{"data": data}` with status 200.
pub(super) fn ok(value: impl Serialize) -> Response<Body> {
    data(StatusCode::OK, value)
}
