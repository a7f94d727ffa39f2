//! Files of earlier versions open with the right answers, for ever.
//!
//! Each directory of `tests/fixtures/` holds a store, an export and what is in them. `v1` is version 1 of
//! everything; `v2` has a manifest of version 2, which names a file of idempotency keys; the export of `v3`
//! has cells; manifest and export of `v4` record the known fields; `v5` is format 2, with a second collection of dates
//! and negative ids. They were made by `NEARFIELD_FIXTURE=<directory> cargo test -p nearfield-tests --test compat` and
//! are never made again: a new version of the format gets a directory of its own. `dates` is a store of format 1 for
//! `dates.rs`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::task::{MergeScope, Task};
use nearfield_engine::{
    Collection, Database, ErrorKind, Export, ManualClock, Mode, Result, View, verify,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::{Residence, SectionKind};
use nearfield_segment::search::{Hit, ListParams, SearchParams};
use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{
    AlignedBuffer, Blob, BytesBlob, Failure, MemoryStorage, SimDisk, Storage,
};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{FieldKind, FieldKinds, Kernel, PointId, Pool, Schema};
use nearfield_tests::fixture::{Fixture, NAME, knows_keys, open_database, read_directory};
use nearfield_tests::sim::{
    DIM, Files, describe, memory, open, schema, small_options, storage, tree,
};
use serde_json::{Value, json};

const VERSIONS: [&str; 5] = ["v1", "v2", "v3", "v4", "v5"];
/// Those of format 1.
const OLD: [&str; 4] = ["v1", "v2", "v3", "v4"];
/// A collection of `v5`.
const DATES: &str = "dates";

fn root(version: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures").join(version)
}

/// Every point with the bits of its vector, and an exact answer with the bits of its distances.
fn content(view: &View) -> Value {
    let mut points = BTreeMap::new();
    for (live, rows) in view.segments.iter().zip(view.live_rows()) {
        for row in rows.iter() {
            let mut vector = [0.0; DIM];
            live.segment.field("").unwrap().decode(row, &mut vector).unwrap();
            let bits = vector.map(|element| format!("{:08x}", element.to_bits()));
            let metadata = live.segment.text(row).unwrap();
            let id = live.segment.ids().unwrap().id(row);
            points.insert(format!("{id:?}"), json!({"vector": bits, "metadata": metadata}));
        }
    }
    let params = SearchParams { field: "", k: 10, ef: None, exact: true, filter: None };
    let prepared = view.prepare(params, Kernel::detect()).unwrap();
    let found = view.search_many(&prepared, &[0.25; DIM], &Pool::SERIAL, &never_cancelled).unwrap();
    let hit = |hit: &Hit| format!("{:?} {:08x}", hit.id, hit.distance.to_bits());
    json!({"points": points, "answer": found[0].0.iter().map(hit).collect::<Vec<_>>()})
}

/// The store with one more collection, and an export of both. Thirty rows of it are in a file with a graph in which
/// most are duplicates, nine in the log.
fn with_dates(mut files: Files) -> Files {
    files.retain(|name, _| !name.starts_with("exports/"));
    let disk = disk_with(&files);
    let session = open(storage(&disk), 1_000_000, 78).unwrap();
    let fields = FieldKinds::from_iter([("at".to_owned(), FieldKind::Datetime)]);
    let collection = session.db.create(DATES, &Schema { fields, ..schema() }).unwrap();
    for (first, rows) in [(-20i64, 30), (7, 9)] {
        let numbers = first..first + rows as i64;
        let vector = |number: i64| [number.rem_euclid(5) as f32, 1.0, 0.5, -1.0];
        let metadata = |number: i64| match number.rem_euclid(4) {
            0 => None,
            1 => Some(r#"{"at":null}"#.to_owned()),
            2 => Some(format!(r#"{{"at":"{}-06-30"}}"#, 1970 + number)),
            _ => Some(format!(r#"{{"at":["{}-06-30T01:00:00+01:00"]}}"#, 1970 + number)),
        };
        let draft = Draft {
            ids: Some(numbers.clone().map(PointId::from).collect()),
            rows,
            vectors: BTreeMap::from([(
                String::new(),
                Cow::Owned(numbers.clone().flat_map(vector).collect()),
            )]),
            metadata: numbers.map(|number| metadata(number).map(Cow::Owned)).collect(),
            ..Draft::default()
        };
        let batch = Batch::new(draft, &collection.view().schema).unwrap();
        collection.apply(batch, &Pool::SERIAL).unwrap();
        if first < 0 {
            collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
        }
    }
    let (db, target) = (&session.db, storage(&disk));
    db.export(&*target, "exports/both.near", &[], &Pool::SERIAL, &never_cancelled).unwrap();
    tree(&disk, "").unwrap()
}

fn write_fixture(version: &str) {
    let files = with_dates(Fixture::build().unwrap().files);
    let db = open_database(&files, Mode::Read).unwrap();
    let expected = content(&db.collection(NAME).unwrap().view());
    let dates = dates(&db.collection(DATES).unwrap().view());
    for (name, bytes) in &files {
        let name = match name.strip_prefix("exports/") {
            Some(_) => "export.near".to_owned(),
            None if name.starts_with("snapshots/") => continue,
            None if bytes.is_empty() => continue,
            None => format!("store/{name}"),
        };
        let path = root(version).join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, bytes).unwrap();
    }
    for (name, content) in [("expected.json", expected), ("dates.json", dates)] {
        let text = serde_json::to_string_pretty(&content).unwrap() + "\n";
        std::fs::write(root(version).join(name), text).unwrap();
    }
}

/// The content of the second collection, and how many rows some filters on its dates keep.
fn dates(view: &View) -> Value {
    let questions = [
        json!({"at": "1972-06-30T02:00:00+02:00"}),
        json!({"at": {"lt": "1970-01-01"}}),
        json!({"at": {"gte": "1960-06-30T02:00:00+02:00"}}),
        json!({"at": null}),
        json!({"at": {"exists": false}}),
    ];
    let count = |question| {
        let filter = Filter::from_json(&question).unwrap();
        let count = view.count(Some(&filter), &never_cancelled).unwrap();
        json!([question, count])
    };
    json!({"content": content(view), "counts": questions.map(count)})
}

fn expected(version: &str) -> Value {
    let path = root(version).join("expected.json");
    if !path.exists() && std::env::var("NEARFIELD_FIXTURE").is_ok_and(|value| value == version) {
        write_fixture(version);
    }
    serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap()
}

#[test]
fn a_store_of_each_version_opens_with_the_right_answers() {
    for version in VERSIONS {
        let expected = expected(version);
        let files = read_directory(&root(version).join("store")).unwrap();
        let report = verify(&memory(&files), None, &|| true).unwrap();
        assert!(report.is_clean() && report.log_batches > 0, "{version}: {report:?}");
        for mode in [Mode::Read, Mode::Write] {
            let db = open_database(&files, mode).unwrap();
            let view = db.collection(NAME).unwrap().view();
            let dead: u32 = view.segments.iter().map(|live| live.dead.count()).sum();
            assert!(view.segments.len() > 2 && dead > 0, "files, memory and deleted rows");
            assert_eq!(content(&view), expected, "{version} {mode:?}");
        }
    }
}

/// Stores and exports of earlier versions have no record of them: their segments say it.
#[test]
fn the_fields_of_each_version_are_known_and_recorded_from_version_4_on() {
    let [known, unknown] = [json!({"n": {"gte": 0}}), json!({"zzz": 1})]
        .map(|filter| Filter::from_json(&filter).unwrap());
    for version in VERSIONS {
        expected(version);
        let files = read_directory(&root(version).join("store")).unwrap();
        let mut manifests = files.iter().filter(|(name, _)| name.contains("/manifest-"));
        let newest = String::from_utf8_lossy(manifests.next_back().unwrap().1);
        let recorded = ["v4", "v5"].contains(&version);
        assert_eq!(newest.contains("\"fields\""), recorded, "{version}: {newest}");
        let view = open_database(&files, Mode::Read).unwrap().collection(NAME).unwrap().view();
        assert!(view.count(Some(&known), &never_cancelled).unwrap() > 0, "{version}");
        assert!(view.count(Some(&unknown), &never_cancelled).is_err(), "{version}");

        let bytes = std::fs::read(root(version).join("export.near")).unwrap();
        let bytes = AlignedBuffer::copy_of(&bytes).into();
        let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("export.near", bytes));
        let export = Export::open("export.near", &blob, Residence::OnDemand).unwrap();
        let collection = export.collection(NAME).unwrap();
        let counted = collection.count(Some(&known), &never_cancelled).unwrap();
        assert_eq!(counted, view.count(Some(&known), &never_cancelled).unwrap(), "{version}");
        assert!(collection.count(Some(&unknown), &never_cancelled).is_err(), "{version}");
    }
}

#[test]
fn keys_are_known_from_version_2_on_and_a_store_of_version_1_has_none() {
    for version in VERSIONS {
        let files = read_directory(&root(version).join("store")).unwrap();
        let db = open_database(&files, Mode::Write).unwrap();
        assert_eq!(knows_keys(&db).unwrap(), version != "v1", "{version}");
    }
}

#[test]
fn an_export_of_each_version_opens_with_the_right_answers() {
    for version in VERSIONS {
        let expected = expected(version);
        let bytes = std::fs::read(root(version).join("export.near")).unwrap();
        let bytes = AlignedBuffer::copy_of(&bytes).into();
        let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("export.near", bytes));
        let clock = Arc::new(ManualClock::default());
        let db = Database::from_export("export.near", &blob, small_options(), clock).unwrap();
        assert_eq!(content(&db.collection(NAME).unwrap().view()), expected, "{version}");
    }
}

/// Exports without cells are read in part too: by their vectors.
#[test]
fn an_export_of_each_version_gives_the_right_answer_in_part() {
    for version in VERSIONS {
        let expected = expected(version);
        let bytes = std::fs::read(root(version).join("export.near")).unwrap();
        let bytes = AlignedBuffer::copy_of(&bytes).into();
        let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("export.near", bytes));
        let export = Export::open("export.near", &blob, Residence::OnDemand).unwrap();
        let collection = export.collection(NAME).unwrap();
        assert_eq!(collection.has_lists(), ["v3", "v4", "v5"].contains(&version), "{version}");
        let params = SearchParams { field: "", k: 10, ef: None, exact: false, filter: None };
        let lists = ListParams { rerank: 1_000, ..ListParams::default() };
        let prepared = collection.prepare(params, Kernel::detect()).unwrap();
        let prepared = prepared.with_lists(lists).unwrap();
        let (hits, _) =
            prepared.search(&[0.25; DIM], &mut Scratch::default(), &never_cancelled).unwrap();
        let hit = |hit: &Hit| format!("{:?} {:08x}", hit.id, hit.distance.to_bits());
        let answer: Vec<String> = hits.iter().map(hit).collect();
        assert_eq!(json!(answer), expected["answer"], "{version}");
    }
}

/// The versions of the files of a collection, and their levels, oldest first.
fn formats(view: &View) -> Vec<(u32, u8)> {
    let files = view.segments.iter().filter_map(|live| Some((live, live.file.as_ref()?)));
    files.map(|(live, entry)| (live.segment.front().version, entry.level)).collect()
}

fn merge(collection: &Collection, scope: MergeScope) -> Result<bool> {
    let mut carry = |task: Task| task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()));
    collection.merge_by(scope, &mut carry)
}

