//! `Scrub`: the thread that reads the files of every collection again, little by little, and compares them
//! with their checksums (`verify_present` of the engine). Started by `opening`; reports to `Damage`.
//!
//! Opening reads next to nothing of a file, and a search verifies the blocks that it touches. Damage anywhere
//! else shows when a round has read the collection: readiness, metrics and log name the file as after a
//! verification. A collection is read first when it was opened. A round reads one collection after the other,
//! at a bounded pace and low priority, segment files without the pin, so that vacuum goes on.
//!
//! Does not read files of the past: verification does.

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Condvar, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfield_engine::{Error, ErrorKind, Result, verify_present};
use nearfield_segment::format::BLOCK_BYTES;
use nearfield_segment::storage::Storage;

use super::background::Background;
use super::managed::{Context, ManagedCollection};
use crate::host::{Stopwatch, lock};
use crate::pacing::Pacer;

/// Bytes of segment files that a round reads in a second, at most: little for a disk, and still a terabyte in a day and
/// a quarter.
const BYTES_PER_SECOND: u64 = 10_000_000;

/// The thread and the collections it reads.
#[derive(Debug)]
pub(super) struct Scrub {
    context: Arc<Context>,
    background: Arc<Background>,
    storage: Arc<dyn Storage>,
    /// Rest between two rounds.
    interval: Duration,
    pacer: Pacer,
    state: Mutex<State>,
    wake: Condvar,
}

#[derive(Debug, Default)]
struct State {
    collections: BTreeMap<u64, Arc<ManagedCollection>>,
    /// Those that this round has not read yet.
    unread: BTreeMap<u64, Arc<ManagedCollection>>,
    stopping: bool,
    /// `None` if the interval is zero.
    thread: Option<JoinHandle<()>>,
}

impl Scrub {
    /// Starts the thread; an interval of zero starts none.
    ///
    /// # Errors
    /// `Io` if the system has no more threads.
    pub(super) fn start(
        context: Arc<Context>,
        background: Arc<Background>,
        storage: Arc<dyn Storage>,
        interval: Duration,
    ) -> Result<Arc<Scrub>> {
        let (pacer, state, wake) = (Pacer::new(BYTES_PER_SECOND), Mutex::default(), Condvar::new());
        let this = Arc::new(Scrub { context, background, storage, interval, pacer, state, wake });
        if !interval.is_zero() {
            let thread = Arc::clone(&this);
            let builder = std::thread::Builder::new().name("scrub".to_owned());
            let started = builder.spawn(move || thread.run());
            let started = started.map_err(|e| Error::io("start", "a thread for scrubbing", e))?;
            lock(&this.state).thread = Some(started);
        }
        Ok(this)
    }

    /// From now on a collection is read in each round, this one included, unless it was dropped already.
    pub(super) fn add(&self, managed: Arc<ManagedCollection>) {
        let mut state = lock(&self.state);
        if !managed.is_dropped() {
            state.unread.insert(managed.number, Arc::clone(&managed));
            state.collections.insert(managed.number, managed);
        }
        self.wake.notify_all();
    }

    /// From now on a collection is not read any more.
    pub(super) fn remove(&self, managed: &ManagedCollection) {
        let mut state = lock(&self.state);
        state.collections.remove(&managed.number);
        state.unread.remove(&managed.number);
    }

    /// Ends the thread at its next block, and waits for that.
    pub(super) fn stop(&self) {
        let thread = {
            let mut state = lock(&self.state);
            state.stopping = true;
            state.thread.take()
        };
        self.wake.notify_all();
        self.pacer.lift(true);
        // A panic of it was caught.
        thread.into_iter().for_each(|thread| drop(thread.join()));
    }

    fn run(&self) {
        let mut resting = Stopwatch::start();
        while let Some(managed) = self.next(&mut resting) {
            let read = catch_unwind(AssertUnwindSafe(|| self.read(&managed)));
            if read.is_err() {
                self.context.panicked("scrubbing", managed.name());
            }
            resting = Stopwatch::start();
        }
    }

    /// The next collection to read, after a rest where a round has ended; `None` once the server closes.
    fn next(&self, resting: &mut Stopwatch) -> Option<Arc<ManagedCollection>> {
        let mut state = lock(&self.state);
        while !state.stopping {
            if let Some((_, managed)) = state.unread.pop_first() {
                return Some(managed);
            }
            let rest = self.interval.saturating_sub(resting.elapsed());
            if rest.is_zero() {
                *resting = Stopwatch::start();
                state.unread = state.collections.clone();
            } else {
                let waited = self.wake.wait_timeout(state, rest);
                state = waited.unwrap_or_else(PoisonError::into_inner).0;
            }
        }
        None
    }

    fn read(&self, managed: &ManagedCollection) {
        let name = managed.name();
        let pause = || {
            let _paused = self.pacer.wait_for(BLOCK_BYTES);
        };
        let go_on = || !managed.is_dropped() && !lock(&self.state).stopping;
        let Context { health, damage, metrics, .. } = &*self.context;
        let known = damage.known(name);
        match self
            .background
            .run_low_priority(|| verify_present(&self.storage, name, &pause, &go_on))
        {
            Ok(report) => {
                let is_dropped = || managed.is_dropped();
                damage.scrubbed(health, name, is_dropped, &report.findings, &known);
                // Files that were merged away while the round read them are no part of the collection.
                managed.forget_removed_files();
                metrics.scrubs.inc();
            }
            Err(error) if matches!(error.kind(), ErrorKind::Cancelled | ErrorKind::NotFound) => {}
            Err(error) => tracing::warn!(collection = name, %error, "scrubbing failed"),
        }
    }
}
