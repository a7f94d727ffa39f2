//! Idempotency keys.

use crate::write::batch::RowOutcome::{self, Inserted, Repeated, Replaced};

use super::*;

fn keyed(key: &str, draft: Draft<'static>) -> Change<'static> {
    change(Draft { idempotency_key: Some(key.to_owned()), ..draft })
}

fn row_keyed(keys: &[Option<&'static str>], ids: Option<Vec<PointId>>) -> Change<'static> {
    let row_keys = keys.iter().map(|key| key.map(Cow::Borrowed)).collect();
    change(Draft { ids, row_keys, ..draft(keys.len()) })
}

fn points(applied: &Applied, given: Option<&[PointId]>) -> Vec<(u64, RowOutcome)> {
    let number = |id| match id {
        PointId::U64(number) => number,
        PointId::I64(_) | PointId::Uuid(_) | PointId::Str(_) => panic!("only u64s are used here"),
    };
    applied.points(given).map(|(id, outcome)| (number(id), outcome)).collect()
}

#[test]
fn a_batch_whose_key_is_known_is_answered_as_the_first_time_and_not_logged() {
    let Bench { collection, .. } = Bench::new();
    let first = one(&collection, keyed("k", draft(2)));
    assert_eq!(points(&first, None), [(0, Inserted), (1, Inserted)]);
    one(&collection, change(draft(1)));
    let again = one(&collection, keyed("k", draft(2)));
    let rows = vec![Repeated; 2];
    assert_eq!(again, Applied { repeated: true, rows, ..first });
    assert_eq!(points(&again, None), [(0, Repeated), (1, Repeated)]);
    assert_eq!((collection.view().lsn.0, collection.view().len()), (2, 3));
    let other = collection.apply_all(vec![keyed("k", draft(3))], &Pool::SERIAL);
    let error = other[0].as_ref().expect_err("another batch under the same key");
    assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter));
}

#[test]
fn rows_whose_keys_are_known_are_left_out_and_answered_with_their_ids() {
    let Bench { collection, .. } = Bench::new();
    one(&collection, row_keyed(&[Some("a"), None, Some("b")], None));
    let mixed = one(&collection, row_keyed(&[None, Some("b"), Some("c"), Some("a")], None));
    let expected = [(3, Inserted), (2, Repeated), (4, Inserted), (0, Repeated)];
    assert_eq!((points(&mixed, None), mixed.inserted), (expected.to_vec(), 2));
    let given = Some(numbers([1, 9]));
    let replaced = one(&collection, row_keyed(&[Some("d"), Some("c")], given.clone()));
    assert_eq!(points(&replaced, given.as_deref()), [(1, Replaced), (4, Repeated)]);
    let lsn = collection.view().lsn;
    let known = one(&collection, row_keyed(&[Some("c"), Some("d")], None));
    assert_eq!(points(&known, None), [(4, Repeated), (1, Repeated)]);
    assert_eq!((collection.view().lsn, known.lsn), (lsn, lsn), "nothing was logged");
    assert_eq!(collection.view().len(), 5);
}

#[test]
fn a_group_knows_the_keys_of_its_earlier_batches() {
    let Bench { collection, .. } = Bench::new();
    let twice = || vec![keyed("k", draft(1)), row_keyed(&[Some("a")], None)];
    let answers = collection.apply_all([twice(), twice()].concat(), &Pool::SERIAL);
    let repeated: Vec<bool> =
        answers.into_iter().map(|a| a.expect("written").rows[0] == Repeated).collect();
    assert_eq!(repeated, [false, false, true, true]);
    assert_eq!(collection.view().len(), 2);
}

#[test]
fn a_repeat_within_a_failed_group_is_in_doubt_too() {
    let bench = Bench::new();
    one(&bench.collection, keyed("old", draft(1)));
    bench.disk.fail_at(bench.disk.op_count() + 1, Failure::Io);
    let group = vec![keyed("new", draft(1)), keyed("new", draft(1)), keyed("old", draft(1))];
    let answers = bench.collection.apply_all(group, &Pool::SERIAL);
    let written: Vec<bool> = answers.iter().map(Result::is_ok).collect();
    assert_eq!(written, [false, false, true], "what is durable may be said");
    bench.collection.recover().expect("recovers");
    one(&bench.collection, keyed("new", draft(1)));
    assert_eq!(bench.collection.view().len(), 2);
}

/// Reopens after a power cut and writes everything once more.
#[test]
fn keys_survive_checkpoints_replays_and_power_cuts() {
    let options = Options { idempotency_keys_max: 3, ..Options::default() };
    let disk = SimDisk::new(1);
    let mut db = open(&disk, options.clone());
    db.create("points", &schema()).expect("creates");
    let mut disk = disk;
    let names = ["a", "b", "c", "d", "e"];
    for (round, checkpoints) in
        [[true; 2], [false, true], [true, false], [false; 2]].iter().enumerate()
    {
        let collection = db.collection("points").expect("opens");
        let before = collection.view().len();
        one(&collection, keyed(names[round], draft(1)));
        if checkpoints[0] {
            collection.checkpoint(&Pool::SERIAL).expect("checkpoints");
        }
        one(&collection, row_keyed(&[Some(names[round])], None));
        if checkpoints[1] {
            collection.checkpoint(&Pool::SERIAL).expect("checkpoints");
        }
        drop((collection, db));
        disk = disk.restart(round as u64);
        db = open(&disk, options.clone());
        let collection = db.collection("points").expect("opens");
        for name in &names[round.saturating_sub(2)..=round] {
            assert!(one(&collection, keyed(name, draft(1))).repeated, "{name}");
            let row = one(&collection, row_keyed(&[Some(name)], None));
            assert_eq!(row.rows, [Repeated], "{name}");
        }
        assert_eq!(collection.view().len(), before + 2);
    }
    let collection = db.collection("points").expect("opens");
    assert!(!one(&collection, keyed("a", draft(1))).repeated, "forgotten");
}

#[test]
fn a_checkpoint_without_new_keys_writes_none() {
    let Bench { collection, db, disk } = Bench::new();
    let key_files = || {
        let dir = &disk.list("c").expect("listed")[0].name;
        let files = disk.list(&format!("c/{dir}/segments")).expect("listed");
        files.into_iter().map(|file| file.name).filter(|n| n.ends_with(".keys")).collect::<Vec<_>>()
    };
    let write = |first: Change<'static>| {
        one(&collection, first);
        collection.checkpoint(&Pool::SERIAL).expect("checkpoints");
        key_files()
    };
    assert_eq!(write(change(draft(1))), [""; 0]);
    let first = write(keyed("a", draft(1)));
    assert_eq!(first, ["keys-00000000000000000002.keys"]);
    assert_eq!(write(change(draft(1))), first);
    assert_eq!(write(keyed("a", draft(1))), first);
    assert_eq!(write(keyed("b", draft(1))), ["keys-00000000000000000004.keys"]);
    drop(db);
}

/// A task holds the keys of its checkpoint LSN, not those that came while it ran.
#[test]
fn keys_written_beside_a_checkpoint_come_from_the_log() {
    let Bench { collection, db, disk } = Bench::new();
    one(&collection, keyed("before", draft(1)));
    let plan = |writer: &mut crate::Writer| {
        Ok(writer.plan(crate::write::task::MergeScope::Checkpoint).expect("something is due"))
    };
    let task = collection.with_writer(plan).expect("plans");
    one(&collection, keyed("beside", draft(1)));
    let output = task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).expect("runs");
    collection.with_writer(|writer| writer.finish(output)).expect("finishes");
    drop((collection, db));
    let db = open(&disk.restart(3), Options::default());
    let collection = db.collection("points").expect("opens");
    for key in ["before", "beside"] {
        assert!(one(&collection, keyed(key, draft(1))).repeated, "{key}");
    }
}
