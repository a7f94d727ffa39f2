//! `Upkeep`: the threads that maintain collections: recovery of a poisoned writer, checkpoints, merges, removal of old
//! files. Started by `opening`; the merges run in `background`.
//!
//! Each thread looks for the collection whose next step (`schedule`) is due, takes it, and waits when there is none.
//! Merges take all threads but one at most, so that none of them keeps a checkpoint or a recovery waiting; several may
//! be of one collection, with different inputs. Errors are noted in the health registry, and the step is tried again
//! later; nothing here stops a request.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfield_engine::task::{MergeOutput, MergeScope, Progress, Task};
use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::storage::Storage;

use super::background::Background;
use super::health::Topic;
use super::managed::{Context, ManagedCollection};
use super::schedule::{Facts, Intervals, MaintenanceSchedule, Outcome, Step};
use crate::host::lock;
use crate::pacing::Pacer;

const THREADS: usize = 4;
/// Merges at once, of all collections.
const MERGES_MAX: usize = THREADS - 1;
/// How long nothing may look after a collection in a server: due times may move while a thread waits.
pub(super) const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Free bytes from which a full disk is no longer full.
const ROOM_BYTES: u64 = 1 << 20;

/// Sizes and times of upkeep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) intervals: Intervals,
    /// Bytes of rows in memory from which a checkpoint is due.
    pub(super) memtable_bytes_max: u64,
    /// Between two looks at the collections, at most.
    pub(super) look_every: Duration,
}

/// The threads and what they remember.
#[derive(Debug)]
pub(super) struct Upkeep {
    context: Arc<Context>,
    background: Arc<Background>,
    pacer: Arc<Pacer>,
    storage: Arc<dyn Storage>,
    limits: Limits,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug)]
struct State {
    collections: BTreeMap<u64, Tended>,
    stopping: bool,
    threads: Vec<JoinHandle<()>>,
    running: usize,
}

impl State {
    /// True if as many merges run as may.
    fn merging(&self) -> bool {
        let steps = self.collections.values().flat_map(|tended| &tended.running);
        let merges = |step: &&Step| match step {
            Step::Merge(scope) => *scope != MergeScope::Checkpoint,
            Step::Recover | Step::Tidy | Step::Wait(_) => false,
        };
        steps.filter(merges).count() >= MERGES_MAX
    }
}

#[derive(Debug)]
struct Tended {
    managed: Arc<ManagedCollection>,
    schedule: MaintenanceSchedule,
    /// Steps that threads are taking.
    running: Vec<Step>,
}

impl Upkeep {
    /// Starts the threads.
    ///
    /// # Errors
    /// `Io` if the system has no more threads.
    pub(super) fn start(
        context: Arc<Context>,
        background: Arc<Background>,
        pacer: Arc<Pacer>,
        storage: Arc<dyn Storage>,
        limits: Limits,
    ) -> Result<Arc<Upkeep>> {
        let (collections, threads) = (BTreeMap::new(), Vec::new());
        let state = Mutex::new(State { collections, stopping: false, threads, running: 0 });
        let wake = Condvar::new();
        let this = Upkeep { context, background, pacer, storage, limits, state, wake };
        let this = Arc::new(this);
        for number in 0..THREADS {
            let thread = Arc::clone(&this);
            let builder = std::thread::Builder::new().name(format!("upkeep-{number}"));
            match builder.spawn(move || thread.run()) {
                Ok(handle) => {
                    let mut state = lock(&this.state);
                    state.threads.push(handle);
                    state.running += 1;
                }
                Err(error) => {
                    lock(&this.state).stopping = true;
                    this.wake.notify_all();
                    return Err(Error::io("start", "a thread for upkeep", error));
                }
            }
        }
        Ok(this)
    }

    /// From now on a collection is looked after.
    pub(super) fn add(&self, managed: Arc<ManagedCollection>) {
        let schedule = MaintenanceSchedule::new(self.context.time.elapsed(), self.limits.intervals);
        lock(&self.state)
            .collections
            .insert(managed.number, Tended { managed, schedule, running: Vec::new() });
        self.wake.notify_one();
    }

