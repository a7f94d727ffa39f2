//! Changes that are written together: one sync for all, an answer for each.

use nearfield_engine::batch::Batch;
use nearfield_engine::{Applied, Collection, Error, ErrorKind, Result};
use nearfield_segment::filter::Filter;

/// A change to a collection.
#[derive(Debug)]
pub enum Change {
    /// Points deleted, then points inserted or replaced.
    Batch(Batch<'static>),
    /// Every point that passes the filter when the change is carried out is deleted.
    DeleteWhere(Filter),
}

impl Change {
    /// About what it takes in memory. O(rows).
    pub(super) fn bytes(&self) -> u64 {
        match self {
            Change::Batch(batch) => batch.encoded_bytes_max() as u64,
            Change::DeleteWhere(_) => 1 << 10,
        }
    }

    /// True if its caller has given up by now.
    pub(super) fn is_late(&self, now_ms: u64) -> bool {
        match self {
            Change::Batch(batch) => batch.deadline_ms().is_some_and(|deadline| deadline < now_ms),
            Change::DeleteWhere(_) => false,
        }
    }
}
