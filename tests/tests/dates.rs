//! Dates of a declared field against a plain oracle: equality, order and ranges of many forms, wherever rows are.
//!
//! The questions and their answers are those of `tests/dates.json`, which `tests/python/make_dates.py` writes and the
//! tests of every home read.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use nearfield_engine::batch::{Batch, Change, Draft};
use nearfield_engine::task::{MergeScope, Task};
use nearfield_engine::{
    Begun, Collection, Database, ErrorKind, Export, Fault, LiveSegment, ManualClock, Mode, View,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Residence;
use nearfield_segment::payload::{PATHS_MAX, parse_instant};
use nearfield_segment::storage::{SimDisk, Storage, open_directory};
use nearfield_segment::{Encoding, FieldKind, FieldKinds, Lsn, Metric, PointId, Pool, Schema};
use nearfield_tests::fixture::read_directory;
use nearfield_tests::sim::{memory, small_options, storage};
use serde_json::{Value, json};

const EXPORT: &str = "dates.near";

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
    collection.apply(declaring(FieldKinds::NONE, first, texts), &Pool::SERIAL).unwrap();
}

/// A batch that declares `fields`.
fn declaring(fields: FieldKinds, first: u64, texts: &[String]) -> Batch<'static> {
    let draft = Draft { fields, ..draft(first, texts) };
    Batch::new(draft, &schema(FieldKinds::NONE)).unwrap()
}

/// Row n has date n.
fn rows() -> Vec<String> {
    CASES.dates.iter().map(|(text, _)| json!({ "at": text, "n": 1 }).to_string()).collect()
}

fn open(files: Arc<dyn Storage>, seed: u64) -> Database {
    open_in(Mode::Write, files, seed)
}

fn open_in(mode: Mode, files: Arc<dyn Storage>, seed: u64) -> Database {
    let clock = Arc::new(ManualClock::new(1));
    Database::open(files, mode, small_options(), clock, seed, "test").unwrap()
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
fn answers_are_those_of_the_oracle_wherever_rows_are_and_whatever_declares() {
    for by_schema in [true, false] {
        let disk = SimDisk::new(3);
        let db = open(storage(&disk), 5);
        let fields = if by_schema { kinds() } else { FieldKinds::NONE };
        let collection = db.create("c", &schema(fields)).unwrap();
        let rows = rows();
        let third = rows.len() / 3;
        for (part, first) in rows.chunks(third).zip((0..).step_by(third)) {
            // Texts alone declare nothing. What a batch declares holds for files that are older, too.
            let fields = if first == third as u64 { kinds() } else { FieldKinds::NONE };
            collection.apply(declaring(fields, first, part), &Pool::SERIAL).unwrap();
            if first == 0 {
                collection.checkpoint(&Pool::SERIAL).unwrap();
            }
        }
        check("in memory", |filter| found_in(&collection.view(), filter));
        let follower = open_in(Mode::Read, storage(&disk), 6).collection("c").unwrap();
        check("followed", |filter| found_in(&follower.view(), filter));
        drop((collection, db));
        let disk = disk.kill(1);
        let db = open(storage(&disk), 7);
        check("replayed", |filter| found_in(&db.collection("c").unwrap().view(), filter));
        check_files(&db, &*storage(&disk));
        drop(db);
        let db = open(storage(&disk), 8);
        let view = db.collection("c").unwrap().view();
        check("opened again", |filter| found_in(&view, filter));
        check_texts(&view, &rows);
    }
}

/// Checkpoint, compaction and an export, at the end in `files`, change no answer.
fn check_files(db: &Database, files: &dyn Storage) {
    let collection = db.collection("c").unwrap();
    collection.checkpoint(&Pool::SERIAL).unwrap();
    check("in a file", |filter| found_in(&collection.view(), filter));
    let away = CASES.dates.len() as u64;
    upsert(&collection, away, &[json!({ "at": ["2020-01-01", null] }).to_string()]);
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    check("compacted", |filter| found_in(&collection.view(), filter));
    db.export(files, EXPORT, &[], &Pool::SERIAL, &never_cancelled).unwrap();
    check_export(files);
}

fn check_export(files: &dyn Storage) {
    let blob = files.open(EXPORT).unwrap();
    for residence in [Residence::InPlace, Residence::OnDemand] {
        let export = Export::open(EXPORT, &blob, residence).unwrap();
        let exported = export.collection("c").unwrap();
        check(&format!("exported, {residence:?}"), |filter| found_in(exported, filter));
    }
}

/// The texts of all rows are as they were given.
fn check_texts(view: &View, rows: &[String]) {
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

/// The store has two thirds of the rows in a segment and one in the log, all of format 1, and no declaration. The
/// export with a declaration and sections of format 1 is left below `target/tmp/dates`, for
/// `wasm/tests/dates.test.mjs`.
#[test]
fn a_store_of_format_1_takes_a_declaration() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/dates/store");
    let files = memory(&read_directory(&root).unwrap());
    let db = open(Arc::clone(&files), 9);
    let collection = db.collection("c").unwrap();
    let text = Filter::from_json(&json!({"at": "1970-01-01"})).unwrap();
    assert_eq!(found_in(&collection.view(), &text), [1]);
    collection.apply(declaring(kinds(), 0, &[]), &Pool::SERIAL).unwrap();
    check("declared", |filter| found_in(&collection.view(), filter));
    check_texts(&collection.view(), &rows());
    let out = open_directory(Path::new(env!("CARGO_TARGET_TMPDIR")).join("dates")).unwrap();
    db.export(&out, EXPORT, &[], &Pool::SERIAL, &never_cancelled).unwrap();
    check_export(&out);
    check_files(&db, &*files);
    drop((collection, db));
    let db = open(files, 10);
    check("opened again", |filter| found_in(&db.collection("c").unwrap().view(), filter));
}

#[test]
fn a_declaration_is_refused_while_a_point_has_something_else() {
    let many: BTreeMap<String, u32> =
        (0..PATHS_MAX as u32 + 1).map(|n| (format!("a{n}"), n)).collect();
    let mut wide = json!(many);
    wide["at"] = json!(7);
    let long = "2".repeat(300);
    let others = [json!(7), json!(-1.5), json!(u64::MAX), json!(true), json!("soon"), json!(long)];
    let nested = [json!({ "a": "2020-01-01" }), json!(["2020-01-01", [3]])];
    let rows = others.into_iter().chain(nested).map(|value| json!({ "at": value }));
    for (row, is_in_file) in rows.chain([wide]).zip([true, false].into_iter().cycle()) {
        let db = open(storage(&SimDisk::new(3)), 5);
        let collection = db.create("c", &schema(FieldKinds::NONE)).unwrap();
        upsert(&collection, 0, &[json!({"at": "2020-01-01"}).to_string(), row.to_string()]);
        if is_in_file {
            collection.checkpoint(&Pool::SERIAL).unwrap();
        }
        let lsn = collection.view().lsn;
        let date = [json!({"at": null}).to_string()];
        let error = collection.apply(declaring(kinds(), 7, &date), &Pool::SERIAL).expect_err("7");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Metadata), "{error}");
        let place = "metadata of point 1, which is stored: \"at\": expected a date";
        assert!(error.message().starts_with(place), "{error}");
        assert_eq!((collection.view().lsn, collection.view().schema.fields.len()), (lsn, 0));
        // A row that is deleted is not in the way.
        upsert(&collection, 1, &date);
        collection.apply(declaring(kinds(), 7, &date), &Pool::SERIAL).unwrap();
        assert_eq!(collection.view().schema.fields, kinds());
    }
}

