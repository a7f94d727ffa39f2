//! One collection as the threads see it: its number, its handle, and what was last seen of its writer.
//!
//! The numbers are published by whoever had the writer; reading them never waits for a sync.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use nearfield_engine::Collection;

use super::budget::Budget;

/// A collection with its gauges.
#[derive(Debug)]
pub(super) struct Line {
    /// Differs between two collections of the same name in time.
    pub(super) number: u64,
    pub(super) collection: Arc<Collection>,
    budget: Arc<Budget>,
    memory_bytes: AtomicU64,
    /// The newest LSN that is in files.
    cut: AtomicU64,
    refuses: AtomicBool,
    dropped: AtomicBool,
}

/// What an observation saw of the writer, against the one before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Same,
    Refuses,
    WritesAgain,
}

impl Line {
    pub(super) fn new(number: u64, collection: Arc<Collection>, budget: Arc<Budget>) -> Line {
        let zero = || AtomicU64::new(0);
        let (refuses, dropped) = (AtomicBool::new(false), AtomicBool::new(false));
        Line { number, collection, budget, memory_bytes: zero(), cut: zero(), refuses, dropped }
    }

    /// Looks at the writer, which must not be busy for long: for those who just had it.
    pub(super) fn observe(&self) -> Turn {
        if self.is_dropped() {
            return Turn::Same;
        }
        let seen = self.collection.with_writer(|writer| {
            Ok((writer.memory_bytes(), writer.manifest().cut.0, writer.poisoned().is_some()))
        });
        let Ok((bytes, cut, refuses)) = seen else { return Turn::Same };
        self.cut.store(cut, Ordering::Relaxed);
        self.count(bytes);
        if self.is_dropped() {
            // It was dropped in between, perhaps before these bytes were counted.
            self.count(0);
        }
        match (self.refuses.swap(refuses, Ordering::Relaxed), refuses) {
            (false, true) => Turn::Refuses,
            (true, false) => Turn::WritesAgain,
            (true, true) | (false, false) => Turn::Same,
        }
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Batches in the log that no file contains.
    pub(super) fn pending(&self) -> u64 {
        self.collection.view().lsn.0.saturating_sub(self.cut.load(Ordering::Relaxed))
    }

    /// True if the writer has to be recovered before it writes again.
    pub(super) fn refuses(&self) -> bool {
        self.refuses.load(Ordering::Relaxed)
    }

    /// Its collection is gone: it counts no more.
    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.count(0);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    fn count(&self, bytes: u64) {
        let before = self.memory_bytes.swap(bytes, Ordering::SeqCst);
        self.budget.rows_changed(before, bytes);
    }
}
