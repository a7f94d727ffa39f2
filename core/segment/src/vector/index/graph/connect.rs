//! Connects a graph after the build, so that every row is reachable from the entry rows. `Connector` is used by
//! `GraphBuilder`.
//!
//! Breadth-first search marks the links it came by; these *tree links* are never taken away, so what
//! is reachable stays so. A row that was not reached is linked from a close row with a free place,
//! else with a link to spare, else from the first row found that has either: n − 1 tree links cannot
//! fill n rows.
//!
//! Duplicates are left out: they are reached through their representatives, by links written at the end.

use crate::ids::RowId;
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};
use crate::vector::index::graph::duplicates::Duplicates;
use crate::vector::index::graph::search::{Scratch, walk_expanded};
use crate::vector::scorer::Space;

/// Close rows considered as the origin of a new link.
const ORIGINS: usize = 64;

/// Makes all rows reachable, step by step.
#[derive(Debug)]
pub(super) struct Connector {
    places: Vec<u32>,
    degree: usize,
    duplicates: Duplicates,
    /// Per place: is it a tree link?
    is_tree: Vec<bool>,
    is_reached: Vec<bool>,
    /// Reached rows in order; the links of those before `spread` were followed.
    reached: Vec<RowId>,
    spread: usize,
    /// Rows of `reached` before this one have no free place and no link to spare.
    exhausted: usize,
    /// Rows before this one are reached.
    done: u32,
    scratch: Scratch,
}

impl Connector {
    pub(super) fn new(
        places: Vec<u32>,
        degree: usize,
        entries: &[u32],
        duplicates: Duplicates,
    ) -> Self {
        let rows = places.len() / degree;
        let mut connector = Connector {
            is_tree: vec![false; places.len()],
            is_reached: vec![false; rows],
            reached: Vec::with_capacity(rows),
            places,
            degree,
            duplicates,
            spread: 0,
            exhausted: 0,
            done: 0,
            scratch: Scratch::default(),
        };
        for row in connector.duplicates.rows() {
            connector.is_reached[row.index()] = true;
        }
        entries.iter().for_each(|&entry| connector.reach(RowId(entry)));
        connector
    }

    /// Rows known to be reachable, counted from row 0.
    pub(super) fn done(&self) -> u64 {
        u64::from(self.done)
    }

    /// The lists of all rows, those of duplicates too; representatives and duplicates.
    pub(super) fn into_parts(mut self) -> (Vec<u32>, Vec<(RowId, RowId)>) {
        self.duplicates.link(&mut self.places, self.degree);
        (self.places, self.duplicates.pairs().collect())
    }

    /// Links up to `links_max` unreached rows.
    pub(super) fn step(&mut self, space: &impl Space, entries: &[u32], links_max: u64) {
        self.spread();
        let mut links = 0;
        while links < links_max {
            let rest = &self.is_reached[self.done as usize..];
            let Some(distance) = rest.iter().position(|reached| !reached) else {
                self.done = self.is_reached.len() as u32;
                return;
            };
            self.done += distance as u32;
            let row = RowId(self.done);
            let place = self.place_for(row, space, entries);
            self.places[place] = row.0;
            self.is_tree[place] = true;
            self.reach(row);
            self.spread();
            links += 1;
        }
    }

    fn reach(&mut self, row: RowId) {
        self.is_reached[row.index()] = true;
        self.reached.push(row);
    }

    /// Follows all links of reached rows.
    fn spread(&mut self) {
        while let Some(&row) = self.reached.get(self.spread) {
            self.spread += 1;
            for place in self.places_of(row) {
                let neighbour = self.places[place];
                if neighbour == NO_ROW {
                    break;
                }
                if !self.is_reached[neighbour as usize] {
                    self.is_tree[place] = true;
                    self.reach(RowId(neighbour));
                }
            }
        }
    }

    /// The places for links to distinct rows.
    fn places_of(&self, row: RowId) -> std::ops::Range<usize> {
        let start = row.index() * self.degree;
        start..start + self.duplicates.free_places(row, self.degree)
    }

    /// The place in the list of a reached row that may be overwritten with a link to `row`.
    fn place_for(&mut self, row: RowId, space: &impl Space, entries: &[u32]) -> usize {
        let adjacency = Adjacency { places: &self.places, stride: self.degree };
        let scorer = space.scorer(row);
        let found = walk_expanded(adjacency, entries, &scorer, ORIGINS, &mut self.scratch);
        let origins: Vec<RowId> = found.iter().map(|found| found.row()).take(ORIGINS).collect();
        let free = origins.iter().find_map(|&origin| self.free_place(origin));
        let spare = || origins.iter().find_map(|&origin| self.spare_place(origin, self.degree / 2));
        free.or_else(spare).unwrap_or_else(|| self.any_place())
    }

    fn free_place(&self, row: RowId) -> Option<usize> {
        self.places_of(row).find(|&place| self.places[place] == NO_ROW)
    }

    /// The last (longest) link that is no tree link, if more than `keep` such links are there.
    fn spare_place(&self, row: RowId, keep: usize) -> Option<usize> {
        let mut spare = self.places_of(row).rev().filter(|&place| !self.is_tree[place]);
        let last = spare.next()?;
        (spare.count() >= keep).then_some(last)
    }

    fn any_place(&mut self) -> usize {
        loop {
            let row = self.reached[self.exhausted];
            if let Some(place) = self.free_place(row).or_else(|| self.spare_place(row, 0)) {
                return place;
            }
            self.exhausted += 1;
        }
    }
}
