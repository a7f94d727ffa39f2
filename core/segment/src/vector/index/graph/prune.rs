//! `prune`: chooses a row's neighbours among candidates (Subramanya et al., 2019, RobustPrune): a candidate c
//! is left out if some chosen s is closer to it than the row p itself is, α·d(s, c) ≤ d(p, c). Called by
//! `GraphBuilder` and `Inheritance`.

use crate::ids::RowId;
use crate::vector::index::Candidate;
use crate::vector::scorer::{Scorer, Space};

/// Chosen rows compared with a candidate at once; most candidates are left out by the first few.
const CHUNK: usize = 4;

/// Fills `chosen` with at most `degree` of `candidates`, which are sorted by distance from `row`.
/// `alpha_squared` is α² because distances are squared.
pub(super) fn prune(
    space: &impl Space,
    row: RowId,
    candidates: &[Candidate],
    degree: usize,
    alpha_squared: f32,
    chosen: &mut Vec<Candidate>,
) {
    chosen.clear();
    let mut chosen_rows: Vec<RowId> = Vec::with_capacity(degree);
    for &candidate in candidates {
        if chosen.len() == degree {
            return;
        }
        if candidate.row() == row {
            continue;
        }
        let limit = candidate.distance() / alpha_squared;
        if !is_occluded(space, candidate.row(), &chosen_rows, limit) {
            chosen.push(candidate);
            chosen_rows.push(candidate.row());
        }
    }
}

/// Whether one of `chosen` is within `limit` of `row`.
fn is_occluded(space: &impl Space, row: RowId, chosen: &[RowId], limit: f32) -> bool {
    let scorer = space.scorer(row);
    let mut distances = [0.0; CHUNK];
    chosen.chunks(CHUNK).any(|chunk| {
        let distances = &mut distances[..chunk.len()];
        scorer.score_many(chunk, distances);
        distances.iter().any(|&distance| distance <= limit)
    })
}
