//! One vector field of an open segment: its rows and, where there is one, its graph.

use crate::error::Result;
use crate::format::SectionKind;
use crate::kernel::Kernel;
use crate::schema::{Schema, VectorSpec};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::graph::Graph;
use crate::vector::{Approximations, RowScorer, VectorRows};

use super::{Parts, here};

/// Rows and index of one vector field.
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

impl VectorField {
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

    /// A scorer of its rows, which refuses by approximations where there are some.
    pub fn scorer(&self, kernel: Kernel, query: &[f32]) -> RowScorer<'_> {
        let scorer = self.rows().scorer(kernel, query);
        match &self.approximations {
            Some(approximations) => scorer.refusing_by(approximations),
            None => scorer,
        }
    }

    /// Approximations of the rows, if they are scanned and that makes it faster.
    pub fn approximations(&self) -> Option<&Approximations> {
        self.approximations.as_ref()
    }

    /// The graph, if the field has one that is whole.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref()
    }
}

/// Opens all fields of `schema`; a damaged graph is left out and noted.
pub(super) fn open_fields(
    parts: &Parts<'_>,
    schema: &Schema,
    degraded: &mut Vec<SectionKind>,
) -> Result<Vec<VectorField>> {
    let mut fields = Vec::with_capacity(schema.vectors.len());
    for (ordinal, (name, spec)) in (0..).zip(&schema.vectors) {
        let vectors = parts.required(SectionKind::Vectors, ordinal)?;
        let inverse_norms = match parts.find(SectionKind::InverseNorms, ordinal) {
            Some(section) => section.read_all(parts.residence)?,
            None => AlignedBuffer::default().into(),
        };
        let rows = VectorRows::new(spec, parts.rows, &vectors, &inverse_norms)
            .map_err(|error| error.context(parts.name))?;
        let graph = parts.find(SectionKind::Graph, ordinal).map(|section| {
            section.read_all(parts.residence).and_then(|bytes| Graph::open(bytes, parts.rows))
        });
        let graph = graph.map(here).transpose()?;
        if matches!(graph, Some(Err(_))) {
            degraded.push(SectionKind::Graph);
        }
        let graph = graph.and_then(Result::ok);
        let approximations = if graph.is_some() { None } else { Approximations::of(rows) };
        fields.push(VectorField {
            name: name.clone(),
            spec: spec.clone(),
            row_count: parts.rows,
            vectors,
            inverse_norms,
            graph,
            approximations,
        });
    }
    Ok(fields)
}
