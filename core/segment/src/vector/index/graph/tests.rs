//! Graphs over awkward rows, against the exact scan; bytes for any threads and instructions; damage.

use super::*;
use crate::allowed::Allowed;
use crate::cancel::never_cancelled;
use crate::error::ErrorKind;
use crate::ids::RowId;
use crate::kernel::{InstructionSet, Kernel};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::rowset::RowSet;
use crate::schema::{Encoding, VectorSpec};
use crate::vector::codec::EncodedRows;
use crate::vector::index::{Candidate, SearchStats, flat};
use crate::vector::originals::{Geometry, Lift, OriginalCodec, RowScorer, VectorRows};

/// Rows with their sections, and a graph over them.
struct Fixture {
    count: u32,
    encoded: EncodedRows<OriginalCodec>,
}

impl Fixture {
    fn new(metric: Metric, store: Encoding, rows: &[Vec<f32>]) -> Self {
        let dim = rows.first().map_or(4, Vec::len) as u32;
        let spec = VectorSpec { dim, metric, store };
        let count = rows.len() as u32;
        let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(&spec), rows.len());
        rows.iter().for_each(|row| encoded.push(row).expect("small"));
        Fixture { count, encoded }
    }

    fn rows(&self) -> VectorRows<'_> {
        self.encoded.rows()
    }

    fn build(&self, kernel: Kernel, pool: &Pool, seed: u64) -> AlignedBuffer {
        self.build_on(None, kernel, pool, seed)
    }

    fn build_on(
        &self,
        base: Option<BaseGraph>,
        kernel: Kernel,
        pool: &Pool,
        seed: u64,
    ) -> AlignedBuffer {
        self.build_with(GraphParams::default(), base, kernel, pool, seed)
    }

    fn build_with(
        &self,
        params: GraphParams,
        base: Option<BaseGraph>,
        kernel: Kernel,
        pool: &Pool,
        seed: u64,
    ) -> AlignedBuffer {
        let rows = self.rows();
        let lift = Lift::new(&rows, pool);
        let space = Geometry::new(rows, kernel, &lift);
        let mut builder = GraphBuilder::new(&space, params, seed, base, pool);
        let mut before = builder.progress();
        while before.done < before.total {
            let now = builder.step(&space, pool);
            assert!(now.total == before.total && now.done >= before.done, "{now:?}");
            before = now;
        }
        builder.finish()
    }

    fn graph(&self) -> Graph {
        let bytes = self.build(Kernel::detect(), &Pool::new(2), 1);
        Graph::open(bytes.into(), self.count).expect("own bytes")
    }

    /// Share of the exact 10 nearest (counted by distance, so that ties are no misses).
    fn recall(&self, graph: &Graph, queries: &[Vec<f32>], allowed: Allowed<'_>) -> f64 {
        self.recall_at(100, graph, queries, allowed)
    }

    fn recall_at(
        &self,
        ef: usize,
        graph: &Graph,
        queries: &[Vec<f32>],
        allowed: Allowed<'_>,
    ) -> f64 {
        let (k, rows) = (10, self.rows());
        let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
        let (mut found, mut expected) = (0, 0);
        for query in queries {
            let scorer = RowScorer::new(rows, Kernel::detect(), query);
            let exact = flat::search(
                &scorer,
                self.count,
                allowed,
                flat::Wanted::nearest(k),
                |a, b| a.cmp(&b),
                &mut stats,
                &never_cancelled,
            )
            .expect("never cancelled");
            let close = graph
                .search(
                    &scorer,
                    allowed,
                    SearchBudget::unbounded(ef),
                    &mut scratch,
                    &mut stats,
                    &never_cancelled,
                )
                .expect("nothing is damaged")
                .expect("no bound");
            check_results(close, allowed, ef);
            let limit = exact.last().map_or(0, |candidate| candidate.distance_bits());
            found += close.iter().take(k).filter(|c| c.distance_bits() <= limit).count();
            expected += exact.len();
        }
        found as f64 / expected as f64
    }
}

fn check_results(results: &[Candidate], allowed: Allowed<'_>, ef: usize) {
    assert!(results.len() <= ef);
    assert!(results.is_sorted_by(|a, b| a < b), "in key order, each row once");
    assert!(results.iter().all(|c| allowed.contains(c.row())));
}

