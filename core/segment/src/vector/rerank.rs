//! `rerank`: replaces the estimates of the nearest rows by exact distances, of as many as the errors of the estimates make
//! necessary. Used by `VectorField`.

use crate::ids::RowId;

use super::candidate::Candidate;
use super::scorer::Scorer;

/// Candidates that are scored together.
const GROUP: usize = 8;
/// Times the largest overestimate so far, beyond which none is expected. Sixteen errors of a normal distribution have
/// a largest one of about 1.8 deviations; twice that is exceeded by one in five thousand.
const MARGIN: f32 = 2.0;

/// Replaces the first of `found` by their exact distances and removes the others. In the order of their estimates, reads
/// on until the next one's estimate is beyond the k-th exact distance by [`MARGIN`] times what any estimate so far was
/// too large by at most.
pub(super) fn rerank(found: &mut Vec<Candidate>, originals: &impl Scorer, k: usize) -> u64 {
    let mut overestimate = 0.0f32;
    let mut read = 0;
    while let Some(next) = found.get(read) {
        let exact = &found[..read];
        let kth = exact.get(k - 1).map_or(f32::INFINITY, |candidate| candidate.distance());
        if next.distance() - MARGIN * overestimate > kth {
            break;
        }
        let end = found.len().min(read + GROUP);
        let group = &mut found[read..end];
        let (mut rows, mut distances) = ([RowId(0); GROUP], [0.0; GROUP]);
        rows.iter_mut().zip(&*group).for_each(|(row, candidate)| *row = candidate.row());
        let (rows, distances) = (&rows[..group.len()], &mut distances[..group.len()]);
        originals.score_many(rows, distances);
        for (candidate, &distance) in group.iter_mut().zip(&*distances) {
            overestimate = overestimate.max(candidate.distance() - distance);
            *candidate = Candidate::new(distance, candidate.row());
        }
        read = end;
        found[..read].sort_unstable();
    }
    found.truncate(read);
    read as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Exact distances by row.
    struct Exact(Vec<f32>);

    impl Scorer for Exact {
        fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
            for (place, row) in out.iter_mut().zip(rows) {
                *place = self.0[row.index()];
            }
        }

        fn prefetch(&self, _rows: &[RowId]) {}
    }

    /// What is found of rows with these distances, whose estimates are the numbers from 0.
    fn reranked(exact: Vec<f32>, k: usize) -> (Vec<u32>, u64) {
        let estimates = (0..exact.len() as u32).map(|row| Candidate::new(row as f32, RowId(row)));
        let mut found: Vec<Candidate> = estimates.collect();
        let read = rerank(&mut found, &Exact(exact), k);
        assert!(found.is_sorted());
        (found.iter().take(k).map(|candidate| candidate.row().0).collect(), read)
    }

    #[test]
    fn right_estimates_are_read_until_the_next_is_beyond_the_kth() {
        let exact: Vec<f32> = (0..100).map(|row| row as f32).collect();
        assert_eq!(reranked(exact.clone(), 3), (vec![0, 1, 2], 8));
        assert_eq!(reranked(exact.clone(), 8), ((0..8).collect(), 8));
        assert_eq!(reranked(exact.clone(), 9), ((0..9).collect(), 16));
        assert_eq!(reranked(exact, 200), ((0..100).collect(), 100));
        assert_eq!(reranked(Vec::new(), 3), (Vec::new(), 0));
    }

    #[test]
    fn large_errors_are_a_reason_to_read_on() {
        // Estimates that are too large by 14 and by 34: a later one may be so by twice as much.
        let mut exact: Vec<f32> = (0..100).map(|row| row as f32).collect();
        exact[5] = -9.0;
        exact[24] = -10.0;
        assert_eq!(reranked(exact, 2), (vec![24, 5], 64));
    }
}
