//! The query planner: chooses the access path of one segment from counts and the query (`PlanInput`). A pure function,
//! never of time, load or threads, so that the same search always takes the same access path. Called by
//! `search::prepare`; `rows_scored` is also the server's estimate of the cost of a search.

use crate::vector::AccessPath;
use crate::vector::graph::EF_DEFAULT;

/// What the decision depends on.
#[derive(Debug, Clone, Copy)]
pub struct PlanInput {
    /// Rows of the source, dead ones included: the size of the graph.
    pub rows: u32,
    /// Rows that are live and pass the filter.
    pub allowed: u32,
    /// Whether there is a whole graph.
    pub has_graph: bool,
    /// Inverted lists that it has for searches: where rows are read on demand.
    pub lists: u32,
    /// Results wanted.
    pub k: usize,
    /// Length of the candidate list in the query, if it names one.
    pub ef: Option<usize>,
    /// The caller wants exact answers.
    pub exact: bool,
}

/// Rows a graph search scores per entry of its candidate list, unfiltered: 16 to 26 while the graph was
/// tuned on the three sets of docs/benchmarks.md, falling with `ef`. Only compares costs.
const SCORED_PER_CANDIDATE: u64 = 16;

/// Chooses the cheaper access path that keeps recall; inverted lists where there are some, because rows are fetched
/// then. A filter that lets a share `s` of the rows pass makes the graph search about `1/s` times longer, a scan of the
/// allowed rows `s` times shorter.
pub fn plan(input: PlanInput) -> AccessPath {
    let PlanInput { rows, allowed, has_graph, lists, k, ef, exact } = input;
    if allowed == 0 {
        return AccessPath::Nothing;
    }
    if lists > 0 && !exact {
        return AccessPath::Lists { lists };
    }
    let ef = ef.unwrap_or(EF_DEFAULT).max(k).min(rows as usize) as u32;
    let scan_cost = u64::from(allowed) * u64::from(allowed);
    let graph_cost = u64::from(ef) * SCORED_PER_CANDIDATE * u64::from(rows);
    if exact || !has_graph || scan_cost <= graph_cost {
        AccessPath::Exact
    } else {
        AccessPath::Graph { ef }
    }
}

/// Rows that a search of the source scores, about: what it costs beside its filter.
pub fn rows_scored(input: PlanInput) -> u64 {
    match plan(input) {
        AccessPath::Nothing => 0,
        AccessPath::Exact | AccessPath::Lists { .. } => u64::from(input.allowed),
        AccessPath::Graph { ef } => {
            u64::from(input.rows).min(u64::from(ef).saturating_mul(SCORED_PER_CANDIDATE))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_paths() {
        let base = PlanInput {
            rows: 60_000,
            allowed: 60_000,
            has_graph: true,
            lists: 0,
            k: 10,
            ef: None,
            exact: false,
        };
        let ef = EF_DEFAULT as u32;
        let cases = [
            ("plain search", base, AccessPath::Graph { ef }),
            ("nothing allowed", PlanInput { allowed: 0, ..base }, AccessPath::Nothing),
            ("few allowed", PlanInput { allowed: 600, ..base }, AccessPath::Exact),
            ("a tenth allowed", PlanInput { allowed: 6_000, ..base }, AccessPath::Exact),
            ("half allowed", PlanInput { allowed: 30_000, ..base }, AccessPath::Graph { ef }),
            ("exact asked", PlanInput { exact: true, ..base }, AccessPath::Exact),
            ("no graph", PlanInput { has_graph: false, ..base }, AccessPath::Exact),
            (
                "k above ef",
                PlanInput { k: 500, ef: Some(32), ..base },
                AccessPath::Graph { ef: 500 },
            ),
            ("everything wanted", PlanInput { k: usize::MAX, ..base }, AccessPath::Exact),
            ("lists", PlanInput { lists: 40, ..base }, AccessPath::Lists { lists: 40 }),
            ("lists, exact asked", PlanInput { lists: 40, exact: true, ..base }, AccessPath::Exact),
            ("a small source", PlanInput { rows: 300, allowed: 300, ..base }, AccessPath::Exact),
        ];
        for (name, input, expected) in cases {
            assert_eq!(plan(input), expected, "{name}");
        }
    }

    #[test]
    fn a_scan_scores_the_allowed_rows_and_a_graph_search_some_for_each_candidate() {
        let base = PlanInput {
            rows: 60_000,
            allowed: 50_000,
            has_graph: true,
            lists: 0,
            k: 10,
            ef: Some(100),
            exact: false,
        };
        assert_eq!(rows_scored(base), 1_600);
        assert_eq!(rows_scored(PlanInput { exact: true, ..base }), 50_000);
        assert_eq!(rows_scored(PlanInput { allowed: 0, ..base }), 0);
        assert_eq!(rows_scored(PlanInput { ef: Some(usize::MAX), ..base }), 50_000);
    }
}
