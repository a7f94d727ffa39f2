//! Group commit.

use super::*;

#[test]
fn a_group_takes_one_sync_however_many_changes_are_in_it() {
    let bench = Bench::new();
    bench.collection.apply_all(vec![change(draft(1))], &Pool::SERIAL);
    let start = bench.disk.op_count();
    let group = (0..20).map(|_| change(draft(3))).collect();
    let answers = bench.collection.apply_all(group, &Pool::SERIAL);
    assert_eq!(lsns(answers), (2..22).collect::<Vec<_>>());
    assert_eq!(bench.syncs_since(start), 1);
    assert_eq!(bench.collection.view().len(), 61);
}

#[test]
fn a_change_that_is_wrong_fails_alone() {
    let Bench { collection, db, disk } = Bench::new();
    let last = change(Draft { ids: Some(numbers([u64::MAX])), ..draft(1) });
    let unknown = Filter::from_json(&json!({"nowhere": 1})).expect("a filter");
    let metadata = vec![Some("{\"n\":1}".into())];
    let group = vec![
        change(Draft { metadata, ..draft(1) }),
        last,
        change(draft(1)),
        Change::DeleteWhere(unknown),
        change(Draft { ids: Some(numbers([7])), ..draft(1) }),
    ];
    let answers = collection.apply_all(group, &Pool::SERIAL);
    let kinds: Vec<_> =
        answers.iter().map(|answer| answer.as_ref().map_err(|error| error.kind()).err()).collect();
    let (id, filter) = (ErrorKind::InvalidInput(Fault::Id), ErrorKind::InvalidInput(Fault::Filter));
    assert_eq!(kinds, [None, None, Some(id), Some(filter), None]);
    drop((collection, db));
    let db = open(&disk.restart(3), Options::default());
    assert_eq!(db.collection("points").expect("opens").view().len(), 3);
}

#[test]
fn a_filter_means_the_points_that_are_there_at_its_turn() {
    let bench = Bench::new();
    let with = |id, n: u32| {
        let metadata = vec![Some(format!("{{\"n\":{n}}}").into())];
        change(Draft { ids: Some(numbers([id])), metadata, ..draft(1) })
    };
    let below_5 = Filter::from_json(&json!({"n": {"lt": 5}})).expect("a filter");
    let group = vec![with(1, 1), with(2, 9), Change::DeleteWhere(below_5), with(3, 2), with(4, 9)];
    let answers = bench.collection.apply_all(group, &Pool::SERIAL);
    let deleted: Vec<u64> =
        answers.iter().map(|answer| answer.as_ref().expect("written").deleted).collect();
    assert_eq!(deleted, [0, 0, 1, 0, 0]);
    let view = bench.collection.view();
    let there: Vec<bool> =
        (1..5).map(|id| view.find(&PointId::U64(id)).expect("reads").is_some()).collect();
    assert_eq!(there, [false, true, true, true]);
}

#[test]
fn after_a_failed_sync_every_change_of_the_group_is_in_doubt_and_none_is_seen() {
    for failure in [Failure::Io, Failure::Full] {
        let bench = Bench::new();
        bench.collection.apply_all(vec![change(draft(2))], &Pool::SERIAL);
        // One write for each change, then the sync.
        bench.disk.fail_at(bench.disk.op_count() + 3, failure);
        let group = (0..3).map(|_| change(draft(1))).collect();
        for answer in bench.collection.apply_all(group, &Pool::SERIAL) {
            let error = answer.expect_err("the medium failed");
            assert!(error.message().contains("may or may not have happened"), "{error}");
        }
        assert_eq!(bench.collection.view().len(), 2);
        bench.collection.recover().expect("recovers");
        let len = bench.collection.view().len();
        assert!((2..=5).contains(&len), "{len}");
        let again = bench.collection.apply_all(vec![change(draft(1))], &Pool::SERIAL);
        assert!(again[0].is_ok());
        assert_eq!(bench.collection.view().len(), len + 1);
    }
}

