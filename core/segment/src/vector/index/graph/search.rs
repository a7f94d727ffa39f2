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
use crate::vector::index::graph::adjacency::Adjacency;
use crate::vector::index::graph::duplicates::Duplicates;
use crate::vector::index::graph::{EF_DEFAULT, Graph};
use crate::vector::index::{Candidate, SearchStats};
use crate::vector::scorer::Scorer;

/// Rows expanded between two checks whether to go on.
const CHECKED_HOPS: u64 = 256;

/// Candidates kept by a walk that is repeated because of a group that is not allowed: with them the true neighbours
/// were found where the default list found .86 to 1.00 of them (docs/internals/decisions/0043).
const REPEATED_EF: usize = 8 * EF_DEFAULT;

/// Working memory of a search, for reuse by any later one over any graph.
#[derive(Debug, Default)]
pub struct Scratch {
    visited: Visited,
    /// Rows to score next, and their distances.
    batch: Vec<RowId>,
    distances: Vec<f32>,
    nearest: Nearest,
    frontier: BinaryHeap<Reverse<u64>>,
    /// Every row whose neighbours were read, with its distance.
    expanded: Vec<Candidate>,
    results: Vec<Candidate>,
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
                *stats += self.walk(&nodes, scorer, &mut nearest, scratch, go_on);
            }
            Allowed::Except(_) | Allowed::Only(_) => {
                let (frontier, duplicates) =
                    (std::mem::take(&mut scratch.frontier), &self.duplicates);
                let (left, refused) = (budget.scored_max, u64::MAX);
                let mut beam = Filtered { allowed, duplicates, left, refused, frontier, nearest };
                beam.frontier.clear();
                *stats += self.walk(&nodes, scorer, &mut beam, scratch, go_on);
                let is_short = beam.refused < beam.nearest.entry_at(budget.k) && ef < REPEATED_EF;
                if is_short && beam.left > 0 && go_on() {
                    beam.nearest.reset(REPEATED_EF);
                    beam.frontier.clear();
                    *stats += self.walk(&nodes, scorer, &mut beam, scratch, go_on);
                }
                gave_up = beam.left == 0;
                Filtered { frontier: scratch.frontier, nearest, .. } = beam;
            }
        }
        if self.duplicates.is_empty() {
            scratch.results.extend(nearest.candidates());
        } else {
            stats.scored += self.with_duplicates(&nearest, scorer, allowed, ef, scratch);
        }
        scratch.nearest = nearest;
        nodes.guard.map_or(Ok(()), Guard::end)?;
        Ok(if gave_up { None } else { Some(&scratch.results) })
    }

    fn walk(
        &self,
        nodes: &Nodes<'_>,
        scorer: &impl Scorer,
        beam: &mut impl Beam,
        scratch: &mut Scratch,
        go_on: GoOn<'_>,
    ) -> SearchStats {
        if self.duplicates.is_empty() {
            return walk(nodes, scorer, beam, scratch, go_on);
        }
        let mut beam = Distinct { duplicates: &self.duplicates, beam };
        walk(nodes, scorer, &mut beam, scratch, go_on)
    }

    /// Fills the results with the allowed rows of `nearest` and of their groups, `ef` at most; returns the rows scored.
    fn with_duplicates(
        &self,
        nearest: &Nearest,
        scorer: &impl Scorer,
        allowed: Allowed<'_>,
        ef: usize,
        scratch: &mut Scratch,
    ) -> u64 {
        let Scratch { batch, distances, results, .. } = scratch;
        let mut scored = 0;
        for candidate in nearest.candidates() {
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
            scorer.score_many(batch, distances);
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
    let mut nearest = std::mem::take(&mut scratch.nearest);
    nearest.reset(ef);
    let nodes = Nodes { entries, adjacency, guard: None };
    walk(&nodes, scorer, &mut nearest, scratch, &never_cancelled);
    scratch.nearest = nearest;
    scratch.expanded.sort_unstable();
    &mut scratch.expanded
}

/// Decides which row to expand next and which rows are worth keeping.
trait Beam {
    /// Whether a walk may go to this row.
    #[inline]
    fn admits(&self, _row: RowId) -> bool {
        true
    }

    /// Considers a row seen for the first time.
    fn offer(&mut self, candidate: Candidate);

    /// The closest row not yet expanded that could still improve the result.
    fn next(&mut self) -> Option<Candidate>;

    /// The row that will probably be next.
    fn peek(&self) -> Option<RowId>;
}

/// A graph as a walk reads it.
struct Nodes<'a> {
    entries: &'a [u32],
    adjacency: Adjacency<'a>,
    guard: Option<Guard<'a>>,
}

