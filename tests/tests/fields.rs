//! A collection without an unnamed vector field: each field is searched by itself, also in an export.
//!
//! Answers are those of a full scan by the rule. The export and the answers are left below `target/tmp/fields`, for
//! the tests of the browser package (`wasm/tests/fields.test.mjs`).

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Database, ErrorKind, Export, ManualClock, View};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::search::SearchParams;
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{
    Encoding, FieldKinds, Kernel, Metric, PointId, Pool, Rng, Schema, VectorSpec,
};
use nearfield_tests::rule::distance;
use nearfield_tests::sim::small_options;
use serde_json::{Value, json};

const ROWS: usize = 600;
const K: usize = 5;
const FILE: &str = "named.near";
const FIELDS: [(&str, VectorSpec); 2] = [
    ("image", VectorSpec { dim: 6, metric: Metric::L2, store: Encoding::F32 }),
    ("text", VectorSpec { dim: 4, metric: Metric::Cosine, store: Encoding::F32 }),
];

/// Vectors of a field, row-major.
fn vectors(rng: &mut Rng, rows: usize, spec: &VectorSpec) -> Vec<f32> {
    (0..rows * spec.dim as usize).map(|_| rng.unit_f32() * 2.0 - 1.0).collect()
}

fn database(rows: &[Vec<f32>; 2]) -> Database {
    let vectors = FIELDS.map(|(name, spec)| (name.to_owned(), spec));
    let schema = Schema { vectors: BTreeMap::from(vectors), fields: FieldKinds::NONE };
    let clock = Arc::new(ManualClock::new(1));
    let db = Database::in_memory(small_options(), clock, 1).unwrap();
    let collection = db.create("named", &schema).unwrap();
    let fields = FIELDS.iter().zip(rows);
    let draft = Draft {
        ids: Some((0..ROWS as u64).map(PointId::U64).collect()),
        rows: ROWS,
        vectors: fields
            .map(|((name, _), rows)| ((*name).to_owned(), Cow::Borrowed(&rows[..])))
            .collect(),
        metadata: (0..ROWS).map(|row| Some(format!("{{\"n\":{row}}}").into())).collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &schema).unwrap();
    collection.apply(batch, &Pool::SERIAL).unwrap();
    db
}

/// The nearest rows by the rule, as `id bits`.
fn by_the_rule(spec: &VectorSpec, rows: &[f32], query: &[f32]) -> Vec<String> {
    let all = rows.chunks_exact(spec.dim as usize).map(|row| distance(spec.metric, query, row));
    let mut all: Vec<(f32, usize)> = all.zip(0..).collect();
    all.sort_by(|a, b| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1)));
    all.iter().take(K).map(|(distance, id)| format!("{id} {:08x}", distance.to_bits())).collect()
}

fn found(view: &View, field: &str, query: &[f32]) -> nearfield_engine::Result<Vec<String>> {
    let params = SearchParams { field, k: K, ef: None, exact: true, filter: None };
    let prepared = view.prepare(params, Kernel::detect())?;
    let answers = view.search_many(&prepared, query, &Pool::SERIAL, &never_cancelled)?;
    let hits = answers[0].0.iter();
    Ok(hits.map(|hit| format!("{} {:08x}", hit.id, hit.distance.to_bits())).collect())
}

#[test]
fn each_named_field_is_searched_by_itself_also_in_an_export() {
    let mut rng = Rng::new(21);
    let rows = FIELDS.map(|(_, spec)| vectors(&mut rng, ROWS, &spec));
    let out = open_directory(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fields")).unwrap();
    let db = database(&rows);
    db.export(&out, FILE, &[], &Pool::SERIAL, &never_cancelled).unwrap();
    let export = Export::open(FILE, &out.open(FILE).unwrap(), Residence::InPlace).unwrap();
    let view = db.collection("named").unwrap().view();
    let mut expected = BTreeMap::<&str, Value>::new();
    for ((name, spec), rows) in FIELDS.iter().zip(&rows) {
        let query = vectors(&mut rng, 1, spec);
        let answer = by_the_rule(spec, rows, &query);
        assert_eq!(found(&view, name, &query).unwrap(), answer, "{name}");
        assert_eq!(
            found(&export.collections[0].1, name, &query).unwrap(),
            answer,
            "{name}, exported"
        );
        expected.insert(name, json!({ "query": query, "answer": answer }));
    }
    for field in ["", "sound"] {
        let error = found(&view, field, &[0.0; 4]).expect_err("there is none");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(error.message().contains("\"image\", \"text\""), "{error}");
    }
    let text = serde_json::to_string_pretty(&expected).unwrap();
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("fields/expected.json"), text)
        .unwrap();
}
