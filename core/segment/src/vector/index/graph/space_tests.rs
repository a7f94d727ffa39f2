//! A graph over points that are no vectors: all it asks of rows is a space with scorers.

use super::*;
use crate::allowed::Allowed;
use crate::cancel::never_cancelled;
use crate::ids::RowId;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::vector::index::SearchStats;
use crate::vector::scorer::{Scorer, Space};

/// Points on a line, which are no vectors.
struct Line(Vec<f32>);

struct FromPlace<'a>(&'a Line, f32);

impl Scorer for FromPlace<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        for (distance, row) in out.iter_mut().zip(rows) {
            *distance = (self.0.0[row.index()] - self.1).powi(2);
        }
    }

    fn prefetch(&self, _rows: &[RowId]) {}
}

impl Space for Line {
    type Scorer<'a> = FromPlace<'a>;

    fn row_count(&self) -> u32 {
        self.0.len() as u32
    }

    fn scorer(&self, row: RowId) -> FromPlace<'_> {
        FromPlace(self, self.0[row.index()])
    }

    fn mean_scorer(&self, sample: &[RowId]) -> FromPlace<'_> {
        let sum: f32 = sample.iter().map(|row| self.0[row.index()]).sum();
        FromPlace(self, sum / sample.len() as f32)
    }

    fn equal_rows(&self, _pool: &Pool) -> Vec<(RowId, RowId)> {
        Vec::new()
    }
}

#[test]
fn a_graph_is_built_and_walked_over_any_scorer() {
    let mut rng = Rng::new(31);
    let line = Line((0..2000).map(|_| rng.unit_f32() * 100.0).collect());
    let pool = Pool::new(2);
    let mut builder = GraphBuilder::new(&line, GraphParams::default(), 1, None, &pool);
    let is_done = |progress: Progress| progress.done == progress.total;
    while !is_done(builder.step(&line, &pool)) {}
    let graph = Graph::open(builder.finish().into(), line.row_count()).expect("own bytes");
    let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
    for query in (0..20).map(|at| at as f32 * 5.1) {
        let scorer = FromPlace(&line, query);
        let budget = SearchBudget::unbounded(32);
        let found =
            graph.search(&scorer, Allowed::All, budget, &mut scratch, &mut stats, &never_cancelled);
        let nearest = found.expect("nothing is damaged").and_then(|found| found.first());
        let nearest = nearest.expect("there are rows").distance();
        let expected = line.0.iter().map(|place| (place - query).powi(2)).fold(f32::MAX, f32::min);
        assert_eq!(nearest, expected, "{query}");
    }
}
