//! Equal rows, rows too short for 32-bit floats, and scores out of range: what is found, and what is refused.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{
    Applied, Collection, Columns, Database, ErrorKind, Export, Fault, ManualClock, Options,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{Hit, ListParams, SearchParams};
use nearfield_segment::storage::{MemoryStorage, Storage};
use nearfield_segment::{Encoding, Kernel, Metric, PointId, Pool, Result, Rng, Schema};
use serde_json::{Value, json};

const K: usize = 10;

fn database() -> Database {
    Database::in_memory(Options::default(), Arc::new(ManualClock::new(1)), 7).unwrap()
}

fn collection(dim: usize, metric: Metric, store: Encoding) -> (Database, Arc<Collection>) {
    let database = database();
    let schema = Schema::dense(dim, metric, store).unwrap();
    let collection = database.create("c", &schema).unwrap();
    (database, collection)
}

fn upsert(collection: &Collection, rows: &[Vec<f32>], metadata: &[Value]) -> Result<Applied> {
    let draft = Draft {
        rows: rows.len(),
        ids: Some((0..rows.len() as u64).map(PointId::U64).collect()),
        vectors: BTreeMap::from([(String::new(), Cow::Owned(rows.concat()))]),
        metadata: metadata.iter().map(|value| Some(value.to_string().into())).collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &collection.view().schema)?;
    collection.apply(batch, &Pool::SERIAL)
}

fn compact(collection: &Collection) {
    collection.compact(&Pool::new(2), &mut |_| ControlFlow::Continue(())).unwrap();
}

fn search(
    collection: &Collection,
    query: &[f32],
    filter: Option<&Filter>,
    exact: bool,
) -> Result<Vec<Hit>> {
    let view = collection.view();
    let params = SearchParams { field: "", k: K, ef: None, exact, filter };
    let prepared = view.prepare(params, Kernel::detect())?;
    if !exact && filter.is_none() {
        let plans = serde_json::to_string(&prepared.plans().collect::<Vec<_>>()).unwrap();
        assert!(plans.contains("graph"), "no graph is searched: {plans}");
    }
    Ok(view.search_many(&prepared, query, &Pool::SERIAL, &never_cancelled)?.remove(0).0)
}

fn gauss(rng: &mut Rng) -> f32 {
    (0..6).map(|_| rng.unit_f32()).sum::<f32>() - 3.0
}

/// Rows that codes of half a byte an element cannot tell apart get none, and are found by their originals.
mod codes {
    use nearfield_segment::format::SectionKind;

    use super::*;

    const ROWS: usize = 6_000;
    const DIM: usize = 96;

    fn random(rng: &mut Rng, scale: f32) -> Vec<f32> {
        (0..DIM).map(|_| scale * gauss(rng)).collect()
    }

    /// Rows around centres, and bytes of codes that a segment of them has; the answers are right either way.
    fn code_bytes(centres: usize, spread: f32, last: Option<f32>) -> u64 {
        let mut rng = Rng::new(31);
        let centres: Vec<Vec<f32>> = (0..centres).map(|_| random(&mut rng, 1.0)).collect();
        let mut around = |row: usize| -> Vec<f32> {
            let centre = centres[row % centres.len()].iter();
            centre.map(|x| x + spread * gauss(&mut rng)).collect()
        };
        let mut rows: Vec<Vec<f32>> = (0..ROWS).map(&mut around).collect();
        let queries: Vec<Vec<f32>> = (0..40).map(&mut around).collect();
        if let (Some(length), Some(row)) = (last, rows.last_mut()) {
            row.iter_mut().for_each(|x| *x *= length);
        }
        let (_database, collection) = collection(DIM, Metric::L2, Encoding::F32);
        upsert(&collection, &rows, &vec![json!({}); ROWS]).unwrap();
        compact(&collection);
        let mut found = 0;
        for query in &queries {
            let exact = search(&collection, query, None, true).unwrap();
            let hits = search(&collection, query, None, false).unwrap();
            found += hits.iter().filter(|hit| exact.contains(hit)).count();
        }
        assert!(found * 100 >= queries.len() * K * 98, "{found} of {}", queries.len() * K);
        let view = collection.view();
        view.segments.iter().map(|live| live.segment.section_bytes(SectionKind::Codes)).sum()
    }

    #[test]
    fn rows_that_are_alike_in_size_and_distance_have_codes() {
        assert!(code_bytes(300, 0.4, None) >= (ROWS * 64) as u64);
    }

    #[test]
    fn rows_beside_one_that_is_far_longer_have_none() {
        assert_eq!(code_bytes(300, 0.4, Some(1e8)), 0);
    }

    #[test]
    fn groups_that_are_far_narrower_than_their_distances_have_none() {
        assert_eq!(code_bytes(60, 1e-4, None), 0);
    }
}

