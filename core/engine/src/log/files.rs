//! `LogDirectory`: the log files of one collection. It lists them (`NamedFile`), opens them (`OpenFile`,
//! which reads frames) and archives them. `SealedFile` describes a complete file: first and last LSN, length.
//! Made by `CollectionPath::log`; used by the rest of `log`, recovery, history and snapshots.
//!
//! `wal/<first LSN, 20 digits>.log` are live, `archive/` holds those below a manifest's checkpoint LSN. Other
//! names in these directories, and numbers outside 1..`LSN_END`, are ignored; recovery warns of them. A file
//! is written by one writer from front to back and never again.

use std::sync::Arc;

use nearfield_segment::storage::{Blob, Bytes, Storage, join};
use nearfield_segment::{Error, ErrorKind, FileId, Lsn, Result};

use super::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, padded};

/// LSNs stay below this.
const LSN_END: u64 = 1 << 62;
/// Bytes compared at a time.
const COMPARED_BYTES: u64 = 1 << 20;

/// Where the log of one collection lives.
#[derive(Debug, Clone)]
pub struct LogDirectory {
    storage: Arc<dyn Storage>,
    dir: String,
    collection: FileId,
}

impl LogDirectory {
    /// The log below `dir` (the directory of the collection; empty for the root of the storage).
    pub fn new(storage: Arc<dyn Storage>, dir: &str, collection: FileId) -> Self {
        LogDirectory { storage, dir: dir.to_owned(), collection }
    }

    pub(crate) fn storage(&self) -> &dyn Storage {
        &*self.storage
    }

    pub(crate) fn collection(&self) -> FileId {
        self.collection
    }

    /// Name of the live file that begins with `first`.
    pub(crate) fn live_name(&self, first: Lsn) -> String {
        format!("{}/{:020}.log", join(&self.dir, "wal"), first.0)
    }

    /// Name of that file in the archive.
    pub(crate) fn archive_name(&self, first: Lsn) -> String {
        format!("{}/{:020}.log", join(&self.dir, "archive"), first.0)
    }

    /// Name of a file where it was seen.
    fn path(&self, file: NamedFile) -> String {
        if file.live { self.live_name(file.first) } else { self.archive_name(file.first) }
    }

    /// Files by first LSN. A file seen in both places counts as live.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn list(&self) -> Result<Vec<NamedFile>> {
        // The live files are listed first: one that is archived between the two listings is then seen
        // twice rather than missed.
        let mut files = Vec::new();
        let live = self.storage.list(&join(&self.dir, "wal"))?;
        for first in self.storage.list(&join(&self.dir, "archive"))?.iter().filter_map(|n| parse(n))
        {
            files.push(NamedFile { first, live: false });
        }
        for first in live.iter().filter_map(|name| parse(name)) {
            files.push(NamedFile { first, live: true });
        }
        files.sort_by_key(|file| (file.first, !file.live));
        files.dedup_by_key(|file| file.first);
        Ok(files)
    }

    /// Names in `wal/` and `archive/` that are no log files of ours.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn strays(&self) -> Result<Vec<String>> {
        let mut strays = Vec::new();
        for folder in ["wal", "archive"].map(|folder| join(&self.dir, folder)) {
            let names = self.storage.names(&folder)?.into_iter();
            strays.extend(names.filter(|n| parse(n).is_none()).map(|n| format!("{folder}/{n}")));
        }
        Ok(strays)
    }

    /// Moves a live file to the archive. A power cut during an earlier attempt may have left both names;
    /// the live one is then removed, if the two are the same bytes.
    ///
    /// # Errors
    /// `Conflict` if another file is in the way, else those of the storage.
    pub(crate) fn archive(&self, first: Lsn) -> Result<()> {
        let (from, to) = (self.live_name(first), self.archive_name(first));
        match self.storage.rename(&from, &to) {
            Err(error) if error.kind() == ErrorKind::Conflict => {
                let (live, archived) = (self.storage.open(&from)?, self.storage.open(&to)?);
                if same_bytes(&*live, &*archived)? {
                    self.storage.remove(&from)
                } else {
                    Err(error)
                }
            }
            // An earlier attempt moved it and failed afterwards, in making the new name durable.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            result => result,
        }
    }

    /// Paths of archived files that hold nothing after `checkpoint_lsn`: the next file begins at or before what follows. The
    /// newest file stays: if a power cut undid the removal of an older one alone, the log would seem to end there.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn archived_through(&self, checkpoint_lsn: Lsn) -> Result<Vec<String>> {
        let files = self.list()?;
        let start = files.iter().rposition(|file| file.first <= checkpoint_lsn.next()).unwrap_or(0);
        let archived = files[..start].iter().filter(|file| !file.live);
        Ok(archived.map(|file| self.archive_name(file.first)).collect())
    }

    /// Live files that may hold batches after `checkpoint_lsn`, below the collection's directory, oldest first.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn live_after(&self, checkpoint_lsn: Lsn) -> Result<Vec<String>> {
        let files = self.list()?;
        let start = files.iter().rposition(|file| file.first <= checkpoint_lsn.next()).unwrap_or(0);
        let live = files[start..].iter().filter(|file| file.live);
        Ok(live.map(|file| format!("wal/{:020}.log", file.first.0)).collect())
    }

    /// Files that begin at or before `lsn`, below the collection's directory: the name, and that in the
    /// archive.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn files_from_before(&self, lsn: Lsn) -> Result<Vec<(String, String)>> {
        let files = self.list()?.into_iter().filter(|file| file.first <= lsn);
        let names = files.map(|file| {
            let folder = if file.live { "wal" } else { "archive" };
            let name = |folder| format!("{folder}/{:020}.log", file.first.0);
            (name(folder), name("archive"))
        });
        Ok(names.collect())
    }

    /// An LSN at or above all that were ever used here, by the names and lengths of the files alone.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn lsn_bound(&self) -> Result<Lsn> {
        let mut bound = Lsn(0);
        for file in self.list()? {
            let bytes = self.storage.open(&self.path(file))?.len();
            bound = bound.max(Lsn(file.first.0 + bytes / FRAME_HEADER_BYTES as u64));
        }
        Ok(bound)
    }

    /// Bytes of the other archived files: those that replay from `checkpoint_lsn` may read.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn archived_bytes_after(&self, checkpoint_lsn: Lsn) -> Result<u64> {
        let unneeded = self.archived_through(checkpoint_lsn)?;
        let archived = self.list()?.into_iter().filter(|file| !file.live);
        let names = archived.map(|file| self.archive_name(file.first));
        let needed = names.filter(|name| !unneeded.contains(name));
        needed.map(|name| Ok(self.storage.open(&name)?.len())).sum()
    }

    /// Opens a file and reads its header.
    ///
    /// # Errors
    /// `NotFound` if it was archived meanwhile, `Version`, `Io`.
    pub(crate) fn open(&self, named: NamedFile) -> Result<OpenFile> {
        let path = self.path(named);
        let blob = self.storage.open(&path)?;
        let header_bytes = blob.read(0..blob.len().min(FILE_HEADER_BYTES as u64))?;
        let header = FileHeader::decode(&header_bytes, &path);
        Ok(OpenFile { path, named, blob, header })
    }
}

