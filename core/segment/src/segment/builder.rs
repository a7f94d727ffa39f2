//! Rows in, one segment file out: the only writer of the segment format.
//!
//! [`SegmentBuilder`] takes rows; [`SegmentIndexing`] builds the graphs step by step, so that a caller
//! may pause, stop or show progress between steps; the result is the file's bytes. The same rows, seed
//! and options give the same bytes, whatever the number of threads.

use crate::codec::{EncodedRows, RowEncoder, VectorRows, norm_bytes, row_bytes};
use crate::error::Result;
use crate::format::{BLOCK_BYTES, Front, SectionEntry, SectionKind, align64, front_len};
use crate::ids::{FileId, PointId};
use crate::index::graph::{GraphBuilder, GraphParams};
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::payload::{Payload, PayloadBuilder};
use crate::schema::{Schema, VectorSpec};
use crate::stats::{Bloom, Stats};
use crate::storage::{AlignedBuffer, Bytes};

/// Seed of every graph: the same rows give the same graph in every store.
const GRAPH_SEED: u64 = 0x6E65_6172;

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
    capacity: usize,
    ids: Vec<PointId>,
    fields: Vec<EncodedRows>,
    payload: PayloadBuilder,
}

impl SegmentBuilder {
    /// A builder for a segment of at most `rows` rows.
    pub fn new(id: FileId, schema: &Schema, rows: usize) -> Self {
        let fields = schema.vectors.values().map(|spec| EncodedRows {
            vectors: AlignedBuffer::zeroed(rows * row_bytes(spec)),
            inv_norms: AlignedBuffer::zeroed(rows * norm_bytes(spec)),
        });
        let (fields, payload) = (fields.collect(), PayloadBuilder::new());
        let (schema, ids) = (schema.clone(), Vec::with_capacity(rows));
        SegmentBuilder { id, schema, capacity: rows, ids, fields, payload }
    }

    /// Adds a row. `vectors` holds one vector per field of the schema, in name order; `metadata` is a
    /// JSON object. Both were validated at the edge.
    ///
    /// # Errors
    /// What encoder or payload say of values that the edge should have refused.
    ///
    /// # Panics
    /// If the builder is full, a vector is missing or has the wrong length.
    pub fn push<'a>(
        &mut self,
        id: PointId,
        vectors: impl IntoIterator<Item = &'a [f32]>,
        metadata: Option<&str>,
    ) -> Result<()> {
        assert!(self.ids.len() < self.capacity, "the caller counted the rows");
        let mut vectors = vectors.into_iter();
        for (spec, field) in self.schema.vectors.values().zip(&mut self.fields) {
            let vector = vectors.next().expect("one vector per field of the schema");
            let place = row_range(row_bytes(spec), self.ids.len());
            let place = &mut field.vectors.as_mut_slice()[place];
            let inv_norm = RowEncoder::new(spec).row(vector, place)?.to_le_bytes();
            let place = row_range(norm_bytes(spec), self.ids.len());
            field.inv_norms.as_mut_slice()[place.clone()].copy_from_slice(&inv_norm[..place.len()]);
        }
        self.payload.push(metadata)?;
        self.ids.push(id);
        Ok(())
    }

    /// Rows so far.
    pub fn rows(&self) -> usize {
        self.ids.len()
    }

    /// Ends the rows and starts the indexes.
    pub fn index(mut self, options: &SegmentOptions) -> SegmentIndexing {
        let rows = self.ids.len();
        for (spec, field) in self.schema.vectors.values().zip(&mut self.fields) {
            field.vectors.truncate(rows * row_bytes(spec));
            field.inv_norms.truncate(rows * norm_bytes(spec));
        }
        let wants_graphs = rows as u64 >= u64::from(options.graph_rows_min.max(1));
        let waiting = if wants_graphs { self.fields.len() } else { 0 };
        let options = options.clone();
        SegmentIndexing { segment: self, options, waiting, building: None, graphs: Vec::new() }
    }
}

/// The bytes of a row in an array of rows of `len` bytes.
fn row_range(len: usize, row: usize) -> std::ops::Range<usize> {
    row * len..(row + 1) * len
}

