//! One vector field of a segment in part: its cell table, its cells, its rows one by one.

use std::sync::{Arc, OnceLock};

use nearfield_segment::format::{Front, Residence, Section, SectionKey, SectionKind, Verified};
use nearfield_segment::storage::{AlignedBuffer, Blob, Bytes};
use nearfield_segment::vector::lists::{InvertedList, ListTable};
use nearfield_segment::vector::{Codec, OriginalCodec, RowScorer, Scorer, VectorRows};
use nearfield_segment::{Error, Kernel, Result, RowId, VectorSpec};

use super::reads::{all, once};

/// A field in part.
#[derive(Debug)]
pub(super) struct PartField {
    name: String,
    blob: Arc<dyn Blob>,
    spec: VectorSpec,
    rows: u32,
    table: Option<Section>,
    cells: Option<Section>,
    vectors: Option<Section>,
    inverse_norms: Option<Section>,
    opened: OnceLock<Opened>,
}

/// The cell table, and which cells were checked against it.
#[derive(Debug)]
struct Opened {
    table: ListTable,
    verified: Verified,
}

/// The bytes of all rows of a field.
#[derive(Debug)]
pub(super) struct AllRows<'a> {
    field: &'a PartField,
    vectors: Bytes,
    inverse_norms: Bytes,
}

impl AllRows<'_> {
    pub(super) fn rows(&self) -> Result<VectorRows<'_>> {
        let PartField { spec, rows, name, .. } = self.field;
        VectorRows::new(spec, *rows, &self.vectors, &self.inverse_norms)
            .map_err(|error| error.context(name))
    }
}

impl PartField {
    pub(super) fn new(
        name: &str,
        blob: &Arc<dyn Blob>,
        front: &Front,
        ordinal: u16,
        spec: &VectorSpec,
    ) -> PartField {
        let find = |kind| {
            let key = SectionKey::of_field(kind, ordinal);
            let entry = front.sections.iter().find(|entry| entry.key() == key)?;
            Some(Section::new(name, Arc::clone(blob), entry.clone()))
        };
        PartField {
            name: name.to_owned(),
            blob: Arc::clone(blob),
            spec: spec.clone(),
            rows: front.rows,
            table: find(SectionKind::CellTable),
            cells: find(SectionKind::Cells),
            vectors: find(SectionKind::Vectors),
            inverse_norms: find(SectionKind::InverseNorms),
            opened: OnceLock::new(),
        }
    }

    pub(super) fn has_cells(&self) -> bool {
        self.table.is_some() && self.cells.is_some()
    }

    /// The cell table; `None` if there are no cells.
    pub(super) fn table(&self) -> Result<Option<&ListTable>> {
        Ok(self.opened()?.map(|opened| &opened.table))
    }

    fn opened(&self) -> Result<Option<&Opened>> {
        let (Some(table), Some(cells)) = (&self.table, &self.cells) else { return Ok(None) };
        once(&self.opened, || {
            let bytes = table.read_all(Residence::Copied)?;
            let len = cells.entry().len;
            let table = ListTable::open(&self.name, &bytes, &self.spec, self.rows, len)?;
            let verified = Verified::new(table.places().len());
            Ok(Opened { table, verified })
        })
        .map(Some)
    }

    /// Where the section of cells begins in the file; 0 without one.
    pub(super) fn cells_start(&self) -> u64 {
        self.cells.as_ref().map_or(0, |section| section.entry().offset)
    }

    /// A cell, checked against its checksum.
    pub(super) fn cell(&self, index: usize) -> Result<InvertedList> {
        let (Some(opened), Some(section)) = (self.opened()?, &self.cells) else {
            return Err(Error::corrupt(&self.name, "section Cells", "there is none"));
        };
        let place = &opened.table.places()[index];
        let changes = self.blob.changes();
        let bytes = section.read_unverified(place.range.clone())?;
        if !opened.verified.has(index, changes) {
            place.verify(&self.name, &bytes, self.cells_start() + place.range.start)?;
            opened.verified.add(index);
        }
        InvertedList::open(&self.name, &bytes, place, &self.spec, self.rows)
    }

    /// All rows as stored.
    pub(super) fn all_rows(&self) -> Result<AllRows<'_>> {
        let [vectors, inverse_norms] =
            self.read_both(|section, _| section.read_all(Residence::InPlace))?;
        Ok(AllRows { field: self, vectors, inverse_norms })
    }

    /// The exact distance of a row, in the same bits as any other exact search.
    pub(super) fn distance(&self, row: RowId, query: &[f32], kernel: Kernel) -> Result<f32> {
        let mut distance = [0.0];
        self.with_row(row, |rows| {
            RowScorer::new(rows, kernel, query).score_many(&[RowId(0)], &mut distance);
        })?;
        Ok(distance[0])
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    pub(super) fn decode(&self, row: RowId, out: &mut [f32]) -> Result<()> {
        self.with_row(row, |rows| rows.decode(RowId(0), out))
    }

    /// Calls `with` on the one row.
    fn with_row(&self, row: RowId, with: impl FnOnce(VectorRows<'_>)) -> Result<()> {
        let [vectors, inverse_norms] = self.read_both(|section, row_len| {
            let start = row.index() as u64 * row_len as u64;
            section.read(start..start + row_len as u64)
        })?;
        let rows = VectorRows::new(&self.spec, 1, &vectors, &inverse_norms);
        with(rows.map_err(|error| error.context(&self.name))?);
        Ok(())
    }

    /// Reads from the vectors and from the inverse norms, where there are any.
    fn read_both(&self, read: impl Fn(&Section, usize) -> Result<Bytes>) -> Result<[Bytes; 2]> {
        let vectors = self
            .vectors
            .as_ref()
            .ok_or_else(|| Error::corrupt(&self.name, "section table", "no section Vectors"))?;
        let norms = self.inverse_norms.as_ref().filter(|section| section.entry().len > 0);
        let codec = OriginalCodec::new(&self.spec);
        let norms = norms.map(|section| read(section, codec.norm_bytes()));
        let vectors = read(vectors, codec.code_bytes());
        let norms = norms.unwrap_or_else(|| Ok(AlignedBuffer::default().into()));
        let mut both = all([vectors, norms])?.into_iter();
        match (both.next(), both.next()) {
            (Some(vectors), Some(norms)) => Ok([vectors, norms]),
            _ => Err(Error::corrupt(&self.name, "section Vectors", "not read")),
        }
    }
}
