//! How long a search may take: until its caller disconnects or its deadline passes.
//!
//! The thread that searches checks [`Patience::lasts`] between pieces of work; the request that waits holds a
//! [`Waiting`], whose end cancels the search.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use prometheus::IntCounter;

use crate::host::Stopwatch;

/// Shared by the request that waits and the thread that searches.
#[derive(Debug)]
pub(super) struct Patience {
    since: Stopwatch,
    limit: Duration,
    cancelled: AtomicBool,
}

impl Patience {
    /// Begins now; ends after `limit`, or when it is cancelled.
    pub(super) fn new(limit: Duration) -> Patience {
        Patience { since: Stopwatch::start(), limit, cancelled: AtomicBool::new(false) }
    }

    /// Whether the search goes on.
    pub(super) fn lasts(&self) -> bool {
        !self.cancelled.load(Ordering::Relaxed) && !self.is_over()
    }

    /// Whether the deadline has passed.
    pub(super) fn is_over(&self) -> bool {
        self.since.elapsed() >= self.limit
    }

    /// The time until the deadline.
    pub(super) fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }
}

/// A request that waits. Dropped before [`Waiting::ended`], because the client disconnected or the deadline
/// passed, it cancels the search.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) patience: Arc<Patience>,
    cancellations: IntCounter,
    ended: bool,
}

impl Waiting {
    pub(super) fn new(patience: Arc<Patience>, cancellations: IntCounter) -> Waiting {
        Waiting { patience, cancellations, ended: false }
    }

    /// The search has ended by itself.
    pub(super) fn ended(&mut self) {
        self.ended = true;
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.patience.cancelled.store(true, Ordering::Relaxed);
        if !self.patience.is_over() {
            self.cancellations.inc();
        }
    }
}
