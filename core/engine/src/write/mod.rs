//! The only way to change a collection: batches go through `Writer`, tasks merge its segments. Used by
//! `database`, whose `Collection` holds the writer.
//!
//! `batch` is one checked change, `keys` finds repeated ones, `state` holds all segments and the memtable, `replay`
//! brings it up to a log, `task` merges segments under a `claim`, `writer` logs and commits, `recovery` makes a writer
//! or a follower from files.

pub mod batch;
pub(crate) mod claim;
pub(crate) mod keys;
pub(crate) mod recovery;
pub(crate) mod replay;
pub(crate) mod state;
pub mod task;
pub(crate) mod writer;
