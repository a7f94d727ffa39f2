//! Merging: how many files writes leave behind, and what goes on while a merge runs.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::task::{MergeOutput, MergeScope, Step, Task};
use nearfield_engine::{
    Begun, Collection, Database, Error, ErrorKind, ManualClock, Mode, Options, Result,
};
use nearfield_segment::storage::{Directory, SimDisk, Storage};
use nearfield_segment::{Encoding, Metric, PointId, Pool, Rng, Schema};

const DIM: usize = 4;

/// A few rows are many: a graph from 64 rows up, linked from 256 rows on.
fn options() -> Options {
    let mut options = Options { level0_rows_max: 256, ..Options::default() };
    options.segment.graph_rows_min = 64;
    options
}

fn open(disk: &SimDisk, options: Options, seed: u64) -> Database {
    let storage: Arc<dyn Storage> = Arc::new(Directory::new(disk.clone()));
    let clock = Arc::new(ManualClock::new(1));
    Database::open(storage, Mode::Write, options, clock, seed, "test").unwrap()
}

fn create(database: &Database) -> Arc<Collection> {
    database.create("c", &Schema::dense(DIM, Metric::L2, Encoding::F32).unwrap()).unwrap()
}

fn write(collection: &Collection, rng: &mut Rng, rows: usize) {
    let vectors: Vec<f32> = (0..rows * DIM).map(|_| rng.unit_f32()).collect();
    let vectors = BTreeMap::from([(String::new(), Cow::Owned(vectors))]);
    let draft = Draft { rows, vectors, ..Draft::default() };
    let batch = Batch::new(draft, &collection.view().schema).unwrap();
    collection.apply(batch, &Pool::SERIAL).unwrap();
}

fn run(task: Task) -> Result<MergeOutput> {
    task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()))
}

/// Live rows of each file, largest first.
fn files(collection: &Collection) -> Vec<u32> {
    let view = collection.view();
    let in_files = view.segments.iter().filter(|live| live.file.is_some());
    let mut sizes: Vec<u32> = in_files.map(|live| live.live_rows()).collect();
    sizes.sort_unstable_by(|a, b| b.cmp(a));
    sizes
}

/// As a server does it: a checkpoint of few rows again and again, what is due after each, and now and then what is
/// worthwhile.
#[test]
fn a_slow_trickle_ends_in_few_files_and_nearly_all_rows_in_two_graphs() {
    let database = open(&SimDisk::new(1), options(), 1);
    let (collection, mut rng) = (create(&database), Rng::new(1));
    let mut most = 0;
    for round in 0..600 {
        write(&collection, &mut rng, 10);
        collection.checkpoint(&Pool::SERIAL).unwrap();
        while collection.maintain_by(MergeScope::Due, &mut run).unwrap() {}
        most = most.max(files(&collection).len());
        if round % 6 == 5 {
            while collection.maintain_by(MergeScope::Worthwhile, &mut run).unwrap() {}
        }
    }
    let sizes = files(&collection);
    assert!(most <= 12 && sizes.len() <= 8, "{most} files on the way, at rest {sizes:?}");
    let two: u32 = sizes.iter().take(2).sum();
    assert!(two >= 5_700, "{two} of 6,000 rows in two files: {sizes:?}");
}

/// As a program that writes and checkpoints, without any upkeep.
#[test]
fn checkpoints_alone_leave_few_files() {
    let database = open(&SimDisk::new(1), Options::default(), 1);
    let (collection, mut rng) = (create(&database), Rng::new(1));
    for _ in 0..600 {
        write(&collection, &mut rng, 10);
        collection.checkpoint(&Pool::SERIAL).unwrap();
    }
    let sizes = files(&collection);
    assert_eq!(sizes.iter().sum::<u32>(), 6_000);
    assert!(sizes.len() <= 8, "{} files", sizes.len());
}

/// A collection in which a compaction is due.
fn due(options: Options) -> (Database, Arc<Collection>) {
    let database = open(&SimDisk::new(1), options, 1);
    let (collection, mut rng) = (create(&database), Rng::new(1));
    for _ in 0..4 {
        write(&collection, &mut rng, 100);
        collection.checkpoint(&Pool::SERIAL).unwrap();
    }
    (database, collection)
}

/// Carries a merge out while `beside` runs on another thread, and gives way on request. True if the merge
/// was committed.
fn merged_beside(collection: &Collection, beside: &(dyn Fn() + Sync)) -> bool {
    let mut carry = |task: Task| {
        assert!(task.level() > 0, "a compaction is due");
        std::thread::scope(|scope| {
            let beside = scope.spawn(beside);
            while !beside.is_finished() {
                if collection.is_wanted() {
                    return Err(Error::new(ErrorKind::Cancelled, "a caller waits"));
                }
                std::thread::yield_now();
            }
            beside.join().unwrap();
            run(task)
        })
    };
    collection.maintain_by(MergeScope::Due, &mut carry).unwrap()
}

