//! The one error type of the core crates: `Error`, with a kind to act on, a message to read, details to
//! program with. `Fault` says which input was invalid, `shown` shortens values for messages. Returned by
//! every module of the core; the server, `python` and `wasm` map it in one table each.
//!
//! A kind exists only where a caller acts differently. Everything else (which blob, section, offset,
//! what was expected and what was found) is in the message, and again in [`Error::details`] by name,
//! so that a binding can turn it into attributes of an exception or a JSON body without parsing text.

use std::borrow::Cow;
use std::fmt;

use serde_json::{Number, Value};

/// Result of every fallible call of the core crates.
pub type Result<T> = std::result::Result<T, Error>;

/// What a caller can do about an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum ErrorKind {
    /// The call is wrong; correct it and call again. Nothing was changed.
    InvalidInput(Fault),
    /// The named thing does not exist; the message lists near names where there are any.
    NotFound,
    /// The named thing exists already, or another writer changed it first.
    Conflict,
    /// Bytes on disk are not what was written. Restore from a snapshot; `verify` says how much is hurt.
    Corrupt,
    /// The file was written by a newer format, or one too old to read. Upgrade or migrate.
    Version,
    /// Another process holds the directory; the message says which.
    Locked,
    /// The store was opened for reading only.
    ReadOnly,
    /// The disk is full. Reads go on; write again after making space.
    StorageFull,
    /// The operating system failed. After a failed write the writer is poisoned: reopen to recover.
    Io,
    /// Bytes are not here yet: fetch what the blob wants and call again. Nothing is wrong with them.
    NotResident,
    /// The caller asked for the work to stop; nothing was changed.
    Cancelled,
}

/// Which part of an invalid call was wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Fault {
    /// A vector has the wrong number of elements.
    Dimension,
    /// A vector holds NaN or infinity, or is so long that distances overflow f32.
    NonFinite,
    /// The same id twice in one batch.
    DuplicateId,
    /// An id that is no integer of −2^63 to 2^64 − 1, UUID or string of 1 to 256 bytes.
    Id,
    /// A filter that cannot be read or names what does not exist.
    Filter,
    /// Metadata that is not what its field promises.
    Metadata,
    /// Any other argument out of range.
    Parameter,
}

impl Fault {
    /// Stable lower-case name, used as the error code of bindings.
    pub fn name(self) -> &'static str {
        match self {
            Fault::Dimension => "dimension",
            Fault::NonFinite => "non_finite",
            Fault::DuplicateId => "duplicate_id",
            Fault::Id => "id",
            Fault::Filter => "filter",
            Fault::Metadata => "metadata",
            Fault::Parameter => "parameter",
        }
    }
}

/// An error with a kind, a message, named details and sometimes a source.
#[derive(Debug)]
pub struct Error(Box<Inner>);

#[derive(Debug)]
struct Inner {
    kind: ErrorKind,
    message: String,
    details: Vec<(&'static str, Value)>,
    source: Option<std::io::Error>,
}

impl Error {
    /// An error of `kind` whose message is a sentence for the caller.
    pub fn new(kind: ErrorKind, message: impl Into<String>) -> Self {
        let message = message.into();
        Error(Box::new(Inner { kind, message, details: Vec::new(), source: None }))
    }

    /// A call that cannot be carried out as it stands.
    pub fn invalid(fault: Fault, message: impl Into<String>) -> Self {
        Error::new(ErrorKind::InvalidInput(fault), message)
    }

    /// Bytes of `blob` that are not what was written; `place` names the section and offset.
    pub fn corrupt(blob: &str, place: impl fmt::Display, found: impl fmt::Display) -> Self {
        Error::new(ErrorKind::Corrupt, format!("{blob}: {place}: {found}")).with("file", blob)
    }

