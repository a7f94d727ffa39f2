//! Codes: rows encoded a second time, in fewer bytes.

mod approximation;
mod int8;

pub use approximation::Approximations;
pub use int8::CodedQuery;

pub(super) use approximation::Bounds;
pub(super) use int8::encode;
