//! `Committers`: the threads that write. Each takes everything that waits for one collection (`queue`) and writes it
//! with `Collection::apply_all`, with one sync. Used by the collection service.
//!
//! Threads are started when work waits and end when idle; there are never more than `THREADS_MAX`, however
//! many collections. A collection is written by one at a time, so its changes keep their order.
//!
//! *Slower before refused.* A group of a collection that has a good part of a tight memory budget waits for the
//! checkpoint that frees it. So a writer that outruns its checkpoints gets its answers later, not an error.
//!
//! *What a caller can rely on.* With `wait` the answer comes after the sync. Without it the change is taken
//! after half of `--flush-interval-ms`; the other half is for the write before it and its own. On a disk that
//! is slower than that nothing more is accepted: a crash takes only changes that were accepted within one interval.
//! A caller that waits and disconnects before its change is taken from the queue leaves nothing behind.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::time::Duration;

use nearfield_engine::batch::Change;
use nearfield_engine::{Applied, Error, ErrorKind, Result};
use nearfield_segment::Pool;
use tokio::sync::oneshot;

use super::budget::Reservation;
use super::error::{StoreError, StoreResult};
use super::managed::{Context, ManagedCollection};
use super::queue::{Due, Next, Queues, Refused};
use super::upkeep::Upkeep;
use crate::host::lock;

/// Groups being written at the same time: they mostly wait for the disk.
const THREADS_MAX: usize = 16;
/// How long a thread waits for more work before it ends.
const IDLE_AFTER: Duration = Duration::from_secs(10);

/// How long a group waits for a checkpoint, in pieces between which it looks whether the server closes: one that
/// fails must not hold up writes for ever.
const ROOM_PATIENCE: (u32, Duration) = (50, Duration::from_millis(200));

/// A change in the queue.
#[derive(Debug)]
pub(super) struct Waiting {
    pub(super) managed: Arc<ManagedCollection>,
    pub(super) change: Change<'static>,
    /// Answers the waiting caller; none with `wait=false`.
    pub(super) answer: Option<oneshot::Sender<Result<Applied>>>,
    pub(super) held: Reservation,
}

/// The queues and the threads that empty them.
#[derive(Debug)]
pub(super) struct Committers {
    context: Arc<Context>,
    upkeep: Arc<Upkeep>,
    flush_interval: Duration,
    state: Mutex<State>,
    /// There is work, or the queues were closed.
    work: Condvar,
    /// A group was written, or a thread ended.
    progress: Condvar,
}

#[derive(Debug)]
struct State {
    queues: Queues<Waiting>,
    threads: usize,
    /// Of them, those that wait for work.
    idle: usize,
}

impl Committers {
    pub(super) fn new(
        context: Arc<Context>,
        upkeep: Arc<Upkeep>,
        capacity: usize,
        flush_interval: Duration,
    ) -> Arc<Self> {
        let queues = Queues::new(capacity, flush_interval);
        let state = State { queues, threads: 0, idle: 0 };
        let (state, work, progress) = (Mutex::new(state), Condvar::new(), Condvar::new());
        Arc::new(Committers { context, upkeep, flush_interval, state, work, progress })
    }

