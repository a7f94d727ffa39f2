//! `Guarded`: a scorer of rows of a mapped file, which are verified when they are first read. Used by `VectorField`.

use crate::error::Result;
use crate::format::Guard;
use crate::ids::RowId;

use super::scorer::Scorer;

/// Scores rows that its guards admit.
pub(super) struct Guarded<'a, S> {
    scorer: S,
    /// Of the sections that it reads, as far as they were not all verified.
    guards: [Option<Guard<'a>>; 2],
}

impl<'a, S: Scorer> Guarded<'a, S> {
    pub(super) fn new(scorer: S, guards: [Option<Guard<'a>>; 2]) -> Self {
        Guarded { scorer, guards }
    }

    pub(super) fn scorer(&self) -> &S {
        &self.scorer
    }

    /// Returns the first error that the search met.
    ///
    /// # Errors
    /// `Corrupt` if a row was damaged; what the blob returns.
    pub(super) fn end(self) -> Result<()> {
        self.guards.into_iter().flatten().try_for_each(Guard::end)
    }
}

impl<S: Scorer> Scorer for Guarded<'_, S> {
    #[inline]
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        if self.guards.iter().flatten().all(|guard| guard.admit(rows)) {
            self.scorer.score_many(rows, out);
        } else {
            out.fill(f32::INFINITY);
        }
    }

    #[inline]
    fn prefetch(&self, rows: &[RowId]) {
        self.scorer.prefetch(rows);
    }
}