/// One file of an older format after the other is written anew, or all become one; no answer changes.
#[test]
fn files_of_format_1_are_rewritten_with_the_same_answers() {
    for version in OLD {
        let expected = expected(version);
        let files = read_directory(&root(version).join("store")).unwrap();
        let db = open_database(&files, Mode::Write).unwrap();
        let collection = db.collection(NAME).unwrap();
        let mut before = formats(&collection.view());
        assert!(before.len() > 1 && before.iter().all(|(format, _)| *format == 1), "{before:?}");
        for done in 1..=before.len() {
            assert!(merge(&collection, MergeScope::Outdated).unwrap(), "{version}");
            let after = formats(&collection.view());
            assert_eq!(after.iter().filter(|(format, _)| *format == 2).count(), done, "{after:?}");
            assert_eq!(content(&collection.view()), expected, "{version}, {done} files");
            let target = MemoryStorage::default();
            db.export(&target, "both", &[], &Pool::SERIAL, &never_cancelled).unwrap();
            let blob = target.open("both").unwrap();
            let export = Export::open("both", &blob, Residence::OnDemand).unwrap();
            assert_eq!(content(export.collection(NAME).unwrap()), expected, "{version}, {done}");
        }
        before.sort_unstable_by_key(|(_, level)| *level);
        let mut after = formats(&collection.view());
        after.sort_unstable_by_key(|(_, level)| *level);
        assert!(before.iter().map(|(_, level)| level).eq(after.iter().map(|(_, level)| level)));
        assert!(!merge(&collection, MergeScope::Outdated).unwrap(), "{version}: nothing is left");

        let db = open_database(&files, Mode::Write).unwrap();
        let collection = db.collection(NAME).unwrap();
        collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
        assert_eq!(formats(&collection.view()), [(2, 1)], "{version}");
        assert_eq!(content(&collection.view()), expected, "{version}, compacted");
    }
}

