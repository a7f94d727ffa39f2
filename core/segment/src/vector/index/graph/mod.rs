//! The proximity graph index (`Graph`): a section of adjacency lists, opened with every byte checked, or of a mapped
//! file with its front only; then it is only read. Opened, built and searched by `VectorField`.
//!
//! Each row has up to `degree` neighbours; a search walks from the entry rows towards the query
//! (`search`). The builder (`build`) makes the same bytes for the same rows, parameters and seed,
//! whatever the number of threads and the instruction set.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | version, 2 |
//! | 4 | 4 | rows |
//! | 8 | 4 | degree: places for neighbours a row, a multiple of 16 |
//! | 12 | 4 | number of entry rows; 0 only without rows |
//! | 16 | 4 | number of duplicates |
//! | 20 | 44 | zeros |
//! | 64 | 4 × entries | entry rows, ascending |
//! | … | 8 × duplicates | representative and duplicate, ascending; zeros to the next multiple of 64 |
//! | … | 4 × degree × rows | neighbours by row, then `u32::MAX` in unused places |
//!
//! Version 1 has no table of duplicates: their lists mark them. Equal rows are one node with many rows, as
//! `duplicates` says.
//!
//! A graph says nothing about distances, metrics or deleted rows: those come with the search.

mod adjacency;
mod build;
mod connect;
mod duplicates;
mod entries;
mod filtered;
mod inherit;
mod links;
mod nearest;
mod prune;
mod search;
#[cfg(test)]
mod space_tests;
#[cfg(test)]
mod tests;
mod visited;
mod walk;

pub use build::{GraphBuilder, GraphParams, Progress, SLACK_LINKS};
pub use inherit::BaseGraph;
pub use search::{Scratch, SearchBudget};

use std::ops::Range;
use std::sync::Arc;

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Guard, Residence, Section};
use crate::ids::RowId;
use crate::rowset::RowSet;
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};
use crate::vector::index::graph::duplicates::Duplicates;

const VERSION: u32 = 2;

const HEADER_BYTES: usize = 64;

/// Most rows of a graph: the top bit of a row number is a mark during a search.
pub const ROWS_MAX: u32 = 1 << 31;

/// `ef` of a search that names none: recall@10 above 0.99 on the three data sets of `bench/`.
pub const EF_DEFAULT: usize = 96;

/// Most neighbours of a row.
pub const DEGREE_MAX: u32 = 256;

/// An opened graph. Cloning is O(1).
#[derive(Debug, Clone)]
pub struct Graph {
    bytes: Bytes,
    /// Of a mapped file: lists are verified when they are first read.
    section: Option<Arc<Section>>,
    degree: usize,
    entries: Range<usize>,
    neighbours: Range<usize>,
    duplicates: Duplicates,
}

impl Graph {
    /// Opens a graph section over `rows` rows. Reads every byte: O(rows × degree).
    ///
    /// # Errors
    /// `Version` for a newer layout; `Corrupt` if the section is not a graph over `rows` rows.
    pub fn open(bytes: Bytes, rows: u32) -> Result<Graph> {
        let front = Header::read(&bytes, bytes.len() as u64, rows)?;
        let mut graph = Graph::with_front(bytes, &front)?;
        graph.check_lists()?;
        graph.duplicates = match front.duplicates {
            Some(table) => duplicates_of(&graph.bytes[table], rows)?,
            None => Duplicates::of_lists(graph.adjacency()),
        };
        Ok(graph)
    }

    /// The graph over `rows` rows that a builder has finished.
    pub(in crate::vector) fn built(bytes: AlignedBuffer, rows: u32) -> Graph {
        Self::open(bytes.into(), rows).expect("a builder makes whole graphs")
    }

