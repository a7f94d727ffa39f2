//! Batches: what is refused, and that bytes and batches are each other's inverse.

use nearfield_segment::{Encoding, Error, ErrorKind, Fault, FieldKind, Metric, Rng};
use nearfield_segment::{STRING_ID_BYTES_MAX, VectorSpec};
use proptest::prelude::*;
use serde_json::Value;

use super::*;

fn schema() -> Schema {
    let mut schema = Schema::dense(3, Metric::Cosine, Encoding::F32).expect("valid");
    let spec = VectorSpec { dim: 1, metric: Metric::L2, store: Encoding::F32 };
    schema.vectors.insert("side".to_owned(), spec);
    schema
}

fn draft(ids: Vec<PointId>) -> Draft<'static> {
    let rows = ids.len();
    let elements = |count: usize| Cow::Owned((0..count).map(|i| i as f32 + 0.5).collect());
    Draft {
        rows,
        ids: Some(ids),
        vectors: BTreeMap::from([
            (String::new(), elements(3 * rows)),
            ("side".to_owned(), elements(rows)),
        ]),
        ..Draft::default()
    }
}

fn check(draft: Draft<'_>) -> Result<Batch<'_>> {
    Batch::new(draft, &schema())
}

fn refused(draft: Draft<'_>) -> (Fault, Error) {
    let error = check(draft).expect_err("must be refused");
    let ErrorKind::InvalidInput(fault) = error.kind() else {
        panic!("{:?}: {error}", error.kind());
    };
    (fault, error)
}

fn ids(numbers: impl IntoIterator<Item = u64>) -> Vec<PointId> {
    numbers.into_iter().map(PointId::U64).collect()
}

fn settled(draft: Draft<'_>) -> Batch<'_> {
    let mut batch = check(draft).expect("valid");
    batch.assign_ids(&mut NextId::FIRST.clone()).expect("enough numbers");
    batch
}

#[test]
fn duplicate_ids_are_refused_by_name_in_any_order() {
    for given in [vec![7, 7], vec![3, 1, 2, 3], vec![9, 8, 9, 1]] {
        let (fault, error) = refused(draft(ids(given.clone())));
        assert_eq!(fault, Fault::DuplicateId);
        let twice =
            if given.contains(&7) { 7 } else { *given.last().expect("some").max(&given[0]) };
        assert_eq!(error.detail("ids"), Some(&vec![Value::from(twice)].into()), "{error}");
    }
    assert!(check(draft(ids([5, 3, 4]))).is_ok());
}

#[test]
fn each_fault_is_refused_with_its_kind() {
    let two = || draft(ids([1, 2]));
    let mut short = two();
    short.vectors.insert(String::new(), vec![0.0; 5].into());
    assert_eq!(refused(short).0, Fault::Dimension);
    let mut infinite = two();
    infinite.vectors.insert("side".to_owned(), vec![0.0, f32::INFINITY].into());
    let (fault, error) = refused(infinite);
    assert_eq!((fault, error.detail("row")), (Fault::NonFinite, Some(&1.into())));
    let mut missing = two();
    missing.vectors.remove("side");
    assert_eq!(refused(missing).0, Fault::Parameter);
    let mut extra = two();
    extra.vectors.insert("other".to_owned(), vec![].into());
    assert_eq!(refused(extra).0, Fault::Parameter);
    assert_eq!(refused(Draft { rows: 3, ..two() }).0, Fault::Parameter);
    assert_eq!(refused(Draft { metadata: vec![None], ..two() }).0, Fault::Parameter);
    let metadata = vec![Some("{}".into()), Some("[]".into())];
    assert_eq!(refused(Draft { metadata, ..two() }).0, Fault::Metadata);
    let key = Some("k".repeat(IDEMPOTENCY_KEY_BYTES_MAX + 1));
    assert_eq!(refused(Draft { idempotency_key: key, ..two() }).0, Fault::Parameter);
    for keys in [vec![Some("a")], vec![Some("a"), Some("a")], vec![Some(""), None]] {
        let row_keys = keys.into_iter().map(|key| key.map(Cow::Borrowed)).collect();
        assert_eq!(refused(Draft { row_keys, ..two() }).0, Fault::Parameter);
    }
    let row_keyed = || Draft { row_keys: vec![Some("a".into()), None], ..two() };
    assert!(check(row_keyed()).is_ok());
    let both = Draft { idempotency_key: Some("b".to_owned()), ..row_keyed() };
    assert_eq!(refused(both).0, Fault::Parameter);
    assert_eq!(refused(Draft { deletes: ids([9]), ..row_keyed() }).0, Fault::Parameter);
    for id in
        ["x".repeat(STRING_ID_BYTES_MAX + 1), String::new(), nearfield_segment::format_uuid(5)]
    {
        assert_eq!(refused(Draft { deletes: vec![PointId::Str(id.into())], ..two() }).0, Fault::Id);
    }
    let rows = BATCH_ROWS_MAX + 1;
    assert_eq!(refused(Draft { ids: None, rows, ..Draft::default() }).0, Fault::Parameter);
}

#[test]
fn left_out_ids_are_assigned_once_and_the_mark_travels_with_the_batch() {
    let mut next = NextId::starting_at(40);
    let mut batch = check(Draft { ids: None, ..draft(ids([0, 0])) }).expect("ids are left out");
    batch.assign_ids(&mut next).expect("enough numbers");
    batch.assign_ids(&mut next).expect("the second call changes nothing");
    assert_eq!(batch.ids(), ids([40, 41]));
    assert_eq!((batch.next_id(), next), (Some(next), NextId::starting_at(42)));
    let mut given = check(draft(ids([u64::MAX]))).expect("the largest number is legal");
    given.assign_ids(&mut next).expect("nothing to assign");
    let mut out = Vec::new();
    given.encode_into(&mut out);
    let read = decode(&out, &schema()).expect("whole");
    assert_eq!(read.next_id(), Some(NextId::EXHAUSTED));
    let mut late = check(Draft { ids: None, ..draft(ids([0])) }).expect("ids are left out");
    assert!(late.assign_ids(&mut next).is_err(), "assignment has ended");
}

#[test]
fn repeated_deletes_are_one_delete() {
    let batch = settled(Draft { deletes: ids([3, 1, 3]), ..Draft::default() });
    assert_eq!(batch.deletes(), ids([1, 3]));
}

#[test]
fn aligned_vectors_are_read_in_place() {
    let batch = settled(draft(ids([1, 2])));
    let mut out = Vec::new();
    batch.encode_into(&mut out);
    let aligned = nearfield_segment::storage::AlignedBuffer::copy_of(&out);
    let read = decode(&aligned, &schema()).expect("whole");
    assert!(read.vectors.values().all(|elements| matches!(elements, Cow::Borrowed(_))));
    let mut shifted = vec![0; out.len() + 1];
    shifted[1..].copy_from_slice(&out);
    assert_eq!(decode(&shifted[1..], &schema()).expect("whole"), batch, "copied if need be");
}

#[test]
fn unknown_sections_are_skipped_only_if_they_may_be() {
    let mut out = Vec::new();
    settled(draft(ids([1]))).encode_into(&mut out);
    out[4] += 1;
    let mut section = [0; 24];
    section[..2].copy_from_slice(&99_u16.to_le_bytes());
    section[8] = 8;
    let mut needed = out.clone();
    needed.extend_from_slice(&section);
    assert_eq!(decode(&needed, &schema()).expect_err("needed").kind(), ErrorKind::Version);
    section[2] = 1;
    out.extend_from_slice(&section);
    assert_eq!(decode(&out, &schema()).expect("optional").ids(), ids([1]));
    out[0] = 9;
    assert_eq!(decode(&out, &schema()).expect_err("newer").kind(), ErrorKind::Version);
}

#[test]
fn declared_fields_are_a_section_of_their_own_and_checked_again() {
    let at = || FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)]);
    let dated = |at: &str| {
        let metadata = vec![Some(format!("{{\"at\":{at}}}").into())];
        Draft { metadata, fields: FieldKinds::NONE, ..draft(ids([1])) }
    };
    let declares = |draft: Draft<'static>| Draft { fields: at(), ..draft };
    let (fault, error) = refused(declares(dated("7")));
    assert_eq!((fault, error.detail("row")), (Fault::Metadata, Some(&0.into())));
    for name in ["tags", "a\\b"] {
        let fields = FieldKinds::from_iter([(name.to_owned(), FieldKind::Datetime)]);
        assert_eq!(refused(Draft { fields, ..dated("null") }).0, Fault::Metadata, "{name:?}");
    }
    let (mut with, mut without) = (Vec::new(), Vec::new());
    let batch = settled(declares(dated("null")));
    batch.encode_into(&mut with);
    settled(dated("null")).encode_into(&mut without);
    let section = b"\x09\0\0\0\0\0\0\0\x11\0\0\0\0\0\0\0{\"at\":\"datetime\"}\0\0\0\0\0\0\0";
    without.extend_from_slice(section);
    without[4] += 1;
    assert_eq!(with, without, "nothing else changes");
    assert_eq!(decode(&with, &schema()).expect("whole"), batch);
    for (byte, wrong) in [(b'"', b'x'), (b'm', b'n'), (b'{', b'[')] {
        let mut forged = with.clone();
        let place = forged.len() - section.len() + 16;
        let place = place + forged[place..].iter().position(|&at| at == byte).expect("is there");
        forged[place] = wrong;
        assert_eq!(decode(&forged, &schema()).expect_err("forged").kind(), ErrorKind::Corrupt);
    }
    // What is declared meanwhile holds for a batch that was checked before.
    check(dated("7")).expect("free").settle_fields(&FieldKinds::NONE).expect("still free");
    check(dated("7")).expect("free").settle_fields(&at()).expect_err("no date");
    let mut again = check(declares(dated("null"))).expect("legal");
    again.settle_fields(&at()).expect("the same");
    assert!(again.fields().is_empty(), "declared already");
}

