//! Cuts the power at every primitive of every operation, on many disks, and looks at what is left; then
//! leaves out every single sync, to show that the looking would have noticed.
//!
//! What an operation should do is taken from `MemoryStorage`.

use std::sync::atomic::{AtomicU64, Ordering};

use super::*;
use crate::error::ErrorKind;
use crate::storage::operations::{
    Act, Files, append, files, is_torn_log, model, pattern, put, set_up,
};
use crate::storage::{Failure, SimDisk};

const SEEDS: u64 = 60;
/// An operation on a storage that holds `a/1`, `a/2` and `b/1`.
struct Scenario {
    name: &'static str,
    /// Number of syncs, each of them needed.
    sync_count: u64,
    hard_links: bool,
    act: Act,
    /// What a failure may leave besides all of the old files or all of the new ones.
    between: fn(left: &Files, old: &Files, new: &Files) -> bool,
}

fn scenarios() -> [Scenario; 10] {
    let base = Scenario {
        name: "",
        sync_count: 2,
        hard_links: true,
        act: |_| Ok(()),
        between: |_, _, _| false,
    };
    [
        Scenario { name: "put", act: |s| put(s, "a/3", 5000), ..base },
        Scenario { name: "put over another", act: |s| put(s, "a/1", 5000), ..base },
        Scenario { name: "put_new", act: |s| s.put_new("a/3", &pattern(5000)), ..base },
        Scenario {
            name: "put in new directories",
            sync_count: 4,
            act: |s| put(s, "a/new/deep/3", 700),
            ..base
        },
        Scenario { name: "append_new", act: |s| s.append_new("a/3").map(drop), ..base },
        Scenario { name: "append", sync_count: 3, act: append, between: is_torn_log, ..base },
        Scenario { name: "rename", sync_count: 1, act: |s| s.rename("a/1", "a/3"), ..base },
        Scenario {
            name: "rename to another directory",
            act: |s| s.rename("a/1", "b/3"),
            between: has_both_names,
            ..base
        },
        Scenario { name: "link", sync_count: 1, act: |s| s.link("a/1", "b/3"), ..base },
        Scenario { name: "link by copy", hard_links: false, act: |s| s.link("a/1", "b/3"), ..base },
    ]
}

fn has_both_names(left: &Files, old: &Files, new: &Files) -> bool {
    let both: Files = old.iter().chain(new).map(|(k, v)| (k.clone(), v.clone())).collect();
    *left == both
}

/// A disk after set-up, and the storage on it.
fn prepared(scenario: &Scenario, seed: u64) -> (SimDisk, Directory<SimDisk>) {
    let disk = SimDisk::new(seed);
    if !scenario.hard_links {
        disk.refuse_hard_links();
    }
    let storage = Directory::new(disk.clone());
    set_up(&storage);
    (disk, storage)
}

/// Numbers of the operation's primitives.
fn primitives(scenario: &Scenario) -> std::ops::Range<u64> {
    let (disk, storage) = prepared(scenario, 0);
    let start = disk.op_count();
    (scenario.act)(&storage).unwrap();
    start..disk.op_count()
}

/// What the next process finds after power-up.
fn recovered(disk: &SimDisk, seed: u64) -> Files {
    let storage = Directory::new(disk.restart(seed));
    storage.settle("").unwrap();
    files(&storage)
}

fn is_legal(scenario: &Scenario, left: &Files) -> bool {
    let (old, new) = model(scenario.act);
    *left == old || *left == new || (scenario.between)(left, &old, &new)
}

#[test]
fn a_power_cut_at_any_primitive_leaves_old_or_new() {
    for scenario in scenarios() {
        for op in primitives(&scenario) {
            for seed in 0..SEEDS {
                let (disk, storage) = prepared(&scenario, seed);
                disk.fail_at(op, Failure::Crash);
                let outcome = (scenario.act)(&storage);
                let left = recovered(&disk, seed);
                let message = format!("{}, seed {seed}, {:?}", scenario.name, disk.op_log());
                // A primitive whose failure does not matter (removing a leftover) may be overlooked.
                if outcome.is_ok() {
                    assert_eq!(left, model(scenario.act).1, "{message}");
                }
                assert!(is_legal(&scenario, &left), "{message}: {left:?}");
            }
        }
    }
}

