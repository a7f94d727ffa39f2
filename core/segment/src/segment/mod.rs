//! One immutable file of rows: ids, vectors, indexes, metadata, statistics.
//!
//! A segment is opened from any [`Blob`] and answers from it for ever; it never changes, so it may be
//! shared. Rows that were deleted or replaced since are the business of its owner (`DeadRows`).
//! A damaged *derived* section (graph, columns, statistics) does not stop a segment from opening: it is
//! rebuilt or done without, and [`Segment::degraded`] names it. Damage to anything else is an error.

mod builder;
mod ids;

pub use builder::{Base, SegmentBuilder, SegmentIndexing, SegmentOptions};
pub use ids::IdTable;

use std::sync::Arc;

use crate::error::{Error, Result};
use crate::format::{
    FRONT_PREFIX_BYTES, Front, Residence, Section, SectionEntry, SectionKey, SectionKind, Sections,
    resident,
};
use crate::ids::{FileId, PointId, RowId};
use crate::payload::Payload;
use crate::schema::{Schema, unknown_field};
use crate::stats::{Bloom, Stats};
use crate::storage::Blob;
use crate::vector::VectorField;

/// An open segment. Cheap to share behind an `Arc`; all methods are read-only.
#[derive(Debug)]
pub struct Segment {
    name: String,
    front: Front,
    schema: Schema,
    ids: IdTable,
    bloom: Option<Bloom>,
    fields: Vec<VectorField>,
    payload: Payload,
    stats: Option<Stats>,
    sections: Vec<Section>,
    degraded: Vec<SectionKind>,
}

impl Segment {
    /// Opens a segment file called `name` in errors. Every section is read and its checksums verified
    /// now; what a block of columns or a text means is checked when it is used. O(bytes of the file).
    ///
    /// # Errors
    /// `Corrupt` or `Version`, naming section and offset.
    pub fn open(name: &str, blob: Arc<dyn Blob>, residence: Residence) -> Result<Segment> {
        let prefix = blob.read(0..FRONT_PREFIX_BYTES.min(blob.len()))?;
        let front_len = Front::len_from_prefix(name, &prefix, blob.len())?;
        let front = Front::decode(name, &blob.read(0..front_len)?, blob.len())?;
        Segment::from_front(name, blob, front, residence)
    }

    /// Opens a segment whose front was read elsewhere (an export keeps all fronts in one place).
    ///
    /// # Errors
    /// As [`Segment::open`].
    pub fn from_front(
        name: &str,
        blob: Arc<dyn Blob>,
        front: Front,
        residence: Residence,
    ) -> Result<Segment> {
        let sections: Vec<Section> = front
            .sections
            .iter()
            .map(|entry| Section::new(name, Arc::clone(&blob), entry.clone()))
            .collect();
        let opening = Sections { name, sections: &sections, rows: front.rows, residence };
        let schema = open_schema(&opening)?;
        let ids = opening.required(SectionKey::of(SectionKind::Ids))?;
        let ids = IdTable::open(name, ids, front.rows)?;
        let mut degraded = Vec::new();
        let mut fields = Vec::with_capacity(schema.vectors.len());
        for (ordinal, (field, spec)) in (0..).zip(&schema.vectors) {
            fields.push(VectorField::open(&opening, ordinal, field, spec, &mut degraded)?);
        }
        let payload = open_payload(&opening, &mut degraded)?;
        let stats = opening.derived(SectionKind::Stats, &mut degraded, |bytes| {
            Stats::from_bytes(&bytes, front.rows)
        })?;
        let bloom = opening.derived(SectionKind::IdBloom, &mut degraded, Bloom::from_bytes)?;
        let name = name.to_owned();
        Ok(Segment { name, front, schema, ids, bloom, fields, payload, stats, sections, degraded })
    }

    /// What errors call it: the file's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Identity, the same in a store, a snapshot and an export.
    pub fn id(&self) -> FileId {
        self.front.id
    }

    /// The front: rows, sections, lengths.
    pub fn front(&self) -> &Front {
        &self.front
    }

    /// Bytes of memory of a segment that is in memory: those of the file, and of what is kept beside it.
    pub fn memory_bytes(&self) -> u64 {
        self.front.file_len + self.beside_bytes()
    }