impl<'a> Nodes<'a> {
    fn of(graph: &'a Graph) -> Self {
        Nodes { entries: graph.entries(), adjacency: graph.adjacency(), guard: graph.guard() }
    }

    /// True if the list of a row may be read.
    #[inline]
    fn admit(&self, row: RowId) -> bool {
        self.guard.as_ref().is_none_or(|guard| guard.admit(&[row]))
    }
}

fn walk(
    nodes: &Nodes<'_>,
    scorer: &impl Scorer,
    beam: &mut impl Beam,
    scratch: &mut Scratch,
    go_on: GoOn<'_>,
) -> SearchStats {
    let mut stats = SearchStats::default();
    let adjacency = nodes.adjacency;
    scratch.visited.reset(adjacency.rows());
    scratch.expanded.clear();
    let entries = nodes.entries.iter().map(|&entry| RowId(entry));
    scratch.visit(entries.filter(|&row| beam.admits(row)), scorer);
    stats.scored += scratch.score(scorer, beam);
    while let Some(closest) = beam.next() {
        stats.hops += 1;
        let is_cancelled = stats.hops.is_multiple_of(CHECKED_HOPS) && !go_on();
        if is_cancelled || !nodes.admit(closest.row()) {
            break;
        }
        scratch.expanded.push(closest);
        let neighbours = adjacency.neighbours(closest.row());
        scratch.visit(neighbours.filter(|&row| beam.admits(row)), scorer);
        if let Some(row) = beam.peek() {
            adjacency.prefetch(row);
        }
        stats.scored += scratch.score(scorer, beam);
    }
    stats
}

impl Scratch {
    /// Rows asked for from memory before the first of a batch is scored.
    const PREFETCH_ROWS: usize = 4;

    /// Puts the rows not seen before into the batch.
    #[inline]
    fn visit(&mut self, rows: impl Iterator<Item = RowId>, scorer: &impl Scorer) {
        self.batch.clear();
        for row in rows {
            if self.visited.insert(row) {
                if self.batch.len() < Self::PREFETCH_ROWS {
                    scorer.prefetch(row);
                }
                self.batch.push(row);
            }
        }
    }

    /// Scores the batch and offers it to the beam.
    #[inline]
    fn score(&mut self, scorer: &impl Scorer, beam: &mut impl Beam) -> u64 {
        self.distances.resize(self.batch.len(), 0.0);
        scorer.score_many(&self.batch, &mut self.distances);
        for (&row, &distance) in self.batch.iter().zip(&self.distances) {
            beam.offer(Candidate::new(distance, row));
        }
        self.batch.len() as u64
    }
}

/// Rows seen in this walk: one bit a row, taken back one by one for the next walk.
#[derive(Debug, Default)]
struct Visited {
    words: Vec<u64>,
    rows: Vec<RowId>,
}

impl Visited {
    fn reset(&mut self, row_count: usize) {
        for row in self.rows.drain(..) {
            self.words[row.index() / 64] = 0;
        }
        let words = row_count.div_ceil(64);
        if self.words.len() < words {
            self.words.resize(words, 0);
        }
    }

    /// True if the row was not there.
    #[inline]
    fn insert(&mut self, row: RowId) -> bool {
        let word = &mut self.words[row.index() / 64];
        let bit = 1 << (row.0 % 64);
        let fresh = *word & bit == 0;
        if fresh {
            *word |= bit;
            self.rows.push(row);
        }
        fresh
    }
}

/// The closest rows seen, sorted; also the frontier of an unfiltered walk. An entry is distance bits
/// (32), row (31), expanded (1): the mark does not disturb the order.
#[derive(Debug, Default)]
struct Nearest {
    entries: Vec<u64>,
    capacity: usize,
    /// Every entry before this one is expanded.
    cursor: usize,
}

