//! Refusals of the server itself, for which the engine has no kind: a word in the detail `code` of an error.
//!
//! A host maps them with [`Code::of`] before it looks at the kind of the error.

use nearfield_engine::{Error, ErrorKind};
use serde_json::Value;

/// Name of the detail.
const DETAIL: &str = "code";

/// Why the server refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Code {
    /// A path without a collection, and none is served under it.
    NoDefaultCollection,
    /// The collection exists and cannot be opened.
    CollectionUnavailable,
    /// A queue or the memory budget is full; try again after the detail `retry_after_secs`.
    ResourceExhausted,
    /// A search did not end within `--search-timeout-secs`.
    DeadlineExceeded,
    /// The server is closing.
    ShuttingDown,
    /// A thread panicked while it worked on this request.
    Internal,
}

impl Code {
    const ALL: [Code; 6] = [
        Code::NoDefaultCollection,
        Code::CollectionUnavailable,
        Code::ResourceExhausted,
        Code::DeadlineExceeded,
        Code::ShuttingDown,
        Code::Internal,
    ];

    /// The word in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Code::NoDefaultCollection => "no_default_collection",
            Code::CollectionUnavailable => "collection_unavailable",
            Code::ResourceExhausted => "resource_exhausted",
            Code::DeadlineExceeded => "deadline_exceeded",
            Code::ShuttingDown => "shutting_down",
            Code::Internal => "internal",
        }
    }

    /// The code of an error that has one.
    pub fn of(error: &Error) -> Option<Code> {
        let name = error.detail(DETAIL).and_then(Value::as_str)?;
        Code::ALL.into_iter().find(|code| code.name() == name)
    }

    /// An error with this code.
    pub(crate) fn error(self, message: impl Into<String>) -> Error {
        let kind = match self {
            Code::NoDefaultCollection => ErrorKind::NotFound,
            Code::ResourceExhausted | Code::DeadlineExceeded | Code::ShuttingDown => {
                ErrorKind::Cancelled
            }
            Code::CollectionUnavailable | Code::Internal => ErrorKind::Io,
        };
        let error = Error::new(kind, message).with(DETAIL, self.name());
        if self == Code::ResourceExhausted { error.with("retry_after_secs", 1) } else { error }
    }
}
