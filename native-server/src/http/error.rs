//! The one table from errors to HTTP answers.
//!
//! Codes are stable and for programs; messages are for people and may change; details repeat the message's
//! numbers by name. No answer quotes a secret or the content of a file.

use axum::body::Body;
use axum::http::header::{CONNECTION, RETRY_AFTER};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use nearfield_engine::{Error, ErrorKind, Fault};
use serde_json::{Map, Value, json};

use super::answer;
use crate::workers::Code;

/// Result of a handler.
pub(super) type Result<T> = std::result::Result<T, ApiError>;

/// An answer that says what went wrong.
#[derive(Debug)]
pub(super) struct ApiError(Box<Inner>);

#[derive(Debug)]
struct Inner {
    status: StatusCode,
    code: String,
    message: String,
    details: Map<String, Value>,
    closes: bool,
}

impl ApiError {
    /// An error of the HTTP layer itself.
    pub(super) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> ApiError {
        let (code, message) = (code.to_owned(), message.into());
        ApiError(Box::new(Inner { status, code, message, details: Map::new(), closes: false }))
    }

    /// Text that is not JSON, or not of the shape asked for, from byte `position` on.
    pub(super) fn malformed(position: usize, expected: &str, got: &str) -> ApiError {
        let message = format!("body: byte {position}: expected {expected}, got {got}");
        let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message);
        error.with("position", position).with("expected", expected).with("got", got)
    }

    /// Adds a named detail.
    #[must_use]
    pub(super) fn with(mut self, name: &str, value: impl Into<Value>) -> ApiError {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// Ends the connection after the answer: there is a body nobody will read.
    #[must_use]
    pub(super) fn closing(mut self) -> ApiError {
        self.0.closes = true;
        self
    }

    /// The byte of the body named by [`ApiError::malformed`].
    #[cfg(test)]
    pub(super) fn position(&self) -> Option<u64> {
        self.0.details.get("position").and_then(Value::as_u64)
    }

    /// The answer.
    pub(super) fn into_response(self) -> Response<Body> {
        let Inner { status, code, message, details, closes } = *self.0;
        let body = json!({ "code": code, "message": message, "details": details });
        let mut response = answer::json(status, body.to_string().into_bytes());
        let headers = response.headers_mut();
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let (status, code) = match Code::of(&error) {
            Some(code) => (status_of(code), code.name()),
            None => by_kind(error.kind()),
        };
        let details = error.details().iter().filter(|(name, _)| *name != "code");
        details.fold(ApiError::new(status, code, error.message()), |answer, (name, value)| {
            answer.with(name, value.clone())
        })
    }
}

/// Status of what the threads around the engine refuse.
fn status_of(code: Code) -> StatusCode {
    match code {
        Code::NoDefaultCollection => StatusCode::NOT_FOUND,
        Code::ResourceExhausted => StatusCode::TOO_MANY_REQUESTS,
        Code::ShuttingDown => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Status and code of what the engine refuses.
fn by_kind(kind: ErrorKind) -> (StatusCode, &'static str) {
    match kind {
        ErrorKind::InvalidInput(Fault::NonFinite) => {
            (StatusCode::UNPROCESSABLE_ENTITY, Fault::NonFinite.name())
        }
        ErrorKind::InvalidInput(fault) => (StatusCode::BAD_REQUEST, fault.name()),
        ErrorKind::NotFound => (StatusCode::NOT_FOUND, "not_found"),
        ErrorKind::Conflict => (StatusCode::CONFLICT, "conflict"),
        ErrorKind::Corrupt => (StatusCode::INTERNAL_SERVER_ERROR, "corrupt"),
        ErrorKind::Version => (StatusCode::INTERNAL_SERVER_ERROR, "version"),
        ErrorKind::Locked => (StatusCode::SERVICE_UNAVAILABLE, "locked"),
        ErrorKind::ReadOnly => (StatusCode::FORBIDDEN, "read_only"),
        ErrorKind::StorageFull => (StatusCode::INSUFFICIENT_STORAGE, "storage_full"),
        ErrorKind::Io | ErrorKind::NotResident => {
            (StatusCode::SERVICE_UNAVAILABLE, "storage_error")
        }
        ErrorKind::Cancelled => (StatusCode::SERVICE_UNAVAILABLE, "cancelled"),
    }
}
