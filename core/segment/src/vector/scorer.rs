//! The traits by which indexes see vectors: `Scorer`, distances from a query to rows, and `Space`, distances
//! between rows. Implemented by `VectorField`'s scorer and by `Geometry`; used by `flat` and `graph`.

use crate::ids::RowId;
use crate::parallel::Pool;

use super::candidate::Candidate;

/// Distances from one query to rows; smaller is closer.
pub trait Scorer {
    /// Writes the distance to each of `rows`, in order; `out` has as many places.
    /// O(rows × dim), one kernel dispatch.
    fn score_many(&self, rows: &[RowId], out: &mut [f32]);

    /// Starts loading what scoring `rows` will read first. A hint.
    fn prefetch(&self, rows: &[RowId]);

    /// Writes the exact distances, where [`score_many`](Scorer::score_many) estimates.
    fn score_exactly(&self, rows: &[RowId], out: &mut [f32]) {
        self.score_many(rows, out);
    }

    /// Where distances are estimates: replaces the first of `found`, which ascend, by their exact distances, in ascending
    /// order, as many as the `k` nearest need; removes the others. Returns how many were scored.
    fn rerank(&self, _found: &mut Vec<Candidate>, _k: usize) -> u64 {
        0
    }

    /// Takes out rows that are certainly farther than `limit`, where that is faster than scoring them.
    fn refuse(&self, _limit: f32, _rows: &mut Vec<RowId>) {}
}

/// Rows with distances between them that obey geometry, so that pruning by triangles makes sense: what a graph is
/// built over.
pub trait Space: Sync {
    /// Scores rows against a point of the space.
    type Scorer<'a>: Scorer
    where
        Self: 'a;

    /// Number of rows.
    fn row_count(&self) -> u32;

    /// Squared distances, up to one factor for all, from a row to others.
    fn scorer(&self, row: RowId) -> Self::Scorer<'_>;

    /// The same from a point that is no row: the mean of some rows.
    fn mean_scorer(&self, sample: &[RowId]) -> Self::Scorer<'_>;

    /// Pairs of the first row of a group of equal rows and another of the group, for each large group.
    fn equal_rows(&self, pool: &Pool) -> Vec<(RowId, RowId)>;
}
