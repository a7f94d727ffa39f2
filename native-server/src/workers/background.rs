//! `Background`: runs merge tasks and other long work beside requests, on threads with a low priority. `run_task`
//! steps a merge of the engine (called by `upkeep` and `jobs`), `run_low_priority` runs a scrub or a job.
//!
//! Only computing and writing new files happens at low priority. A thread that holds the lock of a writer must not
//! wait for a processor behind all others, because writes wait for the lock: plans are made and results committed by
//! the caller, at ordinary priority (docs/internals/decisions/0026-background-priority.md).

use std::ops::ControlFlow;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use nearfield_engine::task::{MergeOutput, MergeScope, Progress, Task};
use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::Pool;

use super::managed::{Context, ManagedCollection};
use crate::host::{self, Behind};
use crate::metrics::GaugeGuard;

/// Runs long work.
#[derive(Debug)]
pub(super) struct Background {
    context: Arc<Context>,
    behind: Behind,
    pool: Pool,
    stopping: AtomicBool,
}

impl Background {
    /// [`Behind::Everything`] uses all processors, because its threads run only where no other does; else half of them.
    pub(super) fn new(context: Arc<Context>, behind: Behind) -> Background {
        let threads = match behind {
            Behind::Everything => host::processors(),
            Behind::Requests => host::processors().div_ceil(2),
        };
        let (pool, stopping) = (Pool::new(threads).giving_way(), AtomicBool::new(false));
        Background { context, behind, pool, stopping }
    }

    /// Runs a task of `managed` until it is done, `gives_way` returns true or the server closes. A merge first waits
    /// until the memory budget has room for it; a checkpoint does not. `gives_way` is called while the merge waits and
    /// with each step, `earmarks` when it earmarks memory, `advance` with each step. A merge that waits also makes way for
    /// any caller that must be alone, a recovery above all: it may be what frees the memory.
    ///
    /// # Errors
    /// As [`Task::run`]; `Cancelled` if it made way; `Io` if it panicked.
    pub(super) fn run_task(
        &self,
        managed: &ManagedCollection,
        task: Task,
        gives_way: &(dyn Fn() -> bool + Sync),
        earmarks: &dyn Fn(),
        advance: &(dyn Fn(Progress) + Sync),
    ) -> Result<MergeOutput> {
        let metrics = &self.context.metrics;
        let (under_way, done) = match task.is_checkpoint() {
            true => (&metrics.checkpoints_inflight, &metrics.checkpoints),
            false => (&metrics.compactions_inflight, &metrics.compactions),
        };
        let stops = || gives_way() || self.is_stopping();
        let makes_way = || managed.collection.is_wanted() || stops();
        let (budget, bytes) = (&self.context.budget, task.memory_bytes());
        let held = match task.is_checkpoint() {
            true => Some(budget.take_for_checkpoint(bytes)),
            false => budget.wait_to_merge(bytes, &makes_way, earmarks),
        };
        let _held = held.ok_or_else(|| {
            Error::new(ErrorKind::Cancelled, "the merge made way while it waited for memory")
        })?;
        let _counted = GaugeGuard::new(under_way);
        let mut watch = |progress| {
            advance(progress);
            if stops() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        };
        let output = self.run_low_priority(|| task.run(&self.pool, &mut watch));
        // What the task gathered was in many small blocks, which the allocator keeps when they are freed.
        host::trim();
        let output = output?;
        done.inc();
        Ok(output)
    }

    /// Runs `work` on a thread of its own with a low priority, and waits for it.
    ///
    /// # Errors
    /// What `work` returns; `Io` if it panicked, or without a thread.
    pub(super) fn run_low_priority<R: Send>(
        &self,
        work: impl FnOnce() -> Result<R> + Send,
    ) -> Result<R> {
        std::thread::scope(|scope| {
            let builder = std::thread::Builder::new().name("background".to_owned());
            let behind = self.behind;
            let started = builder.spawn_scoped(scope, move || {
                if !host::lower_priority(behind) {
                    tracing::debug!(
                        ?behind,
                        "the system does not let this thread lower its priority"
                    );
                }
                work()
            });
            let thread = started.map_err(|e| Error::io("start", "a thread for upkeep", e))?;
            thread.join().unwrap_or_else(|_| {
                self.context.panicked("background work", "");
                let message = "background work failed inside the server; its log says more";
                Err(Error::new(ErrorKind::Io, message))
            })
        })
    }

    /// The checkpoint of a server that closes: at once, on this thread, until `gives_way`.
    ///
    /// # Errors
    /// As [`nearfield_engine::Collection::checkpoint`].
    pub(super) fn last_checkpoint(
        &self,
        managed: &ManagedCollection,
        gives_way: &dyn Fn() -> bool,
    ) -> Result<()> {
        let mut watch =
            |_| if gives_way() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) };
        let mut run = |task: Task| task.run(&self.pool, &mut watch);
        managed.collection.merge_by(MergeScope::Checkpoint, &mut run).map(drop)
    }

    /// Merges end at their next step.
    pub(super) fn stop(&self) {
        self.stopping.store(true, Ordering::Relaxed);
    }

    pub(super) fn is_stopping(&self) -> bool {
        self.stopping.load(Ordering::Relaxed)
    }
}
