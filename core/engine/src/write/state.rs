//! `State`: the segments, the memtable and the other in-memory state of a collection at one LSN, and how one batch
//! changes it (`State::apply`). Used by `Writer::apply_all`, and by `Replay` for recovery and `Follower`.
//!
//! A batch that is written, replayed after a crash, or followed by a read-only opener changes the same points: what a
//! state holds at an LSN is a function of the manifest and the batches up to it, never of timing. Only which rows share
//! a segment differs.
//!
//! *Memtable.* A batch's rows become a small in-memory segment, built by the ordinary builder and searched
//! like any other. `MERGED_AT_ONCE` segments at the end of the list, of which none is of a higher size class
//! than the newest, become one, unless it would exceed `MERGED_ROWS_MAX` rows. So batches of
//! similar size are few segments, and a row is built again about once for each class; small batches between
//! batches of nearly `MERGED_ROWS_MAX` rows stay apart until a checkpoint. Dead rows are dropped on
//! the way: rows and their deletion both lie behind the last checkpoint LSN, so no manifest ever needs them.

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use nearfield_segment::format::{Residence, SectionKind};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::BytesBlob;
use nearfield_segment::vector::graph::SLACK_LINKS;
use nearfield_segment::{
    DeadRows, FileId, Lsn, PointId, Pool, Result, Rng, RowId, Schema, VectorSpec,
};

use crate::manifest::{NextId, SegmentEntry};
use crate::read::fields::KnownFields;
use crate::read::view::{LiveSegment, View};
use crate::write::batch::{Applied, Batch, RowOutcome};
use crate::write::claim::ClaimRef;
use crate::write::keys::Keys;

/// Rows up to which small in-memory segments are merged.
pub(super) const MERGED_ROWS_MAX: u32 = 8_192;
/// Segments of a size class that become one of the next: fewer copies of a row with more, fewer segments for
/// a search with less.
const MERGED_AT_ONCE: usize = 8;

/// A segment and every deletion in it that is not dropped with its rows.
#[derive(Debug, Clone)]
pub(crate) struct SegmentState {
    pub(crate) live: LiveSegment,
    /// Deleted rows with the LSN that deleted them, in LSN order.
    pub(crate) deletes: Vec<(RowId, Lsn)>,
    /// By a running task: must stay as it is, except for deletions.
    pub(crate) claimed: ClaimRef,
    /// A merge met damage in its file: it is left out of further ones, which would fail as well.
    pub(crate) damaged: bool,
}

impl SegmentState {
    pub(crate) fn new(segment: Segment, file: Option<SegmentEntry>) -> SegmentState {
        SegmentState::shared(Arc::new(segment), file)
    }

    /// A segment that others hold too, with no deletions yet.
    pub(crate) fn shared(segment: Arc<Segment>, file: Option<SegmentEntry>) -> SegmentState {
        let dead = Arc::new(DeadRows::new(segment.rows()));
        SegmentState {
            live: LiveSegment { segment, dead, file },
            deletes: Vec::new(),
            claimed: ClaimRef::default(),
            damaged: false,
        }
    }

    pub(crate) fn id(&self) -> FileId {
        self.live.segment.id()
    }

    pub(crate) fn in_memory(&self) -> bool {
        self.live.file.is_none()
    }

    /// Marks a live row dead.
    pub(crate) fn delete_row(&mut self, row: RowId, lsn: Lsn) {
        Arc::make_mut(&mut self.live.dead).insert(row);
        self.deletes.push((row, lsn));
    }

    /// Rows that were dead at `checkpoint_lsn`.
    pub(crate) fn dead_at(&self, checkpoint_lsn: Lsn) -> DeadRows {
        let mut dead = DeadRows::new(self.live.segment.rows());
        for &(row, _) in self.deletes.iter().take_while(|(_, lsn)| *lsn <= checkpoint_lsn) {
            dead.insert(row);
        }
        dead
    }