mod equal {
    use super::*;

    const ROWS: usize = 20_000;
    const CENTRES: usize = 40;

    /// What the copies are.
    #[derive(Debug, Clone, Copy)]
    enum Copies {
        /// One vector, again and again.
        One,
        /// One direction, with different lengths.
        Scaled,
        /// One vector, but for less than a millionth of its length.
        Near,
        /// Groups of so many equal vectors.
        Groups(usize),
    }

    /// Rows around centres, some of which are copies, shuffled; and queries at copies, near them, and around the centres.
    struct Data {
        rows: Vec<Vec<f32>>,
        is_copy: Vec<bool>,
        tolerance: f32,
        queries: [(&'static str, Vec<Vec<f32>>); 3],
    }

    fn data(copies: Copies, copy_count: usize) -> Data {
        let mut rng = Rng::new(5);
        let mut point = || (0..copies.dim()).map(|_| gauss(&mut rng)).collect::<Vec<f32>>();
        let original = point();
        let centres: Vec<Vec<f32>> = (0..CENTRES).map(|_| point()).collect();
        let around = |rng: &mut Rng, point: &[f32], spread: f32| -> Vec<f32> {
            point.iter().map(|x| x + spread * gauss(rng)).collect()
        };
        let mut rng = Rng::new(6);
        let mut rows: Vec<(Vec<f32>, bool)> = Vec::new();
        for row in 0..ROWS {
            let centre = &centres[row % CENTRES];
            let vector = match copies {
                _ if row >= copy_count => around(&mut rng, centre, 0.3),
                Copies::One => original.clone(),
                Copies::Scaled => {
                    let scale = 0.1 + 3.0 * rng.unit_f32();
                    original.iter().map(|x| x * scale).collect()
                }
                Copies::Near => around(&mut rng, &original, 1e-6),
                Copies::Groups(len) if row % len > 0 => rows[row - 1].0.clone(),
                Copies::Groups(len) => around(&mut rng, &centres[row / len % CENTRES], 0.3),
            };
            rows.push((vector, row < copy_count));
        }
        for end in (1..ROWS).rev() {
            rows.swap(end, rng.below(end as u64 + 1) as usize);
        }
        let elsewhere = (0..100).map(|n| around(&mut rng, &centres[n % CENTRES], 0.3)).collect();
        let at: Vec<Vec<f32>> =
            rows.iter().filter(|row| row.1).take(30).map(|row| row.0.clone()).collect();
        let near = at.iter().map(|point| around(&mut rng, point, 0.1)).collect();
        let (rows, is_copy) = rows.into_iter().unzip();
        let queries = [("elsewhere", elsewhere), ("at", at), ("near", near)];
        Data { rows, is_copy, tolerance: copies.tolerance(), queries }
    }

    fn stored(data: &Data, metric: Metric) -> (Database, Arc<Collection>) {
        let dim = data.rows[0].len();
        let (database, collection) = collection(dim, metric, Encoding::F32);
        let copies = data.is_copy.iter().enumerate();
        let metadata: Vec<Value> =
            copies.map(|(row, copy)| json!({"n": row * 37 % 100, "copy": copy})).collect();
        upsert(&collection, &data.rows, &metadata).unwrap();
        compact(&collection);
        (database, collection)
    }

    impl Copies {
        /// So many that the graph is walked by codes; for rows that are almost equal fewer, because with more the graph
        /// itself finds less than is wanted here, whatever it is walked by.
        fn dim(self) -> usize {
            match self {
                Copies::One | Copies::Scaled | Copies::Groups(_) => 64,
                Copies::Near => 32,
            }
        }

        /// Distances that differ by no more, relative to their size, are the same: directions differ by rounding,
        /// rows that are almost equal by a little more.
        fn tolerance(self) -> f32 {
            match self {
                Copies::One | Copies::Scaled | Copies::Groups(_) => 1e-6,
                Copies::Near => 1e-4,
            }
        }
    }

    /// The share of hits that are no farther than the farthest true one, for each kind of query: printed with
    /// `--nocapture`.
    fn check(name: &str, collection: &Collection, data: &Data, filter: Option<&Filter>) {
        let metric = collection.view().schema.default_field().unwrap().metric;
        for (kind, queries) in &data.queries {
            let (mut found, mut expected) = (0, 0);
            for query in queries {
                let exact = search(collection, query, filter, true).unwrap();
                let hits = search(collection, query, filter, false).unwrap();
                assert_eq!(hits.len(), exact.len());
                let Some(farthest) = exact.last().map(|hit| hit.distance) else { continue };
                let size = if metric == Metric::Cosine { 1.0 } else { farthest.abs() };
                let limit = farthest + data.tolerance * size;
                found += hits.iter().filter(|hit| hit.distance <= limit).count();
                expected += exact.len();
            }
            if expected == 0 {
                continue;
            }
            let recall = found as f64 / f64::from(expected as u32);
            eprintln!("{name}, {metric:?}, {kind}: {recall:.4}");
            assert!(recall >= 0.99, "{name}, {metric:?}, {kind}: {recall}");
        }
    }

    fn filter(json: &Value) -> Filter {
        Filter::from_json(json).unwrap()
    }

    fn check_with_filters(name: &str, collection: &Collection, data: &Data) {
        check(name, collection, data, None);
        for json in [
            json!({"n": {"lt": 50}}),
            json!({"copy": false}),
            json!({"or": [{"copy": false}, {"n": {"lt": 10}}]}),
        ] {
            check(&format!("{name}, {json}"), collection, data, Some(&filter(&json)));
        }
    }

    fn check_share(copies: Copies, percent: usize) {
        let data = data(copies, ROWS * percent / 100);
        for metric in Metric::ALL {
            let (_database, collection) = stored(&data, metric);
            check_with_filters(&format!("{copies:?}, {percent} %"), &collection, &data);
        }
    }

    #[test]
    fn half_of_the_rows() {
        check_share(Copies::One, 50);
    }

    #[test]
    fn nine_of_ten_rows() {
        check_share(Copies::One, 90);
    }

    #[test]
    fn ninety_nine_of_a_hundred_rows() {
        check_share(Copies::One, 99);
    }

    #[test]
    fn equal_but_for_their_length() {
        let data = data(Copies::Scaled, ROWS * 9 / 10);
        let (_database, collection) = stored(&data, Metric::Cosine);
        check_with_filters("scaled", &collection, &data);
    }

    #[test]
    fn many_groups() {
        check_share(Copies::Groups(100), 90);
        check_share(Copies::Groups(1000), 90);
    }

    #[test]
    fn almost_equal() {
        let data = data(Copies::Near, ROWS * 9 / 10);
        for metric in Metric::ALL {
            let (_database, collection) = stored(&data, metric);
            check_with_filters("almost equal", &collection, &data);
        }
    }

    /// Deleted copies, the first of them among them, neither hide other rows nor each other.
    #[test]
    fn deleted() {
        let data = data(Copies::One, ROWS / 2);
        for metric in Metric::ALL {
            let (_database, collection) = stored(&data, metric);
            for json in [json!({"copy": true, "n": {"lt": 95}}), json!({"copy": true})] {
                assert!(collection.delete_where(&filter(&json)).unwrap().deleted >= 400);
                check(&format!("deleted {json}"), &collection, &data, None);
            }
        }
    }
}

mod tiny {
    use super::*;

