//! Everything that changes over time: log, manifests, memtable, tasks, recovery, snapshots.

pub use nearfield_segment::{Error, ErrorKind, Fault, Result};
