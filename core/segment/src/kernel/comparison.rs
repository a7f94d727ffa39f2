//! `Comparison`: what a kernel sums, a query against rows of a matrix, in virtual lanes. Made by `Matrix` and
//! passed to `Kernel`, for which `scalar` and `simd` compute it.

use crate::ids::RowId;

/// Virtual lanes of a sum.
pub(crate) const LANES: usize = 32;

/// Rows and queries are padded to a multiple of this many elements.
pub(crate) const PADDING: usize = 16;

/// What is summed over the elements of two vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// Σ a·b
    Product,
    /// Σ (a−b)²
    SquaredDifference,
}

/// A query against some rows of a matrix; `out[i]` receives the sum for `rows[i]`.
#[derive(Debug)]
pub(crate) struct Comparison<'a, E> {
    pub(crate) measure: Measure,
    /// Padded; its length is the stride of the matrix.
    pub(crate) query: &'a [f32],
    /// Rows of `query.len()` elements, one after the other.
    pub(crate) matrix: &'a [E],
    pub(crate) rows: &'a [RowId],
    pub(crate) out: &'a mut [f32],
}

impl<'a, E> Comparison<'a, E> {
    pub(super) fn check(&self) {
        assert_eq!(self.query.len() % PADDING, 0, "queries are padded");
        assert_eq!(self.rows.len(), self.out.len(), "one place for each row");
    }

    /// The elements of one row.
    ///
    /// # Panics
    /// If the matrix has no such row.
    #[inline(always)]
    pub(super) fn row(&self, row: RowId) -> &'a [E] {
        &self.matrix[row.index() * self.query.len()..][..self.query.len()]
    }
}

/// `dim` rounded up to whole padding units.
pub(crate) fn padded(dim: usize) -> usize {
    dim.next_multiple_of(PADDING)
}
