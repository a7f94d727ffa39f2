//! `SearchThreads`: the threads for long searches, and the queue before them. Used by the handlers through `Store`;
//! `Cost` decides which searches are long, `shares` is the queue.
//!
//! *Invariants.* A key runs at most as many long searches at once as `--search-threads` says; one thread more
//! is there for the others. The queue is bounded per key, and keys take turns. A search ends when its caller
//! disconnects or its deadline passes, waiting or running. A panic fails its own request only.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::Pool;
use nearfield_segment::cancel::GoOn;
use prometheus::IntCounter;
use tokio::sync::oneshot;

use super::error::{StoreError, StoreResult};
use super::managed::Context;
use super::shares::{Owner, Shares};
use crate::host::{Stopwatch, lock};

/// Searches of one key that may wait, for each of its threads.
const WAITING_PER_THREAD: usize = 64;
/// Threads beyond those that one key may use.
const RESERVED_THREADS: usize = 1;

/// A search that waits for its turn.
struct Work {
    patience: Arc<Patience>,
    run: Box<dyn FnOnce() + Send>,
}

/// The threads and their queue.
pub(super) struct SearchThreads {
    context: Arc<Context>,
    deadline: Duration,
    state: Mutex<State>,
    work: Condvar,
}

struct State {
    shares: Shares<Work>,
    idle: usize,
    closed: bool,
}

impl std::fmt::Debug for SearchThreads {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SearchThreads").field("deadline", &self.deadline).finish_non_exhaustive()
    }
}

impl SearchThreads {
    /// Starts `threads` threads, and one more. A search ends after `deadline`, waiting included.
    ///
    /// # Errors
    /// `Io` if the system has no more threads.
    pub(super) fn start(
        context: Arc<Context>,
        threads: usize,
        deadline: Duration,
    ) -> Result<Arc<SearchThreads>> {
        let shares = Shares::new(threads * WAITING_PER_THREAD, threads);
        let state = Mutex::new(State { shares, idle: 0, closed: false });
        let this = Arc::new(SearchThreads { context, deadline, state, work: Condvar::new() });
        for number in 0..threads + RESERVED_THREADS {
            let thread = Arc::clone(&this);
            let builder = std::thread::Builder::new().name(format!("search-{number}"));
            if let Err(error) = builder.spawn(move || thread.serve()) {
                this.close();
                return Err(Error::io("start", "a thread for searches", error));
            }
        }
        Ok(this)
    }

    /// Searches on one of the threads, in the owner's turn. Dropping the future cancels the search.
    ///
    /// # Errors
    /// Those of `work`; [`StoreError::DeadlineExceeded`], [`StoreError::ResourceExhausted`],
    /// [`StoreError::ShuttingDown`]; [`StoreError::Internal`] if it panicked.
    pub(super) async fn search<R: Send + 'static>(
        &self,
        owner: Owner,
        work: impl FnOnce(GoOn<'_>) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        let patience = Arc::new(Patience::new(self.deadline));
        let found = self.run(owner, Arc::clone(&patience), work).await;
        self.judged(&patience, found)
    }

