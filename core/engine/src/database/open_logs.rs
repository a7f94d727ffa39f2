//! `OpenLogs`: bounds how many log files of a database are open, so that many collections do not use up the
//! handles of the process. `Collection` notes each write in it (`note`).
//!
//! The log file that was written longest ago is closed, and the next write to that collection begins a new
//! one. A collection that is being written at that moment is passed over.

use std::sync::{Arc, Mutex, PoisonError, TryLockError, Weak};

use crate::write::writer::Writer;

/// The collections with an open log file, in the order of their latest write.
#[derive(Debug, Default)]
pub(crate) struct OpenLogs {
    count_max: usize,
    written: Mutex<Vec<Weak<Mutex<Writer>>>>,
}

impl OpenLogs {
    /// At most `count_max` log files stay open.
    pub(crate) fn new(count_max: usize) -> OpenLogs {
        OpenLogs { count_max, written: Mutex::default() }
    }

    /// Notes that `writer`, which the caller does not hold, has written. O(open log files).
    pub(crate) fn note(&self, writer: &Arc<Mutex<Writer>>) {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        let this = Arc::downgrade(writer);
        written.retain(|other| other.strong_count() > 0 && !other.ptr_eq(&this));
        written.push(this);
        let surplus = written.len().saturating_sub(self.count_max);
        let oldest: Vec<_> = written.drain(..surplus).collect();
        let busy: Vec<_> = oldest.into_iter().filter(|other| !close(other)).collect();
        // In front again, so that they are the next to be tried.
        written.splice(..0, busy);
    }
}

/// True if the log file of a collection is closed now, or no handle to the collection is left.
fn close(writer: &Weak<Mutex<Writer>>) -> bool {
    let Some(writer) = writer.upgrade() else { return true };
    let mut held = match writer.try_lock() {
        Ok(held) => held,
        Err(TryLockError::WouldBlock) => return false,
        Err(TryLockError::Poisoned(_)) => return true,
    };
    held.close_log();
    true
}
