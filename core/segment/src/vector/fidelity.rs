//! `extra_candidates`: how much longer the candidate list of a walk must be by codes than by originals, for the rows at
//! hand. Codes of one step for all elements tell rows apart that differ by a fair part of their distance from the mean.
//! They do not where one row is far longer than all others, or where groups of rows are much closer together than the
//! groups are: then rows get no codes. Used by `FieldBuilder`.

use crate::ids::RowId;
use crate::kernel::Kernel;

use super::candidate::Candidate;
use super::codes::{FourBitRows, FourBitScorer};
use super::index::graph::Graph;
use super::originals::{RowScorer, VectorRows};
use super::scorer::Scorer;

/// Rows whose neighbourhoods are ordered.
const SAMPLES: usize = 64;
/// True neighbours that must be among the first by codes.
const NEAREST: usize = 10;
/// Most places down to which they may be found: half of the candidates that a search keeps by default.
const DEPTH_MAX: usize = 48;

/// Candidates beyond [`NEAREST`] down to which walks of this graph find all of the true nearest by these codes, nine times
/// in ten; `None` if they are too many for codes to be of use.
pub(super) fn extra_candidates(
    codes: FourBitRows<'_>,
    originals: VectorRows<'_>,
    graph: &Graph,
    kernel: Kernel,
) -> Option<u32> {
    let step = (originals.len() as usize).div_ceil(SAMPLES).max(1);
    let mut query = vec![0.0; originals.dim()];
    let mut depths: Vec<usize> = Vec::with_capacity(SAMPLES);
    for row in (0..originals.len()).step_by(step).map(RowId) {
        originals.decode(row, &mut query);
        let rows = neighbourhood(graph, row);
        let by_originals = RowScorer::new(originals, kernel, &query);
        let by_codes = FourBitScorer::new(codes, kernel, &by_originals.query()[..query.len()]);
        depths.push(depth(&rows, &by_originals, &by_codes));
    }
    depths.sort_unstable();
    let depth = depths.get(depths.len() * 9 / 10).copied().unwrap_or(0);
    (depth <= DEPTH_MAX).then(|| depth.saturating_sub(NEAREST) as u32)
}

/// The neighbours of a row and their neighbours, without the row.
fn neighbourhood(graph: &Graph, row: RowId) -> Vec<RowId> {
    let near = graph.neighbours(row);
    let mut rows: Vec<RowId> = near.flat_map(|near| graph.neighbours(near)).collect();
    rows.extend(graph.neighbours(row));
    rows.retain(|&other| other != row);
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Rows whose estimates are not beyond that of every one of the true nearest.
fn depth(rows: &[RowId], by_originals: &impl Scorer, by_codes: &impl Scorer) -> usize {
    let (mut exact, mut estimates) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    by_originals.score_many(rows, &mut exact);
    by_codes.score_many(rows, &mut estimates);
    let mut order: Vec<(Candidate, f32)> = Vec::with_capacity(rows.len());
    for ((&row, &distance), &estimate) in rows.iter().zip(&exact).zip(&estimates) {
        order.push((Candidate::new(distance, row), estimate));
    }
    order.sort_unstable_by_key(|(candidate, _)| *candidate);
    let nearest = order.iter().take(NEAREST).map(|(_, estimate)| *estimate);
    let worst = nearest.fold(f32::NEG_INFINITY, f32::max);
    estimates.iter().filter(|&&estimate| estimate <= worst).count()
}
