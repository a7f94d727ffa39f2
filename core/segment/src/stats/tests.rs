//! Pruning against evaluation: a segment with a match is never skipped.

use proptest::prelude::*;
use serde_json::{Value, json};

use super::*;
use crate::filter::{eval, strategy};
use crate::payload::PayloadBuilder;
use crate::rng::Rng;
use crate::storage::AlignedBuffer;

fn payload(rows: &[Value]) -> Payload {
    let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
    for row in rows {
        builder.push(Some(&row.to_string())).expect("legal metadata");
    }
    let bytes = builder.finish().expect("within limits");
    let columns = AlignedBuffer::copy_of(&bytes.columns).into();
    let raw = AlignedBuffer::copy_of(&bytes.raw.concat()).into();
    Payload::open(columns, raw, rows.len() as u32).expect("own bytes")
}

fn may_match(stats: &Stats, filter: Value) -> bool {
    stats.may_match(&Filter::from_json(&filter).expect("legal filter"), &FieldKinds::NONE)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn a_segment_with_a_match_is_never_skipped(
        rows in prop::collection::vec(strategy::document(), 1..6),
        filters in prop::collection::vec(strategy::filter(), 1..20),
    ) {
        let payload = payload(&rows);
        let stats = Stats::build(&payload).expect("own bytes");
        let read = Stats::from_bytes(&stats.to_bytes(), rows.len() as u32).expect("own bytes");
        for filter in filters {
            let matches = !eval(&filter, &payload, &FieldKinds::NONE).expect("evaluates").is_empty();
            prop_assert!(!matches || stats.may_match(&filter, &FieldKinds::NONE), "{} on {rows:?}", filter.to_json());
            prop_assert_eq!(stats.may_match(&filter, &FieldKinds::NONE), read.may_match(&filter, &FieldKinds::NONE));
        }
    }
}

#[test]
fn what_lies_outside_is_skipped() {
    let rows: Vec<Value> = (0..50)
        .map(|n| json!({"n": n, "f": n as f64 / 2.0, "w": format!("w{n:02}"), "b": true, "e": [n]}))
        .collect();
    let stats = Stats::build(&payload(&rows)).expect("own bytes");
    for skipped in [
        json!({"n": {"gt": 49}}),
        json!({"n": {"lt": 0}}),
        json!({"n": -1}),
        json!({"f": {"gte": 24.6}}),
        json!({"n": "1"}),
        json!({"w": {"gt": "w49"}}),
        json!({"w": "w10x"}),
        json!({"w": {"in": ["a", "z"]}}),
        json!({"b": false}),
        json!({"b": null}),
        json!({"n": []}),
        json!({"unknown": 1}),
        json!({"unknown": {"exists": true}}),
        json!({"n": {"exists": false}}),
        json!({"and": [{"n": 3}, {"n": 300}]}),
        json!({"or": [{"n": 301}, {"n": 300}]}),
        json!({"not": {}}),
    ] {
        assert!(!may_match(&stats, skipped.clone()), "{skipped}");
    }
    for kept in [
        json!({"n": {"ne": 3}}),
        json!({"n": {"lte": 0}}),
        json!({"n": {"lt": 0.5}}),
        json!({"n": {"gte": 49}}),
        json!({"n": {"gt": 48.5}}),
        json!({"n": 0}),
        json!({"n": 49}),
        json!({"f": {"lte": 0}}),
        json!({"w": "w10"}),
        json!({"w": {"lte": "w00"}}),
        json!({"w": {"gte": "w49"}}),
        json!({"b": true}),
        json!({"unknown": {"ne": 1}}),
    ] {
        assert!(may_match(&stats, kept.clone()), "{kept}");
    }
}

#[test]
fn paths_and_strings_that_are_not_covered_keep_a_segment() {
    let many: serde_json::Map<String, Value> =
        (0..1100).map(|n| (format!("f{n:04}"), n.into())).collect();
    let stats = Stats::build(&payload(&[many.into()])).expect("own bytes");
    assert!(may_match(&stats, json!({"f1099": 1099})));
    assert!(!may_match(&stats, json!({"f0001": 2})));
    let long = "y".repeat(300);
    let stats = Stats::build(&payload(&[json!({"t": ["a", long]})])).expect("own bytes");
    assert!(may_match(&stats, json!({"t": long})) && may_match(&stats, json!({"t": {"gt": "b"}})));
    assert!(!may_match(&stats, json!({"t": "b"})));
}

#[test]
fn damaged_bytes_are_refused_or_read_but_never_panic() {
    let rows = [json!({"a": 1, "b": "x", "c": -1.5}), json!({"a": u64::MAX, "b": ["y", null]})];
    let bytes = Stats::build(&payload(&rows)).expect("own bytes").to_bytes();
    for len in 0..bytes.len() {
        assert!(Stats::from_bytes(&bytes[..len], 2).is_err(), "cut at {len}");
    }
    assert!(Stats::from_bytes(&bytes, 3).is_err());
    assert!(Stats::from_bytes(&[&bytes[..], &[0]].concat(), 2).is_err());
    for seed in 0..2000 {
        let mut rng = Rng::new(seed);
        let mut hurt = bytes.clone();
        hurt[rng.below(bytes.len() as u64) as usize] = rng.next_u64() as u8;
        if let Ok(stats) = Stats::from_bytes(&hurt, 2) {
            may_match(&stats, json!({"a": {"gt": 3}, "b": {"in": ["x", "zz"]}}));
        }
    }
}
