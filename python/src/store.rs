//! `Store`: the open database that Python objects share, with one gate for changes; closed once, never used by a
//! forked child. Used by `Database` and `Handle`.
//!
//! Every change holds the gate shared, closing takes it alone: the directory's lock is given up only when
//! no change is under way. Searching needs no gate; a view stays readable whatever happens.

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex, PoisonError, RwLock, Weak};

use nearfield_engine::{Collection, Database};
use nearfield_segment::Pool;
use nearfield_segment::storage::Storage;

use crate::background::Background;
use crate::error::{Failure, Result};

/// How often this process image was forked into being; counted by the hook that `lib.rs` registers.
static FORKS: AtomicU32 = AtomicU32::new(0);

/// Bytes in memory from which closing writes them to a file: reading them from the log would be felt at the
/// next opening.
const CLOSE_CHECKPOINT_BYTES_MIN: u64 = 8 << 20;

/// Called in a child just after a fork.
pub(crate) fn note_fork() {
    FORKS.fetch_add(1, Ordering::Relaxed);
}

/// Files of the database, where it has any.
#[derive(Debug)]
pub(crate) struct Place {
    /// The directory, or the directory of the `.near` file.
    pub(crate) storage: Arc<dyn Storage>,
    /// What was opened; `None` in memory.
    pub(crate) path: Option<PathBuf>,
    /// `rw`, `r`, `memory` or `near`.
    pub(crate) mode: &'static str,
}

/// The shared state.
#[derive(Debug)]
pub(crate) struct Store {
    pub(crate) place: Place,
    gate: RwLock<Option<Box<Database>>>,
    background: Background,
    closed: AtomicBool,
    dropped: Mutex<Vec<Weak<Collection>>>,
    forks: u32,
}

impl Store {
    pub(crate) fn new(place: Place, database: Database) -> Arc<Store> {
        Arc::new(Store {
            place,
            gate: RwLock::new(Some(Box::new(database))),
            background: Background::default(),
            closed: AtomicBool::new(false),
            dropped: Mutex::default(),
            forks: FORKS.load(Ordering::Relaxed),
        })
    }

    fn forked(&self) -> bool {
        self.forks != FORKS.load(Ordering::Relaxed)
    }

    /// Refuses to go on with a closed database or in a forked child.
    pub(crate) fn check(&self) -> Result<()> {
        if self.forked() {
            return Err(Failure::Closed(
                "this database was opened before the process was forked, and belongs to the parent; \
                 open it again here (with mode=\"r\" while the parent writes)"
                    .to_owned(),
            ));
        }
        if self.closed.load(Ordering::Relaxed) {
            return Err(Failure::Closed(format!("{} was closed", self.name())));
        }
        Ok(())
    }

    /// Remembers that a collection was dropped, for handles that are still held.
    pub(crate) fn note_dropped(&self, collection: &Arc<Collection>) {
        let mut dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.retain(|held| held.strong_count() > 0);
        dropped.push(Arc::downgrade(collection));
    }

    /// Whether this very collection was dropped; one created later under its name was not.
    pub(crate) fn has_dropped(&self, collection: &Arc<Collection>) -> bool {
        let dropped = self.dropped.lock().unwrap_or_else(PoisonError::into_inner);
        dropped.iter().any(|held| std::ptr::eq(held.as_ptr(), Arc::as_ptr(collection)))
    }

    /// True after [`Store::close`].
    pub(crate) fn is_closed(&self) -> bool {
        self.closed.load(Ordering::Relaxed)
    }

    /// What it is called in messages.
    pub(crate) fn name(&self) -> String {
        match &self.place.path {
            Some(path) => format!("database {}", path.display()),
            None => "the database in memory".to_owned(),
        }
    }

    /// Calls `work` with the open database; closing waits until it returns. Call detached.
    pub(crate) fn with<R>(
        &self,
        work: impl FnOnce(&Database) -> nearfield_engine::Result<R>,
    ) -> Result<R> {
        self.check()?;
        let gate = self.gate.read().unwrap_or_else(PoisonError::into_inner);
        match &*gate {
            Some(database) => Ok(work(database)?),
            None => Err(Failure::Closed(format!("{} was closed", self.name()))),
        }
    }

    /// The thread for upkeep.
    pub(crate) fn background(&self) -> &Background {
        &self.background
    }

    /// Stops upkeep, waits for changes under way, and gives the directory up. Call detached.
    pub(crate) fn close(&self) {
        if self.forked() || self.closed.swap(true, Ordering::Relaxed) {
            return;
        }
        self.background.stop();
        let mut gate = self.gate.write().unwrap_or_else(PoisonError::into_inner);
        if let (Some(database), "rw") = (gate.as_deref(), self.place.mode) {
            // A failure loses nothing: the log has every batch, and opening replays it.
            let _replayed_instead = database.checkpoint(&Pool::SERIAL, CLOSE_CHECKPOINT_BYTES_MIN);
        }
        if let Some(database) = gate.take() {
            database.close();
        }
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        if self.forked() {
            // The lock is the parent's too: dropping it here would release it there.
            std::mem::forget(self.gate.get_mut().unwrap_or_else(PoisonError::into_inner).take());
            self.background.forget();
        } else {
            self.background.stop();
        }
    }
}
