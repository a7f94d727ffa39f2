//! Vectors in, bytes out; bytes in, answers out: immutable segments and the search over them.
//!
//! No clock, no ambient thread, no network, no log lines: storage, threads, randomness and the
//! instruction set arrive as arguments. Floors (a module imports only from floors below its own):
//!
//! | floor | modules |
//! |---|---|
//! | F0 | `error` `names` `reader` `cancel` `ids` `metric` `schema` `rng` `parallel` |
//! | F1 | `kernel` (arithmetic) · `storage` (bytes) · `format` (layout of bytes) |
//! | F2 | `rowset` · `payload` (metadata columns) · `allowed` |
//! | F3 | `filter` · `vector` (vector fields: rows, codes, indexes) |
//! | F4 | `stats` (pruning) · `segment` (one file) |
//! | F5 | `search` (plan, gather, merge, explain) |

#[cfg(target_endian = "big")]
compile_error!(
    "files are little-endian and mapped as they are; big-endian hosts are not supported"
);

mod allowed;
pub mod cancel;
mod error;
pub mod filter;
pub mod format;
mod ids;
mod kernel;
mod metric;
mod names;
mod parallel;
pub mod payload;
mod reader;
mod rng;
mod rowset;
mod schema;
pub mod search;
pub mod segment;
pub mod stats;
pub mod storage;
pub mod vector;

pub use allowed::Allowed;
pub use error::{Error, ErrorKind, Fault, Result, SHOWN_CHARS_MAX, shown, shown_list};
pub use ids::{
    FileId, Lsn, PointId, RowId, STRING_ID_BYTES_MAX, format_uuid, hash_bytes, mix64,
    parse_canonical_uuid,
};
pub use kernel::{InstructionSet, Kernel};
pub use metric::{Metric, ScoreKind};
pub use parallel::Pool;
pub use reader::ByteReader;
pub use rng::Rng;
pub use rowset::{DeadRows, RowSet};
pub use schema::{
    DEFAULT_FIELD, DIM_MAX, Encoding, SQUARED_NORM_MAX, SQUARED_NORM_MIN, Schema, VectorSpec,
    unknown_field,
};
