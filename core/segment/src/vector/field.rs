//! One vector field of a segment: its originals, its codes and its index, each with the sections that hold it.
//! `VectorField` is opened by `Segment` and searched by `search`; `FieldBuilder` is used by `SegmentBuilder`.
//!
//! The one file that lists what a field may have: a new index or codec of fewer bytes gets an arm where fields are
//! opened, built and searched. A damaged index is left out and noted, because it is derived; damage to originals is an
//! error. Not here: the search of inverted lists, which are chosen over all segments together (`search/lists.rs`).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::OnceLock;

use crate::allowed::Allowed;
use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::{Content, Guard, SectionKey, SectionKind, Sections, resident};
use crate::ids::RowId;
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::schema::VectorSpec;
use crate::storage::AlignedBuffer;

use super::codec::EncodedRows;
use super::codes::{Approximations, Bounds};
use super::index::flat::{self, Wanted};
use super::index::graph::{BaseGraph, Graph, GraphBuilder, GraphParams, Scratch, SearchBudget};
use super::index::lists::StoredLists;
use super::index::{AccessPath, Candidate, SearchStats};
use super::originals::{Geometry, Lift, OriginalCodec, RowScorer, StoredRows, VectorRows};
use super::scorer::Scorer;

/// Seed of every graph: the same rows give the same graph in every store.
const GRAPH_SEED: u64 = 0x6E65_6172;

/// A field of an open segment.
#[derive(Debug)]
pub struct VectorField {
    name: String,
    is_mapped: bool,
    rows: StoredRows,
    graph: Option<Graph>,
    approximations: OnceLock<Option<Approximations>>,
    /// Where sections are read on demand.
    lists: Option<StoredLists>,
}

/// A search of one field.
#[derive(Clone, Copy)]
pub(crate) struct FieldSearch<'a> {
    /// How rows are found.
    pub path: AccessPath,
    /// The query, which was checked against the schema.
    pub vector: &'a [f32],
    /// Arithmetic to compute with.
    pub kernel: Kernel,
    /// Candidates wanted.
    pub k: usize,
    /// Rows that may be candidates.
    pub allowed: Allowed<'a>,
    /// How many those are.
    pub allowed_count: u32,
    /// Whether to go on.
    pub go_on: GoOn<'a>,
}

impl VectorField {
    /// Opens the field at position `ordinal` of the schema. On demand it reads nothing, and does without a graph; of a
    /// mapped file it reads the front of the graph.
    ///
    /// # Errors
    /// `Corrupt` if its rows are damaged; what the blob returns.
    pub(crate) fn open(
        sections: &Sections<'_>,
        ordinal: u16,
        name: &str,
        spec: &VectorSpec,
        degraded: &mut Vec<SectionKind>,
    ) -> Result<VectorField> {
        let mut field = VectorField {
            is_mapped: sections.residence.is_mapped(),
            name: name.to_owned(),
            rows: StoredRows::new(sections, ordinal, spec)?,
            graph: None,
            approximations: OnceLock::new(),
            lists: None,
        };
        if sections.on_demand() {
            field.lists = StoredLists::find(sections, ordinal, spec);
            return Ok(field);
        }
        let graph = sections.find(SectionKey::of_field(SectionKind::Graph, ordinal));
        let graph = graph.map(|section| {
            if field.is_mapped {
                return Graph::open_mapped(section, sections.rows);
            }
            Graph::open(section.read_all(sections.residence)?, sections.rows)
        });
        let graph = graph.map(resident).transpose()?;
        if matches!(graph, Some(Err(_))) {
            degraded.push(SectionKind::Graph);
        }
        field.graph = graph.and_then(Result::ok);
        if !field.is_mapped {
            field.approximations(field.rows()?);
        }
        Ok(field)
    }

    /// Approximations of the rows, for scans: made at the first call.
    fn approximations(&self, rows: VectorRows<'_>) -> Option<&Approximations> {
        let made = || if self.graph.is_some() { None } else { Approximations::of(rows) };
        self.approximations.get_or_init(made).as_ref()
    }

    /// Name in the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Dimension, metric, storage.
    pub fn spec(&self) -> &VectorSpec {
        self.rows.spec()
    }