/// Points around some centres, `spread` wide; centres are far apart.
fn clustered(seed: u64, count: usize, dim: usize, centres: u64, spread: f32) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(seed);
    let centre = |centre: u64| -> Vec<f32> {
        let mut rng = Rng::new(1000 + centre);
        (0..dim).map(|_| rng.unit_f32() * 100.0).collect()
    };
    let centres: Vec<Vec<f32>> = (0..centres).map(centre).collect();
    (0..count)
        .map(|_| {
            let centre = &centres[rng.below(centres.len() as u64) as usize];
            centre.iter().map(|x| x + (rng.unit_f32() - 0.5) * spread).collect()
        })
        .collect()
}

/// Rows that a walk over all links meets.
fn reachable(graph: &Graph) -> usize {
    let adjacency = graph.adjacency();
    let mut seen = vec![false; adjacency.rows()];
    let mut stack: Vec<RowId> = graph.entries().iter().map(|&row| RowId(row)).collect();
    while let Some(row) = stack.pop() {
        if !std::mem::replace(&mut seen[row.index()], true) {
            stack.extend(adjacency.neighbours(row));
        }
    }
    seen.iter().filter(|&&seen| seen).count()
}

#[test]
fn the_true_neighbours_are_found_for_every_metric_and_encoding() {
    let rows = clustered(1, 3000, 24, 40, 60.0);
    let queries = clustered(2, 60, 24, 40, 60.0);
    for metric in Metric::ALL {
        for store in [Encoding::F32, Encoding::F16] {
            let fixture = Fixture::new(metric, store, &rows);
            let graph = fixture.graph();
            assert_eq!(reachable(&graph), 3000, "{metric:?} {store:?}");
            let recall = fixture.recall(&graph, &queries, Allowed::All);
            assert!(recall >= 0.97, "{metric:?} {store:?}: recall {recall}");
        }
    }
}

#[test]
fn filtered_searches_find_the_true_allowed_neighbours() {
    let fixture = Fixture::new(Metric::L2, Encoding::F32, &clustered(3, 3000, 16, 20, 50.0));
    let queries = clustered(4, 40, 16, 20, 50.0);
    let graph = fixture.graph();
    let mut rng = Rng::new(5);
    for percent in [60, 20, 5] {
        let mut allowed = RowSet::empty(3000);
        for row in (0..3000).filter(|_| rng.below(100) < percent) {
            allowed.insert(RowId(row));
        }
        let recall = fixture.recall(&graph, &queries, Allowed::Only(&allowed));
        assert!(recall >= 0.97, "{percent} %: recall {recall}");
    }
    let rows = fixture.rows();
    let scorer = RowScorer::new(rows, Kernel::detect(), &queries[0]);
    let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
    let none = RowSet::empty(3000);
    assert!(
        graph
            .search(
                &scorer,
                Allowed::Only(&none),
                SearchBudget::unbounded(10),
                &mut scratch,
                &mut stats,
                &never_cancelled
            )
            .expect("nothing is damaged")
            .expect("no bound")
            .is_empty()
    );
    let bounded = SearchBudget { ef: 10, k: 10, scored_max: 50 };
    assert!(
        graph
            .search(
                &scorer,
                Allowed::Only(&none),
                bounded,
                &mut scratch,
                &mut stats,
                &never_cancelled
            )
            .expect("nothing is damaged")
            .is_none()
    );
    let mut one = RowSet::empty(3000);
    one.insert(RowId(2999));
    let found = graph
        .search(
            &scorer,
            Allowed::Only(&one),
            SearchBudget::unbounded(10),
            &mut scratch,
            &mut stats,
            &never_cancelled,
        )
        .expect("nothing is damaged")
        .expect("no bound");
    assert_eq!(found.iter().map(|c| c.row()).collect::<Vec<_>>(), [RowId(2999)]);
}

