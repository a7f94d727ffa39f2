//! What happens to files when work is cut short: tasks beside a recovery, drops that do not finish, and
//! collections that are asked for while one is being opened.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use nearfield_engine::task::MergeScope;
use nearfield_engine::{ErrorKind, verify};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::storage::{Disk, Failure, SimDisk, Storage};
use nearfield_segment::{Pool, Rng};
use nearfield_tests::oracle::Oracle;
use nearfield_tests::sim::{Session, Step, Watched, memory, open, random_change, storage, tree};

const NAME: &str = "a";

fn filled(disk: &SimDisk) -> (Session, Oracle) {
    let session = open(storage(disk), 0, 1).unwrap();
    session.perform(&Step::Create(NAME), 1).unwrap();
    let (mut oracle, mut rng) = (Oracle::default(), Rng::new(3));
    for now in 2..6 {
        let change = random_change(&mut rng, 10, 1);
        oracle.apply(&change);
        session.perform(&Step::Write(NAME, change), now).unwrap();
        session.perform(&Step::Checkpoint(NAME), now).unwrap();
    }
    (session, oracle)
}

/// Recovery takes the file of a task that no manifest names for an orphan and moves it away.
#[test]
fn the_output_of_a_task_planned_before_a_recovery_is_refused() {
    let disk = SimDisk::new(1);
    let (session, oracle) = filled(&disk);
    let collection = session.db.collection(NAME).unwrap();
    let task =
        collection.with_writer(|writer| Ok(writer.plan(MergeScope::Everything))).unwrap().unwrap();
    let output = task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    disk.fail_at(disk.op_count(), Failure::Io);
    let failed = session.perform(&Step::Write(NAME, random_change(&mut Rng::new(4), 3, 0)), 9);
    assert_eq!(failed.expect_err("the medium failed").kind(), ErrorKind::Io);
    collection.recover().unwrap();
    let refused = collection.with_writer(|writer| writer.finish(output));
    assert_eq!(refused.expect_err("its file is gone").kind(), ErrorKind::Conflict);
    drop((collection, session));
    let session = open(storage(&disk.restart(5)), 10, 2).unwrap();
    assert_eq!(oracle.difference(&session.db.collection(NAME).unwrap().view()), None);
}

#[test]
fn a_drop_cut_short_leaves_no_files_once_the_store_is_opened_again() {
    let disk = SimDisk::new(1);
    let (session, _) = filled(&disk);
    let start = disk.op_count();
    session.perform(&Step::Drop(NAME), 7).unwrap();
    let ops = disk.op_count() - start;
    assert!(ops > 10);
    for op in 0..ops {
        let disk = SimDisk::new(op);
        let (session, _) = filled(&disk);
        disk.fail_at(disk.op_count() + op, Failure::Crash);
        // Once the name is gone the drop has happened, whatever becomes of the files.
        let _either = session.perform(&Step::Drop(NAME), 7);
        drop(session);
        let disk = disk.restart(op);
        let session = open(storage(&disk), 8, 2).unwrap();
        if session.db.names().is_empty() {
            let left = tree(&disk, "").unwrap().into_keys().filter(|name| name.starts_with("c/"));
            assert_eq!(left.collect::<Vec<_>>(), [""; 0], "crash at {op}");
        }
    }
}

#[test]
fn a_dropped_collection_cannot_be_recovered_to_life() {
    let disk = SimDisk::new(1);
    let (session, _) = filled(&disk);
    let collection = session.db.collection(NAME).unwrap();
    session.perform(&Step::Drop(NAME), 7).unwrap();
    assert_eq!(collection.recover().expect_err("dropped").kind(), ErrorKind::NotFound);
    let batch = random_change(&mut Rng::new(4), 3, 0).batch(&collection.view().schema).unwrap();
    let refused = collection.apply(batch, &Pool::SERIAL).expect_err("dropped");
    assert_eq!(refused.kind(), ErrorKind::NotFound);
}

/// Leaves a file that no manifest names behind, as a task that was cut short does.
fn leave_orphan(disk: &SimDisk, name: &str) {
    let id = disk.list("c").unwrap()[0].name.clone();
    storage(disk).put_new(&format!("c/{id}/segments/{name}.seg"), &[7; 100]).unwrap();
}

