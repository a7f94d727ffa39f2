//! What the threads share: of the server ([`Context`]), and of each collection ([`ManagedCollection`]). Both
//! are made by `opening`; `committer`, `upkeep`, `jobs` and `scrub` work on a `ManagedCollection`.
//!
//! Numbers of a collection are published by the thread that last had its writer; reading them never waits for a sync.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nearfield_engine::{Clock, Collection, Error, ErrorKind, LogStats, QuarantineStats, Result};
use nearfield_segment::Lsn;

use super::budget::{Budget, Holder, Purpose, Reservation};
use super::damage::{Damage, Met};
use super::error::StoreResult;
use super::health::{HealthRegistry, Topic};
use crate::host::{Stopwatch, lock};
use crate::metrics::Metrics;

/// Bytes of the log between two events `wal_growth`.
const GROWTH_BYTES: u64 = 64 << 20;

/// Clocks, counters, the memory budget and the problems of a server.
#[derive(Debug)]
pub(super) struct Context {
    /// Wall-clock time.
    pub(super) clock: Arc<dyn Clock>,
    /// Monotonic time, by which threads wait.
    pub(super) time: Stopwatch,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) health: HealthRegistry,
    pub(super) damage: Damage,
}

impl Context {
    /// Reserves memory for a request; a refusal is counted.
    pub(super) fn reserve(
        &self,
        bytes: u64,
        purpose: Purpose,
        holder: Holder,
    ) -> StoreResult<Reservation> {
        let reserved = self.budget.reserve(bytes, purpose, holder);
        if reserved.is_err() {
            self.metrics.backpressure_hard.inc();
        }
        reserved
    }

    /// A thread panicked and goes on.
    pub(super) fn panicked(&self, doing: &str, collection: &str) {
        tracing::error!(collection, doing, "a thread panicked");
        self.metrics.panics.inc();
    }
}

/// A collection: its number, its handle, and the last observation of its writer.
#[derive(Debug)]
pub(super) struct ManagedCollection {
    /// Differs between two collections of the same name in time.
    pub(super) number: u64,
    pub(super) collection: Arc<Collection>,
    context: Arc<Context>,
    memory_bytes: AtomicU64,
    /// Bytes that the budget counts for the rows in memory: they, and what their checkpoint takes.
    counted_bytes: AtomicU64,
    /// Held while the number of bytes changes, for threads that wait for it.
    counting: Mutex<()>,
    counted: Condvar,
    refuses: AtomicBool,
    dropped: AtomicBool,
    log: Mutex<LogSeen>,
    quarantine: Mutex<QuarantineStats>,
}

/// The last observation of the log.
#[derive(Debug)]
struct LogSeen {
    cut: Lsn,
    growths: u64,
}

impl ManagedCollection {
    pub(super) fn new(
        number: u64,
        collection: Arc<Collection>,
        context: Arc<Context>,
    ) -> ManagedCollection {
        let log = collection.stats().log;
        let growths = log.bytes_since_truncation / GROWTH_BYTES;
        ManagedCollection {
            number,
            collection,
            context,
            memory_bytes: AtomicU64::new(0),
            counted_bytes: AtomicU64::new(0),
            counting: Mutex::default(),
            counted: Condvar::new(),
            refuses: AtomicBool::new(false),
            dropped: AtomicBool::new(false),
            log: Mutex::new(LogSeen { cut: log.cut, growths }),
            quarantine: Mutex::default(),
        }
    }

    pub(super) fn name(&self) -> &str {
        self.collection.name()
    }

    /// Observes the writer after it was used, which must not be busy for long, and notes whether it refuses writes.
    /// `failure` is the reason if the use failed.
    pub(super) fn observe(&self, failure: Option<&str>) {
        self.forget_removed_files();
        if self.is_dropped() {
            return;
        }
        let seen = self.collection.with_writer(|writer| Ok(writer.poisoned()));
        let Ok(poisoned) = seen else { return };
        let stats = self.collection.stats();
        self.log_events(&stats.log);
        self.count(stats.memory_bytes, stats.checkpoint_bytes);
        if self.is_dropped() {
            // It was dropped in between, perhaps before these bytes were counted.
            self.count(0, 0);
        }
        let (name, health) = (self.name(), &self.context.health);
        match (self.refuses.swap(poisoned.is_some(), Ordering::Relaxed), poisoned) {
            (false, Some(kind)) => {
                let why = failure.unwrap_or("a write failed");
                tracing::error!(collection = name, why, "writes are refused until recovered");
                let words =
                    format!("{name}: writes are refused, reads go on. {}: {why}", help(kind));
                health.note(Topic::Writing, name, words);
            }
            (true, None) => {
                tracing::info!(collection = name, "writes again");
                health.clear(Topic::Writing, name);
            }
            (true, Some(_)) | (false, None) => {}
        }
    }