#[test]
fn what_returned_ok_survives_a_power_cut() {
    for scenario in scenarios() {
        for seed in 0..SEEDS {
            let (disk, storage) = prepared(&scenario, seed);
            (scenario.act)(&storage).unwrap();
            assert_eq!(
                recovered(&disk, seed),
                model(scenario.act).1,
                "{}, seed {seed}",
                scenario.name
            );
        }
    }
}

#[test]
fn a_failing_medium_leaves_old_or_new_before_and_after_a_power_cut() {
    for scenario in scenarios() {
        for op in primitives(&scenario) {
            for (failure, seed) in (0..SEEDS).flat_map(|s| [(Failure::Io, s), (Failure::Full, s)]) {
                let (disk, storage) = prepared(&scenario, seed);
                disk.fail_at(op, failure);
                let error = (scenario.act)(&storage).expect_err("no failure is overlooked");
                let expected = match failure {
                    Failure::Full => ErrorKind::StorageFull,
                    Failure::Io | Failure::Crash => ErrorKind::Io,
                };
                let message = format!("{}, seed {seed}, {:?}", scenario.name, disk.op_log());
                assert_eq!(error.kind(), expected, "{message}: {error}");
                assert!(is_legal(&scenario, &files(&storage)), "{message}");
                assert!(is_legal(&scenario, &recovered(&disk, seed)), "{message}");
            }
        }
    }
}

#[test]
fn every_append_that_was_synced_survives_a_power_cut() {
    for (op, seed) in (0..14).flat_map(|op| (0..SEEDS).map(move |seed| (op, seed))) {
        let disk = SimDisk::new(seed);
        let storage = Directory::new(disk.clone());
        disk.fail_at(op, Failure::Crash);
        let Ok(mut log) = storage.append_new("a/log") else { continue };
        let mut written = Vec::new();
        let mut synced_len = 0;
        for number in 1..=4 {
            let frame = vec![number; 300 * usize::from(number)];
            written.extend_from_slice(&frame);
            if log.write(&frame).and_then(|()| log.sync()).is_err() {
                break;
            }
            synced_len = written.len();
        }
        let left = recovered(&disk, seed).remove("a/log").expect("its name is durable");
        let message = format!("primitive {op}, seed {seed}, {synced_len} bytes synced");
        assert!((synced_len..=written.len()).contains(&left.len()), "{message}: {}", left.len());
        assert!(left[..synced_len] == written[..synced_len], "{message}");
    }
}

/// Whether some disk loses what returned `Ok` if the operation's sync number `left_out` does nothing.
fn is_missed(scenario: &Scenario, left_out: u64) -> bool {
    (0..SEEDS).any(|seed| {
        let (disk, storage) = prepared(scenario, seed);
        let count = AtomicU64::new(0);
        disk.ignore_sync(move |_, _| count.fetch_add(1, Ordering::Relaxed) == left_out);
        (scenario.act)(&storage).unwrap();
        recovered(&disk, seed) != model(scenario.act).1
    })
}

#[test]
fn leaving_out_any_one_sync_is_noticed() {
    for scenario in scenarios() {
        let (disk, storage) = prepared(&scenario, 0);
        let before = disk.op_log().len();
        (scenario.act)(&storage).unwrap();
        let log = disk.op_log();
        let syncs: Vec<&String> =
            log[before..].iter().filter(|op| op.starts_with("sync")).collect();
        assert_eq!(syncs.len() as u64, scenario.sync_count, "{}: {syncs:?}", scenario.name);
        for (number, sync) in syncs.iter().enumerate() {
            // The empty content that `append_new` syncs is synced again by the log's own first sync.
            let again = scenario.name == "append" && number == 0;
            assert_eq!(is_missed(&scenario, number as u64), !again, "{}: {sync}", scenario.name);
        }
    }
}

/// Kills the process at `op`, lets the next one take over, and cuts the power on that one.
fn names_before_and_after(
    scenario: &Scenario,
    op: u64,
    seed: u64,
    take_over: fn(&dyn Storage) -> Result<usize>,
) -> (Vec<String>, Vec<String>) {
    let (disk, storage) = prepared(scenario, seed);
    disk.fail_at(op, Failure::Crash);
    let _killed = (scenario.act)(&storage);
    let disk = disk.kill(seed);
    let storage = Directory::new(disk.clone());
    take_over(&storage).unwrap();
    let seen = files(&storage).into_keys().collect();
    (seen, recovered(&disk, seed).into_keys().collect())
}

