//! From sums to distances: a query prepared once, rows scored by lists.

use crate::ids::RowId;
use crate::kernel::{Comparison, Kernel, Measure, prefetch_slice};
use crate::metric::Metric;
use crate::vector::codec::{Approximations, Bounds};
use crate::vector::originals::encode::norm;
use crate::vector::originals::{Matrix, VectorRows};

/// Distances from one query to rows; smaller is closer.
pub trait Scorer {
    /// Writes the distance to each of `rows`, in order; `out` has as many places.
    /// O(rows × dim), one kernel dispatch.
    fn score_many(&self, rows: &[RowId], out: &mut [f32]);

    /// Starts loading what scoring `row` will read. A hint.
    fn prefetch(&self, row: RowId);

    /// Takes out rows that are certainly farther than `limit`, where that is faster than scoring them.
    fn refuse(&self, _limit: f32, _rows: &mut Vec<RowId>) {}
}

/// Scores the stored rows of a field, exactly.
#[derive(Debug, Clone)]
pub struct RowScorer<'a> {
    rows: VectorRows<'a>,
    kernel: Kernel,
    /// Padded; for cosine of length one.
    query: Vec<f32>,
    bounds: Option<Bounds<'a>>,
}

impl<'a> RowScorer<'a> {
    pub(super) fn new(rows: VectorRows<'a>, kernel: Kernel, query: &[f32]) -> Self {
        assert_eq!(query.len(), rows.dim(), "the query was checked against the schema");
        let mut padded = vec![0.0; rows.stride()];
        match rows.metric() {
            Metric::Cosine => normalise(query, &mut padded),
            Metric::Dot | Metric::L2 => padded[..query.len()].copy_from_slice(query),
        }
        RowScorer { rows, kernel, query: padded, bounds: None }
    }

    /// With approximations of the same rows, for scans.
    #[must_use]
    pub fn refusing_by(self, approximations: &'a Approximations) -> Self {
        let bounds = Bounds::new(approximations, self.rows, self.kernel, &self.query);
        RowScorer { bounds: Some(bounds), ..self }
    }
}

impl Scorer for RowScorer<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        let measure = measure_of(self.rows.metric());
        self.rows.compare(self.kernel, measure, &self.query, rows, out);
        // Adding +0.0 turns −0.0 into +0.0, so that equal distances have equal bits.
        match self.rows.metric() {
            Metric::Cosine => {
                let inv_norms = self.rows.inv_norms();
                for (distance, row) in out.iter_mut().zip(rows) {
                    *distance = -(*distance * inv_norms[row.index()]) + 0.0;
                }
            }
            Metric::Dot => out.iter_mut().for_each(|distance| *distance = -*distance + 0.0),
            Metric::L2 => {}
        }
    }

    #[inline]
    fn prefetch(&self, row: RowId) {
        self.rows.prefetch(row);
    }

    fn refuse(&self, limit: f32, rows: &mut Vec<RowId>) {
        if let Some(bounds) = &self.bounds {
            bounds.refuse(limit, rows);
        }
    }
}

impl VectorRows<'_> {
    /// Sums over the elements of `query` (padded) and each row.
    pub(crate) fn compare(
        &self,
        kernel: Kernel,
        measure: Measure,
        query: &[f32],
        rows: &[RowId],
        out: &mut [f32],
    ) {
        match self.matrix() {
            Matrix::F32(matrix) => kernel.run(Comparison { measure, query, matrix, rows, out }),
            Matrix::F16(matrix) => kernel.run(Comparison { measure, query, matrix, rows, out }),
        }
    }

    #[inline]
    pub(crate) fn prefetch(&self, row: RowId) {
        let range = row.index() * self.stride()..(row.index() + 1) * self.stride();
        match self.matrix() {
            Matrix::F32(matrix) => prefetch_slice(&matrix[range]),
            Matrix::F16(matrix) => prefetch_slice(&matrix[range]),
        }
    }
}

/// What is summed for a metric, before norms and sign.
fn measure_of(metric: Metric) -> Measure {
    match metric {
        Metric::Cosine | Metric::Dot => Measure::Product,
        Metric::L2 => Measure::SquaredDifference,
    }
}

/// The query divided by its norm, in f64; a query of length zero stays zero.
fn normalise(query: &[f32], out: &mut [f32]) {
    let norm = norm(query);
    if norm > 0.0 {
        for (place, &value) in out.iter_mut().zip(query) {
            *place = (f64::from(value) / norm) as f32;
        }
    }
}