#[test]
fn every_row_is_reachable_whatever_the_rows() {
    let mut rng = Rng::new(6);
    let mut integers = |count: usize, dim: usize, bound: u64| -> Vec<Vec<f32>> {
        (0..count).map(|_| (0..dim).map(|_| rng.below(bound) as f32).collect()).collect()
    };
    let mut heavy = integers(600, 3, 2);
    heavy.extend(clustered(7, 600, 3, 3, 0.1));
    let cases = [
        ("equal", vec![vec![1.0, 2.0, 3.0]; 5000]),
        ("zero", vec![vec![0.0; 8]; 700]),
        ("few values", integers(2000, 2, 3)),
        ("one dimension", integers(1500, 1, 1_000_000)),
        ("many ties", integers(2000, 8, 4)),
        ("far clusters", clustered(8, 2000, 8, 30, 1e-3)),
        ("two copies", [clustered(9, 500, 8, 500, 1.0), clustered(9, 500, 8, 500, 1.0)].concat()),
        ("heavy and light", heavy),
    ];
    for (name, rows) in &cases {
        for metric in Metric::ALL {
            let fixture = Fixture::new(metric, Encoding::F32, rows);
            let graph = fixture.graph();
            assert_eq!(reachable(&graph), rows.len(), "{name} {metric:?}");
            let queries: Vec<_> = rows.iter().step_by(rows.len() / 20).cloned().collect();
            let recall = fixture.recall(&graph, &queries, Allowed::All);
            assert!(recall >= 0.95, "{name} {metric:?}: recall {recall}");
        }
    }
}

/// Of 2,000 rows 1,500 are one vector, some of another length: a group of equal rows for cosine.
fn half_equal(metric: Metric) -> Fixture {
    let mut rows = clustered(17, 2000, 8, 10, 50.0);
    let copied = rows[0].clone();
    for (index, row) in rows.iter_mut().enumerate().filter(|(index, _)| index % 4 > 0) {
        let scale = if metric == Metric::Cosine { 0.3 + index as f32 / 99.0 } else { 1.0 };
        row.iter_mut().zip(&copied).for_each(|(place, value)| *place = value * scale);
    }
    Fixture::new(metric, Encoding::F32, &rows)
}

#[test]
fn equal_rows_are_one_node() {
    for metric in Metric::ALL {
        let fixture = half_equal(metric);
        let graph = fixture.graph();
        let duplicates = graph.duplicates.rows().len();
        assert!((1495..=1500).contains(&duplicates), "{metric:?}: {duplicates}");
        assert_eq!(reachable(&graph), 2000, "{metric:?}");
        let queries = clustered(18, 40, 8, 10, 50.0);
        let mut some = RowSet::empty(2000);
        for row in (0..2000).filter(|row| row % 40 == 6 || row % 8 == 0) {
            some.insert(RowId(row));
        }
        for allowed in [Allowed::All, Allowed::Only(&some)] {
            let recall = fixture.recall(&graph, &queries, allowed);
            assert!(recall >= 0.99, "{metric:?} {allowed:?}: recall {recall}");
        }
    }
}

#[test]
fn few_equal_rows_stay_nodes_of_their_own() {
    let mut rows = clustered(19, 500, 8, 10, 50.0);
    for index in 0..6 {
        rows[80 * index] = rows[0].clone();
    }
    assert!(Fixture::new(Metric::L2, Encoding::F32, &rows).graph().duplicates.is_empty());
}

#[test]
fn forged_marks_of_duplicates_never_bend_an_answer() {
    let fixture = half_equal(Metric::L2);
    let good = fixture.build(Kernel::detect(), &Pool::SERIAL, 1);
    let places = good.len() - 2000 * 32 * 4;
    let mut rng = Rng::new(20);
    for _ in 0..100 {
        let mut bytes = good.to_vec();
        // Any row a duplicate of any other, of itself too: chains and rings among them.
        for _ in 0..50 {
            let (row, other) = (rng.below(2000) as usize, rng.below(2000) as u32);
            let start = places + row * 32 * 4;
            bytes[start..start + 4].copy_from_slice(&other.to_le_bytes());
            bytes[start + 4..start + 8].copy_from_slice(&other.to_le_bytes());
        }
        let graph =
            Graph::open(AlignedBuffer::copy_of(&bytes).into(), 2000).expect("rows in range");
        fixture.recall(&graph, &clustered(21, 2, 8, 10, 50.0), Allowed::All);
    }
}