#[test]
fn settle_makes_durable_what_a_killed_process_left_visible() {
    let mut needed = 0;
    for scenario in scenarios().iter().filter(|scenario| !scenario.name.starts_with("append")) {
        for op in primitives(scenario) {
            for seed in 0..SEEDS {
                let (seen, left) = names_before_and_after(scenario, op, seed, |s| s.settle(""));
                assert_eq!(seen, left, "{}, primitive {op}, seed {seed}", scenario.name);
                let (seen, left) = names_before_and_after(scenario, op, seed, |_| Ok(0));
                needed += u64::from(seen != left);
            }
        }
    }
    assert!(needed > 0, "without settle it is lost on some disks");
}

#[test]
fn a_directory_that_a_killed_process_made_is_synced_before_use() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        disk.fail_at(1, Failure::Crash);
        let _killed = put(&Directory::new(disk.clone()), "a/1", 10);
        assert_eq!(disk.op_log(), ["make_dir a", "sync_dir "]);
        let disk = disk.kill(seed);
        put(&Directory::new(disk.clone()), "a/1", 10).unwrap();
        assert_eq!(recovered(&disk, seed)["a/1"], pattern(10), "seed {seed}");
    }
}

#[test]
fn settle_removes_leftovers_of_its_part_only() {
    let disk = SimDisk::new(1);
    let storage = Directory::new(disk.clone());
    set_up(&storage);
    for path in ["a/.tmp-0", "a/.tmp-77", "b/.tmp-1"] {
        disk.create(path).unwrap();
    }
    put(&storage, "a/4", 10).unwrap();
    assert_eq!(storage.list("a").unwrap(), ["1", "2", "4"]);
    assert_eq!(storage.settle("a").unwrap(), 2);
    assert_eq!(storage.settle("").unwrap(), 1);
    assert_eq!(storage.settle("").unwrap(), 0);
}

#[test]
fn a_full_disk_refuses_frees_what_it_wrote_and_works_again_after_a_remove() {
    let disk = SimDisk::new(3);
    let storage = Directory::new(disk.clone());
    disk.set_capacity(10_000);
    put(&storage, "a/1", 6000).unwrap();
    let error = put(&storage, "a/1", 6000).expect_err("both do not fit");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(storage.free_bytes().unwrap(), Some(4000), "the rest of the write is gone");
    assert_eq!(files(&storage)["a/1"], pattern(6000));
    storage.remove("a/1").unwrap();
    put(&storage, "a/1", 9000).unwrap();
}

#[test]
fn a_fill_that_overlooks_a_write_error_cannot_publish_half_a_blob() {
    // The second of several writes fails; those after it would succeed.
    let disk = SimDisk::new(4);
    let storage = Directory::new(disk.clone());
    disk.fail_at(2, Failure::Io);
    let error = storage
        .put("a", &mut |out| {
            for _ in 0..10 {
                let _overlooked = out.write_all(&pattern(300_000));
            }
            Ok(())
        })
        .expect_err("a part is missing");
    assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    assert!(files(&storage).is_empty());
}

#[test]
fn a_full_disk_is_told_as_such_whatever_fill_makes_of_it() {
    let disk = SimDisk::new(5);
    disk.set_capacity(400_000);
    let error = Directory::new(disk)
        .put("a", &mut |out| {
            let written = out.write_all(&pattern(900_000));
            written.map_err(|_| Error::invalid(crate::error::Fault::Metadata, "cannot encode"))
        })
        .expect_err("it does not fit");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
}

#[test]
fn an_appender_refuses_everything_after_its_first_failure() {
    for failed_op in [3, 4] {
        let disk = SimDisk::new(5);
        let mut log = Directory::new(disk.clone()).append_new("log").unwrap();
        disk.fail_at(failed_op, Failure::Io);
        let outcome = log.write(&pattern(600)).and_then(|()| log.sync());
        assert_eq!(outcome.expect_err("injected").kind(), ErrorKind::Io);
        let count = disk.op_count();
        for outcome in [log.sync(), log.write(b"x"), log.sync()] {
            assert_eq!(outcome.expect_err("refused").kind(), ErrorKind::Io);
        }
        assert_eq!(disk.op_count(), count, "the disk is not asked again");
    }
}
