//! Recall on generated clusters: a floor for every metric and encoding, at the default effort.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Database, ManualClock, Options, View, recall};
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{AccessPath, SearchParams};
use nearfield_segment::{Encoding, Kernel, Metric, Pool, Schema};
use nearfield_tests::data::{Oddity, vectors};
use serde_json::json;

const DIM: usize = 32;
const ROWS: usize = 5000;
const QUERIES: usize = 200;

/// Points and, from the same clusters, queries that are no points.
fn data(oddity: Oddity) -> (Vec<f32>, Vec<f32>) {
    let mut points = vectors(17, ROWS + QUERIES, DIM, oddity);
    let queries = points.split_off(ROWS * DIM);
    (points, queries)
}

fn compacted(metric: Metric, store: Encoding, points: &[f32]) -> Arc<View> {
    let clock = Arc::new(ManualClock::new(1));
    let db = Database::in_memory(Options::default(), clock, 1).unwrap();
    let collection = db.create("c", &Schema::dense(DIM, metric, store).unwrap()).unwrap();
    let metadata = (0..ROWS).map(|row| Some(format!("{{\"n\":{}}}", row * 37 % 100).into()));
    let draft = Draft {
        rows: ROWS,
        vectors: BTreeMap::from([(String::new(), Cow::Borrowed(points))]),
        metadata: metadata.collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &collection.view().schema).unwrap();
    collection.apply(batch, &Pool::SERIAL).unwrap();
    collection.compact(&Pool::new(2), &mut |_| ControlFlow::Continue(())).unwrap();
    collection.view()
}

fn measured(view: &View, filter: Option<&Filter>, queries: &[f32]) -> f64 {
    let params = SearchParams { field: "", k: 10, ef: None, exact: false, filter };
    let prepared = view.prepare(params, Kernel::detect()).unwrap();
    let in_graph = prepared.plans().all(|plan| matches!(plan.path, AccessPath::Graph { .. }));
    assert!(in_graph, "nothing is measured by a scan");
    let report =
        recall::measure(view, params, queries, Kernel::detect(), &Pool::SERIAL, &|| true).unwrap();
    assert_eq!(report.queries, QUERIES);
    report.recall
}

#[test]
fn the_default_effort_finds_19_of_20_in_every_metric_and_encoding() {
    for oddity in [Oddity::None, Oddity::Duplicates] {
        let (points, queries) = data(oddity);
        for metric in Metric::ALL {
            for store in [Encoding::F32, Encoding::F16] {
                let view = compacted(metric, store, &points);
                let all = measured(&view, None, &queries);
                let filter = Filter::from_json(&json!({"n": {"lt": 80}})).unwrap();
                let some = measured(&view, Some(&filter), &queries);
                println!("{} {store:?} {oddity:?}: {all:.4}, filtered {some:.4}", metric.name());
                assert!(all >= 0.95 && some >= 0.95, "{all} and filtered {some}");
            }
        }
    }
}
