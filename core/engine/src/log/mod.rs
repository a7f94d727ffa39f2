//! The write-ahead log: one frame per atomic batch, in the order of their LSNs. `Log` is the trait, with
//! `FileLog` and `MemoryLog`; `Writer` appends and syncs, recovery calls `replay`.
//!
//! *Acknowledged means durable*: a batch counts once [`Log::sync`] has returned an LSN at or above its
//! own. After any failed append or sync the log is poisoned: what reached the disk is unknown, a second
//! fsync could lie, and only reopening (which reads back what is there) can tell.
//!
//! * `frame`: the bytes · `files`: the files of one collection
//! * `walk`, `scan`: what of them is valid, and whether damage is a torn tail or corruption
//! * `replay`: recovery and readers · `timeline`: going on after a replay to an earlier LSN
//! * `file`, `memory`: the two logs
//!
//! The log knows nothing of what a batch means: a body is bytes.

mod file;
mod files;
mod frame;
mod memory;
mod replay;
mod scan;
mod timeline;
mod walk;

pub use file::{FileLog, FileLogOptions};
pub use files::{LogDirectory, SealedFile};
pub use frame::{BODY_BYTES_MAX, LOG_VERSION};
pub use memory::MemoryLog;
pub(crate) use replay::has_changed;
pub use replay::{Mode, ReplayReport, Torn, replay};
pub use timeline::start_timeline;

use std::fmt::Debug;

use nearfield_segment::{ErrorKind, Lsn, Result};

/// What a log did since it was opened; both only grow.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Bytes written, with headers and marks.
    pub bytes: u64,
    /// Syncs that succeeded.
    pub syncs: u64,
}

/// Where batches become durable, and get their LSNs.
pub trait Log: Send + Debug {
    /// Appends one batch and returns its LSN, one above [`last`](Log::last). Not durable yet.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` for a body above [`BODY_BYTES_MAX`] (nothing changed). Any other error
    /// poisons the log.
    fn append(&mut self, body: &[u8]) -> Result<Lsn>;

    /// Makes every appended batch durable and returns [`last`](Log::last). One call for many appends.
    ///
    /// # Errors
    /// Any error poisons the log; whether the batches are durable is then unknown until reopened.
    fn sync(&mut self) -> Result<Lsn>;

    /// Whether it holds a file open for the next batch.
    fn is_open(&self) -> bool;

    /// LSN of the newest batch, durable or not.
    fn last(&self) -> Lsn;

    /// Every LSN up to this one is durable.
    fn durable(&self) -> Lsn;

    /// Kind of the error that poisoned the log, if one did. It may be known before any call fails: a
    /// mark behind batches that are durable could not be written.
    fn poisoned(&self) -> Option<ErrorKind>;

    /// Whether recovery can read its batches again.
    fn is_recoverable(&self) -> bool;

    /// Bytes held outside the archive.
    fn size_bytes(&self) -> u64;

    /// Bytes that recovery may have to copy: as long as the newest file is.
    fn recovery_bytes(&self) -> u64;

    /// What was done since it was opened.
    fn written(&self) -> Written;

    /// Syncs and closes the current file, so that it can be archived; a file without a batch is removed.
    ///
    /// # Errors
    /// As [`sync`](Log::sync).
    fn rotate(&mut self) -> Result<()>;

    /// Moves files that hold only LSNs up to `lsn` to the archive and returns how many. If `lsn` covers the whole
    /// log, an empty file is begun first; the newest file always stays. Nothing is deleted. Call it after the
    /// manifest with that checkpoint LSN is committed.
    ///
    /// # Errors
    /// Those of the storage; files already moved stay moved, and the log goes on. A file that cannot be begun
    /// poisons the log.
    fn archive_through(&mut self, lsn: Lsn) -> Result<usize>;
}

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod test_storage;
#[cfg(test)]
mod tests;
