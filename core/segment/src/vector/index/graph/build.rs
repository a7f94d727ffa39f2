//! `GraphBuilder`: builds a graph by batches (ParlayANN: Manohar et al., 2024): the rows of a batch search
//! the graph as it was before the batch, in parallel; then their back links are grouped by target and each
//! target is pruned, in parallel. So the bytes depend on rows, parameters (`GraphParams`) and seed alone.
//! Used by `VectorField`'s builder, step by step; `connect` makes all rows reachable afterwards.
//!
//! Of equal rows only the representative is inserted; the links of its duplicates are written at the end.
//!
//! A builder may start from a graph over some of the rows instead of from nothing (`inherit`).
//!
//! The builder owns no rows: every call is given the same ones, and the caller keeps them.

use crate::ids::RowId;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::rowset::RowSet;
use crate::storage::AlignedBuffer;
use crate::vector::index::Candidate;
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};
use crate::vector::index::graph::connect::Connector;
use crate::vector::index::graph::duplicates::Duplicates;
use crate::vector::index::graph::entries::{Probe, move_far_apart_to_front};
use crate::vector::index::graph::inherit::{BaseGraph, Inheritance};
use crate::vector::index::graph::links::Lists;
use crate::vector::index::graph::prune::prune;
use crate::vector::index::graph::search::{Scratch, walk_expanded};
use crate::vector::index::graph::{ROWS_MAX, is_degree, write};
use crate::vector::scorer::Space;

/// Shape of a graph and budget of its construction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct GraphParams {
    /// Most neighbours of a row; a multiple of 16, at most [`DEGREE_MAX`](super::DEGREE_MAX).
    pub degree: u32,
    /// Rows kept by the search for a new row's neighbours.
    pub build_ef: usize,
    /// Slack of the pruning rule on distances, 1 or more: larger keeps more long links.
    pub alpha: f32,
}

impl Default for GraphParams {
    fn default() -> Self {
        GraphParams { degree: 32, build_ef: 100, alpha: 1.05 }
    }
}

impl GraphParams {
    fn alpha_squared(&self) -> f32 {
        self.alpha * self.alpha
    }
}

/// How far a build is, in rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Rows done.
    pub done: u64,
    /// Rows to do; `done == total` when the build is finished.
    pub total: u64,
}

/// Builds a graph step by step.
#[derive(Debug)]
pub struct GraphBuilder {
    params: GraphParams,
    row_count: u32,
    entries: Vec<u32>,
    duplicates: Duplicates,
    /// Distinct rows in the order of insertion: those of the base graph, the entries, then the others.
    order: Vec<RowId>,
    inserted: usize,
    /// The first rows of `order`, and how many of the first entries are among them.
    inherited: usize,
    /// How many of the first entries were nodes already when they became entries.
    entries_linked: usize,
    /// Nodes at the last probe for rows that searches miss.
    probed: usize,
    inheritance: Option<Inheritance>,
    lists: Lists,
    connector: Option<Connector>,
}

/// Most rows of a batch: they do not see each other.
const BATCH_MAX: usize = 1024;

/// Links that a list has room for beyond the degree while a graph is built, so that a row is pruned once for many back
/// links.
pub const SLACK_LINKS: usize = 16;

/// Representatives of large groups that every search starts from too: a missed one costs a whole answer.
const GROUP_ENTRIES_MAX: usize = 16;

/// Nodes from which on searches are probed for rows that they miss, at each doubling and at the end.
const PROBED_MIN: usize = 2048;

/// Rows linked by one step when mending connectivity.
const CONNECT_ROWS: u64 = 1024;

impl GraphBuilder {
    /// A builder over the rows of `space`, which adds to `base` if there is one. O(rows × dim).
    ///
    /// # Panics
    /// If `params` are out of range, there are more than [`ROWS_MAX`] rows, or `base` has not one new row for each row
    /// of its graph, or one that is not among `rows`.
    pub fn new(
        space: &impl Space,
        params: GraphParams,
        seed: u64,
        base: Option<BaseGraph>,
        pool: &Pool,
    ) -> Self {
        let degree = params.degree as usize;
        assert!(is_degree(params.degree), "degree {degree}");
        assert!(params.build_ef > 0 && params.alpha >= 1.0, "{params:?}");
        let row_count = space.row_count();
        assert!(row_count <= ROWS_MAX, "{row_count} rows");
        let mut order: Vec<RowId> = (0..row_count).map(RowId).collect();
        shuffle(&mut order, seed);
        let pairs = space.equal_rows(pool);
        let inheritance = base.map(|base| Inheritance::new(base, &pairs));
        let duplicates = Duplicates::new(row_count, pairs);
        order.retain(|&row| !duplicates.contains(row));
        let entry_count = move_far_apart_to_front(space, &mut order);
        let groups = duplicates.largest(GROUP_ENTRIES_MAX);
        let entry_count = move_to_front(&groups, &mut order, entry_count);
        let mut entries: Vec<u32> = order[..entry_count].iter().map(|row| row.0).collect();
        let inherited = inheritance.as_ref().map(Inheritance::inherited).unwrap_or_default();
        let entries_linked =
            move_inherited_to_front(&inherited, row_count, &mut order, &mut entries);
        GraphBuilder {
            params,
            row_count,
            entries,
            inserted: inherited.len().max(order.len().min(1)),
            inherited: inherited.len(),
            entries_linked,
            probed: 0,
            inheritance,
            lists: Lists::new(row_count as usize, degree + SLACK_LINKS),
            duplicates,
            order,
            connector: None,
        }
    }

