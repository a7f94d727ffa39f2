//! Dates of a declared field against a plain oracle: equality, order and ranges of many forms, wherever rows are.
//!
//! The questions and their answers are those of `tests/dates.json`, which `tests/python/make_dates.py` writes and the
//! tests of every home read.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::{Arc, LazyLock};

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{
    Collection, Database, ErrorKind, Export, Fault, LiveSegment, ManualClock, Mode, View,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Residence;
use nearfield_segment::payload::{PATHS_MAX, parse_instant};
use nearfield_segment::storage::{SimDisk, Storage};
use nearfield_segment::{Encoding, FieldKind, FieldKinds, Lsn, Metric, PointId, Pool, Schema};
use nearfield_tests::sim::{small_options, storage};
use serde_json::{Value, json};

/// What `make_dates.py` wrote.
struct Cases {
    /// Texts, with their microseconds since 1970; some say the same.
    dates: Vec<(String, i64)>,
    /// Texts that are no dates.
    no_dates: Vec<String>,
    /// Filters, with a digit for each date: 1 if it passes.
    questions: Vec<(Value, String)>,
}

static CASES: LazyLock<Cases> = LazyLock::new(|| {
    let mut all: Value = serde_json::from_str(include_str!("../dates.json")).unwrap();
    let mut list = |name: &str| all[name].take();
    Cases {
        dates: serde_json::from_value(list("dates")).unwrap(),
        no_dates: serde_json::from_value(list("no_dates")).unwrap(),
        questions: serde_json::from_value(list("questions")).unwrap(),
    }
});

fn kinds() -> FieldKinds {
    FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)])
}

fn schema(fields: FieldKinds) -> Schema {
    Schema { fields, ..Schema::dense(1, Metric::L2, Encoding::F32).unwrap() }
}

fn draft(first: u64, texts: &[String]) -> Draft<'static> {
    Draft {
        ids: Some((first..).take(texts.len()).map(PointId::U64).collect()),
        rows: texts.len(),
        vectors: BTreeMap::from([(String::new(), Cow::Owned(vec![1.0; texts.len()]))]),
        metadata: texts.iter().map(|text| Some(text.clone().into())).collect(),
        ..Draft::default()
    }
}

fn upsert(collection: &Collection, first: u64, texts: &[String]) {
    let batch = Batch::new(draft(first, texts), &collection.view().schema).unwrap();
    collection.apply(batch, &Pool::SERIAL).unwrap();
}

/// Row n has date n.
fn rows() -> Vec<String> {
    CASES.dates.iter().map(|(text, _)| json!({ "at": text, "n": 1 }).to_string()).collect()
}

fn open(files: Arc<dyn Storage>, seed: u64) -> Database {
    let clock = Arc::new(ManualClock::new(1));
    Database::open(files, Mode::Write, small_options(), clock, seed, "test").unwrap()
}

/// Holds every answer of `found`, sorted rows, against the oracle.
fn check(place: &str, found: impl Fn(&Filter) -> Vec<usize>) {
    for (question, digits) in &CASES.questions {
        let digits = digits.bytes().enumerate();
        let expected: Vec<usize> =
            digits.filter(|(_, digit)| *digit == b'1').map(|(row, _)| row).collect();
        let filter = Filter::from_json(question).unwrap();
        assert_eq!(found(&filter), expected, "{place}: {question}");
    }
}

fn found_in(view: &View, filter: &Filter) -> Vec<usize> {
    let sets = view.matching(filter, &never_cancelled).unwrap();
    let ids = view.segments.iter().zip(&sets).flat_map(|(live, rows)| {
        let stats = live.segment.stats();
        let may_match = stats.is_none_or(|stats| stats.may_match(filter, &view.schema.fields));
        assert!(may_match || rows.is_empty(), "statistics hide rows: {}", filter.to_json());
        rows.iter().map(|row| live.segment.ids().unwrap().id(row)).collect::<Vec<_>>()
    });
    sorted(ids)
}

