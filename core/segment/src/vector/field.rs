//! One vector field of a segment: its originals, its codes and its index, each with the sections that hold it.
//!
//! The one file that lists what a field may have: a new index or codec of fewer bytes gets an arm where fields are
//! opened, built and searched. A damaged index is left out and noted, because it is derived; damage to originals is an
//! error. What lies in an export for readers of ranges only is in `index/lists`.

use std::borrow::Cow;
use std::cmp::Ordering;

use crate::allowed::Allowed;
use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::{Content, SectionKey, SectionKind, Sections, resident};
use crate::ids::RowId;
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::schema::VectorSpec;
use crate::storage::{AlignedBuffer, Bytes};

use super::codec::EncodedRows;
use super::codes::{Approximations, Bounds};
use super::index::flat::{self, Wanted};
use super::index::graph::{BaseGraph, Graph, GraphBuilder, GraphParams, Scratch, SearchBudget};
use super::index::{AccessPath, Candidate, SearchStats};
use super::originals::{Geometry, Lift, OriginalCodec, RowScorer, VectorRows};
use super::scorer::Scorer;

/// Seed of every graph: the same rows give the same graph in every store.
const GRAPH_SEED: u64 = 0x6E65_6172;

/// A field of an open segment.
#[derive(Debug)]
pub struct VectorField {
    name: String,
    spec: VectorSpec,
    row_count: u32,
    vectors: Bytes,
    inverse_norms: Bytes,
    graph: Option<Graph>,
    approximations: Option<Approximations>,
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
    /// Opens the field at position `ordinal` of the schema.
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
        let key = |kind| SectionKey::of_field(kind, ordinal);
        let vectors = sections.required(key(SectionKind::Vectors))?;
        let inverse_norms = match sections.find(key(SectionKind::InverseNorms)) {
            Some(section) => section.read_all(sections.residence)?,
            None => AlignedBuffer::default().into(),
        };
        let rows = VectorRows::new(spec, sections.rows, &vectors, &inverse_norms)
            .map_err(|error| error.context(sections.name))?;
        let graph = sections.find(key(SectionKind::Graph)).map(|section| {
            let bytes = section.read_all(sections.residence)?;
            Graph::open(bytes, sections.rows)
        });
        let graph = graph.map(resident).transpose()?;
        if matches!(graph, Some(Err(_))) {
            degraded.push(SectionKind::Graph);
        }
        let graph = graph.and_then(Result::ok);
        let approximations = if graph.is_some() { None } else { Approximations::of(rows) };
        let (name, spec, row_count) = (name.to_owned(), spec.clone(), sections.rows);
        Ok(VectorField { name, spec, row_count, vectors, inverse_norms, graph, approximations })
    }

    /// Name in the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Dimension, metric, storage.
    pub fn spec(&self) -> &VectorSpec {
        &self.spec
    }

    /// The stored rows.
    pub fn rows(&self) -> VectorRows<'_> {
        VectorRows::new(&self.spec, self.row_count, &self.vectors, &self.inverse_norms)
            .expect("lengths were checked when the segment was opened")
    }

    /// The graph, if the field has one that is whole.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }

    /// Bytes of memory of what is kept beside the sections.
    pub fn beside_bytes(&self) -> u64 {
        self.approximations.as_ref().map_or(0, Approximations::bytes)
    }

    /// The nearest allowed rows, closest first, at least `k` where the path finds as many; of those farther than
    /// `limit` any may be missing. A walk through the graph that would cost more than a scan of the allowed rows ends
    /// as such a scan. Rows at one distance are ordered by `tie`.
    ///
    /// # Errors
    /// `Cancelled` once `go_on` returns false.
    pub(crate) fn search<'s>(
        &self,
        search: &FieldSearch<'_>,
        limit: impl FnOnce() -> f32,
        tie: impl Fn(RowId, RowId) -> Ordering,
        scratch: &'s mut Scratch,
        stats: &mut SearchStats,
    ) -> Result<Cow<'s, [Candidate]>> {
        let FieldSearch { path, k, allowed, go_on, .. } = *search;
        let scorer = self.scorer(search.kernel, search.vector);
        let through_graph = match (path, &self.graph) {
            (AccessPath::Graph { ef }, Some(graph)) => {
                let scored_max = u64::from(search.allowed_count);
                let budget = SearchBudget { ef: ef as usize, k, scored_max };
                graph.search(&scorer, allowed, budget, scratch, stats, go_on)
            }
            (AccessPath::Graph { .. } | AccessPath::Exact | AccessPath::Nothing, _) => None,
        };
        cancel::check(go_on)?;
        if let Some(candidates) = through_graph {
            return Ok(Cow::Borrowed(candidates));
        }
        let limit = if scorer.bounds.is_some() { limit() } else { f32::INFINITY };
        let wanted = Wanted { k, limit };
        flat::search(&scorer, self.row_count, allowed, wanted, tie, stats, go_on).map(Cow::Owned)
    }

    fn scorer(&self, kernel: Kernel, query: &[f32]) -> FieldScorer<'_> {
        let rows = self.rows();
        let originals = RowScorer::new(rows, kernel, query);
        let bounds = |approximations| Bounds::new(approximations, rows, kernel, originals.query());
        let bounds = self.approximations.as_ref().map(bounds);
        FieldScorer { originals, bounds }
    }
}

/// Scores originals; a scan refuses most rows by their approximations first, where there are some.
struct FieldScorer<'a> {
    originals: RowScorer<'a>,
    bounds: Option<Bounds<'a>>,
}

impl Scorer for FieldScorer<'_> {
    #[inline]
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        self.originals.score_many(rows, out);
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
#[derive(Debug)]
enum GraphStage {
    /// The field gets none.
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
                if progress.done == progress.total {
                    self.graph.finish();
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

impl GraphStage {
    /// Turns a builder that is done into the bytes of its graph.
    fn finish(&mut self) {
        if let GraphStage::Building { builder, .. } = std::mem::replace(self, GraphStage::None) {
            *self = GraphStage::Done(builder.finish());
        }
    }
}