/// A closed file of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SealedFile {
    /// First LSN it may hold; also its name.
    pub first: Lsn,
    /// Last LSN it holds that still counts.
    pub last: Lsn,
    /// Its length.
    pub bytes: u64,
}

/// A file by its name alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct NamedFile {
    pub(crate) first: Lsn,
    pub(crate) live: bool,
}

/// An open file; its header may be damaged.
#[derive(Debug)]
pub(crate) struct OpenFile {
    pub(crate) path: String,
    pub(crate) named: NamedFile,
    blob: Arc<dyn Blob>,
    pub(crate) header: Result<(FileHeader, u32)>,
}

impl OpenFile {
    /// Length when it was opened.
    pub(crate) fn len(&self) -> u64 {
        self.blob.len()
    }

    /// Raw bytes; the range must lie within.
    pub(crate) fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
        self.blob.read(range)
    }

    /// The frame header at `offset` and its link; `None` if there is none.
    pub(crate) fn frame(&self, offset: u64, file_crc: u32) -> Result<Option<(FrameHeader, u32)>> {
        if self.len() - offset.min(self.len()) < FRAME_HEADER_BYTES as u64 {
            return Ok(None);
        }
        let bytes = self.blob.read(offset..offset + FRAME_HEADER_BYTES as u64)?;
        Ok(FrameHeader::decode(&bytes, file_crc))
    }

    /// The verified body of the frame at `offset`; `None` if it is cut off or damaged.
    pub(crate) fn body(&self, offset: u64, frame: &FrameHeader) -> Result<Option<Bytes>> {
        let start = offset + FRAME_HEADER_BYTES as u64;
        let end = start + padded(frame.body_len as usize) as u64;
        if end > self.len() {
            return Ok(None);
        }
        let bytes = self.blob.read(start..end)?;
        Ok(frame.matches(&bytes).then(|| bytes.slice(0..frame.body_len as usize)))
    }

    /// A `Corrupt` error at `offset` of this file.
    pub(crate) fn corrupt(&self, offset: u64, found: impl std::fmt::Display) -> Error {
        Error::corrupt(&self.path, format_args!("offset {offset}"), found).with("offset", offset)
    }
}

fn same_bytes(a: &dyn Blob, b: &dyn Blob) -> Result<bool> {
    let mut offset = 0;
    while a.len() == b.len() && offset < a.len() {
        let end = a.len().min(offset + COMPARED_BYTES);
        if a.read(offset..end)?[..] != b.read(offset..end)?[..] {
            return Ok(false);
        }
        offset = end;
    }
    Ok(a.len() == b.len())
}

fn parse(name: &str) -> Option<Lsn> {
    let digits = name.strip_suffix(".log")?;
    if digits.len() != 20 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    // A log begins with LSN 1, and LSNs stay below their end.
    digits.parse().ok().filter(|first| (1..LSN_END).contains(first)).map(Lsn)
}