#[test]
fn every_truncation_and_hostile_edit_is_an_error_or_a_valid_batch() {
    let mut out = Vec::new();
    let metadata = vec![Some("{\"a\":1}".into()), None];
    let key = Some("key".to_owned());
    let given = vec![PointId::from_text("name").expect("valid"), PointId::Uuid(9)];
    let fields = FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)]);
    let draft =
        Draft { deletes: ids([4, 5]), metadata, fields, idempotency_key: key, ..draft(given) };
    settled(draft).encode_into(&mut out);
    for len in 0..out.len() {
        assert!(decode(&out[..len], &schema()).is_err(), "length {len}");
    }
    for seed in 0..20_000 {
        let mut rng = Rng::new(seed);
        let mut hostile = out.clone();
        for _ in 0..=rng.below(3) {
            let at = rng.below(hostile.len() as u64) as usize;
            hostile[at] = if rng.below(2) == 0 { 0xFF } else { rng.next_u64() as u8 };
        }
        if let Ok(batch) = decode(&hostile, &schema()) {
            assert!(check::distinct(batch.ids()).is_ok() && batch.ids().len() == batch.rows());
        }
    }
}

#[test]
fn rows_left_out_take_everything_of_theirs_with_them() {
    let metadata = vec![Some("{\"a\":1}".into()), None, Some("{\"c\":3}".into())];
    let row_keys = vec![Some("a".into()), Some("b".into()), None];
    let mut batch = check(Draft { metadata, row_keys, ..draft(ids([1, 2, 3])) }).expect("valid");
    batch.leave_out(&[false, true, false]);
    assert_eq!((batch.rows(), batch.ids()), (2, &ids([1, 3])[..]));
    assert_eq!(batch.vectors(""), Some(&[0.5, 1.5, 2.5, 6.5, 7.5, 8.5][..]));
    assert_eq!(batch.vectors("side"), Some(&[0.5, 2.5][..]));
    assert_eq!(batch.metadata()[1].as_deref(), Some("{\"c\":3}"));
    assert_eq!(batch.row_keys().collect::<Vec<_>>(), [(0, "a")]);
    batch.leave_out(&[true, true]);
    assert!(batch.is_empty());
}

