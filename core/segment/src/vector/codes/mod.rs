//! Rows encoded a second time, in fewer bytes than they are stored in: `Approximations` for the exact scan of
//! `VectorField`, `ListCodec` for inverted lists, `FourBitCodec` for walks of the graph.

mod approximation;
mod four_bit;
mod int8;
mod listed;
mod rotation;
mod stored;
#[cfg(test)]
mod tests;

pub use listed::{ListCodec, ListQuery};

pub(super) use approximation::{Approximations, Bounds};
pub(super) use four_bit::{FourBitRows, FourBitScorer, code_bytes};
pub(super) use stored::{CodesBuilder, StoredCodes};
