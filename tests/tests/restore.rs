//! Snapshots put in the place of what is there: again and again, over damage, for some collections only.
//!
//! Crashes in the middle of it are in `durability.rs`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use nearfield_engine::{ErrorKind, Fault, Restored, restore};
use nearfield_segment::Rng;
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{
    Failure, MemoryStorage, SimDisk, Storage, open_existing_directory,
};
use nearfield_tests::sim::{
    Session, Step, World, memory, open, random_change, same_content, storage, tree,
};

/// Two collections, a snapshot of both, and a batch after it.
fn filled(disk: &SimDisk) -> (Session, World) {
    let session = open(storage(disk), 0, 1).unwrap();
    let mut rng = Rng::new(5);
    let mut write = |name| Step::Write(name, random_change(&mut rng, 8, 1));
    let steps = [
        Step::Create("a"),
        write("a"),
        Step::Checkpoint("a"),
        write("a"),
        Step::Create("b"),
        write("b"),
        Step::Snapshot,
        write("a"),
        write("b"),
    ];
    let world = perform(&session, World::default(), &steps);
    (session, world)
}

fn perform(session: &Session, mut world: World, steps: &[Step]) -> World {
    for step in steps {
        session.perform_in(step, &world).unwrap();
        world = world.after(step);
        same_content(&session.db, &world.collections).unwrap();
    }
    world
}

fn write(seed: u64, name: &'static str) -> Step {
    Step::Write(name, random_change(&mut Rng::new(seed), 5, 2))
}

#[test]
fn restoring_twice_and_from_a_snapshot_of_what_was_restored() {
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    let steps = [
        Step::Restore,
        write(1, "a"),
        Step::Restore,
        write(2, "b"),
        Step::Checkpoint("b"),
        Step::Snapshot,
        write(3, "b"),
        Step::Restore,
        Step::Compact("a"),
        write(4, "a"),
    ];
    let world = perform(&session, world, &steps);
    drop(session);
    let session = open(storage(&disk.restart(7)), world.steps, 2).unwrap();
    same_content(&session.db, &world.collections).unwrap();
}

#[test]
fn a_restore_that_is_cancelled_at_any_check_leaves_a_place_for_the_next_one() {
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    let snapshot = session.db.snapshot(&[], &never_cancelled).unwrap();
    let source = memory(&tree(&disk, &snapshot.dir).unwrap());
    for most in 0.. {
        let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let checks = AtomicUsize::new(0);
        let go_on = || checks.fetch_add(1, Ordering::Relaxed) < most;
        let Err(error) = restore(&source, &target, &go_on) else {
            assert!(most > 10, "{most} checks");
            return;
        };
        assert_eq!(error.kind(), ErrorKind::Cancelled, "check {most}: {error}");
        restore(&source, &target, &never_cancelled)
            .unwrap_or_else(|error| panic!("check {most}: {error}"));
        let restored = open(target, world.steps, 2).unwrap();
        same_content(&restored.db, &world.collections).unwrap();
    }
}

#[test]
fn the_batches_since_a_restore_are_within_reach_and_those_before_are_in_the_backup() {
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    let world = perform(&session, world, &[Step::Restore, write(1, "a"), Step::Replay("a", 1)]);
    let (dir, content) = world.backups.first_key_value().unwrap();
    let backup = memory(&tree(&disk, dir).unwrap());
    same_content(&open(backup, 0, 1).unwrap().db, content).unwrap();
}

#[test]
fn a_snapshot_of_one_collection_leaves_the_others_alone() {
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    assert_eq!(
        session.db.snapshot(&["c".to_owned()], &|| true).unwrap_err().kind(),
        ErrorKind::NotFound
    );
    let snapshot = session.db.snapshot(&["b".to_owned()], &|| true).unwrap();
    assert_eq!(snapshot.collections, 1);
    let (a, b) = (world.collections["a"].clone(), world.collections["b"].clone());
    let world = perform(&session, world, &[write(1, "a"), write(2, "b")]);
    let restored = session.db.restore_snapshot(&snapshot.dir).unwrap();
    assert_eq!(restored.collections, ["b"]);
    assert_ne!(world.collections["a"], a);
    let view = session.db.collection("b").unwrap().view();
    assert_eq!(b.difference(&view), None);
    let view = session.db.collection("a").unwrap().view();
    assert_eq!(world.collections["a"].difference(&view), None);
}

#[test]
fn a_collection_that_does_not_open_is_replaced_and_its_ruins_are_kept() {
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    drop(session);
    let mut files = tree(&disk, "").unwrap();
    let newest = files.keys().filter(|name| name.starts_with("c/") && name.contains("/manifest-"));
    let damaged: Vec<String> = newest.cloned().collect();
    for name in &damaged {
        files.get_mut(name).unwrap()[90] ^= 1;
    }
    let store = memory(&files);
    let session = open(Arc::clone(&store), 30, 2).unwrap();
    assert_eq!(session.db.collection("a").unwrap_err().kind(), ErrorKind::Corrupt);
    let (dir, content) = world.snapshots.last_key_value().unwrap();
    let Restored { backup, .. } = session.db.restore_snapshot(dir).unwrap();
    same_content(&session.db, content).unwrap();
    let backup = backup.unwrap();
    for name in &damaged {
        let kept = store.open(&format!("{backup}/{name}")).unwrap();
        assert_eq!(kept.read(0..kept.len()).unwrap()[..], files[name][..], "{name}");
    }
    session.perform(&write(9, "a"), 31).unwrap();
}