#[test]
fn changes_of_one_group_are_held_to_what_those_before_them_declared() {
    let db = open(storage(&SimDisk::new(3)), 5);
    let collection = db.create("c", &schema(FieldKinds::NONE)).unwrap();
    let soon = |id| declaring(FieldKinds::NONE, id, &[json!({"at": "soon"}).to_string()]);
    let date = |id| declaring(kinds(), id, &[json!({"at": "2020-01-01"}).to_string()]);
    let apply = |batches: Vec<Batch<'static>>| {
        let changes = batches.into_iter().map(Change::Batch).collect();
        let answers = collection.apply_all(changes, &Pool::SERIAL).into_iter();
        answers.map(|answer| answer.map_err(|error| error.message().to_owned())).collect::<Vec<_>>()
    };
    let [Ok(_), Err(stored)] = &apply(vec![soon(1), date(2)])[..] else { panic!("not both") };
    assert!(stored.contains("point 1, which is stored"), "{stored}");
    let deletes = Draft { deletes: vec![PointId::U64(1)], ..Draft::default() };
    let delete = Batch::new(deletes, &collection.view().schema).unwrap();
    let answers = apply(vec![delete, date(2), date(3), soon(4)]);
    let [Ok(_), Ok(_), Ok(_), Err(checked_again)] = &answers[..] else { panic!("{answers:?}") };
    assert!(
        checked_again.contains("metadata of row 0: \"at\": expected a date"),
        "{checked_again}"
    );
    let all = Filter::from_json(&json!({"at": "2020-01-01T00:00:00Z"})).unwrap();
    assert_eq!(found_in(&collection.view(), &all), [2, 3]);
}

/// A manifest and the files that it names say what was declared at its checkpoint LSN, also if they are written later.
#[test]
fn a_replay_to_before_a_declaration_compares_texts() {
    let disk = SimDisk::new(3);
    let db = open(storage(&disk), 5);
    let collection = db.create("c", &schema(FieldKinds::NONE)).unwrap();
    let (rows, half) = (rows(), CASES.dates.len() / 2);
    let write = |first, part: &[String]| upsert(&collection, first, part);
    write(0, &rows[..half]);
    collection.checkpoint(&Pool::SERIAL).unwrap();
    write(half as u64, &rows[half..]);
    let before = collection.view().lsn;
    let task = |scope| match collection.begin(scope).unwrap() {
        Begun::Task(task) => task,
        Begun::Tidied(_) => panic!("no merge is due"),
    };
    let run = |task: Box<Task>| {
        let output = task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()));
        collection.end(output).unwrap();
    };
    let checkpoint = task(MergeScope::Checkpoint);
    collection.apply(declaring(kinds(), 900, &[]), &Pool::SERIAL).unwrap();
    run(checkpoint);
    // Over the files alone: the declaration stays in the log.
    run(task(MergeScope::Worthwhile));
    check("declared", |filter| found_in(&collection.view(), filter));
    drop(collection);
    db.replay_to("c", before, &Pool::SERIAL).unwrap();
    let view = db.collection("c").unwrap().view();
    assert!(view.schema.fields.is_empty());
    let text = Filter::from_json(&json!({"at": "1970-01-01"})).unwrap();
    assert_eq!(found_in(&view, &text), [1]);
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
            // Only the rows with dates have the field.
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
