//! From files to a running collection: after a clean close, a crash or a power cut alike.
//!
//! 1. The newest manifest is the truth; a damaged one is a blocker, never a silent step back.
//! 2. Files it does not name are orphans of unfinished work: they go to `quarantine/`.
//! 3. Segments and delete lists are opened and verified; a damaged derived section is done without.
//! 4. The log after the manifest's cut is replayed; a torn tail is cut off, damage inside refuses.
//! 5. A fresh log file is begun, so that nothing is ever appended to a file a crash has touched.

use std::sync::Arc;

use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{Lock, LockMode};
use nearfield_segment::{Error, ErrorKind, FileId, Lsn, Result, Rng, Schema};

use crate::batch::Batch;
use crate::clock::Clock;
use crate::log::{FileLog, Log, MemoryLog, Replay, ReplayMode, Torn, replay};
use crate::manifest::{Manifest, NextId, SegmentEntry, deletes};
use crate::options::Options;
use crate::state::{Held, State};
use crate::view::View;
use crate::writer::{Reader, Site, Writer};

/// Locked (shared) by whoever opens the files of a manifest, so that nothing is removed meanwhile.
pub(crate) const PIN: &str = "pin";

/// How often a read-only opener starts again because files moved on while it was opening them.
const OPEN_ATTEMPTS_MAX: usize = 16;

/// What recovery found and did.
#[derive(Debug, Clone, Default)]
pub struct RecoveryReport {
    /// Batches replayed from the log.
    pub replayed: u64,
    /// The torn end of the log that was cut off, if there was one.
    pub torn: Option<Torn>,
    /// Files moved to quarantine.
    pub orphans: Vec<String>,
    /// Segments whose derived sections were damaged; they are rebuilt by the next compaction.
    pub degraded: Vec<String>,
}

/// Creates the files of a new, empty collection.
///
/// # Errors
/// `Conflict` if there is a collection in that directory already.
pub(crate) fn create(site: &Site, id: FileId, schema: &Schema, created_ms: u64) -> Result<()> {
    Manifest::first(id, schema.clone(), created_ms).commit(&*site.storage, &site.dir).map(drop)
}

/// Opens a collection for writing. The caller holds the store's lock.
///
/// # Errors
/// `NotFound` without a manifest; `Corrupt` or `Version` naming file and offset; `Io`.
pub(crate) fn open_writer(
    site: Site,
    options: Options,
    clock: Arc<dyn Clock>,
    seed: u64,
) -> Result<(Writer, RecoveryReport)> {
    let storage = Arc::clone(&site.storage);
    let manifest = newest_manifest(&site)?;
    let mut report = RecoveryReport {
        orphans: quarantine_orphans(&site, &manifest)?,
        ..RecoveryReport::default()
    };
    let mut state = open_state(&site, &manifest, &options, Rng::new(seed), &[])?;
    report.degraded = degraded(&state);
    let replayed = replay_into(&mut state, &site, ReplayMode::Recover, &mut report.replayed)?;
    report.torn = replayed.torn.clone();
    let log = FileLog::open(storage, &site.dir, &manifest, &replayed, options.log_file_bytes_max)?;
    let reader = Reader::new(state.view(manifest.number));
    let log: Box<dyn Log> = Box::new(log);
    Ok((Writer { site, options, clock, manifest, state, log, reader, poisoned: None }, report))
}

/// A collection that lives in memory only: no log, no recovery, otherwise the same.
///
/// # Errors
/// As [`create`].
pub(crate) fn create_in_memory(
    site: Site,
    schema: &Schema,
    options: Options,
    clock: Arc<dyn Clock>,
    seed: u64,
) -> Result<Writer> {
    let mut rng = Rng::new(seed);
    create(&site, rng.file_id(), schema, clock.now_ms())?;
    let manifest = newest_manifest(&site)?;
    let state = open_state(&site, &manifest, &options, rng, &[])?;
    let reader = Reader::new(state.view(manifest.number));
    let log: Box<dyn Log> = Box::new(MemoryLog::default());
    Ok(Writer { site, options, clock, manifest, state, log, reader, poisoned: None })
}

fn newest_manifest(site: &Site) -> Result<Manifest> {
    Manifest::load_newest(&*site.storage, &site.dir)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("{}: no manifest, so no collection", site.dir))
    })
}

/// Moves what the manifest does not name out of the way; nothing is deleted here.
fn quarantine_orphans(site: &Site, manifest: &Manifest) -> Result<Vec<String>> {
    site.storage.sweep_temporary(&site.path("segments"))?;
    site.storage.sweep_temporary(&site.path("wal"))?;
    site.storage.sweep_temporary(&site.dir)?;
    let mut orphans = Vec::new();
    for name in site.storage.list(&site.path("segments"))? {
        let file = format!("segments/{name}");
        if manifest.files().any(|named| named == file) {
            continue;
        }
        let target = site.path(&format!("quarantine/{name}"));
        site.storage.remove(&target)?;
        site.storage.rename(&site.path(&file), &target)?;
        orphans.push(file);
    }
    Ok(orphans)
}

