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
