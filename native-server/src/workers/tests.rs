//! The threads through the interface of the store: what is answered, what is durable, what is refused.
//!
//! Held up on purpose by taking a writer, never by sleeping; what threads do by themselves is waited for
//! with a bound that only a failure reaches.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc;
use std::task::{Context as Poller, Poll, Waker};

use clap::Parser;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Error, ErrorKind, ManualClock};
use nearfield_segment::cancel::{self, GoOn};
use nearfield_segment::storage::{Directory, Failure, MemoryStorage, SimDisk, Storage};
use nearfield_segment::{PointId, Schema};
use tempfile::TempDir;

use super::*;
use crate::catalog::{Catalog, CatalogOptions, KeyId};
use crate::config::ServerConfig;
use crate::host::Stopwatch;
use std::sync::Arc;

mod claims;
mod jobs;

const DIM: usize = 8;
const PATIENCE_SECS: f64 = 60.0;

#[derive(Debug, Parser)]
struct Arguments {
    #[command(flatten)]
    config: ServerConfig,
}

/// A store in memory or on a simulated disk, with a catalog in a directory of its own.
struct Place {
    storage: Arc<dyn Storage>,
    dir: TempDir,
}

impl Place {
    fn new(storage: Arc<dyn Storage>) -> Place {
        Place { storage, dir: TempDir::new().expect("a directory") }
    }

    fn in_memory() -> Place {
        Place::new(Arc::new(MemoryStorage::default()))
    }

    /// Opens with a default collection of [`DIM`]; `flags` override.
    fn open(&self, flags: &str) -> Arc<Store> {
        let words = "nearfield --dim 8 --metric l2 --audio-colocated true".split(' ');
        let words = words.chain(flags.split(' ').filter(|word| !word.is_empty()));
        let mut config = Arguments::try_parse_from(words).expect("good flags").config;
        config.data_dir = self.dir.path().to_owned();
        config.check().expect("good values");
        let clock = Arc::new(ManualClock::new(1));
        let options = CatalogOptions { pepper: None, audit_rows_max: 10 };
        let time: Arc<dyn nearfield_engine::Clock> = clock;
        let catalog = Catalog::open_with(self.dir.path(), Arc::clone(&time), options);
        let catalog = catalog.expect("a catalog");
        let store = Store::lock(Arc::clone(&self.storage), &config, catalog, time).expect("opens");
        store.open_collections();
        store
    }
}

fn points(schema: &Schema, ids: std::ops::Range<u64>) -> Change<'static> {
    let rows = ids.clone().count();
    let elements: Vec<f32> = ids.clone().flat_map(|id| [id as f32; DIM]).collect();
    let vectors = BTreeMap::from([(String::new(), Cow::Owned(elements))]);
    let ids = Some(ids.map(PointId::U64).collect());
    let draft = Draft { ids, rows, vectors, ..Draft::default() };
    Batch::new(draft, schema).expect("a good batch").into()
}

/// A runtime for futures that have a deadline.
fn timed() -> tokio::runtime::Runtime {
    let mut builder = tokio::runtime::Builder::new_current_thread();
    builder.enable_time().build().expect("a runtime")
}

/// Waits for a future on this thread.
fn wait<F: Future>(future: F) -> F::Output {
    timed().block_on(future)
}

fn write(
    served: &CollectionService,
    ids: std::ops::Range<u64>,
    waits: bool,
) -> StoreResult<Written> {
    wait(served.write(points(&served.schema(), ids), waits))
}

#[track_caller]
fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let watch = Stopwatch::start();
    while !holds() {
        assert!(watch.seconds() < PATIENCE_SECS, "not within {PATIENCE_SECS} s: {what}");
        std::thread::yield_now();
    }
}

/// The kind of an error of the engine.
fn kind(error: &StoreError) -> Option<ErrorKind> {
    match error {
        StoreError::Engine(error) => Some(error.kind()),
        StoreError::NoDefaultCollection(_)
        | StoreError::CollectionUnavailable(_)
        | StoreError::ResourceExhausted(_)
        | StoreError::DeadlineExceeded(_)
        | StoreError::ShuttingDown
        | StoreError::NotWritten
        | StoreError::Internal(_) => None,
    }
}

/// Calls `meanwhile` while the writer of `served` is taken, so that nothing can be committed.
fn with_writer_taken<R>(served: &CollectionService, meanwhile: impl FnOnce() -> R) -> R {
    let collection = &served.managed.collection;
    collection.with_writer(|_| Ok(meanwhile())).expect("a writer")
}

