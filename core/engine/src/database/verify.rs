//! Verifies a database, a collection or an export: reads every file, compares checksums, and reports what is damaged
//! and whether it can be rebuilt (`VerifyReport`, `Finding`). Entries: `verify` (command line and jobs),
//! `verify_present` (scrub of a running server), `verify_export`, `verify_below` (a snapshot before its restore).
//!
//! Changes nothing, and may be stopped or paused between two blocks. A finding in a derived section costs speed, not
//! answers; any other costs data, and calls that need them fail. Files no manifest names are not read.

use std::collections::HashSet;
use std::sync::Arc;

use crc32c::crc32c_append;
use nearfield_segment::format::{FRONT_PREFIX_BYTES, Front, Residence, Section};
use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{Blob, Storage, join};
use nearfield_segment::{Error, ErrorKind, Lsn, Result};

use crate::export::Export;
use crate::files::history::Past;
use crate::files::pin;
use crate::log::{LogDirectory, Mode, replay};
use crate::manifest::{
    CollectionEntry, DatabaseManifest, Manifest, SegmentEntry, SnapshotLog, SnapshotLogFile,
    document_name, list_numbers, load, load_newest,
};
use crate::write::batch;
use crate::write::keys;
use nearfield_segment::cancel::{self, GoOn};

/// How often a collection is read again because its files moved on meanwhile.
const ATTEMPTS_MAX: usize = 16;
/// Bytes of a log file compared at a time.
const READ_BYTES: u64 = 1 << 20;

/// One piece of damage.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Finding {
    /// File, from the root of the store.
    pub file: String,
    /// Where in the file, where that is known.
    pub offset: Option<u64>,
    /// What is wrong, with section and offset where they are known.
    pub message: String,
    /// True if the damaged part is rebuilt from others by the next compaction.
    pub derived: bool,
    /// True if only earlier moments are hurt: what is there now is whole, and opens.
    pub past: bool,
    /// Of the error that was met.
    #[serde(skip)]
    kind: ErrorKind,
}

impl Finding {
    /// The error to refuse with, unless everything that is there now can be read all the same.
    pub(crate) fn refusal(&self) -> Option<Error> {
        if self.derived || self.past {
            return None;
        }
        let error = Error::new(self.kind, &*self.message).with("file", self.file.as_str());
        let error =
            self.offset.into_iter().fold(error, |error, offset| error.with("offset", offset));
        Some(error.context("verification before restoring"))
    }

    /// The file and offset the error names, else `file`.
    fn of(file: &str, error: &Error, derived: bool) -> Finding {
        let named = error.detail("file").and_then(|name| name.as_str());
        Finding {
            file: named.unwrap_or(file).to_owned(),
            offset: error.detail("offset").and_then(|offset| offset.as_u64()),
            message: error.message().to_owned(),
            derived,
            past: false,
            kind: error.kind(),
        }
    }
}

/// What a verification read and found.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct VerifyReport {
    /// Collections looked at.
    pub collections: u64,
    /// Files read.
    pub files: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Batches in the log that no file contains yet.
    pub log_batches: u64,
    /// Damage, in reading order.
    pub findings: Vec<Finding>,
}

impl VerifyReport {
    /// True if nothing is damaged.
    pub fn is_clean(&self) -> bool {
        self.findings.is_empty()
    }

    fn note(&mut self, file: &str, result: Result<()>) {
        if let Err(error) = result {
            self.findings.push(Finding::of(file, &error, false));
        }
    }

    /// Checks every block of a section.
    fn check(&mut self, file: &str, section: &Section, go_on: GoOn<'_>) {
        if let Err(error) = section.verify(go_on) {
            let derived = section.entry().kind.is_derived();
            self.findings.push(Finding::of(file, &error, derived));
        }
    }

    /// Adds what was read and found elsewhere.
    pub fn absorb(&mut self, other: VerifyReport) {
        let VerifyReport { collections, files, bytes, log_batches, findings } = other;
        self.collections += collections;
        self.files += files;
        self.bytes += bytes;
        self.log_batches += log_batches;
        self.findings.extend(findings);
    }

    fn read(&mut self, bytes: u64) {
        self.files += 1;
        self.bytes += bytes;
    }
}

