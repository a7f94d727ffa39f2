//! What all threads share: clocks, counters, the memory budget and the board of problems.

use std::sync::Arc;

use nearfield_engine::batch::Change;
use nearfield_engine::{Clock, Error, ErrorKind};

use super::budget::{Budget, Holder, Purpose, Reservation};
use super::damage::Damage;
use super::error::StoreResult;
use super::line::{Line, Turn};
use super::readiness::{Board, Topic};
use crate::host::Stopwatch;
use crate::metrics::Metrics;

/// Shared by everything in `workers`.
#[derive(Debug)]
pub(super) struct Context {
    /// What time people say it is.
    pub(super) clock: Arc<dyn Clock>,
    /// What waiting goes by.
    pub(super) time: Stopwatch,
    pub(super) metrics: Arc<Metrics>,
    pub(super) budget: Arc<Budget>,
    pub(super) board: Board,
    pub(super) damage: Damage,
}

impl Context {
    /// Memory for a request; a refusal is counted.
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

    /// Damage in segment files that are no longer part of a collection is mended.
    pub(super) fn forget_removed(&self, line: &Line) {
        let view = line.collection.view();
        let is_live = |file: &str| view.segments.iter().any(|live| live.segment.name() == file);
        self.damage.keep(&self.board, line.collection.name(), is_live);
    }

    /// Looks at a line after its writer was used, and notes on the board whether it writes.
    pub(super) fn observe(&self, line: &Line, failure: Option<&str>) {
        let name = line.collection.name();
        self.forget_removed(line);
        match line.observe() {
            Turn::Same => {}
            Turn::Refuses(kind) => {
                let why = failure.unwrap_or("a write failed");
                tracing::error!(collection = name, why, "writes are refused until recovered");
                let words =
                    format!("{name}: writes are refused, reads go on. {}: {why}", help(kind));
                self.board.note(Topic::Writing, name, words);
            }
            Turn::WritesAgain => {
                tracing::info!(collection = name, "writes again");
                self.board.clear(Topic::Writing, name);
            }
        }
    }

    /// Background work met an error: damage in a file is shown from now on.
    pub(super) fn met(&self, line: &Line, error: &Error) {
        let file = error.detail("file").and_then(|file| file.as_str());
        if let (ErrorKind::Corrupt, Some(file)) = (error.kind(), file) {
            self.damage.met(&self.board, line.collection.name(), file, error.message());
        }
    }

    /// How the last write of a line found the disk: `full` is why it says so.
    pub(super) fn found(&self, line: &Line, full: Option<&str>) {
        let name = line.collection.name();
        match full {
            Some(why) => {
                let help = help(ErrorKind::StorageFull);
                let words = format!("{name}: the last write was refused. {help}: {why}");
                self.board.note(Topic::Space, name, words);
            }
            None => self.board.clear(Topic::Space, name),
        }
    }

    /// Changes that were accepted without waiting could not be written.
    pub(super) fn lost(&self, line: &Line, changes: u64, why: &str) {
        if changes == 0 {
            return;
        }
        let name = line.collection.name();
        tracing::error!(collection = name, changes, why, "accepted changes could not be written");
        self.metrics.accepted_lost.inc_by(changes);
        let words = format!("{name}: {changes} changes accepted with wait=false were lost: {why}");
        self.board.note(Topic::Lost, name, words);
    }

    /// A thread panicked and goes on.
    pub(super) fn panicked(&self, doing: &str, collection: &str) {
        tracing::error!(collection, doing, "a thread panicked");
        self.metrics.panics.inc();
    }
}

/// What an operator can do about a writer that refuses.
fn help(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::StorageFull => {
            "The disk is full. Free as much as the newest log file takes, or more, and writes go on by \
             themselves"
        }
        ErrorKind::InvalidInput(_)
        | ErrorKind::NotFound
        | ErrorKind::Conflict
        | ErrorKind::Corrupt
        | ErrorKind::Version
        | ErrorKind::Locked
        | ErrorKind::ReadOnly
        | ErrorKind::Io
        | ErrorKind::NotResident
        | ErrorKind::Cancelled => {
            "Recovery is tried again and again; if it goes on failing, look at the disk and restart"
        }
    }
}

/// How many times its bytes a change counts while it waits or is written: once for itself, once for the copies that are
/// made for the log and for its segment.
pub(super) const CHANGE_COPIES: u64 = 2;

/// About what a change takes in memory until it is written. O(rows).
pub(super) fn change_bytes(change: &Change<'_>) -> u64 {
    match change {
        Change::Batch(batch) => CHANGE_COPIES * batch.encoded_bytes_max() as u64,
        Change::DeleteWhere(_) => CHANGE_COPIES << 10,
    }
}

/// True if the caller has given up by now.
pub(super) fn is_late(change: &Change<'_>, now_ms: u64) -> bool {
    match change {
        Change::Batch(batch) => batch.deadline_ms().is_some_and(|deadline| deadline < now_ms),
        Change::DeleteWhere(_) => false,
    }
}
