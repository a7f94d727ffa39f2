//! Everything that changes over time: log, manifests, memtable, tasks, recovery, snapshots.
//!
//! Synchronous and deterministic: storage, clock and randomness arrive as arguments. Floors (a module
//! imports only from floors below its own):
//!
//! | floor | modules |
//! |---|---|
//! | F6 | `log` (the write-ahead log) · `manifest` (what exists) · `clock` |
//! | F7 | `batch` (one atomic change) |

pub mod batch;
mod clock;
pub mod log;
pub mod manifest;

#[cfg(not(target_arch = "wasm32"))]
pub use clock::SystemClock;
pub use clock::{Clock, ManualClock};
pub use nearfield_segment::{Error, ErrorKind, Fault, Result};
