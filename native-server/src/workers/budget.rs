//! `Budget`: the memory budget, one limit for the memory of queues, requests, merges, and rows not yet in files.
//! `reserve` returns a `Reservation`, or an error that becomes 429. Used by the committer, `background`, and every
//! handler that reads a body.
//!
//! Rows in memory count together with what their checkpoint takes, so that a checkpoint never waits for memory: it is
//! what frees it. Segments of files are not counted: their size is that of the collection. Marks, in percent of the
//! limit, of everything that is counted unless the table says otherwise:
//!
//! | mark | meaning |
//! |---|---|
//! | 40 | all merges together hold no more than this; requests that read hold no more than this for one key |
//! | 60 | … and no more than this for all keys: reads leave the rest to writes and merges |
//! | 70 | from here on writes are slowed down; requests that write hold no more than this for one key |
//! | 85 | writes are refused, and merges wait |
//! | 100 | reads are refused, whatever their share |
//!
//! A merge that has waited for five seconds earmarks its memory: from then on writes and other merges are treated as if
//! it held that already, so writes that never pause cannot keep it waiting, and every collection writes its rows to a
//! file. Reads are not held up. An earmark ends while reads and merges leave it no room, and counts for writes only if the
//! end of writes is all that the merge waits for.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use super::error::{StoreError, StoreResult};
use super::shares::Owner;
use crate::host::{Stopwatch, lock};

/// Percent of the limit from which writes wait.
const SOFT_PERCENT: u64 = 70;
/// Percent of the limit from which writes are refused and merges wait.
const HARD_PERCENT: u64 = 85;
/// Percent of the limit that all reads together may hold.
const READS_PERCENT: u64 = 60;
/// Percent of the limit that the reads of one key may hold, and its writes.
const KEY_PERCENT: (u64, u64) = (40, 70);
/// Percent of the limit that all merges together may hold.
const MERGES_PERCENT: u64 = 40;
/// Time between two checks whether a merge that waits for memory is still to be done.
const WAITING_LOOK: Duration = Duration::from_millis(100);
/// How long a merge waits before it earmarks its memory.
const EARMARK_AFTER: Duration = Duration::from_secs(5);
/// What a write waits at the soft mark and just below the hard one, in milliseconds.
const THROTTLE_MS: (u64, u64) = (1, 20);

/// What memory is reserved for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// A change.
    Write,
    /// A query.
    Read,
    /// A merge, or the files that a checkpoint draws in.
    Merge,
}

/// On whose behalf memory is held.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Holder {
    /// A request of this owner.
    Request(Owner),
    /// The server itself: a queue that is bounded in other ways.
    Server,
}

/// The limit and what counts against it.
#[derive(Debug)]
pub(super) struct Budget {
    limit_bytes: u64,
    held: Mutex<Held>,
    /// Signalled when reserved memory is released or rows leave memory.
    freed: Condvar,
    row_bytes: AtomicU64,
}

/// Bytes of memory that all merges of a server with this budget may hold together.
pub(super) fn merges_bytes_max(limit_bytes: u64) -> u64 {
    share(limit_bytes, MERGES_PERCENT)
}

/// Memory of requests, queues and merges.
#[derive(Debug, Default)]
struct Held {
    all_bytes: u64,
    reads_bytes: u64,
    merges_bytes: u64,
    /// Memory that one merge waits for and has earmarked.
    earmarked_bytes: u64,
    /// Reads and writes of each owner that holds something.
    by_owner: HashMap<Owner, (u64, u64)>,
}

impl Budget {
    pub(super) fn new(limit_bytes: u64) -> Budget {
        let (held, freed, row_bytes) = (Mutex::default(), Condvar::new(), AtomicU64::new(0));
        Budget { limit_bytes, held, freed, row_bytes }
    }

    pub(super) fn limit_bytes(&self) -> u64 {
        self.limit_bytes
    }

    pub(super) fn used_bytes(&self) -> u64 {
        lock(&self.held).all_bytes.saturating_add(self.row_bytes.load(Ordering::Relaxed))
    }

    /// Reserves memory.
    ///
    /// # Errors
    /// [`StoreError::ResourceExhausted`].
    pub(super) fn reserve(
        self: &Arc<Self>,
        bytes: u64,
        purpose: Purpose,
        holder: Holder,
    ) -> StoreResult<Reservation> {
        let mut reservation = Reservation { budget: Arc::clone(self), bytes: 0, purpose, holder };
        reservation.grow_to(bytes)?;
        Ok(reservation)
    }

