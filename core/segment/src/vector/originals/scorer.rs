//! `RowScorer`: from sums to distances: a query prepared once, rows scored by lists. Used by `VectorField`
//! and `StoredRows`.

use crate::ids::RowId;
use crate::kernel::{Kernel, Measure};
use crate::metric::Metric;
use crate::vector::codec::Codec;
use crate::vector::scorer::Scorer;

use super::rows::VectorRows;

/// Scores the stored rows of a field, exactly.
#[derive(Debug, Clone)]
pub struct RowScorer<'a> {
    rows: VectorRows<'a>,
    kernel: Kernel,
    /// Padded; for cosine of length one.
    query: Vec<f32>,
}

impl<'a> RowScorer<'a> {
    /// A scorer of rows against `query`, which has `dim` finite elements. Copies the query: O(dim).
    pub fn new(rows: VectorRows<'a>, kernel: Kernel, query: &[f32]) -> Self {
        RowScorer { rows, kernel, query: rows.codec.query(query) }
    }

    /// The query as rows are compared with it.
    pub(in crate::vector) fn query(&self) -> &[f32] {
        &self.query
    }
}

impl Scorer for RowScorer<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        let measure = match self.rows.metric() {
            Metric::Cosine | Metric::Dot => Measure::Product,
            Metric::L2 => Measure::SquaredDifference,
        };
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
    fn prefetch(&self, rows: &[RowId]) {
        self.rows.prefetch(rows);
    }
}