#[test]
fn changes_that_wait_together_share_one_sync() {
    let disk = SimDisk::new(1);
    let place = Place::new(Arc::new(Directory::new(disk.clone())));
    let store = place.open("--flush-interval-ms 60000");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..1, true).expect("the first begins a file");
    let syncs = || disk.op_log().iter().filter(|op| op.contains("sync")).count();
    let before = (syncs(), store.metrics().commit_groups.get());
    for id in 1..21 {
        assert_eq!(write(&served, id..id + 1, false).expect("queued"), Written::Queued);
    }
    assert_eq!(served.view().len(), 1, "no caller waits for them");
    let written = write(&served, 21..22, true).expect("written");
    assert!(matches!(written, Written::Durable(applied) if applied.inserted == 1));
    assert_eq!(served.view().len(), 22, "those before it were written with it");
    assert_eq!(store.metrics().commit_groups.get(), before.1 + 1);
    assert_eq!(syncs(), before.0 + 1, "{:?}", disk.op_log());
    store.close();
}

#[test]
fn changes_accepted_without_waiting_are_written_within_the_interval() {
    let store = Place::in_memory().open("--flush-interval-ms 1");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, false).expect("queued");
    until("three points", || served.view().len() == 3);
    store.close();
}

#[test]
fn closing_writes_what_was_accepted_and_refuses_what_comes_later() {
    let place = Place::in_memory();
    let store = place.open("--flush-interval-ms 60000");
    let served = store.collection(None).expect("the default collection");
    for id in 0..5 {
        write(&served, id..id + 1, false).expect("queued");
    }
    store.close();
    let error = write(&served, 9..10, true).expect_err("closed");
    assert!(matches!(error, StoreError::ShuttingDown));
    let error = wait(store.search(None, Cost::LONG, |_| Ok(()))).expect_err("closed");
    assert!(matches!(error, StoreError::ShuttingDown));
    assert!(!store.readiness().ready);
    drop((served, store));
    let store = place.open("");
    let served = store.collection(None).expect("the default collection");
    assert_eq!(served.view().len(), 5);
    assert_eq!(served.managed.pending(), 0, "closing made a checkpoint");
    store.close();
}

#[test]
fn a_full_queue_refuses_and_loses_nothing_it_accepted() {
    let store = Place::in_memory().open("--queue-capacity 4 --flush-interval-ms 60000");
    let served = store.collection(None).expect("the default collection");
    let accepted = with_writer_taken(&served, || {
        let mut accepted = 0;
        // Up to four are taken by the thread that then waits for the writer; four more wait.
        for id in 0..9 {
            match write(&served, id..id + 1, false) {
                Ok(_) => accepted += 1,
                Err(error) => assert!(matches!(error, StoreError::ResourceExhausted(_))),
            }
        }
        accepted
    });
    assert!((4..9).contains(&accepted), "{accepted}");
    assert_eq!(store.metrics().backpressure_hard.get(), 9 - accepted);
    until("everything accepted", || served.view().len() == accepted);
    store.close();
}

#[test]
fn who_goes_away_before_his_change_is_taken_leaves_nothing_behind() {
    let store = Place::in_memory().open("--flush-interval-ms 1");
    let served = store.collection(None).expect("the default collection");
    with_writer_taken(&served, || {
        write(&served, 0..1, false).expect("queued");
        until("the thread has taken it", || served.committers.depth(&served.managed).0 == 0);
        let mut leaves = Box::pin(served.write(points(&served.schema(), 1..2), true));
        let mut poller = Poller::from_waker(Waker::noop());
        assert!(matches!(leaves.as_mut().poll(&mut poller), Poll::Pending));
        assert_eq!(served.committers.depth(&served.managed).0, 1);
    });
    write(&served, 2..3, true).expect("written");
    let view = served.view();
    let there = |id| view.find(&PointId::U64(id)).expect("reads").is_some();
    assert_eq!((there(0), there(1), there(2)), (true, false, true));
    store.close();
}

#[test]
fn memory_in_queues_rows_and_requests_is_counted_against_the_budget() {
    let store = Place::in_memory().open("--memory-budget-bytes 16777216");
    let served = store.collection(None).expect("the default collection");
    let used = || store.stats().memory_proxy_bytes;
    // One key may not hold so much that no write fits; two may.
    let body = store.reserve(None, 11 << 20).expect("there is room");
    let other = store.reserve(KeyId::parse("nfk_0000000000000001"), 2 << 20).expect("for it too");
    let error = write(&served, 0..15_000, true).expect_err("no room");
    assert!(matches!(error, StoreError::ResourceExhausted(_)), "{error}");
    assert_eq!(used(), 13 << 20);
    let read = store.reserve_for_reading(None, 2 << 20).expect("reads may use the rest");
    drop((body, other, read));
    // Less than the eighth of the budget from which a checkpoint begins by itself.
    write(&served, 0..15_000, true).expect("written");
    until("rows not in files count, and what their checkpoint takes", || {
        let rows_bytes = store.stats().collections[0].memory_bytes;
        rows_bytes >= (15_000 * DIM * 4) as u64 && used() >= rows_bytes / 2 * 3
    });
    let job = wait(store.run_job(JobKind::Checkpoint, None, true)).expect("runs");
    assert_eq!(job.state, JobState::Completed);
    until("rows in files do not", || used() == 0);
    store.close();
}

