//! `StoreError`: why the threads did not do what a request asked: an error of the engine, or a refusal of the server's
//! own, with a variant where a host answers differently. Returned by `Store`; `http/error.rs` makes answers of it.

use std::fmt;
use std::time::Duration;

use nearfield_engine::Error;

/// Result of what a request asks of the threads.
pub type StoreResult<T> = std::result::Result<T, StoreError>;

/// Why the threads did not do what a request asked.
#[derive(Debug)]
pub enum StoreError {
    /// The engine refused or failed.
    Engine(Error),
    /// A path without a collection means this one, and it does not exist.
    NoDefaultCollection(String),
    /// The collection exists and cannot be opened because of this error.
    CollectionUnavailable(Error),
    /// A queue or the memory budget is full, as the sentence says; the same request may succeed a second later.
    ResourceExhausted(String),
    /// A search did not end within `--search-timeout-secs`, which is this time.
    DeadlineExceeded(Duration),
    /// The server is closing.
    ShuttingDown,
    /// The server closed before it wrote a change that had been queued.
    NotWritten,
    /// A thread panicked while it did this for the request.
    Internal(&'static str),
}

impl From<Error> for StoreError {
    fn from(error: Error) -> StoreError {
        StoreError::Engine(error)
    }
}

impl std::error::Error for StoreError {}

impl fmt::Display for StoreError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            StoreError::Engine(error) | StoreError::CollectionUnavailable(error) => error.fmt(f),
            StoreError::NoDefaultCollection(name) => write!(
                f,
                "this path means the default collection {name:?}, which does not exist; name one in the path \
                 (/v2/collections/NAME/…), create it, or start with --collection NAME"
            ),
            StoreError::ResourceExhausted(message) => f.write_str(message),
            StoreError::DeadlineExceeded(limit) => write!(
                f,
                "the search did not end within {} s (--search-timeout-secs), waiting included; ask for fewer \
                 vectors or results, or use a shorter filter",
                limit.as_secs()
            ),
            StoreError::ShuttingDown => f.write_str("the server is closing"),
            StoreError::NotWritten => {
                f.write_str("the server closed before the change was written")
            }
            StoreError::Internal(doing) => {
                write!(f, "{doing} failed inside the server; its log says more")
            }
        }
    }
}
