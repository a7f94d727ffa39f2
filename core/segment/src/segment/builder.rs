//! Rows in, one segment file out: the only writer of the segment format.
//!
//! [`SegmentBuilder`] takes rows; [`SegmentIndexing`] builds the graphs step by step, so that a caller
//! may pause, stop or show progress between steps; the result is the file's bytes. The same rows, seed
//! and options give the same bytes, whatever the number of threads.

use std::ops::Deref;

use std::sync::Arc;

use crate::error::Result;
use crate::format::{BLOCK_BYTES, Front, SectionEntry, SectionKind, align64, front_len};
use crate::ids::{FileId, PointId};
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::payload::{Payload, PayloadBuilder};
use crate::schema::{Schema, VectorSpec};
use crate::segment::{Segment, VectorField};
use crate::stats::{Bloom, Stats};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::graph::{BaseGraph, GraphBuilder, GraphParams};
use crate::vector::{EncodedRows, RowEncoder, VectorRows, norm_bytes, row_bytes};

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

    /// Ends the rows and starts the indexes. The graph of each field of `base` that has one keeps its links and gets
    /// the other rows; all other graphs are built from nothing.
    pub fn index(mut self, options: &SegmentOptions, base: Option<Base<'_>>) -> SegmentIndexing {
        let rows = self.ids.len();
        for (spec, field) in self.schema.vectors.values().zip(&mut self.fields) {
            field.vectors.truncate(rows * row_bytes(spec));
            field.inv_norms.truncate(rows * norm_bytes(spec));
        }
        let wants_graphs = rows as u64 >= u64::from(options.graph_rows_min.max(1));
        let waiting = if wants_graphs { self.fields.len() } else { 0 };
        let options = options.clone();
        let bases = base.map(|base| base.graphs()).unwrap_or_default();
        let (building, graphs) = (None, Vec::new());
        SegmentIndexing { segment: self, options, waiting, bases, building, graphs }
    }
}

/// A segment whose rows are among those of the builder, with the new row of each of its rows; `u32::MAX` for rows
/// that are not.
#[derive(Debug, Clone, Copy)]
pub struct Base<'a> {
    /// The open segment, of the builder's schema.
    pub segment: &'a Segment,
    /// By row of the segment.
    pub new_rows: &'a [u32],
}

impl Base<'_> {
    fn graphs(self) -> Vec<Option<BaseGraph>> {
        let new_rows: Arc<[u32]> = self.new_rows.into();
        let graph = |field: &VectorField| {
            let graph = field.graph()?.clone();
            Some(BaseGraph { graph, new_rows: Arc::clone(&new_rows) })
        };
        self.segment.fields().iter().map(graph).collect()
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
    /// By field, what its graph is begun from.
    bases: Vec<Option<BaseGraph>>,
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
            let base = self.bases.get_mut(field).and_then(Option::take);
            self.building = Some(GraphBuilder::new(&rows, kernel, graph, GRAPH_SEED, base, pool));
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
        let columns: Bytes = AlignedBuffer::copy_of(&payload.columns).into();
        drop(payload.columns);
        let stats = Stats::build(&Payload::open_columns(columns.clone(), rows)?)?.to_bytes();
        let hashes: Vec<u64> = segment.ids.iter().map(PointId::hash64).collect();
        let bloom = Bloom::build(&hashes).as_bytes().to_vec();
        let schema = serde_json::to_vec(&segment.schema).expect("a schema is plain data");
        let ids = super::ids::encode(&segment.ids);
        drop((segment.ids, hashes));
        let mut sections = vec![
            Content::of(SectionKind::Schema, 0, schema),
            Content::of(SectionKind::Ids, 0, ids),
            Content::of(SectionKind::IdBloom, 0, bloom),
            Content::of(SectionKind::Stats, 0, stats),
            Content::of(SectionKind::Columns, 0, columns),
        ];
        for (ordinal, graph) in (0..).zip(graphs) {
            sections.push(Content::of(SectionKind::Graph, ordinal, graph));
        }
        for (ordinal, field) in (0..).zip(segment.fields) {
            sections.push(Content::of(SectionKind::Vectors, ordinal, field.vectors));
            sections.push(Content::of(SectionKind::InverseNorms, ordinal, field.inv_norms));
        }
        let texts = payload.raw.into_iter().map(|piece| Box::new(piece) as Piece).collect();
        sections.push(Content { kind: SectionKind::Metadata, field: 0, pieces: texts });
        Ok(assemble(segment.id, rows, sections).into())
    }
}

/// Bytes of a section or of a part of it, freed once they are copied to the file.
type Piece = Box<dyn Deref<Target = [u8]>>;

/// What a section will hold: the pieces one after the other.
struct Content {
    kind: SectionKind,
    field: u16,
    pieces: Vec<Piece>,
}

impl Content {
    fn of(kind: SectionKind, field: u16, bytes: impl Deref<Target = [u8]> + 'static) -> Content {
        Content { kind, field, pieces: vec![Box::new(bytes)] }
    }

    fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}

/// The encoded rows of one field.
fn rows_of<'a>(segment: &'a SegmentBuilder, spec: &VectorSpec, field: usize) -> VectorRows<'a> {
    let EncodedRows { vectors, inv_norms } = &segment.fields[field];
    let rows = segment.ids.len() as u32;
    VectorRows::new(spec, rows, vectors, inv_norms).expect("the builder encoded these rows")
}

/// Lays sections out behind their front. Each piece is freed once it is copied, so that the file and the largest piece
/// are the most that is held at a time.
fn assemble(id: FileId, rows: u32, sections: Vec<Content>) -> AlignedBuffer {
    let lens: Vec<u64> = sections.iter().map(Content::len).collect();
    let mut end = front_len(&lens);
    let mut offsets = Vec::with_capacity(lens.len());
    for len in &lens {
        let offset = align64(end);
        offsets.push(offset);
        end = offset + len;
    }
    let mut file = AlignedBuffer::zeroed(end as usize);
    let buffer = file.as_mut_slice();
    let mut entries = Vec::with_capacity(lens.len());
    for (Content { kind, field, pieces }, (offset, len)) in
        sections.into_iter().zip(offsets.into_iter().zip(lens))
    {
        let section = &mut buffer[offset as usize..][..len as usize];
        let mut at = 0;
        for piece in pieces {
            section[at..at + piece.len()].copy_from_slice(&piece);
            at += piece.len();
        }
        let block_crcs = section.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect();
        let (encoding, ordinal) = (0, 0);
        entries.push(SectionEntry { kind, field, encoding, ordinal, offset, len, block_crcs });
    }
    let front = Front { id, rows, crc: 0, file_len: end, sections: entries }.encode();
    buffer[..front.len()].copy_from_slice(&front);
    file
}
