//! The blob against a model that keeps one optional byte a place, and the rules of what is wanted.

use super::*;
use crate::rng::Rng;

fn pattern(range: Range<u64>) -> Vec<u8> {
    range.map(|at| (at * 31 + at / 7) as u8).collect()
}

fn kind(result: Result<Bytes>) -> Option<ErrorKind> {
    result.err().map(|error| error.kind())
}

#[test]
fn pieces_in_any_order_read_back_as_the_bytes_they_were_and_nothing_else_is_there() {
    for seed in 0..40 {
        let mut rng = Rng::new(seed);
        let len = 1 + rng.below(700);
        let blob = RangeBlob::new("model", len);
        let mut here = vec![false; len as usize];
        for _ in 0..40 {
            let start = rng.below(len);
            let range = start..start + rng.below(len - start + 1);
            if rng.below(4) == 0 {
                blob.forget(range.clone());
                here[range.start as usize..range.end as usize].fill(false);
            } else {
                blob.supply(range.start, &pattern(range.clone())).expect("within");
                here[range.start as usize..range.end as usize].fill(true);
            }
            let start = rng.below(len);
            let asked = start..start + rng.below(len - start + 1);
            let expected = here[asked.start as usize..asked.end as usize].iter().all(|&is| is);
            match blob.read(asked.clone()) {
                Ok(bytes) => {
                    assert!(expected && bytes[..] == pattern(asked)[..], "seed {seed}");
                    assert_eq!(bytes.as_ptr().addr() % 64, 0);
                }
                Err(error) => assert!(!expected && error.kind() == ErrorKind::NotResident),
            }
        }
        let count = here.iter().filter(|&&is| is).count() as u64;
        assert_eq!(blob.resident_bytes(), count, "seed {seed}: every byte is kept once");
        let stretches = here.chunk_by(|a, b| a == b).filter(|run| run[0]).count();
        assert_eq!(blob.held().len(), stretches, "seed {seed}: neighbours are one stretch");
        let held = blob.held().into_iter().flatten();
        assert!(held.eq((0..len).filter(|&at| here[at as usize])), "seed {seed}");
    }
}

#[test]
fn what_reads_missed_is_wanted_once_joined_and_without_what_came_meanwhile() {
    let blob = RangeBlob::new("wanted", 1000);
    blob.supply(100, &pattern(100..200)).expect("within");
    for range in [50..150, 10..50, 190..250, 600..700, 650..720, 0..0] {
        assert_eq!(kind(blob.read(range.clone())).is_some(), !range.is_empty(), "{range:?}");
    }
    blob.supply(600, &pattern(600..610)).expect("within");
    assert_eq!(blob.take_wanted(), [10..100, 200..250, 610..720]);
    assert_eq!(blob.take_wanted(), [], "it was taken");
}

#[test]
fn ranges_outside_the_blob_are_corrupt_to_read_and_refused_to_supply() {
    let blob = RangeBlob::new("edge", 10);
    #[expect(clippy::reversed_empty_ranges, reason = "one of the ranges that must be refused")]
    for range in [0..11, 11..11, u64::MAX - 1..u64::MAX, 3..2] {
        assert_eq!(kind(blob.read(range.clone())), Some(ErrorKind::Corrupt), "{range:?}");
    }
    for (offset, len) in [(0, 11), (10, 1), (11, 0), (u64::MAX, 2)] {
        let refused = blob.supply(offset, &vec![0; len]).expect_err("outside");
        assert_eq!(refused.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{offset} {len}");
    }
    assert_eq!((blob.take_wanted(), blob.resident_bytes()), (Vec::new(), 0));
    assert!(blob.read(10..10).expect("nothing").is_empty());
}

#[test]
fn forgotten_bytes_are_missed_again_and_the_rest_stays() {
    let blob = RangeBlob::new("forget", 300);
    blob.supply(0, &pattern(0..300)).expect("within");
    blob.forget(100..200);
    assert_eq!(blob.held(), [0..100, 200..300]);
    assert_eq!(kind(blob.read(150..250)), Some(ErrorKind::NotResident));
    assert_eq!(blob.take_wanted(), vec![150..200]);
    assert_eq!(blob.read(200..300).expect("kept")[..], pattern(200..300)[..]);
    blob.supply(90, &[0; 120]).expect("within");
    assert_eq!(blob.read(90..100).expect("kept")[..], pattern(90..100)[..], "what was here stays");
}

#[test]
fn memory_is_what_was_supplied_in_pieces_of_bounded_size() {
    let len = 5 * PIECE_BYTES / 2;
    let blob = RangeBlob::new("pieces", len);
    // As a download comes: bytes after bytes, then a stretch that covers them all.
    for start in (0..PIECE_BYTES).step_by(4096) {
        blob.supply(start, &pattern(start..start + 4096)).expect("within");
    }
    blob.supply(0, &pattern(0..len)).expect("within");
    let lens: Vec<u64> = blob.state().pieces.values().map(|piece| piece.len() as u64).collect();
    assert!(lens.iter().all(|&piece| piece <= PIECE_BYTES), "{lens:?}");
    assert_eq!(lens.iter().sum::<u64>(), len, "a boxed slice has no room to spare");
    let across = PIECE_BYTES - 10..2 * PIECE_BYTES + 10;
    assert_eq!(blob.read(across.clone()).expect("here")[..], pattern(across)[..]);
}