#[test]
fn a_writer_with_much_in_memory_checkpoints_beside_a_merge_and_does_not_end_it() {
    let hard = 64 << 10;
    let (_database, collection) = due(Options { memtable_bytes_hard: hard, ..options() });
    let writes = || {
        let mut rng = Rng::new(2);
        for _ in 0..40 {
            write(&collection, &mut rng, 100);
        }
    };
    assert!(merged_beside(&collection, &writes), "the merge had to begin again");
    let view = collection.view();
    assert_eq!(view.len(), 4_400);
    assert!(collection.stats().memory_bytes < 2 * hard, "{:?}", collection.stats());
}

#[test]
fn a_checkpoint_waits_for_no_merge() {
    let (_database, collection) = due(options());
    write(&collection, &mut Rng::new(2), 30);
    let checkpoint = || {
        collection.checkpoint(&Pool::SERIAL).unwrap();
        assert_eq!(collection.stats().memory_bytes, 0);
    };
    assert!(merged_beside(&collection, &checkpoint), "the merge had to begin again");
    assert_eq!(collection.view().len(), 430);
}

/// Takes a task to its last step: its file is written, and no manifest names it.
fn carried(collection: &Collection, scope: MergeScope) -> Option<MergeOutput> {
    let Begun::Task(mut task) = collection.begin(scope).unwrap() else { return None };
    loop {
        if let Step::Done(output) = task.step(&Pool::SERIAL).unwrap() {
            return Some(*output);
        }
    }
}

/// A vacuum that took the file of a running task for an orphan would lose what the manifest then names.
#[test]
fn vacuum_beside_tasks_takes_none_of_their_files() {
    let disk = SimDisk::new(1);
    let database = open(&disk, options(), 1);
    let (collection, mut rng) = (create(&database), Rng::new(1));
    for _ in 0..4 {
        write(&collection, &mut rng, 100);
        collection.checkpoint(&Pool::SERIAL).unwrap();
    }
    for scope in [MergeScope::Due, MergeScope::Everything, MergeScope::Checkpoint] {
        write(&collection, &mut rng, 5);
        let Some(output) = carried(&collection, scope) else { continue };
        collection.with_writer(|writer| writer.vacuum()).unwrap();
        collection.end(Ok(output)).unwrap();
        collection.with_writer(|writer| writer.vacuum()).unwrap();
    }
    drop((collection, database));
    let database = open(&disk.restart(5), options(), 2);
    assert_eq!(database.collection("c").unwrap().view().len(), 415);
}

/// Points of merges that overlap in time, with deletions of their rows and a checkpoint between.
#[test]
fn tasks_over_different_files_overlap_and_are_all_committed() {
    let disk = SimDisk::new(1);
    let database = open(&disk, options(), 1);
    let (collection, mut rng) = (create(&database), Rng::new(1));
    let delete = |id: u64| {
        let draft = Draft { deletes: vec![PointId::U64(id)], ..Draft::default() };
        let batch = Batch::new(draft, &collection.view().schema).unwrap();
        assert_eq!(collection.apply(batch, &Pool::SERIAL).unwrap().deleted, 1, "{id}");
    };
    write(&collection, &mut rng, 300);
    collection.checkpoint(&Pool::SERIAL).unwrap();
    let first = carried(&collection, MergeScope::Due).unwrap();
    delete(7);
    write(&collection, &mut rng, 300);
    let checkpoint = carried(&collection, MergeScope::Checkpoint).unwrap();
    delete(8);
    delete(308);
    collection.end(Ok(checkpoint)).unwrap();
    let second = carried(&collection, MergeScope::Due).unwrap();
    delete(309);
    collection.end(Ok(second)).unwrap();
    collection.with_writer(|writer| writer.vacuum()).unwrap();
    collection.end(Ok(first)).unwrap();
    collection.with_writer(|writer| writer.vacuum()).unwrap();
    let find =
        |collection: &Collection, id| collection.view().find(&PointId::U64(id)).unwrap().is_some();
    let check = |collection: &Collection| {
        assert_eq!(collection.view().len(), 596);
        let deleted = |id: &u64| !find(collection, *id);
        assert_eq!((0..600).filter(deleted).collect::<Vec<_>>(), [7, 8, 308, 309]);
    };
    check(&collection);
    drop((collection, database));
    let database = open(&disk.restart(5), options(), 2);
    check(&database.collection("c").unwrap());
}
