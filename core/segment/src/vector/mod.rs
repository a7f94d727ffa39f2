//! One vector field: its rows, their codes, and the indexes over them.
//!
//! `originals` holds the rows as they are stored, `codec` encodes them once more for faster scans, `index` finds
//! candidates among them. `field` puts the three together for one field of an open segment.

mod codec;
mod index;
mod originals;

pub use codec::{Approximations, CodedQuery};
pub use index::{Candidate, SearchStats, flat, graph, lists};
pub use originals::{
    EncodedRows, RowEncoder, RowScorer, Scorer, VectorRows, norm_bytes, row_bytes,
};
