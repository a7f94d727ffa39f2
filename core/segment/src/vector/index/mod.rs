//! How candidates are found: an exact scan (`flat`), a walk over a proximity graph (`graph`), or inverted
//! lists for readers of ranges (`lists`). `AccessPath` names the one that `search::plan` chose; `VectorField`
//! calls the first two, `search::lists` the last.
//!
//! The first two answer with [`Candidate`]s in key order, a total order on (distance bits, row), so that the
//! answer depends on nothing but the rows, the index bytes and the query.

pub mod flat;
pub mod graph;
pub mod lists;

pub use super::candidate::Candidate;

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