    /// Opens a graph section of a mapped file. Reads its front: O(entries + duplicates); of version 1 every byte.
    ///
    /// # Errors
    /// As [`Graph::open`]; what the blob returns.
    pub(in crate::vector) fn open_mapped(section: &Arc<Section>, rows: u32) -> Result<Graph> {
        let len = section.entry().len;
        let header = section.read(0..len.min(HEADER_BYTES as u64))?;
        let front = Header::read(&header, len, rows)?;
        let Some(table) = front.duplicates.clone() else {
            return Self::open(section.read_all(Residence::InPlace)?, rows);
        };
        let read = section.read(0..table.end as u64)?;
        let mut graph = Graph::with_front(section.read_unverified(0..len)?, &front)?;
        graph.duplicates = duplicates_of(&read[table], rows)?;
        graph.section = Some(Arc::clone(section));
        Ok(graph)
    }

    fn with_front(bytes: Bytes, front: &Header) -> Result<Graph> {
        if bytes.as_ptr().align_offset(align_of::<u32>()) != 0 {
            return Err(corrupt("expected an address that is a multiple of 4".to_owned()));
        }
        let (entries, neighbours) = (front.entries.clone(), front.neighbours..bytes.len());
        let (degree, duplicates) = (front.degree, Duplicates::default());
        let graph = Graph { bytes, section: None, degree, entries, neighbours, duplicates };
        let rows = graph.adjacency().rows();
        match graph.entries().iter().find(|&&entry| entry as usize >= rows) {
            Some(entry) => Err(corrupt(format!("entry row {entry} of {rows} rows"))),
            None => Ok(graph),
        }
    }

    /// Verifies every byte, for a caller that needs the whole graph.
    ///
    /// # Errors
    /// As [`Graph::open`].
    pub fn verify(&self) -> Result<()> {
        match &self.section {
            Some(section) => section.verify(&|| true).and_then(|()| self.check_lists()),
            None => Ok(()),
        }
    }

    /// True once a block of it was found damaged.
    pub(in crate::vector) fn is_damaged(&self) -> bool {
        self.section.as_ref().is_some_and(|section| section.is_damaged())
    }

    /// The neighbours of a row.
    pub(in crate::vector) fn neighbours(&self, row: RowId) -> impl Iterator<Item = RowId> + '_ {
        self.adjacency().neighbours(row)
    }

    /// The bytes of the section.
    pub(in crate::vector) fn into_bytes(self) -> Bytes {
        self.bytes
    }

    fn check_lists(&self) -> Result<()> {
        let adjacency = self.adjacency();
        let rows = adjacency.rows();
        for (row, places) in adjacency.places.chunks_exact(self.degree).enumerate() {
            let used = places.iter().take_while(|&&place| (place as usize) < rows).count();
            if let Some(place) = places[used..].iter().find(|&&place| place != NO_ROW) {
                return Err(corrupt(format!("row {row}: neighbour {place} of {rows} rows")));
            }
        }
        Ok(())
    }

    /// What a search verifies lists with, unless all of them were verified.
    fn guard(&self) -> Option<Guard<'_>> {
        let section = self.section.as_deref()?;
        Guard::new(section, self.neighbours.start, size_of::<u32>() * self.degree)
    }

    /// Rows a search starts from.
    fn entries(&self) -> &[u32] {
        bytemuck::cast_slice(&self.bytes[self.entries.clone()])
    }

    fn adjacency(&self) -> Adjacency<'_> {
        let places = bytemuck::cast_slice(&self.bytes[self.neighbours.clone()]);
        Adjacency { places, stride: self.degree }
    }
}

/// The header of a graph section: what is where in it.
struct Header {
    degree: usize,
    entries: Range<usize>,
    /// None in version 1.
    duplicates: Option<Range<usize>>,
    neighbours: usize,
}

