//! The storage engine: everything that changes over time (log, manifests, memtable, merge tasks, recovery, snapshots).
//! Entry: `Database`, which returns a `Collection`; its `View` is what readers search. Used by the server, `python`
//! and `wasm`; segments and their search are in `nearfield_segment`.
//!
//! ```
//! use std::collections::BTreeMap;
//! use std::sync::Arc;
//!
//! use nearfield_engine::batch::{Batch, Draft};
//! use nearfield_engine::{Database, Mode, Options, SystemClock};
//! use nearfield_segment::cancel::never_cancelled;
//! use nearfield_segment::filter::Filter;
//! use nearfield_segment::search::SearchParams;
//! use nearfield_segment::storage::open_directory;
//! use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, PointId, Pool, Schema};
//!
//! # let directory = std::env::temp_dir().join(format!("nearfield-engine-{}", std::process::id()));
//! // A directory has one writer. The seed makes the names of new files: each opening needs a new one.
//! let open = |seed| {
//!     let storage = Arc::new(open_directory(&directory)?);
//!     let clock = Arc::new(SystemClock);
//!     Database::open(storage, Mode::Write, Options::default(), clock, seed, "example")
//! };
//!
//! let database = open(1)?;
//! let schema = Schema::dense(2, Metric::L2, Encoding::F32)?;
//! let birds = database.create("birds", &schema)?;
//! let draft = Draft {
//!     ids: Some(vec![PointId::U64(7), PointId::U64(8)]),
//!     rows: 2,
//!     vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), vec![0.0, 1.0, 1.0, 0.0].into())]),
//!     metadata: vec![Some(r#"{"grams": 18}"#.into()), Some(r#"{"grams": 300}"#.into())],
//!     ..Draft::default()
//! };
//! birds.apply(Batch::new(draft, &schema)?, &Pool::SERIAL)?; // durable when it returns
//! drop(birds);
//! database.close();
//!
//! let database = open(2)?; // as after a crash: recovery replays the log
//! let birds = database.collection("birds")?;
//! let view = birds.view();
//! let filter = Filter::from_json_text(r#"{"grams": {"lt": 100}}"#)?;
//! let params =
//!     SearchParams { field: DEFAULT_FIELD, k: 1, ef: None, exact: false, filter: Some(&filter) };
//! let prepared = view.prepare(params, birds.kernel())?;
//! let answers = view.search_many(&prepared, &[1.0, 0.0], &Pool::SERIAL, &never_cancelled)?;
//! let (hits, _stats) = &answers[0];
//! assert_eq!(hits[0].id, PointId::U64(7)); // 8 is nearer, and does not pass the filter
//! # database.close();
//! # std::fs::remove_dir_all(&directory).expect("the directory is there");
//! # Ok::<(), nearfield_engine::Error>(())
//! ```
//!
//! Synchronous and deterministic: storage, clock and randomness arrive as arguments, background work is
//! planned, stepped and finished by the host, which owns the threads. Floors (a module imports only from floors
//! below its own; inside a room, files import each other in no circle):
//!
//! | floor | rooms |
//! |---|---|
//! | F6 | `clock` · `options` · `log` (the write-ahead log) · `manifest` (what exists) |
//! | F7 | `files` (where they are, what is kept and removed) · `read` (an instant of a collection) |
//! | F8 | `write` (batch, memtable, keys, tasks, writer, recovery) · `export` (one file for anywhere) |
//! | F9 | `database` (collections by name, snapshots, restore, replay, verification) |

mod clock;
mod database;
mod export;
mod files;
pub mod log;
pub mod manifest;
mod options;
mod read;
mod write;

#[cfg(not(target_arch = "wasm32"))]
pub use clock::SystemClock;
pub use clock::{Clock, ManualClock};
pub use database::{
    Begun, Carry, Collection, Database, Finding, Mode, OpeningReport, Replayed, Restored, Snapshot,
    Vacuumed, VerifyReport, Watch, check_place, restore, verify, verify_export, verify_present,
};
pub use export::{
    EXPORT_VERSION, Export, ExportReport, FIRST_BYTES, Stage, export_memory_bytes, stream_export,
    write_export,
};
pub use files::CollectionPath;
pub use files::leftovers::SNAPSHOTS;
pub use files::quarantine::QuarantineStats;
pub use manifest::DECLARED_FIELDS_MAX;
pub use nearfield_segment::{Error, ErrorKind, Fault, Result};
pub use options::Options;
pub use read::fields::{FIELD_NAMES_BYTES_MAX, FIELD_NAMES_MAX, KnownFields};
pub use read::points::{Columns, Place, Points, Scan};
pub use read::recall;
pub use read::view::{LiveSegment, Tier, View};
pub use write::batch::{Applied, RowOutcome};
pub use write::keys::KeyCounts;
pub use write::recovery::{Follower, RecoveryReport};
pub use write::writer::{CollectionStats, LogStats, Reader, Writer};
pub use write::{batch, task};