/// Power is cut at each operation of a migration: the store opens with everything in it, and the next one goes on.
#[test]
fn a_migration_that_is_cut_short_loses_nothing_and_goes_on() {
    for version in ["v1", "v4"] {
        let expected = expected(version);
        let files = read_directory(&root(version).join("store")).unwrap();
        let migrate = |disk: &SimDisk, seed| -> Result<Value> {
            let session = open(storage(disk), 1_000_000, seed)?;
            let collection = session.db.collection(NAME)?;
            while collection.view().segments.iter().any(|live| live.segment.front().is_outdated()) {
                merge(&collection, MergeScope::Outdated)?;
            }
            Ok(content(&collection.view()))
        };
        let whole = disk_with(&files);
        let first = whole.op_count();
        assert_eq!(migrate(&whole, 77).unwrap(), expected);
        for op in first..whole.op_count() {
            let disk = disk_with(&files);
            disk.fail_at(op, Failure::Crash);
            let _cut_short = migrate(&disk, 77);
            let after = disk.restart(op);
            let context = || format!("{version}, operation {op}\n{}", describe(&disk));
            let session = open(storage(&after), 1_000_000, 78).unwrap();
            let view = session.db.collection(NAME).unwrap().view();
            assert_eq!(content(&view), expected, "{}", context());
            drop(session);
            assert_eq!(migrate(&after, 79).unwrap(), expected, "{}", context());
        }
    }
}

