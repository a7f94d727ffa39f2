//! Both sets against `BTreeSet<u32>`, at lengths around the word and the chunk.

use std::collections::BTreeSet;

use super::*;
use crate::rng::Rng;

const LENGTHS: [u32; 9] = [0, 1, 63, 64, 65, 128, 1000, 4096, 4097];

fn random(len: u32, rng: &mut Rng) -> (RowSet, BTreeSet<u32>) {
    let mut set = RowSet::empty(len);
    let mut model = BTreeSet::new();
    for _ in 0..if len == 0 { 0 } else { rng.below(u64::from(len) + 1) } {
        let row = rng.below(u64::from(len)) as u32;
        assert_eq!(set.insert(RowId(row)), model.insert(row));
    }
    (set, model)
}

fn assert_same(set: &RowSet, model: &BTreeSet<u32>, what: &str) {
    let rows: Vec<u32> = set.iter().map(|row| row.0).collect();
    assert_eq!(rows, model.iter().copied().collect::<Vec<_>>(), "{what}, len {}", set.len());
    assert_eq!(set.count() as usize, model.len(), "{what}");
    assert_eq!(set.is_empty(), model.is_empty(), "{what}");
}

#[test]
fn operations_agree_with_a_tree_of_rows() {
    for (seed, len) in LENGTHS.into_iter().cycle().take(90).enumerate() {
        let mut rng = Rng::new(seed as u64);
        let all: BTreeSet<u32> = (0..len).collect();
        let (a, model_a) = random(len, &mut rng);
        let (b, model_b) = random(len, &mut rng);
        let apply = |change: &dyn Fn(&mut RowSet)| {
            let mut set = a.clone();
            change(&mut set);
            set
        };
        assert_same(&a, &model_a, "insert");
        assert_same(&RowSet::full(len), &all, "full");
        assert_same(&apply(&|s| s.and_with(&b)), &(&model_a & &model_b), "and");
        assert_same(&apply(&|s| s.or_with(&b)), &(&model_a | &model_b), "or");
        assert_same(&apply(&|s| s.and_not(&b)), &(&model_a - &model_b), "and not");
        assert_same(&apply(&RowSet::not), &(&all - &model_a), "not");
        assert_eq!(RowSet::from_bytes(len, &a.to_bytes()).expect("own bytes"), a);
    }
}

#[test]
fn removing_is_the_inverse_of_inserting() {
    let mut set = RowSet::full(70);
    assert!(set.remove(RowId(69)) && !set.remove(RowId(69)) && !set.remove(RowId(70)));
    assert!(!set.contains(RowId(69)) && set.contains(RowId(68)) && !set.contains(RowId(1000)));
    assert!(set.insert(RowId(69)));
    assert_eq!(set, RowSet::full(70));
}

#[test]
fn bytes_of_another_length_or_with_rows_above_the_end_are_refused() {
    for (len, bytes) in [(65, vec![0; 8]), (64, vec![0; 9]), (0, vec![0; 8]), (3, vec![255; 8])] {
        let error = RowSet::from_bytes(len, &bytes).expect_err("must be refused");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt, "{len} {bytes:?}");
    }
    assert!(RowSet::from_bytes(3, &[7, 0, 0, 0, 0, 0, 0, 0]).is_ok());
}

#[test]
#[should_panic(expected = "row 64 of a set over 64 rows")]
fn inserting_a_row_above_the_end_panics() {
    RowSet::empty(64).insert(RowId(64));
}

#[test]
fn a_clone_of_dead_rows_does_not_see_later_deletes() {
    for len in [1, 4095, 4096, 4097, 20_000] {
        let mut rng = Rng::new(u64::from(len));
        let mut dead = DeadRows::new(len);
        let mut model = BTreeSet::new();
        let mut snapshots = Vec::new();
        for step in 0..400 {
            if step % 40 == 0 {
                snapshots.push((dead.clone(), model.clone()));
            }
            let row = rng.below(u64::from(len)) as u32;
            assert_eq!(dead.insert(RowId(row)), model.insert(row));
        }
        for (dead, model) in snapshots {
            let live: BTreeSet<u32> = (0..len).filter(|row| !model.contains(row)).collect();
            assert_same(&dead.live(), &live, "live");
            assert_eq!(dead.count() as usize, model.len());
            assert!((0..len + 2).all(|row| dead.contains(RowId(row)) == model.contains(&row)));
        }
    }
}

#[test]
fn a_delete_copies_one_chunk_only() {
    let mut dead = DeadRows::new(3 * 4096);
    for row in [0, 4096, 8192] {
        dead.insert(RowId(row));
    }
    let before = dead.clone();
    dead.insert(RowId(4097));
    assert_eq!(dead.shared_chunks(&before), vec![true, false, true]);
}
