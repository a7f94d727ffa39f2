//! The simulated disk against the rules it states.

use std::collections::BTreeSet;

use super::*;
use crate::storage::name::{join, parent};

fn write(disk: &SimDisk, path: &str, bytes: &[u8]) -> SimFile {
    let mut file = disk.create(path).unwrap();
    file.write_all(bytes).unwrap();
    file
}

fn durable_file(disk: &SimDisk, path: &str, bytes: &[u8]) {
    write(disk, path, bytes).sync().unwrap();
    disk.sync_dir(parent(path)).unwrap();
}

fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    disk.list(dir).unwrap().into_iter().map(|entry| entry.name).collect()
}

/// A random run of primitives; what came of each, and the names at the end.
fn run(seed: u64, failure: Option<(u64, Failure)>) -> (Vec<String>, Vec<String>) {
    let disk = SimDisk::new(seed);
    if let Some((op, failure)) = failure {
        disk.fail_at(op, failure);
    }
    let mut rng = Rng::new(seed);
    let mut outcomes = Vec::new();
    for _ in 0..40 {
        let [first, second] = [0; 2].map(|_| format!("f{}", rng.below(4)));
        let outcome = match rng.below(5) {
            0 => disk.create(&first).and_then(|mut file| file.write_all(&[1; 3000])),
            1 => disk.rename(&first, &second),
            2 => disk.unlink(&first),
            3 => disk.hard_link(&first, &second),
            _ => disk.sync_dir(""),
        };
        outcomes.push(format!("{outcome:?}"));
    }
    let disk = disk.restart(seed);
    let left = names(&disk, "").into_iter();
    let left =
        left.map(|name| format!("{name} {:?}", disk.read(&name).unwrap().to_vec())).collect();
    (outcomes, left)
}

#[test]
fn the_same_seed_and_calls_give_the_same_disk() {
    let mut distinct = BTreeSet::new();
    for seed in 0..20 {
        for failure in [None, Some((9, Failure::Crash)), Some((9, Failure::Io))] {
            let first = run(seed, failure);
            assert_eq!(first, run(seed, failure), "seed {seed}, {failure:?}");
            distinct.insert(first);
        }
    }
    assert!(distinct.len() > 30, "chance plays a part: {}", distinct.len());
}

#[test]
fn after_a_crash_everything_fails_until_the_restart() {
    let disk = SimDisk::new(1);
    durable_file(&disk, "a", b"1");
    let mut open = write(&disk, "b", b"2");
    disk.fail_at(disk.op_count(), Failure::Crash);
    disk.unlink("a").expect_err("the crash");
    let count = disk.op_count();
    for error in [
        disk.read("a").expect_err("down"),
        disk.sync_dir("").expect_err("down"),
        open.write(b"x").expect_err("down"),
        open.sync().expect_err("down"),
    ] {
        assert!(error.to_string().contains("simulated crash"), "{error}");
    }
    assert_eq!(disk.op_count(), count);
    assert_eq!(disk.restart(1).op_count(), 0);
}

#[test]
fn unsynced_names_are_lost_or_kept_each_on_its_own() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..200 {
        let disk = SimDisk::new(seed);
        for name in ["a", "b"] {
            write(&disk, name, b"1").sync().unwrap();
        }
        outcomes.insert(names(&disk.restart(seed), ""));
    }
    let expected: [&[&str]; 4] = [&[], &["a"], &["a", "b"], &["b"]];
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), expected);
}

#[test]
fn a_durable_name_of_unsynced_content_is_gone_empty_partial_or_whole() {
    let mut lens = BTreeSet::new();
    for seed in 0..300 {
        let disk = SimDisk::new(seed);
        let _file = write(&disk, "a", &[1; 2000]);
        disk.sync_dir("").unwrap();
        lens.insert(disk.restart(seed).read("a").ok().map(|bytes| bytes.len()));
    }
    assert!(lens.contains(&None) && lens.contains(&Some(0)) && lens.contains(&Some(2000)));
    assert!(lens.len() > 20, "partial lengths: {lens:?}");
}

#[test]
fn what_is_in_a_directory_goes_with_it() {
    let mut outcomes = BTreeSet::new();
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        disk.make_dir("d").unwrap();
        durable_file(&disk, "d/a", b"1");
        let disk = disk.restart(seed);
        outcomes.insert(names(&disk, "").len());
        assert_eq!(disk.read("d/a").is_ok(), names(&disk, "") == ["d"], "seed {seed}");
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), [0, 1]);
}

