//! The budget alone: marks, shares, waiting merges and their claims.

use std::collections::VecDeque;

use super::*;
use crate::catalog::KeyId;

const READ: Purpose = Purpose::Read;
const WRITE: Purpose = Purpose::Write;

fn budget() -> Arc<Budget> {
    Arc::new(Budget::new(1_000))
}

fn key(hex: char) -> Holder {
    Holder::Request(KeyId::parse(&format!("nfk_000000000000000{hex}")))
}

#[test]
fn writes_are_refused_before_reads_and_memory_comes_back() {
    let budget = budget();
    let held = budget.reserve(850, WRITE, Holder::Server).expect("up to the mark");
    let error = budget.reserve(1, WRITE, Holder::Server).expect_err("above it");
    assert!(matches!(error, StoreError::ResourceExhausted(_)));
    assert!(budget.reserve(150, READ, key('a')).is_ok());
    assert!(budget.reserve(151, READ, key('a')).is_err());
    drop(held);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn reads_leave_a_share_to_writes_and_each_key_one_to_the_others() {
    let budget = budget();
    let first = budget.reserve(400, READ, key('a')).expect("all that one key may hold");
    assert!(budget.reserve(1, READ, key('a')).is_err());
    let second = budget.reserve(200, READ, key('b')).expect("another key");
    assert!(budget.reserve(1, READ, key('b')).is_err(), "60 % are held by reads");
    let write = budget.reserve(250, WRITE, key('a')).expect("the share of writes");
    drop((first, second, write));
    let writes = budget.reserve(700, WRITE, key('a')).expect("all that one key may hold");
    assert!(budget.reserve(1, WRITE, key('a')).is_err());
    assert!(budget.reserve(150, WRITE, key('b')).is_ok());
    drop(writes);
    assert!(lock(&budget.held).by_owner.is_empty());
}

#[test]
fn a_reservation_grows_is_cleared_and_grows_again() {
    let budget = budget();
    let mut held = budget.reserve(0, READ, key('a')).expect("nothing");
    held.grow_to(300).expect("there is room");
    held.grow_to(100).expect("it holds more already");
    assert_eq!((held.bytes(), budget.used_bytes()), (300, 300));
    assert!(held.grow_to(401).is_err());
    assert_eq!(held.bytes(), 300);
    held.clear();
    held.grow_to(400).expect("there is room again");
    drop(held);
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn merges_have_a_share_and_wait_for_the_rest_of_it() {
    let budget = budget();
    let never = || false;
    let merge = budget.wait_to_merge(400, &never, &|| ()).expect("all that merges may hold");
    let refused = || budget.wait_to_merge(1, &|| true, &|| ()).is_none();
    assert!(refused() && budget.reserve(1, Purpose::Merge, Holder::Server).is_err());
    let write = budget.reserve(450, WRITE, key('a')).expect("up to the mark of writes");
    assert!(budget.reserve(1, WRITE, key('b')).is_err(), "merges count for writes");
    assert!(budget.reserve(150, READ, key('b')).is_ok(), "reads go on");
    let checkpoint = budget.take_for_checkpoint(300);
    assert_eq!(budget.used_bytes(), 1_150, "a checkpoint is above the marks");
    drop((merge, write));
    std::thread::scope(|scope| {
        let waits =
            scope.spawn(|| budget.wait_to_merge(101, &never, &|| ()).map(|held| held.bytes()));
        std::thread::yield_now();
        drop(checkpoint);
        assert_eq!(waits.join().expect("no panic"), Some(101));
    });
    assert_eq!(budget.used_bytes(), 0);
}

#[test]
fn a_merge_that_has_waited_for_long_is_not_starved_by_writes_and_smaller_merges() {
    let budget = budget();
    let never = || false;
    let write = |bytes| budget.reserve(bytes, WRITE, Holder::Server);
    std::thread::scope(|scope| {
        let mut writes = VecDeque::from([write(250).ok(), write(250).ok()]);
        let waits =
            scope.spawn(|| budget.wait_to_merge(400, &never, &|| ()).map(|held| held.bytes()));
        while !waits.is_finished() {
            // The next write begins before the oldest one ends, if it is admitted.
            writes.push_back(write(250).ok());
            writes.pop_front();
            if lock(&budget.held).earmarked_bytes > 0 {
                assert!(budget.reserve(1, Purpose::Merge, Holder::Server).is_err());
            }
            std::thread::yield_now();
        }
        assert_eq!(waits.join().expect("no panic"), Some(400));
    });
    assert_eq!((budget.used_bytes(), lock(&budget.held).earmarked_bytes), (0, 0));
}

#[test]
fn a_claim_stands_while_the_end_of_writes_would_make_room_for_it() {
    // Held by reads and by merges, claimed; counts for writes, and for merges.
    let cases = [
        (0, 0, 400, (400, 400)),
        (450, 0, 400, (400, 400)),
        (451, 0, 400, (0, 0)),
        (600, 0, 250, (250, 250)),
        (600, 0, 251, (0, 0)),
        (0, 200, 200, (200, 200)),
        (0, 201, 200, (0, 200)),
        (250, 400, 200, (0, 200)),
        (251, 400, 200, (0, 0)),
    ];
    for (reads, merges, claimed, counts) in cases {
        let (budget, case) = (budget(), (reads, merges, claimed));
        let of_merges = budget.reserve(merges, Purpose::Merge, Holder::Server).expect("room");
        let claim = budget.earmark(claimed);
        let of_reads = [(reads / 2, 'a'), (reads - reads / 2, 'b')]
            .map(|(bytes, name)| budget.reserve(bytes, READ, key(name)).expect("reads go on"));
        let found = |purpose| budget.earmarked_bytes(&lock(&budget.held), purpose);
        let taken = budget.reserve(850 - reads - merges - counts.0, WRITE, Holder::Server);
        assert!(taken.is_ok(), "{case:?}: writes have the rest");
        assert!(budget.reserve(1, WRITE, Holder::Server).is_err(), "{case:?}");
        assert_eq!((found(WRITE), found(Purpose::Merge), found(READ)), (counts.0, counts.1, 0));
        assert!(budget.wants_rows_written(0) == (counts.0 > 0), "{case:?}");
        drop(claim);
        assert_eq!(budget.earmark(claimed).is_some(), counts.1 > 0, "{case:?}");
        drop((of_merges, of_reads, taken));
        assert_eq!((budget.used_bytes(), lock(&budget.held).earmarked_bytes), (0, 0));
    }
}

#[test]
fn a_claim_that_was_spent_leaves_the_next_one_alone() {
    let budget = budget();
    let mut first = budget.earmark(200).expect("no other claim");
    assert!(budget.earmark(100).is_none());
    let merge = budget.reserve_earmarked(&mut first).expect("there is room");
    let second = budget.earmark(100).expect("the first is spent");
    drop(first);
    assert_eq!((merge.bytes(), lock(&budget.held).earmarked_bytes), (200, 100));
    drop(second);
    assert_eq!(lock(&budget.held).earmarked_bytes, 0);
}

#[test]
fn only_collections_with_a_good_part_write_their_rows_early_unless_a_merge_has_a_claim() {
    let budget = budget();
    budget.rows_changed(0, 500);
    assert!(!budget.wants_rows_written(500), "there is room");
    let claim = budget.earmark(400);
    assert!(budget.wants_rows_written(1), "the merge waits for all rows");
    drop(claim);
    budget.rows_changed(500, 720);
    assert!(budget.wants_rows_written(90) && !budget.wants_rows_written(89));
}

#[test]
fn the_nearer_to_the_limit_the_longer_a_write_waits() {
    let budget = budget();
    let at = |bytes| {
        budget.rows_changed(0, bytes);
        let throttle = (budget.is_tight(), budget.throttle().as_millis());
        budget.rows_changed(bytes, 0);
        throttle
    };
    assert_eq!(at(699), (false, 0));
    assert_eq!(at(700), (true, 1));
    assert_eq!(at(775), (true, 10));
    assert_eq!(at(5_000), (true, 20));
    assert_eq!(at(0), (false, 0), "rows that went to a file count no more");
}
