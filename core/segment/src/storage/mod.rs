//! The storage interface: the trait `Storage` is a flat set of named, immutable blobs (`Blob`), plus
//! append-only files (`Appender`) and locks (`Lock`), passed to the engine as an argument. Implementations:
//! `Directory`, `MemoryStorage`, `SlotStorage` (browser), those of tests, and the server's `PacedStorage`;
//! `RangeBlob` is a blob fetched in part.
//!
//! Names are relative paths with `/` (`segments/0a1b….seg`); directories come into being with their
//! first file. A blob is written once, whole, and never edited.
//!
//! Parts of names are made of `A-Z a-z 0-9 . _ -`; every other name is `InvalidInput(Parameter)` everywhere.
//!
//! *After `Ok`* a write is durable: it survives a power cut. *After `Err` or a crash* a `put` is all or
//! nothing, and which of the two is unknown: read before deciding. Bytes of a blob stay readable through
//! an open handle after the name is removed.
//!
//! *After a killed process* names may be visible that a power cut would still undo. The next writer calls
//! [`Storage::settle`] before it relies on what it reads.
//!
//! Files of a store are mapped: do not truncate or edit them by hand (see [`open_directory`]'s module).

mod aligned;
mod blob;
mod bytes;
#[cfg(any(test, feature = "testing"))]
pub mod conformance;
mod directory;
mod disk;
#[cfg(feature = "fs")]
mod fs;
mod listing;
mod locks;
mod memory;
#[cfg(feature = "fs")]
mod mounts;
mod name;
#[cfg(test)]
mod operations;
mod ranges;
#[cfg(any(test, feature = "testing"))]
mod sim;
mod slots;
mod writing;

pub use aligned::AlignedBuffer;
pub use blob::BytesBlob;
pub use bytes::Bytes;
pub use directory::Directory;
pub use disk::{DirectoryEntry, Disk, DiskFile, LockAttempt};
#[cfg(feature = "fs")]
pub use fs::{OsDisk, OsFile, open_directory, open_existing_directory, open_target_directory};
pub use memory::MemoryStorage;
pub use name::join;
pub use ranges::{PIECE_BYTES, RangeBlob};
#[cfg(any(test, feature = "testing"))]
pub use sim::{Failure, SimDisk, SimFile, SyncKind};
#[cfg(any(test, feature = "testing"))]
pub use slots::SimSlots;
pub use slots::{SlotId, SlotStorage, Slots};

use std::fmt::Debug;
use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};

/// Writes the content of a blob, front to back. A fill may flush in between: where the medium is a disk, what
/// it has written so far is on it then, so that the sync of a large blob is not one long burst.
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
    /// What `fill` returned, or `StorageFull` or `Io` while writing: the old blob (or none) is still there.
    /// `Io` from the last step, making the new name durable: either is there, and a power cut decides.
    /// An error that `fill` met in writing and did not return fails the `put` all the same.
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

    /// Names (without the directory) of the files directly in `dir` (`""` is the root), sorted by bytes. A
    /// missing directory is empty. Directories, temporary files of unfinished `put`s and foreign files with
    /// names that no storage would accept are not listed.
    fn list(&self, dir: &str) -> Result<Vec<String>>;

    /// Names (without the directory) of the directories directly in `dir` (`""` is the root), sorted by bytes.
    /// A missing directory has none. Empty ones may or may not be listed.
    fn directories(&self, dir: &str) -> Result<Vec<String>>;

    /// Every name directly in `dir` (`""` is the root), sorted: files, directories, and foreign entries that the
    /// other two listings leave out. Unfinished writes of this storage are not among them.
    fn names(&self, dir: &str) -> Result<Vec<String>> {
        let mut names = self.list(dir)?;
        names.extend(self.directories(dir)?);
        names.sort_unstable();
        Ok(names)
    }

    /// Moves a file; durable on return. Used to archive and to quarantine. A crash leaves it under the old
    /// name, the new one, or both; never under neither.
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

    /// Removes the name of a file; a missing one is no error. Removal may be undone by a power cut.
    fn remove(&self, name: &str) -> Result<()>;

    /// Removes files directly in `dir`, as [`remove`](Storage::remove) does; on return no power cut brings
    /// them back, nor any that were removed from `dir` before. One sync, also without names. For files whose
    /// absence others rely on.
    ///
    /// # Errors
    /// `Io`; any of them may then be there or not.
    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()>;

    /// Removes an empty directory; true if it is gone, false if it stays because something is in it or because
    /// the medium has no directories. A power cut may bring it back, empty or not, until its parent is synced
    /// (by [`remove_durably`](Storage::remove_durably), also without names).
    fn remove_directory(&self, dir: &str) -> Result<bool> {
        let _come_and_go_with_their_files = dir;
        Ok(false)
    }

    /// Bytes that can still be written, where the medium can tell.
    fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    /// Sentences about the medium that its owner should know, for the log of a host.
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Takes an advisory lock on a file (made if missing), without waiting. `owner` is one line written
    /// into the file by an exclusive holder, for the error of a refused caller. Dropping the lock releases
    /// it; it also ends with its process.
    ///
    /// # Errors
    /// `Locked`, with the holder's line in the message (and the detail `pid` where the line has the word
    /// `pid` and a number).
    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>>;

    /// Takes over what an earlier writer left in `dir` (`""`: everywhere) and below: removes unfinished
    /// writes, and makes durable every name that is visible, which a killed process may not have got to.
    /// Called once by recovery, under the writer's lock and before anything is read. Returns how many
    /// leftovers were removed. One sync per directory.
    ///
    /// # Errors
    /// `Io`; what is visible must not be relied on then.
    fn settle(&self, dir: &str) -> Result<usize> {
        let _nothing_is_pending_on_this_medium = dir;
        Ok(0)
    }

    /// As [`settle`](Storage::settle) for `dir` alone, without what is below it.
    ///
    /// # Errors
    /// As `settle`.
    fn settle_names(&self, dir: &str) -> Result<usize> {
        let _nothing_is_pending_on_this_medium = dir;
        Ok(0)
    }
}

