//! Opens a collection from its files, after a clean close, a crash or a power cut alike. Entry: `open_writer`
//! (`reopen` after a failure), called by `Database` and `Collection`. Also here: `Follower`, which keeps a read-only
//! opener up to date with the writer of another process. The steps:
//!
//! 1. The newest manifest is the truth; a damaged one is a blocker, never a silent step back.
//! 2. Files that neither it nor one of the past names are orphans of unfinished work: they go to `quarantine/`.
//! 3. Segments and delete lists are opened and verified; a damaged derived section is done without.
//! 4. The log after the manifest's checkpoint LSN is replayed; a torn tail is cut off, damage inside refuses.
//! 5. A fresh log file is begun, so that nothing is ever appended to a file a crash has touched.

use std::collections::HashSet;
use std::sync::Arc;

use nearfield_segment::segment::Segment;
use nearfield_segment::{Error, ErrorKind, FileId, Lsn, Result, Rng, Schema};

use crate::files::CollectionPath;
use crate::files::history::{Past, Window};
use crate::files::pin;
use crate::files::quarantine;
use crate::log::{
    FileLog, FileLogOptions, Log, LogDirectory, MemoryLog, Mode, ReplayReport, Torn, has_changed,
    replay,
};
use crate::manifest::{Manifest, SegmentEntry, Stored, commit, list_numbers, load_newest};
use crate::options::Options;
use crate::read::fields::KnownFields;
use crate::read::view::View;
use crate::write::keys::{self, Keys};
use crate::write::replay::Replay;
use crate::write::state::{SegmentState, State};
use crate::write::writer::{CollectionStats, Ground, Health, LogMark, Reader, Writer};

/// How often the log is read if it changes meanwhile.
const REPLAY_ATTEMPTS_MAX: usize = 3;
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
    /// Files removed from quarantine, being too old, too many or too much.
    pub evicted: u64,
    /// Segments whose derived sections were damaged; they are rebuilt by the next compaction.
    pub degraded: Vec<String>,
    /// Sentences about what was found and left as it is, for the log of a host.
    pub warnings: Vec<String>,
}

/// Creates the files of a new, empty collection.
///
/// # Errors
/// `Conflict` if there is a collection in that directory already.
pub(crate) fn create(
    location: &CollectionPath,
    id: FileId,
    schema: &Schema,
    created_ms: u64,
) -> Result<()> {
    let manifest = Manifest::first(id, schema.clone(), 1, created_ms);
    commit(&*location.storage, &location.dir, manifest).map(drop)
}

/// Opens a collection for writing. The caller holds the store's lock.
///
/// If the disk is too full to move orphans, they stay where they are, or are removed if the log needs their space.
/// If it is too full to repair the end of the log even so, the collection opens all the same: it shows what is
/// known to be durable, and its writer is poisoned until [`reopen`] finds space.
///
/// # Errors
/// `NotFound` without a manifest; `Corrupt` or `Version` naming file and offset; `Io`.
pub(crate) fn open_writer(ground: Ground) -> Result<(Writer, RecoveryReport)> {
    let Ground { location, options, clock, seed } = &ground;
    location.storage.settle(&location.dir)?;
    let manifest = newest_manifest(location)?;
    let Orphans { moved, left, evicted } =
        quarantine_orphans(location, &manifest.document, options, clock.now_ms())?;
    let place = location.log(manifest.document.collection);
    let strays = place.strays()?;
    let mut warnings: Vec<String> =
        strays.iter().map(|name| format!("{name} is no log file; it is ignored")).collect();
    let replay_in = |mode| -> Result<(State, ReplayReport)> {
        let mut state = open_state(location, &manifest.document, options, Rng::new(*seed), &[])?;
        let mut replayed = replay_into(&mut state, &place, mode)?;
        // Without log files the manifest alone knows.
        replayed.timeline = replayed.timeline.max(manifest.document.timeline);
        Ok((state, replayed))
    };
    let (health, (state, replayed)) = match replay_as_far_as_possible(location, &left, &replay_in) {
        Err(error) if error.kind() == ErrorKind::StorageFull => {
            let health = Health::Poisoned(error.kind(), error.message().to_owned());
            (health, replay_in(Mode::ReadOnly)?)
        }
        other => (Health::Writable, other?),
    };
    warnings.extend(left.iter().map(|file| format!("{file} is an orphan, found on a full disk")));
    let report = RecoveryReport {
        replayed: replayed.batches,
        torn: replayed.torn.clone(),
        orphans: moved,
        evicted,
        degraded: degraded(&state),
        warnings,
    };
    let epoch = manifest.document.epoch + 1;
    let untidy = health == Health::Writable && is_covered(&replayed, &manifest.document);
    let log_options = FileLogOptions { file_bytes_max: options.log_file_bytes_max, epoch };
    let log: Box<dyn Log> = Box::new(FileLog::open(place, &replayed, log_options));
    let time_ms =
        (manifest.document.checkpoint_lsn > Lsn(0)).then_some(manifest.document.created_ms);
    let mark = LogMark { time_ms, written_bytes: 0, bytes_before: replayed.bytes };
    let window = Window::of(options, &manifest.document);
    let writer =
        Writer { epoch, window, health, mark, untidy, ..Writer::new(ground, manifest, state, log) };
    writer.publish();
    Ok((writer, report))
}