    /// An operating-system error while doing `action` to `name`. A full disk gets its own kind.
    #[expect(
        clippy::wildcard_enum_match_arm,
        reason = "foreign kinds; ours are the four that differ"
    )]
    pub fn io(action: &str, name: &str, source: std::io::Error) -> Self {
        let kind = match source.kind() {
            std::io::ErrorKind::StorageFull | std::io::ErrorKind::QuotaExceeded => {
                ErrorKind::StorageFull
            }
            std::io::ErrorKind::NotFound => ErrorKind::NotFound,
            std::io::ErrorKind::AlreadyExists => ErrorKind::Conflict,
            _ => ErrorKind::Io,
        };
        let mut error = Error::new(kind, format!("{action} {name}: {source}")).with("file", name);
        error.0.source = Some(source);
        error
    }

    /// Adds a named detail: `expected`, `got`, `row`, `column`, `ids`, `near`, `position`, `file`,
    /// `offset`, `length`, `pid`, `checksum` (found where another was expected).
    #[must_use]
    pub fn with(mut self, name: &'static str, value: impl Into<Value>) -> Self {
        self.0.details.push((name, value.into()));
        self
    }

    /// Puts `context` in front of the message, as `context: message`.
    #[must_use]
    pub fn context(mut self, context: impl fmt::Display) -> Self {
        self.0.message = format!("{context}: {}", self.0.message);
        self
    }

    /// A copy of the error without its source, for each caller that waited for one failed call.
    #[must_use]
    pub fn again(&self) -> Self {
        let Inner { kind, message, details, source: _ } = &*self.0;
        let (kind, message, details) = (*kind, message.clone(), details.clone());
        Error(Box::new(Inner { kind, message, details, source: None }))
    }

    /// What the caller can do about it.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// The sentence.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// Named details, in the order they were added.
    pub fn details(&self) -> &[(&'static str, Value)] {
        &self.0.details
    }

    /// One detail by name.
    pub fn detail(&self, name: &str) -> Option<&Value> {
        self.0.details.iter().find(|(key, _)| *key == name).map(|(_, value)| value)
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_ref().map(|source| source as _)
    }
}

/// Most characters of a caller's text that a message or a detail repeats.
pub const SHOWN_CHARS_MAX: usize = 64;

/// The text of a caller as a message or a detail repeats it: at most [`SHOWN_CHARS_MAX`] characters, the last of
/// them `…` if something was left out. O(1): the length of an error must not depend on what the caller sent.
pub fn shown(text: &str) -> Cow<'_, str> {
    let mut places = text.char_indices().map(|(place, _)| place).skip(SHOWN_CHARS_MAX - 1);
    match (places.next(), places.next()) {
        (Some(end), Some(_)) => Cow::Owned(format!("{}…", &text[..end])),
        _ => Cow::Borrowed(text),
    }
}

/// The first names of a list, each as [`shown`]; `…` stands for those left out.
pub fn shown_list<'a>(names: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    const NAMES_MAX: usize = 16;
    let mut names = names.into_iter();
    let mut list: Vec<String> =
        names.by_ref().take(NAMES_MAX).map(|name| shown(name).into_owned()).collect();
    list.extend(names.next().map(|_| "…".to_owned()));
    list
}

/// A float in a message. By serde_json, whose own messages print floats too: the standard library would bring its
/// tables besides, and a page loads them.
pub(crate) fn show_float(number: f64) -> String {
    match Number::from_f64(number) {
        Some(number) => number.to_string(),
        None if number.is_nan() => "NaN".to_owned(),
        None => if number > 0.0 { "inf" } else { "-inf" }.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_caller_sent_is_repeated_in_at_most_64_characters() {
        let fits = "é".repeat(SHOWN_CHARS_MAX);
        assert_eq!(shown(&fits), fits);
        let cut = shown("é".repeat(SHOWN_CHARS_MAX + 1).as_str()).into_owned();
        assert_eq!(cut, "é".repeat(SHOWN_CHARS_MAX - 1) + "…");
        assert_eq!(shown(&"x".repeat(20 << 20)).chars().count(), SHOWN_CHARS_MAX);
        assert_eq!(shown(""), "");
    }
}