/// Opens what the manifest names. Segments that are open in `known` are shared, not opened again.
fn open_state(
    site: &Site,
    manifest: &Manifest,
    options: &Options,
    rng: Rng,
    known: &[Held],
) -> Result<State> {
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        let open = known.iter().find(|held| held.id() == entry.id);
        let segment = open.map(|held| Arc::clone(&held.live.segment));
        let segment = segment.map_or_else(|| open_segment(site, entry).map(Arc::new), Ok)?;
        segments.push(with_deletes(site, entry, segment)?);
    }
    Ok(State {
        schema: Arc::new(manifest.schema.clone()),
        segments,
        lsn: manifest.cut,
        next_id: manifest.next_assigned_id,
        options: options.segment.clone(),
        rng,
    })
}

fn open_segment(site: &Site, entry: &SegmentEntry) -> Result<Segment> {
    let path = site.path(&entry.file);
    let segment = Segment::open(&path, site.storage.open(&path)?, site.residence)?;
    if segment.id() != entry.id || segment.rows() != entry.rows {
        let found = format!("segment {} of {} rows", segment.id(), segment.rows());
        let expected = format!("{found}, the manifest names {} of {} rows", entry.id, entry.rows);
        return Err(Error::corrupt(&path, "header", expected));
    }
    Ok(segment)
}

fn with_deletes(site: &Site, entry: &SegmentEntry, segment: Arc<Segment>) -> Result<Held> {
    let mut held = Held::shared(segment, Some(entry.clone()));
    for list in &entry.deletes {
        let path = site.path(&list.file);
        let blob = site.storage.open(&path)?;
        let bytes = blob.read(0..blob.len())?;
        for (row, lsn) in deletes::decode(&path, &bytes, entry.id, entry.rows)? {
            held.kill(row, lsn);
        }
    }
    Ok(held)
}

fn degraded(state: &State) -> Vec<String> {
    let damaged = state.segments.iter().filter(|held| !held.live.segment.degraded().is_empty());
    damaged.map(|held| held.live.segment.name().to_owned()).collect()
}

fn replay_into(
    state: &mut State,
    site: &Site,
    mode: ReplayMode,
    count: &mut u64,
) -> Result<Replay> {
    let from = state.lsn;
    let schema = Arc::clone(&state.schema);
    replay(&*site.storage, &site.dir, from, mode, &mut |lsn, body| {
        let batch = Batch::decode(body, &schema).map_err(|error| {
            Error::corrupt(&site.path("wal"), format!("batch at LSN {lsn}"), error)
        })?;
        *count += 1;
        state.apply(lsn, &batch).map(drop)
    })
}

/// A read-only opener's own copy of the state: it follows the files of a writer in another process.
#[derive(Debug)]
pub struct Follower {
    site: Site,
    options: Options,
    manifest: u64,
    state: State,
    reader: Reader,
}

impl Follower {
    /// Opens a collection for reading, up to the LSN its writer has published as durable.
    ///
    /// # Errors
    /// As [`open_writer`].
    pub(crate) fn open(site: Site, options: Options, seed: u64) -> Result<Follower> {
        let (manifest, state) = follow(&site, &options, Rng::new(seed), &[])?;
        let reader = Reader::new(state.view(manifest));
        Ok(Follower { site, options, manifest, state, reader })
    }

    /// Readers' door; [`Follower::refresh`] publishes into it.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Moves on to what is durable now; returns the new view.
    ///
    /// # Errors
    /// As for opening; the old view stays valid.
    pub fn refresh(&mut self) -> Result<Arc<View>> {
        let rng = self.state.rng.clone();
        let newest = Manifest::numbers(&*self.site.storage, &self.site.dir)?.into_iter().max();
        let moved = newest != Some(self.manifest)
            || match replay_into(&mut self.state, &self.site, ReplayMode::ReadOnly, &mut 0) {
                Ok(_) => false,
                Err(error) if error.kind() == ErrorKind::NotFound => true,
                Err(error) => return Err(error),
            };
        if moved {
            let known = self.state.segments.clone();
            (self.manifest, self.state) = follow(&self.site, &self.options, rng, &known)?;
        }
        self.reader.publish(self.state.view(self.manifest));
        Ok(self.reader.view())
    }
}

/// Opens the newest manifest and the log after it. Files may be archived meanwhile: then start again.
fn follow(site: &Site, options: &Options, rng: Rng, known: &[Held]) -> Result<(u64, State)> {
    let mut last = None;
    for _ in 0..OPEN_ATTEMPTS_MAX {
        let _pin = pin(site)?;
        let manifest = newest_manifest(site)?;
        let opened = open_state(site, &manifest, options, rng.clone(), known).and_then(|mut state| {
            replay_into(&mut state, site, ReplayMode::ReadOnly, &mut 0)?;
            Ok((manifest.number, state))
        });
        match opened {
            Err(error) if error.kind() == ErrorKind::NotFound => last = Some(error),
            other => return other,
        }
    }
    Err(last.expect("the loop ran").context("files kept moving while opening"))
}

/// A shared lock on the pin file; on a medium that cannot be written there is nothing to pin against.
fn pin(site: &Site) -> Result<Option<Box<dyn Lock>>> {
    match site.storage.lock(&site.path(PIN), LockMode::Shared, "") {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if matches!(error.kind(), ErrorKind::Locked | ErrorKind::Io | ErrorKind::ReadOnly) => Ok(None),
        Err(error) => Err(error),
    }
}

/// The position a view of this state would have.
impl Follower {
    /// Last batch in the newest view.
    pub fn lsn(&self) -> Lsn {
        self.state.lsn
    }
}
