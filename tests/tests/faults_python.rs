//! Which fields of metadata a filter may name is a property of the collection: a function of its batches up to an LSN.
//!
//! Each test takes a collection through one step after the other (memory, files, one file, a reopened store, a snapshot,
//! an export whole and in part) and asks the same filters after each. Files are below `target/tmp/faults_python`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{
    Collection, Database, ErrorKind, Export, Fault, ManualClock, Mode, Options, View, restore,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Residence;
use nearfield_segment::search::SearchParams;
use nearfield_segment::storage::{Directory, SimDisk, Storage, open_directory};
use nearfield_segment::{Encoding, Kernel, Metric, PointId, Pool, Result, Schema};
use serde_json::{Value, json};

const NAME: &str = "points";

/// A new, empty directory.
fn place(name: &str) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join("faults_python").join(name);
    if path.exists() {
        std::fs::remove_dir_all(&path).unwrap();
    }
    std::fs::create_dir_all(&path).unwrap();
    path
}

fn open(storage: &Arc<dyn Storage>, mode: Mode) -> Database {
    let clock = Arc::new(ManualClock::new(1_000));
    // Files written by two openings need different names.
    let seed = storage.list("").unwrap().len() as u64
        + storage.list("segments").map_or(0, |l| l.len()) as u64;
    Database::open(Arc::clone(storage), mode, Options::default(), clock, seed + 7, "test").unwrap()
}

fn on_disk(path: &std::path::Path) -> Arc<dyn Storage> {
    Arc::new(open_directory(path).unwrap())
}

fn in_simulation(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(Directory::new(disk.clone()))
}

fn create(db: &Database) -> Arc<Collection> {
    let schema = Schema::dense(2, Metric::L2, Encoding::F32).unwrap();
    db.create(NAME, &schema).unwrap()
}

/// Writes points with these ids and metadata.
fn upsert(collection: &Collection, points: &[(u64, Option<Value>)]) {
    let vectors: Vec<f32> = points.iter().flat_map(|(id, _)| [*id as f32, 1.0]).collect();
    let metadata = points.iter().map(|(_, value)| value.as_ref().map(|v| v.to_string().into()));
    let draft = Draft {
        ids: Some(points.iter().map(|(id, _)| PointId::U64(*id)).collect()),
        rows: points.len(),
        vectors: BTreeMap::from([(String::new(), Cow::Owned(vectors))]),
        metadata: metadata.collect(),
        ..Draft::default()
    };
    let schema = Arc::clone(&collection.view().schema);
    let batch = Batch::new(draft, &schema).unwrap();
    collection.apply(batch, &Pool::SERIAL).unwrap();
}

fn delete(collection: &Collection, id: u64) {
    let draft = Draft { deletes: vec![PointId::U64(id)], ..Draft::default() };
    let schema = Arc::clone(&collection.view().schema);
    let batch = Batch::new(draft, &schema).unwrap();
    assert_eq!(collection.apply(batch, &Pool::SERIAL).unwrap().deleted, 1);
}

fn filters() -> Vec<Value> {
    vec![
        json!({"x": 1}),
        json!({"x": {"ne": 1}}),
        json!({"a": 1}),
        json!({"a": {"in": [1, 2]}, "x": {"exists": false}}),
        json!({"o.p": {"gte": 0}}),
        json!({"zzz": 1}),
        json!({"zzz": {"ne": 1}}),
        json!({"zzz": {"exists": true}}),
        json!({"tags": "t"}),
    ]
}

/// A count, or "unknown" for a filter that was refused because of its field.
fn shown(answer: Result<u64>) -> String {
    match answer {
        Ok(count) => count.to_string(),
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Filter), "{error}");
            "unknown".to_owned()
        }
    }
}

/// The answers to all filters, by count; a search agrees with each.
fn answers(view: &View) -> Vec<String> {
    let answer = |filter: Value| {
        let filter = Filter::from_json(&filter).unwrap();
        let counted = shown(view.count(Some(&filter), &never_cancelled));
        let params =
            SearchParams { field: "", k: 100, ef: None, exact: true, filter: Some(&filter) };
        let found =
            view.prepare(params, Kernel::detect()).and_then(|prepared| {
                Ok(view.search_many(&prepared, &[0.0, 0.0], &Pool::SERIAL, &never_cancelled)?[0]
                    .0
                    .len() as u64)
            });
        assert_eq!(shown(found), counted, "a search and a count");
        counted
    };
    filters().into_iter().map(answer).collect()
}

/// `answers` after each step of the life of a collection whose newest content is in `db`.
fn same_everywhere(name: &str, fill: &dyn Fn(&Collection), expected: &[&str]) {
    let root = place(name);
    let storage = on_disk(&root.join("db"));
    let db = open(&storage, Mode::Write);
    let collection = create(&db);
    fill(&collection);
    assert_eq!(answers(&collection.view()), expected, "in memory");
    drop((collection, db));
    let db = open(&storage, Mode::Write);
    let collection = db.collection(NAME).unwrap();
    assert_eq!(answers(&collection.view()), expected, "after a replay of the log");
    collection.checkpoint(&Pool::SERIAL).unwrap();
    assert_eq!(answers(&collection.view()), expected, "after a checkpoint");
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answers(&collection.view()), expected, "after a compaction");
    let snapshot = db.snapshot(&[], &|| true).unwrap();
    let exports = on_disk(&root.join("exports"));
    db.export(&*exports, "all.near", &[], &Pool::SERIAL, &never_cancelled).unwrap();
    drop((collection, db));

    let reader = open(&storage, Mode::Read).collection(NAME).unwrap();
    assert_eq!(answers(&reader.view()), expected, "of a reader");
    let restored = on_disk(&root.join("restored"));
    restore(&on_disk(&root.join("db").join(&snapshot.dir)), &restored, &never_cancelled).unwrap();
    let view = open(&restored, Mode::Write).collection(NAME).unwrap().view();
    assert_eq!(answers(&view), expected, "after a restore");

    let blob = exports.open("all.near").unwrap();
    let clock = Arc::new(ManualClock::new(1));
    let whole = Database::from_export("all.near", &blob, Options::default(), clock).unwrap();
    assert_eq!(answers(&whole.collection(NAME).unwrap().view()), expected, "of an export");
    let part = Export::open("all.near", &blob, Residence::OnDemand).unwrap();
    assert_eq!(answers(part.collection(NAME).unwrap()), expected, "of an export in part");
}