/// Reads and checks every file of a store that its manifests name, those of the past too, and the log behind
/// them; of one collection, if it is named. O(bytes).
///
/// # Errors
/// `NotFound` without a database, or for an unknown name, whose lookup may also fail with `Corrupt`, `Version` or
/// `Io`; `Cancelled` once `go_on` says no. Whatever is met in reading a file is reported as a finding.
pub fn verify(
    storage: &Arc<dyn Storage>,
    collection: Option<&str>,
    go_on: GoOn<'_>,
) -> Result<VerifyReport> {
    let Some(name) = collection else { return verify_below(storage, "", go_on) };
    let mut verification = Verification::new(storage, go_on);
    let database = load_newest::<DatabaseManifest>(&**storage, "")?.ok_or_else(no_database)?;
    let id = database.document.resolve(name)?;
    let mut entries = database.document.collections.values();
    entries
        .find(|entry| entry.id == id)
        .into_iter()
        .for_each(|entry| verification.collection("", entry));
    verification.end()
}

/// As [`verify`], for the store in the directory `root` of a storage.
///
/// # Errors
/// As [`verify`].
pub(crate) fn verify_below(
    storage: &Arc<dyn Storage>,
    root: &str,
    go_on: GoOn<'_>,
) -> Result<VerifyReport> {
    let mut verification = Verification::new(storage, go_on);
    match load_newest::<DatabaseManifest>(&**storage, root) {
        Ok(Some(database)) => {
            let entries = database.document.collections.values();
            entries.for_each(|entry| verification.collection(root, entry));
        }
        Ok(None) => return Err(no_database()),
        Err(error) => verification.report.note("database manifest", Err(error)),
    }
    verification.end()
}

/// Reads and checks what a collection holds now, for checks in rounds beside other work. `pause` is called before each
/// [`BLOCK_BYTES`](nearfield_segment::format::BLOCK_BYTES) of a segment file, and may block: segment files, which are
/// nearly all bytes, are read without the pin, and one that is merged away meanwhile is passed over. Then the manifest,
/// delete lists, keys and the log are read as [`verify`] reads them, under the pin and without a pause. Files of the
/// past are not read. A segment file that is merged away after damage was found in it is still in the report. O(bytes).
///
/// # Errors
/// As [`verify`].
pub fn verify_present(
    storage: &Arc<dyn Storage>,
    collection: &str,
    pause: &(dyn Fn() + Sync),
    go_on: GoOn<'_>,
) -> Result<VerifyReport> {
    let database = load_newest::<DatabaseManifest>(&**storage, "")?.ok_or_else(no_database)?;
    let dir = format!("c/{}", database.document.resolve(collection)?);
    let after_a_pause = || {
        pause();
        go_on()
    };
    let mut beside = Verification::new(storage, &after_a_pause);
    beside.report.collections = 1;
    // A manifest that cannot be read is reported by the second part.
    if let Ok(Some(manifest)) = named_now(storage, &dir) {
        for entry in manifest.segments.iter().take_while(|_| go_on()) {
            beside.segment_beside(&dir, entry);
        }
    }
    let mut verification = Verification { storage, go_on, report: beside.report };
    verification.directory(&dir, Depth::PresentButSegments);
    verification.end()
}

/// The newest manifest of a collection.
fn named_now(storage: &Arc<dyn Storage>, dir: &str) -> Result<Option<Manifest>> {
    let _pin = pin::shared(&**storage, dir)?;
    Ok(load_newest::<Manifest>(&**storage, dir)?.map(|stored| stored.document))
}

fn no_database() -> Error {
    Error::new(ErrorKind::NotFound, "there is no database in this directory")
}

/// Reads and checks every section of an export called `name`. O(bytes).
///
/// # Errors
/// `Io`; damage is reported.
pub fn verify_export(name: &str, blob: &Arc<dyn Blob>) -> Result<VerifyReport> {
    let mut report = VerifyReport::default();
    report.read(blob.len());
    match Export::open(name, blob, Residence::InPlace) {
        Ok(Export { collections, .. }) => {
            report.collections = collections.len() as u64;
            for live in collections.iter().flat_map(|(_, view)| &view.segments) {
                let sections = live.segment.sections();
                sections.iter().for_each(|section| report.check(name, section, &|| true));
            }
        }
        Err(error) if error.kind() == ErrorKind::Io => return Err(error),
        Err(error) => report.note(name, Err(error)),
    }
    Ok(report)
}

/// What of a collection is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Depth {
    Everything,
    /// The present without its segment files.
    PresentButSegments,
}

