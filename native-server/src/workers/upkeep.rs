//! The threads that keep collections in order: recovery of a writer that refuses, checkpoints, merges.
//!
//! Each looks for the collection whose next step (`care`) is due, does it, and waits when there is none. Merges take all
//! threads but one at most, so that none of them keeps a checkpoint or a recovery waiting; several may be of one
//! collection, with different inputs. Errors are said on the board and tried again later; nothing here stops a request.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfield_engine::task::{Effort, Task};
use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::storage::Storage;

use super::background::Background;
use super::care::{Care, Facts, Intervals, Outcome, Step};
use super::context::Context;
use super::line::Line;
use super::readiness::Topic;
use crate::pacing::Pacer;

const THREADS: usize = 4;
/// Merges at once, of all collections.
const MERGES_MAX: usize = THREADS - 1;
/// How long nothing may look after a collection: due times may move while a thread waits.
const LOOK_EVERY: Duration = Duration::from_secs(5);
/// Free bytes from which a full disk is no longer full.
const ROOM_BYTES: u64 = 1 << 20;

/// Sizes and times of upkeep.
#[derive(Debug, Clone, Copy)]
pub(super) struct Limits {
    pub(super) intervals: Intervals,
    /// Bytes of rows in memory from which a checkpoint is due.
    pub(super) memtable_bytes_max: u64,
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
    lines: BTreeMap<u64, Tended>,
    stopping: bool,
    threads: Vec<JoinHandle<()>>,
    running: usize,
}

impl State {
    /// True if as many merges run as may.
    fn merging(&self) -> bool {
        let steps = self.lines.values().flat_map(|tended| &tended.running);
        let merges = |step: &&Step| match step {
            Step::Merge(effort) => *effort != Effort::Checkpoint,
            Step::Recover | Step::Tidy | Step::Wait(_) => false,
        };
        steps.filter(merges).count() >= MERGES_MAX
    }
}

