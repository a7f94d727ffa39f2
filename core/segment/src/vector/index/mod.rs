//! How candidates are found: an exact scan (`flat`), a walk over a proximity graph (`graph`), or inverted
//! lists for readers of ranges (`lists`). `AccessPath` names the one that `search::plan` chose; `VectorField`
//! calls the first two, `search::lists` the last.
//!
//! The first two answer with [`Candidate`]s in key order, a total order on (distance bits, row), so that the
//! answer depends on nothing but the rows, the index bytes and the query.

pub mod flat;
pub mod graph;
pub mod lists;

use crate::ids::RowId;

/// A row with its distance, packed so that comparing keys compares (distance, row).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Candidate(u64);

impl Candidate {
    /// A row at a distance. −0.0 sorts before +0.0; NaN of positive sign after every number.
    #[inline]
    pub fn new(distance: f32, row: RowId) -> Self {
        Candidate(u64::from(ordered_bits(distance)) << 32 | u64::from(row.0))
    }

    /// Distance and row as one number: smaller is closer, then smaller row first.
    #[inline]
    pub fn key(self) -> u64 {
        self.0
    }

    /// The row.
    #[inline]
    pub fn row(self) -> RowId {
        RowId(self.0 as u32)
    }

    /// The distance, as scored.
    #[inline]
    pub fn distance(self) -> f32 {
        from_ordered_bits(self.distance_bits())
    }

    /// The distance as a u32 of the same order.
    #[inline]
    pub fn distance_bits(self) -> u32 {
        (self.0 >> 32) as u32
    }
}

/// The way the rows of a field are searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "rung")]
pub enum AccessPath {
    /// No row can match: nothing is read.
    Nothing,
    /// Every allowed row is scored. Exact.
    Exact,
    /// Best-first through the graph, keeping `ef` allowed candidates.
    Graph {
        /// Length of the candidate list.
        ef: u32,
    },
    /// The rows of the nearest inverted lists, by their codes. The lists are chosen over all segments together.
    Lists {
        /// How many lists there are.
        lists: u32,
    },
}

impl std::fmt::Display for AccessPath {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            AccessPath::Nothing => f.write_str("nothing to search"),
            AccessPath::Exact => f.write_str("every allowed row compared"),
            AccessPath::Graph { ef } => write!(f, "searched through the graph (ef {ef})"),
            AccessPath::Lists { lists } => write!(f, "the nearest of {lists} inverted lists read"),
        }
    }
}

/// What a search did.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SearchStats {
    /// Rows scored, or refused by their approximation.
    pub scored: u64,
    /// Graph nodes whose neighbours were read.
    pub hops: u64,
    /// Rows found by their codes whose originals were then scored.
    pub reranked: u64,
}

impl std::ops::AddAssign for SearchStats {
    fn add_assign(&mut self, other: Self) {
        self.scored += other.scored;
        self.hops += other.hops;
        self.reranked += other.reranked;
    }
}

/// Flips the bits of a float so that unsigned order is numeric order.
#[inline]
fn ordered_bits(value: f32) -> u32 {
    let bits = value.to_bits();
    bits ^ (((bits as i32) >> 31) as u32 | 0x8000_0000)
}

#[inline]
fn from_ordered_bits(ordered: u32) -> f32 {
    let mask = if ordered >> 31 == 1 { 0x8000_0000 } else { u32::MAX };
    f32::from_bits(ordered ^ mask)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_order_by_distance_then_row_and_give_both_back() {
        let distances =
            [f32::NEG_INFINITY, -2.5, -1e-45, -0.0, 0.0, 1e-45, 1.0, 3.4e38, f32::INFINITY];
        let mut previous = None;
        for distance in distances {
            for row in [0, 1, u32::MAX] {
                let candidate = Candidate::new(distance, RowId(row));
                assert_eq!(candidate.distance().to_bits(), distance.to_bits());
                assert_eq!(candidate.row(), RowId(row));
                assert!(previous < Some(candidate), "{distance} {row}");
                previous = Some(candidate);
            }
        }
    }
}
