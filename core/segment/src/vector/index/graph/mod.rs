//! The proximity graph index (`Graph`): a section of adjacency lists, opened with every byte checked, then only read.
//! Opened, built and searched by `VectorField`.
//!
//! Each row has up to `degree` neighbours; a search walks from the entry rows towards the query
//! (`search`). The builder (`build`) makes the same bytes for the same rows, parameters and seed,
//! whatever the number of threads and the instruction set.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | version, 1 |
//! | 4 | 4 | rows |
//! | 8 | 4 | degree: places for neighbours a row, a multiple of 16 |
//! | 12 | 4 | number of entry rows; 0 only without rows |
//! | 16 | 48 | zeros |
//! | 64 | 4 × entries | entry rows, ascending; zeros to the next multiple of 64 |
//! | … | 4 × degree × rows | neighbours by row, then `u32::MAX` in unused places |
//!
//! Equal rows are one node with many rows; how their lists say so is in `duplicates`.
//!
//! A graph says nothing about distances, metrics or deleted rows: those come with the search.

mod adjacency;
mod build;
mod connect;
mod duplicates;
mod entries;
mod inherit;
mod links;
mod prune;
mod search;
#[cfg(test)]
mod space_tests;
#[cfg(test)]
mod tests;

pub use build::{GraphBuilder, GraphParams, Progress, SLACK_LINKS};
pub use inherit::BaseGraph;
pub use search::{Scratch, SearchBudget};

use std::ops::Range;

use crate::error::{Error, ErrorKind, Result};
use crate::storage::{AlignedBuffer, Bytes};
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};
use crate::vector::index::graph::duplicates::Duplicates;

const VERSION: u32 = 1;

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
        let header = bytes.first_chunk::<HEADER_BYTES>().ok_or_else(|| {
            corrupt(format!("expected a header of {HEADER_BYTES} bytes, found {}", bytes.len()))
        })?;
        let field = |index: usize| u32::from_le_bytes(header.as_chunks().0[index]);
        let [version, rows_found, degree, entry_count] = [0, 1, 2, 3].map(field);
        if version != VERSION {
            let message = format!("graph: expected version {VERSION}, found {version}");
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
        if entry_count > rows || (entry_count == 0) != (rows == 0) {
            return Err(corrupt(format!("{rows} rows cannot have {entry_count} entries")));
        }
        let entries = HEADER_BYTES..HEADER_BYTES + 4 * entry_count as usize;
        let start = entries.end.next_multiple_of(64);
        let len = (rows as u64) * u64::from(degree) * 4;
        if bytes.len() as u64 != start as u64 + len {
            let (expected, found) = (start as u64 + len, bytes.len());
            return Err(corrupt(format!("expected {expected} bytes, found {found}")));
        }
        let neighbours = start..bytes.len();
        let (degree, duplicates) = (degree as usize, Duplicates::default());
        let mut graph = Graph { bytes, degree, entries, neighbours, duplicates };
        graph.check_rows(rows)?;
        graph.duplicates = Duplicates::of_lists(graph.adjacency());
        Ok(graph)
    }

    fn check_rows(&self, rows: u32) -> Result<()> {
        if self.bytes.as_ptr().align_offset(align_of::<u32>()) != 0 {
            return Err(corrupt("expected an address that is a multiple of 4".to_owned()));
        }
        if let Some(entry) = self.entries().iter().find(|&&entry| entry >= rows) {
            return Err(corrupt(format!("entry row {entry} of {rows} rows")));
        }
        for (row, places) in self.adjacency().places.chunks_exact(self.degree).enumerate() {
            let used = places.iter().take_while(|&&place| place < rows).count();
            if let Some(place) = places[used..].iter().find(|&&place| place != NO_ROW) {
                return Err(corrupt(format!("row {row}: neighbour {place} of {rows} rows")));
            }
        }
        Ok(())
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

/// Lists of neighbours fill whole cache lines.
fn is_degree(degree: u32) -> bool {
    (16..=DEGREE_MAX).contains(&degree) && degree.is_multiple_of(16)
}

fn corrupt(message: String) -> Error {
    Error::new(ErrorKind::Corrupt, format!("graph: {message}"))
}

/// The bytes of a graph section. `places` has `stride >= degree` places a row.
fn write(entries: &[u32], adjacency: Adjacency<'_>, degree: usize) -> AlignedBuffer {
    let rows = adjacency.rows();
    let start = (HEADER_BYTES + 4 * entries.len()).next_multiple_of(64);
    let mut buffer = AlignedBuffer::zeroed(start + 4 * degree * rows);
    let words: &mut [u32] = bytemuck::cast_slice_mut(buffer.as_mut_slice());
    words[..4].copy_from_slice(&[VERSION, rows as u32, degree as u32, entries.len() as u32]);
    words[HEADER_BYTES / 4..][..entries.len()].copy_from_slice(entries);
    let rows_out = words[start / 4..].chunks_exact_mut(degree);
    for (out, places) in rows_out.zip(adjacency.places.chunks_exact(adjacency.stride)) {
        out.copy_from_slice(&places[..degree]);
    }
    buffer
}
