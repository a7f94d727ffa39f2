//! The space a graph is built in: squared distances between rows that obey geometry, so that pruning
//! by triangles makes sense for every metric.
//!
//! L2 as it is; cosine as half the squared distance of the normalised rows, 1 − cos; dot in the space
//! with one more coordinate x′ = √(M² − ‖x‖²), M the largest norm, where nearest to a query means
//! largest product (Bachrach et al., 2014).

use std::borrow::Cow;

use crate::ids::RowId;
use crate::kernel::{Kernel, Measure};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::vector::originals::{Matrix, Scorer, VectorRows, norm};

/// The extra coordinate of each row; empty unless the metric is dot.
#[derive(Debug, Clone, Default)]
pub(in crate::vector) struct Lift(Vec<f32>);

impl Lift {
    pub(in crate::vector) fn new(rows: &VectorRows<'_>, pool: &Pool) -> Self {
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
pub(in crate::vector) struct Space<'a> {
    pub(in crate::vector) rows: VectorRows<'a>,
    pub(in crate::vector) kernel: Kernel,
    pub(in crate::vector) lift: &'a Lift,
}

impl<'a> Space<'a> {
    /// Squared distances (for cosine: half of them) from one row to others.
    pub(in crate::vector) fn scorer(&self, row: RowId) -> FromRow<'a> {
        let (stride, start) = (self.rows.stride(), row.index() * self.rows.stride());
        let query = match self.rows.matrix() {
            Matrix::F32(elements) => Cow::Borrowed(&elements[start..][..stride]),
            Matrix::F16(_) => {
                let mut values = vec![0.0; stride];
                self.rows.widen(row, &mut values);
                Cow::Owned(values)
            }
        };
        let own = self.per_row().get(row.index()).copied().unwrap_or(0.0);
        FromRow { space: *self, query, own }
    }

    /// The scorer of a point that is no row: the mean of some rows.
    pub(in crate::vector) fn mean_scorer(&self, sample: &[RowId]) -> FromRow<'a> {
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
        FromRow { space: *self, query: Cow::Owned(query), own }
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

/// Scores rows against one row of the space.
#[derive(Debug, Clone)]
pub(in crate::vector) struct FromRow<'a> {
    space: Space<'a>,
    query: Cow<'a, [f32]>,
    /// The row's own inverse norm or extra coordinate.
    own: f32,
}

impl Scorer for FromRow<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        let Space { rows: vectors, kernel, .. } = self.space;
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
    fn prefetch(&self, row: RowId) {
        self.space.rows.prefetch(row);
    }
}
