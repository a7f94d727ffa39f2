//! Inverted lists (IVF), the index for a reader of ranges: a search fetches a few stretches of the file.
//! `build` makes them for exports; `search::lists` reads them through [`StoredLists`].
//!
//! Rows that are near each other stand in one list. There are two sections of a vector field, in exports only, both
//! derived; the file format calls lists *cells*. The *list table* (`CellTable`) has the centroids and where each list
//! is; it is read once. The *lists* (`Cells`) have the rows as codes of one byte an element, with their ids: what a
//! search reads names its hits without another request. Lists whose centroids are near stand near in the file, and
//! [`choose`] picks those worth reading in few runs.
//!
//! List table:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | version of both sections, 1 |
//! | 4 | 4 | rows in all lists |
//! | 8 | 4 | dim |
//! | 12 | 4 | lists L |
//! | 16 | 48 | zero |
//! | 64 | 16 × L | by list, in file order: rows, length in bytes, CRC32C (u32 each), scale of its centroid (f32) |
//! | … | dim × L | codes of the centroids, i8 |
//!
//! A list of n rows, at a multiple of 64; the first is at 0, and zeros stand between two:
//!
//! | size | field |
//! |---|---|
//! | 4 × n | row numbers, ascending |
//! | 4 × n | scales, f32 |
//! | 4 × n | for l2 only: squared lengths, f32 |
//! | dim × n | codes, i8: element = code × scale |
//! | … | ids: u8 kind and value, as in a batch |
//!
//! Invariant: the bytes depend on the live rows alone, not on threads or the instruction set; distances of codes
//! are sums of integers, so they are equal everywhere. They are near the exact ones, not equal: a caller that needs
//! those reads the originals. Not here: which lists of which segments a query reads (`search`).

mod build;
mod choose;
mod ids;
mod list;
mod means;
mod order;
mod stored;
mod table;
#[cfg(test)]
mod tests;

pub use build::{ListSections, build};
pub use choose::{Budget, Spot, choose};
pub use list::InvertedList;
pub use stored::StoredLists;
pub use table::{ListPlace, ListTable};

/// Version written and read.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 16;