    /// Bytes of memory that a segment of a file takes, if its hot sections are [copied](Residence::Copied): all but the
    /// texts of the metadata, which stay in the file.
    pub fn resident_bytes(&self) -> u64 {
        let texts = self.section_bytes(SectionKind::Metadata);
        self.front.file_len - texts + self.beside_bytes()
    }

    /// Bytes of all sections of a kind.
    pub fn section_bytes(&self, kind: SectionKind) -> u64 {
        let sections = self.front.sections.iter().filter(|entry| entry.kind == kind);
        sections.map(|entry| entry.len).sum()
    }

    /// Bytes of memory of what is kept beside the bytes of the file.
    fn beside_bytes(&self) -> u64 {
        let sections = self.sections.len() * (size_of::<Section>() + size_of::<SectionEntry>());
        let own = (size_of::<Segment>() + sections) as u64;
        let fields: u64 = self.fields.iter().map(VectorField::beside_bytes).sum();
        fields + self.payload.directory_bytes() + own
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.front.rows
    }

    /// The vector fields it was built with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// The point of a row.
    ///
    /// # Panics
    /// If the row is not in the segment.
    pub fn id_of(&self, row: RowId) -> PointId {
        self.ids.id(row)
    }

    /// The row of a point. Expected O(1).
    pub fn find(&self, id: &PointId) -> Option<RowId> {
        let possible = self.bloom.as_ref().is_none_or(|bloom| bloom.may_contain(id.hash64()));
        if possible { self.ids.find(id) } else { None }
    }

    /// A vector field by name.
    ///
    /// # Errors
    /// `NotFound`, listing the names there are.
    pub fn field(&self, name: &str) -> Result<&VectorField> {
        // Fields are in name order, and the empty name is asked for several times a search.
        let default =
            self.fields.first().filter(|field| name.is_empty() && field.name().is_empty());
        let found = default.or_else(|| self.fields.iter().find(|field| field.name() == name));
        found.ok_or_else(|| unknown_field(name, self.fields.iter().map(VectorField::name)))
    }

    /// All vector fields, in name order.
    pub fn fields(&self) -> &[VectorField] {
        &self.fields
    }

    /// Metadata: columns and texts.
    pub fn payload(&self) -> &Payload {
        &self.payload
    }

    /// Zone maps and blooms, unless they were damaged.
    pub fn stats(&self) -> Option<&Stats> {
        self.stats.as_ref()
    }

    /// Derived sections that were damaged and are done without, or were rebuilt in memory.
    pub fn degraded(&self) -> &[SectionKind] {
        &self.degraded
    }

    /// Compares the metadata texts with their checksums once more. They are the only part of a file that is read in a
    /// map, whose pages the system may read again from a medium that has rotted since the segment was opened. O(bytes
    /// of the texts).
    ///
    /// # Errors
    /// `Corrupt` naming the block, or what the blob returns.
    pub fn check_texts(&self) -> Result<()> {
        let mut texts =
            self.sections.iter().filter(|section| section.entry().kind == SectionKind::Metadata);
        texts.try_for_each(|section| section.verify(&|| true))
    }

    /// Sections of the file, for verification and export.
    pub fn sections(&self) -> &[Section] {
        &self.sections
    }
}

fn open_schema(sections: &Sections<'_>) -> Result<Schema> {
    let bytes = sections.required(SectionKey::of(SectionKind::Schema))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::corrupt(sections.name, "section Schema", error))
}

/// Columns and texts; damaged columns are noted and made again.
fn open_payload(sections: &Sections<'_>, degraded: &mut Vec<SectionKind>) -> Result<Payload> {
    let texts = sections.read(SectionKey::of(SectionKind::Metadata), Residence::InPlace)?;
    let columns = sections.required(SectionKey::of(SectionKind::Columns));
    let opened = columns.and_then(|columns| Payload::open(columns, texts.clone(), sections.rows));
    let payload = match resident(opened)? {
        Ok(payload) => Ok(payload),
        Err(_damage) => {
            degraded.push(SectionKind::Columns);
            Payload::rebuild(texts, sections.rows)
        }
    };
    payload.map_err(|error| error.context(sections.name))
}