    /// Forgets damage in segment files that are no longer part of the collection.
    pub(super) fn forget_removed_files(&self) {
        let view = self.collection.view();
        let is_live = |file: &str| view.segments.iter().any(|live| live.segment.name() == file);
        self.context.damage.keep(&self.context.health, self.name(), is_live);
    }

    /// Shows damage in a file that background work met.
    pub(super) fn note_error(&self, error: &Error) {
        let file = error.detail("file").and_then(|file| file.as_str());
        if let (ErrorKind::Corrupt, Some(file)) = (error.kind(), file) {
            let derived = error.detail("derived").and_then(|is| is.as_bool()).unwrap_or(false);
            let met = Met { file, message: error.message(), derived };
            self.context.damage.met(&self.context.health, self.name(), met);
        }
    }

    /// Notes whether the last write found the disk full: `full` is its error then.
    pub(super) fn note_space(&self, full: Option<&str>) {
        let (name, health) = (self.name(), &self.context.health);
        match full {
            Some(why) => {
                let help = help(ErrorKind::StorageFull);
                let words = format!("{name}: the last write was refused. {help}: {why}");
                health.note(Topic::Space, name, words);
            }
            None => health.clear(Topic::Space, name),
        }
    }

    /// Notes changes that were accepted without waiting and could not be written.
    pub(super) fn note_lost(&self, changes: u64, why: &str) {
        if changes == 0 {
            return;
        }
        let name = self.name();
        tracing::error!(collection = name, changes, why, "accepted changes could not be written");
        self.context.metrics.accepted_lost.inc_by(changes);
        let words = format!("{name}: {changes} changes accepted with wait=false were lost: {why}");
        self.context.health.note(Topic::Lost, name, words);
    }

    /// Writes the events that an operator may watch instead of metrics.
    fn log_events(&self, log: &LogStats) {
        let collection = self.name();
        let mut seen = lock(&self.log);
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

    /// Counts the files in quarantine; waits for the writer.
    ///
    /// # Errors
    /// As [`Collection::quarantine`].
    pub(super) fn count_quarantine(&self) -> Result<()> {
        let seen = self.collection.quarantine()?;
        *lock(&self.quarantine) = seen;
        Ok(())
    }

    /// The last count of the files in quarantine.
    pub(super) fn quarantine(&self) -> QuarantineStats {
        *lock(&self.quarantine)
    }

    pub(super) fn memory_bytes(&self) -> u64 {
        self.memory_bytes.load(Ordering::Relaxed)
    }

    /// Bytes that it counts against the memory budget: rows in memory, and what their checkpoint takes.
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

    /// The collection was dropped: it counts no more.
    pub(super) fn mark_dropped(&self) {
        self.dropped.store(true, Ordering::SeqCst);
        self.count(0, 0);
    }

    pub(super) fn is_dropped(&self) -> bool {
        self.dropped.load(Ordering::SeqCst)
    }

    /// Waits while `holds`, which is called again after each change of the bytes in memory, for at most `limit`.
    pub(super) fn wait_while(&self, limit: Duration, holds: impl Fn() -> bool) {
        let counting = lock(&self.counting);
        let _ended = self.counted.wait_timeout_while(counting, limit, |()| holds());
    }

    fn count(&self, memory_bytes: u64, checkpoint_bytes: u64) {
        let _counting = lock(&self.counting);
        self.memory_bytes.store(memory_bytes, Ordering::SeqCst);
        let counted = memory_bytes + checkpoint_bytes;
        let before = self.counted_bytes.swap(counted, Ordering::SeqCst);
        self.context.budget.rows_changed(before, counted);
        self.counted.notify_all();
    }
}

/// What an operator can do about a writer that refuses.
fn help(kind: ErrorKind) -> &'static str {
    if kind == ErrorKind::StorageFull {
        "The disk is full. Free as much as the newest log file takes, or more, and writes go on by themselves"
    } else {
        "Recovery is tried again and again; if it goes on failing, look at the disk and restart"
    }
}