    /// Waits until there is room for a merge and reserves `bytes` for it; `None` once `gives_way` returns true, which
    /// is called about ten times a second. `earmarks` is called when an earmark of the merge begins to count against writes.
    /// Blocks its thread. `bytes` must be within [`merges_bytes_max`], or no room is ever enough.
    pub(super) fn wait_to_merge(
        self: &Arc<Self>,
        bytes: u64,
        gives_way: &dyn Fn() -> bool,
        earmarks: &dyn Fn(),
    ) -> Option<Reservation> {
        let (mut earmark, mut counted) = (None, false);
        let waiting = Stopwatch::start();
        while !gives_way() {
            let reserved = match &mut earmark {
                Some(earmark) => self.reserve_earmarked(earmark),
                None => self.reserve(bytes, Purpose::Merge, Holder::Server),
            };
            if let Ok(reserved) = reserved {
                return Some(reserved);
            }
            if waiting.elapsed() >= EARMARK_AFTER {
                // An earmark that is of no use ends, so that another merge can have one.
                let kept = earmark.filter(|_| self.leaves_room(&lock(&self.held), bytes));
                earmark = kept.or_else(|| self.earmark(bytes));
                let counts = earmark.is_some() && self.write_earmark_bytes() > 0;
                if counts && !counted {
                    earmarks();
                }
                counted = counts;
            }
            let held = lock(&self.held);
            let _woken = self.freed.wait_timeout(held, WAITING_LOOK);
        }
        None
    }

    /// Earmarks memory for a merge, unless another merge has an earmark or reads and merges leave no room for it.
    fn earmark(&self, bytes: u64) -> Option<Earmark<'_>> {
        let mut held = lock(&self.held);
        (held.earmarked_bytes == 0 && self.leaves_room(&held, bytes)).then(|| {
            held.earmarked_bytes = bytes;
            Earmark { budget: self, bytes }
        })
    }

    /// Reserves the memory of an earmark, which is spent then.
    fn reserve_earmarked(self: &Arc<Self>, earmark: &mut Earmark<'_>) -> StoreResult<Reservation> {
        let (bytes, purpose, holder) = (earmark.bytes, Purpose::Merge, Holder::Server);
        let mut held = lock(&self.held);
        held.earmarked_bytes = 0;
        let added = self.add_to(&mut held, bytes, purpose, holder);
        match added {
            Ok(()) => earmark.bytes = 0,
            Err(_) => held.earmarked_bytes = bytes,
        }
        added.map(|()| Reservation { budget: Arc::clone(self), bytes, purpose, holder })
    }

    /// True if a merge of `bytes` would fit beside the reads and merges of now, without any write.
    fn leaves_room(&self, held: &Held, bytes: u64) -> bool {
        let others = held.reads_bytes.saturating_add(held.merges_bytes);
        others.saturating_add(bytes) <= share(self.limit_bytes, HARD_PERCENT)
    }

    /// The part of an earmark that counts against memory for `purpose`: nothing where leaving it free would not help.
    fn earmarked_bytes(&self, held: &Held, purpose: Purpose) -> u64 {
        let bytes = held.earmarked_bytes;
        let merges = held.merges_bytes.saturating_add(bytes);
        let counts = match purpose {
            Purpose::Read => false,
            Purpose::Merge => self.leaves_room(held, bytes),
            Purpose::Write => {
                self.leaves_room(held, bytes) && merges <= merges_bytes_max(self.limit_bytes)
            }
        };
        if counts { bytes } else { 0 }
    }

    /// Reserves `bytes` for what a checkpoint takes beside the rows in memory, which count already: for the small files
    /// that it draws in. Never waits and may pass the marks, because the checkpoint frees more than that.
    pub(super) fn take_for_checkpoint(self: &Arc<Self>, bytes: u64) -> Reservation {
        let (purpose, holder) = (Purpose::Merge, Holder::Server);
        lock(&self.held).change(purpose, holder, |held| *held += bytes);
        Reservation { budget: Arc::clone(self), bytes, purpose, holder }
    }

    /// Adds to the memory that is held, if no mark is passed.
    fn add(&self, bytes: u64, purpose: Purpose, holder: Holder) -> StoreResult<()> {
        self.add_to(&mut lock(&self.held), bytes, purpose, holder)
    }

    fn add_to(
        &self,
        held: &mut Held,
        bytes: u64,
        purpose: Purpose,
        holder: Holder,
    ) -> StoreResult<()> {
        let earmarked = self.earmarked_bytes(held, purpose);
        let rows = self.row_bytes.load(Ordering::Relaxed);
        let used = held.all_bytes.saturating_add(rows).saturating_add(earmarked);
        let (reads, writes) = held.of(holder);
        let all = |percent| Some(("in use", used, percent));
        let marks = match (purpose, holder) {
            (Purpose::Write, Holder::Server) => [all(HARD_PERCENT), None, None],
            (Purpose::Write, Holder::Request(_)) => [
                all(HARD_PERCENT),
                Some(("in use by writes of this key", writes, KEY_PERCENT.1)),
                None,
            ],
            (Purpose::Merge, _) => {
                let merges = held.merges_bytes.saturating_add(earmarked);
                let merges = Some(("in use by merges", merges, MERGES_PERCENT));
                [all(HARD_PERCENT), merges, None]
            }
            (Purpose::Read, _) => [
                all(100),
                Some(("in use by reads of this key", reads, KEY_PERCENT.0)),
                Some(("in use by reads", held.reads_bytes, READS_PERCENT)),
            ],
        };
        for (what, used, percent) in marks.into_iter().flatten() {
            let most = share(self.limit_bytes, percent);
            if used.saturating_add(bytes) > most {
                let message = format!(
                    "the memory budget is used up: {bytes} bytes more than the {used} {what} would exceed \
                     {most} ({percent} % of --memory-budget-bytes)"
                );
                return Err(StoreError::ResourceExhausted(message));
            }
        }
        held.change(purpose, holder, |held| *held += bytes);
        Ok(())
    }

    /// Replaces what one collection counts in rows that are not in files.
    pub(super) fn rows_changed(&self, before_bytes: u64, after_bytes: u64) {
        self.row_bytes.fetch_add(after_bytes.wrapping_sub(before_bytes), Ordering::Relaxed);
        if after_bytes < before_bytes {
            self.freed.notify_all();
        }
    }

    /// True from the soft mark on.
    pub(super) fn is_tight(&self) -> bool {
        self.used_and_earmarked_bytes() >= share(self.limit_bytes, SOFT_PERCENT)
    }

    /// True if a collection that counts `counted_bytes` in rows should write them to a file now: memory is tight, and it
    /// has an eighth of what is used, or a merge has an earmark that the rows of all collections stand against.
    pub(super) fn wants_rows_written(&self, counted_bytes: u64) -> bool {
        let earmarks = self.write_earmark_bytes() > 0;
        self.is_tight() && (earmarks || counted_bytes >= self.used_bytes() / 8)
    }

    fn used_and_earmarked_bytes(&self) -> u64 {
        self.used_bytes().saturating_add(self.write_earmark_bytes())
    }

    /// The part of an earmark that counts against writes.
    fn write_earmark_bytes(&self) -> u64 {
        self.earmarked_bytes(&lock(&self.held), Purpose::Write)
    }

    /// How long a write should wait so that background work catches up.
    pub(super) fn throttle(&self) -> Duration {
        let soft = share(self.limit_bytes, SOFT_PERCENT);
        let hard = share(self.limit_bytes, HARD_PERCENT);
        let Some(above) = self.used_and_earmarked_bytes().checked_sub(soft) else {
            return Duration::ZERO;
        };
        let (least, most) = THROTTLE_MS;
        let grown = (most - least).saturating_mul(above) / (hard - soft).max(1);
        Duration::from_millis((least + grown).min(most))
    }
}