    /// Bytes of memory that a merge holds for its live rows, beside the segment; an estimate: its sections, its ids
    /// and what becomes of its metadata while it is gathered; then either the lists of a graph of this degree (0: none is
    /// built), or a second copy of the vectors while the file is laid out.
    pub(crate) fn merge_bytes(&self, degree: u32) -> u64 {
        /// An id in the builder, its new row, its hash, its node in the graph of the base.
        const ROW_BYTES: u64 = 56;
        /// Values are gathered with their rows, and strings in a tree.
        const GATHERED_COLUMNS: u64 = 3;
        /// Places and distances while a graph is built, with the places that are its result.
        const LINK_BYTES: u64 = 12;
        let (segment, live) = (&self.live.segment, u64::from(self.live.live_rows()));
        let rows = u64::from(segment.rows().max(1));
        let kind_bytes = |kind| segment.section_bytes(kind);
        let file = segment.front().file_len - kind_bytes(SectionKind::Graph);
        let gathered = file + GATHERED_COLUMNS * kind_bytes(SectionKind::Columns);
        let links =
            if degree == 0 { 0 } else { LINK_BYTES * (u64::from(degree) + SLACK_LINKS as u64) };
        let copied = kind_bytes(SectionKind::Vectors) / rows;
        (gathered / rows + ROW_BYTES + links.max(copied)) * live
    }
}

/// A batch that is built and not yet applied: the schema with what it declares, and a segment of its rows.
#[derive(Debug)]
pub(crate) struct PreparedBatch {
    schema: Arc<Schema>,
    rows: Option<Segment>,
}

/// All segments of a collection with their deletions, the fields known and the keys used, at one LSN.
#[derive(Debug)]
pub(crate) struct State {
    pub(crate) schema: Arc<Schema>,
    /// The metadata fields declared since this state was opened, each with the LSN of the batch that declared it.
    pub(crate) declared: Vec<(String, Lsn)>,
    pub(crate) fields: Arc<KnownFields>,
    pub(crate) segments: Vec<SegmentState>,
    pub(crate) lsn: Lsn,
    pub(crate) next_id: NextId,
    pub(crate) keys: Keys,
    pub(crate) options: SegmentOptions,
    pub(crate) rng: Rng,
}

impl State {
    /// Applies a logged batch: deletions first, then upserts.
    ///
    /// # Errors
    /// As [`State::prepare`].
    pub(crate) fn apply(&mut self, lsn: Lsn, batch: &Batch<'_>) -> Result<Applied> {
        let ready = self.prepare(batch)?;
        self.install(lsn, batch, ready)
    }

    /// Builds what a batch upserts, and changes nothing yet: whatever can be wrong with a batch shows here.
    ///
    /// # Errors
    /// `Corrupt` if the ids of a file are damaged, which [`State::install`] looks up. For a batch whose metadata breaks
    /// the payload's limits, which the edge checks too.
    pub(crate) fn prepare(&mut self, batch: &Batch<'_>) -> Result<PreparedBatch> {
        self.segments.iter().try_for_each(|held| held.live.segment.ids().map(drop))?;
        let mut schema = Arc::clone(&self.schema);
        if let Cow::Owned(fields) = self.schema.fields.with(batch.fields()) {
            Arc::make_mut(&mut schema).fields = fields;
        }
        let rows = (batch.rows() > 0).then(|| self.build(batch, &schema)).transpose()?;
        Ok(PreparedBatch { schema, rows })
    }

    /// Applies a logged batch that was prepared.
    ///
    /// # Errors
    /// `Corrupt`, never met after [`State::prepare`]: if ids cannot be read.
    pub(crate) fn install(
        &mut self,
        lsn: Lsn,
        batch: &Batch<'_>,
        ready: PreparedBatch,
    ) -> Result<Applied> {
        let applied = self.account(lsn, batch, |state, ids| state.delete_points(ids, lsn))?;
        let old = std::mem::replace(&mut self.schema, ready.schema);
        let new = batch.fields().paths().filter(|path| old.fields.get(path).is_none());
        self.declared.extend(new.map(|path| (path.to_owned(), lsn)));
        if let Some(segment) = ready.rows {
            self.add_segment(segment, Vec::new())?;
        }
        Ok(applied)
    }

