//! The exact scan: `search` scores every allowed row and returns the nearest (`Wanted` says how many). Called by
//! `VectorField` for the exact access path; tests compare the other indexes with it.

use std::cmp::Ordering;

use crate::allowed::Allowed;
use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::ids::RowId;
use crate::vector::index::{Candidate, SearchStats};
use crate::vector::scorer::Scorer;

/// Rows scored by one call of the scorer.
const BATCH_ROWS: usize = 256;
/// Rows scored between two checks whether to go on.
const CHECKED_ROWS: u64 = 16 * BATCH_ROWS as u64;

/// What a scan is to find.
#[derive(Debug, Clone, Copy)]
pub struct Wanted {
    /// Rows.
    pub k: usize,
    /// Distance beyond which a row is not needed, because enough closer ones are known.
    pub limit: f32,
}

impl Wanted {
    /// The `k` nearest, however far.
    pub fn nearest(k: usize) -> Wanted {
        Wanted { k, limit: f32::INFINITY }
    }
}

/// The closest allowed rows out of `rows`, closest first; of those beyond the limit any may be missing.
/// Rows at the same distance are ordered by `tie`, which is called only where it decides. O(allowed rows × dim).
///
/// # Errors
/// `Cancelled` if `go_on` ends it.
pub fn search(
    scorer: &impl Scorer,
    rows: u32,
    allowed: Allowed<'_>,
    wanted: Wanted,
    tie: impl Fn(RowId, RowId) -> Ordering,
    stats: &mut SearchStats,
    go_on: GoOn<'_>,
) -> Result<Vec<Candidate>> {
    let all = (0..rows).map(RowId);
    match allowed {
        Allowed::All => scan(scorer, all, wanted, tie, stats, go_on),
        Allowed::Except(dead) => {
            scan(scorer, all.filter(|&row| !dead.contains(row)), wanted, tie, stats, go_on)
        }
        Allowed::Only(set) => scan(scorer, set.iter(), wanted, tie, stats, go_on),
    }
}

fn scan(
    scorer: &impl Scorer,
    mut rows: impl Iterator<Item = RowId>,
    wanted: Wanted,
    tie: impl Fn(RowId, RowId) -> Ordering,
    stats: &mut SearchStats,
    go_on: GoOn<'_>,
) -> Result<Vec<Candidate>> {
    let Wanted { k, limit } = wanted;
    let mut scored = 0u64;
    let mut best = Best::new(k, tie);
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut distances = [0.0; BATCH_ROWS];
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(BATCH_ROWS));
        if batch.is_empty() || k == 0 {
            return Ok(best.into_sorted());
        }
        if scored.is_multiple_of(CHECKED_ROWS) {
            cancel::check(go_on)?;
        }
        scored += batch.len() as u64;
        stats.scored += batch.len() as u64;
        scorer.refuse(best.limit().min(limit), &mut batch);
        let distances = &mut distances[..batch.len()];
        scorer.score_many(&batch, distances);
        for (&row, &distance) in batch.iter().zip(&*distances) {
            best.offer(Candidate::new(distance, row));
        }
    }
}

/// The `k` best seen so far, kept in a buffer of twice that size which is cut back when full: O(1)
/// a candidate, and most are refused by one comparison.
struct Best<F> {
    k: usize,
    tie: F,
    buffer: Vec<Candidate>,
    /// No candidate at a larger distance can be among the `k` best.
    limit: Candidate,
}

impl<F: Fn(RowId, RowId) -> Ordering> Best<F> {
    /// Below this many places cutting back would be too frequent.
    const BUFFER_MIN: usize = 64;

    fn new(k: usize, tie: F) -> Self {
        Best { k, tie, buffer: Vec::new(), limit: Candidate::new(f32::INFINITY, RowId(u32::MAX)) }
    }

    /// The distance beyond which a row cannot be among the `k` best.
    fn limit(&self) -> f32 {
        self.limit.distance()
    }

    #[inline]
    fn offer(&mut self, candidate: Candidate) {
        if candidate.distance_bits() <= self.limit.distance_bits() {
            self.buffer.push(candidate);
            if self.buffer.len() >= self.k.saturating_mul(2).max(Self::BUFFER_MIN) {
                self.cut();
            }
        }
    }

    fn cut(&mut self) {
        if self.buffer.len() > self.k {
            let order = order(&self.tie);
            let (_, last, _) = self.buffer.select_nth_unstable_by(self.k - 1, order);
            self.limit = *last;
            self.buffer.truncate(self.k);
        }
    }

    fn into_sorted(mut self) -> Vec<Candidate> {
        if self.k == 0 {
            return Vec::new();
        }
        self.cut();
        self.buffer.sort_unstable_by(order(&self.tie));
        self.buffer
    }
}

fn order(
    tie: &impl Fn(RowId, RowId) -> Ordering,
) -> impl Fn(&Candidate, &Candidate) -> Ordering + '_ {
    |a, b| a.distance_bits().cmp(&b.distance_bits()).then_with(|| tie(a.row(), b.row()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cancel::never_cancelled;
    use crate::error::ErrorKind;
    use crate::rng::Rng;
    use crate::rowset::{DeadRows, RowSet};

    /// Rows with given distances.
    struct Table(Vec<f32>);

    impl Scorer for Table {
        fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
            for (place, row) in out.iter_mut().zip(rows) {
                *place = self.0[row.index()];
            }
        }

        fn prefetch(&self, _rows: &[RowId]) {}
    }

    #[test]
    fn the_closest_allowed_rows_come_first_and_ties_go_by_the_callers_order() {
        let mut rng = Rng::new(5);
        let table = Table((0..1000).map(|_| rng.below(40) as f32 - 20.0).collect());
        let mut allowed = RowSet::empty(1000);
        let mut dead = DeadRows::new(1000);
        for row in (0..1000).map(RowId) {
            if rng.below(3) == 0 {
                allowed.insert(row);
            } else {
                dead.insert(row);
            }
        }
        let backwards = |a: RowId, b: RowId| b.cmp(&a);
        for allowed in [Allowed::All, Allowed::Only(&allowed), Allowed::Except(&dead)] {
            let mut expected: Vec<Candidate> = (0..1000)
                .map(RowId)
                .filter(|&row| allowed.contains(row))
                .map(|row| Candidate::new(table.0[row.index()], row))
                .collect();
            expected.sort_by(order(&backwards));
            for k in [0, 1, 10, 63, 64, 500, 1000, usize::MAX] {
                let mut stats = SearchStats::default();
                let wanted = Wanted::nearest(k);
                let found =
                    search(&table, 1000, allowed, wanted, backwards, &mut stats, &never_cancelled);
                let found = found.expect("never cancelled");
                assert_eq!(found, expected[..k.min(expected.len())], "k {k}");
                assert!(k == 0 || stats.scored == expected.len() as u64);
            }
        }
    }
    #[test]
    fn a_scan_that_is_cancelled_ends_between_two_batches() {
        let table = Table(vec![1.0; 100_000]);
        let checks = std::sync::atomic::AtomicU32::new(0);
        let go_on = || checks.fetch_add(1, std::sync::atomic::Ordering::Relaxed) < 3;
        let mut stats = SearchStats::default();
        let tie = |a: RowId, b: RowId| a.cmp(&b);
        let wanted = Wanted::nearest(10);
        let found = search(&table, 100_000, Allowed::All, wanted, tie, &mut stats, &go_on);
        assert_eq!(found.expect_err("cancelled").kind(), ErrorKind::Cancelled);
        assert_eq!(stats.scored, 3 * CHECKED_ROWS);
    }
}