fn any_id() -> impl Strategy<Value = PointId> {
    prop_oneof![
        any::<u64>().prop_map(PointId::U64),
        any::<u128>().prop_map(PointId::Uuid),
        "[a-z0-9é]{1,40}".prop_map(|text| PointId::from_text(&text).expect("short")),
    ]
}

prop_compose! {
    fn any_draft()(
        ids in proptest::collection::btree_set(any_id(), 0..20),
        deletes in proptest::collection::vec(any_id(), 0..10),
        seed in any::<u64>(),
        time_ms in any::<u64>(),
        deadline_ms in any::<Option<u64>>(),
        keys in proptest::collection::btree_set("[a-zé]{1,20}", 20),
        keyed in 0..3,
        assigned in any::<bool>(),
        declared in proptest::collection::btree_set("[A-Z]{1,9}", 0..3),
        texts in proptest::collection::vec(proptest::option::of("\\{\"[a-zé]{1,9}\":[1-9]\\}"), 20),
    ) -> Draft<'static> {
        let mut rng = Rng::new(seed);
        let rows = ids.len();
        let mut elements = |count| -> Cow<'static, [f32]> {
            (0..count).map(|_| rng.unit_f32() * 2.0 - 1.0).collect::<Vec<_>>().into()
        };
        let vectors = BTreeMap::from([
            (String::new(), elements(3 * rows)),
            ("side".to_owned(), elements(rows)),
        ]);
        let metadata = texts.into_iter().take(rows).map(|text| text.map(Cow::Owned)).collect();
        let ids = if assigned { None } else { Some(ids.into_iter().collect()) };
        // No key, one for the batch, or one for every other row of a batch without deletes.
        let idempotency_key = keys.first().filter(|_| keyed == 1).cloned();
        let row_keys = keys.into_iter().take(if keyed == 2 { rows } else { 0 }).enumerate();
        let row_keys = row_keys.map(|(row, key)| (row % 2 == 1).then(|| key.into())).collect();
        let deletes = if keyed == 2 { Vec::new() } else { deletes };
        let fields = declared.into_iter().map(|name| (name, FieldKind::Datetime)).collect();
        Draft {
            deletes, ids, rows, first_row: 0, vectors, metadata, fields, time_ms, idempotency_key, row_keys,
            deadline_ms,
        }
    }
}

