//! `ApiError`: the one table from errors to HTTP answers (status, code, message, details). Made by handlers and
//! `gate`; `into_response` writes the body in the `Conventions` of the API.
//!
//! Codes are stable and for programs; messages are for people and may change; details repeat the message's
//! numbers by name. No answer quotes a secret or the content of a file.
//!
//! *Invariant.* The body of an error has at most [`BODY_BYTES_MAX`] bytes, whatever the request held: it counts
//! against no budget, and the clients of all connections may leave theirs unread.

use std::borrow::Cow;

use axum::body::Body;
use axum::http::header::{CONNECTION, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use nearfield_engine::{Error, ErrorKind, Fault};
use serde_json::{Map, Value};

use super::answer;
use super::conventions::Conventions;
use crate::workers::{Met, StoreError};

/// Longest body of an error.
const BODY_BYTES_MAX: usize = 4 << 10;
/// Most bytes of its message, as JSON.
const MESSAGE_BYTES_MAX: usize = 2 << 10;
/// Bytes of a body beside message and details.
const FRAME_BYTES: usize = 256;

/// Result of a handler.
pub(crate) type Result<T> = std::result::Result<T, ApiError>;

/// An answer that says what went wrong.
#[derive(Debug)]
pub(crate) struct ApiError(Box<Inner>);

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
    pub(crate) fn new(status: StatusCode, code: &str, message: impl Into<String>) -> ApiError {
        let (code, message) = (code.to_owned(), message.into());
        ApiError(Box::new(Inner { status, code, message, details: Map::new(), closes: false }))
    }

    /// Text that is not JSON, or not of the shape asked for, from byte `position` on.
    pub(crate) fn malformed(position: usize, expected: &str, got: &str) -> ApiError {
        let message = format!("body: byte {position}: expected {expected}, got {got}");
        let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message);
        error.with("position", position).with("expected", expected).with("got", got)
    }

    /// A parameter or a member of a body with a value that it cannot have.
    pub(crate) fn parameter(name: &str, expected: &str, got: impl Into<Value>) -> ApiError {
        let got = got.into();
        let message = format!("{name}: expected {expected}, got {got}");
        let error = Error::invalid(Fault::Parameter, message);
        error.with("expected", expected).with("got", got).into()
    }

    /// Adds a named detail.
    #[must_use]
    pub(crate) fn with(mut self, name: &str, value: impl Into<Value>) -> ApiError {
        self.0.details.insert(name.to_owned(), value.into());
        self
    }

    /// Ends the connection after the answer: there is a body that will not be read.
    #[must_use]
    pub(crate) fn closing(mut self) -> ApiError {
        self.0.closes = true;
        self
    }

    /// The damage in a file of the store that a request met.
    pub(crate) fn damage(&self) -> Option<Met<'_>> {
        let file = self.0.details.get("file").and_then(Value::as_str)?;
        let derived = self.0.details.get("derived").and_then(Value::as_bool).unwrap_or(false);
        let is_ours = self.0.code == "corrupt" && file.starts_with("c/");
        is_ours.then_some(Met { file, message: &self.0.message, derived })
    }

    /// The byte of the body named by [`ApiError::malformed`].
    #[cfg(test)]
    pub(crate) fn position(&self) -> Option<u64> {
        self.0.details.get("position").and_then(Value::as_u64)
    }

    /// Its status.
    #[cfg(test)]
    pub(crate) fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The answer, written as an API writes its errors.
    pub(crate) fn into_response(self, conventions: &Conventions) -> Response<Body> {
        let Inner { status, code, message, details, closes } = *self.0;
        let (message, details) = fitted(&code, &message, details);
        let body = (conventions.error_body)(&code, &message, details);
        let mut response = answer::json(status, body);
        let headers = response.headers_mut();
        if status == StatusCode::TOO_MANY_REQUESTS {
            headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
        }
        if status == StatusCode::UNAUTHORIZED {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(conventions.challenge));
        }
        if closes {
            headers.insert(CONNECTION, HeaderValue::from_static("close"));
        }
        response
    }
}

