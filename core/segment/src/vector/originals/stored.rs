//! `StoredRows`: the stored vectors of a field in an opened file, all rows in memory, or row by row where bytes may be
//! missing (on demand). Used by `VectorField`.

use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::format::{Guard, Residence, Section, SectionKey, SectionKind, Sections, all, once};
use crate::ids::RowId;
use crate::kernel::Kernel;
use crate::schema::VectorSpec;
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::codec::Codec;
use crate::vector::scorer::Scorer;

use super::{OriginalCodec, RowScorer, VectorRows};

/// Both sections of the rows of a field: vectors, and for cosine their inverse norms.
#[derive(Debug)]
pub(in crate::vector) struct StoredRows {
    file: String,
    spec: VectorSpec,
    rows: u32,
    residence: Residence,
    vectors: Arc<Section>,
    inverse_norms: Option<Arc<Section>>,
    /// The bytes of both, once they were read.
    whole: OnceLock<[Bytes; 2]>,
    /// The bytes of both in a mapped file, not verified.
    mapped: Option<[Bytes; 2]>,
}

impl StoredRows {
    /// The rows of the field at position `field` of the schema. Reads nothing.
    ///
    /// # Errors
    /// `Corrupt` if there is no section of them.
    pub(in crate::vector) fn new(
        sections: &Sections<'_>,
        field: u16,
        spec: &VectorSpec,
    ) -> Result<StoredRows> {
        let norms = sections.find(SectionKey::of_field(SectionKind::InverseNorms, field));
        let mut stored = StoredRows {
            file: sections.name.to_owned(),
            spec: spec.clone(),
            rows: sections.rows,
            residence: sections.residence,
            vectors: sections.get(SectionKey::of_field(SectionKind::Vectors, field))?.clone(),
            inverse_norms: norms.filter(|section| section.entry().len > 0).cloned(),
            whole: OnceLock::new(),
            mapped: None,
        };
        if stored.residence.is_mapped() {
            let in_place = |section: &Section, _| section.read_unverified(0..section.entry().len);
            let bytes = stored.read_both(in_place)?;
            stored.view(stored.rows, &bytes)?;
            stored.mapped = Some(bytes);
        }
        Ok(stored)
    }

    pub(in crate::vector) fn spec(&self) -> &VectorSpec {
        &self.spec
    }

    pub(in crate::vector) fn len(&self) -> u32 {
        self.rows
    }

    /// All rows. Reads them at the first call.
    ///
    /// # Errors
    /// `Corrupt` if a section is damaged or has the wrong length; what the blob returns.
    pub(in crate::vector) fn all(&self) -> Result<VectorRows<'_>> {
        let whole = once(&self.whole, || {
            let bytes = self.read_both(|section, _| section.read_all(self.residence))?;
            self.view(self.rows, &bytes)?;
            Ok(bytes)
        })?;
        self.view(self.rows, whole)
    }

    /// All rows in place, for a search: those of a mapped file are verified by the guards before they are read.
    ///
    /// # Errors
    /// As [`StoredRows::all`].
    pub(in crate::vector) fn guarded(&self) -> Result<(VectorRows<'_>, [Option<Guard<'_>>; 2])> {
        let Some(bytes) = &self.mapped else { return Ok((self.all()?, [None, None])) };
        let codec = OriginalCodec::new(&self.spec);
        let norms = self.inverse_norms.as_ref();
        let norms = norms.and_then(|section| Guard::new(section, 0, codec.norm_bytes()));
        let guards = [Guard::new(&self.vectors, 0, codec.code_bytes()), norms];
        Ok((self.view(self.rows, bytes)?, guards))
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    ///
    /// # Errors
    /// As [`StoredRows::all`].
    pub(in crate::vector) fn decode(&self, row: RowId, out: &mut [f32]) -> Result<()> {
        self.with_row(row, |rows, row| rows.decode(row, out))
    }

    /// The exact distance of a row, in the bits of any exact search.
    ///
    /// # Errors
    /// As [`StoredRows::all`].
    pub(in crate::vector) fn distance(
        &self,
        row: RowId,
        query: &[f32],
        kernel: Kernel,
    ) -> Result<f32> {
        let mut distance = [0.0];
        self.with_row(row, |rows, row| {
            RowScorer::new(rows, kernel, query).score_many(&[row], &mut distance);
        })?;
        Ok(distance[0])
    }

    /// Calls `with` with rows among which is this one, and its number among them. Reads one row if not all were read.
    fn with_row(&self, row: RowId, with: impl FnOnce(VectorRows<'_>, RowId)) -> Result<()> {
        if let Some(whole) = self.whole.get() {
            with(self.view(self.rows, whole)?, row);
            return Ok(());
        }
        let bytes = self.read_both(|section, row_len| {
            let start = row.index() as u64 * row_len as u64;
            section.read(start..start + row_len as u64)
        })?;
        with(self.view(1, &bytes)?, RowId(0));
        Ok(())
    }

    fn view<'a>(&self, rows: u32, [vectors, norms]: &'a [Bytes; 2]) -> Result<VectorRows<'a>> {
        let rows = VectorRows::new(&self.spec, rows, vectors, norms);
        rows.map_err(|error| error.context(&self.file))
    }

    /// Reads from the vectors and from the inverse norms, where there are any; `read` gets the bytes of a row.
    fn read_both(&self, read: impl Fn(&Section, usize) -> Result<Bytes>) -> Result<[Bytes; 2]> {
        let codec = OriginalCodec::new(&self.spec);
        let norms = match &self.inverse_norms {
            Some(section) => read(section, codec.norm_bytes()),
            None => Ok(AlignedBuffer::default().into()),
        };
        let both = all([read(&self.vectors, codec.code_bytes()), norms])?;
        Ok(both.try_into().expect("two reads give two pieces of bytes"))
    }
}