impl Nearest {
    fn reset(&mut self, capacity: usize) {
        self.entries.clear();
        self.capacity = capacity;
        self.cursor = 0;
    }

    fn is_full(&self) -> bool {
        self.entries.len() == self.capacity
    }

    /// The entry beyond which nothing is kept.
    #[inline]
    fn limit(&self) -> u64 {
        if self.is_full() { self.entries[self.capacity - 1] } else { u64::MAX }
    }

    /// The entry of the `k`-th closest row, counted from 1; `u64::MAX` if there are fewer.
    fn entry_at(&self, k: usize) -> u64 {
        self.entries.get(k.saturating_sub(1)).copied().unwrap_or(u64::MAX)
    }

    #[inline]
    fn entry(candidate: Candidate) -> u64 {
        let key = candidate.key();
        key >> 32 << 32 | (key & 0xFFFF_FFFF) << 1
    }

    #[inline]
    fn candidate(entry: u64) -> Candidate {
        Candidate(entry >> 32 << 32 | (entry & 0xFFFF_FFFF) >> 1)
    }

    fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.entries.iter().map(|&entry| Nearest::candidate(entry))
    }

    #[inline]
    fn insert(&mut self, entry: u64) {
        if entry >= self.limit() {
            return;
        }
        if self.is_full() {
            self.entries.pop();
        }
        let place = self.entries.partition_point(|&other| other < entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }
}

impl Beam for Nearest {
    #[inline]
    fn offer(&mut self, candidate: Candidate) {
        self.insert(Nearest::entry(candidate));
    }

    #[inline]
    fn next(&mut self) -> Option<Candidate> {
        let open = self.entries[self.cursor..].iter().position(|&entry| entry & 1 == 0)?;
        let entry = &mut self.entries[self.cursor + open];
        *entry |= 1;
        self.cursor += open + 1;
        Some(Nearest::candidate(*entry))
    }

    #[inline]
    fn peek(&self) -> Option<RowId> {
        let open = self.entries[self.cursor..].iter().find(|&entry| entry & 1 == 0);
        open.map(|&entry| Nearest::candidate(entry).row())
    }
}

/// A walk over all rows for the closest allowed ones.
struct Filtered<'a> {
    allowed: Allowed<'a>,
    duplicates: &'a Duplicates,
    /// Rows it may still be offered; at 0 it has given up.
    left: u64,
    /// The closest representative of a group of which no row is allowed.
    refused: u64,
    frontier: BinaryHeap<Reverse<u64>>,
    nearest: Nearest,
}

impl Beam for Filtered<'_> {
    #[inline]
    fn offer(&mut self, candidate: Candidate) {
        let entry = Nearest::entry(candidate);
        self.left = self.left.saturating_sub(1);
        if entry < self.nearest.limit() {
            self.frontier.push(Reverse(entry));
            if self.allowed.contains(candidate.row()) {
                return self.nearest.insert(entry);
            }
            let group = self.duplicates.of(candidate.row());
            if group.iter().any(|&row| self.allowed.contains(row)) {
                self.nearest.insert(entry);
            } else if !group.is_empty() {
                self.refused = self.refused.min(entry);
            }
        }
    }

    fn next(&mut self) -> Option<Candidate> {
        let Reverse(entry) = if self.left == 0 { None } else { self.frontier.pop() }?;
        (entry <= self.nearest.limit()).then(|| Nearest::candidate(entry))
    }

    fn peek(&self) -> Option<RowId> {
        self.frontier.peek().map(|&Reverse(entry)| Nearest::candidate(entry).row())
    }
}

/// A walk in a graph with duplicates: it goes to distinct rows only.
struct Distinct<'a, B> {
    duplicates: &'a Duplicates,
    beam: &'a mut B,
}

impl<B: Beam> Beam for Distinct<'_, B> {
    fn admits(&self, row: RowId) -> bool {
        !self.duplicates.contains(row)
    }

    fn offer(&mut self, candidate: Candidate) {
        self.beam.offer(candidate);
    }

    fn next(&mut self) -> Option<Candidate> {
        self.beam.next()
    }

    fn peek(&self) -> Option<RowId> {
        self.beam.peek()
    }
}
