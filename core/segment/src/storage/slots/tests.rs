//! The battery, then power cuts, failures and killed processes at every primitive of every operation, then
//! every single flush left out, to show that the looking would have noticed.
//!
//! What an operation should do is taken from `MemoryStorage`.

use std::ops::Range;
use std::sync::Arc;

use super::header::{CONTENT_AT, HEADER_BYTES};
use super::*;
use crate::error::{ErrorKind, Result};
use crate::storage::operations::{
    Act, Files, append, files, is_torn_log, model, pattern, put, set_up,
};
use crate::storage::{Failure, Storage, conformance};

const SEEDS: u64 = 60;
const SLOTS: usize = 8;
/// An operation on a storage that holds `a/1`, `a/2` and `b/1`.
struct Scenario {
    name: &'static str,
    act: Act,
    /// What a failure may leave besides all of the old files or all of the new ones.
    between: fn(left: &Files, old: &Files, new: &Files) -> bool,
}

fn scenarios() -> [Scenario; 9] {
    let base = Scenario { name: "", act: |_| Ok(()), between: |_, _, _| false };
    [
        Scenario { name: "put", act: |s| put(s, "a/3", 5000), ..base },
        Scenario { name: "put over another", act: |s| put(s, "a/1", 5000), ..base },
        Scenario { name: "put_new", act: |s| s.put_new("a/3", &pattern(5000)), ..base },
        Scenario { name: "append_new", act: |s| s.append_new("a/3").map(drop), ..base },
        Scenario { name: "append", act: append, between: is_torn_log },
        Scenario { name: "rename", act: |s| s.rename("a/1", "b/3"), ..base },
        Scenario { name: "link", act: |s| s.link("a/1", "b/3"), ..base },
        Scenario { name: "remove", act: |s| s.remove("a/1"), ..base },
        Scenario { name: "use again", act: use_again, between: is_on_the_way },
    ]
}

/// A slot is freed and holds another file, twice.
fn use_again(storage: &dyn Storage) -> Result<()> {
    storage.remove("a/1")?;
    storage.append_new("a/3").map(drop)?;
    storage.remove("a/3")?;
    put(storage, "a/1", 700)
}

fn is_on_the_way(left: &Files, old: &Files, _: &Files) -> bool {
    let mut removed = old.clone();
    removed.remove("a/1");
    let mut created = removed.clone();
    created.insert("a/3".to_owned(), Vec::new());
    *left == removed || *left == created
}

fn open(slots: &SimSlots) -> Result<SlotStorage> {
    SlotStorage::open(Arc::new(slots.clone()))
}

fn prepared(seed: u64) -> (SimSlots, SlotStorage) {
    let slots = SimSlots::new(seed, SLOTS);
    let storage = open(&slots).unwrap();
    set_up(&storage);
    (slots, storage)
}

/// Numbers of the operation's primitives.
fn primitives(scenario: &Scenario) -> std::ops::Range<u64> {
    let (slots, storage) = prepared(0);
    let start = slots.op_count();
    (scenario.act)(&storage).unwrap();
    start..slots.op_count()
}

fn recovered(slots: &SimSlots, seed: u64) -> Files {
    files(&open(&slots.restart(seed)).unwrap())
}

fn is_legal(scenario: &Scenario, left: &Files) -> bool {
    let (old, new) = model(scenario.act);
    *left == old || *left == new || (scenario.between)(left, &old, &new)
}

/// Slots that hold more than their header.
fn filled_slots(slots: &SimSlots) -> usize {
    let lens = (0..slots.count()).map(|slot| slots.len(SlotId(slot)).unwrap());
    lens.filter(|&len| len > CONTENT_AT).count()
}

#[test]
fn slots_pass_the_battery() {
    conformance::battery(&|| Arc::new(open(&SimSlots::new(1, 12)).unwrap()));
}

#[test]
fn a_power_cut_at_any_primitive_leaves_old_or_new() {
    for scenario in scenarios() {
        for op in primitives(&scenario) {
            for seed in 0..SEEDS {
                let (slots, storage) = prepared(seed);
                slots.fail_at(op, Failure::Crash);
                let outcome = (scenario.act)(&storage);
                let left = recovered(&slots, seed);
                let message = format!("{}, seed {seed}, {:?}", scenario.name, slots.op_log());
                if outcome.is_ok() {
                    assert!(left == model(scenario.act).1, "{message}");
                }
                assert!(is_legal(&scenario, &left), "{message}");
            }
        }
    }
}