#[test]
fn rows_beyond_their_size_become_a_file_without_being_asked() {
    let store = Place::in_memory().open("--memory-budget-bytes 16777216");
    let served = store.collection(None).expect("the default collection");
    // An eighth of the budget is due for a checkpoint; 32 bytes a row and a little more.
    for chunk in 0..15_u64 {
        match write(&served, chunk * 10_000..(chunk + 1) * 10_000, true) {
            Ok(_) => {}
            // On a busy machine memory may fill up before the checkpoint has begun.
            Err(StoreError::ResourceExhausted(_)) => break,
            Err(error) => panic!("{error:?}"),
        }
    }
    until("a file", || served.view().segments.iter().any(|live| live.file.is_some()));
    assert!(store.metrics().checkpoints.get() > 0);
    store.close();
}

#[test]
fn a_panic_costs_one_search_and_no_thread() {
    let store = Place::in_memory().open("--search-threads 1");
    for cost in [Cost::LONG, Cost::SHORT] {
        let panic: StoreResult<()> =
            wait(store.search(None, cost, |_| -> StoreResult<()> { panic!("on purpose") }));
        let error = panic.expect_err("it panicked");
        assert!(matches!(error, StoreError::Internal(_)));
        assert_eq!(wait(store.search(None, cost, |_| Ok(7))).expect("goes on"), 7);
    }
    assert_eq!(store.metrics().panics.get(), 2);
    store.close();
}

#[test]
fn long_searches_beyond_the_queue_are_refused_while_short_ones_go_on() {
    let store = Place::in_memory().open("--search-threads 1");
    let (release, held) = mpsc::channel::<()>();
    let (runtime, mut poller) = (timed(), Poller::from_waker(Waker::noop()));
    let timers = runtime.enter();
    let mut first = Box::pin(store.search(None, Cost::LONG, move |_| Ok(held.recv().is_err())));
    assert!(first.as_mut().poll(&mut poller).is_pending());
    let mut waiting = Vec::new();
    let refused = loop {
        let mut search = Box::pin(store.search(None, Cost::LONG, |_| Ok(())));
        match search.as_mut().poll(&mut poller) {
            Poll::Pending => waiting.push(search),
            Poll::Ready(answer) => break answer.expect_err("refused"),
        }
        assert!(waiting.len() < 100, "the queue has no end");
    };
    assert!(matches!(refused, StoreError::ResourceExhausted(_)));
    assert_eq!(wait(store.search(None, Cost::SHORT, |_| Ok(7))).expect("runs here"), 7);
    drop((release, timers));
    wait(first).expect("done");
    waiting.into_iter().for_each(|search| wait(search).expect("done"));
    store.close();
}

/// Searches until it is cancelled or its deadline passes; says when it has ended.
fn endless(ended: mpsc::Sender<()>) -> impl FnOnce(GoOn<'_>) -> StoreResult<()> {
    move |go_on| {
        while go_on() {
            std::thread::yield_now();
        }
        let sent = ended.send(());
        sent.map_err(|_| Error::new(ErrorKind::Io, "the test has ended"))?;
        Ok(cancel::check(go_on)?)
    }
}

#[test]
fn a_search_ends_when_its_caller_has_gone_and_one_that_waits_never_begins() {
    let store = Place::in_memory().open("--search-threads 1");
    let (runtime, mut poller) = (timed(), Poller::from_waker(Waker::noop()));
    let timers = runtime.enter();
    let (ended, has_ended) = mpsc::channel();
    let (runs, is_running) = mpsc::channel();
    let search = endless(ended);
    let tells = move |go_on: GoOn<'_>| {
        let sent = runs.send(());
        sent.map_err(|_| Error::new(ErrorKind::Io, "the test has ended"))?;
        search(go_on)
    };
    let mut running = Box::pin(store.search(None, Cost::LONG, tells));
    let (begun, has_begun) = mpsc::channel();
    let begins = move |_: GoOn<'_>| Ok(begun.send(()).is_ok());
    let mut waiting = Box::pin(store.search(None, Cost::LONG, begins));
    assert!(running.as_mut().poll(&mut poller).is_pending());
    assert!(waiting.as_mut().poll(&mut poller).is_pending());
    // Cancelled before a thread has taken it, it would not begin either.
    is_running.recv().expect("a thread has taken it");
    drop((waiting, running, timers));
    has_ended.recv().expect("the search has ended");
    wait(store.search(None, Cost::LONG, |_| Ok(()))).expect("the thread is free again");
    assert!(has_begun.try_recv().is_err());
    assert_eq!(store.metrics().searches_cancelled.get(), 2);
    store.close();
}

