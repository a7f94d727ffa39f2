//! `Geometry`: the space a graph is built in: squared distances between rows that obey geometry, so that
//! pruning by triangles makes sense for every metric. Made by `VectorField`'s builder for `GraphBuilder`;
//! `Lift` holds the further coordinate of dot.
//!
//! L2 as it is; cosine as half the squared distance of the normalised rows, 1 − cos; dot in the space
//! with one more coordinate x′ = √(M² − ‖x‖²), M the largest norm, where nearest to a query means
//! largest product (Bachrach et al., 2014).

use std::borrow::Cow;

use crate::ids::RowId;
use crate::kernel::{Kernel, Measure};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::vector::scorer::{Scorer, Space};

use super::codec::norm;
use super::equal::equal_rows;
use super::rows::VectorRows;

/// The extra coordinate of each row; empty unless the metric is dot.
#[derive(Debug, Clone, Default)]
pub struct Lift(Vec<f32>);

impl Lift {
    /// O(rows × dim) for dot, else O(1).
    pub fn new(rows: &VectorRows<'_>, pool: &Pool) -> Self {
        if rows.metric() != Metric::Dot {
            return Lift::default();
        }
        let mut norms = vec![0.0f64; rows.len() as usize];
        let scratch = || vec![0.0; rows.dim()];
        pool.for_each_chunk(&mut norms, 1024, scratch, |values, offset, chunk| {
            for (index, place) in chunk.iter_mut().enumerate() {
                rows.widen(RowId((offset + index) as u32), values);
                *place = norm(values);
            }
        });
        let norm_max = norms.iter().copied().fold(0.0, f64::max);
        let lift = |norm: &f64| ((norm_max - norm) * (norm_max + norm)).sqrt() as f32;
        Lift(norms.iter().map(lift).collect())
    }
}

/// Rows with the geometry of their metric.
#[derive(Debug, Clone, Copy)]
pub struct Geometry<'a> {
    rows: VectorRows<'a>,
    kernel: Kernel,
    lift: &'a Lift,
}

impl<'a> Geometry<'a> {
    /// Of rows and the lift that was made of them.
    pub fn new(rows: VectorRows<'a>, kernel: Kernel, lift: &'a Lift) -> Self {
        Geometry { rows, kernel, lift }
    }

    /// One number a row: inverse norms for cosine, extra coordinates for dot, nothing for l2.
    fn per_row(&self) -> &'a [f32] {
        match self.rows.metric() {
            Metric::Cosine => self.rows.inv_norms(),
            Metric::Dot => &self.lift.0,
            Metric::L2 => &[],
        }
    }
}

impl<'a> Space for Geometry<'a> {
    type Scorer<'s>
        = FromPoint<'a>
    where
        Self: 's;

    fn row_count(&self) -> u32 {
        self.rows.len()
    }

    /// For cosine half of the squared distances.
    fn scorer(&self, row: RowId) -> FromPoint<'a> {
        let own = self.per_row().get(row.index()).copied().unwrap_or(0.0);
        FromPoint { space: *self, query: self.rows.row(row), own }
    }

    fn mean_scorer(&self, sample: &[RowId]) -> FromPoint<'a> {
        let stride = self.rows.stride();
        let (mut sums, mut own) = (vec![0.0f64; stride], 0.0f64);
        let mut values = vec![0.0; stride];
        for &row in sample {
            self.rows.widen(row, &mut values);
            let per_row = self.per_row().get(row.index()).copied().unwrap_or(1.0);
            let weight = match self.rows.metric() {
                Metric::Cosine => f64::from(per_row),
                Metric::Dot | Metric::L2 => 1.0,
            };
            own += f64::from(per_row);
            for (sum, &value) in sums.iter_mut().zip(&values) {
                *sum += weight * f64::from(value);
            }
        }
        let count = sample.len() as f64;
        let query = sums.iter().map(|sum| (sum / count) as f32).collect();
        let own = match self.rows.metric() {
            Metric::Cosine => 1.0,
            Metric::Dot | Metric::L2 => (own / count) as f32,
        };
        FromPoint { space: *self, query: Cow::Owned(query), own }
    }

    fn equal_rows(&self, pool: &Pool) -> Vec<(RowId, RowId)> {
        equal_rows(&self.rows, pool)
    }
}

/// Scores rows against a row of the space, or against the mean of some.
#[derive(Debug, Clone)]
pub struct FromPoint<'a> {
    space: Geometry<'a>,
    query: Cow<'a, [f32]>,
    /// The point's own inverse norm or extra coordinate.
    own: f32,
}

impl Scorer for FromPoint<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        let Geometry { rows: vectors, kernel, .. } = self.space;
        let measure = match vectors.metric() {
            Metric::Cosine => Measure::Product,
            Metric::Dot | Metric::L2 => Measure::SquaredDifference,
        };
        vectors.compare(kernel, measure, &self.query, rows, out);
        let per_row = self.space.per_row();
        match vectors.metric() {
            Metric::L2 => {}
            Metric::Cosine => {
                for (distance, row) in out.iter_mut().zip(rows) {
                    let inv_norms = self.own + per_row[row.index()];
                    // Rounding may leave a difference of equals below zero, and two vectors of
                    // length zero are equals: both have inverse norm 0.
                    let product = *distance * self.own * per_row[row.index()];
                    *distance = if inv_norms == 0.0 { 0.0 } else { (1.0 - product).max(0.0) };
                }
            }
            Metric::Dot => {
                for (distance, row) in out.iter_mut().zip(rows) {
                    let difference = self.own - per_row[row.index()];
                    *distance += difference * difference;
                }
            }
        }
    }

    #[inline]
    fn prefetch(&self, rows: &[RowId]) {
        self.space.rows.prefetch(rows);
    }
}
