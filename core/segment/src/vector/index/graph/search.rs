//! The graph search: best-first, it always expands the closest row not yet expanded, until none is left that could
//! improve the result (Malkov & Yashunin, 2018, algorithm 2; Subramanya et al., 2019, algorithm 1). `Graph::search` is
//! called by `VectorField`; `walk_expanded` by the build, which searches the graph for links.
//!
//! With a filter every row is walked, but only allowed rows enter the result: the frontier and the
//! result are then two lists, and the walk ends when the frontier is farther than `ef` allowed rows.
//!
//! A walk meets distinct rows only. A representative counts as allowed if any row of its group is; the duplicates of
//! those in the result join it at the end. A group of which no row is allowed may leave a direction empty: a walk
//! that met one where the answer would have been is repeated with a longer list.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::allowed::Allowed;
use crate::cancel::{GoOn, never_cancelled};
use crate::error::Result;
use crate::format::Guard;
use crate::ids::RowId;
use crate::vector::index::{Candidate, SearchStats};
use crate::vector::scorer::Scorer;

use super::adjacency::Adjacency;
use super::filtered::Filtered;
use super::nearest::Nearest;
use super::walk::{Beam, Nodes, WalkScratch, walk};
use super::{EF_DEFAULT, Graph};

/// Candidates kept by a walk that is repeated because of a group that is not allowed: with them the true neighbours
/// were found where the default list found .86 to 1.00 of them (docs/internals/decisions/0043).
const REPEATED_EF: usize = 8 * EF_DEFAULT;

/// Working memory of a search, for reuse by any later one over any graph.
#[derive(Debug, Default)]
pub struct Scratch {
    walk: WalkScratch,
    nearest: Nearest,
    frontier: BinaryHeap<Reverse<u64>>,
    /// Rows of a group of equal rows, and their distances.
    group: Vec<RowId>,
    distances: Vec<f32>,
    /// Results before the rows of their groups are added.
    distinct: Vec<Candidate>,
    results: Vec<Candidate>,
}

impl Scratch {
    /// What the last search found.
    pub(in crate::vector) fn results(&self) -> &[Candidate] {
        &self.results
    }
}

