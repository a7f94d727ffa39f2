//! The door to one collection of a database: opened by the first who asks, while all others are served.
//!
//! Opening reads a whole log and may fail; nobody who wants another collection waits for it. Whoever wants
//! this one waits and shares what comes of it; a failure is tried again by the next who asks.

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
    /// Dropped or replaced: its files belong to nobody.
    Retired,
}

impl Opening {
    /// The door of a collection that is open.
    pub(crate) fn opened(collection: Arc<Collection>) -> Opening {
        Opening { state: Mutex::new(State::Open(collection)) }
    }

    /// The collection, opened by `open` if nobody did before; `None` if it is retired.
    ///
    /// # Errors
    /// What `open` returns; the door stays closed then.
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

    /// The collection if it is open; what is being opened at this moment is not.
    pub(crate) fn now(&self) -> Option<Arc<Collection>> {
        match self.state.try_lock() {
            Ok(state) => state.collection(),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner().collection(),
            Err(TryLockError::WouldBlock) => None,
        }
    }

    /// Shuts the door for good, after who is opening it; returns the collection if it is open.
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
