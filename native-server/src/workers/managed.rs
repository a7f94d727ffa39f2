//! One collection as the threads see it: its number, its handle, and what was last seen of its writer.
//!
//! The numbers are published by whoever had the writer; reading them never waits for a sync.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nearfield_engine::{Collection, ErrorKind, LogStats, QuarantineStats, Result};
use nearfield_segment::Lsn;

use super::budget::Budget;

/// Bytes of the log between two events `wal_growth`.
const GROWTH_BYTES: u64 = 64 << 20;

/// A collection with what was last seen of its writer.
#[derive(Debug)]
pub(super) struct Line {
    /// Differs between two collections of the same name in time.
    pub(super) number: u64,
    pub(super) collection: Arc<Collection>,
    budget: Arc<Budget>,
    memory_bytes: AtomicU64,
    /// Bytes that the budget counts for the rows in memory: they, and what their checkpoint takes.
    counted_bytes: AtomicU64,
    /// Held while the number of bytes changes, for those that wait for it.
    counting: Mutex<()>,
    counted: Condvar,
    refuses: AtomicBool,
    dropped: AtomicBool,
    log: Mutex<LogSeen>,
    quarantine: Mutex<QuarantineStats>,
}

/// What was last said about the log.
#[derive(Debug)]
struct LogSeen {
    cut: Lsn,
    growths: u64,
}

/// What an observation saw of the writer, against the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Same,
    /// Because of a failure of this kind.
    Refuses(ErrorKind),
    WritesAgain,
}

impl Line {
    pub(super) fn new(number: u64, collection: Arc<Collection>, budget: Arc<Budget>) -> Line {
        let (memory_bytes, counted_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        let (refuses, dropped) = (AtomicBool::new(false), AtomicBool::new(false));
        let log = collection.stats().log;
        let growths = log.bytes_since_truncation / GROWTH_BYTES;
        let log = Mutex::new(LogSeen { cut: log.cut, growths });
        let quarantine = Mutex::default();
        let (counting, counted) = (Mutex::default(), Condvar::new());
        Line {
            number,
            collection,
            budget,
            memory_bytes,
            counted_bytes,
            counting,
            counted,
            refuses,
            dropped,
            log,
            quarantine,
        }
    }

    /// Looks at the writer, which must not be busy for long: for those who just had it.
    pub(super) fn observe(&self) -> Turn {
        if self.is_dropped() {
            return Turn::Same;
        }
        let seen = self.collection.with_writer(|writer| Ok(writer.poisoned()));
        let Ok(poisoned) = seen else { return Turn::Same };
        let stats = self.collection.stats();
        self.tell_of_log(&stats.log);
        self.count(stats.memory_bytes, stats.checkpoint_bytes);
        if self.is_dropped() {
            // It was dropped in between, perhaps before these bytes were counted.
            self.count(0, 0);
        }
        match (self.refuses.swap(poisoned.is_some(), Ordering::Relaxed), poisoned) {
            (false, Some(kind)) => Turn::Refuses(kind),
            (true, None) => Turn::WritesAgain,
            (true, Some(_)) | (false, None) => Turn::Same,
        }
    }

    /// The events an operator may watch instead of metrics.
    fn tell_of_log(&self, log: &LogStats) {
        let collection = self.collection.name();
        let mut seen = self.log.lock().unwrap_or_else(PoisonError::into_inner);
        if log.cut > seen.cut {
            seen.cut = log.cut;
            tracing::info!(collection, cut = log.cut.0, bytes = log.bytes, "wal_truncated");
        }
        let growths = log.bytes_since_truncation / GROWTH_BYTES;
        if growths > seen.growths {
            let bytes_since_truncate = log.bytes_since_truncation;
            tracing::warn!(collection, bytes = log.bytes, bytes_since_truncate, "wal_growth");
        }
        seen.growths = growths;
    }

    /// Counts what is in quarantine; waits for the writer.
    ///
    /// # Errors
    /// As [`Collection::quarantine`].
    pub(super) fn look_into_quarantine(&self) -> Result<()> {
        let seen = self.collection.quarantine()?;
        *self.quarantine.lock().unwrap_or_else(PoisonError::into_inner) = seen;
        Ok(())
    }

    /// What was in quarantine when it was last looked into.
    pub(super) fn quarantine(&self) -> QuarantineStats {
        *self.quarantine.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// What it counts against the memory budget: rows in memory, and what their checkpoint takes.
    pub(super) fn counted_bytes(&self) -> u64 {
        self.counted_bytes.load(Ordering::Relaxed)
    }

    /// Batches in the log that no file contains.
    pub(super) fn pending(&self) -> u64 {
        let log = self.collection.stats().log;
        log.last.0.saturating_sub(log.cut.0)
    }

    /// True if the writer has to be recovered before it writes again.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Its collection is gone: it counts no more.
    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.count(0, 0);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Waits while `holds`, which is asked again after each change of what the line has in memory, for at most
    /// `limit`.
    pub(super) fn wait_while(&self, limit: Duration, holds: impl Fn() -> bool) {
        let counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        let _ended = self.counted.wait_timeout_while(counting, limit, |()| holds());
    }

    fn count(&self, memory_bytes: u64, checkpoint_bytes: u64) {
        let _counting = self.counting.lock().unwrap_or_else(PoisonError::into_inner);
        self.memory_bytes.store(memory_bytes, Ordering::SeqCst);
        let counted = memory_bytes + checkpoint_bytes;
        let before = self.counted_bytes.swap(counted, Ordering::SeqCst);
        self.budget.rows_changed(before, counted);
        self.counted.notify_all();
    }
}
