//! The one thread of a database: checkpoints and merges what writes leave behind.
//!
//! It sleeps on a condition variable until a write wakes it; it never polls, and never needs the
//! interpreter. Work asked for by a caller goes first (the engine makes way between steps). Nothing that
//! goes wrong here reaches a caller: the error is kept for `stats()["background_error"]`, and after a panic
//! the thread stops for good. Stopping loses nothing: unfinished work has no effect.

use std::ops::ControlFlow;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;

use nearfield_engine::{Collection, Result};
use nearfield_segment::Pool;

/// Upkeep of the collections of one database.
#[derive(Debug, Default)]
pub(crate) struct Background {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
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
    wanted: bool,
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

    /// Something was written: looks for work soon. Starts the thread with the first call.
    pub(crate) fn wake(&self) {
        let mut thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner);
        if thread.is_none() && !self.shared.stop.load(Ordering::Relaxed) {
            let shared = Arc::clone(&self.shared);
            let named = std::thread::Builder::new().name("nearfield-upkeep".to_owned());
            match named.spawn(move || run(&shared)) {
                Ok(started) => *thread = Some(started),
                Err(error) => self.shared.state().error = Some(format!("no thread: {error}")),
            }
        }
        self.shared.state().wanted = true;
        self.shared.wake.notify_one();
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
        self.shared.wake.notify_one();
        let thread = self.thread.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(thread) = thread {
            // A panic of the thread was caught inside it.
            let _finished = thread.join();
        }
    }

    /// For a forked child, which has no such thread.
    pub(crate) fn forget(&mut self) {
        std::mem::forget(self.thread.get_mut().unwrap_or_else(PoisonError::into_inner).take());
    }
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits to be woken; `None` when it is time to stop.
    fn next_round(&self) -> Option<Vec<Arc<Collection>>> {
        let idle = |state: &mut State| !state.wanted && !self.stop.load(Ordering::Relaxed);
        let waited = self.wake.wait_while(self.state(), idle);
        let mut state = waited.unwrap_or_else(PoisonError::into_inner);
        state.wanted = false;
        (!self.stop.load(Ordering::Relaxed)).then(|| state.collections.clone())
    }

    fn in_care(&self, collection: &Arc<Collection>) -> bool {
        self.state().collections.iter().any(|held| Arc::ptr_eq(held, collection))
    }
}

fn run(shared: &Shared) {
    while let Some(collections) = shared.next_round() {
        let round = AssertUnwindSafe(|| collections.iter().for_each(|held| tend(shared, held)));
        if catch_unwind(round).is_err() {
            shared.state().error = Some("upkeep panicked and has stopped".to_owned());
            return;
        }
    }
}

/// Does all work that is due in one collection.
fn tend(shared: &Shared, collection: &Arc<Collection>) {
    let outcome = maintain(shared, collection);
    if shared.in_care(collection) {
        shared.state().error = outcome.err().map(|error| error.to_string());
    }
}

fn maintain(shared: &Shared, collection: &Collection) -> Result<()> {
    let mut watch = |_| match shared.stop.load(Ordering::Relaxed) {
        true => ControlFlow::Break(()),
        false => ControlFlow::Continue(()),
    };
    while collection.maintain(&Pool::SERIAL, &mut watch)? {}
    Ok(())
}