    /// The stored rows, all of which are read.
    ///
    /// # Errors
    /// `Corrupt` if they are damaged; what the blob returns.
    pub fn rows(&self) -> Result<VectorRows<'_>> {
        self.rows.all()
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    ///
    /// # Errors
    /// As [`VectorField::rows`].
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn decode(&self, row: RowId, out: &mut [f32]) -> Result<()> {
        self.rows.decode(row, out)
    }

    /// The exact distance of one row, in the bits of any exact search.
    ///
    /// # Errors
    /// As [`VectorField::rows`].
    pub(crate) fn distance(&self, row: RowId, query: &[f32], kernel: Kernel) -> Result<f32> {
        self.rows.distance(row, query, kernel)
    }

    /// The graph, if the field has one that is whole.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref().filter(|graph| !graph.is_damaged())
    }

    /// The inverted lists, if the field is searched by them: where rows are read on demand.
    pub fn lists(&self) -> Option<&StoredLists> {
        self.lists.as_ref()
    }

    /// Bytes of memory of what is kept beside the sections.
    pub fn beside_bytes(&self) -> u64 {
        self.approximations.get().and_then(Option::as_ref).map_or(0, Approximations::bytes)
    }

    /// The nearest allowed rows, closest first, at least `k` where the path finds as many; of those farther than
    /// `limit` any may be missing. A walk through the graph that would cost more than a scan of the allowed rows, or
    /// finds the graph damaged, ends as such a scan. Rows at one distance are ordered by `tie`.
    ///
    /// # Errors
    /// `Cancelled` once `go_on` returns false; as [`VectorField::rows`].
    pub(crate) fn search<'s>(
        &self,
        search: &FieldSearch<'_>,
        limit: impl FnOnce() -> f32,
        tie: impl Fn(RowId, RowId) -> Ordering,
        scratch: &'s mut Scratch,
        stats: &mut SearchStats,
    ) -> Result<Cow<'s, [Candidate]>> {
        let FieldSearch { path, k, allowed, go_on, .. } = *search;
        let scorer = self.scorer(search.kernel, search.vector)?;
        let through_graph = match (path, self.graph()) {
            (AccessPath::Graph { ef }, Some(graph)) => {
                let scored_max = u64::from(search.allowed_count);
                let budget = SearchBudget { ef: ef as usize, k, scored_max };
                match graph.search(&scorer, allowed, budget, scratch, stats, go_on) {
                    // It is done without from now on.
                    Err(_) if graph.is_damaged() => None,
                    walked => walked?,
                }
            }
            (
                AccessPath::Graph { .. }
                | AccessPath::Exact
                | AccessPath::Lists { .. }
                | AccessPath::Nothing,
                _,
            ) => None,
        };
        cancel::check(go_on)?;
        if let Some(candidates) = through_graph {
            scorer.end()?;
            return Ok(Cow::Borrowed(candidates));
        }
        let limit = if scorer.bounds.is_some() { limit() } else { f32::INFINITY };
        let wanted = Wanted { k, limit };
        let found = flat::search(&scorer, self.rows.len(), allowed, wanted, tie, stats, go_on)?;
        scorer.end()?;
        Ok(Cow::Owned(found))
    }

    fn scorer(&self, kernel: Kernel, query: &[f32]) -> Result<FieldScorer<'_>> {
        if self.graph.is_none() {
            // A scan reads all rows, and approximations are made of them.
            self.rows()?;
        }
        let (rows, guards) = self.rows.guarded()?;
        let originals = RowScorer::new(rows, kernel, query);
        let bounds = |approximations| Bounds::new(approximations, rows, kernel, originals.query());
        let bounds = self.approximations(rows).map(bounds);
        Ok(FieldScorer { originals, bounds, guards })
    }
}

/// Scores originals; a scan refuses most rows by their approximations first, where there are some.
struct FieldScorer<'a> {
    originals: RowScorer<'a>,
    bounds: Option<Bounds<'a>>,
    /// Of rows that were not all verified.
    guards: [Option<Guard<'a>>; 2],
}

impl FieldScorer<'_> {
    /// Returns the first error that the search met.
    ///
    /// # Errors
    /// `Corrupt` if a row was damaged; what the blob returns.
    fn end(self) -> Result<()> {
        self.guards.into_iter().flatten().try_for_each(Guard::end)
    }
}