/// Dates of a declared field, negative ids, and a graph most of whose rows are duplicates.
#[test]
fn what_format_2_brought_opens_with_the_right_answers() {
    expected("v5");
    let text = std::fs::read_to_string(root("v5").join("dates.json")).unwrap();
    let expected: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(expected["content"]["points"].as_object().unwrap().len(), 36);
    let counts = expected["counts"].as_array().unwrap().iter().map(|count| &count[1]);
    assert!(counts.eq([1, 10, 14, 9, 9].iter()), "{}", expected["counts"]);
    let files = read_directory(&root("v5").join("store")).unwrap();
    for mode in [Mode::Read, Mode::Write] {
        let view = open_database(&files, mode).unwrap().collection(DATES).unwrap().view();
        assert_eq!(dates(&view), expected, "{mode:?}");
        assert!(view.segments[0].segment.section_bytes(SectionKind::Graph) > 0);
    }
    let bytes = std::fs::read(root("v5").join("export.near")).unwrap();
    for residence in [Residence::InPlace, Residence::OnDemand] {
        let bytes = AlignedBuffer::copy_of(&bytes).into();
        let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("export.near", bytes));
        let export = Export::open("export.near", &blob, residence).unwrap();
        assert_eq!(dates(export.collection(DATES).unwrap()), expected, "{residence:?}");
    }
}

/// As an earlier build refuses the files of this one.
#[test]
fn files_of_a_later_format_are_refused_in_words() {
    let mut segment = read_directory(&root("v4").join("store")).unwrap();
    segment.retain(|name, _| name.ends_with(".seg"));
    let mut bytes = segment.pop_first().unwrap().1;
    bytes[8] = 3;
    let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("s", AlignedBuffer::copy_of(&bytes).into()));
    let error = Segment::open("s", blob, Residence::InPlace).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert_eq!(error.message(), "s: segment format 3; this build reads 1 to 2");
    let mut bytes = std::fs::read(root("v4").join("export.near")).unwrap();
    bytes[8] = 3;
    let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new("e", AlignedBuffer::copy_of(&bytes).into()));
    let error = Export::open("e", &blob, Residence::InPlace).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Version);
    assert_eq!(error.message(), "e: export format 3; this build reads 1 to 2");
}

fn disk_with(files: &Files) -> SimDisk {
    let disk = SimDisk::new(1);
    let storage = storage(&disk);
    for (name, bytes) in files {
        storage.put_new(name, bytes).unwrap();
    }
    disk
}
