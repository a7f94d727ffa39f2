//! `StoredLists`: the inverted lists of a field in a file; the table and each list are read and checked when they are
//! used. Opened by `VectorField`; used by `search::lists`.

use std::sync::{Arc, OnceLock};

use crate::error::Result;
use crate::format::{
    Residence, Section, SectionKey, SectionKind, Sections, Verified, check_bytes, once,
};
use crate::schema::VectorSpec;

use super::{InvertedList, ListTable};

/// Both sections of lists of a field.
#[derive(Debug)]
pub struct StoredLists {
    file: String,
    spec: VectorSpec,
    segment_rows: u32,
    table: Arc<Section>,
    lists: Arc<Section>,
    /// The table, and which lists were checked against it.
    opened: OnceLock<(ListTable, Verified)>,
}

impl StoredLists {
    /// The lists of the field at position `field` of the schema, if it has any. Reads nothing.
    pub(in crate::vector) fn find(
        sections: &Sections<'_>,
        field: u16,
        spec: &VectorSpec,
    ) -> Option<StoredLists> {
        let find = |kind| sections.find(SectionKey::of_field(kind, field)).cloned();
        Some(StoredLists {
            file: sections.name.to_owned(),
            spec: spec.clone(),
            segment_rows: sections.rows,
            table: find(SectionKind::CellTable)?,
            lists: find(SectionKind::Cells)?,
            opened: OnceLock::new(),
        })
    }

    /// The list table. O(lists × dim) at the first call.
    ///
    /// # Errors
    /// `Corrupt` if it contradicts itself or the segment; what the blob returns.
    pub fn table(&self) -> Result<&ListTable> {
        Ok(&self.opened()?.0)
    }

    fn opened(&self) -> Result<&(ListTable, Verified)> {
        once(&self.opened, || {
            let bytes = self.table.read_all(Residence::InPlace)?;
            let len = self.lists.entry().len;
            let table = ListTable::open(&self.file, &bytes, &self.spec, self.segment_rows, len)?;
            let verified = Verified::new(table.places().len());
            Ok((table, verified))
        })
    }

    /// Where the section of lists begins in the file.
    pub fn start(&self) -> u64 {
        self.lists.entry().offset
    }

    /// A list, checked against its checksum. O(rows of it).
    ///
    /// # Errors
    /// `Corrupt` if its bytes are damaged; what the blob returns.
    ///
    /// # Panics
    /// If there is no such list.
    pub fn list(&self, index: usize) -> Result<InvertedList> {
        let (table, verified) = self.opened()?;
        let place = &table.places()[index];
        let changes = self.lists.changes();
        let bytes = self.lists.read_unverified(place.range.clone())?;
        if !verified.has(index, changes) {
            let start = self.start() + place.range.start;
            check_bytes(&self.file, SectionKind::Cells, &bytes, start, place.crc)?;
            verified.add(index);
        }
        InvertedList::open(&self.file, &bytes, place, &self.spec, self.segment_rows)
    }
}
