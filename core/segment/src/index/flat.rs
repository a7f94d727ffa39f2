//! The exact answer: every allowed row is scored. The oracle of every other index.

use std::cmp::Ordering;

use crate::allowed::Allowed;
use crate::codec::Scorer;
use crate::ids::RowId;
use crate::index::{Candidate, SearchStats};

/// Rows scored by one call of the scorer.
const BATCH_ROWS: usize = 256;

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
/// Rows at the same distance are ordered by `tie`, which is asked only where it decides. O(allowed rows × dim).
pub fn search(
    scorer: &impl Scorer,
    rows: u32,
    allowed: Allowed<'_>,
    wanted: Wanted,
    tie: impl Fn(RowId, RowId) -> Ordering,
    stats: &mut SearchStats,
) -> Vec<Candidate> {
    let all = (0..rows).map(RowId);
    match allowed {
        Allowed::All => scan(scorer, all, wanted, tie, stats),
        Allowed::Except(dead) => {
            scan(scorer, all.filter(|&row| !dead.contains(row)), wanted, tie, stats)
        }
        Allowed::Only(set) => scan(scorer, set.iter(), wanted, tie, stats),
    }
}

fn scan(
    scorer: &impl Scorer,
    mut rows: impl Iterator<Item = RowId>,
    wanted: Wanted,
    tie: impl Fn(RowId, RowId) -> Ordering,
    stats: &mut SearchStats,
) -> Vec<Candidate> {
    let Wanted { k, limit } = wanted;
    let mut best = Best::new(k, tie);
    let mut batch = Vec::with_capacity(BATCH_ROWS);
    let mut distances = [0.0; BATCH_ROWS];
    loop {
        batch.clear();
        batch.extend(rows.by_ref().take(BATCH_ROWS));
        if batch.is_empty() || k == 0 {
            return best.into_sorted();
        }
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

        fn prefetch(&self, _row: RowId) {}
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
                let found =
                    search(&table, 1000, allowed, Wanted::nearest(k), backwards, &mut stats);
                assert_eq!(found, expected[..k.min(expected.len())], "k {k}");
                assert!(k == 0 || stats.scored == expected.len() as u64);
            }
        }
    }
}