impl Scorer for FieldScorer<'_> {
    #[inline]
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        if self.guards.iter().flatten().all(|guard| guard.admit(rows)) {
            self.originals.score_many(rows, out);
        } else {
            out.fill(f32::INFINITY);
        }
    }

    #[inline]
    fn prefetch(&self, row: RowId) {
        self.originals.prefetch(row);
    }

    fn refuse(&self, limit: f32, rows: &mut Vec<RowId>) {
        if let Some(bounds) = &self.bounds {
            bounds.refuse(limit, rows);
        }
    }
}

/// A field of a segment that is being built.
#[derive(Debug)]
pub(crate) struct FieldBuilder {
    rows: EncodedRows<OriginalCodec>,
    graph: GraphStage,
}

/// How far the graph of a field is.
#[derive(Debug, Default)]
enum GraphStage {
    /// The field gets none.
    #[default]
    None,
    /// Not begun; grows from the base if there is one.
    Waiting(Option<BaseGraph>),
    Building {
        lift: Lift,
        builder: Box<GraphBuilder>,
    },
    Done(AlignedBuffer),
}

impl FieldBuilder {
    /// A field without rows, with memory for `capacity` of them.
    pub(crate) fn new(spec: &VectorSpec, capacity: usize) -> Self {
        let rows = EncodedRows::with_capacity(OriginalCodec::new(spec), capacity);
        FieldBuilder { rows, graph: GraphStage::None }
    }

    /// Adds a row that was checked against the spec.
    ///
    /// # Errors
    /// `InvalidInput(NonFinite)` if an element does not fit a half.
    pub(crate) fn push(&mut self, vector: &[f32]) -> Result<()> {
        self.rows.push(vector)
    }

    /// Ends the rows and orders a graph, which keeps the links of `base` if there is one.
    pub(crate) fn want_graph(&mut self, base: Option<BaseGraph>) {
        self.graph = GraphStage::Waiting(base);
    }

    /// Whether the index is built.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.graph, GraphStage::None | GraphStage::Done(_))
    }

    /// Does a bounded piece of the work on the index.
    pub(crate) fn step(&mut self, kernel: Kernel, params: GraphParams, pool: &Pool) {
        let rows = self.rows.rows();
        match &mut self.graph {
            GraphStage::None | GraphStage::Done(_) => {}
            GraphStage::Waiting(base) => {
                let lift = Lift::new(&rows, pool);
                let space = Geometry::new(rows, kernel, &lift);
                let builder = GraphBuilder::new(&space, params, GRAPH_SEED, base.take(), pool);
                self.graph = GraphStage::Building { lift, builder: Box::new(builder) };
            }
            GraphStage::Building { lift, builder } => {
                let progress = builder.step(&Geometry::new(rows, kernel, lift), pool);
                if progress.done == progress.total
                    && let GraphStage::Building { builder, .. } = std::mem::take(&mut self.graph)
                {
                    self.graph = GraphStage::Done(builder.finish());
                }
            }
        }
    }

    /// Work done and work to do on the index, in rows.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let total = 2 * self.rows.len() as u64;
        match &self.graph {
            GraphStage::None => (0, 0),
            GraphStage::Waiting(_) => (0, total),
            GraphStage::Building { builder, .. } => (builder.progress().done, total),
            GraphStage::Done(_) => (total, total),
        }
    }

    /// The sections of the field, which is at position `ordinal` of the schema.
    ///
    /// # Panics
    /// If the index is not built.
    pub(crate) fn into_sections(self, ordinal: u16) -> Vec<Content> {
        assert!(self.is_done(), "the caller steps until every field is done");
        let key = |kind| SectionKey::of_field(kind, ordinal);
        let norm_bytes = self.rows.codec().norm_bytes();
        let (vectors, inverse_norms) = self.rows.into_parts();
        let norms = if norm_bytes > 0 { bytemuck::cast_slice(&inverse_norms) } else { &[] };
        let mut sections = Vec::new();
        if let GraphStage::Done(graph) = self.graph {
            sections.push(Content::of(key(SectionKind::Graph), graph));
        }
        let norms = AlignedBuffer::copy_of(norms);
        sections.push(Content::of(key(SectionKind::Vectors), vectors));
        sections.push(Content::of(key(SectionKind::InverseNorms), norms));
        sections
    }
}