    /// Does a piece of the work: at most some ten thousand searches. Call until done equals total.
    pub fn step(&mut self, space: &impl Space, pool: &Pool) -> Progress {
        assert_eq!(space.row_count(), self.row_count, "the rows of the start");
        if let Some(inheritance) = &mut self.inheritance {
            let (degree, alpha_squared) =
                (self.params.degree as usize, self.params.alpha_squared());
            if !inheritance.step(&mut self.lists, space, degree, alpha_squared, pool) {
                self.inheritance = None;
            }
        } else if self.inserted < self.order.len() {
            if self.inserted >= PROBED_MIN.max(2 * self.probed) {
                let missed = self.missed(self.lists.adjacency(), space, pool);
                self.add_entries(&missed);
            }
            self.insert_batch(space, pool);
        } else if let Some(connector) = &mut self.connector {
            connector.step(space, &self.entries, CONNECT_ROWS);
        } else {
            let places = self.trimmed(space, pool);
            let degree = self.params.degree as usize;
            let adjacency = Adjacency { places: &places, stride: degree };
            let missed = self.missed(adjacency, space, pool);
            self.add_entries(&missed);
            let duplicates = std::mem::take(&mut self.duplicates);
            self.connector = Some(Connector::new(places, degree, &self.entries, duplicates));
            self.lists = Lists::new(0, 1);
        }
        self.progress()
    }

    /// How far the build is. Mending connectivity counts as much as inserting, though it is faster.
    pub fn progress(&self) -> Progress {
        let connected = self.connector.as_ref().map_or(0, Connector::done);
        let rows = u64::from(self.row_count);
        let to_insert = (self.order.len() - self.inserted) as u64;
        Progress { done: rows - to_insert + connected, total: 2 * rows }
    }

    /// The bytes of the graph section.
    ///
    /// # Panics
    /// If the build is not done.
    pub fn finish(self) -> AlignedBuffer {
        let Progress { done, total } = self.progress();
        assert_eq!(done, total, "steps go on until done equals total");
        let degree = self.params.degree as usize;
        let (places, pairs) = self.connector.map_or_else(Default::default, Connector::into_parts);
        let mut entries = self.entries;
        entries.sort_unstable();
        write(&entries, &pairs, Adjacency { places: &places, stride: degree }, degree)
    }

    fn insert_batch(&mut self, space: &impl Space, pool: &Pool) {
        let size = self.inserted.min(BATCH_MAX).min(self.order.len() - self.inserted);
        let batch = &self.order[self.inserted..][..size];
        let chosen = self.neighbours_of(batch, space, pool);
        let mut back_links = Vec::with_capacity(chosen.iter().map(|(_, list)| list.len()).sum());
        for (row, list) in &chosen {
            self.lists.set(*row, list);
            let back = |link: &Candidate| (link.row(), Candidate::new(link.distance(), *row));
            back_links.extend(list.iter().map(back));
        }
        self.add_links(back_links, space, pool);
        self.inserted += size;
    }

    /// The neighbours of new rows in the graph as it is.
    fn neighbours_of(
        &self,
        batch: &[RowId],
        space: &impl Space,
        pool: &Pool,
    ) -> Vec<(RowId, Vec<Candidate>)> {
        let GraphParams { degree, build_ef, .. } = self.params;
        let entries = self.ready_entries();
        let mut chosen: Vec<_> = batch.iter().map(|&row| (row, Vec::new())).collect();
        pool.for_each_chunk(&mut chosen, 1, Scratch::default, |scratch, _, chunk| {
            for (row, list) in chunk {
                let scorer = space.scorer(*row);
                let adjacency = self.lists.adjacency();
                let found = walk_expanded(adjacency, entries, &scorer, build_ef, scratch);
                prune(space, *row, found, degree as usize, self.params.alpha_squared(), list);
            }
        });
        chosen
    }

