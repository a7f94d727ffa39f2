//! One segment of which some bytes are here: its sections, and what was read of them whole.
//!
//! What is opened once is kept: parsed tables are copies of checked bytes, so they stay right whatever the blob
//! forgets.

use std::sync::{Arc, OnceLock};

use nearfield_segment::cancel::always;
use nearfield_segment::filter::{Filter, eval_within};
use nearfield_segment::format::{Front, Residence, Section, SectionEntry, SectionKind};
use nearfield_segment::payload::Payload;
use nearfield_segment::segment::IdTable;
use nearfield_segment::storage::{Blob, Bytes};
use nearfield_segment::{Error, ErrorKind, Result, RowSet, Schema};

use super::fields::PartField;
use super::reads::{all, once};
use crate::export::read_deletes;

/// A segment in part.
#[derive(Debug)]
pub(super) struct Part {
    pub(super) name: String,
    front: Front,
    sections: Vec<Section>,
    live: RowSet,
    fields: Vec<PartField>,
    ids: OnceLock<IdTable>,
    columns: OnceLock<Payload>,
    payload: OnceLock<Payload>,
}

/// The number of rows makes memory, so the file must be long enough to have so many: eight bytes of each id.
fn check_rows(name: &str, front: &Front) -> Result<()> {
    let ids = front.sections.iter().find(|entry| entry.kind == SectionKind::Ids);
    let bytes = ids.map_or(0, |entry| entry.len);
    if u64::from(front.rows) * 8 <= bytes {
        return Ok(());
    }
    let found = format!("{bytes} bytes of ids for {} rows", front.rows);
    Err(Error::corrupt(name, "section table", found))
}

impl Part {
    /// Reads the delete list.
    pub(super) fn open(
        name: &str,
        blob: &Arc<dyn Blob>,
        front: Front,
        schema: &Schema,
    ) -> Result<Part> {
        let section = |entry: &SectionEntry| Section::new(name, Arc::clone(blob), entry.clone());
        let sections: Vec<Section> = front.sections.iter().map(section).collect();
        check_rows(name, &front)?;
        let mut live = RowSet::full(front.rows);
        if let Some(deletes) = sections.iter().find(|s| s.entry().kind == SectionKind::Deletes) {
            let bytes = deletes.read_all(Residence::InPlace)?;
            let list = read_deletes(name, &bytes, &front)?;
            list.entries.iter().for_each(|&(row, _)| {
                live.remove(row);
            });
        }
        let field = |(ordinal, spec)| PartField::new(name, blob, &front, ordinal, spec);
        let fields = (0..).zip(schema.vectors.values()).map(field).collect();
        Ok(Part {
            name: name.to_owned(),
            front,
            sections,
            live,
            fields,
            ids: OnceLock::new(),
            columns: OnceLock::new(),
            payload: OnceLock::new(),
        })
    }

    pub(super) fn entries(&self) -> impl Iterator<Item = &SectionEntry> {
        self.front.sections.iter()
    }

    pub(super) fn rows(&self) -> u32 {
        self.front.rows
    }

    pub(super) fn live(&self) -> &RowSet {
        &self.live
    }

    pub(super) fn field(&self, ordinal: u16) -> &PartField {
        &self.fields[usize::from(ordinal)]
    }

    pub(super) fn has_cells(&self, field: u16) -> bool {
        self.field(field).has_cells()
    }

    pub(super) fn section(&self, kind: SectionKind) -> Result<&Section> {
        self.sections.iter().find(|section| section.entry().kind == kind).ok_or_else(|| {
            Error::corrupt(&self.name, "section table", format!("no section {kind:?}"))
        })
    }

    fn read_all(&self, kind: SectionKind) -> Result<Bytes> {
        self.section(kind)?.read_all(Residence::InPlace)
    }

    pub(super) fn ids(&self) -> Result<&IdTable> {
        let open = || IdTable::open(&self.name, self.read_all(SectionKind::Ids)?, self.rows());
        once(&self.ids, open)
    }

    /// The columns of the metadata, without the texts.
    pub(super) fn columns(&self) -> Result<&Payload> {
        let open = || Payload::open_columns(self.read_all(SectionKind::Columns)?, self.rows());
        once(&self.columns, open)
    }

    /// Columns and texts.
    fn payload(&self) -> Result<&Payload> {
        once(&self.payload, || {
            let kinds = [SectionKind::Columns, SectionKind::Metadata];
            let mut bytes = all(kinds.map(|kind| self.read_all(kind)))?.into_iter();
            let (Some(columns), Some(texts)) = (bytes.next(), bytes.next()) else {
                return Err(Error::corrupt(&self.name, "section Metadata", "not read"));
            };
            Payload::open(columns, texts, self.rows())
        })
    }

    /// The live rows that pass a filter. Reads the columns, and all texts if the filter needs one.
    pub(super) fn passing(&self, filter: &Filter) -> Result<RowSet> {
        match eval_within(filter, self.columns()?, &self.live, &always) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                eval_within(filter, self.payload()?, &self.live, &always)
            }
            found => found,
        }
    }
}