    /// Searches on the calling thread, as [`SearchThreads::search`].
    pub(super) fn search_here<R>(
        &self,
        work: impl FnOnce(GoOn<'_>) -> StoreResult<R>,
    ) -> StoreResult<R> {
        let patience = Patience::new(self.deadline);
        let worked = AssertUnwindSafe(|| work(&|| patience.lasts()));
        let found = catch_unwind(worked).unwrap_or_else(|_| {
            self.context.panicked("searching", "");
            Err(PANICKED)
        });
        self.judged(&patience, found)
    }

    async fn run<R: Send + 'static>(
        &self,
        owner: Owner,
        patience: Arc<Patience>,
        work: impl FnOnce(GoOn<'_>) -> StoreResult<R> + Send + 'static,
    ) -> StoreResult<R> {
        let (sender, receiver) = oneshot::channel();
        let limits = Arc::clone(&patience);
        let run = Box::new(move || {
            // The receiver is gone if the caller has disconnected meanwhile.
            let _gone = sender.send(work(&|| limits.lasts()));
        });
        self.push(owner, Work { patience: Arc::clone(&patience), run })?;
        let cancellations = self.context.metrics.searches_cancelled.clone();
        let mut waiting = Waiting { patience: Arc::clone(&patience), cancellations, ended: false };
        let answered = tokio::time::timeout(patience.left(), receiver).await;
        let answered = answered.map_err(|_| self.late())?;
        waiting.ended = true;
        // Without an answer it was skipped in the queue, or panicked.
        let unanswered = |_| Err(if patience.is_over() { self.late() } else { PANICKED });
        answered.unwrap_or_else(unanswered)
    }

    /// The answer of a search, which is a refusal if its deadline ended it; such searches are counted.
    fn judged<R>(&self, patience: &Patience, found: StoreResult<R>) -> StoreResult<R> {
        let found = found.map_err(|error| {
            let is_cancelled = matches!(
                &error,
                StoreError::Engine(error) if error.kind() == ErrorKind::Cancelled
            );
            if is_cancelled && patience.is_over() { self.late() } else { error }
        });
        if matches!(found, Err(StoreError::DeadlineExceeded(_))) {
            self.context.metrics.searches_late.inc();
        }
        found
    }

    fn late(&self) -> StoreError {
        StoreError::DeadlineExceeded(self.deadline)
    }

    /// The threads a search may use besides its own: those that have nothing to do right now.
    pub(super) fn spare(&self) -> Pool {
        Pool::new(1 + lock(&self.state).idle.saturating_sub(RESERVED_THREADS))
    }

    /// Takes nothing more. What waits is still searched; threads end by themselves.
    pub(super) fn close(&self) {
        lock(&self.state).closed = true;
        self.work.notify_all();
    }

    fn push(&self, owner: Owner, work: Work) -> StoreResult<()> {
        let mut state = lock(&self.state);
        if state.closed {
            return Err(StoreError::ShuttingDown);
        }
        if state.shares.push(owner, work, |work| work.patience.lasts()).is_err() {
            self.context.metrics.searches_refused.inc();
            let message = "too many long searches of this key wait already; try again";
            return Err(StoreError::ResourceExhausted(message.to_owned()));
        }
        self.work.notify_one();
        Ok(())
    }

    fn serve(&self) {
        let mut state = lock(&self.state);
        loop {
            if let Some((owner, work)) = state.shares.next() {
                drop(state);
                let run = AssertUnwindSafe(|| {
                    if work.patience.lasts() {
                        (work.run)();
                    }
                });
                if catch_unwind(run).is_err() {
                    self.context.panicked("searching", "");
                }
                state = lock(&self.state);
                state.shares.done(owner);
                // Work of this owner may have waited for its limit only.
                self.work.notify_one();
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
}

const PANICKED: StoreError = StoreError::Internal("searching");

/// Shared by the request that waits and the thread that searches.
#[derive(Debug)]
struct Patience {
    since: Stopwatch,
    limit: Duration,
    cancelled: AtomicBool,
}

impl Patience {
    /// Begins now; ends after `limit`, or when it is cancelled.
    fn new(limit: Duration) -> Patience {
        Patience { since: Stopwatch::start(), limit, cancelled: AtomicBool::new(false) }
    }

    /// Whether the search goes on.
    fn lasts(&self) -> bool {
        !self.cancelled.load(Ordering::Relaxed) && !self.is_over()
    }

    /// Whether the deadline has passed.
    fn is_over(&self) -> bool {
        self.since.elapsed() >= self.limit
    }

    /// The time until the deadline.
    fn left(&self) -> Duration {
        self.limit.saturating_sub(self.since.elapsed())
    }
}

/// A request that waits. Dropped before it has ended, because the client disconnected or the deadline passed, it
/// cancels the search.
#[derive(Debug)]
struct Waiting {
    patience: Arc<Patience>,
    cancellations: IntCounter,
    /// The search has ended by itself.
    ended: bool,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        if self.ended {
            return;
        }
        self.patience.cancelled.store(true, Ordering::Relaxed);
        if !self.patience.is_over() {
            self.cancellations.inc();
        }
    }
}
