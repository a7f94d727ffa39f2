//! Waiting for a server, never endlessly: `patiently` bounds a wait, `next_piece` reads the next bytes of an
//! answer. Used by `Client`.

use std::time::Duration;

use bytes::Bytes;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use nearfield_engine::{Error, ErrorKind, Result};
use tokio::time::timeout;

/// Until the next bytes move, in either direction.
pub(super) const IDLE_TIME_MAX: Duration = Duration::from_secs(60);

/// The next bytes of an answer, `None` at its end.
pub(super) async fn next_piece(body: &mut Incoming) -> Result<Option<Bytes>> {
    while let Some(frame) = patiently(IDLE_TIME_MAX, body.frame()).await? {
        let frame = frame.map_err(|error| broken(&error))?;
        if let Ok(piece) = frame.into_data() {
            return Ok(Some(piece));
        }
    }
    Ok(None)
}

/// What `wait` returns, within `most`.
pub(super) async fn patiently<T>(most: Duration, wait: impl Future<Output = T>) -> Result<T> {
    timeout(most, wait).await.map_err(|_| {
        let message = format!("the server did not answer within {} seconds", most.as_secs());
        Error::new(ErrorKind::Io, message)
    })
}

/// The error of a connection that broke.
pub(super) fn broken(error: &hyper::Error) -> Error {
    use std::error::Error as _;
    let cause = error.source().map(|cause| format!(": {cause}")).unwrap_or_default();
    Error::new(ErrorKind::Io, format!("the connection to the server broke: {error}{cause}"))
}
