//! `Segment`: one opened, immutable file of rows with ids, vectors, indexes, metadata and statistics. Opened by
//! recovery, merges and exports (`Segment::open`, `from_front`); searched by `search`. `builder` writes the file.
//!
//! A segment is opened from any [`Blob`] and answers from it for ever; it never changes, so it may be
//! shared. Rows that were deleted or replaced since are the business of its owner (`DeadRows`).
//!
//! Opening reads every section. A damaged *derived* section (graph, columns, statistics) does not stop a segment from
//! opening: it is rebuilt or done without, and [`Segment::degraded`] names it. Damage to anything else is an error.
//!
//! Of a [mapped](Residence::Mapped) file opening reads the front, the schema and the fronts of graphs. A block is
//! verified when it is first used, so damage is an error of the call that meets it; a damaged derived section is
//! rebuilt or done without from then on. The server's scrub finds damage before a search does.
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
use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use crate::cancel::GoOn;
use crate::error::{Error, ErrorKind, Result};
use crate::filter::{Filter, eval_within};
use crate::format::{
    FRONT_PREFIX_BYTES, Front, Residence, Section, SectionEntry, SectionKey, SectionKind, Sections,
    all, once, resident,
};
use crate::ids::{FileId, IdHash, PointId, RowId};
use crate::kinds::FieldKinds;
use crate::payload::{Payload, Texts};
use crate::reader::read_json;
use crate::rowset::RowSet;
use crate::schema::{Schema, unknown_field};
use crate::stats::{Bloom, Stats};
use crate::storage::{AlignedBuffer, Blob, Bytes};
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
    bloom: OnceLock<Option<Bloom>>,
    fields: Vec<VectorField>,
    texts: Arc<Texts>,
    payload: OnceLock<Payload>,
    /// In its place where the columns are damaged.
    rebuilt: OnceLock<Payload>,
    /// Held while they are made again: once, whatever the number of searches that meet the damage.
    rebuilding: Mutex<()>,
    stats: OnceLock<Option<Stats>>,
    /// Found when the segment was opened.
    degraded: Vec<SectionKind>,
}

