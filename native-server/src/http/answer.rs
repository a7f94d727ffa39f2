//! Writes success answers: `{"data": …}` as JSON from a value (`data`, `ok`), a body of another type (`typed`), or
//! text that is made piece by piece (`Growing`, which charges its memory). Used by the handlers of `api`.

use axum::body::Body;
use axum::http::header::{CONTENT_TYPE, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderValue, StatusCode};
use axum::response::Response;
use bytes::Bytes;
use serde::Serialize;
use std::sync::Arc;

use crate::workers::{Owner, Reservation, Store, StoreResult};

/// Memory reserved at a time for an answer that grows.
const PIECE_BYTES: u64 = 64 << 10;

/// A JSON body with its status.
pub(crate) fn json(status: StatusCode, body: impl Into<Body>) -> Response<Body> {
    typed(status, "application/json", body)
}

/// A body of any type.
pub(crate) fn typed(
    status: StatusCode,
    content_type: &'static str,
    body: impl Into<Body>,
) -> Response<Body> {
    let mut response = Response::new(body.into());
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}

/// An answer of unknown length: its memory is reserved from the memory budget while it grows, and until it is
/// sent.
#[derive(Debug)]
pub(crate) struct Growing {
    pub(crate) text: Vec<u8>,
    store: Arc<Store>,
    owner: Owner,
    held: Option<Reservation>,
}

impl Growing {
    /// Nothing yet.
    pub(crate) fn new(store: Arc<Store>, owner: Owner) -> Growing {
        Growing { text: Vec::new(), store, owner, held: None }
    }

    /// Reserves what the text has grown to; to be called after each point.
    ///
    /// # Errors
    /// `resource_exhausted`.
    pub(crate) fn pay(&mut self) -> StoreResult<()> {
        let bytes = (self.text.capacity() as u64).next_multiple_of(PIECE_BYTES);
        match &mut self.held {
            Some(held) => held.grow_to(bytes)?,
            None => self.held = Some(self.store.reserve_for_reading(self.owner, bytes)?),
        }
        Ok(())
    }

    /// The body, which gives the memory back once it is sent.
    pub(crate) fn finish(self) -> Bytes {
        Bytes::from_owner(self)
    }
}

impl AsRef<[u8]> for Growing {
    fn as_ref(&self) -> &[u8] {
        &self.text
    }
}

/// What every success looks like.
#[derive(Serialize)]
struct Envelope<T> {
    data: T,
}

/// `{"data": data}`.
pub(crate) fn data(status: StatusCode, data: impl Serialize) -> Response<Body> {
    let body = serde_json::to_vec(&Envelope { data });
    json(status, body.expect("answers have string keys and finite numbers"))
}

/// `{"data": data}` with status 200.
pub(crate) fn ok(value: impl Serialize) -> Response<Body> {
    data(StatusCode::OK, value)
}
