//! The trait `Disk`: the file-system primitives that `Directory` needs (open, create, rename, link, sync, lock).
//! Implemented by `OsDisk` and by the simulated disk of tests.
//!
//! A `Disk` promises nothing about durability beyond `sync` and `sync_dir`; what has to be synced when is
//! decided in one place, [`Directory`](super::Directory). Paths are names as [`Storage`](super::Storage)
//! has them, already checked; the empty path is the root, which exists. Errors are the system's own:
//! names and kinds are added above.

use std::fmt::Debug;
use std::io;

use super::{Bytes, Lock, LockMode};

/// A file system as far as storage uses it: the real one, or one that loses power on command.
pub trait Disk: Send + Sync + Debug {
    /// The writing end of a file.
    type File: DiskFile;

    /// Creates a file for writing.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn create(&self, path: &str) -> io::Result<Self::File>;

    /// The bytes the file has now. They stay as they are when the name is removed or the file grows.
    ///
    /// # Errors
    /// `NotFound`, also for a directory.
    fn read(&self, path: &str) -> io::Result<Bytes>;

    /// Files and directories directly in `dir`, in no order; other kinds of entry are left out.
    ///
    /// # Errors
    /// `NotFound` or `NotADirectory` if there is no such directory.
    fn list(&self, dir: &str) -> io::Result<Vec<DirectoryEntry>>;

    /// Every name directly in `dir`, also of entries that [`list`](Disk::list) leaves out; in no order.
    ///
    /// # Errors
    /// As `list`.
    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        Ok(self.list(dir)?.into_iter().map(|entry| entry.name).collect())
    }

    /// Renames a file; atomic, replaces `to`.
    ///
    /// # Errors
    /// `NotFound` without `from`.
    fn rename(&self, from: &str, to: &str) -> io::Result<()>;

    /// Renames a file without replacing; atomic where the system can, else looked up first.
    ///
    /// # Errors
    /// `NotFound` without `from`, `AlreadyExists` if `to` does.
    fn rename_new(&self, from: &str, to: &str) -> io::Result<()>;

    /// Makes `to` a second name of the file `from`.
    ///
    /// # Errors
    /// `NotFound`, `AlreadyExists`; others mean that there are no hard links here.
    fn hard_link(&self, from: &str, to: &str) -> io::Result<()>;

    /// Removes the name of a file.
    ///
    /// # Errors
    /// `NotFound` without it.
    fn unlink(&self, path: &str) -> io::Result<()>;

    /// Creates a directory; its parent exists.
    ///
    /// # Errors
    /// `AlreadyExists` if the name is taken.
    fn make_dir(&self, path: &str) -> io::Result<()>;

    /// Removes an empty directory.
    ///
    /// # Errors
    /// `NotFound` without it, `DirectoryNotEmpty`.
    fn remove_dir(&self, path: &str) -> io::Result<()>;

    /// Makes the entries of a directory durable, but not the content of its files.
    ///
    /// # Errors
    /// After an error it is unknown which entries are durable, and a second call must not be trusted.
    fn sync_dir(&self, path: &str) -> io::Result<()>;

    /// Bytes that can still be written, where the system can tell.
    fn free_bytes(&self) -> io::Result<Option<u64>>;

    /// As [`Storage::warnings`](super::Storage::warnings).
    fn warnings(&self) -> Vec<String> {
        Vec::new()
    }

    /// Tries to lock a file, made if missing. An exclusive holder leaves the line `owner` in it.
    ///
    /// # Errors
    /// What opening or locking failed with; a lock held by another is [`LockAttempt::Refused`].
    fn lock(&self, path: &str, mode: LockMode, owner: &str) -> io::Result<LockAttempt>;
}

/// A file being written, front to back.
pub trait DiskFile: io::Write + Send + Debug + 'static {
    /// Makes the content durable, but not the file's name.
    ///
    /// # Errors
    /// After an error a second call must not be trusted: lost pages may be marked clean.
    fn sync(&mut self) -> io::Result<()>;
}

/// A name in a directory.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DirectoryEntry {
    /// Without the directory's own.
    pub name: String,
    /// Whether it is a directory; else it is a regular file.
    pub is_dir: bool,
}

/// What came of asking for a lock.
#[derive(Debug)]
pub enum LockAttempt {
    /// It is held until dropped.
    Held(Box<dyn Lock>),
    /// Another holder has it.
    Refused {
        /// The holder's line; empty if it left none.
        holder: String,
    },
}
