//! Rows in, one segment file out: the only writer of the segment format.
//!
//! [`SegmentBuilder`] takes rows; [`SegmentIndexing`] builds the graphs step by step, so that a caller
//! may pause, stop or show progress between steps; the result is the file's bytes. The same rows, seed
//! and options give the same bytes, whatever the number of threads.

use std::sync::Arc;

use crate::codec::{EncodedRows, RowEncoder};
use crate::error::Result;
use crate::format::{BLOCK_BYTES, Front, SectionEntry, SectionKind, align64, front_len};
use crate::ids::{FileId, PointId};
use crate::index::{GraphBuilder, GraphParams};
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::payload::PayloadBuilder;
use crate::schema::Schema;
use crate::stats::SegmentStats;
use crate::storage::{AlignedBuffer, Bytes};

/// How segments are built.
#[derive(Debug, Clone)]
pub struct SegmentOptions {
    /// Arithmetic to build with; it does not change the bytes.
    pub kernel: Kernel,
    /// Fewest rows for which a graph is built; smaller segments are scanned.
    pub graph_rows_min: u32,
    /// How graphs are built.
    pub graph: GraphParams,
}

/// Collects the rows of one segment, in row order.
#[derive(Debug)]
pub struct SegmentBuilder {
    id: FileId,
    schema: Schema,
    ids: Vec<PointId>,
    fields: Vec<RowEncoder>,
    payload: PayloadBuilder,
}

impl SegmentBuilder {
    /// A builder for a segment of about `rows` rows.
    pub fn new(id: FileId, schema: &Schema, rows: usize) -> Self {
        let fields = schema.vectors.values().map(|spec| RowEncoder::new(spec, rows)).collect();
        let (schema, ids) = (schema.clone(), Vec::with_capacity(rows));
        SegmentBuilder { id, schema, ids, fields, payload: PayloadBuilder::new() }
    }

    /// Adds a row. `vectors` holds one vector per field of the schema, in name order; `document` is a
    /// JSON object. Both were validated at the edge.
    ///
    /// # Errors
    /// What the payload says of a document that is not one.
    ///
    /// # Panics
    /// If a vector is missing or has the wrong length.
    pub fn push<'a>(
        &mut self,
        id: PointId,
        vectors: impl IntoIterator<Item = &'a [f32]>,
        document: Option<&str>,
    ) -> Result<()> {
        self.payload.push(document)?;
        let mut vectors = vectors.into_iter();
        for field in &mut self.fields {
            field.push(vectors.next().expect("one vector per field of the schema"));
        }
        self.ids.push(id);
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Ends the rows and starts the indexes.
    pub fn index(self, options: &SegmentOptions) -> SegmentIndexing {
        let rows = self.ids.len() as u32;
        let specs = self.schema.vectors.values();
        let fields: Vec<Arc<EncodedRows>> =
            self.fields.into_iter().map(|field| Arc::new(field.finish())).collect();
        let wants_graph = rows >= options.graph_rows_min.max(1);
        let builders = fields
            .iter()
            .zip(specs)
            .filter(|_| wants_graph)
            .map(|(field, spec)| {
                let rows = Arc::clone(field);
                GraphBuilder::new(spec.clone(), rows, options.kernel, options.graph.clone())
            })
            .collect();
        let (id, schema, ids, payload) = (self.id, self.schema, self.ids, self.payload);
        SegmentIndexing { id, schema, ids, fields, builders, graphs: Vec::new(), payload }
    }
}

/// A segment whose rows are complete and whose graphs are being built.
#[derive(Debug)]
pub struct SegmentIndexing {
    id: FileId,
    schema: Schema,
    ids: Vec<PointId>,
    fields: Vec<Arc<EncodedRows>>,
    builders: Vec<GraphBuilder>,
    graphs: Vec<AlignedBuffer>,
    payload: PayloadBuilder,
}

impl SegmentIndexing {
    /// Does a bounded piece of work; false when nothing is left. Graphs are built field by field.
    pub fn step(&mut self, pool: &Pool) -> bool {
        let Some(builder) = self.builders.get_mut(self.graphs.len()) else { return false };
        if builder.step(pool) {
            return true;
        }
        self.graphs.push(builder.finish());
        self.graphs.len() < self.builders.len()
    }

    /// Rows linked so far and rows to link, over all fields.
    pub fn progress(&self) -> (u64, u64) {
        let each = self.builders.iter().map(GraphBuilder::progress);
        each.fold((0, 0), |sum, (done, total)| (sum.0 + u64::from(done), sum.1 + u64::from(total)))
    }

    /// Does what work is left and returns the bytes of the file.
    ///
    /// # Errors
    /// What the payload says of documents that exceed its limits.
    pub fn finish(mut self, pool: &Pool) -> Result<Bytes> {
        while self.step(pool) {}
        let rows = self.ids.len() as u32;
        let payload = self.payload.finish()?;
        let stats = SegmentStats::build(&self.ids, &payload.columns, rows)?.encode();
        let schema = serde_json::to_vec(&self.schema).expect("a schema is plain data");
        let ids = super::ids::encode(&self.ids);
        let mut sections: Vec<(SectionKind, u16, &[u8])> = vec![
            (SectionKind::Schema, 0, &schema),
            (SectionKind::Ids, 0, &ids),
            (SectionKind::Stats, 0, &stats),
            (SectionKind::Columns, 0, &payload.columns),
        ];
        for (ordinal, graph) in (0..).zip(&self.graphs) {
            sections.push((SectionKind::Graph, ordinal, graph));
        }
        for (ordinal, field) in (0..).zip(&self.fields) {
            sections.push((SectionKind::Vectors, ordinal, &field.vectors));
            sections.push((SectionKind::InverseNorms, ordinal, &field.inverse_norms));
        }
        sections.push((SectionKind::Documents, 0, &payload.documents));
        Ok(assemble(self.id, rows, &sections).into())
    }
}

/// Lays sections out behind their front.
fn assemble(id: FileId, rows: u32, sections: &[(SectionKind, u16, &[u8])]) -> AlignedBuffer {
    let lens: Vec<u64> = sections.iter().map(|(_, _, bytes)| bytes.len() as u64).collect();
    let mut end = front_len(&lens);
    let mut entries = Vec::with_capacity(sections.len());
    for &(kind, field, bytes) in sections {
        let offset = align64(end);
        let block_crcs = bytes.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect();
        let len = bytes.len() as u64;
        entries.push(SectionEntry { kind, field, encoding: 0, ordinal: 0, offset, len, block_crcs });
        end = offset + len;
    }
    let mut file = AlignedBuffer::zeroed(end as usize);
    let buffer = file.as_mut_slice();
    for (entry, (_, _, bytes)) in entries.iter().zip(sections) {
        buffer[entry.offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    let front = Front { id, rows, file_len: end, sections: entries }.encode();
    buffer[..front.len()].copy_from_slice(&front);
    file
}
