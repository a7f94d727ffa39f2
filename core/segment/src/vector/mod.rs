//! One vector field: its rows as they are stored, their codes, and the indexes over them. Entry:
//! `VectorField`, opened by `Segment` and searched by `search`; built by `SegmentBuilder`.
//!
//! | part | what it knows |
//! |---|---|
//! | `scorer` | distances, whatever rows are made of: [`Scorer`], [`Space`] |
//! | `codec` | how rows become bytes: [`Codec`], [`EncodedRows`] |
//! | `originals` | the stored values: their codec, exact distances, the geometry for graphs |
//! | `codes` | codecs of fewer bytes |
//! | `index` | how candidates are found, over any scorer: `flat`, `graph`; for readers of ranges `lists` |
//! | `rerank`, `fidelity` | codes against originals: in a search, when they are made |
//! | `field`, `build` | which of all that a field has, and in which sections |

mod build;
mod candidate;
mod codec;
mod codes;
mod fidelity;
mod field;
mod guarded;
mod index;
mod originals;
mod rerank;
mod scorer;

pub use codec::{Codec, EncodedRows};
pub use codes::{ListCodec, ListQuery};
pub use field::VectorField;
pub use index::{AccessPath, Candidate, SearchStats, flat, graph, lists};
pub use originals::{Geometry, Lift, OriginalCodec, RowScorer, VectorRows};
pub use scorer::{Scorer, Space};

pub(crate) use build::FieldBuilder;
pub(crate) use field::FieldSearch;
