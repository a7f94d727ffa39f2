//! Where bytes live: a flat set of named, immutable blobs, plus append-only files for the log.
//!
//! Names are relative paths with `/` (`segments/0a1b….seg`); directories come into being with their
//! first file. A blob is written once, whole, and never edited.
//!
//! *After `Ok`* a write is durable: it survives a power cut. *After `Err` or a crash* a `put` is all or
//! nothing, and which of the two is unknown: read before deciding. Bytes of a blob stay readable through
//! an open handle after the name is removed.

mod bytes;

pub use bytes::{AlignedBuffer, Bytes};

use std::fmt::Debug;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::error::Result;

/// Writes the content of a blob, front to back.
pub type Fill<'a> = &'a mut dyn FnMut(&mut dyn Write) -> Result<()>;

/// A namespace of immutable blobs and append-only files. One battery (`conformance`) holds for all.
pub trait Storage: Send + Sync + Debug {
    /// Opens a blob for reading.
    ///
    /// # Errors
    /// `NotFound` if there is none of that name.
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>>;

    /// Writes a whole blob, replacing one of the same name. All or nothing, durable on return.
    ///
    /// # Errors
    /// `StorageFull`, `Io`, or what `fill` returned; the old blob (or none) is then still there.
    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()>;

    /// Like [`put`](Storage::put), but never replaces: of two callers one gets `Conflict`.
    ///
    /// # Errors
    /// `Conflict` if the name exists, else as `put`.
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()>;

    /// Creates an empty append-only file; its name is durable on return.
    ///
    /// # Errors
    /// `Conflict` if the name exists.
    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>>;

    /// Names (without the directory) of the files directly in `dir`, sorted. A missing directory is empty.
    /// Temporary files of unfinished `put`s are not listed.
    fn list(&self, dir: &str) -> Result<Vec<String>>;

    /// Moves a file; durable on return. Used to archive and to quarantine.
    ///
    /// # Errors
    /// `NotFound` without `from`, `Conflict` if `to` exists.
    fn rename(&self, from: &str, to: &str) -> Result<()>;

    /// Makes `to` a second name of the immutable blob `from` (a hard link where the medium has them,
    /// else a copy); durable on return.
    ///
    /// # Errors
    /// `NotFound` without `from`, `Conflict` if `to` exists.
    fn link(&self, from: &str, to: &str) -> Result<()>;

    /// Removes a name; a missing one is no error. Removal may be undone by a power cut.
    fn remove(&self, name: &str) -> Result<()>;

    /// Bytes that can still be written, where the medium can tell.
    fn free_bytes(&self) -> Result<Option<u64>>;

    /// Takes an advisory lock on a file (made if missing), without waiting. `owner` is one line written
    /// into the file by an exclusive holder, for the message of whoever is refused. Dropped = released;
    /// the lock also ends with its process.
    ///
    /// # Errors
    /// `Locked`, with the holder's line in the message (and `pid` where it names one).
    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>>;
}

/// Whether others may hold the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// Nobody else.
    Exclusive,
    /// Any number of shared holders.
    Shared,
}

/// A held lock; ends when dropped.
pub trait Lock: Send + Sync + Debug {}

/// An open immutable blob (or the part of an append-only file that was there when it was opened).
pub trait Blob: Send + Sync + Debug {
    /// Length in bytes.
    fn len(&self) -> u64;

    /// True if there are no bytes.
    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The bytes of `range`: borrowed from a map or memory, or owned and aligned to 64 bytes. A range
    /// that starts at a multiple of 64 gives an address at a multiple of 64.
    ///
    /// # Errors
    /// `Corrupt` if the range is not within the blob, `Io` if the medium fails.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;
}

/// The writing end of an append-only file.
pub trait Appender: Send + Debug {
    /// Appends bytes; readers may see them, a power cut may lose or tear them.
    ///
    /// # Errors
    /// After any error the file's end is unknown: stop writing to it.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// After an error it is unknown what is durable, and a second call must not be trusted: the system
    /// may have marked lost pages clean.
    fn sync(&mut self) -> Result<()>;
}
