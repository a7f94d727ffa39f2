//! What is left when something fails beside a merge, full disks, and the numbers published.

use super::*;
use crate::files::pin;
use crate::manifest::{Manifest, list_numbers};
use crate::read::view::Tier;
use crate::write::task::MergeScope;
use nearfield_segment::Lsn;
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::SearchParams;
use nearfield_segment::vector::graph::Scratch;

/// Small log files, so that each checkpoint has some to archive.
fn small_files() -> Options {
    Options { log_file_bytes_max: 512, ..Options::default() }
}

fn bench_with(options: Options) -> Bench {
    let disk = SimDisk::new(1);
    let db = open(&disk, options);
    let collection = db.create("points", &schema()).expect("creates");
    Bench { disk, db, collection }
}

fn maintain(collection: &Collection) -> Result<bool> {
    collection.maintain(MergeScope::Due, &Pool::SERIAL, &mut |_| ControlFlow::Continue(()))
}

impl Bench {
    fn write_many(&self) {
        (0..8).for_each(|_| drop(one(&self.collection, change(draft(20)))));
    }

    fn checkpoint(&self) -> Result<()> {
        self.collection.checkpoint(&Pool::SERIAL)
    }

    fn files(&self, folder: &str) -> usize {
        let dir = &self.disk.list("c").expect("listed")[0].name;
        self.disk.list(&format!("c/{dir}/{folder}")).map_or(0, |files| files.len())
    }

    /// The first operation of a checkpoint, from now, that `is` the one looked for.
    fn op_of_checkpoint(&self, is: impl Fn(&str) -> bool) -> u64 {
        let twin = bench_with(small_files());
        twin.write_many();
        let start = twin.disk.op_count();
        twin.checkpoint().expect("nothing fails");
        let log = twin.disk.op_log();
        let found = log[start as usize..].iter().position(|op| is(op)).expect("there is one");
        self.disk.op_count() + found as u64
    }
}

#[test]
fn a_checkpoint_whose_log_cannot_be_archived_is_done_and_the_log_is_archived_later() {
    let bench = bench_with(small_files());
    bench.write_many();
    let live = bench.files("wal");
    let op = bench.op_of_checkpoint(|op| op.starts_with("rename_new") && op.contains("archive"));
    bench.disk.fail_at(op, Failure::Io);
    bench.checkpoint().expect("the manifest is committed");
    let view = bench.collection.view();
    assert!(view.segments.iter().all(|segment| segment.file.is_some()));
    assert_eq!(bench.files("wal"), live + 1, "an empty file was begun, nothing was archived");
    assert!(maintain(&bench.collection).expect("works again"), "there was something left to do");
    assert!(bench.files("wal") < live);
    assert!(!maintain(&bench.collection).expect("works"), "nothing is left");
}

#[test]
fn what_is_kept_because_somebody_opens_files_goes_with_the_next_piece_of_upkeep() {
    let bench = bench_with(small_files());
    bench.write_many();
    bench.checkpoint().expect("checkpoints");
    bench.write_many();
    let storage = Directory::new(bench.disk.clone());
    let dir = format!("c/{}", bench.disk.list("c").expect("listed")[0].name);
    let opening = pin::shared(&storage, &dir).expect("no trouble").expect("no vacuum runs");
    bench.collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).expect("merges");
    assert_eq!(bench.files("segments"), 3, "those that were merged are kept beside the new one");
    assert!(!maintain(&bench.collection).expect("works"), "it does not count as done");
    drop(opening);
    assert!(maintain(&bench.collection).expect("works"), "there was something left to do");
    assert_eq!(bench.files("segments"), 1);
    assert!(!maintain(&bench.collection).expect("works"), "nothing is left");
}

#[test]
fn a_writer_that_is_told_nothing_keeps_the_past_that_the_one_before_kept() {
    let disk = SimDisk::new(1);
    let dir = || format!("c/{}", disk.list("c").expect("listed")[0].name);
    let manifests = || {
        let storage = Directory::new(disk.clone());
        list_numbers::<Manifest>(&storage, &dir()).expect("listed").len()
    };
    let mut openings = 0;
    let mut write = |history_ms: Option<u64>| {
        openings += 1;
        let db = open_seeded(&disk, Options { history_ms, ..small_files() }, openings);
        let is_new = db.names().is_empty();
        let made = if is_new { db.create("points", &schema()) } else { db.collection("points") };
        let collection = made.expect("opens");
        one(&collection, change(draft(20)));
        collection.checkpoint(&Pool::SERIAL).expect("checkpoints");
        collection.vacuum().expect("removes files");
        manifests()
    };
    assert_eq!(write(None), 1, "no history was set");
    let kept = write(Some(u64::MAX));
    assert_eq!(kept, 2);
    assert!(write(None) >= kept, "the history stays");
    let db = open_seeded(&disk, small_files(), 100);
    db.replay_to("points", Lsn(2), &Pool::SERIAL).expect("the past can be reached");
    assert_eq!(db.collection("points").expect("opens").view().len(), 40);
    drop(db);
    assert!(write(None) >= kept, "nor by going back");
    assert_eq!(write(Some(0)), 1, "a setting of 0 gives it up");
    assert_eq!(write(None), 1, "for good");
}