#[test]
fn a_renamed_durable_file_never_vanishes_and_is_whole() {
    for seed in 0..500 {
        let disk = SimDisk::new(seed);
        for dir in ["x", "y"] {
            disk.make_dir(dir).unwrap();
        }
        disk.sync_dir("").unwrap();
        for number in 0..3 {
            durable_file(&disk, &format!("x/{number}"), &[number; 700]);
        }
        let mut rng = Rng::new(seed);
        let mut path = || format!("{}/{}", ["x", "y"][rng.below(2) as usize], rng.below(5));
        for _ in 0..12 {
            let (from, to) = (path(), path());
            // Most pairs do not fit; those change nothing.
            let _moved = disk.rename_new(&from, &to);
            if from < to {
                disk.sync_dir(parent(&to)).unwrap();
            }
        }
        let disk = disk.restart(seed);
        let mut found = BTreeSet::new();
        for dir in ["x", "y"] {
            for name in names(&disk, dir) {
                let bytes = disk.read(&join(dir, &name)).unwrap();
                assert!(bytes[..] == vec![bytes[0]; 700], "seed {seed}");
                found.insert(bytes[0]);
            }
        }
        assert_eq!(found.len(), 3, "seed {seed}");
    }
}

#[test]
fn a_rename_between_directories_needs_both_syncs() {
    let left_after = |synced: &[&str]| {
        let mut outcomes = BTreeSet::new();
        for seed in 0..60 {
            let disk = SimDisk::new(seed);
            for dir in ["x", "y"] {
                disk.make_dir(dir).unwrap();
            }
            disk.sync_dir("").unwrap();
            durable_file(&disk, "x/a", b"1");
            disk.rename("x/a", "y/a").unwrap();
            for dir in synced {
                disk.sync_dir(dir).unwrap();
            }
            let disk = disk.restart(seed);
            outcomes.insert((names(&disk, "x").len(), names(&disk, "y").len()));
        }
        outcomes.into_iter().collect::<Vec<_>>()
    };
    let (old, new, both) = ((1, 0), (0, 1), (1, 1));
    assert_eq!(left_after(&[]), [new, old]);
    assert_eq!(left_after(&["x"]), [new, old]);
    assert_eq!(left_after(&["y"]), [new, both]);
    assert_eq!(left_after(&["x", "y"]), [new]);
    assert_eq!(left_after(&["y", "x"]), [new]);
}

#[test]
fn a_directory_sync_that_failed_is_not_made_good_by_a_later_one() {
    let mut lost = 0;
    for seed in 0..50 {
        let disk = SimDisk::new(seed);
        write(&disk, "a", b"1").sync().unwrap();
        disk.fail_at(disk.op_count(), Failure::Io);
        disk.sync_dir("").expect_err("injected");
        disk.sync_dir("").unwrap();
        lost += usize::from(disk.restart(seed).read("a").is_err());
    }
    assert!((5..45).contains(&lost), "{lost} of 50");
}

#[test]
fn locks_end_with_the_process_or_the_power() {
    let disk = SimDisk::new(1);
    let lock = |disk: &SimDisk| disk.lock("lock", LockMode::Exclusive, "me").unwrap();
    let _held = lock(&disk);
    assert!(matches!(lock(&disk), LockAttempt::Refused { .. }));
    let disk = disk.kill(2);
    let _held = lock(&disk);
    assert!(matches!(lock(&disk.restart(3)), LockAttempt::Held(_)));
}

#[test]
fn an_edit_is_durable_and_unnoticed() {
    let disk = SimDisk::new(1);
    durable_file(&disk, "a", &[0; 10]);
    disk.edit("a", |bytes| bytes[3] ^= 4);
    assert_eq!(disk.restart(1).read("a").unwrap()[..], [0, 0, 0, 4, 0, 0, 0, 0, 0, 0]);
}

#[test]
fn bytes_of_removed_files_are_given_back() {
    let disk = SimDisk::new(1);
    for number in 0..50 {
        let name = number.to_string();
        durable_file(&disk, &name, &[1; 1000]);
        disk.unlink(&name).unwrap();
    }
    disk.sync_dir("").unwrap();
    assert_eq!(disk.state().contents.len(), 0);
}

#[test]
fn a_full_disk_takes_no_name_and_says_of_one_that_is_there_that_it_is_there() {
    let disk = SimDisk::new(1);
    disk.make_dir("d").unwrap();
    durable_file(&disk, "d/a", b"1");
    disk.set_full(true);
    let kind = |done: io::Result<()>| done.map_err(|error| error.kind());
    assert_eq!(kind(disk.make_dir("d")), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.hard_link("d/a", "d/a")), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.create("d/a").map(drop)), Err(ErrorKind::AlreadyExists));
    assert_eq!(kind(disk.make_dir("none/e")), Err(ErrorKind::NotFound));
    let full = Err(ErrorKind::StorageFull);
    assert_eq!(kind(disk.make_dir("e")), full);
    assert_eq!(kind(disk.hard_link("d/a", "b")), full);
    assert_eq!(kind(disk.create("b").map(drop)), full);
    assert_eq!(kind(disk.rename("d/a", "a")), full);
    assert_eq!(kind(disk.lock("lock", LockMode::Shared, "").map(drop)), full);
    disk.rename("d/a", "d/b").unwrap();
    disk.lock("d/b", LockMode::Shared, "").unwrap();
    disk.unlink("d/b").unwrap();
    disk.set_full(false);
    disk.make_dir("e").unwrap();
}