proptest! {
    #[test]
    fn a_batch_comes_back_from_its_bytes(draft in any_draft()) {
        let mut batch = check(draft).expect("valid");
        batch.assign_ids(&mut NextId::starting_at(1000)).expect("enough numbers");
        let mut out = Vec::new();
        batch.encode_into(&mut out);
        prop_assert!(out.len() <= batch.encoded_bytes_max());
        let read = decode(&out, &schema()).expect("whole");
        prop_assert_eq!(read.ids(), batch.ids());
        if batch.rows() > 0 {
            prop_assert_eq!(&read, &batch);
        }
        let mut again = Vec::new();
        read.encode_into(&mut again);
        prop_assert_eq!(again, out, "one encoding for one batch");
    }
}

/// Earlier versions took any length: what they logged is read again, and no new batch has it.
#[test]
fn vectors_too_short_for_new_batches_are_read_from_the_log() {
    let short = |elements: Vec<f32>| {
        let mut draft = draft(ids([1]));
        draft.vectors.insert(String::new(), Cow::Owned(elements));
        draft
    };
    for elements in [vec![1e-25, 0.0, 0.0], vec![0.0, -1e-45, 1e-30]] {
        let (fault, error) = refused(short(elements.clone()));
        assert_eq!(fault, Fault::NonFinite);
        assert!(error.message().starts_with("row 0: expected zeros or a length of"), "{error}");
        let mut batch = Batch::logged(short(elements.clone()), &schema()).expect("logged before");
        batch.assign_ids(&mut NextId::FIRST.clone()).expect("enough numbers");
        let mut body = Vec::new();
        batch.encode_into(&mut body);
        let read = decode(&body, &schema()).expect("a good body");
        assert_eq!(read.vectors(""), Some(&elements[..]));
    }
    assert!(check(short(vec![0.0; 3])).is_ok());
    assert!(check(short(vec![0.0, 1e-18, 0.0])).is_ok());
}
