//! A dense set of rows: one bit each.

use crate::ids::RowId;

/// A set of rows of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RowSet {
    words: Vec<u64>,
    len: u32,
}

impl RowSet {
    /// No row of `len`.
    pub fn empty(len: u32) -> Self {
        RowSet { words: vec![0; (len as usize).div_ceil(64)], len }
    }

    /// Every row of `len`.
    pub fn full(len: u32) -> Self {
        let mut set = RowSet::empty(len);
        (0..len).for_each(|row| set.insert(RowId(row)));
        set
    }

    /// Adds a row.
    pub fn insert(&mut self, row: RowId) {
        self.words[row.index() / 64] |= 1 << (row.0 % 64);
    }

    /// Whether the row is in the set.
    #[inline]
    pub fn contains(&self, row: RowId) -> bool {
        self.words[row.index() / 64] >> (row.0 % 64) & 1 == 1
    }

    /// Rows in the set.
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// Rows the set could hold.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if the set could hold no row.
    pub fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The rows, ascending.
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        (0..self.len).map(RowId).filter(|&row| self.contains(row))
    }
}