#[test]
fn a_search_has_a_deadline_wherever_it_runs() {
    let store = Place::in_memory().open("--search-threads 1 --search-timeout-secs 1");
    for cost in [Cost::LONG, Cost::SHORT] {
        let (ended, has_ended) = mpsc::channel();
        let error = wait(store.search(None, cost, endless(ended))).expect_err("too long");
        assert!(matches!(error, StoreError::DeadlineExceeded(_)), "{error}");
        has_ended.recv().expect("the search has ended");
    }
    assert_eq!(store.metrics().searches_late.get(), 2);
    store.close();
}

#[test]
fn a_key_that_uses_all_its_threads_does_not_keep_another_waiting() {
    let store = Place::in_memory().open("--search-threads 1");
    let (runtime, mut poller) = (timed(), Poller::from_waker(Waker::noop()));
    let timers = runtime.enter();
    let one = KeyId::parse("nfk_0000000000000001");
    let mut held = Vec::new();
    for _ in 0..20 {
        let (ended, _) = mpsc::channel();
        let mut search = Box::pin(store.search(one, Cost::LONG, endless(ended)));
        assert!(search.as_mut().poll(&mut poller).is_pending());
        held.push(search);
    }
    drop(timers);
    let other = KeyId::parse("nfk_0000000000000002");
    assert_eq!(wait(store.search(other, Cost::LONG, |_| Ok(7))).expect("its turn"), 7);
    drop(held);
    store.close();
}

#[test]
fn a_writer_that_broke_is_named_recovered_and_writes_again() {
    let store = Place::in_memory().open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    let collection = &served.managed.collection;
    let panic = || collection.with_writer(|_| -> nearfield_engine::Result<()> { panic!("here") });
    assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
    // The server recovers without a restart; a write before that gets the reason as its error.
    until("it writes again", || match write(&served, 3..4, true) {
        Ok(_) => true,
        Err(error) => {
            assert!(error.to_string().contains("panicked"), "{error}");
            false
        }
    });
    until("nothing blocks", || store.readiness().ready);
    assert_eq!(served.view().len(), 4);
    store.close();
}

#[test]
fn on_a_full_disk_writes_are_refused_reads_go_on_and_writes_follow_once_there_is_room() {
    let disk = SimDisk::new(1);
    let place = Place::new(Arc::new(Directory::new(disk.clone())));
    let store = place.open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..100, true).expect("written");
    disk.set_capacity(0);
    let error = write(&served, 100..10_000, true).expect_err("full");
    assert_eq!(kind(&error), Some(ErrorKind::StorageFull), "{error}");
    until("a blocker says so", || store.readiness().report.contains("blockers=default: writes"));
    let again = write(&served, 100..10_000, true).expect_err("still full");
    for said in [error.to_string(), again.to_string(), store.readiness().report] {
        assert!(!said.contains("reopen"), "a client cannot reopen it inside a server: {said}");
    }
    assert_eq!(served.view().len(), 100, "reads go on");
    write(&served, 100..200, false).expect("accepted");
    until("it is said to be lost", || store.readiness().report.contains("wait=false were lost"));
    disk.set_capacity(u64::MAX);
    until("it writes again", || write(&served, 100..10_000, true).is_ok());
    assert_eq!(served.view().len(), 10_000);
    until("nothing blocks", || store.readiness().ready);
    store.close();
}

