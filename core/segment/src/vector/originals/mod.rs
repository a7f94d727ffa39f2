//! The rows of a vector field as they are stored, and everything that is computed from them exactly. Entries:
//! `StoredRows` (opened by `VectorField`), `VectorRows`, `RowScorer` and `Geometry`.
//!
//! A field has two sections. *Vectors*: for each row `padded(dim)` elements (f32, or IEEE halves),
//! zeros after the first `dim`. *Inverse norms*: for cosine one f32 a row, `1/‖x‖` or 0 for a vector
//! shorter than the smallest normal f32; for other metrics nothing.
//!
//! Only `matrix` knows how elements lie; the rest of the crate sees rows as f32, or scores them.

mod codec;
mod equal;
mod geometry;
mod matrix;
mod rows;
mod scorer;
mod stored;
#[cfg(test)]
mod tests;

pub use codec::OriginalCodec;
pub use geometry::{Geometry, Lift};
pub use rows::VectorRows;
pub use scorer::RowScorer;

pub(in crate::vector) use matrix::cast;
pub(in crate::vector) use stored::StoredRows;