    /// Inserted rows that searches of the graph as it is do not reach.
    fn missed(&self, adjacency: Adjacency<'_>, space: &impl Space, pool: &Pool) -> Vec<RowId> {
        let inserted = &self.order[..self.inserted];
        // Fewer candidates than a usual search keeps, so that a usual one has a margin.
        let (entries, ef) = (self.ready_entries(), self.params.build_ef.div_ceil(3));
        // Another sample than the last time.
        let offset = inserted.len().checked_ilog2().unwrap_or(0) as usize;
        Probe { adjacency, entries, ef, space }.missed(inserted, offset, pool)
    }

    /// The entries that are inserted; they are before other rows.
    fn ready_entries(&self) -> &[u32] {
        let ready = self.entries_linked + self.inserted - self.inherited;
        &self.entries[..self.entries.len().min(ready)]
    }

    /// Makes entries of nodes.
    fn add_entries(&mut self, nodes: &[RowId]) {
        self.probed = self.inserted;
        let new = nodes.iter().map(|row| row.0).filter(|row| !self.entries.contains(row));
        let new: Vec<u32> = new.collect();
        self.entries_linked += new.len();
        self.entries.splice(..0, new);
    }

    /// Adds links to many rows; a row with too many is pruned.
    fn add_links(&mut self, mut links: Vec<(RowId, Candidate)>, space: &impl Space, pool: &Pool) {
        links.sort_unstable();
        let groups = links.chunk_by(|a, b| a.0 == b.0);
        let mut updates: Vec<_> = groups.map(|group| (group, Vec::new())).collect();
        let degree = self.params.degree as usize;
        pool.for_each_chunk(&mut updates, 2, Vec::new, |all, _, chunk| {
            for (group, list) in chunk {
                let row = group[0].0;
                all.clear();
                all.extend(self.lists.get(row));
                all.extend(group.iter().map(|(_, link)| *link));
                if all.len() <= self.lists.stride {
                    list.clone_from(all);
                } else {
                    all.sort_unstable();
                    prune(space, row, all, degree, self.params.alpha_squared(), list);
                }
            }
        });
        for (group, list) in &updates {
            self.lists.set(group[0].0, list);
        }
    }

    /// The final neighbours: sorted, of each row as many as it has places for distinct rows.
    fn trimmed(&self, space: &impl Space, pool: &Pool) -> Vec<u32> {
        let degree = self.params.degree as usize;
        let mut places = vec![NO_ROW; self.row_count as usize * degree];
        let mut rows: Vec<&mut [u32]> = places.chunks_exact_mut(degree).collect();
        let buffers = || (Vec::new(), Vec::new());
        pool.for_each_chunk(&mut rows, 8, buffers, |(all, chosen), offset, chunk| {
            for (index, places) in chunk.iter_mut().enumerate() {
                let row = RowId((offset + index) as u32);
                all.clear();
                all.extend(self.lists.get(row));
                all.sort_unstable();
                let degree = self.duplicates.free_places(row, degree);
                if all.len() > degree {
                    prune(space, row, all, degree, self.params.alpha_squared(), chosen);
                    std::mem::swap(all, chosen);
                }
                for (place, link) in places.iter_mut().zip(&*all) {
                    *place = link.row().0;
                }
            }
        });
        places
    }
}

/// Fisher–Yates, seeded.
fn shuffle(rows: &mut [RowId], seed: u64) {
    let mut rng = Rng::new(seed);
    for end in (1..rows.len()).rev() {
        rows.swap(end, rng.below(end as u64 + 1) as usize);
    }
}

/// Moves `rows` behind the first `count` of `order`, unless they are among those; returns the new count.
fn move_to_front(rows: &[RowId], order: &mut [RowId], mut count: usize) -> usize {
    for row in rows {
        let place =
            order.iter().position(|other| other == row).expect("every node is in the order");
        if place >= count {
            order.swap(count, place);
            count += 1;
        }
    }
    count
}

/// Moves the rows of a base graph to the front of `order` and of `entries`; returns how many entries those are, at
/// least one if there are such rows, because the first search starts there.
fn move_inherited_to_front(
    inherited: &[RowId],
    rows: u32,
    order: &mut Vec<RowId>,
    entries: &mut Vec<u32>,
) -> usize {
    let Some(&first) = inherited.first() else { return 0 };
    let mut set = RowSet::empty(rows);
    for &row in inherited {
        set.insert(row);
    }
    let is_new = |row: RowId| !set.contains(row);
    order.retain(|&row| is_new(row));
    order.splice(..0, inherited.iter().copied());
    let mut count = 0;
    for at in 0..entries.len() {
        if !is_new(RowId(entries[at])) {
            entries.swap(count, at);
            count += 1;
        }
    }
    if count == 0 {
        entries.insert(0, first.0);
    }
    count.max(1)
}
