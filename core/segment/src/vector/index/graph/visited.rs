//! `Visited`: the rows that a walk has met. Used by `walk`.

use crate::ids::RowId;

/// Rows of a graph from which on the marks of a walk are removed one by one: clearing all of them would cost more.
const CLEARED_ROWS_MAX: usize = 1 << 19;

/// Rows met in this walk: one bit a row.
#[derive(Debug, Default)]
pub(super) struct Visited {
    words: Vec<u64>,
    /// Those met in a large graph.
    met: Vec<RowId>,
    is_large: bool,
    row_count: u32,
}

impl Visited {
    /// Forgets all rows, and makes room for those of a graph.
    pub(super) fn reset(&mut self, row_count: usize) {
        if self.is_large {
            self.met.drain(..).for_each(|row| self.words[row.index() / 64] = 0);
        } else {
            self.words.fill(0);
        }
        self.is_large = row_count > CLEARED_ROWS_MAX;
        self.row_count = row_count as u32;
        let words = row_count.div_ceil(64);
        if self.is_large {
            self.words.resize(words.max(self.words.len()), 0);
        } else {
            self.words.resize(words, 0);
        }
    }

    /// Fills `fresh` with the rows among `places` that were not met before, in order. What is no row is passed over.
    #[inline]
    pub(super) fn meet(&mut self, places: &[u32], fresh: &mut Vec<RowId>) {
        // Without branches: whether a row was met is as good as random.
        fresh.resize(places.len(), RowId(0));
        let mut count = 0;
        for &place in places {
            let is_row = place < self.row_count;
            let row = if is_row { place } else { 0 };
            let word = &mut self.words[row as usize / 64];
            let bit = u64::from(is_row) << (row % 64);
            let is_fresh = *word & bit != bit;
            *word |= bit;
            fresh[count] = RowId(place);
            count += usize::from(is_fresh);
        }
        fresh.truncate(count);
        if self.is_large {
            self.met.extend_from_slice(fresh);
        }
    }
}