    /// Queues a change. Never waits.
    ///
    /// # Errors
    /// [`StoreError::ResourceExhausted`] if the collection's queue is full, or no caller waits for the change and
    /// changes accepted an interval ago are not written; [`StoreError::ShuttingDown`].
    pub(super) fn push(self: &Arc<Self>, waiting: Waiting) -> StoreResult<()> {
        let throttle = self.context.budget.throttle();
        let waits = waiting.answer.is_some();
        let delay = if waits { throttle } else { self.flush_interval / 2 };
        let (lane, bytes) = (waiting.managed.number, waiting.held.bytes() / CHANGE_COPIES);
        let metrics = &self.context.metrics;
        let mut state = lock(&self.state);
        // Under the lock, so that times are in the order of the queue.
        let now = self.context.time.elapsed();
        let due = Due { at: now + delay, promised: (!waits).then_some(now) };
        state.queues.push(lane, waiting, bytes, due).map_err(|refused| match refused {
            Refused::Full => {
                metrics.backpressure_hard.inc();
                let message = "the collection's queue is full; try again";
                StoreError::ResourceExhausted(message.to_owned())
            }
            Refused::Behind => {
                metrics.backpressure_hard.inc();
                let message = "changes accepted --flush-interval-ms ago are not written yet; try again, or \
                               wait for the answer";
                StoreError::ResourceExhausted(message.to_owned())
            }
            Refused::Closed => StoreError::ShuttingDown,
        })?;
        if !throttle.is_zero() {
            metrics.backpressure_soft.inc();
            metrics.throttle_ms.inc_by(u64::try_from(throttle.as_millis()).unwrap_or(u64::MAX));
        }
        self.wake(&mut state);
        Ok(())
    }

    /// Items and bytes that wait for a collection.
    pub(super) fn depth(&self, managed: &ManagedCollection) -> (u64, u64) {
        lock(&self.state).queues.depth(managed.number)
    }

    /// Accepts no more changes and writes those in the queues, for at most `limit`. The callers of the changes that are
    /// left then get an error; changes accepted with `wait=false` are counted as lost.
    pub(super) fn close(self: &Arc<Self>, limit: Duration) {
        let mut state = lock(&self.state);
        state.queues.close();
        self.wake(&mut state);
        self.work.notify_all();
        let undone = |state: &mut State| !state.queues.is_drained() || state.threads > 0;
        let waited = self.progress.wait_timeout_while(state, limit, undone);
        let (mut state, _) = waited.unwrap_or_else(PoisonError::into_inner);
        let given_up = state.queues.clear();
        drop(state);
        for waiting in given_up {
            let accepted = u64::from(waiting.answer.is_none());
            waiting.managed.note_lost(accepted, "the server closed before it was written");
        }
    }

    /// Wakes an idle thread, or starts one more if there is none.
    fn wake(self: &Arc<Self>, state: &mut State) {
        self.work.notify_one();
        if state.idle > 0 || state.threads >= THREADS_MAX {
            return;
        }
        let this = Arc::clone(self);
        let started =
            std::thread::Builder::new().name("committer".to_owned()).spawn(move || this.run());
        match started {
            Ok(_detached) => state.threads += 1,
            // The next push tries again; changes in the queues already have a thread, or fail when the queues close.
            Err(error) => tracing::error!(%error, "no thread to write with"),
        }
    }

