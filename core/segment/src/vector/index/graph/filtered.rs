//! `Filtered`: the beam of a walk over all rows of which only allowed ones may be found. Used by `search`.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use crate::allowed::Allowed;
use crate::ids::RowId;
use crate::vector::index::Candidate;

use super::duplicates::Duplicates;
use super::nearest::Nearest;
use super::walk::Beam;

/// A walk over all rows for the closest allowed ones.
pub(super) struct Filtered<'a> {
    pub(super) allowed: Allowed<'a>,
    pub(super) duplicates: &'a Duplicates,
    /// Rows it may still be offered; at 0 it has given up.
    pub(super) left: u64,
    /// The closest representative of a group of which no row is allowed.
    pub(super) refused: u64,
    pub(super) frontier: BinaryHeap<Reverse<u64>>,
    pub(super) nearest: Nearest,
}

impl Filtered<'_> {
    #[inline]
    fn offer_one(&mut self, candidate: Candidate) {
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
}

impl Beam for Filtered<'_> {
    #[inline]
    fn offer(&mut self, rows: &[RowId], distances: &[f32]) {
        for (&row, &distance) in rows.iter().zip(distances) {
            self.offer_one(Candidate::new(distance, row));
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
