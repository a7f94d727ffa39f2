//! Builds one segment file from rows: the only writer of the segment format. Used by State (each batch
//! becomes a small segment in memory) and by merges.
//!
//! `SegmentBuilder`: `new`, `push` for each row, `index`, which gives a [`SegmentIndexing`]; its `step`
//! builds the graphs bit by bit, so that a caller may pause, stop or show progress; `finish` returns the
//! bytes of the file. With a [`Base`], `index` keeps the graph links of one input segment. The same id, rows,
//! options and base give the same bytes, whatever the kernel or the number of threads.

use std::sync::Arc;

use crate::error::Result;
use crate::format::{
    BLOCK_BYTES, Content, FORMAT_VERSION, Front, SectionEntry, SectionKey, SectionKind, align64,
    front_len,
};
use crate::ids::{FileId, IdHash, PointId};
use crate::kernel::Kernel;
use crate::parallel::Pool;
use crate::payload::{Payload, PayloadBuilder};
use crate::schema::Schema;
use crate::segment::Segment;
use crate::segment::ids::SEEDED;
use crate::stats::{Bloom, Stats};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::graph::{BaseGraph, GraphParams};
use crate::vector::{FieldBuilder, VectorField};

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
    fields: Vec<FieldBuilder>,
    payload: PayloadBuilder,
}

impl SegmentBuilder {
    /// A builder for a segment of at most `rows` rows.
    pub fn new(id: FileId, schema: &Schema, rows: usize) -> Self {
        let fields = schema.vectors.values().map(|spec| FieldBuilder::new(spec, rows));
        let (fields, payload) = (fields.collect(), PayloadBuilder::new(&schema.fields));
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
        for field in &mut self.fields {
            field.push(vectors.next().expect("one vector per field of the schema"))?;
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
        let mut bases = base.map(|base| base.graphs()).unwrap_or_default().into_iter();
        if self.ids.len() as u64 >= u64::from(options.graph_rows_min.max(1)) {
            self.fields.iter_mut().for_each(|field| field.want_graph(bases.next().flatten()));
        }
        SegmentIndexing { segment: self, options: options.clone() }
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
            // A damaged graph is built anew.
            let graph = field.graph().filter(|graph| graph.verify().is_ok())?.clone();
            Some(BaseGraph { graph, new_rows: Arc::clone(&new_rows) })
        };
        self.segment.fields().iter().map(graph).collect()
    }
}

/// A segment whose rows are complete and whose graphs are being built.
#[derive(Debug)]
pub struct SegmentIndexing {
    segment: SegmentBuilder,
    options: SegmentOptions,
}

impl SegmentIndexing {
    /// Does a bounded piece of work; false when nothing is left. Graphs are built field by field.
    pub fn step(&mut self, pool: &Pool) -> bool {
        let SegmentOptions { kernel, graph, .. } = self.options;
        let mut waiting = self.segment.fields.iter_mut().filter(|field| !field.is_done());
        let Some(field) = waiting.next() else { return false };
        field.step(kernel, graph, pool);
        self.segment.fields.iter().any(|field| !field.is_done())
    }

    /// Work done and work to do, over all fields, in rows.
    pub fn progress(&self) -> (u64, u64) {
        let fields = self.segment.fields.iter().map(FieldBuilder::progress);
        fields.fold((0, 0), |sum, field| (sum.0 + field.0, sum.1 + field.1))
    }

    /// Does what work is left and returns the bytes of the file.
    ///
    /// # Errors
    /// What the payload says of metadata that exceed its limits.
    pub fn finish(mut self, pool: &Pool) -> Result<Bytes> {
        while self.step(pool) {}
        let SegmentIndexing { segment, .. } = self;
        let rows = segment.ids.len() as u32;
        let payload = segment.payload.finish()?;
        let columns: Bytes = AlignedBuffer::copy_of(&payload.columns).into();
        drop(payload.columns);
        let stats = Stats::build(&Payload::open_columns(columns.clone(), rows)?)?.to_bytes();
        let hash = IdHash::of_file(segment.id);
        let hashes: Vec<u64> = segment.ids.iter().map(|id| hash.hash(id)).collect();
        let bloom = Bloom::build(&hashes).as_bytes().to_vec();
        let schema = serde_json::to_vec(&segment.schema).expect("a schema is plain data");
        let ids = super::ids::encode(&segment.ids, &hashes);
        drop((segment.ids, hashes));
        let mut sections = vec![
            Content::of(SectionKey::of(SectionKind::Schema), schema),
            Content::of(SectionKey { encoding: SEEDED, ..SectionKey::of(SectionKind::Ids) }, ids),
            Content::of(
                SectionKey { encoding: SEEDED, ..SectionKey::of(SectionKind::IdBloom) },
                bloom,
            ),
            Content::of(SectionKey::of(SectionKind::Stats), stats),
            Content::of(SectionKey::of(SectionKind::Columns), columns),
        ];
        let fields = (0..).zip(segment.fields);
        let mut of_fields: Vec<Content> =
            fields.flat_map(|(ordinal, field)| field.into_sections(ordinal)).collect();
        // Indexes of all fields stand before the originals of all.
        of_fields.sort_by_key(|content| !content.key.kind.is_derived());
        sections.append(&mut of_fields);
        let texts = payload.raw.into_iter().map(|piece| Box::new(piece) as _).collect();
        sections.push(Content { key: SectionKey::of(SectionKind::Metadata), pieces: texts });
        Ok(assemble(segment.id, rows, sections).into())
    }
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
    for (Content { key, pieces }, (offset, len)) in
        sections.into_iter().zip(offsets.into_iter().zip(lens))
    {
        let section = &mut buffer[offset as usize..][..len as usize];
        let mut at = 0;
        for piece in pieces {
            section[at..at + piece.len()].copy_from_slice(&piece);
            at += piece.len();
        }
        let block_crcs = section.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect();
        let SectionKey { kind, field, encoding, ordinal } = key;
        entries.push(SectionEntry { kind, field, encoding, ordinal, offset, len, block_crcs });
    }
    let version = FORMAT_VERSION;
    let front = Front { version, id, rows, crc: 0, file_len: end, sections: entries }.encode();
    buffer[..front.len()].copy_from_slice(&front);
    file
}