    /// No more.
    pub(super) fn remove(&self, managed: &ManagedCollection) {
        lock(&self.state).collections.remove(&managed.number);
    }

    /// A collection was written: something may be due.
    pub(super) fn look_at(&self, managed: &ManagedCollection) {
        let tight = self.pace();
        if managed.memory_bytes() < self.limits.memtable_bytes_max && !managed.refuses() && !tight {
            return;
        }
        let mut state = lock(&self.state);
        let Some(tended) = state.collections.get_mut(&managed.number) else { return };
        tended.schedule.look();
        self.wake.notify_one();
    }

    /// A merge was begun: another one may be due, of other files.
    fn look_beside(&self, managed: &ManagedCollection) {
        if let Some(tended) = lock(&self.state).collections.get_mut(&managed.number) {
            tended.schedule.look();
            self.wake.notify_one();
        }
    }

    /// Lifts the limit of background writing while memory is tight: room comes first. True if it is.
    fn pace(&self) -> bool {
        let tight = self.context.budget.is_tight();
        self.pacer.lift(tight || self.background.is_stopping());
        tight
    }

    /// Ends the threads; merges stop at their next step. False if `limit` passed first.
    pub(super) fn stop(&self, limit: Duration) -> bool {
        self.background.stop();
        self.pacer.lift(true);
        let mut state = lock(&self.state);
        state.stopping = true;
        self.wake.notify_all();
        let waited = self.wake.wait_timeout_while(state, limit, |state| state.running > 0);
        let (mut state, timeout) = waited.unwrap_or_else(PoisonError::into_inner);
        if !timeout.timed_out() {
            let threads = std::mem::take(&mut state.threads);
            drop(state);
            // They have said that they are done, and a panic of theirs was caught.
            threads.into_iter().for_each(|thread| drop(thread.join()));
        }
        !timeout.timed_out()
    }

