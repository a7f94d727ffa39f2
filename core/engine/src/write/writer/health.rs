//! `Health`: whether the writer accepts changes (`check`), and why it does not. Held by `Writer`, which calls
//! `poison` after a failed write.

use nearfield_segment::{Error, ErrorKind, Result};

/// The health of a writer. It only gets worse; recovery makes a new writer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Health {
    /// It accepts changes.
    Writable,
    /// It refuses changes until recovery: after a failed write it is unknown what is on disk.
    Poisoned(ErrorKind, String),
    /// It refuses changes for good: recovery does not help.
    Closed(ErrorKind, String),
}

impl Health {
    /// Kind and message of what made it refuse changes.
    pub(crate) fn cause(&self) -> Option<(ErrorKind, &str)> {
        match self {
            Health::Writable => None,
            Health::Poisoned(kind, cause) | Health::Closed(kind, cause) => Some((*kind, cause)),
        }
    }

    /// Refuses changes from now on; until recovery if it `is_recoverable`.
    pub(super) fn poison(&mut self, kind: ErrorKind, cause: String, is_recoverable: bool) {
        *self = match self {
            Health::Writable | Health::Poisoned(..) if is_recoverable => {
                Health::Poisoned(kind, cause)
            }
            Health::Writable | Health::Poisoned(..) | Health::Closed(..) => {
                Health::Closed(kind, cause)
            }
        };
    }

    /// # Errors
    /// The cause, if changes are refused.
    pub(super) fn check(&self) -> Result<()> {
        match self {
            Health::Writable => Ok(()),
            Health::Closed(kind, cause) => Err(Error::new(*kind, cause.clone())),
            Health::Poisoned(kind, cause) => {
                let message = format!(
                    "writes are refused until recovery (a server does it by itself, else open the store \
                     again), because of: {cause}"
                );
                Err(Error::new(*kind, message))
            }
        }
    }
}