/// A verification of a store, with what it has found so far.
struct Verification<'a> {
    storage: &'a Arc<dyn Storage>,
    go_on: GoOn<'a>,
    report: VerifyReport,
}

impl<'a> Verification<'a> {
    fn new(storage: &'a Arc<dyn Storage>, go_on: GoOn<'a>) -> Verification<'a> {
        Verification { storage, go_on, report: VerifyReport::default() }
    }

    /// The report. One that was cut short covers a part, and may have taken the end for damage.
    fn end(self) -> Result<VerifyReport> {
        cancel::check(self.go_on).map(|()| self.report)
    }

    /// Everything of a collection of the store in `root`.
    fn collection(&mut self, root: &str, entry: &CollectionEntry) {
        self.report.collections += 1;
        let dir = join(root, &format!("c/{}", entry.id));
        self.directory(&dir, Depth::Everything);
        self.snapshot_log(&dir, entry.log.as_ref());
    }

    /// Beside a writer files may be merged away while they are read: then the collection is read again.
    fn directory(&mut self, dir: &str, depth: Depth) {
        let newest = || list_numbers::<Manifest>(&**self.storage, dir).ok()?.pop();
        for attempt in 1..=ATTEMPTS_MAX {
            let (before, mut own) = (newest(), Verification::new(self.storage, self.go_on));
            own.files(dir, depth);
            let done = !(self.go_on)() || own.report.is_clean() || before == newest();
            if done || attempt == ATTEMPTS_MAX {
                return self.report.absorb(own.report);
            }
        }
    }

    fn files(&mut self, dir: &str, depth: Depth) {
        let _pin = match pin::shared(&**self.storage, dir) {
            Ok(pin) => pin,
            Err(error) => return self.report.note(dir, Err(error)),
        };
        let manifest = match load_newest::<Manifest>(&**self.storage, dir) {
            Ok(Some(stored)) => stored.document,
            Ok(None) => {
                let missing = Error::corrupt(dir, "manifest", "there is none");
                return self.report.note(dir, Err(missing));
            }
            Err(error) => return self.report.note(dir, Err(error)),
        };
        let mut seen = HashSet::new();
        if depth == Depth::PresentButSegments {
            seen.extend(manifest.segments.iter().map(|entry| format!("{dir}/{}", entry.file)));
        }
        self.named(dir, &manifest, &mut seen);
        self.report.log_batches += self.log(dir, &manifest, manifest.checkpoint_lsn);
        if depth == Depth::PresentButSegments {
            return;
        }
        let present = self.report.findings.len();
        self.past(dir, &manifest, &mut seen);
        self.report.findings[present..].iter_mut().for_each(|finding| finding.past = true);
    }

    /// Checks what a manifest names, except what was `seen` before.
    fn named(&mut self, dir: &str, manifest: &Manifest, seen: &mut HashSet<String>) {
        let go_on = self.go_on;
        for entry in manifest.segments.iter().take_while(|_| go_on()) {
            let path = format!("{dir}/{}", entry.file);
            if seen.insert(path.clone()) {
                let result = self.segment(&path, entry);
                self.report.note(&path, result);
            }
            for list in &entry.deletes {
                let path = format!("{dir}/{}", list.file);
                if seen.insert(path.clone()) {
                    self.report.read(list.len);
                    let result = list.read(&**self.storage, dir, entry).map(drop);
                    self.report.note(&path, result);
                }
            }
        }
        if let Some(entry) = &manifest.keys
            && seen.insert(entry.file.clone())
        {
            self.report.read(entry.len);
            // All are read, one is kept.
            let result = keys::open(&**self.storage, dir, manifest.collection, entry, 1).map(drop);
            self.report.note(&format!("{dir}/{}", entry.file), result);
        }
    }

    /// Checks the log after `from`; returns how many batches it holds.
    fn log(&mut self, dir: &str, manifest: &Manifest, from: Lsn) -> u64 {
        let place = LogDirectory::new(Arc::clone(self.storage), dir, manifest.collection);
        let mut batches = 0;
        let replayed = replay(&place, from, Mode::ReadOnly, &mut |_, body| {
            batches += 1;
            cancel::check(self.go_on)?;
            batch::decode(body, &manifest.schema).map(drop)
        });
        self.report.note(&format!("{dir}/wal"), replayed.map(drop));
        batches
    }

    /// Compares the log files of a snapshot with what its document says of them: a shorter log would otherwise pass
    /// for one that was torn by a crash, a missing one for an empty one.
    fn snapshot_log(&mut self, dir: &str, log: Option<&SnapshotLog>) {
        let go_on = self.go_on;
        for listed in log.iter().flat_map(|log| &log.files).take_while(|_| go_on()) {
            let path = format!("{dir}/{}", listed.file);
            let result = verify_log_file(&**self.storage, &path, listed);
            self.report.note(&path, result);
        }
    }

    /// Checks the manifests of the past, what only they name, and the log after the oldest.
    fn past(&mut self, dir: &str, newest: &Manifest, seen: &mut HashSet<String>) {
        let past = match Past::read(&**self.storage, dir, newest.number) {
            Ok(past) => past,
            Err(error) => return self.report.note(dir, Err(error)),
        };
        for &number in &past.damaged {
            let name = document_name::<Manifest>(dir, number);
            self.report.note(&name, load::<Manifest>(&**self.storage, dir, number).map(drop));
        }
        for manifest in &past.manifests {
            self.named(dir, manifest, seen);
        }
        if !past.manifests.is_empty() {
            self.log(dir, newest, past.oldest(newest));
        }
    }

    /// Checks every block of a segment file that may be merged away and removed meanwhile.
    fn segment_beside(&mut self, dir: &str, entry: &SegmentEntry) {
        let path = format!("{dir}/{}", entry.file);
        match self.blocks(&path, entry) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                let same = |other: &SegmentEntry| other.id == entry.id;
                let now = named_now(self.storage, dir);
                if matches!(now, Ok(Some(now)) if now.segments.iter().any(same)) {
                    self.report.note(&path, Err(error));
                }
            }
            checked => self.report.note(&path, checked.map(drop)),
        }
    }

    fn segment(&mut self, path: &str, entry: &SegmentEntry) -> Result<()> {
        match self.blocks(path, entry)? {
            Some(whole) => Segment::open(path, whole, Residence::InPlace).map(drop),
            None => Ok(()),
        }
    }

    /// Checks every block of a segment file, and that it is the one its manifest names; the file, if it is whole.
    fn blocks(&mut self, path: &str, entry: &SegmentEntry) -> Result<Option<Arc<dyn Blob>>> {
        let blob = self.storage.open(path)?;
        self.report.read(blob.len());
        let prefix = blob.read(0..FRONT_PREFIX_BYTES.min(blob.len()))?;
        let front_len = Front::len_from_prefix(path, &prefix, blob.len())?;
        let front = Front::decode(path, &blob.read(0..front_len)?, blob.len())?;
        for section in &front.sections {
            let section = Section::new(path, Arc::clone(&blob), section.clone());
            self.report.check(path, &section, self.go_on);
        }
        let Front { id, rows, crc, .. } = front;
        if id != entry.id || rows != entry.rows || blob.len() != entry.len {
            let found = format!("segment {id} of {rows} rows, {} bytes", blob.len());
            let SegmentEntry { id, rows, len, .. } = entry;
            let expected = format!("the manifest names {id} of {rows} rows, {len} bytes");
            return Err(Error::corrupt(path, "header", format!("{found}; {expected}")));
        }
        let hurt = self.report.findings.iter().any(|finding| finding.file == path);
        if crc != entry.crc && !hurt {
            let found = format!("{crc:08x}, the manifest says {:08x}", entry.crc);
            return Err(Error::corrupt(path, "checksum of the front", found));
        }
        Ok((!hurt).then_some(blob))
    }
}

fn verify_log_file(storage: &dyn Storage, path: &str, listed: &SnapshotLogFile) -> Result<()> {
    let blob = storage.open(path).map_err(|error| {
        if error.kind() == ErrorKind::NotFound {
            Error::corrupt(path, "file", "expected a log file of the snapshot, found none")
        } else {
            error
        }
    })?;
    if blob.len() != listed.len {
        let found = format!("expected {}, found {}", listed.len, blob.len());
        return Err(Error::corrupt(path, "length", found));
    }
    let mut crc = 0;
    let mut offset = 0;
    while offset < blob.len() {
        let end = blob.len().min(offset + READ_BYTES);
        crc = crc32c_append(crc, &blob.read(offset..end)?);
        offset = end;
    }
    if crc != listed.crc {
        let found = format!("expected {:08x}, found {crc:08x}", listed.crc);
        return Err(Error::corrupt(path, "checksum", found));
    }
    Ok(())
}