#[test]
fn few_rows_are_all_found() {
    for count in 0..40usize {
        for metric in Metric::ALL {
            let rows: Vec<Vec<f32>> = (0..count).map(|i| vec![i as f32, 1.0]).collect();
            let fixture = Fixture::new(metric, Encoding::F32, &rows);
            let graph = fixture.graph();
            let view = fixture.rows();
            let scorer = RowScorer::new(view, Kernel::detect(), &vec![1.0; view.dim()]);
            let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
            for ef in [count, usize::MAX] {
                let found = graph
                    .search(
                        &scorer,
                        Allowed::All,
                        SearchBudget::unbounded(ef),
                        &mut scratch,
                        &mut stats,
                        &never_cancelled,
                    )
                    .expect("nothing is damaged")
                    .expect("no bound");
                assert_eq!(found.len(), count, "{metric:?} ef {ef}");
            }
        }
    }
}

#[test]
fn bytes_and_answers_depend_on_neither_threads_nor_instructions_but_on_the_seed() {
    for metric in Metric::ALL {
        let fixture = Fixture::new(metric, Encoding::F32, &clustered(10, 1200, 33, 9, 80.0));
        let expected = fixture.build(Kernel::detect(), &Pool::SERIAL, 7);
        for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
            for threads in [1, 2, 3] {
                let found = fixture.build(kernel, &Pool::new(threads), 7);
                assert!(found[..] == expected[..], "{:?}, {threads} threads", kernel.set());
            }
        }
        assert!(fixture.build(Kernel::detect(), &Pool::SERIAL, 8)[..] != expected[..]);
    }
}

#[test]
fn scratch_is_reused_across_graphs_of_different_sizes() {
    let small = Fixture::new(Metric::L2, Encoding::F32, &clustered(11, 100, 6, 3, 9.0));
    let large = Fixture::new(Metric::L2, Encoding::F32, &clustered(12, 2000, 6, 3, 9.0));
    let (small_graph, large_graph) = (small.graph(), large.graph());
    let query = clustered(13, 1, 6, 3, 9.0).remove(0);
    let mut scratch = Scratch::default();
    for (fixture, graph) in [(&large, &large_graph), (&small, &small_graph), (&large, &large_graph)]
    {
        let rows = fixture.rows();
        let scorer = RowScorer::new(rows, Kernel::detect(), &query);
        let mut stats = [SearchStats::default(); 2];
        let reused = graph
            .search(
                &scorer,
                Allowed::All,
                SearchBudget::unbounded(50),
                &mut scratch,
                &mut stats[0],
                &never_cancelled,
            )
            .expect("nothing is damaged")
            .expect("no bound");
        let mut fresh = Scratch::default();
        assert_eq!(
            reused,
            graph
                .search(
                    &scorer,
                    Allowed::All,
                    SearchBudget::unbounded(50),
                    &mut fresh,
                    &mut stats[1],
                    &never_cancelled
                )
                .expect("nothing is damaged")
                .expect("no bound")
        );
        assert_eq!(stats[0], stats[1]);
        assert!(stats[0].hops >= 50 && stats[0].scored >= 50);
    }
}

