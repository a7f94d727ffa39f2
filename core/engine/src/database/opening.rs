//! `Opening`: opens a collection of a database once, in the first call that needs it. Used by `Database`.
//! `OpeningReport`: what opening the database found beside its collections; the server logs it.
//!
//! Opening replays the log after the last checkpoint and may fail. Callers of the same collection wait for it and
//! share the result; callers of other collections do not wait. After a failure the next caller tries again.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nearfield_segment::Result;

use crate::database::collection::Collection;

/// What opening a database for writing found beside its collections.
#[derive(Debug, Clone, Default, PartialEq, Eq, serde::Serialize)]
pub struct OpeningReport {
    /// Collections without a name and without rows, whose manifests were moved to quarantine.
    pub quarantined: Vec<String>,
    /// Sentences about what was left as it is, for the log of a host.
    pub warnings: Vec<String>,
}

/// A collection that is open, will be, or will never be again.
#[derive(Debug, Default)]
pub(crate) struct Opening {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
enum State {
    #[default]
    Closed,
    Open(Arc<Collection>),
    /// Dropped or replaced: its files are no longer used.
    Retired,
}

impl Opening {
    /// The entry of a collection that is open.
    pub(crate) fn opened(collection: Arc<Collection>) -> Opening {
        Opening { state: Mutex::new(State::Open(collection)) }
    }

    /// The collection, opened by `open` if it is closed; `None` if it is retired.
    ///
    /// # Errors
    /// What `open` returns; the collection stays closed then.
    pub(crate) fn enter(
        &self,
        open: impl FnOnce() -> Result<Collection>,
    ) -> Result<Option<Arc<Collection>>> {
        let mut state = self.state();
        match &*state {
            State::Open(collection) => Ok(Some(Arc::clone(collection))),
            State::Retired => Ok(None),
            State::Closed => {
                let collection = Arc::new(open()?);
                *state = State::Open(Arc::clone(&collection));
                Ok(Some(collection))
            }
        }
    }

    /// The collection if it is open; `None` while it is being opened.
    pub(crate) fn now(&self) -> Option<Arc<Collection>> {
        match self.state.try_lock() {
            Ok(state) => state.collection(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().collection(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Retires the collection for good, after a running opening has ended; returns it if it is open.
    pub(crate) fn retire(&self) -> Option<Arc<Collection>> {
        let mut state = self.state();
        let open = state.collection();
        *state = State::Retired;
        open
    }

    /// A thread that panicked while opening left it closed.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn collection(&self) -> Option<Arc<Collection>> {
        match self {
            State::Open(collection) => Some(Arc::clone(collection)),
            State::Closed | State::Retired => None,
        }
    }
}
