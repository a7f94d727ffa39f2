//! The threads for long searches, and the queue before them.
//!
//! *Invariants.* As many long searches run as there are threads, however many are asked for; the queue is
//! bounded. Nobody searches for somebody who went away while he waited. A panic costs its own request only.

use std::collections::VecDeque;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};

use nearfield_engine::{Error, Result};
use nearfield_segment::Pool;
use tokio::sync::oneshot;

use super::code::Code;
use super::context::Context;

/// Searches that may wait, for each thread.
const WAITING_PER_THREAD: usize = 64;

type Work = Box<dyn FnOnce() + Send>;

/// The threads and their queue.
pub(super) struct SearchThreads {
    context: Arc<Context>,
    capacity: usize,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    waiting: VecDeque<Work>,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for SearchThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchThreads").field("capacity", &self.capacity).finish_non_exhaustive()
    }
}

impl SearchThreads {
    /// Starts `threads` threads.
    ///
    /// # Errors
    /// `Io` if the system has no more threads.
    pub(super) fn start(context: Arc<Context>, threads: usize) -> Result<Arc<SearchThreads>> {
        let state = State { waiting: VecDeque::new(), idle: 0, closed: false };
        let (capacity, state) = (threads * WAITING_PER_THREAD, Mutex::new(state));
        let this = Arc::new(SearchThreads { context, capacity, state, work: Condvar::new() });
        for number in 0..threads {
            let thread = Arc::clone(&this);
            let builder = std::thread::Builder::new().name(format!("search-{number}"));
            if let Err(error) = builder.spawn(move || thread.serve()) {
                this.close();
                return Err(Error::io("start", "a thread for searches", error));
            }
        }
        Ok(this)
    }

    /// Runs `work` on one of the threads.
    ///
    /// # Errors
    /// [`Code::ResourceExhausted`], [`Code::ShuttingDown`]; [`Code::Internal`] if it panicked.
    pub(super) async fn run<R: Send + 'static>(
        &self,
        work: impl FnOnce() -> R + Send + 'static,
    ) -> Result<R> {
        let (sender, receiver) = oneshot::channel();
        self.push(Box::new(move || {
            if !sender.is_closed() {
                // Who went away meanwhile has no use for the answer.
                let _gone = sender.send(work());
            }
        }))?;
        receiver.await.map_err(|_| panicked())
    }

    /// Runs `work` on the calling thread, as [`SearchThreads::run`].
    pub(super) fn run_here<R>(&self, work: impl FnOnce() -> R) -> Result<R> {
        catch_unwind(AssertUnwindSafe(work)).map_err(|_| {
            self.context.panicked("searching", "");
            panicked()
        })
    }

    /// The threads a search may use besides its own: those that have nothing to do right now.
    pub(super) fn spare(&self) -> Pool {
        Pool::new(1 + self.state().idle)
    }

    /// Takes nothing more. What waits is still searched; threads end by themselves.
    pub(super) fn close(&self) {
        self.state().closed = true;
        self.work.notify_all();
    }

    fn push(&self, work: Work) -> Result<()> {
        let mut state = self.state();
        if state.closed {
            return Err(Code::ShuttingDown.error("the server is closing"));
        }
        if state.waiting.len() >= self.capacity {
            self.context.metrics.searches_refused.inc();
            let message = format!("{} long searches wait already; try again", self.capacity);
            return Err(Code::ResourceExhausted.error(message));
        }
        state.waiting.push_back(work);
        self.work.notify_one();
        Ok(())
    }

    fn serve(&self) {
        let mut state = self.state();
        loop {
            if let Some(work) = state.waiting.pop_front() {
                drop(state);
                if catch_unwind(AssertUnwindSafe(work)).is_err() {
                    self.context.panicked("searching", "");
                }
                state = self.state();
                continue;
            }
            if state.closed {
                return;
            }
            state.idle += 1;
            state = self.work.wait(state).unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn panicked() -> Error {
    Code::Internal.error("searching failed inside the server; it is in its log")
}
