//! Files of earlier versions open with the right answers, for ever.
//!
//! Each directory of `tests/fixtures/` holds a store, an export and what is in them. `v1` is version 1 of
//! everything; `v2` has a manifest of version 2, which names a file of idempotency keys; the export of `v3`
//! has cells; manifest and export of `v4` record the known fields. They were made by
//! `NEARFIELD_FIXTURE=<directory> cargo test -p nearfield-tests --test compat` and are never made again: a
//! new version of the format gets a directory of its own.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::{Database, Export, ManualClock, Mode, View, verify};
use nearfield_segment::Kernel;
use nearfield_segment::Pool;
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{Hit, ListParams, SearchParams};
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob};
use nearfield_segment::vector::graph::Scratch;
use nearfield_tests::fixture::{Fixture, NAME, knows_keys, open_database, read_directory};
use nearfield_tests::sim::{DIM, memory, small_options};
use serde_json::{Value, json};

const VERSIONS: [&str; 4] = ["v1", "v2", "v3", "v4"];

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

fn write_fixture(version: &str) {
    let fixture = Fixture::build().unwrap();
    let db = open_database(&fixture.files, Mode::Read).unwrap();
    let expected = content(&db.collection(NAME).unwrap().view());
    for (name, bytes) in &fixture.files {
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
    let text = serde_json::to_string_pretty(&expected).unwrap() + "\n";
    std::fs::write(root(version).join("expected.json"), text).unwrap();
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
        assert_eq!(newest.contains("\"fields\""), version == "v4", "{version}: {newest}");
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
        assert_eq!(collection.has_lists(), ["v3", "v4"].contains(&version), "{version}");
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
