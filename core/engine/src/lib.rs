//! Everything that changes over time: log, manifests, memtable, tasks, recovery, snapshots.
//!
//! Synchronous and deterministic: storage, clock and randomness arrive as arguments, background work is
//! planned, stepped and finished by the host, which owns the threads. Floors (a module imports only from floors
//! below its own):
//!
//! | floor | modules |
//! |---|---|
//! | F6 | `log` (the write-ahead log) · `manifest` (what exists) · `claim` (what running tasks hold) · `clock` · `fence` (no change without the lock) · `options` · `pin` · `space` · `turns` (threads that carry tasks out) · `quarantine` |
//! | F7 | `fields` (which metadata fields are known) · `batch` (one atomic change) · `view` (an instant) · `keys` (what was written before) · `state` (the memtable and all segments) · `history` (what of the past is kept) · `leftovers` · `place` (what may become a database) |
//! | F8 | `task` (merging) · `verify` · `recall` · `export` (one file for anywhere) · `partial` (an export of which some bytes are here) |
//! | F9 | `writer` (the only one that changes things) · `open_logs` (how many stay open) · `recovery` (from files to a writer or a follower) · `transfer` · `rebuild` (a state as it was) · above them `collection` (one handle) · `opening` (one door) · `database` (names) · `succession` (one directory in place of another) · `snapshot`, `restore`, `replay`, `exporting` |

pub mod batch;
mod claim;
mod clock;
mod collection;
mod database;
mod export;
mod exporting;
mod fence;
mod fields;
mod history;
mod keys;
mod leftovers;
pub mod log;
pub mod manifest;
mod open_logs;
mod opening;
mod options;
pub mod partial;
mod pin;
mod place;
mod quarantine;
mod rebuild;
pub mod recall;
mod recovery;
mod replay;
mod restore;
mod snapshot;
mod space;
mod state;
mod succession;
pub mod task;
mod transfer;
mod turns;
mod verify;
mod view;
mod writer;

pub use batch::{Applied, RowOutcome};
#[cfg(not(target_arch = "wasm32"))]
pub use clock::SystemClock;
pub use clock::{Clock, ManualClock};
pub use collection::{Begun, Carry, Collection, Vacuumed, Watch};
pub use database::{Database, Mode};
pub use export::{
    EXPORT_VERSION, ExportReport, export_memory_bytes, open_export, stream_export, write_export,
};
pub use fields::{FIELD_NAMES_BYTES_MAX, FIELD_NAMES_MAX, KnownFields};
pub use keys::KeyCounts;
pub use leftovers::SNAPSHOTS;
pub use nearfield_segment::{Error, ErrorKind, Fault, Result};
pub use opening::OpeningReport;
pub use options::Options;
pub use place::check_place;
pub use quarantine::QuarantineStats;
pub use recovery::{Follower, RecoveryReport};
pub use replay::Replayed;
pub use restore::{Restored, restore, restore_while};
pub use snapshot::Snapshot;
pub use verify::{Finding, VerifyReport, verify, verify_export, verify_present};
pub use view::{Found, LiveSegment, Tier, View};
pub use writer::{CollectionStats, LogStats, Reader, Site, Writer};
