//! Parses the JSON answers of a server (status and body → the value under `data`, or an error of the engine's
//! kind). Used by `Client`.

use hyper::body::Incoming;
use hyper::{Response, StatusCode};
use nearfield_engine::{Error, ErrorKind, Fault, Result};
use serde_json::Value;

use super::patience::next_piece;

/// Longest answer that is kept whole.
const ANSWER_BYTES_MAX: usize = 256 << 20;

/// Faults by the code that a server gives them.
const FAULTS: [Fault; 7] = [
    Fault::Dimension,
    Fault::NonFinite,
    Fault::DuplicateId,
    Fault::Id,
    Fault::Filter,
    Fault::Metadata,
    Fault::Parameter,
];

/// Details that are passed on by name. Others are in the message.
const DETAILS: &str = "expected got row column ids near position file offset pid batches_written rows lsn blockers \
                       retry_after job_id field";

/// What stands under `data`.
///
/// # Errors
/// What the server says is wrong; `Io` for an answer that is not one of Nearfield's.
pub(super) async fn data(response: Response<Incoming>) -> Result<Value> {
    let status = response.status();
    let bytes = whole(response).await?;
    if !status.is_success() {
        return Err(error_of(status, &bytes));
    }
    let answer: Value = serde_json::from_slice(&bytes).map_err(|_| not_ours(status, &bytes))?;
    answer.get("data").cloned().ok_or_else(|| not_ours(status, &bytes))
}

/// The error in an answer that is one.
pub(super) async fn refusal(response: Response<Incoming>) -> Error {
    let status = response.status();
    match whole(response).await {
        Ok(bytes) => error_of(status, &bytes),
        Err(error) => error,
    }
}

async fn whole(response: Response<Incoming>) -> Result<Vec<u8>> {
    let (mut body, mut bytes) = (response.into_body(), Vec::new());
    while let Some(piece) = next_piece(&mut body).await? {
        if bytes.len() + piece.len() > ANSWER_BYTES_MAX {
            let message = format!("the answer is longer than {ANSWER_BYTES_MAX} bytes");
            return Err(Error::new(ErrorKind::Io, message));
        }
        bytes.extend_from_slice(&piece);
    }
    Ok(bytes)
}

fn error_of(status: StatusCode, bytes: &[u8]) -> Error {
    let answer: Value = serde_json::from_slice(bytes).unwrap_or_default();
    let (Some(code), Some(message)) = (answer["code"].as_str(), answer["message"].as_str()) else {
        return not_ours(status, bytes);
    };
    let error = Error::new(kind_of(status, code), message).with("code", code);
    let details = &answer["details"];
    DETAILS.split(' ').fold(error, |error, name| match details.get(name) {
        Some(value) => error.with(name, value.clone()),
        None => error,
    })
}

fn kind_of(status: StatusCode, code: &str) -> ErrorKind {
    if let Some(fault) = FAULTS.into_iter().find(|fault| fault.name() == code) {
        return ErrorKind::InvalidInput(fault);
    }
    match code {
        "conflict" => ErrorKind::Conflict,
        "corrupt" => ErrorKind::Corrupt,
        "version" => ErrorKind::Version,
        "locked" => ErrorKind::Locked,
        "read_only" => ErrorKind::ReadOnly,
        "storage_full" => ErrorKind::StorageFull,
        "cancelled" => ErrorKind::Cancelled,
        _ if status == StatusCode::NOT_FOUND => ErrorKind::NotFound,
        _ if status == StatusCode::TOO_MANY_REQUESTS => ErrorKind::Io,
        _ if status.is_client_error() => ErrorKind::InvalidInput(Fault::Parameter),
        _ => ErrorKind::Io,
    }
}

fn not_ours(status: StatusCode, bytes: &[u8]) -> Error {
    let start: String = String::from_utf8_lossy(bytes).chars().take(80).collect();
    let message = format!("expected an answer of a Nearfield server, got {status}: {start:?}");
    Error::new(ErrorKind::Io, message)
}