#[test]
fn orphans_stay_in_quarantine_until_they_are_too_old_or_too_many() {
    let disk = SimDisk::new(1);
    drop(filled(&disk));
    let count = |now| {
        let session = open(storage(&disk), now, now).unwrap();
        session.db.collection(NAME).unwrap().quarantine().unwrap().files
    };
    leave_orphan(&disk, "first");
    assert_eq!((count(10), count(11)), (1, 1), "the next recovery does not remove it");
    leave_orphan(&disk, "second");
    assert_eq!((count(35), count(40)), (2, 2));
    assert_eq!(count(41), 1, "the first is 31 old, and 30 are allowed");
    for name in ["third", "fourth", "fifth"] {
        leave_orphan(&disk, name);
    }
    assert_eq!(count(42), 3, "as many as are allowed");
    let session = open(storage(&disk), 43, 1).unwrap();
    let collection = session.db.collection(NAME).unwrap();
    assert_eq!(collection.vacuum().unwrap().evicted, 0);
    session.perform(&Step::Checkpoint(NAME), 90).unwrap();
    assert_eq!(collection.vacuum().unwrap().evicted, 3, "while it is open, by a call");
}

#[test]
fn quarantine_gives_way_when_the_disk_is_full() {
    let disk = SimDisk::new(1);
    drop(filled(&disk));
    leave_orphan(&disk, "first");
    let session = open(storage(&disk), 10, 2).unwrap();
    let collection = session.db.collection(NAME).unwrap();
    assert_eq!(collection.quarantine().unwrap().files, 1);
    disk.fail_at(disk.op_count(), Failure::Full);
    let write = Step::Write(NAME, random_change(&mut Rng::new(4), 3, 0));
    let refused = session.perform(&write, 11).expect_err("the disk is full");
    assert_eq!(refused.kind(), ErrorKind::StorageFull);
    session.perform(&write, 12).unwrap();
    assert_eq!(collection.quarantine().unwrap().files, 0);
}

#[test]
fn a_manifest_of_the_past_that_is_damaged_goes_to_quarantine_and_the_present_opens() {
    let disk = SimDisk::new(1);
    let (session, oracle) = filled(&disk);
    drop(session);
    let mut files = tree(&disk, "").unwrap();
    let oldest = files.keys().find(|name| name.contains("/manifest-")).unwrap().clone();
    files.get_mut(&oldest).unwrap()[90] ^= 1;
    let store = memory(&files);
    let found = verify(&store, None, &|| true).unwrap().findings;
    assert!(!found.is_empty() && found.iter().all(|finding| finding.past), "{found:?}");
    let session = open(store, 10, 2).unwrap();
    let collection = session.db.collection(NAME).unwrap();
    assert_eq!(oracle.difference(&collection.view()), None);
    assert_eq!(collection.recovery().orphans.len(), 1, "{:?}", collection.recovery());
    assert_eq!(collection.quarantine().unwrap().files, 1);
}