impl Header {
    /// Reads the header of a section of `len` bytes.
    fn read(bytes: &[u8], len: u64, rows: u32) -> Result<Header> {
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(|| {
            corrupt(format!("expected a header of {HEADER_BYTES} bytes, found {}", bytes.len()))
        })?;
        let field = |index: usize| u32::from_le_bytes(header.as_chunks().0[index]);
        let [version, rows_found, degree, entry_count, duplicate_count] =
            [0, 1, 2, 3, 4].map(field);
        if !(1..=VERSION).contains(&version) {
            let message = format!("graph: expected version 1 to {VERSION}, found {version}");
            return Err(Error::new(ErrorKind::Version, message));
        }
        if rows_found != rows || rows > ROWS_MAX {
            return Err(corrupt(format!("expected {rows} rows, found {rows_found}")));
        }
        if !is_degree(degree) {
            return Err(corrupt(format!(
                "expected a degree of 16 to {DEGREE_MAX}, found {degree}"
            )));
        }
        if entry_count > rows || (entry_count == 0) != (rows == 0) || duplicate_count > rows {
            let found = format!("{entry_count} entries and {duplicate_count} duplicates");
            return Err(corrupt(format!("{rows} rows cannot have {found}")));
        }
        let entries = HEADER_BYTES..HEADER_BYTES + 4 * entry_count as usize;
        let table = entries.end..entries.end + 8 * duplicate_count as usize;
        let neighbours = table.end.next_multiple_of(64);
        let expected = neighbours as u64 + u64::from(rows) * u64::from(degree) * 4;
        if len != expected {
            return Err(corrupt(format!("expected {expected} bytes, found {len}")));
        }
        let duplicates = (version > 1).then_some(table);
        Ok(Header { degree: degree as usize, entries, duplicates, neighbours })
    }
}

/// Reads the table of duplicates among `rows` rows.
fn duplicates_of(table: &[u8], rows: u32) -> Result<Duplicates> {
    let row = |bytes: &[u8; 4]| RowId(u32::from_le_bytes(*bytes));
    let rows_of = |pair: &[u8; 8]| (row(&pair.as_chunks().0[0]), row(&pair.as_chunks().0[1]));
    let pairs: Vec<_> = table.as_chunks().0.iter().map(rows_of).collect();
    let mut duplicates = RowSet::empty(rows);
    let is_new = |&(representative, duplicate): &(RowId, RowId)| {
        representative.0 < rows && duplicate.0 < rows && duplicates.insert(duplicate)
    };
    if !pairs.iter().all(is_new) || pairs.iter().any(|pair| duplicates.contains(pair.0)) {
        return Err(corrupt(format!("duplicates beyond {rows} rows, or listed twice")));
    }
    Ok(Duplicates::new(rows, pairs))
}

/// Lists of neighbours fill whole cache lines.
fn is_degree(degree: u32) -> bool {
    (16..=DEGREE_MAX).contains(&degree) && degree.is_multiple_of(16)
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, format!("graph: {message}"))
}

/// The bytes of a graph section. `places` has `stride >= degree` places a row; `pairs` are representatives and
/// duplicates, ascending.
fn write(
    entries: &[u32],
    pairs: &[(RowId, RowId)],
    adjacency: Adjacency<'_>,
    degree: usize,
) -> AlignedBuffer {
    let rows = adjacency.rows();
    let table = HEADER_BYTES / 4 + entries.len();
    let start = (4 * table + 8 * pairs.len()).next_multiple_of(64);
    let mut buffer = AlignedBuffer::zeroed(start + 4 * degree * rows);
    let words: &mut [u32] = bytemuck::cast_slice_mut(buffer.as_mut_slice());
    let counts = [rows, degree, entries.len(), pairs.len()].map(|count| count as u32);
    words[0] = VERSION;
    words[1..5].copy_from_slice(&counts);
    words[HEADER_BYTES / 4..table].copy_from_slice(entries);
    for (out, pair) in words[table..].chunks_exact_mut(2).zip(pairs) {
        out.copy_from_slice(&[pair.0.0, pair.1.0]);
    }
    let rows_out = words[start / 4..].chunks_exact_mut(degree);
    for (out, places) in rows_out.zip(adjacency.places.chunks_exact(adjacency.stride)) {
        out.copy_from_slice(&places[..degree]);
    }
    buffer
}
