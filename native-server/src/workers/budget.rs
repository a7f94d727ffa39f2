//! Memory promised to queues, requests and rows not yet in files, against one limit.
//!
//! It counts what arrives and is not yet somewhere else; what the files of a store take is the operating
//! system's to keep or give up. From 70 % of the limit writes are slowed down, from 85 % refused; what only
//! reads may go on to the end, so that a full memtable does not stop queries.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use nearfield_engine::Result;

use super::code::Code;

/// Percent of the limit from which writes wait.
const SOFT_PERCENT: u64 = 70;
/// Percent of the limit from which writes are refused.
const HARD_PERCENT: u64 = 85;
/// What a write waits at the soft mark and just below the hard one, in milliseconds.
const THROTTLE_MS: (u64, u64) = (1, 20);

/// What memory is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A change.
    Write,
    /// A query.
    Read,
}

/// The limit and what counts against it.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: u64,
    reserved_bytes: AtomicU64,
    row_bytes: AtomicU64,
}

impl Budget {
    pub(super) fn new(limit_bytes: u64) -> Budget {
        let (reserved_bytes, row_bytes) = (AtomicU64::new(0), AtomicU64::new(0));
        Budget { limit_bytes, reserved_bytes, row_bytes }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn used_bytes(&self) -> u64 {
        let reserved = self.reserved_bytes.load(Ordering::Relaxed);
        reserved.saturating_add(self.row_bytes.load(Ordering::Relaxed))
    }

    /// Sets memory aside. Two callers at once may both pass just below a mark: the mark is a choice, not a
    /// wall.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`].
    pub(super) fn reserve(self: &Arc<Self>, bytes: u64, purpose: Purpose) -> Result<Reservation> {
        let percent = match purpose {
            Purpose::Write => HARD_PERCENT,
            Purpose::Read => 100,
        };
        let (used, most) = (self.used_bytes(), share(self.limit_bytes, percent));
        if used.saturating_add(bytes) > most {
            let message = format!(
                "the memory budget is used up: {bytes} bytes more than the {used} in use would exceed \
                 {most} ({percent} % of --memory-budget-bytes)"
            );
            return Err(Code::ResourceExhausted.error(message));
        }
        self.reserved_bytes.fetch_add(bytes, Ordering::Relaxed);
        Ok(Reservation { budget: Arc::clone(self), bytes })
    }

    /// Replaces what one collection counts in rows that are not in files.
    pub(super) fn rows_changed(&self, before_bytes: u64, after_bytes: u64) {
        self.row_bytes.fetch_add(after_bytes.wrapping_sub(before_bytes), Ordering::Relaxed);
    }

    /// True from the soft mark on.
    pub(super) fn is_tight(&self) -> bool {
        self.used_bytes() >= share(self.limit_bytes, SOFT_PERCENT)
    }

    /// How long a write should wait so that background work catches up.
    pub(super) fn throttle(&self) -> Duration {
        let soft = share(self.limit_bytes, SOFT_PERCENT);
        let hard = share(self.limit_bytes, HARD_PERCENT);
        let Some(above) = self.used_bytes().checked_sub(soft) else { return Duration::ZERO };
        let (least, most) = THROTTLE_MS;
        let grown = (most - least).saturating_mul(above) / (hard - soft).max(1);
        Duration::from_millis((least + grown).min(most))
    }
}

fn share(limit_bytes: u64, percent: u64) -> u64 {
    limit_bytes / 100 * percent
}

/// Memory held for a request; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
}

impl Reservation {
    /// How much it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.budget.reserved_bytes.fetch_sub(self.bytes, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn writes_are_refused_before_reads_and_memory_comes_back() {
        let budget = Arc::new(Budget::new(1_000));
        let held = budget.reserve(850, Purpose::Write).expect("up to the mark");
        let error = budget.reserve(1, Purpose::Write).expect_err("above it");
        assert_eq!(Code::of(&error), Some(Code::ResourceExhausted));
        assert!(budget.reserve(150, Purpose::Read).is_ok());
        assert!(budget.reserve(151, Purpose::Read).is_err());
        drop(held);
        assert_eq!(budget.used_bytes(), 0);
    }

    #[test]
    fn the_nearer_to_the_limit_the_longer_a_write_waits() {
        let budget = Arc::new(Budget::new(1_000));
        let at = |bytes| {
            budget.rows_changed(0, bytes);
            let throttle = (budget.is_tight(), budget.throttle().as_millis());
            budget.rows_changed(bytes, 0);
            throttle
        };
        assert_eq!(at(699), (false, 0));
        assert_eq!(at(700), (true, 1));
        assert_eq!(at(775), (true, 10));
        assert_eq!(at(5_000), (true, 20));
        assert_eq!(at(0), (false, 0), "rows that went to a file count no more");
    }
}
