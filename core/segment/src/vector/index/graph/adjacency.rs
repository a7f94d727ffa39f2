//! `Adjacency`: the lists of neighbours (row → rows), of a finished graph and of one that is being built.
//! Read by the search, the build and `connect`.

use crate::ids::RowId;
use crate::kernel::prefetch_slice;

/// Fills the places of missing neighbours, so it is no row.
pub(super) const NO_ROW: u32 = u32::MAX;

/// Neighbours by row: `stride` places each, `NO_ROW` from the first unused one on.
#[derive(Debug, Clone, Copy)]
pub(super) struct Adjacency<'a> {
    pub(super) places: &'a [u32],
    pub(super) stride: usize,
}

impl<'a> Adjacency<'a> {
    /// The places of a row. Those of a mapped file are not checked before.
    #[inline]
    pub(super) fn places_of(self, row: RowId) -> &'a [u32] {
        &self.places[row.index() * self.stride..][..self.stride]
    }

    #[inline]
    pub(super) fn neighbours(self, row: RowId) -> impl Iterator<Item = RowId> + 'a {
        // What is no row ends a list.
        let rows = self.rows();
        self.places_of(row)
            .iter()
            .take_while(move |&&place| (place as usize) < rows)
            .map(|&place| RowId(place))
    }

    #[inline]
    pub(super) fn prefetch(self, row: RowId) {
        prefetch_slice(self.places_of(row));
    }

    pub(super) fn rows(self) -> usize {
        self.places.len() / self.stride
    }
}