    /// Moves on to the LSN of a batch: everything but its rows. `delete` does what
    /// [`delete_points`](State::delete_points) does, and may know further rows.
    ///
    /// # Errors
    /// As `delete`.
    pub(super) fn account(
        &mut self,
        lsn: Lsn,
        batch: &Batch<'_>,
        mut delete: impl FnMut(&mut State, &[PointId]) -> Result<Vec<RowOutcome>>,
    ) -> Result<Applied> {
        debug_assert!(lsn > self.lsn, "batches arrive in log order");
        let first_assigned = match batch.ids().first() {
            Some(PointId::U64(first)) if batch.ids_assigned() => Some(*first),
            Some(PointId::I64(_) | PointId::U64(_) | PointId::Uuid(_) | PointId::Str(_)) | None => {
                None
            }
        };
        let replaced = |outcomes: &[RowOutcome]| {
            outcomes.iter().filter(|outcome| **outcome == RowOutcome::Replaced).count() as u64
        };
        let deleted = replaced(&delete(self, batch.deletes())?);
        let rows = delete(self, batch.ids())?;
        let replaced = replaced(&rows);
        let inserted = batch.rows() as u64 - replaced;
        let applied = Applied {
            lsn,
            inserted,
            replaced,
            deleted,
            first_assigned,
            rows,
            ..Applied::default()
        };
        self.next_id = batch.next_id().map_or(self.next_id, |next| next.max(self.next_id));
        self.lsn = lsn;
        self.keys.note(batch, &applied);
        Ok(applied)
    }

    /// Adds a segment of rows up to the state's LSN, of which these are dead, and merges the tail.
    ///
    /// # Errors
    /// As [`State::prepare`].
    pub(super) fn add_segment(&mut self, segment: Segment, dead: Vec<(RowId, Lsn)>) -> Result<()> {
        // Before any merge: what a merge drops stays known.
        let payload = segment.payload()?;
        if self.fields.lacks(payload) {
            Arc::make_mut(&mut self.fields).note(self.lsn, payload);
        }
        let mut held = SegmentState::new(segment, None);
        dead.into_iter().for_each(|(row, lsn)| held.delete_row(row, lsn));
        if held.live.live_rows() == 0 {
            return Ok(());
        }
        self.segments.push(held);
        self.merge_tail()
    }

    /// Marks the live rows of points dead. `Replaced` for each point that had one. O(points × segments).
    pub(super) fn delete_points(&mut self, ids: &[PointId], lsn: Lsn) -> Result<Vec<RowOutcome>> {
        let mut outcomes = vec![RowOutcome::Inserted; ids.len()];
        // One segment after the other: its Bloom filter is in the cache for all but the first points.
        for held in self.segments.iter_mut().rev() {
            for (id, outcome) in ids.iter().zip(&mut outcomes) {
                if *outcome == RowOutcome::Replaced {
                    continue;
                }
                if let Some(row) = held.live.find(id)? {
                    held.delete_row(row, lsn);
                    *outcome = RowOutcome::Replaced;
                }
            }
        }
        Ok(outcomes)
    }

    /// Refuses a batch that declares a field of which a live row has something else. O(distinct texts of the fields).
    ///
    /// # Errors
    /// As [`Segment::check_fields`].
    pub(crate) fn check_declared(&self, batch: &Batch<'_>) -> Result<()> {
        let mut live = self.segments.iter().map(|held| &held.live);
        live.try_for_each(|live| {
            live.segment.check_fields(batch.fields(), |row| !live.dead.contains(row))
        })
    }

    /// The schema as the batches up to `lsn`, which is not below the manifest's checkpoint LSN, have made it.
    pub(crate) fn schema_at(&self, lsn: Lsn) -> Arc<Schema> {
        let mut schema = Arc::clone(&self.schema);
        for (later, _) in self.declared.iter().filter(|(_, declared)| *declared > lsn) {
            Arc::make_mut(&mut schema).fields.retain(|path| path != later);
        }
        schema
    }

    fn build(&mut self, batch: &Batch<'_>, schema: &Schema) -> Result<Segment> {
        let mut builder = SegmentBuilder::new(self.rng.file_id(), schema, batch.rows());
        push_rows(&mut builder, schema, batch)?;
        self.in_memory(builder)
    }

    /// A flat segment in memory: rows that wait for a task are scanned, not linked.
    pub(super) fn in_memory(&self, builder: SegmentBuilder) -> Result<Segment> {
        let options = SegmentOptions { graph_rows_min: u32::MAX, ..self.options.clone() };
        let bytes = builder.index(&options, None).finish(&Pool::SERIAL)?;
        Segment::open("memory", Arc::new(BytesBlob::new("memory", bytes)), Residence::Built)
    }

