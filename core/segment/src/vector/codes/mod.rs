//! Rows encoded a second time, in fewer bytes than they are stored in: `Approximations` for the exact scan of
//! `VectorField`, `ListCodec` for inverted lists.

mod approximation;
mod four_bit;
mod int8;
mod listed;
mod rotation;

pub use four_bit::{FourBitCodec, FourBitFactors, FourBitQuery, FourBitScorer};
pub use listed::{ListCodec, ListQuery};

pub(super) use approximation::{Approximations, Bounds};