/// Replays the log for a writer; again if it changed meanwhile, and once more with the space of the quarantine and of
/// `orphans` if the disk is full.
fn replay_as_far_as_possible<T>(
    location: &CollectionPath,
    orphans: &[String],
    replay_in: &dyn Fn(Mode) -> Result<T>,
) -> Result<T> {
    let mut recovered = replay_in(Mode::Recover);
    for _ in 1..REPLAY_ATTEMPTS_MAX {
        if !recovered.as_ref().is_err_and(has_changed) {
            break;
        }
        // Pages that a failed fsync lost were evicted meanwhile: the log is shorter now.
        recovered = replay_in(Mode::Recover);
    }
    let full = recovered.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull);
    if full && make_space(location, orphans)? {
        recovered = replay_in(Mode::Recover);
    }
    recovered
}

/// Whether there are log files and the segments contain all of them.
fn is_covered(replayed: &ReplayReport, manifest: &Manifest) -> bool {
    replayed.last == manifest.checkpoint_lsn && !replayed.sealed.is_empty()
}

/// Runs recovery again in place of a poisoned writer; handles of readers stay valid. A writer that is not
/// poisoned stays as it is, and there is no report.
///
/// # Errors
/// As [`open_writer`], and `StorageFull`; the writer then refuses changes as before. `NotFound` for a
/// closed one.
pub(crate) fn reopen(writer: &mut Writer) -> Result<Option<RecoveryReport>> {
    if writer.poisoned().is_none() {
        return Ok(None);
    }
    if let Health::Closed(kind, cause) = &writer.health {
        return Err(Error::new(*kind, cause.clone()));
    }
    let (location, options) = (writer.location.clone(), writer.options.clone());
    if writer.poisoned() == Some(ErrorKind::StorageFull) {
        quarantine::empty(&*location.storage, &location.dir)?;
    }
    let (clock, seed) = (Arc::clone(&writer.clock), writer.state.rng.next_u64());
    let (mut fresh, report) = open_writer(Ground { location, options, clock, seed })?;
    if let Some((kind, cause)) = fresh.health.cause() {
        return Err(Error::new(kind, cause));
    }
    fresh.reader = writer.reader();
    fresh.incarnation = writer.incarnation + 1;
    fresh.publish();
    *writer = fresh;
    Ok(Some(report))
}

/// A collection that lives in memory only: no log, no recovery, otherwise the same.
///
/// # Errors
/// As [`create`].
pub(crate) fn create_in_memory(ground: Ground, schema: &Schema) -> Result<Writer> {
    let mut rng = Rng::new(ground.seed);
    create(&ground.location, rng.file_id(), schema, ground.clock.now_ms())?;
    open_without_log(Ground { seed: rng.next_u64(), ..ground })
}

/// Opens what the newest manifest names, over a log that keeps nothing: for collections in memory, and for
/// building files that are not in use yet.
///
/// # Errors
/// As [`open_writer`].
pub(crate) fn open_without_log(ground: Ground) -> Result<Writer> {
    let Ground { location, options, seed, .. } = &ground;
    let manifest = newest_manifest(location)?;
    let state = open_state(location, &manifest.document, options, Rng::new(*seed), &[])?;
    let log = Box::new(MemoryLog::new(manifest.document.checkpoint_lsn));
    // Without a log no moment of the past could be reached.
    let writer = Writer::new(ground, manifest, state, log);
    writer.publish();
    Ok(writer)
}

fn newest_manifest(location: &CollectionPath) -> Result<Stored<Manifest>> {
    load_newest(&*location.storage, &location.dir)?.ok_or_else(|| {
        Error::new(ErrorKind::NotFound, format!("{}: no manifest, so no collection", location.dir))
    })
}

/// Files that no manifest names.
#[derive(Debug, Default)]
struct Orphans {
    /// Those now in quarantine, and manifests of the past that cannot be read.
    moved: Vec<String>,
    /// Those for which the disk was too full.
    left: Vec<String>,
    /// Files removed from quarantine.
    evicted: u64,
}

