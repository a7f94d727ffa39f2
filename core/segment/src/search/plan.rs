//! How one source is searched, decided from numbers alone: a pure function of counts and
//! the query, never of time, load or threads, so that the same question always takes the same way.

use crate::vector::graph::EF_DEFAULT;

/// The way a source is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "snake_case", tag = "rung")]
pub enum Rung {
    /// No row can match: nothing is read.
    Nothing,
    /// Every allowed row is scored. Exact.
    Exact,
    /// Best-first through the graph, keeping `ef` allowed candidates.
    Graph {
        /// Length of the candidate list.
        ef: u32,
    },
}

impl std::fmt::Display for Rung {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Rung::Nothing => f.write_str("nothing to search"),
            Rung::Exact => f.write_str("every allowed row compared"),
            Rung::Graph { ef } => write!(f, "searched through the graph (ef {ef})"),
        }
    }
}

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct Situation {
    /// Rows of the source, dead ones included: the size of the graph.
    pub rows: u32,
    /// Rows that are live and pass the filter.
    pub allowed: u32,
    /// Whether there is a whole graph.
    pub has_graph: bool,
    /// Results wanted.
    pub k: usize,
    /// Candidate list asked for by the caller, if any.
    pub ef: Option<usize>,
    /// The caller wants exact answers.
    pub exact: bool,
}

/// Rows a graph search scores per entry of its candidate list, unfiltered: 16 to 26 while the graph was
/// tuned on the three sets of docs/benchmarks.md, falling with `ef`. Only compares costs.
const SCORED_PER_CANDIDATE: u64 = 16;

/// Chooses the cheaper way that keeps recall. A filter that lets a share `s` of the rows pass makes the
/// graph search about `1/s` times longer, a scan of the allowed rows `s` times shorter.
pub fn plan(situation: Situation) -> Rung {
    let Situation { rows, allowed, has_graph, k, ef, exact } = situation;
    if allowed == 0 {
        return Rung::Nothing;
    }
    let ef = ef.unwrap_or(EF_DEFAULT).max(k).min(rows as usize) as u32;
    let scan_cost = u64::from(allowed) * u64::from(allowed);
    let graph_cost = u64::from(ef) * SCORED_PER_CANDIDATE * u64::from(rows);
    if exact || !has_graph || scan_cost <= graph_cost { Rung::Exact } else { Rung::Graph { ef } }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_ways() {
        let base = Situation {
            rows: 60_000,
            allowed: 60_000,
            has_graph: true,
            k: 10,
            ef: None,
            exact: false,
        };
        let ef = EF_DEFAULT as u32;
        let cases = [
            ("plain search", base, Rung::Graph { ef }),
            ("nothing allowed", Situation { allowed: 0, ..base }, Rung::Nothing),
            ("few allowed", Situation { allowed: 600, ..base }, Rung::Exact),
            ("a tenth allowed", Situation { allowed: 6_000, ..base }, Rung::Exact),
            ("half allowed", Situation { allowed: 30_000, ..base }, Rung::Graph { ef }),
            ("exact asked", Situation { exact: true, ..base }, Rung::Exact),
            ("no graph", Situation { has_graph: false, ..base }, Rung::Exact),
            ("k above ef", Situation { k: 500, ef: Some(32), ..base }, Rung::Graph { ef: 500 }),
            ("everything wanted", Situation { k: usize::MAX, ..base }, Rung::Exact),
            ("a small source", Situation { rows: 300, allowed: 300, ..base }, Rung::Exact),
        ];
        for (name, situation, expected) in cases {
            assert_eq!(plan(situation), expected, "{name}");
        }
    }
}
