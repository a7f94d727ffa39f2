//! The index for a reader of ranges: rows in *cells* of near rows, so that a search fetches a few stretches.
//!
//! Two sections of a vector field, in exports only, both derived. The *cell table* has the centroids and where
//! each cell is; it is read once. *Cells* have the rows as codes of one byte an element, with their ids: what a
//! search reads names its hits without another request. Cells whose centroids are near stand near in the file,
//! and [`choose`] picks those worth reading in few runs.
//!
//! Cell table:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | version of both sections, 1 |
//! | 4 | 4 | rows in all cells |
//! | 8 | 4 | dim |
//! | 12 | 4 | cells C |
//! | 16 | 48 | zero |
//! | 64 | 16 × C | by cell, in file order: rows, length in bytes, CRC32C (u32 each), scale of its centroid (f32) |
//! | … | dim × C | codes of the centroids, i8 |
//!
//! A cell of n rows, at a multiple of 64; the first is at 0, and zeros stand between two:
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
//! are sums of integers, so they are equal everywhere. They are near the exact ones, not equal: whoever needs
//! those reads the rows ([`crate::vector::originals`]). Not here: reading and waiting (`engine/partial`).

mod build;
mod cell;
mod choose;
mod means;
mod names;
mod order;
mod table;
#[cfg(test)]
mod tests;

pub use build::{CellSections, build};
pub use cell::Cell;
pub use choose::{Budget, Spot, choose};
pub use table::{CellPlace, CellTable};

/// Version written and read.
const VERSION: u32 = 1;
const HEADER_BYTES: usize = 64;
const RECORD_BYTES: usize = 16;
