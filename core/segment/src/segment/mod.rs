//! `Segment`: one opened, immutable file of rows with ids, vectors, indexes, metadata and statistics. Opened by
//! recovery, merges and exports (`Segment::open`, `from_front`); searched by `search`. `builder` writes the file.
//!
//! A segment is opened from any [`Blob`] and answers from it for ever; it never changes, so it may be
//! shared. Rows that were deleted or replaced since are the business of its owner (`DeadRows`).
//!
//! Opening reads every section. A damaged *derived* section (graph, columns, statistics) does not stop a segment from
//! opening: it is rebuilt or done without, and [`Segment::degraded`] names it. Damage to anything else is an error.
//!
//! Opened [on demand](Residence::OnDemand), a segment reads each section when it is first used, and a row or a text
//! alone where that is all that is needed. Bytes of the blob may be missing then: calls fail with `NotResident`, and
//! succeed once the bytes are there. Damage is always an error, because the bytes can be fetched again; statistics and
//! graph are not read, and fields are searched by their inverted lists where they have some.

mod builder;
mod ids;

pub use builder::{Base, SegmentBuilder, SegmentIndexing, SegmentOptions};
pub use ids::IdTable;

use std::borrow::Cow;
use std::sync::{Arc, OnceLock};

use crate::error::{Error, Result};
use crate::format::{
    FRONT_PREFIX_BYTES, Front, Residence, Section, SectionEntry, SectionKey, SectionKind, Sections,
    all, once, resident,
};
use crate::ids::{FileId, IdHash, PointId, RowId};
use crate::payload::{Payload, Texts};
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
    sections: Vec<Arc<Section>>,
    residence: Residence,
    id_hash: IdHash,
    ids: OnceLock<IdTable>,
    bloom: Option<Bloom>,
    fields: Vec<VectorField>,
    texts: Arc<Texts>,
    payload: OnceLock<Payload>,
    stats: Option<Stats>,
    degraded: Vec<SectionKind>,
}

impl Segment {
    /// Opens a segment file called `name` in errors. What a block of columns or a text means is checked when it is
    /// used. O(bytes of the file); on demand it reads front and schema only.
    ///
    /// # Errors
    /// `Corrupt` or `Version`, naming section and offset.
    pub fn open(name: &str, blob: Arc<dyn Blob>, residence: Residence) -> Result<Segment> {
        let prefix = blob.read(0..FRONT_PREFIX_BYTES.min(blob.len()))?;
        let front_len = Front::len_from_prefix(name, &prefix, blob.len())?;
        let front = Front::decode(name, &blob.read(0..front_len)?, blob.len())?;
        let sections = sections_of(name, &blob, &front);
        let opening = Sections { name, sections: &sections, rows: front.rows, residence };
        let schema = open_schema(&opening)?;
        Segment::of_sections(name, front, schema, sections, residence)
    }

    /// Opens a segment of a file that keeps fronts and schema in one place: an export. On demand it reads nothing.
    ///
    /// # Errors
    /// As [`Segment::open`]; `Corrupt` if the segment has another schema.
    pub fn from_front(
        name: &str,
        blob: &Arc<dyn Blob>,
        front: Front,
        schema: &Schema,
        residence: Residence,
    ) -> Result<Segment> {
        let sections = sections_of(name, blob, &front);
        let opening = Sections { name, sections: &sections, rows: front.rows, residence };
        // Segments may be older than a declaration of fields.
        if !opening.on_demand() && open_schema(&opening)?.vectors != schema.vectors {
            return Err(Error::corrupt(name, "section Schema", "not that of its collection"));
        }
        Segment::of_sections(name, front, schema.clone(), sections, residence)
    }

    fn of_sections(
        name: &str,
        front: Front,
        schema: Schema,
        sections: Vec<Arc<Section>>,
        residence: Residence,
    ) -> Result<Segment> {
        let opening = Sections { name, sections: &sections, rows: front.rows, residence };
        check_rows(&opening)?;
        let is_ids = |entry: &&SectionEntry| entry.kind == SectionKind::Ids;
        let encoding = front.sections.iter().find(is_ids).map(|entry| entry.encoding);
        let id_hash = ids::hash_of(encoding, front.id);
        let (texts, mut degraded) = (Arc::new(open_texts(&opening)?), Vec::new());
        let mut fields = Vec::with_capacity(schema.vectors.len());
        for (ordinal, (field, spec)) in (0..).zip(&schema.vectors) {
            fields.push(VectorField::open(&opening, ordinal, field, spec, &mut degraded)?);
        }
        let name = name.to_owned();
        let (ids, payload, stats, bloom) = (OnceLock::new(), OnceLock::new(), None, None);
        let mut segment = Segment {
            name,
            front,
            schema,
            sections,
            residence,
            id_hash,
            ids,
            bloom,
            fields,
            texts,
            payload,
            stats,
            degraded,
        };
        if residence != Residence::OnDemand {
            segment.read_all()?;
        }
        Ok(segment)
    }

