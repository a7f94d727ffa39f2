//! A merge that claims memory: rows in memory that stand against it are written to a file at once.

use std::time::Duration;

use nearfield_engine::task::MergeScope;
use nearfield_engine::{Database, Options};
use nearfield_segment::{Encoding, Metric, Pool};

use super::super::background::Background;
use super::super::budget::{Budget, Holder, Purpose};
use super::super::managed::{Context, ManagedCollection};
use super::super::schedule::Intervals;
use super::super::upkeep::{Limits, Upkeep};
use super::*;
use crate::host::Behind;
use crate::pacing::Pacer;

const DAY: Duration = Duration::from_secs(86_400);

/// A budget of `limit_bytes`, and upkeep that does by itself nothing within a day.
fn upkeep(limit_bytes: u64) -> (Arc<Context>, Arc<Upkeep>) {
    let context = Arc::new(Context {
        clock: Arc::new(ManualClock::new(1)),
        time: Stopwatch::start(),
        metrics: Arc::default(),
        budget: Arc::new(Budget::new(limit_bytes)),
        health: Default::default(),
        damage: Default::default(),
    });
    let background = Arc::new(Background::new(Arc::clone(&context), Behind::Everything));
    let intervals = Intervals { checkpoint: DAY, merge: DAY };
    let limits = Limits { intervals, memtable_bytes_max: u64::MAX, look_every: DAY };
    let (pacer, storage) = (Arc::new(Pacer::new(0)), Arc::new(MemoryStorage::default()));
    let upkeep = Upkeep::start(Arc::clone(&context), background, pacer, storage, limits);
    (context, upkeep.expect("starts"))
}

#[test]
fn rows_are_written_once_a_merge_claims_the_memory_that_they_take() {
    let database = Database::in_memory(Options::default(), Arc::new(ManualClock::new(1)), 7);
    let database = database.expect("opens");
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32).expect("a good schema");
    let [files, rows] = ["files", "rows"].map(|name| database.create(name, &schema).expect(name));
    let write = |collection: &Arc<nearfield_engine::Collection>, ids| {
        let written = collection.apply_all(vec![points(&schema, ids)], &Pool::SERIAL);
        assert!(written.iter().all(Result::is_ok), "{written:?}");
    };
    for first in [0, 5_000] {
        write(&files, first..first + 5_000);
        let run = &mut |task: nearfield_engine::task::Task| {
            task.run(&Pool::SERIAL, &mut |_| std::ops::ControlFlow::Continue(()))
        };
        assert!(files.merge_by(MergeScope::Checkpoint, run).expect("a file"));
    }
    write(&rows, 0..1);
    let merge = &mut |task: nearfield_engine::task::Task| {
        // The merge takes 35 % of the budget. What others hold leaves room for it, but not beside the rows.
        let bytes = task.memory_bytes();
        let (context, upkeep) = upkeep(bytes * 100 / 35);
        let [files, rows] = [(0, &files), (1, &rows)].map(|(number, collection)| {
            let shared = Arc::clone(&context);
            Arc::new(ManagedCollection::new(number, Arc::clone(collection), shared))
        });
        rows.observe(None);
        let (budget, counted) = (&context.budget, rows.counted_bytes());
        let others = budget.limit_bytes() / 100 * 85 - bytes - counted / 2;
        let held = budget.reserve(others, Purpose::Write, Holder::Server).expect("room");
        assert!(counted > 1 && !budget.is_tight(), "{counted} bytes of rows, {others} of others");
        upkeep.add(Arc::clone(&rows));
        let watch = Stopwatch::start();
        let gives_way = || watch.seconds() > PATIENCE_SECS;
        let merged = upkeep.run_task(&files, task, &gives_way, &|_| {});
        drop(held);
        assert!(upkeep.stop(DAY));
        merged
    };
    assert!(files.merge_by(MergeScope::Everything, merge).expect("it gets its memory"));
    assert_eq!(rows.view().segments.iter().filter(|live| live.file.is_some()).count(), 1);
}