    const DIM: usize = 8;

    fn scaled(seed: u64, count: usize, scale: f32) -> Vec<Vec<f32>> {
        let mut rng = Rng::new(seed);
        (0..count).map(|_| (0..DIM).map(|_| scale * gauss(&mut rng)).collect()).collect()
    }

    fn true_distance(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
        let pairs = || a.iter().zip(b).map(|(x, y)| (f64::from(*x), f64::from(*y)));
        let norm = |v: &[f32]| v.iter().map(|x| f64::from(*x).powi(2)).sum::<f64>().sqrt();
        let product: f64 = pairs().map(|(x, y)| x * y).sum();
        match metric {
            Metric::Dot => -product,
            Metric::Cosine => -product / (norm(a) * norm(b)),
            Metric::L2 => pairs().map(|(x, y)| (x - y).powi(2)).sum(),
        }
    }

    /// Rows and query of one scale: the true nearest are found, or row and query are refused.
    #[test]
    fn every_scale_is_answered_rightly_or_refused_by_name() {
        let refused = Some(ErrorKind::InvalidInput(Fault::NonFinite));
        for metric in Metric::ALL {
            for store in [Encoding::F32, Encoding::F16] {
                let mut kept = 0;
                for scale in
                    [1e3, 1.0, 1e-3, 1e-6, 1e-9, 1e-17, 1e-20, 1e-22, 1e-25, 1e-30, 1e-38, 1e-44]
                {
                    let (rows, query) = (scaled(1, 100, scale), scaled(2, 1, scale).remove(0));
                    let (_database, collection) = collection(DIM, metric, store);
                    let name = format!("{metric:?} {store:?} {scale:e}");
                    if let Err(error) = upsert(&collection, &rows, &[]) {
                        assert_eq!(Some(error.kind()), refused, "{name}");
                        assert!(error.message().contains("row "), "{name}: {error}");
                        upsert(&collection, &scaled(1, 100, 1.0), &[]).unwrap();
                        let answer = search(&collection, &query, None, true);
                        assert_eq!(answer.err().map(|error| error.kind()), refused, "{name}");
                        continue;
                    }
                    kept += 1;
                    let stored = |hit: &Hit| {
                        let columns = Columns { vectors: &[""], metadata: false };
                        let view = collection.view();
                        view.get(std::slice::from_ref(&hit.id), columns)
                            .unwrap()
                            .0
                            .vectors
                            .remove(0)
                    };
                    let hits = search(&collection, &query, None, true).unwrap();
                    let mut truth: Vec<f64> = collection_rows(&collection, rows.len())
                        .iter()
                        .map(|row| true_distance(metric, &query, row))
                        .collect();
                    truth.sort_by(f64::total_cmp);
                    for (hit, expected) in hits.iter().zip(&truth) {
                        let found = true_distance(metric, &query, &stored(hit));
                        let wrong = (found - expected).abs() / expected.abs();
                        assert!(wrong < 1e-3, "{name}: {found:e} for {expected:e}");
                    }
                }
                assert!(kept >= 3, "{metric:?} {store:?}: {kept} scales");
            }
        }
    }