/// The error for a lock that `holder` has.
fn refused(name: &str, holder: &str) -> Error {
    let by = if holder.is_empty() { "another process" } else { holder };
    let error = Error::new(
        ErrorKind::Locked,
        format!("locked by {by}; close it there, or open for reading only"),
    )
    .with("file", name);
    match pid_in(holder) {
        Some(pid) => error.with("pid", pid),
        None => error,
    }
}

/// The number after the word `pid`: `pid 12`, `pid=12`, `pid: 12`.
fn pid_in(line: &str) -> Option<u64> {
    let rest = line.split_once("pid")?.1.trim_start_matches([' ', '=', ':']);
    let end = rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(rest.len());
    rest[..end].parse().ok()
}

/// Whether others may hold the same lock.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LockMode {
    /// A single holder.
    Exclusive,
    /// Any number of shared holders.
    Shared,
}

/// A held lock; ends when dropped.
pub trait Lock: Send + Sync + Debug {
    /// Whether the lock still keeps others out: its file has the name it was locked under.
    ///
    /// # Errors
    /// `Locked` if the file was removed or replaced, so that others may hold a lock of the same name.
    fn check(&self) -> Result<()> {
        Ok(())
    }
}

/// The error of a lock whose file is gone.
fn lost(name: &str) -> Error {
    let message = format!(
        "the lock file {name} was removed or replaced while it was locked: another process may be writing;          nothing more is written. Close all writers, then open the store again"
    );
    Error::new(ErrorKind::Locked, message).with("file", name)
}

/// How bytes will be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Advice {
    /// A few bytes here and there: reading ahead would be waste.
    Random,
    /// All of them, soon.
    Soon,
}

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
    /// `Corrupt` if the range is not within the blob, `Io` if the medium fails, `NotResident` if it must be
    /// fetched first.
    fn read(&self, range: Range<u64>) -> Result<Bytes>;

    /// True if each read borrows the same bytes, without a copy.
    fn is_in_place(&self) -> bool {
        false
    }

    /// Announces how the bytes of `range` will be read. A hint; reads are right without it.
    fn advise(&self, _range: Range<u64>, _advice: Advice) {}

    /// How often bytes were taken out that may come back as others. Media whose bytes stay have no such moments.
    fn changes(&self) -> u64 {
        0
    }
}

/// The writing end of an append-only file.
pub trait Appender: Send + Debug {
    /// Appends bytes; readers may see them, a power cut may lose or tear them.
    ///
    /// # Errors
    /// After any error the file's end is unknown, and every later call fails.
    fn write(&mut self, bytes: &[u8]) -> Result<()>;

    /// Makes everything written so far durable.
    ///
    /// # Errors
    /// After an error it is unknown what is durable, and every later call fails: the system may have
    /// marked lost pages clean, so that a second sync would lie.
    fn sync(&mut self) -> Result<()>;
}
