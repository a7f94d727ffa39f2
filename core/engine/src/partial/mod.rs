//! An export read in part: answers from the bytes that are here, over any [`Blob`] of which some are missing.
//!
//! Every call is pure and never waits. What it lacks it asks the blob for, all of it that is known at that point,
//! and fails with `NotResident`; the owner of a `RangeBlob` fetches what is wanted and makes the same call again.
//! A first answer needs the front with the delete lists, the cell tables, and a few runs of cells: three rounds.
//!
//! Every byte is checked against a checksum before it counts: blocks of sections, each cell by its own. Bytes that are
//! not those of the export are `Corrupt` with the detail `offset`, never a wrong answer. Not here: fetching, and answers
//! of a whole export (`open_export`), which need no cells and are exact or of the graph.

mod fields;
mod part;
mod reads;
mod rows;
mod search;
#[cfg(test)]
mod tests;

use std::ops::Range;
use std::sync::Arc;

use nearfield_segment::filter::Filter;
use nearfield_segment::format::{BLOCK_BYTES, SectionKind};
use nearfield_segment::storage::Blob;
use nearfield_segment::{Error, ErrorKind, Kernel, Lsn, Result, Schema};

pub use search::{
    CELL_BYTES_DEFAULT, PartialAnswer, PartialHit, PartialSearchParams, REQUESTS_DEFAULT,
};

use crate::export::front;
use crate::read::fields::KnownFields;
use part::Part;
use reads::all;

/// Bytes asked for first: they hold the whole front of an export of up to about a gigabyte.
pub const FIRST_BYTES: u64 = 64 * 1024;

/// An export of which some bytes are here.
#[derive(Debug)]
pub struct PartialExport {
    kernel: Kernel,
    front_len: u64,
    file_len: u64,
    collections: Vec<PartialCollection>,
}

/// A collection in it.
#[derive(Debug)]
pub struct PartialCollection {
    name: String,
    lsn: Lsn,
    schema: Schema,
    /// The metadata fields known; `None` in exports that do not record them.
    fields: Option<KnownFields>,
    parts: Vec<Part>,
}

/// What may be downloaded beside the searches, in the order in which it helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The front and the delete lists: what opening needs.
    Header,
    /// The cell tables: searches then need one round for cells.
    CellTables,
    /// The cells: every search is answered without a request.
    Codes,
    /// Rows, ids and metadata: exact distances, filters and metadata without a request.
    Rows,
    /// The whole file.
    All,
}

impl PartialExport {
    /// Opens an export called `name` in errors. Reads the front and the delete lists. `kernel` computes exact distances.
    ///
    /// # Errors
    /// `NotResident`; `Corrupt` or `Version`.
    pub fn open(name: &str, blob: Arc<dyn Blob>, kernel: Kernel) -> Result<PartialExport> {
        blob.read(0..FIRST_BYTES.min(blob.len()))?;
        let (contents, front_len) = front::read(name, &blob)?;
        let collections = contents.into_iter().map(|collection| {
            let fronts = collection.segments.into_iter();
            let parts =
                all(fronts.map(|front| Part::open(name, &blob, front, &collection.schema)))?;
            Ok(PartialCollection {
                name: collection.name,
                lsn: collection.lsn,
                schema: collection.schema,
                fields: collection.fields.as_ref().map(KnownFields::of_entry),
                parts,
            })
        });
        let collections = all(collections.collect::<Vec<_>>())?;
        Ok(PartialExport { kernel, front_len, file_len: blob.len(), collections })
    }

    /// The collections, in the order of the file.
    pub fn collections(&self) -> &[PartialCollection] {
        &self.collections
    }

    /// A collection by name.
    ///
    /// # Errors
    /// `NotFound`, listing the names there are.
    pub fn collection(&self, name: &str) -> Result<&PartialCollection> {
        self.collections.iter().find(|collection| collection.name == name).ok_or_else(|| {
            let names: Vec<&str> = self.collections.iter().map(PartialCollection::name).collect();
            let message = format!("no collection {name:?}; there are {names:?}");
            Error::new(ErrorKind::NotFound, message).with("near", names)
        })
    }

    /// Ranges of the file that a stage consists of, ascending. Bytes of earlier stages are not in it, except in `All`.
    pub fn stage_ranges(&self, stage: Stage) -> Vec<Range<u64>> {
        let from_the_start = match stage {
            Stage::Header => Some(0..self.front_len),
            Stage::All => Some(0..self.file_len),
            Stage::CellTables | Stage::Codes | Stage::Rows => None,
        };
        let mut ranges: Vec<Range<u64>> = from_the_start.into_iter().collect();
        for part in self.collections.iter().flat_map(|collection| &collection.parts) {
            for entry in part.entries().filter(|entry| stage_of(entry.kind) == Some(stage)) {
                ranges.push(entry.offset..entry.offset + entry.len);
            }
        }
        ranges.sort_by_key(|range| range.start);
        ranges.retain(|range| !range.is_empty());
        ranges
    }
}

impl PartialExport {
    /// Blocks of the whole file, given as `file`, whose bytes do not have their checksum.
    pub fn damaged(&self, file: &[u8]) -> Vec<Range<u64>> {
        let parts = self.collections.iter().flat_map(|collection| &collection.parts);
        let mut damaged = Vec::new();
        for entry in parts.flat_map(Part::entries) {
            for (block, &crc) in (0..).zip(&entry.block_crcs) {
                let start = entry.offset + block * BLOCK_BYTES;
                let end = (start + BLOCK_BYTES).min(entry.offset + entry.len);
                let bytes = file.get(start as usize..end as usize);
                if bytes.is_none_or(|bytes| crc32c::crc32c(bytes) != crc) {
                    damaged.push(start..end);
                }
            }
        }
        damaged
    }
}

/// The stage that reads sections of a kind; some are read by whole exports only.
fn stage_of(kind: SectionKind) -> Option<Stage> {
    match kind {
        SectionKind::Deletes => Some(Stage::Header),
        SectionKind::CellTable => Some(Stage::CellTables),
        SectionKind::Cells => Some(Stage::Codes),
        SectionKind::Ids
        | SectionKind::Columns
        | SectionKind::IdBloom
        | SectionKind::InverseNorms
        | SectionKind::Vectors
        | SectionKind::Metadata => Some(Stage::Rows),
        SectionKind::Schema | SectionKind::Stats | SectionKind::Graph => None,
    }
}

impl PartialCollection {
    /// Its name.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The moment it is of.
    pub fn lsn(&self) -> Lsn {
        self.lsn
    }

    /// Its vector fields.
    pub fn schema(&self) -> &Schema {
        &self.schema
    }

    /// Refuses a filter on a field that is not known. Reads the columns of every segment if the export has no record.
    pub(in crate::partial) fn check_fields(&self, filter: &Filter) -> Result<()> {
        if let Some(known) = &self.fields {
            return known.check(filter);
        }
        let columns = all(self.parts.iter().map(Part::columns))?;
        KnownFields::of_payloads(self.lsn, columns.into_iter()).check(filter)
    }

    /// Rows in its segments, dead ones included.
    pub fn rows(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.rows())).sum()
    }

    /// Live points.
    pub fn live(&self) -> u64 {
        self.parts.iter().map(|part| u64::from(part.live().count())).sum()
    }

    /// True if every vector field of every segment with live rows has cells: a search then reads little.
    pub fn has_cells(&self) -> bool {
        let fields = self.schema.vectors.len() as u16;
        let mut parts = self.parts.iter().filter(|part| !part.live().is_empty());
        parts.all(|part| (0..fields).all(|field| part.has_cells(field)))
    }
}
