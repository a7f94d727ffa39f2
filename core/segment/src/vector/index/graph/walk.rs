//! `walk`: expands the closest row not yet expanded, until its `Beam` has none left. Called by `search` for queries and
//! for builds; `WalkScratch` is its working memory.

use crate::cancel::GoOn;
use crate::format::Guard;
use crate::ids::RowId;
use crate::vector::index::{Candidate, SearchStats};
use crate::vector::scorer::Scorer;

use super::Graph;
use super::adjacency::Adjacency;
use super::duplicates::Duplicates;
use super::visited::Visited;

/// Rows expanded between two checks whether to go on.
const CHECKED_HOPS: u64 = 256;

/// Decides which row to expand next and which rows are worth keeping.
pub(super) trait Beam {
    /// Considers rows met for the first time, with their distances.
    fn offer(&mut self, rows: &[RowId], distances: &[f32]);

    /// The closest row not yet expanded that could still improve the result.
    fn next(&mut self) -> Option<Candidate>;

    /// The row that will probably be next.
    fn peek(&self) -> Option<RowId>;
}

/// A graph as a walk reads it.
pub(super) struct Nodes<'a> {
    pub(super) entries: &'a [u32],
    pub(super) adjacency: Adjacency<'a>,
    /// Rows that a walk does not go to, if there are any.
    pub(super) duplicates: Option<&'a Duplicates>,
    pub(super) guard: Option<Guard<'a>>,
}

impl<'a> Nodes<'a> {
    pub(super) fn of(graph: &'a Graph) -> Self {
        Nodes {
            entries: graph.entries(),
            adjacency: graph.adjacency(),
            duplicates: Some(&graph.duplicates).filter(|duplicates| !duplicates.is_empty()),
            guard: graph.guard(),
        }
    }

    /// Fills `rows` with those among `places` that are met for the first time and may be gone to.
    #[inline]
    fn meet(&self, places: &[u32], visited: &mut Visited, rows: &mut Vec<RowId>) {
        visited.meet(places, rows);
        if let Some(duplicates) = self.duplicates {
            rows.retain(|&row| !duplicates.contains(row));
        }
    }

    /// True if the list of a row may be read.
    #[inline]
    fn admit(&self, row: RowId) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.admit(&[row]))
    }
}

/// Working memory of a walk.
#[derive(Debug, Default)]
pub(super) struct WalkScratch {
    visited: Visited,
    /// Rows to score next, and their distances.
    batch: Vec<RowId>,
    distances: Vec<f32>,
}

/// Walks until the beam is at its end, or `go_on` returns false, or a list is damaged.
pub(super) fn walk(
    nodes: &Nodes<'_>,
    scorer: &impl Scorer,
    beam: &mut impl Beam,
    scratch: &mut WalkScratch,
    go_on: GoOn<'_>,
) -> SearchStats {
    let mut stats = SearchStats::default();
    let adjacency = nodes.adjacency;
    let WalkScratch { visited, batch, distances } = scratch;
    visited.reset(adjacency.rows());
    nodes.meet(nodes.entries, visited, batch);
    loop {
        scorer.prefetch(batch);
        if let Some(row) = beam.peek() {
            adjacency.prefetch(row);
        }
        distances.resize(batch.len(), 0.0);
        scorer.score_many(batch, distances);
        beam.offer(batch, distances);
        stats.scored += batch.len() as u64;
        let Some(closest) = beam.next() else { break };
        stats.hops += 1;
        let is_cancelled = stats.hops.is_multiple_of(CHECKED_HOPS) && !go_on();
        if is_cancelled || !nodes.admit(closest.row()) {
            break;
        }
        nodes.meet(adjacency.places_of(closest.row()), visited, batch);
    }
    stats
}
