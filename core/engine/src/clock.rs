//! `Clock`, the time in milliseconds as an argument: `SystemClock` reads the operating system, `ManualClock` is set by
//! its owner (tests, browser). Read by `Writer` for the times of batches and manifests, and by the server.
//!
//! Time is written into batches and manifests for people to read and for "as of" queries. Nothing is
//! ordered by it: order is the LSN.

use std::fmt::Debug;
use std::sync::atomic::{AtomicU64, Ordering};

/// A source of wall-clock time. It may jump, also backwards.
pub trait Clock: Send + Sync + Debug {
    /// Milliseconds since 1970-01-01 UTC.
    fn now_ms(&self) -> u64;
}

/// The operating system's clock.
#[cfg(not(target_arch = "wasm32"))]
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

#[cfg(not(target_arch = "wasm32"))]
impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place where time enters the core")]
    fn now_ms(&self) -> u64 {
        std::time::SystemTime::now()
            .duration_since(std::time::UNIX_EPOCH)
            .map_or(0, |elapsed| u64::try_from(elapsed.as_millis()).unwrap_or(u64::MAX))
    }
}

/// A clock that stands still until it is moved: for tests, replays and hosts without a clock.
#[derive(Debug, Default)]
pub struct ManualClock {
    now_ms: AtomicU64,
}

impl ManualClock {
    /// A clock that shows `now_ms`.
    pub fn new(now_ms: u64) -> Self {
        ManualClock { now_ms: AtomicU64::new(now_ms) }
    }

    /// Sets the time, also backwards.
    pub fn set(&self, now_ms: u64) {
        self.now_ms.store(now_ms, Ordering::Relaxed);
    }

    /// Moves the time forward.
    pub fn advance(&self, by_ms: u64) {
        self.now_ms.fetch_add(by_ms, Ordering::Relaxed);
    }
}

impl Clock for ManualClock {
    fn now_ms(&self) -> u64 {
        self.now_ms.load(Ordering::Relaxed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_manual_clock_shows_what_it_was_told() {
        let clock = ManualClock::new(5);
        clock.advance(2);
        assert_eq!(clock.now_ms(), 7);
        clock.set(1);
        assert_eq!(clock.now_ms(), 1);
    }

    #[cfg(not(target_arch = "wasm32"))]
    #[test]
    fn the_system_clock_counts_milliseconds_since_1970() {
        let year_2020_ms = 1_577_836_800_000;
        assert!(SystemClock.now_ms() > year_2020_ms);
    }
}