    fn merge_tail(&mut self) -> Result<()> {
        let start = self.tail_to_merge();
        let tail = &self.segments[start..];
        if tail.len() < 2 {
            return Ok(());
        }
        let rows: u32 = tail.iter().map(|held| held.live.live_rows()).sum();
        let mut builder = SegmentBuilder::new(self.rng.file_id(), &self.schema, rows as usize);
        // Thousands of rows take longer than a query is to wait for the processor.
        let pool = Pool::SERIAL.giving_way();
        for held in tail {
            append_live(&mut builder, &held.live.segment, &held.live.dead, &pool)?;
        }
        let merged = self.in_memory(builder)?;
        self.segments.truncate(start);
        self.segments.push(SegmentState::new(merged, None));
        Ok(())
    }

    /// Where the segments begin that become one: found by sizes alone, so that what is merged with what is
    /// merged once.
    fn tail_to_merge(&self) -> usize {
        let mut start = self.segments.len() - 1;
        let mut rows = self.segments[start].live.live_rows();
        loop {
            let class = size_class(rows);
            let joins = |held: &&SegmentState| {
                held.in_memory()
                    && !held.claimed.is_busy()
                    && size_class(held.live.live_rows()) <= class
            };
            let run: Vec<u32> = self.segments[..start]
                .iter()
                .rev()
                .take_while(joins)
                .map(|held| held.live.live_rows())
                .collect();
            let all = rows + run.iter().sum::<u32>();
            if run.len() + 1 < MERGED_AT_ONCE || all > MERGED_ROWS_MAX {
                return start;
            }
            (start, rows) = (start - run.len(), all);
        }
    }

    /// Bytes of the segments that are in memory only.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let in_memory = self.segments.iter().filter(|held| held.in_memory());
        in_memory.map(|held| held.live.segment.memory_bytes()).sum()
    }

    /// The instant, for readers.
    pub(crate) fn view(&self, manifest: u64) -> View {
        let segments = self.segments.iter().map(|held| held.live.clone()).collect();
        let fields = OnceLock::from(Arc::clone(&self.fields));
        View { lsn: self.lsn, schema: Arc::clone(&self.schema), fields, manifest, segments }
    }
}

/// Adds the rows of a batch to a builder of its schema.
///
/// # Errors
/// As [`SegmentBuilder::push`].
pub(super) fn push_rows(
    builder: &mut SegmentBuilder,
    schema: &Schema,
    batch: &Batch<'_>,
) -> Result<()> {
    let field = |(name, spec): (&String, &VectorSpec)| {
        (batch.vectors(name).expect("a batch has every field"), spec.dim as usize)
    };
    let fields: Vec<(&[f32], usize)> = schema.vectors.iter().map(field).collect();
    for (row, (id, metadata)) in batch.ids().iter().zip(batch.metadata()).enumerate() {
        let vectors = fields.iter().map(|(elements, dim)| &elements[row * dim..][..*dim]);
        builder.push(id.clone(), vectors, metadata.as_deref())?;
    }
    Ok(())
}

/// Powers of [`MERGED_AT_ONCE`] below a number of rows.
fn size_class(rows: u32) -> u32 {
    rows.max(1).ilog2() / MERGED_AT_ONCE.ilog2()
}

/// Adds the live rows of a segment to a builder; returns the new row of each old one, `u32::MAX` for dead.
pub(crate) fn append_live(
    builder: &mut SegmentBuilder,
    segment: &Segment,
    dead: &DeadRows,
    pool: &Pool,
) -> Result<Vec<u32>> {
    const ROWS_BETWEEN_OFFERS: usize = 32;
    let mut vectors: Vec<Vec<f32>> =
        segment.fields().iter().map(|field| vec![0.0; field.spec().dim as usize]).collect();
    let (ids, mut map) = (segment.ids()?, vec![u32::MAX; segment.rows() as usize]);
    for row in (0..segment.rows()).map(RowId).filter(|&row| !dead.contains(row)) {
        for (field, vector) in segment.fields().iter().zip(&mut vectors) {
            field.decode(row, vector)?;
        }
        if row.index() % ROWS_BETWEEN_OFFERS == 0 {
            pool.give_way();
        }
        map[row.index()] = builder.rows() as u32;
        let metadata = segment.text(row)?;
        builder.push(ids.id(row), vectors.iter().map(Vec::as_slice), metadata.as_deref())?;
    }
    Ok(map)
}
