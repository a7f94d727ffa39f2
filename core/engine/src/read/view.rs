//! `View`: an immutable state of a collection, held by a reader. `View::prepare` plans a search, `search_many` runs
//! one for several queries, `count` and `matching` evaluate filters. Published by `Writer`; also made of the segments
//! of an export. `LiveSegment` is a segment with its dead rows; `Tier` restricts a search by level.

use std::sync::{Arc, OnceLock};

use nearfield_segment::cancel::{self, GoOn, never_cancelled};
use nearfield_segment::filter::Filter;
use nearfield_segment::format::{Reads, all, once};
use nearfield_segment::search::{Hit, Prepared, SearchParams, SearchStats, Source, prepare};
use nearfield_segment::segment::Segment;
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{
    DeadRows, Error, Fault, FieldKinds, Kernel, Lsn, PointId, Pool, Result, RowId, RowSet, Schema,
    unknown_field,
};

use crate::manifest::SegmentEntry;
use crate::read::fields::KnownFields;

/// A segment, the rows of it that are dead at this instant, and where it lives.
#[derive(Debug, Clone)]
pub struct LiveSegment {
    /// The rows.
    pub segment: Arc<Segment>,
    /// Deleted or replaced rows.
    pub dead: Arc<DeadRows>,
    /// Its entry in the manifest; `None` while it is in memory and in the log only.
    pub file: Option<SegmentEntry>,
}

impl LiveSegment {
    /// Rows that count.
    pub fn live_rows(&self) -> u32 {
        self.segment.rows() - self.dead.count()
    }

    /// As a search of a tier sees it: a segment outside keeps its place, so that hits name their segments.
    fn source<'a>(&'a self, tier: Tier, fields: &'a FieldKinds) -> Source<'a> {
        Source { segment: &self.segment, dead: &self.dead, fields, skipped: !tier.holds(self) }
    }

    /// The row of a live point. Expected O(1).
    ///
    /// # Errors
    /// `NotResident`, `Corrupt`.
    pub(crate) fn find(&self, id: &PointId) -> Result<Option<RowId>> {
        Ok(self.segment.find(id)?.filter(|&row| !self.dead.contains(row)))
    }
}

/// Which part of a collection a search looks at, by how far its segments have come.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Everything.
    #[default]
    All,
    /// What is in memory, and levels 0 and 1.
    Active,
    /// Levels from 2 on.
    Archive,
}

impl Tier {
    /// Whether a segment belongs to it.
    fn holds(self, live: &LiveSegment) -> bool {
        let archived = live.file.as_ref().is_some_and(|entry| entry.level >= 2);
        match self {
            Tier::All => true,
            Tier::Active => !archived,
            Tier::Archive => archived,
        }
    }
}

/// All rows of a collection as of one LSN.
#[derive(Debug, Clone)]
pub struct View {
    /// The last batch this view contains.
    pub lsn: Lsn,
    /// Vector fields.
    pub schema: Arc<Schema>,
    /// The metadata fields that filters may name; empty until they are gathered from the segments, where nothing else
    /// has recorded them.
    pub(crate) fields: OnceLock<Arc<KnownFields>>,
    /// Number of the manifest it stands on.
    pub manifest: u64,
    /// Segments, oldest first.
    pub segments: Vec<LiveSegment>,
}

impl View {
    /// Segments that are part of no collection. The fields of their rows, dead ones included, are known.
    pub fn of_segments(lsn: Lsn, schema: Schema, segments: Vec<LiveSegment>) -> View {
        View { lsn, schema: Arc::new(schema), fields: OnceLock::new(), manifest: 0, segments }
    }

    /// The metadata fields that filters may name.
    ///
    /// # Errors
    /// `NotResident`, `Corrupt`.
    pub(crate) fn known_fields(&self) -> Result<&KnownFields> {
        let gathered = || {
            let mut segments = self.segments.iter().map(|live| live.segment.as_ref());
            KnownFields::of_segments(self.lsn, &mut segments).map(Arc::new)
        };
        once(&self.fields, gathered).map(Arc::as_ref)
    }

    /// Number of live points. O(segments).
    pub fn len(&self) -> u64 {
        self.segments.iter().map(|segment| u64::from(segment.live_rows())).sum()
    }

    /// True if no point is live.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// True if every vector field of every segment with live rows is searched by inverted lists: a search of an export
    /// in part then reads little.
    pub fn has_lists(&self) -> bool {
        let live = self.segments.iter().filter(|live| live.live_rows() > 0);
        live.flat_map(|live| live.segment.fields()).all(|field| field.lists().is_some())
    }

    /// Number of points that pass a filter; exact. O(rows).
    ///
    /// # Errors
    /// `InvalidInput(Filter)` if it names a field that no point ever had; `NotResident`, `Corrupt`; `Cancelled`.
    pub fn count(&self, filter: Option<&Filter>, go_on: GoOn<'_>) -> Result<u64> {
        let Some(filter) = filter else { return Ok(self.len()) };
        let sets = self.matching(filter, go_on)?;
        Ok(sets.iter().map(|rows| u64::from(rows.count())).sum())
    }