    /// Reads what is not of a field. Notes derived sections that are damaged.
    fn read_all(&mut self) -> Result<()> {
        self.ids()?;
        let mut degraded = std::mem::take(&mut self.degraded);
        if resident(self.payload().map(drop))?.is_err() {
            degraded.push(SectionKind::Columns);
            let rebuilt =
                Payload::rebuild(Arc::clone(&self.texts), self.rows(), &self.schema.fields);
            self.payload = OnceLock::from(rebuilt.map_err(|error| error.context(&self.name))?);
        }
        let (opening, rows) = (self.opening(), self.rows());
        let stats =
            opening.derived(SectionKey::of(SectionKind::Stats), &mut degraded, |bytes| {
                Stats::from_bytes(&bytes, rows)
            })?;
        let bloom = self.of_ids(SectionKind::IdBloom);
        let bloom = opening.derived(bloom, &mut degraded, Bloom::from_bytes)?;
        (self.stats, self.bloom, self.degraded) = (stats, bloom, degraded);
        Ok(())
    }

    fn opening(&self) -> Sections<'_> {
        let Segment { name, sections, residence, .. } = self;
        Sections { name, sections, rows: self.front.rows, residence: *residence }
    }

    /// The section of ids, or that of their Bloom filter, which hashes them in the same way.
    fn of_ids(&self, kind: SectionKind) -> SectionKey {
        SectionKey { encoding: ids::encoding(self.id_hash), ..SectionKey::of(kind) }
    }

    /// Reads what a search of `field` needs beside inverted lists, which it uses where there are some unless it is
    /// `exact`; the columns too for one with a filter. What is missing is requested together.
    ///
    /// # Errors
    /// `NotResident`; `Corrupt`.
    pub(crate) fn load(&self, field: &VectorField, exact: bool, with_filter: bool) -> Result<()> {
        if self.residence != Residence::OnDemand {
            return Ok(());
        }
        let columns = if with_filter { self.payload().map(drop) } else { Ok(()) };
        // Lists have the ids of their rows.
        let rows = match field.lists().filter(|_| !exact) {
            Some(lists) => [lists.table().map(drop), Ok(())],
            None => [field.rows().map(drop), self.ids().map(drop)],
        };
        all(rows.into_iter().chain([columns])).map(drop)
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
        let payload = self.payload.get().map_or(0, Payload::directory_bytes);
        fields + payload + own
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.front.rows
    }

    /// The vector fields it was built with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Which point each row is.
    ///
    /// # Errors
    /// `Corrupt` if the section is damaged; what the blob returns.
    pub fn ids(&self) -> Result<&IdTable> {
        once(&self.ids, || {
            let ids = self.opening().required(self.of_ids(SectionKind::Ids))?;
            IdTable::open(&self.name, ids, self.rows(), self.id_hash)
        })
    }

    /// The row of a point. Expected O(1).
    ///
    /// # Errors
    /// As [`Segment::ids`].
    pub fn find(&self, id: &PointId) -> Result<Option<RowId>> {
        let hash = self.id_hash.hash(id);
        let possible = self.bloom.as_ref().is_none_or(|bloom| bloom.may_contain(hash));
        if possible { Ok(self.ids()?.find(id, hash)) } else { Ok(None) }
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

    /// The metadata for filters.
    ///
    /// # Errors
    /// `Corrupt` if the columns are damaged; what the blob returns.
    pub fn payload(&self) -> Result<&Payload> {
        once(&self.payload, || {
            let opening = self.opening();
            let columns = opening.required(SectionKey::of(SectionKind::Columns))?;
            Payload::with_texts(columns, Arc::clone(&self.texts), self.rows())
        })
    }

    /// The JSON object of a row as it was given; `None` if it has none. O(text).
    ///
    /// # Errors
    /// `Corrupt` if its bytes are damaged; what the blob returns.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn text(&self, row: RowId) -> Result<Option<Cow<'_, str>>> {
        self.texts.get(row)
    }

    /// Zone maps and blooms, unless they were damaged or are not read.
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
    pub fn sections(&self) -> &[Arc<Section>] {
        &self.sections
    }
}

fn sections_of(name: &str, blob: &Arc<dyn Blob>, front: &Front) -> Vec<Arc<Section>> {
    let section =
        |entry: &SectionEntry| Arc::new(Section::new(name, Arc::clone(blob), entry.clone()));
    front.sections.iter().map(section).collect()
}

/// The number of rows makes memory, so the file must be long enough to have so many: eight bytes of each, where its text starts.
fn check_rows(sections: &Sections<'_>) -> Result<()> {
    let bytes = sections.get(SectionKey::of(SectionKind::Metadata))?.entry().len;
    if u64::from(sections.rows) * 8 <= bytes {
        return Ok(());
    }
    let found = format!("{bytes} bytes of metadata for {} rows", sections.rows);
    Err(Error::corrupt(sections.name, "section table", found))
}

fn open_schema(sections: &Sections<'_>) -> Result<Schema> {
    let bytes = sections.required(SectionKey::of(SectionKind::Schema))?;
    serde_json::from_slice(&bytes)
        .map_err(|error| Error::corrupt(sections.name, "section Schema", error))
}

fn open_texts(sections: &Sections<'_>) -> Result<Texts> {
    let section = sections.get(SectionKey::of(SectionKind::Metadata))?;
    if sections.on_demand() {
        return Ok(Texts::on_demand(Some(Arc::clone(section)), sections.rows));
    }
    Texts::open(section.read_all(Residence::InPlace)?, sections.rows)
        .map_err(|error| error.context(sections.name))
}