#[test]
fn a_field_that_only_dead_rows_had_stays_known() {
    let fill = |collection: &Collection| {
        upsert(
            collection,
            &[(1, Some(json!({"a": 1}))), (2, Some(json!({"x": 1, "o": {"p": 3}})))],
        );
        delete(collection, 2);
    };
    let expected = ["0", "1", "1", "1", "0", "unknown", "unknown", "0", "0"];
    same_everywhere("dead", &fill, &expected);
}

#[test]
fn a_field_of_a_replaced_row_stays_known_when_rows_in_memory_are_merged() {
    let fill = |collection: &Collection| {
        upsert(collection, &[(1, Some(json!({"x": 1, "o": {"p": 3}})))]);
        // Rows in memory are merged eight batches at a time, and dead ones are dropped on the way.
        for _ in 0..20 {
            upsert(collection, &[(1, Some(json!({"a": 1})))]);
        }
    };
    let expected = ["0", "1", "1", "1", "0", "unknown", "unknown", "0", "0"];
    same_everywhere("replaced", &fill, &expected);
}

#[test]
fn a_collection_without_metadata_refuses_an_unknown_field_like_any_other() {
    let unknown =
        ["unknown", "unknown", "unknown", "unknown", "unknown", "unknown", "unknown", "0", "0"];
    same_everywhere("none", &|collection| upsert(collection, &[(1, None), (2, None)]), &unknown);
    same_everywhere("empty", &|_| (), &unknown);
    let emptied = |collection: &Collection| {
        upsert(collection, &[(1, None)]);
        delete(collection, 1);
    };
    same_everywhere("emptied", &emptied, &unknown);
}

#[test]
fn deleting_by_a_filter_knows_the_same_fields() {
    let disk = SimDisk::new(1);
    let db = open(&in_simulation(&disk), Mode::Write);
    let collection = create(&db);
    let of = |filter: Value| {
        let filter = Filter::from_json(&filter).unwrap();
        shown(collection.delete_where(&filter).map(|applied| applied.deleted))
    };
    upsert(&collection, &[(1, None)]);
    assert_eq!(of(json!({"x": 1})), "unknown");
    assert_eq!(of(json!({"x": {"ne": 1}})), "unknown", "which would delete everything");
    upsert(&collection, &[(2, Some(json!({"x": 1})))]);
    assert_eq!(of(json!({"x": 1})), "1");
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(of(json!({"x": 1})), "0");
    assert_eq!(collection.view().len(), 1);
}

#[test]
fn a_reader_beside_the_writer_learns_new_fields_with_the_rows_that_have_them() {
    let disk = SimDisk::new(1);
    let storage = in_simulation(&disk);
    let db = open(&storage, Mode::Write);
    let collection = create(&db);
    upsert(&collection, &[(1, Some(json!({"a": 1})))]);
    let reader = open(&storage, Mode::Read).collection(NAME).unwrap();
    let before = ["unknown", "unknown", "1", "1", "unknown", "unknown", "unknown", "0", "0"];
    assert_eq!(answers(&reader.view()), before);
    upsert(&collection, &[(2, Some(json!({"x": 1, "o": {"p": 3}})))]);
    delete(&collection, 2);
    upsert(&collection, &[(3, None)]);
    let after = ["0", "2", "1", "1", "0", "unknown", "unknown", "0", "0"];
    assert_eq!(answers(&reader.refresh().unwrap()), after);
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert_eq!(answers(&reader.refresh().unwrap()), after, "after a compaction");
    assert_eq!(answers(&collection.view()), after, "the writer's own");
}

#[test]
fn an_earlier_moment_does_not_know_fields_that_came_later() {
    let disk = SimDisk::new(1);
    let storage = in_simulation(&disk);
    let clock = Arc::new(ManualClock::new(1_000));
    let options = Options { history_ms: Some(1 << 40), ..Options::default() };
    let db = Database::open(Arc::clone(&storage), Mode::Write, options, clock, 7, "test").unwrap();
    let collection = create(&db);
    upsert(&collection, &[(1, Some(json!({"a": 1})))]);
    let then = answers(&collection.view());
    let lsn = collection.view().lsn;
    upsert(&collection, &[(2, Some(json!({"x": 1, "o": {"p": 3}})))]);
    collection.checkpoint(&Pool::SERIAL).unwrap();
    assert_ne!(answers(&collection.view()), then);
    db.replay_to(NAME, lsn, &Pool::SERIAL).unwrap();
    assert_eq!(answers(&db.collection(NAME).unwrap().view()), then);
}