#[test]
fn a_damaged_snapshot_is_refused_and_nothing_changes() {
    let disk = SimDisk::new(1);
    let (session, mut world) = filled(&disk);
    let (dir, _) = world.snapshots.last_key_value().unwrap();
    let good = tree(&disk, dir).unwrap();
    let mut refused = 0;
    for name in good.keys() {
        let mut files = good.clone();
        let bytes = files.get_mut(name).unwrap();
        let at = bytes.len() / 2;
        bytes[at] ^= 4;
        match session.db.restore_from(&memory(&files)) {
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
                refused += 1;
            }
            // A derived part, which is rebuilt, or the log below the cut, which is not read.
            Ok(_) => world = world.after(&Step::Restore),
        }
        same_content(&session.db, &world.collections).unwrap();
    }
    assert!(refused * 2 > good.len(), "{refused} of {} refused", good.len());
    let step = write(1, "a");
    perform(&session, world, &[step]);
}

#[test]
fn a_restore_cut_short_leaves_no_files_that_nothing_names() {
    let ops = {
        let disk = SimDisk::new(1);
        let (session, world) = filled(&disk);
        let start = disk.op_count();
        session.perform_in(&Step::Restore, &world).unwrap();
        disk.op_count() - start
    };
    for op in 0..ops {
        let disk = SimDisk::new(op);
        let (session, world) = filled(&disk);
        disk.fail_at(disk.op_count() + op, Failure::Crash);
        let _cut_short = session.perform_in(&Step::Restore, &world);
        drop(session);
        let disk = disk.restart(op);
        drop(open(storage(&disk), 30, 2).unwrap());
        let files = tree(&disk, "").unwrap();
        let directories = |part: &str| -> Vec<String> {
            let below = files.keys().filter(|name| name.starts_with(part));
            let mut names: Vec<String> =
                below.map(|name| name.split('/').take(2).collect::<Vec<_>>().join("/")).collect();
            names.dedup();
            names
        };
        assert_eq!(directories("c/").len(), 2, "crash at {op}: {:?}", directories("c/"));
        for backup in directories("tmp/") {
            let document = files.keys().any(|n| n.starts_with(&format!("{backup}/database-")));
            assert!(document, "crash at {op}: {backup} is no database");
        }
        let documents = files.keys().filter(|name| name.starts_with("database-"));
        assert_eq!(documents.count(), 1, "crash at {op}");
    }
}

/// Links in a snapshot, or in a closed database, are refused by both ways to restore, and nothing is written.
#[cfg(unix)]
#[test]
fn a_link_in_a_snapshot_is_refused_by_name() {
    let scratch = std::env::temp_dir().join(format!("nearfield-links-{}", std::process::id()));
    let _absent = std::fs::remove_dir_all(&scratch);
    let disk = SimDisk::new(1);
    let (session, world) = filled(&disk);
    let world = perform(&session, world, &[Step::Snapshot]);
    drop(session);
    let snapshot = world.snapshots.keys().next_back().unwrap();
    for source in ["", snapshot.as_str()] {
        let files = tree(&disk, source).unwrap();
        let kept = |name: &&String| source.is_empty() || !name.starts_with("snapshots/");
        let is_log = |name: &&String| name.contains("/wal/") && !files[*name].is_empty();
        let log = files.keys().filter(kept).find(is_log).unwrap();
        let segment = files.keys().filter(kept).find(|name| name.ends_with(".seg")).unwrap();
        let collection = &log[..38];
        for linked in [log, segment, &format!("{collection}/wal"), collection, "c"] {
            let (from, away) = (scratch.join("from"), scratch.join("away"));
            for (name, bytes) in &files {
                let path = from.join(name);
                std::fs::create_dir_all(path.parent().unwrap()).unwrap();
                std::fs::write(path, bytes).unwrap();
            }
            std::fs::rename(from.join(linked), &away).unwrap();
            std::os::unix::fs::symlink(&away, from.join(linked)).unwrap();
            let link: Arc<dyn Storage> = Arc::new(open_existing_directory(&from).unwrap());
            let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
            let living = open(storage(&SimDisk::new(2)), 0, 1).unwrap();
            let refused =
                [restore(&link, &target, &never_cancelled), living.db.restore_from(&link)];
            for error in refused.map(|refused| refused.expect_err(linked)) {
                assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{error}");
                assert!(error.message().starts_with(&format!("{linked} is a symbolic")), "{error}");
            }
            // Both made their lock file and nothing else.
            assert_eq!(
                (target.names("").unwrap(), living.db.names()),
                (vec!["lock".to_owned()], vec![])
            );
            std::fs::remove_dir_all(&scratch).unwrap();
        }
    }
}