/// Calls `work` with a budget of 0, 1, 2, … questions whether to go on, until it is done; how often it was stopped.
#[track_caller]
fn stopped_everywhere<R>(work: impl Fn(GoOn<'_>) -> nearfield_engine::Result<R>) -> usize {
    for most in 0..1_000 {
        let asked = AtomicUsize::new(0);
        match work(&|| asked.fetch_add(1, Ordering::Relaxed) < most) {
            Ok(_) => return most,
            Err(error) => assert_eq!(error.kind(), ErrorKind::Cancelled, "after {most}: {error}"),
        }
    }
    panic!("it never came to its end");
}

#[test]
fn a_verification_can_be_stopped_at_every_block_and_then_claims_nothing() {
    let disk = SimDisk::new(1);
    drop(filled(&disk));
    let store = storage(&disk);
    for name in [None, Some(NAME)] {
        let stops = stopped_everywhere(|go_on| {
            let report = verify(&store, name, go_on)?;
            assert!(report.is_clean(), "{:?}", report.findings);
            Ok(())
        });
        assert!(stops > 10, "{stops}");
    }
}

#[test]
fn a_snapshot_that_is_stopped_leaves_no_files() {
    let disk = SimDisk::new(1);
    let (session, oracle) = filled(&disk);
    let stops = stopped_everywhere(|go_on| {
        let made = session.db.snapshot(&[], go_on);
        if made.is_err() {
            let left = tree(&disk, "").unwrap().into_keys().filter(|name| name.contains("snap-"));
            assert_eq!(left.collect::<Vec<_>>(), [""; 0]);
        }
        made
    });
    assert!(stops >= 1, "{stops}");
    assert_eq!(oracle.difference(&session.db.collection(NAME).unwrap().view()), None);
}

/// Storage that blocks the first opening of a file of `dir` until the sender is used or dropped.
fn waiting_at(
    disk: &SimDisk,
    dir: String,
) -> (Arc<dyn Storage>, mpsc::Receiver<()>, mpsc::Sender<()>) {
    let ((reached, is_reached), (go_on, may_go_on)) = (mpsc::channel(), mpsc::channel());
    let waits = Mutex::new(Some((reached, may_go_on)));
    let watcher = Arc::new(move |operation, name: &str| {
        if operation == "open" && name.starts_with(&dir) {
            // Only the first opening waits.
            if let Some((reached, may_go_on)) = waits.lock().unwrap().take() {
                reached.send(()).unwrap();
                let _sent_or_dropped = may_go_on.recv();
            }
        }
    });
    (Arc::new(Watched::new(storage(disk), watcher)), is_reached, go_on)
}

#[test]
fn a_collection_that_is_being_opened_keeps_nobody_else_waiting() {
    let disk = SimDisk::new(1);
    let (session, oracle) = filled(&disk);
    session.perform(&Step::Create("b"), 9).unwrap();
    drop(session);
    let dir = |name: &str| {
        let session = open(storage(&disk), 9, 2).unwrap();
        let collection = session.db.collection(name).unwrap();
        collection.with_writer(|writer| Ok(writer.manifest().collection)).unwrap()
    };
    let slow = format!("c/{}", dir(NAME));
    let (files, is_reached, go_on) = waiting_at(&disk, slow);
    let session = open(files, 9, 3).unwrap();
    std::thread::scope(|scope| {
        let opens = scope.spawn(|| session.db.collection(NAME).unwrap());
        is_reached.recv().unwrap();
        let (served, is_served) = mpsc::channel();
        let db = &session.db;
        scope.spawn(move || served.send(db.collection("b").unwrap().view().len()).unwrap());
        let answer = is_served.recv_timeout(Duration::from_secs(60));
        // Let go in any case, so that a failure is no hang.
        go_on.send(()).unwrap();
        assert_eq!(answer.expect("served meanwhile"), 0);
        assert_eq!(oracle.difference(&opens.join().unwrap().view()), None);
    });
}

/// A caller that waits for a collection that is dropped meanwhile gets no handle to it.
#[test]
fn a_collection_dropped_while_it_is_opened_is_closed_and_gone() {
    let disk = SimDisk::new(1);
    let (session, _) = filled(&disk);
    let collection = session.db.collection(NAME).unwrap();
    let id = collection.with_writer(|writer| Ok(writer.manifest().collection)).unwrap();
    drop((collection, session));
    let (files, is_reached, go_on) = waiting_at(&disk, format!("c/{id}"));
    let session = open(files, 9, 3).unwrap();
    std::thread::scope(|scope| {
        let opens = scope.spawn(|| session.db.collection(NAME));
        is_reached.recv().unwrap();
        let drops = scope.spawn(|| session.db.drop_collection(NAME));
        go_on.send(()).unwrap();
        drops.join().unwrap().unwrap();
        // Before the drop or after it: a handle that refuses, or none.
        match opens.join().unwrap() {
            Ok(handle) => {
                let batch = random_change(&mut Rng::new(4), 3, 0).batch(&handle.view().schema);
                let refused = handle.apply(batch.unwrap(), &Pool::SERIAL).expect_err("dropped");
                assert_eq!(refused.kind(), ErrorKind::NotFound);
            }
            Err(error) => assert_eq!(error.kind(), ErrorKind::NotFound),
        }
    });
    assert_eq!(session.db.collection(NAME).expect_err("dropped").kind(), ErrorKind::NotFound);
}
