//! `rerank`: exact distances of the candidates that a search by codes found, as many as its errors make necessary.
//! Used by `VectorField`.

use crate::ids::RowId;

use super::index::Candidate;
use super::scorer::Scorer;

/// Candidates that are scored together.
const GROUP: usize = 8;

/// Fills `exact` with the exact distances of the first of `found`, closest first. Of candidates in the order of their
/// estimates, reads on until the next one's estimate is beyond the k-th exact distance by more than any estimate so far
/// was too large.
pub(super) fn rerank(
    found: &[Candidate],
    originals: &impl Scorer,
    k: usize,
    exact: &mut Vec<Candidate>,
) {
    exact.clear();
    let mut overestimate = 0.0f32;
    let mut rest = found;
    let mut distances = [0.0; GROUP];
    while let [next, ..] = rest {
        let kth = exact.get(k - 1).map_or(f32::INFINITY, |candidate| candidate.distance());
        if next.distance() - overestimate > kth {
            break;
        }
        let (group, later) = rest.split_at(rest.len().min(GROUP));
        rest = later;
        let mut rows = [RowId(0); GROUP];
        rows.iter_mut().zip(group).for_each(|(row, candidate)| *row = candidate.row());
        let (rows, distances) = (&rows[..group.len()], &mut distances[..group.len()]);
        originals.score_many(rows, distances);
        for (estimated, &distance) in group.iter().zip(&*distances) {
            overestimate = overestimate.max(estimated.distance() - distance);
            exact.push(Candidate::new(distance, estimated.row()));
        }
        exact.sort_unstable();
    }
}