/// Kills the process at every primitive, lets the next one open the pool, and cuts its power at each of its
/// primitives: what it has shown is there.
#[test]
fn what_a_killed_process_left_visible_is_durable_once_it_was_opened() {
    for scenario in scenarios().iter().filter(|scenario| scenario.name != "append") {
        for (op, seed) in primitives(scenario).flat_map(|op| (0..SEEDS).map(move |s| (op, s))) {
            let (slots, storage) = prepared(seed);
            slots.fail_at(op, Failure::Crash);
            let _killed = (scenario.act)(&storage);
            let killed = slots.kill(seed);
            let seen = files(&open(&killed).unwrap());
            let message = format!("{}, primitive {op}, seed {seed}", scenario.name);
            assert!(is_legal(scenario, &seen), "{message}");
            let needed = seen.values().filter(|bytes| !bytes.is_empty()).count();
            assert_eq!(filled_slots(&killed), needed, "{message}: space of free slots");
            let count = killed.op_count();
            assert!(recovered(&killed, seed) == seen, "{message}");
            for inner in 0..count {
                let killed = slots.kill(seed);
                killed.fail_at(inner, Failure::Crash);
                // What comes after the headers is to give back space, which may fail.
                let died = open(&killed).is_err();
                let is_cut = killed.op_log().last().is_some_and(|op| op.starts_with("truncate"));
                assert!(died || is_cut, "{message}: it dies on the way");
                let left = recovered(&killed, seed ^ inner);
                assert!(is_legal(scenario, &left), "{message}, then {inner}");
            }
        }
    }
}

#[test]
fn a_failing_medium_leaves_old_or_new_and_work_goes_on() {
    for scenario in scenarios() {
        for op in primitives(&scenario) {
            for (failure, seed) in (0..SEEDS).flat_map(|s| [(Failure::Io, s), (Failure::Full, s)]) {
                let (slots, storage) = prepared(seed);
                slots.fail_at(op, failure);
                let outcome = (scenario.act)(&storage);
                let message = format!("{}, seed {seed}, {:?}", scenario.name, slots.op_log());
                match outcome {
                    // The second copy of a header, or giving back space: made up for later.
                    Ok(()) => assert!(files(&storage) == model(scenario.act).1, "{message}"),
                    Err(error) => {
                        let full = error.kind() == ErrorKind::StorageFull;
                        assert_eq!(full, failure == Failure::Full, "{message}: {error}");
                    }
                }
                let seen = files(&storage);
                assert!(is_legal(&scenario, &seen), "{message}");
                assert!(is_legal(&scenario, &recovered(&slots.kill(1), seed)), "{message}");
                let slots = slots.kill(seed);
                let storage = open(&slots).unwrap();
                storage.put_new("c", b"more").unwrap();
                let after = files(&storage);
                let left = recovered(&slots, seed);
                // What a failed flush took from a log is the log's own business.
                assert!(left == after || scenario.name == "append", "{message}");
                let without = |mut files: Files| files.remove("c").map(|_| files);
                let whole = |files: Option<Files>| files.is_some_and(|f| is_legal(&scenario, &f));
                assert!(whole(without(after)) && whole(without(left)), "{message}");
            }
        }
    }
}

/// The same storage goes on after a failure, and a power cut then finds what it showed.
#[test]
fn what_is_written_after_a_failure_in_one_session_survives_a_power_cut() {
    for scenario in scenarios() {
        for op in primitives(&scenario) {
            for seed in 0..SEEDS {
                let (slots, storage) = prepared(seed);
                slots.fail_at(op, Failure::Io);
                let _failed = (scenario.act)(&storage);
                let before = files(&storage);
                storage.put_new("c", b"more").unwrap();
                let mut left = recovered(&slots, seed);
                let message = format!("{}, seed {seed}, {:?}", scenario.name, slots.op_log());
                assert_eq!(left.remove("c").as_deref(), Some(&b"more"[..]), "{message}");
                if scenario.name != "append" {
                    assert!(left == before, "{message}");
                }
            }
        }
    }
}

/// Whether some power cut, during the operation or behind it, shows that its flush number `left_out` did
/// nothing.
fn is_missed(scenario: &Scenario, left_out: u64) -> bool {
    let Range { start, end } = primitives(scenario);
    (start..=end).flat_map(|op| (0..SEEDS).map(move |seed| (op, seed))).any(|(op, seed)| {
        let (slots, storage) = prepared(seed);
        slots.ignore_flush(left_out);
        slots.fail_at(op, Failure::Crash);
        let outcome = (scenario.act)(&storage);
        let Ok(storage) = open(&slots.restart(seed)) else { return true };
        let left = files(&storage);
        !is_legal(scenario, &left) || (outcome.is_ok() && left != model(scenario.act).1)
    })
}

#[test]
fn leaving_out_a_flush_of_content_or_of_a_first_copy_is_noticed() {
    for scenario in scenarios() {
        let needed: &[u64] = match scenario.name {
            "put" | "put_new" | "link" => &[0, 1],
            // The last two free the blob that was replaced.
            "put over another" => &[0, 1, 3],
            "rename" | "remove" => &[0],
            // The first is for slots that held something: see below.
            "append_new" => &[1],
            "append" => &[1, 3],
            _ => &[],
        };
        for &flush in needed {
            assert!(is_missed(&scenario, flush), "{}: flush {flush}", scenario.name);
        }
    }
}