/// What fits into a body: a message that is too long is cut, and details for which no room is left are left out.
fn fitted<'m>(
    code: &str,
    message: &'m str,
    details: Map<String, Value>,
) -> (Cow<'m, str>, Map<String, Value>) {
    let message = cut(message);
    let mut room = BODY_BYTES_MAX - FRAME_BYTES - code.len() - json_len(&Value::from(&*message));
    let mut kept = Map::new();
    for (name, value) in details {
        let len = name.len() + json_len(&value) + 4;
        if let Some(rest) = room.checked_sub(len) {
            room = rest;
            kept.insert(name, value);
        }
    }
    (message, kept)
}

/// As much of a message as fits.
fn cut(message: &str) -> Cow<'_, str> {
    let room = MESSAGE_BYTES_MAX - '…'.len_utf8();
    let (mut len, mut end) = (0, 0);
    for (place, character) in message.char_indices() {
        len += json_len(&Value::from(character.to_string())) - 2;
        if len > MESSAGE_BYTES_MAX {
            return Cow::Owned(format!("{}…", &message[..end]));
        }
        if len <= room {
            end = place + character.len_utf8();
        }
    }
    Cow::Borrowed(message)
}

/// Bytes of a value as JSON.
fn json_len(value: &Value) -> usize {
    value.to_string().len()
}

impl From<Error> for ApiError {
    fn from(error: Error) -> ApiError {
        let (status, code) = by_kind(error.kind());
        with_details(ApiError::new(status, code, error.message()), &error)
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> ApiError {
        let message = error.to_string();
        let answer = |status, code| ApiError::new(status, code, message);
        match error {
            StoreError::Engine(error) => error.into(),
            StoreError::NoDefaultCollection(_) => {
                answer(StatusCode::NOT_FOUND, "no_default_collection")
            }
            StoreError::CollectionUnavailable(cause) => {
                let status = StatusCode::SERVICE_UNAVAILABLE;
                with_details(answer(status, "collection_unavailable"), &cause)
            }
            StoreError::ResourceExhausted(_) => {
                let status = StatusCode::TOO_MANY_REQUESTS;
                answer(status, "resource_exhausted").with("retry_after_secs", 1)
            }
            StoreError::DeadlineExceeded(limit) => {
                let expected = format!("{} s", limit.as_secs());
                let status = StatusCode::GATEWAY_TIMEOUT;
                answer(status, "deadline_exceeded").with("expected", expected)
            }
            StoreError::ShuttingDown | StoreError::NotWritten => {
                answer(StatusCode::SERVICE_UNAVAILABLE, "shutting_down")
            }
            StoreError::Internal(_) => answer(StatusCode::INTERNAL_SERVER_ERROR, "internal"),
        }
    }
}

/// The answer with the details of an error of the engine.
fn with_details(answer: ApiError, error: &Error) -> ApiError {
    error.details().iter().fold(answer, |answer, (name, value)| answer.with(name, value.clone()))
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

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(code: &str, message: &str, details: Map<String, Value>) -> String {
        let (message, details) = fitted(code, message, details);
        json!({"code": code, "message": message, "details": details}).to_string()
    }

    #[test]
    fn a_body_has_at_most_4_kib_whatever_is_in_it() {
        for character in ["x", "\u{7f}", "\u{1}", "\"", "é", "😀"] {
            let text = character.repeat(1 << 20);
            let details = [("position", json!(7)), ("got", json!(text)), ("near", json!(["a"]))];
            let details = details.map(|(name, value)| (name.to_owned(), value));
            let body = body("not_found", &text, Map::from_iter(details));
            assert!(body.len() <= BODY_BYTES_MAX, "{character:?}: {} bytes", body.len());
            let read: Value = serde_json::from_str(&body).expect("whole JSON");
            let message = read["message"].as_str().expect("a string");
            assert!(message.starts_with(character) && message.ends_with('…'));
            assert_eq!(read["details"], json!({ "near": ["a"], "position": 7 }));
        }
    }

    #[test]
    fn what_fits_stays_as_it_is() {
        let message = "x".repeat(MESSAGE_BYTES_MAX);
        assert_eq!(cut(&message), message);
        let details = Map::from_iter([("got".to_owned(), json!("y".repeat(1_000)))]);
        let body = body("c", &message, details.clone());
        let read: Value = serde_json::from_str(&body).expect("whole JSON");
        assert_eq!(
            (read["message"].as_str(), &read["details"]),
            (Some(&*message), &json!(details))
        );
    }
}