#[derive(Debug)]
struct Tended {
    line: Arc<Line>,
    care: Care,
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
        let (lines, threads) = (BTreeMap::new(), Vec::new());
        let state = Mutex::new(State { lines, stopping: false, threads, running: 0 });
        let wake = Condvar::new();
        let this = Upkeep { context, background, pacer, storage, limits, state, wake };
        let this = Arc::new(this);
        for number in 0..THREADS {
            let thread = Arc::clone(&this);
            let builder = std::thread::Builder::new().name(format!("upkeep-{number}"));
            match builder.spawn(move || thread.run()) {
                Ok(handle) => {
                    let mut state = this.state();
                    state.threads.push(handle);
                    state.running += 1;
                }
                Err(error) => {
                    this.state().stopping = true;
                    this.wake.notify_all();
                    return Err(Error::io("start", "a thread for upkeep", error));
                }
            }
        }
        Ok(this)
    }

    /// From now on a collection is looked after.
    pub(super) fn add(&self, line: Arc<Line>) {
        let care = Care::new(self.context.time.elapsed(), self.limits.intervals);
        self.state().lines.insert(line.number, Tended { line, care, running: Vec::new() });
        self.wake.notify_one();
    }

    /// No more.
    pub(super) fn remove(&self, line: &Line) {
        self.state().lines.remove(&line.number);
    }

    /// A collection was written: something may be due.
    pub(super) fn look_at(&self, line: &Line) {
        let tight = self.pace();
        if line.memory_bytes() < self.limits.memtable_bytes_max && !line.refuses() && !tight {
            return;
        }
        let mut state = self.state();
        let Some(tended) = state.lines.get_mut(&line.number) else { return };
        tended.care.look();
        self.wake.notify_one();
    }

    /// A merge was begun: another one may be due, of other files.
    fn look_beside(&self, line: &Line) {
        if let Some(tended) = self.state().lines.get_mut(&line.number) {
            tended.care.look();
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
        let mut state = self.state();
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
        let mut state = self.state();
        while !state.stopping {
            let now = self.context.time.elapsed();
            let Some((line, step)) = self.most_urgent(&mut state, now) else {
                let wait = self.rest(&state, now);
                let waited = self.wake.wait_timeout(state, wait);
                (state, _) = waited.unwrap_or_else(PoisonError::into_inner);
                continue;
            };
            // There may be a step for another thread too.
            self.wake.notify_one();
            drop(state);
            let result = catch_unwind(AssertUnwindSafe(|| self.take(&line, step)));
            let result = result.unwrap_or_else(|_| {
                self.context.panicked("upkeep", line.collection.name());
                let message = "upkeep panicked; the server's log says where";
                Err(Error::new(ErrorKind::Io, message))
            });
            state = self.state();
            self.remember(&mut state, &line, step, result);
        }
        state.running -= 1;
        self.wake.notify_all();
    }

    /// A collection with something to do now, which is noted as begun.
    fn most_urgent(&self, state: &mut State, now: Duration) -> Option<(Arc<Line>, Step)> {
        let merging = state.merging();
        state.lines.values_mut().find_map(|tended| {
            let step = tended.care.next(self.facts(tended, merging), now);
            if matches!(step, Step::Wait(_)) {
                return None;
            }
            tended.care.begin(step, now, self.limits.intervals);
            tended.running.push(step);
            Some((Arc::clone(&tended.line), step))
        })
    }

    /// How long there is nothing to do.
    fn rest(&self, state: &State, now: Duration) -> Duration {
        let merging = state.merging();
        let until = state.lines.values().map(|tended| {
            match tended.care.next(self.facts(tended, merging), now) {
                Step::Wait(until) => until.saturating_sub(now),
                Step::Recover | Step::Merge(_) | Step::Tidy => Duration::ZERO,
            }
        });
        until.min().unwrap_or(LOOK_EVERY).min(LOOK_EVERY)
    }

    fn facts(&self, tended: &Tended, merging: bool) -> Facts {
        let (budget, line) = (&self.context.budget, &tended.line);
        let (share, memory_bytes) = (budget.used_bytes() / 8, line.memory_bytes());
        let running = |step| tended.running.contains(&step);
        Facts {
            refuses: line.refuses(),
            pending: line.pending() > 0,
            tight: budget.is_tight() && line.counted_bytes() >= share,
            full: memory_bytes >= self.limits.memtable_bytes_max,
            recovering: running(Step::Recover),
            checkpointing: running(Step::Merge(Effort::Checkpoint)),
            merging,
        }
    }

    fn take(&self, line: &Line, step: Step) -> Result<bool> {
        let collection = &line.collection;
        let effort = match step {
            Step::Recover => return self.recover(line).map(|()| true),
            Step::Tidy => return self.tidy(line),
            Step::Merge(effort) => effort,
            Step::Wait(_) => return Ok(false),
        };
        collection.maintain_by(effort, &mut |task: Task| {
            let merges = !task.is_checkpoint();
            if merges {
                self.look_beside(line);
            }
            let gives_way = |_| (merges && collection.is_wanted()) || line.is_dropped();
            self.background.carry(line, task, &gives_way)
        })
    }

    fn tidy(&self, line: &Line) -> Result<bool> {
        let vacuumed = line.collection.vacuum()?;
        self.context.metrics.quarantine_evictions.inc_by(vacuumed.evicted);
        line.look_into_quarantine()?;
        Ok(vacuumed.removed + vacuumed.evicted > 0)
    }

    /// Ends the refusal of a writer. On a disk that is still full its log might be in order at once, and
    /// the next write would fail all the same: then the refusal stays, and is named. Writes that come
    /// meanwhile look for space themselves.
    fn recover(&self, line: &Line) -> Result<()> {
        let cause = line.collection.with_writer(|writer| Ok(writer.poisoned()))?;
        let free_bytes = self.storage.free_bytes()?.unwrap_or(u64::MAX);
        if cause == Some(ErrorKind::StorageFull) && free_bytes < ROOM_BYTES {
            let message = format!("the disk has {free_bytes} free bytes, {ROOM_BYTES} are needed");
            return Err(Error::new(ErrorKind::StorageFull, message));
        }
        line.collection.recover()
    }

    fn remember(&self, state: &mut State, line: &Arc<Line>, step: Step, result: Result<bool>) {
        let name = line.collection.name();
        let outcome = match &result {
            Ok(true) => Outcome::Did,
            Ok(false) => Outcome::Nothing,
            Err(_) => Outcome::Failed,
        };
        self.context.observe(line, result.as_ref().err().map(Error::message));
        self.pace();
        let Some(tended) = state.lines.get_mut(&line.number) else { return };
        if let Some(place) = tended.running.iter().position(|&running| running == step) {
            tended.running.swap_remove(place);
        }
        let was_failing = tended.care.is_failing();
        let now = self.context.time.elapsed();
        let wait = tended.care.done(step, outcome, now);
        if let (Some(wait), Err(error)) = (wait, result) {
            let doing = words(step);
            self.context.met(line, &error);
            tracing::warn!(collection = name, %error, wait_secs = wait.as_secs(), "{doing} failed");
            self.context.metrics.upkeep_failures.inc();
            let again = format!("tried again {} s after the last attempt", wait.as_secs());
            self.context.board.note(
                Topic::Upkeep,
                name,
                format!("{name}: {doing} fails, {again}: {error}"),
            );
        } else if was_failing && !tended.care.is_failing() {
            self.context.board.clear(Topic::Upkeep, name);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn words(step: Step) -> &'static str {
    match step {
        Step::Recover => "recovery of the log",
        Step::Merge(Effort::Checkpoint) => "the checkpoint",
        Step::Merge(Effort::Due | Effort::Worthwhile | Effort::Everything) => "merging",
        Step::Tidy => "removing old files",
        Step::Wait(_) => "waiting",
    }
}