impl Graph {
    /// Up to `budget.ef` allowed rows close to the scorer's query, in key order; `None` if a filtered walk
    /// reached `budget.scored_max`, which happens where the allowed rows are far from the query. Once `go_on`
    /// returns false the walk ends and the result is incomplete: the caller checks after it.
    ///
    /// # Errors
    /// `Corrupt` if a list of a mapped file is damaged; what the blob returns.
    pub fn search<'s>(
        &self,
        scorer: &impl Scorer,
        allowed: Allowed<'_>,
        budget: SearchBudget,
        scratch: &'s mut Scratch,
        stats: &mut SearchStats,
        go_on: GoOn<'_>,
    ) -> Result<Option<&'s [Candidate]>> {
        let nodes = Nodes::of(self);
        let ef = budget.ef.min(nodes.adjacency.rows());
        scratch.results.clear();
        if ef == 0 {
            return Ok(Some(&scratch.results));
        }
        let mut gave_up = false;
        let mut nearest = std::mem::take(&mut scratch.nearest);
        nearest.reset(ef);
        match allowed {
            Allowed::All => {
                *stats += walk(&nodes, scorer, &mut nearest, &mut scratch.walk, go_on);
            }
            Allowed::Except(_) | Allowed::Only(_) => {
                let (frontier, duplicates) =
                    (std::mem::take(&mut scratch.frontier), &self.duplicates);
                let (left, refused) = (budget.scored_max, u64::MAX);
                let mut beam = Filtered { allowed, duplicates, left, refused, frontier, nearest };
                beam.frontier.clear();
                *stats += walk(&nodes, scorer, &mut beam, &mut scratch.walk, go_on);
                let is_short = beam.refused < beam.nearest.entry_at(budget.k) && ef < REPEATED_EF;
                if is_short && beam.left > 0 && go_on() {
                    beam.nearest.reset(REPEATED_EF);
                    beam.frontier.clear();
                    *stats += walk(&nodes, scorer, &mut beam, &mut scratch.walk, go_on);
                }
                gave_up = beam.left == 0;
                Filtered { frontier: scratch.frontier, nearest, .. } = beam;
            }
        }
        scratch.results.extend(nearest.candidates());
        scratch.nearest = nearest;
        stats.reranked += scorer.rerank(&mut scratch.results, budget.k);
        if !self.duplicates.is_empty() {
            stats.scored += self.with_duplicates(scorer, allowed, ef, scratch);
        }
        nodes.guard.map_or(Ok(()), Guard::end)?;
        Ok(if gave_up { None } else { Some(&scratch.results) })
    }

    /// Replaces the results by those that are allowed and the allowed rows of their groups, `ef` at most; returns the
    /// rows scored.
    fn with_duplicates(
        &self,
        scorer: &impl Scorer,
        allowed: Allowed<'_>,
        ef: usize,
        scratch: &mut Scratch,
    ) -> u64 {
        let Scratch { group: batch, distances, results, distinct, .. } = scratch;
        let mut scored = 0;
        std::mem::swap(results, distinct);
        results.clear();
        for &candidate in &*distinct {
            if results.len() >= ef {
                break;
            }
            if allowed.contains(candidate.row()) {
                results.push(candidate);
            }
            let group = self.duplicates.of(candidate.row()).iter().copied();
            batch.clear();
            batch.extend(group.filter(|&row| allowed.contains(row)).take(ef - results.len()));
            distances.resize(batch.len(), 0.0);
            scorer.score_exactly(batch, distances);
            let pairs = batch.iter().zip(&*distances);
            results.extend(pairs.map(|(&row, &distance)| Candidate::new(distance, row)));
            scored += batch.len() as u64;
        }
        // Rows of equal direction may differ in the last bits of their distance.
        results.sort_unstable();
        scored
    }
}

/// How hard a search tries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SearchBudget {
    /// Allowed candidates kept: more find more of the true neighbours and take longer. Cut to the rows.
    pub ef: usize,
    /// Of them, those that the caller wants: at most `ef`.
    pub k: usize,
    /// Rows scored at which a filtered walk gives up.
    pub scored_max: u64,
}

impl SearchBudget {
    /// Never gives up; all candidates are wanted.
    pub fn unbounded(ef: usize) -> Self {
        SearchBudget { ef, k: ef, scored_max: u64::MAX }
    }
}

/// Walks an unfinished graph; the result is every expanded row, closest first.
pub(super) fn walk_expanded<'s>(
    adjacency: Adjacency<'_>,
    entries: &[u32],
    scorer: &impl Scorer,
    ef: usize,
    scratch: &'s mut Scratch,
) -> &'s mut Vec<Candidate> {
    let Scratch { walk: memory, nearest, results, .. } = scratch;
    nearest.reset(ef);
    results.clear();
    let nodes = Nodes { entries, adjacency, duplicates: None, guard: None };
    let mut beam = Recorded { nearest, expanded: results };
    walk(&nodes, scorer, &mut beam, memory, &never_cancelled);
    results.sort_unstable();
    results
}

/// Keeps every row that was expanded.
struct Recorded<'a> {
    nearest: &'a mut Nearest,
    expanded: &'a mut Vec<Candidate>,
}

impl Beam for Recorded<'_> {
    #[inline]
    fn offer(&mut self, rows: &[RowId], distances: &[f32]) {
        self.nearest.offer(rows, distances);
    }

    #[inline]
    fn next(&mut self) -> Option<Candidate> {
        let next = self.nearest.next();
        self.expanded.extend(next);
        next
    }

    #[inline]
    fn peek(&self) -> Option<RowId> {
        self.nearest.peek()
    }
}