    /// Live rows of each segment that pass a filter, in segment order.
    ///
    /// # Errors
    /// As [`View::count`].
    pub fn matching(&self, filter: &Filter, go_on: GoOn<'_>) -> Result<Vec<RowSet>> {
        let mut reads = Reads::default();
        reads.note(self.check_fields(filter))?;
        let rows_of = |live: &LiveSegment| {
            live.segment.matching(filter, &self.schema.fields, &live.dead.live(), go_on)
        };
        let rows = reads.note(all(self.segments.iter().map(rows_of)))?;
        reads.end()?;
        Ok(rows.unwrap_or_default())
    }

    /// Refuses a filter on the values of a field that is not known, and operands that a declared field does not take.
    fn check_fields(&self, filter: &Filter) -> Result<()> {
        self.known_fields()?.check(filter, &self.schema.fields)
    }

    /// Live rows of each segment, in segment order.
    pub fn live_rows(&self) -> Vec<RowSet> {
        self.segments.iter().map(|live| live.dead.live()).collect()
    }

    /// Index of the segment a live point is in, and its row there. O(segments).
    ///
    /// # Errors
    /// `NotResident`, `Corrupt`.
    pub fn find(&self, id: &PointId) -> Result<Option<(usize, RowId)>> {
        let mut reads = Reads::default();
        for (index, live) in self.segments.iter().enumerate().rev() {
            if let Some(Some(row)) = reads.note(live.find(id))? {
                return Ok(Some((index, row)));
            }
        }
        reads.end()?;
        Ok(None)
    }

    /// Plans a search of this view; run it with [`Prepared::search`] or [`View::search_many`].
    ///
    /// # Errors
    /// `InvalidInput` for numbers out of range or a filter on unknown fields, `NotFound` for an unknown
    /// vector field; `NotResident` after all that is missing was requested; `Corrupt`.
    pub fn prepare<'a>(&'a self, params: SearchParams<'a>, kernel: Kernel) -> Result<Prepared<'a>> {
        self.prepare_tier(Tier::All, params, kernel, &never_cancelled)
    }

    /// As [`View::prepare`], for a part of the collection, until `go_on` ends it.
    ///
    /// # Errors
    /// As [`View::prepare`]; `Cancelled`. A filter may use every field that the whole collection knows.
    pub fn prepare_tier<'a>(
        &'a self,
        tier: Tier,
        params: SearchParams<'a>,
        kernel: Kernel,
        go_on: GoOn<'_>,
    ) -> Result<Prepared<'a>> {
        // Before anything is read: a blob would request what is missing for a search that is refused.
        params.check()?;
        let mut reads = Reads::default();
        if let Some(filter) = params.filter {
            reads.note(self.check_fields(filter))?;
        }
        let default = params.field.is_empty() && self.schema.default_field().is_some();
        if !default && !self.schema.vectors.contains_key(params.field) {
            let names = self.schema.vectors.keys().map(String::as_str);
            return Err(unknown_field(params.field, names));
        }
        let source = |live| LiveSegment::source(live, tier, &self.schema.fields);
        let prepared = prepare(self.segments.iter().map(source), params, kernel, go_on);
        reads.end()?;
        prepared
    }

    /// Exact queries that one thread answers in some tenths of a second, 8 to 128: a long call looks at whether it is
    /// cancelled in between. Fewer would leave threads without work.
    pub fn exact_queries_at_once(&self, dim: usize) -> usize {
        const ELEMENTS: u64 = 1 << 29;
        let elements = (self.len() * dim as u64).max(1);
        (ELEMENTS / elements).clamp(8, 128) as usize
    }

    /// Runs a planned search for each row of `vectors` (row-major, `dim` elements each), until `go_on` ends it.
    ///
    /// # Errors
    /// `InvalidInput(Dimension | NonFinite)` naming the row; `NotResident` after every query has requested what it
    /// lacks; `Corrupt`; `Cancelled`.
    pub fn search_many(
        &self,
        prepared: &Prepared<'_>,
        vectors: &[f32],
        pool: &Pool,
        go_on: GoOn<'_>,
    ) -> Result<Vec<(Vec<Hit>, SearchStats)>> {
        let spec = &self.schema.vectors[prepared.field()];
        let dim = spec.dim as usize;
        if !vectors.len().is_multiple_of(dim) {
            let message =
                format!("expected rows of {dim} elements, got {} elements", vectors.len());
            return Err(Error::invalid(Fault::Dimension, message));
        }
        for (row, vector) in vectors.chunks_exact(dim).enumerate() {
            spec.check_query(vector, row)?;
        }
        let none = || Ok((Vec::new(), SearchStats::default()));
        let mut answers: Vec<Result<(Vec<Hit>, SearchStats)>> =
            std::iter::repeat_with(none).take(vectors.len() / dim).collect();
        pool.for_each_chunk(&mut answers, 8, Scratch::default, |scratch, offset, chunk| {
            for (index, answer) in chunk.iter_mut().enumerate() {
                let start = (offset + index) * dim;
                *answer = prepared.search(&vectors[start..start + dim], scratch, go_on);
            }
        });
        cancel::check(go_on)?;
        all(answers)
    }
}