#[test]
fn in_a_group_that_fills_log_files_what_is_answered_as_done_is_seen_whatever_fails() {
    let options = Options { log_file_bytes_max: 512, ..Options::default() };
    let group = || {
        let one = |id| change(Draft { ids: Some(numbers([id])), ..draft(1) });
        (1..=12).map(one).collect::<Vec<_>>()
    };
    let (mut files, mut failed) = (0, 0);
    for step in 0.. {
        let disk = SimDisk::new(1);
        let db = open(&disk, options.clone());
        let collection = db.create("points", &schema()).expect("creates");
        collection
            .apply_all(vec![change(Draft { ids: Some(numbers([0])), ..draft(1) })], &Pool::SERIAL);
        let start = disk.op_count();
        disk.fail_at(start + step, Failure::Io);
        let answers = collection.apply_all(group(), &Pool::SERIAL);
        if disk.op_count() <= start + step {
            let log = disk.op_log();
            files = log[start as usize..].iter().filter(|op| op.starts_with("create")).count();
            break;
        }
        failed += usize::from(answers.iter().any(Result::is_err));
        let seen = |id| collection.view().find(&PointId::U64(id)).expect("reads").is_some();
        let done: Vec<u64> =
            (1..).zip(&answers).filter(|(_, answer)| answer.is_ok()).map(|(id, _)| id).collect();
        for id in 1..=12 {
            assert_eq!(seen(id), done.contains(&id), "point {id} when operation {step} failed");
        }
        collection.recover().expect("recovers");
        assert!(seen(0) && done.iter().all(|&id| seen(id)), "operation {step}");
    }
    assert!(files > 1 && failed > 12, "{files} files were begun, {failed} failures were noticed");
}

/// Twenty points, of which a filter removes the first ten. Their ids take four batches.
fn many_batches() -> (Bench, Change<'static>) {
    let bench = Bench::new();
    let metadata = (0..20).map(|n| Some(format!("{{\"n\":{n}}}").into())).collect();
    let points = Draft { ids: Some(numbers(0..20)), metadata, ..draft(20) };
    lsns(bench.collection.apply_all(vec![change(points)], &Pool::SERIAL));
    let bounded = bench.collection.with_writer(|writer| {
        writer.deletes_bytes_max = 64;
        Ok(())
    });
    bounded.expect("a writer");
    let filter = Filter::from_json(&json!({"n": {"lt": 10}})).expect("a filter");
    (bench, Change::DeleteWhere(filter))
}

fn left(collection: &Collection) -> Vec<u64> {
    let view = collection.view();
    (0..20).filter(|&id| view.find(&PointId::U64(id)).expect("reads").is_some()).collect()
}

#[test]
fn a_delete_by_filter_with_too_many_ids_for_a_batch_takes_several_and_one_sync() {
    let (bench, delete) = many_batches();
    let start = bench.disk.op_count();
    let applied = one(&bench.collection, delete);
    assert_eq!((applied.lsn.0, applied.deleted), (5, 10), "after the batch of the points");
    assert_eq!(bench.syncs_since(start), 1);
    assert_eq!(left(&bench.collection), (10..20).collect::<Vec<_>>());
    let Bench { disk, db, collection } = bench;
    drop((collection, db));
    let db = open(&disk.restart(1), Options::default());
    let collection = db.collection("points").expect("opens");
    assert_eq!(left(&collection), (10..20).collect::<Vec<_>>());
}

#[test]
fn a_delete_of_several_batches_that_fails_takes_no_other_point_and_none_is_seen_to_go() {
    let (mut cut_short, mut operations) = (0, 0);
    for failure in [Failure::Crash, Failure::Io, Failure::Full] {
        for step in 0.. {
            let (Bench { disk, db, collection }, delete) = many_batches();
            let at = disk.op_count() + step;
            disk.fail_at(at, failure);
            let answer = collection.apply_all(vec![delete], &Pool::SERIAL).pop().expect("one");
            let answered = answer.is_ok();
            if disk.op_count() <= at {
                operations = step;
                break;
            }
            let seen = left(&collection).len();
            assert_eq!(seen, if answered { 10 } else { 20 }, "{failure:?} at {step}");
            drop((collection, db));
            for restart in 0..8 {
                let db = open(&disk.restart(restart), Options::default());
                let left = left(&db.collection("points").expect("opens"));
                // Batches are in the order of rows, and what a crash leaves of them are the first ones.
                let first = 20 - left.len() as u64;
                assert_eq!(left, (first..20).collect::<Vec<_>>(), "{failure:?} at {step}");
                assert!(first <= 10 && (!answered || first == 10), "{failure:?} at {step}");
                cut_short += usize::from((1..10).contains(&first));
            }
        }
    }
    assert!(operations >= 5 && cut_short > 0, "{operations} operations, {cut_short} cut short");
}