#[test]
fn a_merge_that_fails_leaves_no_file_behind() {
    let bench = bench_with(small_files());
    bench.write_many();
    // Written, and then not to be opened.
    let op = bench.op_of_checkpoint(|op| op.starts_with("read") && op.ends_with(".seg"));
    bench.disk.fail_at(op, Failure::Io);
    let failed = bench.checkpoint();
    let log = bench.disk.op_log();
    assert!(failed.is_err(), "{:?}", &log[log.len() - 5..]);
    assert_eq!(bench.files("segments"), 0);
    bench.checkpoint().expect("works again");
    assert_eq!(bench.files("segments"), 1);
}

#[test]
fn on_a_full_disk_a_write_is_refused_without_another_recovery_and_goes_on_with_space() {
    let bench = Bench::new();
    one(&bench.collection, change(draft(5)));
    let used: u64 = 100 << 10;
    bench.disk.set_capacity(used);
    let refused = || {
        let mut answers = bench.collection.apply_all(vec![change(draft(50))], &Pool::SERIAL);
        answers.pop().expect("one").expect_err("full").kind()
    };
    while bench.collection.apply_all(vec![change(draft(500))], &Pool::SERIAL)[0].is_ok() {}
    let len = bench.collection.view().len();
    for _ in 0..3 {
        let start = bench.disk.op_count();
        assert_eq!(refused(), ErrorKind::StorageFull);
        let log = bench.disk.op_log();
        let cheap = |op: &String| op == "free_bytes" || op.ends_with("/quarantine");
        assert!(log[start as usize..].iter().all(cheap), "{:?}", &log[start as usize..]);
    }
    bench.disk.set_capacity(10 * used);
    one(&bench.collection, change(draft(50)));
    assert!(bench.collection.view().len() >= len + 50);
}

#[test]
fn on_a_full_disk_upkeep_is_refused_before_it_begins() {
    let options = Options { memtable_bytes_max: 1, ..Options::default() };
    let bench = bench_with(options);
    one(&bench.collection, change(draft(500)));
    bench.disk.set_capacity(1);
    let start = bench.disk.op_count();
    assert_eq!(maintain(&bench.collection).expect_err("full").kind(), ErrorKind::StorageFull);
    let log = bench.disk.op_log();
    assert!(!log[start as usize..].iter().any(|op| op.starts_with("create")), "{log:?}");
    bench.disk.set_capacity(1 << 20);
    assert!(maintain(&bench.collection).expect("checkpoints"));
}

#[test]
fn numbers_are_published_with_the_view_and_need_no_writer() {
    let bench = bench_with(small_files());
    bench.write_many();
    let before = bench.collection.stats();
    assert_eq!((before.log.last.0, before.log.durable.0, before.log.cut.0), (8, 8, 0));
    assert!(before.log.syncs >= 8 && before.memory_bytes > 0, "{before:?}");
    assert!(before.log.bytes >= before.log.bytes_since_truncation, "{before:?}");
    assert_eq!(before.log.truncated_ms, None);
    bench.checkpoint().expect("checkpoints");
    one(&bench.collection, change(Draft { idempotency_key: Some("k".into()), ..draft(1) }));
    // `with_writer` holds the writer's lock; reading the statistics does not wait for it.
    let after = bench.collection.with_writer(|_| Ok(bench.collection.stats())).expect("no wait");
    assert_eq!((after.log.cut.0, after.log.truncated_ms), (8, Some(1_000)));
    assert!(after.log.bytes < before.log.bytes, "archived");
    assert!((1..600).contains(&after.log.bytes_since_truncation), "{after:?}");
    assert!(after.memory_bytes < before.memory_bytes && after.log.syncs > before.log.syncs);
    assert_eq!((after.keys.batches, after.keys.rows), (1, 0));
    drop((bench.collection, bench.db));
    let db = open(&bench.disk.restart(1), small_files());
    let reopened = db.collection("points").expect("opens").stats();
    assert!((1..600).contains(&reopened.log.bytes_since_truncation), "{reopened:?}");
    assert_eq!((reopened.log.truncated_ms, reopened.keys), (Some(1_000), after.keys));
}

#[test]
fn a_tier_is_searched_alone_and_hits_name_their_segments() {
    let bench = Bench::new();
    let with = |metadata: &'static str, rows| {
        change(Draft { metadata: vec![Some(metadata.into()); rows], ..draft(rows) })
    };
    one(&bench.collection, with("{\"old\":1}", 3));
    bench.checkpoint().expect("checkpoints");
    one(&bench.collection, with("{\"new\":1}", 2));
    let mut view = (*bench.collection.view()).clone();
    // No plan makes such a level yet.
    view.segments[0].file.as_mut().expect("in a file").level = 2;
    let filter = Filter::from_json(&json!({"old": 1})).expect("a filter");
    let sources = |tier, filter| {
        let params = SearchParams { field: "", k: 10, ef: None, exact: false, filter };
        let prepared = view.prepare_tier(tier, params, bench.collection.kernel(), &never_cancelled);
        let found = prepared.expect("known fields").search(
            &[0.0, 0.0],
            &mut Scratch::default(),
            &never_cancelled,
        );
        let (hits, _) = found.expect("in memory");
        hits.iter().map(|hit| hit.source).collect::<Vec<_>>()
    };
    let found = [Tier::All, Tier::Active, Tier::Archive].map(|tier| sources(tier, None));
    assert_eq!(found, [vec![0, 0, 0, 1, 1], vec![1, 1], vec![0, 0, 0]]);
    let found = [Tier::All, Tier::Active].map(|tier| sources(tier, Some(&filter)));
    assert_eq!(found, [vec![0, 0, 0], vec![]]);
}
