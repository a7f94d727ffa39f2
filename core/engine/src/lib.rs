//! Everything that changes over time: log, manifests, memtable, tasks, recovery, snapshots.
//!
//! Synchronous and deterministic: storage, clock and randomness arrive as arguments, background work is
//! planned, stepped and finished by the host, which owns the threads. Floors (a module imports only from floors
//! below its own; inside a room, files import each other in no circle):
//!
//! | floor | rooms |
//! |---|---|
//! | F6 | `clock` · `options` · `log` (the write-ahead log) · `manifest` (what exists) |
//! | F7 | `files` (where they are, what is kept and removed) · `read` (an instant of a collection) |
//! | F8 | `write` (batch, memtable, keys, tasks, writer, recovery) · `export` (one file for anywhere) · `partial` (an export of which some bytes are here) |
//! | F9 | `database` (collections by name, snapshots, restore, replay, verification) |

mod clock;
mod database;
mod export;
mod files;
pub mod log;
pub mod manifest;
mod options;
pub mod partial;
mod read;
mod write;

#[cfg(not(target_arch = "wasm32"))]
pub use clock::SystemClock;
pub use clock::{Clock, ManualClock};
pub use database::{
    Begun, Carry, Collection, Database, Finding, Mode, OpeningReport, Replayed, Restored, Snapshot,
    Vacuumed, VerifyReport, Watch, check_place, restore, restore_while, verify, verify_export,
    verify_present,
};
pub use export::{
    EXPORT_VERSION, ExportReport, export_memory_bytes, open_export, stream_export, write_export,
};
pub use files::CollectionPath;
pub use files::leftovers::SNAPSHOTS;
pub use files::quarantine::QuarantineStats;
pub use nearfield_segment::{Error, ErrorKind, Fault, Result};
pub use options::Options;
pub use read::fields::{FIELD_NAMES_BYTES_MAX, FIELD_NAMES_MAX, KnownFields};
pub use read::recall;
pub use read::view::{Found, LiveSegment, Tier, View};
pub use write::batch::{Applied, RowOutcome};
pub use write::keys::KeyCounts;
pub use write::recovery::{Follower, RecoveryReport};
pub use write::writer::{CollectionStats, LogStats, Reader, Writer};
pub use write::{batch, task};