#[test]
fn damaged_sections_are_refused() {
    let fixture = Fixture::new(Metric::L2, Encoding::F32, &clustered(14, 50, 6, 3, 9.0));
    let good = fixture.build(Kernel::detect(), &Pool::SERIAL, 1);
    let kind_of = |bytes: &[u8], rows: u32| {
        let opened = Graph::open(AlignedBuffer::copy_of(bytes).into(), rows);
        opened.map(|_| ()).expect_err("damaged").kind()
    };
    assert!(Graph::open(AlignedBuffer::copy_of(&good).into(), 50).is_ok());
    for len in [0, 1, 63, 64, 127, 128, good.len() - 1] {
        assert_eq!(kind_of(&good[..len], 50), ErrorKind::Corrupt, "cut at {len}");
    }
    assert_eq!(kind_of(&[&good[..], &[0]].concat(), 50), ErrorKind::Corrupt, "too long");
    assert_eq!(kind_of(&good, 49), ErrorKind::Corrupt, "other rows");
    assert_eq!(kind_of(&good, u32::MAX), ErrorKind::Corrupt, "too many rows");
    let places = good.len() - 50 * 32 * 4;
    let damage = [
        (0, 0u32, ErrorKind::Version),
        (0, 3, ErrorKind::Version),
        (4, 49, ErrorKind::Corrupt),
        (8, 0, ErrorKind::Corrupt),
        (8, 31, ErrorKind::Corrupt),
        (8, u32::MAX, ErrorKind::Corrupt),
        (12, 0, ErrorKind::Corrupt),
        (12, u32::MAX, ErrorKind::Corrupt),
        (16, 51, ErrorKind::Corrupt),
        (64, 50, ErrorKind::Corrupt),
        (places, 50, ErrorKind::Corrupt),
        (places, u32::MAX, ErrorKind::Corrupt),
        (places + 50 * 32 * 4 - 4, 50, ErrorKind::Corrupt),
    ];
    for (offset, value, kind) in damage {
        let mut bytes = good.to_vec();
        bytes[offset..offset + 4].copy_from_slice(&value.to_le_bytes());
        assert_eq!(kind_of(&bytes, 50), kind, "{value} at {offset}");
    }
    let mut rng = Rng::new(15);
    for _ in 0..2000 {
        let mut bytes = good.to_vec();
        let position = rng.below(bytes.len() as u64) as usize;
        bytes[position] ^= 1 << rng.below(8);
        if let Ok(graph) = Graph::open(AlignedBuffer::copy_of(&bytes).into(), 50) {
            fixture.recall(&graph, &clustered(16, 1, 6, 3, 9.0), Allowed::All);
        }
    }
}

/// Rows in ten portions, each time with a tenth of the older ones left out: an old row that stays may get any new
/// number, as in a merge.
fn grown(metric: Metric, rows: &[Vec<f32>], pool: &Pool) -> (Fixture, Graph, Vec<u8>) {
    let mut rng = Rng::new(5);
    let (mut held, mut base): (Vec<Vec<f32>>, Option<Graph>) = (Vec::new(), None);
    let mut last = None;
    for portion in rows.chunks(rows.len() / 10) {
        let mut next: Vec<Vec<f32>> = portion[..portion.len() / 2].to_vec();
        let mut new_rows = Vec::with_capacity(held.len());
        for row in held.drain(..) {
            let stays = rng.below(10) > 0;
            new_rows.push(if stays { next.len() as u32 } else { u32::MAX });
            if stays {
                next.push(row);
            }
        }
        next.extend_from_slice(&portion[portion.len() / 2..]);
        held.clone_from(&next);
        let fixture = Fixture::new(metric, Encoding::F32, &next);
        let base_graph = base.take().map(|graph| BaseGraph { graph, new_rows: new_rows.into() });
        let bytes = fixture.build_on(base_graph, Kernel::detect(), pool, 1);
        let copy = bytes.to_vec();
        let graph = Graph::open(bytes.into(), fixture.count).expect("own bytes");
        base = Some(graph.clone());
        last = Some((fixture, graph, copy));
    }
    last.expect("there are rows")
}

#[test]
fn a_grown_graph_is_as_good_as_a_new_one() {
    let queries = clustered(9, 200, 16, 40, 60.0);
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let (fixture, grown, bytes) =
            grown(metric, &clustered(1, 6000, 16, 40, 60.0), &Pool::new(3));
        let (_, _, serial) = self::grown(metric, &clustered(1, 6000, 16, 40, 60.0), &Pool::SERIAL);
        assert!(bytes == serial, "{metric:?}: the same bytes for any number of threads");
        assert_eq!(reachable(&grown), fixture.count as usize, "{metric:?}");
        let all = Allowed::All;
        let [before, after] =
            [fixture.graph(), grown].map(|graph| fixture.recall(&graph, &queries, all));
        assert!(
            after >= 0.99 && after >= before - 0.005,
            "{metric:?}: {before} new, {after} grown"
        );
    }
}