    fn run(self: Arc<Self>) {
        let mut state = lock(&self.state);
        let mut rested = false;
        loop {
            let now = self.context.time.elapsed();
            let wait = match state.queues.next(now) {
                Next::Group(lane, group) => {
                    if state.queues.is_waiting() {
                        self.wake(&mut state);
                    }
                    drop(state);
                    self.write(group);
                    state = lock(&self.state);
                    state.queues.done(lane);
                    self.progress.notify_all();
                    rested = false;
                    continue;
                }
                Next::WaitUntil(due) => due.saturating_sub(now),
                Next::Nothing if rested || state.queues.is_closed() => break,
                Next::Nothing => IDLE_AFTER,
            };
            state.idle += 1;
            let waited = self.work.wait_timeout(state, wait);
            let timeout;
            (state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
            state.idle -= 1;
            // The queues are checked once more: a push may have relied on this thread meanwhile.
            rested = timeout.timed_out();
        }
        state.threads -= 1;
        self.progress.notify_all();
    }

    /// Writes a group. A panic costs this group its answers, never the thread.
    fn write(&self, group: Vec<Waiting>) {
        let Some(managed) = group.first().map(|waiting| Arc::clone(&waiting.managed)) else {
            return;
        };
        let accepted = has_no_waiter(&group);
        let failure = catch_unwind(AssertUnwindSafe(|| {
            self.wait_for_room(&managed);
            self.write_group(&managed, group)
        }));
        let failure = failure.unwrap_or_else(|_| {
            // The channels were dropped with the group, which gives the waiting callers an error.
            let why = "a thread panicked while it was writing";
            self.context.panicked("writing", managed.name());
            managed.note_lost(accepted, why);
            Some(why.to_owned())
        });
        // The collection's queue must be released whatever happens here.
        let noted = catch_unwind(AssertUnwindSafe(|| {
            managed.observe(failure.as_deref());
            self.upkeep.look_at(&managed);
        }));
        if noted.is_err() {
            self.context.panicked("noting a write", managed.name());
        }
    }

    /// Waits while memory is tight because of rows of this collection that a checkpoint can write out. Such collections
    /// are eight at most, so others find a thread.
    fn wait_for_room(&self, managed: &ManagedCollection) {
        let budget = &self.context.budget;
        let too_much = || {
            budget.is_tight()
                && managed.memory_bytes() >= (budget.used_bytes() / 8).max(1)
                && managed.pending() > 0
                && !managed.refuses()
                && !managed.is_dropped()
        };
        if too_much() {
            self.upkeep.look_at(managed);
            self.context.metrics.backpressure_soft.inc();
        }
        let (pieces, piece) = ROOM_PATIENCE;
        for _ in 0..pieces {
            if !too_much() || lock(&self.state).queues.is_closed() {
                return;
            }
            managed.wait_while(piece, too_much);
        }
    }

    /// Returns what went wrong, if something did.
    fn write_group(&self, managed: &ManagedCollection, group: Vec<Waiting>) -> Option<String> {
        let (mut changes, mut answers, mut held) = (Vec::new(), Vec::new(), Vec::new());
        // The change of a caller that has disconnected is dropped.
        let is_wanted = |waiting: &Waiting| !waiting.answer.as_ref().is_some_and(|a| a.is_closed());
        for waiting in group.into_iter().filter(is_wanted) {
            changes.push(waiting.change);
            answers.push(waiting.answer);
            held.push(waiting.held);
        }
        if changes.is_empty() {
            return None;
        }
        let results = managed.collection.apply_all(changes, &Pool::SERIAL);
        self.context.metrics.commit_groups.inc();
        let mut errors = results.iter().filter_map(|result| result.as_ref().err());
        let full = errors.rfind(|error| error.kind() == ErrorKind::StorageFull);
        managed.note_space(full.map(Error::message));
        let mut failure = None;
        let mut lost = 0;
        for (answer, result) in answers.into_iter().zip(results) {
            match &result {
                Ok(_) => self.context.metrics.ingest_ops.inc(),
                Err(error) => failure = Some(error.message().to_owned()),
            }
            lost += u64::from(answer.is_none() && result.is_err());
            // A caller that has stopped waiting does not need the answer.
            let _gone = answer.map(|answer| answer.send(result));
        }
        managed.note_lost(lost, failure.as_deref().unwrap_or_default());
        failure
    }

    /// The answer to a caller whose change vanished with a thread or with the queue.
    pub(super) fn unanswered(&self) -> StoreError {
        if lock(&self.state).queues.is_closed() {
            return StoreError::NotWritten;
        }
        StoreError::Internal("writing (it is not known whether the change was written)")
    }
}

/// Changes that were accepted without waiting.
fn has_no_waiter(group: &[Waiting]) -> u64 {
    group.iter().filter(|waiting| waiting.answer.is_none()).count() as u64
}

/// How many times its bytes a change counts while it waits or is written: once for itself, once for the copies that are
/// made for the log and for its segment.
const CHANGE_COPIES: u64 = 2;

/// About what a change takes in memory until it is written. O(rows).
pub(super) fn change_bytes(change: &Change<'_>) -> u64 {
    match change {
        Change::Batch(batch) => CHANGE_COPIES * batch.encoded_bytes_max() as u64,
        Change::DeleteWhere(_) => CHANGE_COPIES << 10,
    }
}