    fn run(&self) {
        let mut state = lock(&self.state);
        while !state.stopping {
            let now = self.context.time.elapsed();
            let Some((managed, step)) = self.most_urgent(&mut state, now) else {
                let wait = self.rest(&state, now);
                let waited = self.wake.wait_timeout(state, wait);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // There may be a step for another thread too.
            self.wake.notify_one();
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| self.take(&managed, step)));
            let result = result.unwrap_or_else(|_| {
                self.context.panicked("upkeep", managed.name());
                let message = "upkeep panicked; the server's log says where";
                Err(Error::new(ErrorKind::Io, message))
            });
            state = lock(&self.state);
            self.remember(&mut state, &managed, step, result);
        }
        state.running -= 1;
        self.wake.notify_all();
    }

    /// A collection with something to do now, which is noted as begun.
    fn most_urgent(
        &self,
        state: &mut State,
        now: Duration,
    ) -> Option<(Arc<ManagedCollection>, Step)> {
        let merging = state.merging();
        state.collections.values_mut().find_map(|tended| {
            let step = tended.schedule.next(self.facts(tended, merging), now);
            if matches!(step, Step::Wait(_)) {
                return None;
            }
            tended.schedule.begin(step, now, self.limits.intervals);
            tended.running.push(step);
            Some((Arc::clone(&tended.managed), step))
        })
    }

    /// How long there is nothing to do.
    fn rest(&self, state: &State, now: Duration) -> Duration {
        let merging = state.merging();
        let until = state.collections.values().map(|tended| {
            match tended.schedule.next(self.facts(tended, merging), now) {
                Step::Wait(until) => until.saturating_sub(now),
                Step::Recover | Step::Merge(_) | Step::Tidy => Duration::ZERO,
            }
        });
        until.min().unwrap_or(Duration::MAX).min(self.limits.look_every)
    }

    fn facts(&self, tended: &Tended, merging: bool) -> Facts {
        let (budget, managed) = (&self.context.budget, &tended.managed);
        let running = |step| tended.running.contains(&step);
        Facts {
            refuses: managed.refuses(),
            pending: managed.pending() > 0,
            tight: budget.wants_rows_written(managed.counted_bytes()),
            full: managed.memory_bytes() >= self.limits.memtable_bytes_max,
            recovering: running(Step::Recover),
            checkpointing: running(Step::Merge(MergeScope::Checkpoint)),
            merging,
        }
    }

    fn take(&self, managed: &ManagedCollection, step: Step) -> Result<bool> {
        let collection = &managed.collection;
        let scope = match step {
            Step::Recover => return self.recover(managed).map(|()| true),
            Step::Tidy => return self.tidy(managed),
            Step::Merge(scope) => scope,
            Step::Wait(_) => return Ok(false),
        };
        collection.maintain_by(scope, &mut |task: Task| {
            let merges = !task.is_checkpoint();
            if merges {
                self.look_beside(managed);
            }
            let gives_way = || (merges && collection.is_wanted()) || managed.is_dropped();
            self.run_task(managed, task, &gives_way, &|_| {})
        })
    }

    /// As [`Background::run_task`]. If a merge claims memory, rows that stand against it are written to files at once.
    pub(super) fn run_task(
        &self,
        managed: &ManagedCollection,
        task: Task,
        gives_way: &(dyn Fn() -> bool + Sync),
        advance: &(dyn Fn(Progress) + Sync),
    ) -> Result<MergeOutput> {
        let claims = || {
            // Under the lock: a thread is either before its next look, or waits and is woken.
            let _state = lock(&self.state);
            self.wake.notify_one();
        };
        self.background.run_task(managed, task, gives_way, &claims, advance)
    }

    fn tidy(&self, managed: &ManagedCollection) -> Result<bool> {
        let vacuumed = managed.collection.vacuum()?;
        self.context.metrics.quarantine_evictions.inc_by(vacuumed.evicted);
        managed.count_quarantine()?;
        Ok(vacuumed.removed + vacuumed.evicted > 0)
    }

    /// Ends the refusal of a writer. On a disk that is still full its log might be in order at once, and
    /// the next write would fail all the same: then the refusal stays, and is named. Writes that come
    /// meanwhile look for space themselves.
    fn recover(&self, managed: &ManagedCollection) -> Result<()> {
        let cause = managed.collection.with_writer(|writer| Ok(writer.poisoned()))?;
        let free_bytes = self.storage.free_bytes()?.unwrap_or(u64::MAX);
        if cause == Some(ErrorKind::StorageFull) && free_bytes < ROOM_BYTES {
            let message = format!("the disk has {free_bytes} free bytes, {ROOM_BYTES} are needed");
            return Err(Error::new(ErrorKind::StorageFull, message));
        }
        managed.collection.recover()
    }

    fn remember(
        &self,
        state: &mut State,
        managed: &Arc<ManagedCollection>,
        step: Step,
        result: Result<bool>,
    ) {
        let name = managed.name();
        let outcome = match &result {
            Ok(true) => Outcome::Did,
            Ok(false) => Outcome::Nothing,
            Err(_) => Outcome::Failed,
        };
        managed.observe(result.as_ref().err().map(Error::message));
        self.pace();
        let Some(tended) = state.collections.get_mut(&managed.number) else { return };
        if let Some(place) = tended.running.iter().position(|&running| running == step) {
            tended.running.swap_remove(place);
        }
        let was_failing = tended.schedule.is_failing();
        let now = self.context.time.elapsed();
        let wait = tended.schedule.done(step, outcome, now);
        if let (Some(wait), Err(error)) = (wait, result) {
            let doing = words(step);
            managed.note_error(&error);
            tracing::warn!(collection = name, %error, wait_secs = wait.as_secs(), "{doing} failed");
            self.context.metrics.upkeep_failures.inc();
            let again = format!("tried again {} s after the last attempt", wait.as_secs());
            self.context.health.note(
                Topic::Upkeep,
                name,
                format!("{name}: {doing} fails, {again}: {error}"),
            );
        } else if was_failing && !tended.schedule.is_failing() {
            self.context.health.clear(Topic::Upkeep, name);
        }
    }
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Recover => "recovery of the log",
        Step::Merge(MergeScope::Checkpoint) => "the checkpoint",
        Step::Merge(_) => "merging",
        Step::Tidy => "removing old files",
        Step::Wait(_) => "waiting",
    }
}
