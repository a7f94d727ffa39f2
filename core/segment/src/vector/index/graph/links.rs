//! `Lists`: neighbours with their distances, as a builder changes them. Held by `GraphBuilder`; `adjacency`
//! makes the finished lists.

use crate::ids::RowId;
use crate::vector::index::Candidate;
use crate::vector::index::graph::adjacency::{Adjacency, NO_ROW};

/// Neighbours with their distances while building.
#[derive(Debug)]
pub(super) struct Lists {
    pub(super) stride: usize,
    places: Vec<u32>,
    distances: Vec<f32>,
}

impl Lists {
    pub(super) fn new(rows: usize, stride: usize) -> Self {
        let len = rows * stride;
        Lists { stride, places: vec![NO_ROW; len], distances: vec![0.0; len] }
    }

    pub(super) fn adjacency(&self) -> Adjacency<'_> {
        Adjacency { places: &self.places, stride: self.stride }
    }

    pub(super) fn get(&self, row: RowId) -> impl Iterator<Item = Candidate> + '_ {
        let start = row.index() * self.stride;
        let neighbours = self.adjacency().neighbours(row);
        neighbours.zip(&self.distances[start..]).map(|(row, &d)| Candidate::new(d, row))
    }

    pub(super) fn set(&mut self, row: RowId, links: &[Candidate]) {
        let start = row.index() * self.stride;
        let places = &mut self.places[start..][..self.stride];
        places[links.len()..].fill(NO_ROW);
        for (index, link) in links.iter().enumerate() {
            places[index] = link.row().0;
            self.distances[start + index] = link.distance();
        }
    }
}
