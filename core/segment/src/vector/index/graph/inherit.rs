//! `Inheritance`: grows a graph instead of building one: the rows of an existing graph (`BaseGraph`, chosen
//! by the engine) keep their links, and only other rows are inserted (as Lucene merges HNSW segments, from
//! the graph with most rows). Used by `GraphBuilder`.
//!
//! A row that was left out leaves a gap in the lists that name it. Its own neighbours are candidates for that
//! place, and the list is pruned again (Singh et al., 2021, FreshDiskANN, Algorithm 4). Distances are computed anew,
//! because the section does not store them: as many as a row has links, where inserting a row takes 30 times as many.
//!
//! Invariant: after the last step each node that comes from the base has at most `degree` links, all to nodes of the
//! base. Does not decide whether growing is worthwhile: a graph with many gaps is better built anew.

use std::sync::Arc;

use crate::ids::RowId;
use crate::parallel::Pool;
use crate::vector::index::Candidate;
use crate::vector::index::graph::Graph;
use crate::vector::index::graph::adjacency::NO_ROW;
use crate::vector::index::graph::links::Lists;
use crate::vector::index::graph::prune::prune;
use crate::vector::scorer::{Scorer, Space};

/// Lists taken over by one step.
const STEP_ROWS: usize = 4096;

/// A graph that keeps its links while other rows are inserted into it.
#[derive(Debug, Clone)]
pub struct BaseGraph {
    /// The graph of a segment whose live rows are all among the new ones.
    pub graph: Graph,
    /// The new row of each row of the graph; `u32::MAX` for rows that are left out.
    pub new_rows: Arc<[u32]>,
}

/// A base graph whose lists are being taken over.
#[derive(Debug)]
pub(super) struct Inheritance {
    graph: Graph,
    /// By row of the base, the node of the new graph that it became; `NO_ROW` for rows that are no node or are left
    /// out.
    nodes: Vec<u32>,
    /// New nodes, each with the node of the base it was; ascending. Several may have become one.
    sources: Vec<(RowId, RowId)>,
    /// Sources before this one are taken over.
    done: usize,
}

/// Buffers of one thread.
#[derive(Default)]
struct Buffers {
    rows: Vec<RowId>,
    distances: Vec<f32>,
    candidates: Vec<Candidate>,
}

impl Inheritance {
    /// `pairs` are representatives and duplicates among the new rows.
    ///
    /// # Panics
    /// If `base` has not one new row for each row of the graph.
    pub(super) fn new(base: BaseGraph, pairs: &[(RowId, RowId)]) -> Self {
        let BaseGraph { graph, new_rows } = base;
        assert_eq!(new_rows.len(), graph.adjacency().rows(), "a new row for each old one");
        let mut representatives: Vec<(RowId, RowId)> =
            pairs.iter().map(|&(representative, duplicate)| (duplicate, representative)).collect();
        representatives.sort_unstable();
        let node_of = |row: RowId| -> Option<u32> {
            let new = RowId(new_rows[row.index()]);
            let pair = representatives.binary_search_by_key(&new, |pair| pair.0);
            (new.0 != NO_ROW).then(|| pair.map_or(new, |at| representatives[at].1).0)
        };
        let mut nodes = vec![NO_ROW; new_rows.len()];
        let mut sources = Vec::with_capacity(new_rows.len());
        let rows = (0..new_rows.len() as u32).map(RowId);
        for row in rows.filter(|&row| !graph.duplicates.contains(row)) {
            // Where a representative was left out, one of its duplicates takes over its list.
            let mut equals = graph.duplicates.of(row).iter().copied();
            if let Some(node) = node_of(row).or_else(|| equals.find_map(node_of)) {
                nodes[row.index()] = node;
                sources.push((RowId(node), row));
            }
        }
        sources.sort_unstable();
        Inheritance { graph, nodes, sources, done: 0 }
    }

    /// The nodes that have links already, ascending.
    pub(super) fn inherited(&self) -> Vec<RowId> {
        let mut nodes: Vec<RowId> = self.sources.iter().map(|&(node, _)| node).collect();
        nodes.dedup();
        nodes
    }

    /// Takes over some thousand lists, each of at most `degree` links; false when none is left.
    pub(super) fn step(
        &mut self,
        lists: &mut Lists,
        space: &impl Space,
        degree: usize,
        alpha_squared: f32,
        pool: &Pool,
    ) -> bool {
        let groups = self.sources[self.done..].chunk_by(|a, b| a.0 == b.0).take(STEP_ROWS);
        let mut updates: Vec<_> = groups.map(|group| (group, Vec::new())).collect();
        pool.for_each_chunk(&mut updates, 32, Buffers::default, |buffers, _, chunk| {
            for (group, list) in chunk {
                let node = group[0].0;
                let has_gap = self.read_links(group, space, buffers);
                if has_gap || buffers.candidates.len() > degree {
                    prune(space, node, &buffers.candidates, degree, alpha_squared, list);
                } else {
                    list.clone_from(&buffers.candidates);
                }
            }
        });
        for (group, list) in &updates {
            lists.set(group[0].0, list);
        }
        let taken_over: usize = updates.iter().map(|(group, _)| group.len()).sum();
        self.done += taken_over;
        self.done < self.sources.len()
    }

    /// Reads the links of one node into `buffers.candidates`, sorted. True if a link ended at a row that was left
    /// out: that row's own links are there instead.
    fn read_links(
        &self,
        sources: &[(RowId, RowId)],
        space: &impl Space,
        buffers: &mut Buffers,
    ) -> bool {
        let Buffers { rows, distances, candidates } = buffers;
        let (node, adjacency) = (sources[0].0, self.graph.adjacency());
        let mut has_gap = false;
        rows.clear();
        for neighbour in sources.iter().flat_map(|&(_, source)| adjacency.neighbours(source)) {
            if let Some(linked) = self.node(neighbour) {
                rows.push(linked);
            } else if !self.graph.duplicates.contains(neighbour) {
                has_gap = true;
                rows.extend(adjacency.neighbours(neighbour).filter_map(|row| self.node(row)));
            }
        }
        rows.retain(|&row| row != node);
        distances.resize(rows.len(), 0.0);
        space.scorer(node).score_many(rows, distances);
        candidates.clear();
        candidates.extend(distances.iter().zip(&*rows).map(|(&d, &row)| Candidate::new(d, row)));
        candidates.sort_unstable();
        candidates.dedup();
        has_gap
    }

    fn node(&self, row: RowId) -> Option<RowId> {
        let node = self.nodes[row.index()];
        (node != NO_ROW).then_some(RowId(node))
    }
}
