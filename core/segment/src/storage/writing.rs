//! Writing a file front to back: `write_synced` writes a whole file, `FileAppender` appends for as long as
//! nothing fails. Both are used by `Directory` and `SlotStorage`.
//!
//! A failure of the disk is never overlooked: it wins over what a `fill` makes of it, and ends an appender.
//! Names, and their durability, are the business of the caller.

use std::io::{self, BufWriter, Write};

use super::disk::DiskFile;
use super::{Appender, Fill};
use crate::error::{Error, Result};

/// Small writes of a `fill` are gathered up to this.
const WRITE_BUFFER_BYTES: usize = 256 << 10;

/// Fills and syncs a file. A failure of the disk takes precedence over the result of `fill`, so that a full
/// disk is reported as such and a `fill` that overlooks an error cannot publish half a blob.
pub(super) fn write_synced<F: DiskFile>(file: F, name: &str, fill: Fill<'_>) -> Result<()> {
    let observed = Observed { file, failure: None };
    let mut writer = BufWriter::with_capacity(WRITE_BUFFER_BYTES, observed);
    let filled = fill(&mut writer);
    let synced = if filled.is_ok() { writer.flush() } else { Ok(()) };
    // Taken apart, because a dropped writer would write again.
    let (observed, _unwritten) = writer.into_parts();
    if let Some((action, failure)) = observed.failure {
        return Err(Error::io(action, name, failure));
    }
    filled?;
    synced.map_err(|e| Error::io("write", name, e))
}

/// Remembers the first failure of a file. Flushing it is syncing it.
struct Observed<F> {
    file: F,
    failure: Option<(&'static str, io::Error)>,
}

impl<F> Observed<F> {
    fn note<T>(&mut self, action: &'static str, ended: io::Result<T>) -> io::Result<T> {
        if let Err(error) = &ended
            && error.kind() != io::ErrorKind::Interrupted
            && self.failure.is_none()
        {
            self.failure = Some((action, io::Error::new(error.kind(), error.to_string())));
        }
        ended
    }
}

impl<F: DiskFile> Write for Observed<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes);
        self.note("write", written)
    }

    fn flush(&mut self) -> io::Result<()> {
        let synced = self.file.sync();
        self.note("sync", synced)
    }
}

/// Appends to a file; after the first failure it refuses, because the file's end is unknown then.
#[derive(Debug)]
pub(super) struct FileAppender<F> {
    file: F,
    name: String,
    failed: bool,
}

impl<F: DiskFile> FileAppender<F> {
    /// The end of the empty file `name`.
    pub(super) fn new(file: F, name: &str) -> Self {
        FileAppender { file, name: name.to_owned(), failed: false }
    }

    fn attempt(&mut self, action: &str, step: impl FnOnce(&mut F) -> io::Result<()>) -> Result<()> {
        if self.failed {
            let error = io::Error::other(
                "an earlier write or sync failed; nothing more is written before recovery",
            );
            return Err(Error::io(action, &self.name, error));
        }
        step(&mut self.file).map_err(|error| {
            self.failed = true;
            Error::io(action, &self.name, error)
        })
    }
}

impl<F: DiskFile> Appender for FileAppender<F> {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.attempt("append to", |file| file.write_all(bytes))
    }

    fn sync(&mut self) -> Result<()> {
        self.attempt("sync", DiskFile::sync)
    }
}
