//! Whether anybody may have committed to the catalog: one read of a few bytes instead of a transaction.
//!
//! In WAL mode every commit, of any process, writes the header of the WAL-index (the file `-shm`) before it
//! returns: a counter of transactions and checksums (<https://www.sqlite.org/walformat.html>, "The WAL-Index
//! File Format"). So who finds the header as it was has missed no commit that was answered. What changed, and
//! whether it matters, only SQLite says.

use std::fs::File;
use std::mem::ManuallyDrop;
use std::path::Path;

/// Bytes of the header's first copy, which a commit writes last.
const HEADER_BYTES: usize = 48;

/// The header as it was at one moment.
pub(super) type Header = [u8; HEADER_BYTES];

/// The WAL-index of a database that a connection of this process keeps open.
#[derive(Debug)]
pub(super) struct WalIndex {
    /// Never closed: with any descriptor of a file POSIX takes away all locks that the process has on it,
    /// and SQLite has some on this one.
    file: Option<ManuallyDrop<File>>,
}

impl WalIndex {
    /// That of the database file `path`, which a connection has read; nothing where there is none.
    pub(super) fn of(path: &Path) -> WalIndex {
        let mut name = path.as_os_str().to_owned();
        name.push("-shm");
        WalIndex { file: File::open(name).ok().map(ManuallyDrop::new) }
    }

    /// The header now; none if it cannot be read. A torn one equals no other.
    #[cfg(unix)]
    pub(super) fn header(&self) -> Option<Header> {
        use std::os::unix::fs::FileExt;

        let mut header = [0; HEADER_BYTES];
        self.file.as_ref()?.read_exact_at(&mut header, 0).ok()?;
        Some(header)
    }

    /// Other systems keep shared memory where files do not show it.
    #[cfg(not(unix))]
    pub(super) fn header(&self) -> Option<Header> {
        let _unused = &self.file;
        None
    }
}