    fn collection_rows(collection: &Collection, count: usize) -> Vec<Vec<f32>> {
        let view = collection.view();
        let ids: Vec<PointId> = (0..count as u64).map(PointId::U64).collect();
        let columns = Columns { vectors: &[""], metadata: false };
        let (found, missing) = view.get(&ids, columns).unwrap();
        assert!(missing.is_empty(), "{missing:?}");
        found.vectors[0].chunks(DIM).map(<[f32]>::to_vec).collect()
    }
}

mod scores {
    use super::*;

    const DIM: usize = 12;

    fn rows(count: usize) -> Vec<Vec<f32>> {
        let mut rng = Rng::new(3);
        (0..count).map(|_| (0..DIM).map(|_| gauss(&mut rng)).collect()).collect()
    }

    fn exported(database: &Database) -> Export {
        let storage = MemoryStorage::default();
        database.export(&storage, "c.near", &[], &Pool::SERIAL, &never_cancelled).unwrap();
        Export::open("c.near", &storage.open("c.near").unwrap(), Residence::OnDemand).unwrap()
    }

    /// A search of inverted lists.
    fn search_part(export: &Export, vector: &[f32], rerank: usize) -> Result<Vec<Hit>> {
        let view = export.collection("c")?;
        let params = SearchParams { field: "", k: K, ef: None, exact: false, filter: None };
        let lists = ListParams { rerank, ..ListParams::default() };
        let prepared = view.prepare(params, Kernel::detect())?.with_lists(lists)?;
        Ok(view.search_many(&prepared, vector, &Pool::SERIAL, &never_cancelled)?.remove(0).0)
    }

    #[test]
    fn a_cosine_from_codes_is_at_most_1() {
        let (database, collection) = collection(DIM, Metric::Cosine, Encoding::F32);
        let rows = rows(4000);
        upsert(&collection, &rows, &[]).unwrap();
        compact(&collection);
        let export = exported(&database);
        for (row, vector) in rows.iter().enumerate().take(200) {
            for vector in [vector.clone(), vector.iter().map(|x| -x).collect()] {
                let hits = search_part(&export, &vector, 0).unwrap();
                let scores: Vec<f32> =
                    hits.iter().map(|hit| Metric::Cosine.score(hit.distance)).collect();
                assert!(scores.iter().all(|score| score.abs() <= 1.0), "row {row}: {scores:?}");
                assert!(hits.is_sorted_by(|a, b| (a.distance, &a.id) <= (b.distance, &b.id)));
            }
        }
    }

    /// Zeros have no direction: every way to search by cosine refuses them, and none chooses rows by chance.
    #[test]
    fn zeros_are_no_query_for_cosine() {
        let refused = Some(ErrorKind::InvalidInput(Fault::NonFinite));
        for metric in Metric::ALL {
            let (database, collection) = collection(DIM, metric, Encoding::F32);
            let mut rows = rows(6000);
            rows[7].fill(0.0);
            upsert(&collection, &rows, &[]).unwrap();
            compact(&collection);
            let export = exported(&database);
            let expected = if metric == Metric::Cosine { refused } else { None };
            let zeros = [0.0; DIM];
            for exact in [true, false] {
                let found = search(&collection, &zeros, None, exact).err().map(|e| e.kind());
                assert_eq!(found, expected, "{metric:?} exact {exact}");
            }
            for rerank in [0, 30] {
                let found = search_part(&export, &zeros, rerank).err().map(|e| e.kind());
                assert_eq!(found, expected, "{metric:?} over ranges, rerank {rerank}");
            }
            // A stored row of zeros is an ordinary row.
            assert!(search(&collection, &rows[3], None, true).is_ok());
            assert!(collection.view().find(&PointId::U64(7)).unwrap().is_some());
        }
    }
}