/// Moves what no manifest names out of the way, and manifests of the past that cannot be read. What has been
/// in quarantine for long is removed.
fn quarantine_orphans(
    location: &CollectionPath,
    manifest: &Manifest,
    options: &Options,
    now_ms: u64,
) -> Result<Orphans> {
    let CollectionPath { storage, dir, .. } = location;
    let before = quarantine::clean(&**storage, dir, options, now_ms)?;
    let past = Past::read(&**storage, dir, manifest.number)?;
    let mut orphans = Orphans { evicted: before, ..Orphans::default() };
    match past.set_damaged_aside(&**storage, dir, now_ms) {
        Ok(names) => orphans.moved = names,
        // They stay, and so does what they may name.
        Err(error) if error.kind() == ErrorKind::StorageFull => return Ok(orphans),
        Err(error) => return Err(error),
    }
    let manifests = past.manifests.iter().chain([manifest]);
    let named: HashSet<&str> =
        manifests.flat_map(Manifest::files).map(|(file, _, _)| file).collect();
    for name in storage.list(&location.path("segments"))? {
        let file = format!("segments/{name}");
        if !named.contains(file.as_str()) {
            match quarantine::put(&**storage, dir, &file, quarantine::Reason::Orphan, now_ms) {
                Ok(()) => orphans.moved.push(file),
                Err(error) if error.kind() == ErrorKind::StorageFull => orphans.left.push(file),
                Err(error) => return Err(error),
            }
        }
    }
    orphans.evicted += quarantine::clean(&**storage, dir, options, now_ms)?;
    Ok(orphans)
}

/// Removes what is in quarantine, and orphans that found no place there: a full disk needs the space. True if
/// there was anything.
fn make_space(location: &CollectionPath, orphans: &[String]) -> Result<bool> {
    let emptied = quarantine::empty(&*location.storage, &location.dir)?;
    orphans.iter().try_for_each(|file| location.storage.remove(&location.path(file)))?;
    Ok(emptied > 0 || !orphans.is_empty())
}

/// Opens what the manifest names. Segments that are open in `known` are shared, not opened again.
fn open_state(
    location: &CollectionPath,
    manifest: &Manifest,
    options: &Options,
    rng: Rng,
    known: &[SegmentState],
) -> Result<State> {
    let mut segments = Vec::with_capacity(manifest.segments.len());
    for entry in &manifest.segments {
        // Rows in memory have ids of this process, which say nothing of the writer's files.
        let is_file = |held: &&SegmentState| !held.in_memory() && held.id() == entry.id;
        let open = known.iter().find(is_file);
        let segment = open.map(|held| Arc::clone(&held.live.segment));
        let segment = segment
            .map_or_else(|| open_segment(location, entry, &manifest.schema).map(Arc::new), Ok)?;
        segments.push(with_deletes(location, entry, segment)?);
    }
    let mut files = segments.iter().map(|held| held.live.segment.as_ref());
    let fields = Arc::new(KnownFields::of_manifest(manifest, &mut files)?);
    Ok(State {
        schema: Arc::new(manifest.schema.clone()),
        declared: Vec::new(),
        fields,
        segments,
        lsn: manifest.checkpoint_lsn,
        next_id: manifest.next_assigned_id,
        keys: read_keys(location, manifest, options.idempotency_keys_max)?,
        options: options.segment.clone(),
        rng,
    })
}

fn open_segment(
    location: &CollectionPath,
    entry: &SegmentEntry,
    schema: &Schema,
) -> Result<Segment> {
    let path = location.path(&entry.file);
    let segment = Segment::open(&path, location.storage.open(&path)?, location.residence)?;
    let front = segment.front();
    if front.id != entry.id || front.rows != entry.rows || front.crc != entry.crc {
        let found = format!("segment {} of {} rows", segment.id(), segment.rows());
        let expected = format!("{found}, the manifest names {} of {} rows", entry.id, entry.rows);
        return Err(Error::corrupt(&path, "header", expected));
    }
    // A segment may be older than a declaration of fields.
    if segment.schema().vectors != schema.vectors {
        return Err(Error::corrupt(&path, "section Schema", "not that of the collection"));
    }
    Ok(segment)
}

/// The keys used up to the manifest's checkpoint LSN. A reader, with a `max` of 0, needs none.
fn read_keys(location: &CollectionPath, manifest: &Manifest, max: usize) -> Result<Keys> {
    let Some(entry) = manifest.keys.as_ref().filter(|_| max > 0) else { return Ok(Keys::new(max)) };
    keys::open(&*location.storage, &location.dir, manifest.collection, entry, max)
}

