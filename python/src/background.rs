//! `Background`: the threads of a Python database that run checkpoints and merges after writes. Used by `Store`; woken
//! by `upsert` and deletes.
//!
//! Two of them, so that a long merge does not keep fresh files waiting. They sleep on a condition variable until
//! a write wakes them, or a merge has been committed; they never poll, and never need the interpreter. A full
//! compaction by a caller goes first (the engine makes way between steps). Nothing that goes wrong here reaches a caller:
//! the error is kept for `stats()["background_error"]`, and after a panic the thread stops for good. Stopping
//! loses nothing: unfinished work has no effect.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfield_engine::task::{MergeScope, Progress};
use nearfield_engine::{Collection, Result};
use nearfield_segment::Pool;

const THREADS: usize = 2;
/// Without a reason to look for so long, a database is at rest: fewer files are then worth a merge.
const REST: Duration = Duration::from_secs(3);

/// Upkeep of the collections of one database.
#[derive(Debug, Default)]
pub(crate) struct Background {
    shared: Arc<Shared>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    state: Mutex<State>,
    wake: Condvar,
    stop: AtomicBool,
}

#[derive(Debug, Default)]
struct State {
    collections: Vec<Arc<Collection>>,
    /// Grows with each reason to look for work.
    reasons: u64,
    /// As many as there were when the collections were last put in order at rest.
    rested: u64,
    error: Option<String>,
}

impl Background {
    /// Takes a collection into care.
    pub(crate) fn add(&self, collection: &Arc<Collection>) {
        let mut state = self.shared.state();
        if !state.collections.iter().any(|held| Arc::ptr_eq(held, collection)) {
            state.collections.push(Arc::clone(collection));
        }
    }

    /// Lets go of a collection that was dropped.
    pub(crate) fn remove(&self, name: &str) {
        self.shared.state().collections.retain(|held| held.name() != name);
    }

    /// Something was written: looks for work soon. Starts the threads with the first call.
    pub(crate) fn wake(&self) {
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        if threads.is_empty() && !self.shared.stop.load(Ordering::Relaxed) {
            for _ in 0..THREADS {
                let shared = Arc::clone(&self.shared);
                let named = std::thread::Builder::new().name("nearfield-upkeep".to_owned());
                match named.spawn(move || run(&shared)) {
                    Ok(started) => threads.push(started),
                    Err(error) => self.shared.state().error = Some(format!("no thread: {error}")),
                }
            }
        }
        self.shared.look();
    }

    /// What went wrong last, if the last piece of work did not succeed.
    pub(crate) fn error(&self) -> Option<String> {
        self.shared.state().error.clone()
    }

    /// Stops at the next step and waits for it.
    pub(crate) fn stop(&self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        // The lock orders the store before the thread's next look at it.
        self.shared.state().collections.clear();
        self.shared.wake.notify_all();
        let mut threads = self.threads.lock().unwrap_or_else(PoisonError::into_inner);
        for thread in threads.drain(..) {
            // A panic of the thread was caught inside it.
            let _finished = thread.join();
        }
    }

    /// For a forked child, which has no such threads.
    pub(crate) fn forget(&mut self) {
        let threads = self.threads.get_mut().unwrap_or_else(PoisonError::into_inner);
        std::mem::forget(std::mem::take(threads));
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Something may be due.
    fn look(&self) {
        self.state().reasons += 1;
        self.wake.notify_all();
    }

    /// Waits for a reason beyond those that were `seen`, or for rest; `None` when it is time to stop.
    fn next_round(&self, seen: &mut u64) -> Option<(Vec<Arc<Collection>>, MergeScope)> {
        let mut state = self.state();
        loop {
            if self.stop.load(Ordering::Relaxed) {
                return None;
            }
            if state.reasons != *seen {
                *seen = state.reasons;
                return Some((state.collections.clone(), MergeScope::Due));
            }
            if state.rested == state.reasons {
                state = self.wake.wait(state).unwrap_or_else(PoisonError::into_inner);
                continue;
            }
            let waited = self.wake.wait_timeout(state, REST);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            if timeout.timed_out() && state.reasons == *seen && state.rested != state.reasons {
                state.rested = state.reasons;
                return Some((state.collections.clone(), MergeScope::Worthwhile));
            }
        }
    }

    fn in_care(&self, collection: &Arc<Collection>) -> bool {
        self.state().collections.iter().any(|held| Arc::ptr_eq(held, collection))
    }
}

fn run(shared: &Shared) {
    let mut seen = 0;
    while let Some((collections, scope)) = shared.next_round(&mut seen) {
        let tend_all = || collections.iter().for_each(|held| tend(shared, held, scope));
        if catch_unwind(AssertUnwindSafe(tend_all)).is_err() {
            shared.state().error = Some("upkeep panicked and has stopped".to_owned());
            return;
        }
    }
}

/// Does all work of a scope in one collection.
fn tend(shared: &Shared, collection: &Arc<Collection>, scope: MergeScope) {
    let outcome = maintain(shared, collection, scope);
    if shared.in_care(collection) {
        shared.state().error = outcome.err().map(|error| error.to_string());
    }
}

fn maintain(shared: &Shared, collection: &Collection, scope: MergeScope) -> Result<()> {
    let mut watch = |_: Progress| match shared.stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    while collection.maintain(scope, &Pool::SERIAL, &mut watch)? {
        // What came out may be due for another merge, also of a thread that found nothing before.
        shared.look();
    }
    Ok(())
}