/// A segment whose rows are complete and whose graphs are being built.
#[derive(Debug)]
pub struct SegmentIndexing {
    segment: SegmentBuilder,
    options: SegmentOptions,
    /// Fields whose graph is not begun.
    waiting: usize,
    building: Option<GraphBuilder>,
    graphs: Vec<AlignedBuffer>,
}

impl SegmentIndexing {
    /// Does a bounded piece of work; false when nothing is left. Graphs are built field by field.
    pub fn step(&mut self, pool: &Pool) -> bool {
        let field = self.graphs.len();
        let Some(spec) = self.segment.schema.vectors.values().nth(field) else { return false };
        let rows = rows_of(&self.segment, spec, field);
        if let Some(builder) = &mut self.building {
            let progress = builder.step(&rows, pool);
            if progress.done == progress.total {
                let done = self.building.take().expect("it was just stepped");
                self.graphs.push(done.finish());
            }
        } else if self.waiting > 0 {
            self.waiting -= 1;
            let SegmentOptions { kernel, graph, .. } = self.options;
            self.building = Some(GraphBuilder::new(&rows, kernel, graph, GRAPH_SEED, pool));
        }
        self.building.is_some() || self.waiting > 0
    }

    /// Work done and work to do, over all fields, in rows.
    pub fn progress(&self) -> (u64, u64) {
        let each = 2 * self.segment.rows() as u64;
        let begun = self.building.as_ref().map_or(0, |builder| builder.progress().done);
        let fields = self.graphs.len() + self.waiting + usize::from(self.building.is_some());
        (self.graphs.len() as u64 * each + begun, fields as u64 * each)
    }

    /// Does what work is left and returns the bytes of the file.
    ///
    /// # Errors
    /// What the payload says of metadata that exceed its limits.
    pub fn finish(mut self, pool: &Pool) -> Result<Bytes> {
        while self.step(pool) {}
        let SegmentIndexing { segment, graphs, .. } = self;
        let rows = segment.ids.len() as u32;
        let payload = segment.payload.finish()?;
        let columns = AlignedBuffer::copy_of(&payload.columns).into();
        let stats = Stats::build(&Payload::open_columns(columns, rows)?)?.to_bytes();
        let hashes: Vec<u64> = segment.ids.iter().map(PointId::hash64).collect();
        let bloom = Bloom::build(&hashes);
        let schema = serde_json::to_vec(&segment.schema).expect("a schema is plain data");
        let ids = super::ids::encode(&segment.ids);
        let mut sections: Vec<(SectionKind, u16, &[u8])> = vec![
            (SectionKind::Schema, 0, &schema),
            (SectionKind::Ids, 0, &ids),
            (SectionKind::IdBloom, 0, bloom.as_bytes()),
            (SectionKind::Stats, 0, &stats),
            (SectionKind::Columns, 0, &payload.columns),
        ];
        for (ordinal, graph) in (0..).zip(&graphs) {
            sections.push((SectionKind::Graph, ordinal, graph));
        }
        for (ordinal, field) in (0..).zip(&segment.fields) {
            sections.push((SectionKind::Vectors, ordinal, &field.vectors));
            sections.push((SectionKind::InverseNorms, ordinal, &field.inv_norms));
        }
        sections.push((SectionKind::Metadata, 0, &payload.raw));
        Ok(assemble(segment.id, rows, &sections).into())
    }
}

/// The encoded rows of one field.
fn rows_of<'a>(segment: &'a SegmentBuilder, spec: &VectorSpec, field: usize) -> VectorRows<'a> {
    let EncodedRows { vectors, inv_norms } = &segment.fields[field];
    let rows = segment.ids.len() as u32;
    VectorRows::new(spec, rows, vectors, inv_norms).expect("the builder encoded these rows")
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
        entries.push(SectionEntry {
            kind,
            field,
            encoding: 0,
            ordinal: 0,
            offset,
            len,
            block_crcs,
        });
        end = offset + len;
    }
    let mut file = AlignedBuffer::zeroed(end as usize);
    let buffer = file.as_mut_slice();
    for (entry, (_, _, bytes)) in entries.iter().zip(sections) {
        buffer[entry.offset as usize..][..bytes.len()].copy_from_slice(bytes);
    }
    let front = Front { id, rows, crc: 0, file_len: end, sections: entries }.encode();
    buffer[..front.len()].copy_from_slice(&front);
    file
}