/// Numbers below the number of dates, sorted.
fn sorted(ids: impl Iterator<Item = PointId>) -> Vec<usize> {
    let number = |id: PointId| match &id {
        PointId::U64(number) => *number as usize,
        PointId::I64(_) | PointId::Uuid(_) | PointId::Str(_) => panic!("{id} was not written"),
    };
    let mut rows: Vec<usize> = ids.map(number).filter(|row| *row < CASES.dates.len()).collect();
    rows.sort_unstable();
    rows
}

#[test]
fn each_form_is_the_moment_that_it_says() {
    for (text, moment) in &CASES.dates {
        assert_eq!(parse_instant(text), Some(*moment), "{text}");
    }
    for text in &CASES.no_dates {
        assert_eq!(parse_instant(text), None, "{text:?}");
    }
}

#[test]
fn answers_are_those_of_the_oracle_in_memory_in_files_and_in_exports() {
    let disk = SimDisk::new(3);
    let db = open(storage(&disk), 5);
    let collection = db.create("c", &schema(kinds())).unwrap();
    let rows = rows();
    let third = rows.len() / 3;
    for (part, first) in rows.chunks(third).zip((0..).step_by(third)) {
        upsert(&collection, first, part);
    }
    check("in memory", |filter| found_in(&collection.view(), filter));
    collection.checkpoint(&Pool::SERIAL).unwrap();
    check("in a file", |filter| found_in(&collection.view(), filter));
    let away = CASES.dates.len() as u64;
    upsert(&collection, away, &[json!({ "at": ["2020-01-01", null] }).to_string()]);
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    check("compacted", |filter| found_in(&collection.view(), filter));
    let files = storage(&disk);
    db.export(&*files, "out.near", &[], &Pool::SERIAL, &never_cancelled).unwrap();
    drop((collection, db));
    let db = open(storage(&disk), 6);
    let view = db.collection("c").unwrap().view();
    check("opened again", |filter| found_in(&view, filter));
    let blob = files.open("out.near").unwrap();
    for residence in [Residence::InPlace, Residence::OnDemand] {
        let export = Export::open("out.near", &blob, residence).unwrap();
        let exported = export.collection("c").unwrap();
        check(&format!("exported, {residence:?}"), |filter| found_in(exported, filter));
    }
    for live in &view.segments {
        for row in (0..live.segment.rows()).map(nearfield_segment::RowId) {
            let [row_number] = sorted([live.segment.ids().unwrap().id(row)].into_iter())[..] else {
                continue;
            };
            let text = live.segment.text(row).unwrap();
            assert_eq!(text.as_deref(), Some(&*rows[row_number]), "as given");
        }
    }
}

#[test]
fn answers_are_those_of_the_oracle_without_columns_and_before_the_declaration() {
    let disk = SimDisk::new(3);
    let db = open(storage(&disk), 5);
    let many: BTreeMap<String, u32> =
        (0..PATHS_MAX as u32 + 1).map(|n| (format!("a{n}"), n)).collect();
    let wide = serde_json::to_string(&many).unwrap();
    for (name, first) in [("texts", Some(wide)), ("strings", None)] {
        let is_declared = name == "texts";
        let fields = if is_declared { kinds() } else { FieldKinds::NONE };
        let collection = db.create(name, &schema(fields)).unwrap();
        // The first row takes the columns that there may be.
        let mut rows = rows();
        rows.extend(first);
        rows.rotate_right(usize::from(is_declared));
        let mut draft = draft(0, &rows);
        if is_declared {
            let ids = [1000].into_iter().chain(0..CASES.dates.len() as u64);
            draft.ids = Some(ids.map(PointId::U64).collect());
        }
        let batch = Batch::new(draft, &collection.view().schema).unwrap();
        collection.apply(batch, &Pool::SERIAL).unwrap();
        let segments: Vec<LiveSegment> = collection.view().segments.clone();
        let declared = View::of_segments(Lsn(1), schema(kinds()), segments);
        check(name, |filter| {
            // No row of others than the dates has the field.
            found_in(&declared, filter)
        });
    }
}

