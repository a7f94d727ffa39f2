//! Keys: which are remembered, and that the file and they are each other's inverse, whatever its bytes.

use std::borrow::Cow;
use std::collections::BTreeMap;

use nearfield_segment::{Encoding, ErrorKind, FileId, Metric, Rng, Schema};

use super::*;
use crate::manifest::{KeysEntry, NextId};
use crate::write::batch::Draft;

const COLLECTION: FileId = FileId(5);
const NAME: &str = "c/x/segments/keys";

fn batch(draft: Draft<'static>) -> Batch<'static> {
    let schema = Schema::dense(1, Metric::L2, Encoding::F32).expect("valid");
    let vectors = BTreeMap::from([(String::new(), Cow::Owned(vec![1.0; draft.rows]))]);
    let draft = Draft { vectors, ..draft };
    Batch::new(draft, &schema).expect("valid")
}

/// As it would be once written at `lsn`.
fn written(keys: &mut Keys, lsn: u64, draft: Draft<'static>) {
    let mut batch = batch(draft);
    batch.assign_ids(&mut NextId::FIRST.clone()).expect("enough ids");
    let applied = Applied { lsn: Lsn(lsn), inserted: batch.rows() as u64, ..Applied::default() };
    keys.note(&batch, &applied);
}

fn keyed(key: &str) -> Draft<'static> {
    Draft { rows: 2, idempotency_key: Some(key.to_owned()), ..Draft::default() }
}

fn row_keyed(keys: &[&'static str]) -> Draft<'static> {
    let row_keys = keys.iter().map(|key| Some(Cow::Borrowed(*key))).collect();
    Draft { rows: keys.len(), row_keys, ..Draft::default() }
}

fn some_keys() -> Keys {
    let mut keys = Keys::new(10);
    written(&mut keys, 1, keyed("first"));
    written(&mut keys, 3, row_keyed(&["a", "b"]));
    let ids = Some(vec![PointId::Uuid(7), PointId::Str("name".into())]);
    written(&mut keys, 4, Draft { ids, ..row_keyed(&["c", "d"]) });
    let deletes = vec![PointId::U64(5)];
    written(&mut keys, 6, Draft { deletes, ..keyed("second") });
    keys
}

fn read_back(bytes: &[u8], entry: &KeysEntry, max: usize) -> Result<Keys> {
    file::read(bytes, NAME, COLLECTION, entry, max)
}

#[test]
fn the_oldest_keys_are_forgotten_first() {
    let mut keys = Keys::new(2);
    for (lsn, key) in (1..).zip(["a", "b", "c"]) {
        written(&mut keys, lsn, keyed(key));
    }
    let known = |key: &str| keys.answer(&batch(keyed(key))).expect("no fault").map(|a| a.lsn.0);
    assert_eq!([known("a"), known("b"), known("c")], [None, Some(2), Some(3)]);
    let mut keys = Keys::new(3);
    written(&mut keys, 1, row_keyed(&["a", "b"]));
    written(&mut keys, 2, row_keyed(&["c", "d"]));
    let known = keys.known_rows(&batch(row_keyed(&["d", "a", "b"])));
    assert_eq!(known, [(0, PointId::U64(1)), (2, PointId::U64(1))]);
}

#[test]
fn more_keys_than_are_remembered_are_refused() {
    let keys = Keys::new(2);
    assert!(keys.answer(&batch(row_keyed(&["a", "b"]))).is_ok());
    let refused = keys.answer(&batch(row_keyed(&["a", "b", "c"]))).expect_err("too many");
    assert_eq!(refused.kind(), ErrorKind::InvalidInput(Fault::Parameter));
    assert!(Keys::new(0).answer(&batch(keyed("a"))).is_err());
}

#[test]
fn a_key_used_for_other_points_is_refused() {
    let keys = some_keys();
    let known = |draft| keys.answer(&batch(draft)).map(|answer| answer.is_some());
    assert!(known(keyed("first")).expect("the same batch"));
    let ids = |numbers: [u64; 2]| Some(numbers.map(PointId::U64).to_vec());
    let others = [
        Draft { rows: 3, ..keyed("first") },
        Draft { deletes: vec![PointId::U64(1)], ..keyed("first") },
        Draft { ids: ids([0, 1]), ..keyed("first") },
        Draft { deletes: vec![PointId::U64(6)], ..keyed("second") },
    ];
    for other in others {
        let error = known(other).expect_err("another batch");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter));
    }
}

#[test]
fn keys_come_back_from_their_file() {
    for keys in [some_keys(), Keys::new(10)] {
        let (bytes, entry) = write(&keys, COLLECTION, Lsn(9));
        assert_eq!(read_back(&bytes, &entry, 10).expect("whole"), keys);
    }
    let (bytes, entry) = write(&some_keys(), COLLECTION, Lsn(9));
    let newest = read_back(&bytes, &entry, 1).expect("whole");
    assert_eq!(newest.counts(), KeyCounts { batches: 1, rows: 1, max: 1 });
    assert!(newest.answer(&batch(keyed("first"))).expect("no fault").is_none());
    assert_eq!(newest.known_rows(&batch(row_keyed(&["c", "d"]))).len(), 1);
}

#[test]
fn the_file_of_another_collection_or_cut_is_refused() {
    let (bytes, entry) = write(&some_keys(), COLLECTION, Lsn(9));
    let other = file::read(&bytes, NAME, FileId(6), &entry, 10).expect_err("of another");
    assert_eq!(other.kind(), ErrorKind::Corrupt);
    let later = KeysEntry { checkpoint_lsn: Lsn(10), ..entry };
    assert_eq!(read_back(&bytes, &later, 10).expect_err("of another").kind(), ErrorKind::Corrupt);
}

/// A checksum shows accidents, not intent: behind one that was made right nothing may panic or run on.
#[test]
fn every_truncation_and_hostile_edit_is_an_error_or_some_keys() {
    let (bytes, entry) = write(&some_keys(), COLLECTION, Lsn(9));
    for len in 0..bytes.len() {
        assert!(read_back(&bytes[..len], &entry, 10).is_err(), "length {len}");
    }
    let (mut refused, mut read) = (0, 0);
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut hostile = bytes.clone();
        for _ in 0..=rng.below(3) {
            let at = 16 + rng.below(bytes.len() as u64 - 16) as usize;
            hostile[at] = if rng.below(2) == 0 { 0xFF } else { rng.next_u64() as u8 };
        }
        let sealed = file::checksum(&hostile);
        hostile[12..16].copy_from_slice(&sealed.to_le_bytes());
        let entry = KeysEntry { crc: sealed, ..entry.clone() };
        match read_back(&hostile, &entry, 3) {
            Ok(keys) => {
                read += 1;
                assert!(keys.counts().batches <= 3 && keys.counts().rows <= 3);
            }
            Err(error) => {
                refused += 1;
                assert!(error.message().contains(NAME), "{error}");
            }
        }
    }
    assert!(refused > 1000 && read > 1000, "{refused} refused, {read} read");
}