impl Held {
    /// What the reads and the writes of a holder's owner hold; the server itself has no share.
    fn of(&self, holder: Holder) -> (u64, u64) {
        match holder {
            Holder::Request(owner) => self.by_owner.get(&owner).copied().unwrap_or_default(),
            Holder::Server => (0, 0),
        }
    }

    /// Changes every sum that memory of this purpose and holder is part of.
    fn change(&mut self, purpose: Purpose, holder: Holder, change: impl Fn(&mut u64)) {
        change(&mut self.all_bytes);
        match purpose {
            Purpose::Read => change(&mut self.reads_bytes),
            Purpose::Merge => change(&mut self.merges_bytes),
            Purpose::Write => {}
        }
        let Holder::Request(owner) = holder else { return };
        let sums = self.by_owner.entry(owner).or_default();
        match purpose {
            Purpose::Read => change(&mut sums.0),
            Purpose::Write | Purpose::Merge => change(&mut sums.1),
        }
        if *sums == (0, 0) {
            self.by_owner.remove(&owner);
        }
    }
}

fn share(limit_bytes: u64, percent: u64) -> u64 {
    limit_bytes / 100 * percent
}

/// The earmark of a merge, until it is dropped. Without bytes it is spent.
#[derive(Debug)]
struct Earmark<'a> {
    budget: &'a Budget,
    bytes: u64,
}

impl Drop for Earmark<'_> {
    fn drop(&mut self) {
        lock(&self.budget.held).earmarked_bytes -= self.bytes;
    }
}

/// Memory held until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    budget: Arc<Budget>,
    bytes: u64,
    purpose: Purpose,
    holder: Holder,
}

impl Reservation {
    /// How much it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Holds at least so many bytes from now on.
    ///
    /// # Errors
    /// [`StoreError::ResourceExhausted`]; what was held before still is.
    pub fn grow_to(&mut self, bytes: u64) -> StoreResult<()> {
        let Some(more) = bytes.checked_sub(self.bytes).filter(|more| *more > 0) else {
            return Ok(());
        };
        self.budget.add(more, self.purpose, self.holder)?;
        self.bytes = bytes;
        Ok(())
    }

    /// Gives everything back, and can grow again.
    pub fn clear(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if bytes > 0 {
            lock(&self.budget.held).change(self.purpose, self.holder, |held| *held -= bytes);
            self.budget.freed.notify_all();
        }
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests;