fn with_deletes(
    location: &CollectionPath,
    entry: &SegmentEntry,
    segment: Arc<Segment>,
) -> Result<SegmentState> {
    let mut held = SegmentState::shared(segment, Some(entry.clone()));
    let mut dead = Vec::new();
    for named in &entry.deletes {
        dead.extend(named.read(&*location.storage, &location.dir, entry)?.entries);
    }
    dead.sort_unstable_by_key(|&(row, lsn)| (lsn, row));
    for (row, lsn) in dead {
        if held.live.dead.contains(row) {
            let found = format!("row {} is deleted twice", row.0);
            return Err(Error::corrupt(&location.path(&entry.file), "delete lists", found));
        }
        held.delete_row(row, lsn);
    }
    Ok(held)
}

fn degraded(state: &State) -> Vec<String> {
    let damaged = state.segments.iter().filter(|held| !held.live.segment.degraded().is_empty());
    damaged.map(|held| held.live.segment.name().to_owned()).collect()
}

fn replay_into(state: &mut State, place: &LogDirectory, mode: Mode) -> Result<ReplayReport> {
    let mut gathering = Replay::default();
    let from = state.lsn;
    let report = replay(place, from, mode, &mut |lsn, body| gathering.add(state, lsn, body))?;
    gathering.finish(state)?;
    Ok(report)
}

/// A read-only opener's own copy of the state: it follows the files of a writer in another process.
#[derive(Debug)]
pub struct Follower {
    location: CollectionPath,
    options: Options,
    manifest: u64,
    place: LogDirectory,
    state: State,
    reader: Reader,
}

impl Follower {
    /// Opens a collection for reading, up to the LSN its writer has published as durable.
    ///
    /// # Errors
    /// As [`open_writer`].
    pub(crate) fn open(ground: Ground) -> Result<Follower> {
        let Ground { location, options, seed, .. } = ground;
        let options = Options { idempotency_keys_max: 0, ..options };
        let (manifest, place, state) = follow(&location, &options, Rng::new(seed), &[])?;
        let reader = Reader::new(state.view(manifest));
        Ok(Follower { location, options, manifest, place, state, reader })
    }

    /// A handle for readers; [`Follower::refresh`] publishes into it.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// Makes the next refresh open everything anew, after a call that left the follower in an unknown state.
    pub(crate) fn distrust(&mut self) {
        self.manifest = 0;
    }

    /// Moves on to what is durable now; returns the new view.
    ///
    /// # Errors
    /// As for opening; the old view stays valid.
    pub fn refresh(&mut self) -> Result<Arc<View>> {
        let rng = self.state.rng.clone();
        let numbers = list_numbers::<Manifest>(&*self.location.storage, &self.location.dir)?;
        // After a failure here, opening anew decides whether it is damage or a writer that moved on.
        let moved = numbers.last() != Some(&self.manifest)
            || replay_into(&mut self.state, &self.place, Mode::ReadOnly).is_err();
        if moved {
            // Rows that were gathered are lost with a failed replay: the state is never gone on with.
            self.distrust();
            let known = self.state.segments.clone();
            (self.manifest, self.place, self.state) =
                follow(&self.location, &self.options, rng, &known)?;
        }
        self.reader.publish(self.state.view(self.manifest), CollectionStats::default());
        Ok(self.reader.view())
    }
}

/// Opens the newest manifest and the log after it. Files may be archived meanwhile: then start again.
fn follow(
    location: &CollectionPath,
    options: &Options,
    rng: Rng,
    known: &[SegmentState],
) -> Result<(u64, LogDirectory, State)> {
    let mut last = None;
    for _ in 0..OPEN_ATTEMPTS_MAX {
        let _pin = pin::shared(&*location.storage, &location.dir)?;
        let newest = || list_numbers::<Manifest>(&*location.storage, &location.dir).ok()?.pop();
        let before = newest();
        match follow_once(location, options, rng.clone(), known) {
            // Without a pin, log or files may be gone because they are no longer needed.
            Err(error) if before.is_some() && newest() != before => last = Some(error),
            Err(error) if before.is_some() && error.kind() == ErrorKind::NotFound => {
                last = Some(error);
            }
            other => return other,
        }
    }
    Err(last.expect("the loop ran").context("files kept moving while opening"))
}

fn follow_once(
    location: &CollectionPath,
    options: &Options,
    rng: Rng,
    known: &[SegmentState],
) -> Result<(u64, LogDirectory, State)> {
    let manifest = newest_manifest(location)?.document;
    let place = location.log(manifest.collection);
    let mut state = open_state(location, &manifest, options, rng, known)?;
    replay_into(&mut state, &place, Mode::ReadOnly)?;
    Ok((manifest.number, place, state))
}