#[test]
fn an_undeclared_field_is_compared_as_text() {
    let db = open(storage(&SimDisk::new(3)), 5);
    let collection = db.create("c", &schema(FieldKinds::NONE)).unwrap();
    upsert(&collection, 0, &rows());
    let filter = Filter::from_json(&json!({"at": "1970-01-01"})).unwrap();
    assert_eq!(found_in(&collection.view(), &filter), [1]);
}

#[test]
fn nulls_lists_and_rows_without_the_field_are_told_apart() {
    let db = open(storage(&SimDisk::new(3)), 5);
    let collection = db.create("c", &schema(kinds())).unwrap();
    let rows = [
        r#"{"at":null}"#,
        r#"{"n":1}"#,
        r#"{"at":[]}"#,
        r#"{"at":["2020-01-01","2021-01-01T00:00:00+01:00"]}"#,
        r#"{"at":["2020-06-01",null]}"#,
    ];
    upsert(&collection, 0, &rows.map(str::to_owned));
    let found =
        |question: Value| found_in(&collection.view(), &Filter::from_json(&question).unwrap());
    assert_eq!(found(json!({ "at": null })), [0, 4]);
    assert_eq!(found(json!({ "at": [] })), [2]);
    assert_eq!(found(json!({"at": {"exists": false}})), [1]);
    assert_eq!(found(json!({"at": {"gte": "2020-12-31T23:00:00Z"}})), [3]);
    assert_eq!(found(json!({"at": {"contains": "2020-06-01T00:00:00"}})), [4]);
    assert_eq!(found(json!({"at": {"in": [null, "2020-01-01"]}})), [0, 3, 4]);
    assert_eq!(found(json!({"at": {"ne": "2020-01-01"}})), [0, 1, 2, 4]);
}

#[test]
fn what_is_no_date_is_refused_in_rows_and_in_filters() {
    let db = open(storage(&SimDisk::new(3)), 5);
    let declared =
        FieldKinds::from_iter(["at", "deep.at"].map(|name| (name.into(), FieldKind::Datetime)));
    let collection = db.create("c", &schema(declared)).unwrap();
    let schema = collection.view().schema.clone();
    let mut values: Vec<Value> = CASES.no_dates.iter().map(|text| json!(text)).collect();
    values.extend([json!(17), json!(1.5), json!(u64::MAX), json!(true), json!(["2020-01-01", 3])]);
    for value in values {
        for row in [json!({ "at": value }), json!({"deep": [{"at": "2020-01-01"}, {"at": value}]})]
        {
            let texts = ["{}".to_owned(), row.to_string()];
            let error = Batch::new(draft(0, &texts), &schema).expect_err("no date");
            assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Metadata), "{error}");
            assert!(error.message().contains("metadata of row 1: \""), "{error}");
            assert!(error.message().contains("at\": expected a date like"), "{error}");
        }
        let Some(operand) = (!value.is_array()).then_some(&value) else { continue };
        for question in [json!({ "at": operand }), json!({"not": {"at": {"in": [null, operand]}}})]
        {
            let filter = Filter::from_json(&question).unwrap();
            let error =
                collection.view().count(Some(&filter), &never_cancelled).expect_err("no date");
            assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Filter), "{error}");
            assert!(error.message().contains("\"at\" is declared datetime"), "{error}");
        }
    }
    let object = [json!({"at": {"x": "2020-01-01"}}).to_string()];
    assert!(Batch::new(draft(0, &object), &schema).is_err());
    // A path that only begins like a declared one is free.
    upsert(
        &collection,
        0,
        &[json!({"att": 1, "deep": {"atom": "x", "a": 2}, "a": true}).to_string()],
    );
    let empty = Filter::from_json(&json!({"deep.at": {"gt": "2020-01-01"}})).unwrap();
    assert_eq!(
        collection.view().count(Some(&empty), &never_cancelled).unwrap(),
        0,
        "declared is known"
    );
}

#[test]
fn fields_that_cannot_be_declared_are_refused() {
    let db = open(storage(&SimDisk::new(3)), 5);
    for name in ["tags", "entity_id", "sequence_ts", "a\\b"] {
        let fields = FieldKinds::from_iter([(name.to_owned(), FieldKind::Datetime)]);
        let error = db.create("c", &schema(fields)).expect_err(name);
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{error}");
    }
}
