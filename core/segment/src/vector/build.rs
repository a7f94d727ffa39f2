//! A vector field of a segment that is being built: `FieldBuilder` takes its rows, then makes its graph and its codes in
//! steps. Used by `SegmentBuilder`.

use crate::error::Result;
use crate::format::{Content, SectionKey, SectionKind};
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::schema::VectorSpec;
use crate::storage::{AlignedBuffer, Bytes};

use super::codec::{Codec, EncodedRows};
use super::codes::{self, CodesBuilder};
use super::fidelity::extra_candidates;
use super::index::graph::{BaseGraph, Graph, GraphBuilder, GraphParams};
use super::originals::{Geometry, Lift, OriginalCodec};

/// Seed of every graph: the same rows give the same graph in every store.
const GRAPH_SEED: u64 = 0x6E65_6172;

/// A stored row has at least as many times the bytes of its code: below it, a walk by codes is hardly faster.
const MIN_RATIO: usize = 4;

/// A field of a segment that is being built.
#[derive(Debug)]
pub(crate) struct FieldBuilder {
    rows: EncodedRows<OriginalCodec>,
    index: IndexStage,
}

/// How far the index of a field is.
#[derive(Debug, Default)]
enum IndexStage {
    /// The field gets none.
    #[default]
    None,
    /// Not begun; grows from the base if there is one.
    Waiting(Option<BaseGraph>),
    Building {
        lift: Lift,
        builder: Box<GraphBuilder>,
    },
    Encoding {
        graph: Graph,
        codes: Box<CodesBuilder>,
    },
    Done {
        graph: Bytes,
        codes: Option<AlignedBuffer>,
    },
}

impl FieldBuilder {
    /// A field without rows, with memory for `capacity` of them.
    pub(crate) fn new(spec: &VectorSpec, capacity: usize) -> Self {
        let rows = EncodedRows::with_capacity(OriginalCodec::new(spec), capacity);
        FieldBuilder { rows, index: IndexStage::None }
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
        self.index = IndexStage::Waiting(base);
    }

    /// Whether the index is built.
    pub(crate) fn is_done(&self) -> bool {
        matches!(self.index, IndexStage::None | IndexStage::Done { .. })
    }

    /// Does a bounded piece of the work on the index.
    pub(crate) fn step(&mut self, kernel: Kernel, params: GraphParams, pool: &Pool) {
        let rows = self.rows.rows();
        self.index = match std::mem::take(&mut self.index) {
            ready @ (IndexStage::None | IndexStage::Done { .. }) => ready,
            IndexStage::Waiting(base) => {
                let lift = Lift::new(&rows, pool);
                let space = Geometry::new(rows, kernel, &lift);
                let builder = GraphBuilder::new(&space, params, GRAPH_SEED, base, pool);
                IndexStage::Building { lift, builder: Box::new(builder) }
            }
            IndexStage::Building { lift, mut builder } => {
                let progress = builder.step(&Geometry::new(rows, kernel, &lift), pool);
                if progress.done < progress.total {
                    IndexStage::Building { lift, builder }
                } else {
                    self.with_graph(Graph::built(builder.finish(), rows.len()), kernel)
                }
            }
            IndexStage::Encoding { graph, mut codes } => {
                if codes.step(&rows, kernel, pool) {
                    IndexStage::Encoding { graph, codes }
                } else {
                    let extra = extra_candidates(codes.rows(), rows, &graph, kernel);
                    let codes = extra.map(|extra| codes.finish(extra));
                    IndexStage::Done { graph: graph.into_bytes(), codes }
                }
            }
        }
    }

    /// What follows the graph: codes, unless the stored rows are hardly longer than these would be.
    fn with_graph(&self, graph: Graph, kernel: Kernel) -> IndexStage {
        let rows = self.rows.rows();
        if MIN_RATIO * codes::code_bytes(rows.dim()) > self.rows.codec().code_bytes() {
            return IndexStage::Done { graph: graph.into_bytes(), codes: None };
        }
        IndexStage::Encoding { graph, codes: Box::new(CodesBuilder::new(&rows, kernel)) }
    }

    /// Work done and work to do on the index, in rows.
    pub(crate) fn progress(&self) -> (u64, u64) {
        let total = 2 * self.rows.len() as u64;
        match &self.index {
            IndexStage::None => (0, 0),
            IndexStage::Waiting(_) => (0, total),
            IndexStage::Building { builder, .. } => (builder.progress().done, total),
            IndexStage::Encoding { .. } | IndexStage::Done { .. } => (total, total),
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
        if let IndexStage::Done { graph, codes } = self.index {
            sections.push(Content::of(key(SectionKind::Graph), graph));
            sections.extend(codes.map(|codes| Content::of(key(SectionKind::Codes), codes)));
        }
        let norms = AlignedBuffer::copy_of(norms);
        sections.push(Content::of(key(SectionKind::Vectors), vectors));
        sections.push(Content::of(key(SectionKind::InverseNorms), norms));
        sections
    }
}
