//! `Writer`: the writer of a collection. It logs and applies batches (`apply_all`, in `apply`), plans tasks
//! (`plan`), commits their results (`finish`), and removes old files (`tidy`, `vacuum`). Made by recovery.
//! Held by `Collection` behind a lock, which tasks run outside of; rebuild has a writer of its own.
//!
//! *Acknowledged means durable*: [`Writer::apply_all`] returns after the batch is in the log and the log is synced.
//! Searching never waits for the writer: each commit group or finished task publishes a new [View](crate::View).
//!
//! After a failed log write or manifest commit it is unknown what is on disk: the writer is poisoned, refuses
//! further changes and readers go on. Recovery finds out: `Collection::recover`, or opening again.

mod apply;
mod health;
mod published;
#[cfg(test)]
mod tests;

pub(crate) use health::Health;
pub(crate) use published::LogMark;
pub use published::{CollectionStats, LogStats, Reader};

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_segment::{Error, ErrorKind, Lsn, Result, RowId, Schema};

use crate::clock::Clock;
use crate::files::CollectionPath;
use crate::files::history::{self, Window};
use crate::files::pin;
use crate::files::space;
use crate::log::{BODY_BYTES_MAX, Log};
use crate::manifest::{
    DeleteList, DeletesEntry, KeysEntry, Manifest, Reason, Stored, commit, delete_list_name,
};
use crate::options::Options;
use crate::write::claim::{Claim, ClaimRef, Claims};
use crate::write::keys;
use crate::write::state::{SegmentState, State};
use crate::write::task::{
    MergeInput, MergeOutput, MergeScope, Phase, SMALL_MERGE_PART, SegmentFacts, Situation, Task,
    Work, plan, segment_file,
};

/// Delete-list files of a segment from which they are folded into one.
const DELETE_LISTS_MAX: usize = 4;

/// What is said of a write that failed halfway.
const UNKNOWN: &str = "the write may or may not have happened; recovery finds out (a server does it by \
                       itself, else open the store again)";

/// What a collection is opened with.
#[derive(Debug)]
pub(crate) struct Ground {
    pub(crate) location: CollectionPath,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    /// Of the ids of its files.
    pub(crate) seed: u64,
}

/// The single writer of a collection.
#[derive(Debug)]
pub struct Writer {
    pub(crate) location: CollectionPath,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) manifest: Stored<Manifest>,
    /// Epoch of what it commits: one above that of the manifest it opened.
    pub(crate) epoch: u64,
    pub(crate) state: State,
    pub(crate) log: Box<dyn Log>,
    /// What of the past it keeps.
    pub(crate) window: Window,
    pub(crate) reader: Reader,
    pub(crate) health: Health,
    /// When the log was last truncated, for metrics.
    pub(crate) mark: LogMark,
    /// Files are left that a merge or an archived log should have taken away.
    pub(crate) untidy: bool,
    /// The last attempt to tidy up failed halfway.
    pub(crate) unsettled: bool,
    /// Of the tasks under way: files that no manifest names may be theirs.
    pub(crate) claims: Claims,
    /// Bytes of the ids that one batch of a delete by filter may have.
    pub(crate) deletes_bytes_max: usize,
    /// Number of this recovery within the process.
    pub(crate) incarnation: u64,
}

impl Writer {
    /// The writer of what `manifest` and `log` lead to: it keeps nothing of the past, and owes no tidying.
    pub(crate) fn new(
        ground: Ground,
        manifest: Stored<Manifest>,
        state: State,
        log: Box<dyn Log>,
    ) -> Writer {
        let Ground { location, options, clock, .. } = ground;
        Writer {
            location,
            options,
            clock,
            epoch: manifest.document.epoch,
            reader: Reader::new(state.view(manifest.document.number)),
            manifest,
            state,
            log,
            window: Window::default(),
            health: Health::Writable,
            mark: LogMark::default(),
            untidy: false,
            unsettled: false,
            claims: Claims::default(),
            deletes_bytes_max: BODY_BYTES_MAX / 2,
            incarnation: 0,
        }
    }

    /// A handle for readers, which always has the newest view.
    pub fn reader(&self) -> Reader {
        self.reader.clone()
    }

