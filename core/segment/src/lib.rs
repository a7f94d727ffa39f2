//! Immutable segment files of vectors, and the search over them. `SegmentBuilder` writes the bytes of a file,
//! `Segment::open` opens them, `search::prepare` plans and runs a search over several segments. Used by
//! `nearfield_engine`, which owns everything that changes, and by the server, `python` and `wasm`.
//!
//! ```
//! use std::sync::Arc;
//!
//! use nearfield_segment::cancel::never_cancelled;
//! use nearfield_segment::format::Residence;
//! use nearfield_segment::search::{SearchParams, Source, prepare};
//! use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
//! use nearfield_segment::storage::BytesBlob;
//! use nearfield_segment::vector::graph::{GraphParams, Scratch};
//! use nearfield_segment::{
//!     DEFAULT_FIELD, DeadRows, Encoding, FileId, Kernel, Metric, PointId, Pool, Schema,
//! };
//!
//! let schema = Schema::dense(2, Metric::L2, Encoding::F32)?;
//! let mut builder = SegmentBuilder::new(FileId(1), &schema, 2);
//! builder.push(PointId::U64(7), [&[0.0, 1.0][..]], Some(r#"{"grams": 18}"#))?;
//! builder.push(PointId::U64(8), [&[1.0, 0.0][..]], None)?;
//! let kernel = Kernel::detect();
//! let options = SegmentOptions { kernel, graph_rows_min: 2048, graph: GraphParams::default() };
//! let bytes = builder.index(&options, None).finish(&Pool::SERIAL)?; // the bytes of a segment file
//!
//! let blob = Arc::new(BytesBlob::new("example.seg", bytes));
//! let segment = Segment::open("example.seg", blob, Residence::InPlace)?;
//! let dead = DeadRows::new(segment.rows());
//! let source = Source { segment: &segment, dead: &dead, fields: &schema.fields, skipped: false };
//! let params = SearchParams { field: DEFAULT_FIELD, k: 1, ef: None, exact: false, filter: None };
//! let prepared = prepare([source], params, kernel, &never_cancelled)?;
//! let (hits, _stats) = prepared.search(&[0.9, 0.1], &mut Scratch::default(), &never_cancelled)?;
//! assert_eq!(hits[0].id, PointId::U64(8));
//! # Ok::<(), nearfield_segment::Error>(())
//! ```
//!
//! No clock, no ambient thread, no network, no log lines: storage, threads, randomness and the
//! instruction set arrive as arguments. Floors (a module imports only from floors below its own):
//!
//! | floor | modules |
//! |---|---|
//! | F0 | `error` `names` `reader` `cancel` `ids` `metric` `kinds` `schema` `rng` `parallel` |
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
mod kinds;
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
    FileId, IdHash, Lsn, PointId, RowId, STRING_ID_BYTES_MAX, format_uuid, hash_bytes, mix64,
    parse_canonical_uuid,
};
pub use kernel::{InstructionSet, Kernel};
pub use kinds::{FieldKind, FieldKinds};
pub use metric::{Metric, ScoreKind};
pub use parallel::Pool;
pub use reader::{ByteReader, read_json};
pub use rng::Rng;
pub use rowset::{DeadRows, RowSet};
pub use schema::{
    DEFAULT_FIELD, DIM_MAX, Encoding, SQUARED_NORM_MAX, SQUARED_NORM_MIN, Schema, VectorSpec,
    unknown_field,
};