#[test]
fn leaving_out_the_flush_of_a_second_copy_can_cost_both() {
    // The next header tears the first copy while the second was never made durable.
    let lost = (0..4 * SEEDS).any(|seed| {
        let (slots, storage) = prepared(seed);
        slots.ignore_flush(1);
        storage.rename("a/1", "a/3").unwrap();
        slots.fail_at(slots.op_count() + 1, Failure::Crash);
        let _crashed = storage.rename("a/3", "a/4");
        open(&slots.restart(seed)).is_err()
    });
    assert!(lost, "the flush is needed");
}

#[test]
fn leaving_out_the_flush_before_a_log_gets_its_name_brings_old_bytes_back() {
    let lost = (0..4 * SEEDS).any(|seed| {
        let slots = SimSlots::new(seed, 1);
        let storage = open(&slots).unwrap();
        put(&storage, "old", 3000).unwrap();
        storage.remove("old").unwrap();
        slots.ignore_flush(0);
        // The header's own flush would make the cut durable, so the power goes before it.
        slots.fail_at(slots.op_count() + 3, Failure::Crash);
        let _crashed = storage.append_new("log");
        recovered(&slots, seed).get("log").is_some_and(|log| !log.is_empty())
    });
    assert!(lost, "the flush is needed");
}

#[test]
fn without_a_free_slot_a_write_is_refused_and_nothing_is_lost() {
    let slots = SimSlots::new(1, 4);
    let storage = open(&slots).unwrap();
    set_up(&storage);
    let old = files(&storage);
    put(&storage, "a/1", 10).expect("the fourth slot, and the first is free again");
    storage.put_new("a/3", b"x").expect("the first");
    let error = put(&storage, "a/4", 10).expect_err("none is left");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    assert!(error.message().contains("all 4 files"), "{error}");
    assert_eq!(storage.free_slots().unwrap(), 0);
    slots.add(2);
    assert_eq!(storage.free_slots().unwrap(), 2);
    put(&storage, "a/4", 10).expect("there are more now");
    let mut expected = old;
    for (name, bytes) in [("a/1", pattern(10)), ("a/3", b"x".to_vec()), ("a/4", pattern(10))] {
        expected.insert(name.to_owned(), bytes);
    }
    assert_eq!(recovered(&slots, 1), expected);
}

#[test]
fn a_slot_is_not_used_again_while_it_is_read() {
    let slots = SimSlots::new(1, 2);
    let storage = open(&slots).unwrap();
    storage.put_new("a", b"read").unwrap();
    let blob = storage.open("a").unwrap();
    storage.remove("a").unwrap();
    storage.put_new("b", b"other").unwrap();
    let error = storage.put_new("c", b"third").expect_err("one is read, one is named");
    assert_eq!(error.kind(), ErrorKind::StorageFull);
    assert_eq!(blob.read(0..4).unwrap()[..], *b"read");
    drop(blob);
    storage.put_new("c", b"third").expect("it is no longer read");
    assert_eq!(slots.used_bytes(), 2 * CONTENT_AT as usize + 10, "its space was freed");
}

#[test]
fn a_full_quota_is_told_and_a_remove_makes_space() {
    let slots = SimSlots::new(1, 6);
    let storage = open(&slots).unwrap();
    set_up(&storage);
    slots.set_capacity(slots.used_bytes() + CONTENT_AT as usize + 5000);
    let error = put(&storage, "a/3", 6000).expect_err("too long");
    assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
    put(&storage, "a/3", 4500).expect("what was written of it is gone");
    storage.remove("a/3").unwrap();
    put(&storage, "a/4", 4500).expect("and this as well");
}

#[test]
fn one_damaged_copy_is_mended_and_two_refuse_the_store() {
    for copies in [[true, false], [false, true], [true, true]] {
        let (slots, storage) = prepared(1);
        let old = files(&storage);
        drop(storage);
        slots.edit(SlotId(0), |bytes| {
            for (copy, _) in copies.iter().enumerate().filter(|(_, damaged)| **damaged) {
                bytes[copy * HEADER_BYTES + 40] ^= 1;
            }
        });
        let opened = open(&slots);
        if copies == [true, true] {
            let error = opened.expect_err("its name is lost");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
            assert!(error.message().contains("slot 0"), "{error}");
            continue;
        }
        assert_eq!(files(&opened.unwrap()), old, "{copies:?}");
        let count = slots.op_count();
        open(&slots).unwrap();
        assert_eq!(slots.op_count(), count, "mended once");
    }
}

#[test]
fn content_that_is_cut_short_is_damage() {
    let (slots, storage) = prepared(1);
    drop(storage);
    slots.edit(SlotId(0), |bytes| bytes.truncate(CONTENT_AT as usize + 599));
    let error = open(&slots).unwrap().open("a/1").expect_err("a byte is missing");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}