    /// The manifest the newest view stands on.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest.document
    }

    /// The vector fields of the collection, and its declared metadata fields.
    pub fn schema(&self) -> &Schema {
        &self.state.schema
    }

    /// Why the writer refuses changes, if it does.
    pub fn poisoned(&self) -> Option<ErrorKind> {
        self.health.cause().map(|(kind, _)| kind).or_else(|| self.log.poisoned())
    }

    /// Whether a task is under way: it may be writing a file.
    pub(crate) fn is_busy(&self) -> bool {
        !self.claims.is_empty()
    }

    /// Whether a log file is open for the next batch.
    pub(crate) fn has_open_log(&self) -> bool {
        self.log.is_open()
    }

    /// Closes the log file; the next batch begins a new one. An error poisons the log, and the next write fails.
    pub(crate) fn close_log(&mut self) {
        if self.poisoned().is_none() {
            let _said_by_the_next_write = self.log.rotate();
        }
    }

    /// Bytes of rows that are in memory and log only.
    pub fn memory_bytes(&self) -> u64 {
        self.state.memory_bytes()
    }

    /// The most urgent work for a scope. Any number of tasks may be under way; a new one takes segments that no
    /// other has, and one that is dropped frees its own. `None` also for a checkpoint while one is under way.
    pub fn plan(&mut self, scope: MergeScope) -> Option<Task> {
        let waits = match scope {
            MergeScope::Due | MergeScope::Worthwhile | MergeScope::Outdated => {
                self.unsettled && !self.claims.is_empty()
            }
            MergeScope::Checkpoint | MergeScope::Everything => false,
        };
        if waits || self.health != Health::Writable {
            return None;
        }
        let work = plan(scope, &self.situation(), &self.options)?;
        Some(self.start(work))
    }

    /// True while a checkpoint is under way.
    pub fn is_checkpointing(&self) -> bool {
        self.claims.live().any(|claim| claim.checkpoint)
    }

    fn situation(&self) -> Situation {
        let segments = self.state.segments.iter().map(|held| self.facts(held)).collect();
        let pending = self.checkpoint_lsn() < self.state.lsn;
        let small = self.options.merge_bytes_max / SMALL_MERGE_PART;
        let large = self.claims.live().map(|claim| claim.bytes).filter(|&bytes| bytes > small);
        Situation {
            segments,
            memory_bytes: self.state.memory_bytes(),
            log_bytes: if pending { self.log.size_bytes() } else { 0 },
            pending,
            checkpointing: self.is_checkpointing(),
            merging_bytes: large.sum(),
        }
    }

    fn facts(&self, held: &SegmentState) -> SegmentFacts {
        let (segment, live) = (&held.live.segment, held.live.live_rows());
        SegmentFacts {
            in_memory: held.in_memory(),
            level: held.live.file.as_ref().map_or(0, |entry| entry.level),
            rows: segment.rows(),
            live,
            dead_at_checkpoint: held
                .deletes
                .partition_point(|(_, lsn)| *lsn <= self.checkpoint_lsn())
                as u32,
            degraded: !segment.degraded().is_empty(),
            outdated: segment.front().is_outdated(),
            busy: held.claimed.is_busy() || held.damaged,
            merge_bytes: held.merge_bytes(self.options.segment.graph.degree),
        }
    }

    /// Memory that checkpoints take for what is in memory now: the larger of the one under way and the next one, which
    /// begins when that has ended.
    fn checkpoint_bytes(&self) -> u64 {
        let in_memory = self.state.segments.iter().filter(|held| held.in_memory());
        let (mut under_way, mut next) = (0, 0);
        for held in in_memory {
            let sum = if held.claimed.is_busy() { &mut under_way } else { &mut next };
            *sum += held.merge_bytes(0);
        }
        next.max(under_way)
    }

    /// Memory that a task holds for an input; of rows in memory only what exceeds what a checkpoint takes for them.
    fn task_bytes(&self, held: &SegmentState, level: u8) -> u64 {
        let degree = if level == 0 { 0 } else { self.options.segment.graph.degree };
        let bytes = held.merge_bytes(degree);
        if held.in_memory() { bytes - held.merge_bytes(0) } else { bytes }
    }

    fn start(&mut self, work: Work) -> Task {
        // Only with nothing left in memory do the output and the files say everything up to now.
        let checkpoint = work.inputs.iter().any(|&at| self.state.segments[at].in_memory())
            || work.inputs.is_empty();
        let checkpoint_lsn = if checkpoint { self.state.lsn } else { self.checkpoint_lsn() };
        if checkpoint_lsn > self.checkpoint_lsn() {
            // What is written meanwhile goes to another file, so that whole files lie behind the new checkpoint LSN. A log
            // that cannot be closed is poisoned, which the next write reports.
            let _poisoned = self.log.rotate();
        }
        let id = self.state.rng.file_id();
        let keys = self.keys_to_write(checkpoint_lsn);
        let names = keys.iter().map(|(_, entry)| entry.file.clone());
        let files = names.chain([segment_file(id)]).collect();
        let bytes =
            work.inputs.iter().map(|&at| self.task_bytes(&self.state.segments[at], work.level));
        let bytes = bytes.sum();
        let incarnation = self.incarnation;
        let claim = Claim { id, checkpoint_lsn, incarnation, files, checkpoint, bytes };
        let claim = self.claims.add(claim);
        let mut inputs = Vec::with_capacity(work.inputs.len());
        for &index in &work.inputs {
            let held = &mut self.state.segments[index];
            held.claimed = ClaimRef::by(&claim);
            let segment = Arc::clone(&held.live.segment);
            inputs.push(MergeInput { segment, dead: held.dead_at(checkpoint_lsn) });
        }
        let mut options = self.options.segment.clone();
        if work.level == 0 {
            options.graph_rows_min = u32::MAX;
        }
        Task {
            claim,
            inputs,
            keys,
            level: work.level,
            base: work.base.and_then(|base| work.inputs.iter().position(|&index| index == base)),
            schema: self.state.schema_at(checkpoint_lsn),
            options,
            location: self.location.clone(),
            phase: Phase::Gather,
        }
    }

    /// Leaves the file that `damage` names out of further merges, so that they and checkpoints go on; errors of other
    /// kinds change nothing. Rows of its other blocks can still be searched.
    pub(crate) fn leave_out(&mut self, damage: &Error) {
        let file = damage.detail("file").and_then(|file| file.as_str());
        if damage.kind() == ErrorKind::Corrupt
            && let Some(held) =
                self.state.segments.iter_mut().find(|held| Some(held.live.segment.name()) == file)
        {
            held.damaged = true;
        }
    }

    /// The file of idempotency keys for a manifest with this checkpoint LSN, if the newest manifest has not that one.
    fn keys_to_write(&self, checkpoint_lsn: Lsn) -> Option<(Vec<u8>, KeysEntry)> {
        let manifest = &self.manifest.document;
        let written = manifest.keys.as_ref().map_or(Lsn(0), |entry| entry.checkpoint_lsn);
        let due = checkpoint_lsn > manifest.checkpoint_lsn && self.state.keys.changed() > written;
        due.then(|| keys::write(&self.state.keys, manifest.collection, checkpoint_lsn))
    }

    /// Commits a finished task: delete lists, then a manifest by `put_new`, then the new view. Deletions that
    /// came after the task's checkpoint LSN are carried over. Other tasks may have been committed since it was planned, and
    /// others may go on: the new manifest differs from the newest one in this task's inputs and output. What the
    /// merge leaves behind is [`Writer::tidy`]'s.
    ///
    /// # Errors
    /// `Conflict` if an input is gone or the writer was recovered after planning; `StorageFull` or `Io`. A failure before the manifest changes
    /// nothing; a failure of the manifest itself poisons the writer.
    pub fn finish(&mut self, output: MergeOutput) -> Result<()> {
        if output.claim.incarnation != self.incarnation {
            // Recovery took its file for an orphan.
            let message = "the task was planned before the writer was recovered";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        self.untidy = true;
        self.check_writable()?;
        let claim = Arc::clone(&output.claim);
        let checkpoint_lsn = claim.checkpoint_lsn.max(self.checkpoint_lsn());
        let reason = if checkpoint_lsn > self.checkpoint_lsn() {
            Reason::Checkpoint
        } else {
            Reason::Compaction
        };
        let keys = output.keys.clone().or_else(|| self.manifest.document.keys.clone());
        let mut segments = self.merged_segments(output)?;
        for held in &mut segments {
            self.persist_deletes(held, checkpoint_lsn)?;
        }
        let manifest = Manifest { keys, ..self.next_manifest(&segments, checkpoint_lsn, reason) };
        self.commit(manifest)?;
        self.state.segments = segments;
        self.claims.end(&claim);
        drop(claim);
        if reason == Reason::Checkpoint {
            let (time_ms, written_bytes) = (Some(self.clock.now_ms()), self.log.written().bytes);
            self.mark = LogMark { time_ms, written_bytes, bytes_before: 0 };
        }
        self.publish();
        Ok(())
    }

    /// Archives the log behind the checkpoint LSN and removes what nothing needs, if there was a task since it last
    /// succeeded. Leaving it costs space and nothing else: merging is done when its manifest is. True if that is
    /// done now; false if there was nothing to do, or files stay because a reader is opening the collection.
    ///
    /// # Errors
    /// `Io`; it is tried again with the next call.
    pub fn tidy(&mut self) -> Result<bool> {
        self.untidy |= self.claims.forget_dropped();
        if !self.untidy {
            return Ok(false);
        }
        self.check_writable()?;
        if !self.settle()? {
            return Ok(false);
        }
        self.log.archive_through(self.checkpoint_lsn())?;
        let cleaned = self.clean()?.is_some();
        (self.untidy, self.unsettled) = (!cleaned, false);
        self.publish();
        Ok(cleaned)
    }

    fn commit(&mut self, manifest: Manifest) -> Result<()> {
        let committed = commit(&*self.location.storage, &self.location.dir, manifest);
        self.manifest = committed.map_err(|error| {
            // Then it was refused before anything was written.
            let unwritten = matches!(error.kind(), ErrorKind::InvalidInput(_));
            if unwritten { error } else { self.poison(error) }
        })?;
        Ok(())
    }

    /// The segments as they will be: inputs out, output in, later deletions mapped to its rows.
    fn merged_segments(&self, output: MergeOutput) -> Result<Vec<SegmentState>> {
        let MergeOutput { inputs, output, claim, .. } = output;
        let mut merged = output.map(|(entry, segment)| SegmentState::new(segment, Some(entry)));
        let mut later: Vec<(RowId, Lsn)> = Vec::new();
        for (id, map) in &inputs {
            let held =
                self.state.segments.iter().find(|held| held.id() == *id).ok_or_else(|| {
                    Error::new(
                        ErrorKind::Conflict,
                        format!("segment {id} was merged by another task"),
                    )
                })?;
            let carried = held.deletes.iter().filter(|(_, lsn)| *lsn > claim.checkpoint_lsn);
            later.extend(carried.map(|&(row, lsn)| (RowId(map[row.index()]), lsn)));
        }
        later.sort_by_key(|&(_, lsn)| lsn);
        if let Some(held) = &mut merged {
            later.iter().for_each(|&(row, lsn)| held.delete_row(row, lsn));
        }
        let is_input = |held: &SegmentState| inputs.iter().any(|(id, _)| *id == held.id());
        let position = self.state.segments.iter().position(is_input).unwrap_or(0);
        let mut segments: Vec<SegmentState> =
            self.state.segments.iter().filter(|held| !is_input(held)).cloned().collect();
        if let Some(held) = merged {
            segments.insert(position, held);
        }
        Ok(segments)
    }

    /// Writes the deletions of a file up to `checkpoint_lsn` that no delete list has yet.
    fn persist_deletes(&self, held: &mut SegmentState, checkpoint_lsn: Lsn) -> Result<()> {
        let SegmentState { live, deletes: all, .. } = held;
        let Some(entry) = &mut live.file else { return Ok(()) };
        let persisted =
            entry.deletes.iter().map(|list| list.checkpoint_lsn).max().unwrap_or_default();
        let upto = all.partition_point(|(_, lsn)| *lsn <= checkpoint_lsn);
        let from = all.partition_point(|(_, lsn)| *lsn <= persisted);
        if from >= upto {
            return Ok(());
        }
        let fold = entry.deletes.len() >= DELETE_LISTS_MAX;
        let listed = if fold { &all[..upto] } else { &all[from..upto] };
        let mut entries = listed.to_vec();
        entries.sort_unstable();
        let (segment, segment_rows) = (entry.id, entry.rows);
        let (bytes, crc) = DeleteList { segment, segment_rows, checkpoint_lsn, entries }.encode();
        let file = delete_list_name(segment, checkpoint_lsn);
        let path = self.location.path(&file);
        self.location.storage.put(&path, &mut |out| {
            out.write_all(&bytes).map_err(|error| Error::io("write", &path, error))
        })?;
        if fold {
            entry.deletes.clear();
        }
        let (len, count, unknown) = (bytes.len() as u64, listed.len() as u32, BTreeMap::new());
        entry.deletes.push(DeletesEntry { file, len, crc, count, checkpoint_lsn, unknown });
        Ok(())
    }

    fn next_manifest(
        &self,
        segments: &[SegmentState],
        checkpoint_lsn: Lsn,
        reason: Reason,
    ) -> Manifest {
        let files = segments.iter().filter_map(|held| held.live.file.clone());
        Manifest {
            epoch: self.epoch,
            checkpoint_lsn,
            schema: (*self.state.schema_at(checkpoint_lsn)).clone(),
            next_assigned_id: self.state.next_id,
            fields: self.state.fields.entry(checkpoint_lsn),
            segments: files.collect(),
            history_ms: self.history_ms(),
            created_ms: self.clock.now_ms(),
            reason,
            note: None,
            ..self.manifest.successor()
        }
    }

    /// How much of the past is kept, as manifests say it.
    pub(crate) fn history_ms(&self) -> Option<u64> {
        let said = self.options.history_ms.or(self.manifest.document.history_ms);
        said.filter(|&history_ms| history_ms > 0)
    }

    /// Everything up to here is in files.
    fn checkpoint_lsn(&self) -> Lsn {
        self.manifest.document.checkpoint_lsn
    }

    /// Whether there is space to recover and to log `bytes` more; a writer that is poisoned by a full disk
    /// asks before it tries.
    pub(crate) fn check_space(&self, bytes: u64) -> Result<()> {
        let needed = self.log.recovery_bytes() + bytes;
        space::check(&*self.location.storage, needed, "recovering the log and writing")
    }

    /// Removes files that neither the newest manifest nor the past to be kept ([`Options::history_ms`])
    /// needs: old segments and delete lists, orphans of abandoned tasks, older manifests, archived log. Does
    /// nothing while a reader is opening the collection. Returns the number of files removed.
    ///
    /// # Errors
    /// `Io`; what was removed stays removed. A poisoned writer refuses.
    pub fn vacuum(&mut self) -> Result<u64> {
        // After a failed commit the newest manifest on disk may be one this writer does not know.
        self.check_writable()?;
        if !self.settle()? {
            return Ok(0);
        }
        let removed = self.clean()?;
        self.unsettled = false;
        Ok(removed.unwrap_or(0))
    }

    /// Names that an earlier attempt moved or removed, and then could not make durable, are made so before
    /// more is removed: what a power cut brings back must find its files. Until the attempt that begins here
    /// has succeeded, it counts as one that failed. False while a task is under way: settling would take what it is
    /// writing for what a crash left behind. Until then no other merge begins.
    fn settle(&mut self) -> Result<bool> {
        if self.unsettled && !self.claims.is_empty() {
            return Ok(false);
        }
        if std::mem::replace(&mut self.unsettled, true) {
            self.location.storage.settle(&self.location.dir)?;
        }
        Ok(true)
    }

    /// Number of files removed; `None` while a reader is opening the collection. Files of tasks under way stay.
    fn clean(&mut self) -> Result<Option<u64>> {
        let CollectionPath { storage, dir, .. } = &self.location;
        let alone = pin::exclusive(&**storage, dir)?;
        if alone.is_none() {
            return Ok(None);
        }
        let spared: Vec<String> =
            self.claims.live().flat_map(|claim| claim.files.clone()).collect();
        let manifest = &self.manifest.document;
        let log = self.location.log(manifest.collection);
        let now_ms = self.clock.now_ms();
        history::vacuum(&log, dir, manifest, &mut self.window, now_ms, &spared).map(Some)
    }

    pub(crate) fn publish(&self) {
        self.reader.publish(self.state.view(self.manifest.document.number), self.stats());
    }

    fn stats(&self) -> CollectionStats {
        let (written, mark) = (self.log.written(), &self.mark);
        let log = LogStats {
            bytes: self.log.size_bytes(),
            bytes_since_truncation: mark.bytes_before + (written.bytes - mark.written_bytes),
            truncated_ms: mark.time_ms,
            last: self.log.last(),
            durable: self.log.durable(),
            cut: self.checkpoint_lsn(),
            syncs: written.syncs,
        };
        let (memory_bytes, keys) = (self.memory_bytes(), self.state.keys.counts());
        let checkpoint_bytes = self.checkpoint_bytes();
        CollectionStats { log, memory_bytes, checkpoint_bytes, keys }
    }

    /// Refuses further changes because of `cause`.
    pub(crate) fn refuse(&mut self, cause: &str) {
        self.health.poison(ErrorKind::Io, cause.to_owned(), self.log.is_recoverable());
    }

    /// Refuses changes for ever: the files no longer belong to this writer.
    pub(crate) fn close(&mut self, cause: &str) {
        self.health = Health::Closed(ErrorKind::NotFound, cause.to_owned());
    }

    fn poison(&mut self, error: Error) -> Error {
        let (kind, cause) = (error.kind(), error.message().to_owned());
        self.health.poison(kind, cause, self.log.is_recoverable());
        error.context(UNKNOWN)
    }

    fn check_writable(&self) -> Result<()> {
        self.health.check()
    }
}