impl Segment {
    /// Opens a segment file called `name` in errors. What a block of columns or a text means is checked when it is
    /// used. O(bytes of the file); on demand and of a mapped file it reads little more than front and schema.
    ///
    /// # Errors
    /// `Corrupt` or `Version`, naming section and offset.
    pub fn open(name: &str, blob: Arc<dyn Blob>, residence: Residence) -> Result<Segment> {
        let residence = residence.possible(&*blob);
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
        let residence = residence.possible(&**blob);
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
        let (ids, payload, rebuilt) = (OnceLock::new(), OnceLock::new(), OnceLock::new());
        let (stats, bloom) = (OnceLock::new(), OnceLock::new());
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
            rebuilt,
            rebuilding: Mutex::new(()),
            stats,
            degraded,
        };
        match residence {
            // Searches of inverted lists need neither.
            Residence::OnDemand => {
                (segment.stats, segment.bloom) = (OnceLock::from(None), OnceLock::from(None));
            }
            Residence::Mapped => {}
            Residence::InPlace | Residence::Built => segment.read_all()?,
        }
        Ok(segment)
    }

    /// Reads what is not of a field. Notes derived sections that are damaged.
    fn read_all(&mut self) -> Result<()> {
        self.ids()?;
        if resident(self.payload().map(drop))?.is_err() {
            self.degraded.push(SectionKind::Columns);
            self.rebuilt_payload()?;
        }
        if self.stats().is_none() {
            self.degraded.push(SectionKind::Stats);
        }
        if self.bloom().is_none() {
            self.degraded.push(SectionKind::IdBloom);
        }
        Ok(())
    }

    /// Metadata whose columns are made again from the texts.
    fn rebuilt_payload(&self) -> Result<&Payload> {
        let _one = self.rebuilding.lock().unwrap_or_else(PoisonError::into_inner);
        let kinds = &self.schema.fields;
        let rebuild = || Payload::rebuild(Arc::clone(&self.texts), self.rows(), kinds);
        once(&self.rebuilt, || rebuild().map_err(|error| error.context(&self.name)))
    }

    fn bloom(&self) -> Option<&Bloom> {
        let key = self.of_ids(SectionKind::IdBloom);
        let read = || self.opening().required(key).map(|bytes| self.kept(bytes));
        self.bloom.get_or_init(|| read().and_then(Bloom::from_bytes).ok()).as_ref()
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

    /// Bytes of all sections of a kind.
    pub fn section_bytes(&self, kind: SectionKind) -> u64 {
        let sections = self.front.sections.iter().filter(|entry| entry.kind == kind);
        sections.map(|entry| entry.len).sum()
    }

    /// Bytes of memory of what is kept beside the bytes of the file: all that a segment of a mapped file takes, because
    /// pages of a map come and go. Without Bloom filter and statistics.
    pub fn beside_bytes(&self) -> u64 {
        let sections = self.sections.len() * (size_of::<Section>() + size_of::<SectionEntry>());
        let own = (size_of::<Segment>() + sections) as u64;
        let fields: u64 = self.fields.iter().map(VectorField::beside_bytes).sum();
        let payload = self.payload.get().or(self.rebuilt.get());
        let payload = payload.map_or(0, Payload::directory_bytes);
        let ids = self.ids.get().filter(|_| self.residence.is_mapped()).map_or(0, IdTable::bytes);
        fields + payload + ids + own
    }

    /// Rows, dead ones included.
    pub fn rows(&self) -> u32 {
        self.front.rows
    }

    /// The vector fields it was built with.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Which point each row is. The table of a mapped file is read, and copied, at the first call.
    ///
    /// # Errors
    /// `Corrupt` if the section is damaged; what the blob returns.
    pub fn ids(&self) -> Result<&IdTable> {
        once(&self.ids, || {
            let ids = self.kept(self.opening().required(self.of_ids(SectionKind::Ids))?);
            IdTable::open(&self.name, ids, self.rows(), self.id_hash)
        })
    }

    /// Reads the table of ids where bytes may be missing, so that it is requested with others.
    ///
    /// # Errors
    /// `NotResident`; `Corrupt`.
    pub fn request_ids(&self) -> Result<()> {
        if self.residence == Residence::OnDemand { self.ids().map(drop) } else { Ok(()) }
    }

    /// A copy of bytes of a map: writes rely on them, and a page may be read again from a medium that has rotted.
    fn kept(&self, bytes: Bytes) -> Bytes {
        if self.residence.is_mapped() { AlignedBuffer::copy_of(&bytes).into() } else { bytes }
    }

    /// The row of a point. Expected O(1).
    ///
    /// # Errors
    /// As [`Segment::ids`].
    pub fn find(&self, id: &PointId) -> Result<Option<RowId>> {
        let hash = self.id_hash.hash(id);
        let possible = self.bloom().is_none_or(|bloom| bloom.may_contain(hash));
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
        let (opening, texts) = (self.opening(), || Arc::clone(&self.texts));
        let columns = opening.get(SectionKey::of(SectionKind::Columns))?;
        if let Some(rebuilt) = self.rebuilt.get() {
            return Ok(rebuilt);
        }
        if !self.residence.is_mapped() {
            return once(&self.payload, || {
                Payload::with_texts(columns.read_all(self.residence)?, texts(), self.rows())
            });
        }
        let opened = once(&self.payload, || Payload::open_mapped(columns, texts(), self.rows()));
        match opened {
            Err(error) if error.kind() == ErrorKind::Corrupt => self.rebuilt_payload(),
            Ok(_) if columns.is_damaged() => self.rebuilt_payload(),
            opened => opened,
        }
    }

    /// The rows of `candidates` that a filter keeps, as [`eval_within`]; by columns that are made again from the texts if
    /// they are found damaged. `kinds` are the declared fields of the collection.
    ///
    /// # Errors
    /// Those of [`eval_within`] and [`Segment::payload`].
    pub fn matching(
        &self,
        filter: &Filter,
        kinds: &FieldKinds,
        candidates: &RowSet,
        go_on: GoOn<'_>,
    ) -> Result<RowSet> {
        self.with_payload(|payload| eval_within(filter, payload, kinds, candidates, go_on))
    }

    /// Whether every row that `is_live` lets pass may be in a collection that declares `fields`. O(distinct texts of
    /// these fields).
    ///
    /// # Errors
    /// `InvalidInput(Metadata)` with `expected`, `got` and `point`; as [`payload`](Segment::payload).
    pub fn check_fields(&self, fields: &FieldKinds, is_live: impl Fn(RowId) -> bool) -> Result<()> {
        let misfit = self.with_payload(|payload| payload.first_misfit(fields, &is_live))?;
        let Some((row, misfit)) = misfit else { return Ok(()) };
        let point = self.ids()?.id(row);
        Err(misfit
            .of(format_args!("point {point}, which is stored"))
            .with("point", point.to_string()))
    }

    /// What `read` finds in the metadata; by columns that are made again from the texts if it finds them damaged.
    fn with_payload<T>(&self, read: impl Fn(&Payload) -> Result<T>) -> Result<T> {
        let found = || read(self.payload()?);
        found().or_else(|error| {
            let is_columns = error.detail("derived").is_some_and(|is| is == true);
            // From now on the columns are others.
            if is_columns && self.residence.is_mapped() { found() } else { Err(error) }
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

    /// Zone maps and blooms, unless they are damaged or not read.
    pub fn stats(&self) -> Option<&Stats> {
        let read = || {
            let bytes = self.opening().required(SectionKey::of(SectionKind::Stats))?;
            Stats::from_bytes(&bytes, self.rows())
        };
        self.stats.get_or_init(|| read().ok()).as_ref()
    }

    /// Derived sections that were found damaged and are done without, or were rebuilt in memory.
    pub fn degraded(&self) -> Vec<SectionKind> {
        let mut degraded = self.degraded.clone();
        if self.residence.is_mapped() {
            let damaged = self.sections.iter().filter(|section| section.is_damaged());
            let kinds = damaged.map(|section| section.entry().kind);
            degraded.extend(kinds.filter(|kind| kind.is_derived()));
            degraded.extend(self.rebuilt.get().map(|_| SectionKind::Columns));
        }
        degraded.sort_unstable();
        degraded.dedup();
        degraded
    }

    /// Compares ids, vectors and texts with their checksums, whatever was verified before: a map may have been read
    /// again from a medium that has rotted. O(bytes of the rows).
    ///
    /// # Errors
    /// `Corrupt` naming the first bad block; what the blob returns.
    pub fn verify_rows(&self) -> Result<()> {
        let is_of_rows = |section: &&Arc<Section>| section.entry().kind.holds_rows();
        let mut sections = self.sections.iter().filter(is_of_rows);
        sections.try_for_each(|section| section.verify(&|| true))
    }

    /// Verifies what was not used so far of derived sections of a mapped file, so that [`Segment::degraded`] knows all
    /// damage. O(bytes of them).
    pub fn find_damage(&self) {
        let is_unknown = |section: &&Arc<Section>| {
            self.residence.is_mapped() && section.entry().kind.is_derived()
        };
        let derived = self.sections.iter().filter(is_unknown);
        for section in derived {
            let _noted_by_the_section = section.read(0..section.entry().len);
        }
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
    read_json(&bytes).map_err(|error| Error::corrupt(sections.name, "section Schema", error))
}

fn open_texts(sections: &Sections<'_>) -> Result<Texts> {
    let section = sections.get(SectionKey::of(SectionKind::Metadata))?;
    if sections.on_demand() || sections.residence.is_mapped() {
        return Ok(Texts::on_demand(Some(Arc::clone(section)), sections.rows));
    }
    Texts::open(section.read_all(Residence::InPlace)?, sections.rows)
        .map_err(|error| error.context(sections.name))
}