#[test]
fn a_damaged_collection_is_a_blocker_and_the_others_are_served() {
    let place = Place::in_memory();
    let store = place.open("");
    let served = store.create("other", &store.collection(None).expect("one").schema());
    write(&served.expect("creates"), 0..3, true).expect("written");
    store.close();
    let dirs = ["default", "other"].map(|name| {
        let manifest = store.collection(Some(name)).expect("served").managed.collection.clone();
        manifest.with_writer(|writer| Ok(format!("c/{}", writer.manifest().collection)))
    });
    let [dir, _] = dirs.map(|dir| dir.expect("a writer"));
    drop(store);
    for name in place.storage.list(&dir).expect("lists") {
        if name.starts_with("manifest") {
            let path = format!("{dir}/{name}");
            let fill = &mut |out: &mut dyn std::io::Write| {
                out.write_all(b"nonsense").map_err(|error| Error::io("write", "it", error))
            };
            place.storage.put(&path, fill).expect("writes");
        }
    }
    let store = place.open("");
    let readiness = store.readiness();
    assert!(!readiness.ready && readiness.live);
    assert!(readiness.report.contains("blockers=default: cannot be opened"), "{readiness:?}");
    let error = store.collection(None).expect_err("damaged");
    assert!(matches!(error, StoreError::CollectionUnavailable(_)));
    let other = store.collection(Some("other")).expect("served");
    write(&other, 3..4, true).expect("written");
    assert_eq!((other.view().len(), store.stats().failed_segments), (4, 1));
    store.close();
}

#[test]
fn a_collection_that_the_medium_kept_closed_is_opened_later() {
    let disk = SimDisk::new(1);
    let store = Place::new(Arc::new(Directory::new(disk.clone()))).open("");
    write(&store.collection(None).expect("one"), 0..3, true).expect("written");
    store.close();
    drop(store);
    let probe = disk.kill(1);
    drop(Place::new(Arc::new(Directory::new(probe.clone()))).open(""));
    // The manifest is also read to compare it with flags, where a failure is passed over: only recovery reads files.
    let is_file = |op: &String| op.starts_with("read c/") && op.contains("/segments/");
    let op = probe.op_log().iter().position(is_file).expect("recovery reads the file");
    let failing = disk.kill(1);
    failing.fail_at(op as u64, Failure::Io);
    let store = Place::new(Arc::new(Directory::new(failing))).open("");
    let (readiness, stats) = (store.readiness(), store.stats());
    assert!(!readiness.ready && stats.failed_segments == 1, "{readiness:?} {stats:?}");
    until("the collection is served", || store.readiness().ready);
    assert_eq!(store.collection(None).expect("served").view().len(), 3);
    store.close();
}

#[test]
fn a_dropped_collection_refuses_and_gives_its_memory_back() {
    let store = Place::in_memory().open("");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..100, true).expect("written");
    store.drop_collection("default").expect("drops");
    until("its memory is free", || store.stats().memory_proxy_bytes == 0);
    let error = write(&served, 0..1, true).expect_err("dropped");
    assert_eq!(kind(&error), Some(ErrorKind::NotFound));
    let error = store.collection(None).expect_err("none");
    assert!(matches!(error, StoreError::NoDefaultCollection(_)));
    let error = store.collection(Some("x")).expect_err("none");
    assert_eq!(kind(&error), Some(ErrorKind::NotFound));
    assert!(store.names().is_empty());
    let again = store.create("default", &served.schema()).expect("creates");
    write(&again, 0..1, true).expect("written");
    assert_eq!(store.collection(None).expect("served").view().len(), 1);
    assert!(store.readiness().ready, "{:?}", store.readiness());
    store.close();
}

#[test]
fn the_log_is_told_in_stats_and_metrics_and_ends_with_a_checkpoint() {
    let disk = SimDisk::new(1);
    let store = Place::new(Arc::new(Directory::new(disk))).open("--checkpoint-interval-secs 3600");
    let served = store.collection(None).expect("the default collection");
    write(&served, 0..3, true).expect("written");
    let stats = || store.stats().collections.remove(0);
    let before = stats();
    assert_eq!((before.points, before.hot_vectors, before.wal_pending), (3, 3, 1));
    assert!(before.wal_size_bytes > 0 && before.wal_fsyncs > 0, "{before:?}");
    assert_eq!(before.wal_last_truncate_ms, None);
    let text = store.render_metrics();
    for line in [
        "nearfield_total_vectors 3",
        "nearfield_wal_pending 1",
        "nearfield_wal_seconds_since_truncate{collection=\"default\"} inf",
        &format!("nearfield_wal_size_bytes{{collection=\"default\"}} {}", before.wal_size_bytes),
    ] {
        assert!(text.lines().any(|there| there == line), "{line} in:\n{text}");
    }
    wait(store.run_job(JobKind::Checkpoint, None, true)).expect("runs");
    let after = stats();
    assert_eq!((after.points, after.hot_vectors, after.wal_pending), (3, 0, 0));
    assert_eq!(after.wal_last_truncate_ms, Some(1));
    assert!(store.render_metrics().contains("nearfield_checkpoint_total 1"));
    store.close();
}