#[test]
fn searches_reach_every_one_of_many_far_clusters() {
    // Each cluster has more rows than a search keeps candidates, so its lists name hardly any row of another cluster.
    let (dim, spread, ef) = (64, 50.0, 24);
    let rows = clustered(1, 12_000, dim, 40, spread);
    let queries = clustered(2, 600, dim, 40, spread);
    let params = GraphParams { degree: 16, build_ef: ef, ..GraphParams::default() };
    let graph_of = |rows: &[Vec<f32>], base: Option<BaseGraph>| {
        let fixture = Fixture::new(Metric::L2, Encoding::F32, rows);
        let bytes = fixture.build_with(params, base, Kernel::detect(), &Pool::new(2), 1);
        (Graph::open(bytes.into(), fixture.count).expect("own bytes"), fixture)
    };
    // Squared distances are about spread² / 6 an element inside a cluster, and 100² / 6 between clusters.
    let far = dim as f32 * spread * spread / 3.0;
    let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
    let (old, _) = graph_of(&rows[..5_000], None);
    let base = BaseGraph { graph: old, new_rows: (0..5_000).collect() };
    for (base, name) in [(None, "new"), (Some(base), "grown")] {
        let (graph, fixture) = graph_of(&rows, base);
        let mut search = |query: &Vec<f32>| {
            let scorer = RowScorer::new(fixture.rows(), Kernel::detect(), query);
            let budget = SearchBudget::unbounded(ef);
            let found = graph.search(
                &scorer,
                Allowed::All,
                budget,
                &mut scratch,
                &mut stats,
                &never_cancelled,
            );
            found.expect("nothing is damaged").expect("no bound")[0].distance()
        };
        let misses = queries.iter().filter(|query| search(query) > far).count();
        assert!(misses <= 12, "{name}: {misses} searches of 600 end in a wrong cluster");
    }
}

#[test]
fn groups_of_equal_rows_grow_shrink_and_begin() {
    // Of each distinct vector: rows before, of which the first ones are left out, and rows that come.
    let groups = [
        (20, 1, 0),
        (20, 20, 0),
        (20, 14, 0),
        (20, 0, 9),
        (5, 2, 9),
        (0, 0, 12),
        (7, 0, 0),
        (1, 0, 30),
    ];
    let vectors = clustered(3, groups.len() + 300, 8, 5, 60.0);
    let (distinct, others) = vectors.split_at(groups.len());
    let (mut before, mut after, mut new_rows) = (Vec::new(), others[200..].to_vec(), Vec::new());
    for (vector, (old, gone, fresh)) in distinct.iter().zip(groups) {
        after.extend(std::iter::repeat_n(vector.clone(), fresh));
        for index in 0..old {
            before.push(vector.clone());
            new_rows.push(if index < gone { u32::MAX } else { after.len() as u32 });
            if index >= gone {
                after.push(vector.clone());
            }
        }
    }
    for row in &others[..200] {
        before.push(row.clone());
        new_rows.push(after.len() as u32);
        after.push(row.clone());
    }
    for metric in [Metric::L2, Metric::Cosine, Metric::Dot] {
        let graph = Fixture::new(metric, Encoding::F32, &before).graph();
        let fixture = Fixture::new(metric, Encoding::F32, &after);
        let base = BaseGraph { graph, new_rows: new_rows.as_slice().into() };
        let bytes = fixture.build_on(Some(base), Kernel::detect(), &Pool::new(2), 1);
        let graph = Graph::open(bytes.into(), fixture.count).expect("own bytes");
        assert_eq!(reachable(&graph), after.len(), "{metric:?}");
        assert_eq!(graph.duplicates.rows(), fixture.graph().duplicates.rows(), "{metric:?}");
        let recall = fixture.recall(&graph, &vectors, Allowed::All);
        assert!(recall >= 0.99, "{metric:?}: {recall}");
    }
}

#[test]
fn a_base_of_which_nothing_stays_is_no_base() {
    let rows = clustered(1, 500, 8, 5, 60.0);
    let (old, new) = rows.split_at(200);
    let graph = Fixture::new(Metric::L2, Encoding::F32, old).graph();
    let base = BaseGraph { graph, new_rows: vec![u32::MAX; old.len()].into() };
    let fixture = Fixture::new(Metric::L2, Encoding::F32, new);
    let [from_base, from_nothing] = [Some(base), None]
        .map(|base| fixture.build_on(base, Kernel::detect(), &Pool::SERIAL, 1).to_vec());
    assert!(from_base == from_nothing);
}
