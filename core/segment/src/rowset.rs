//! `RowSet`: a set of rows of one segment, such as what a filter keeps, what is alive, what a search may
//! return. Used by `filter::eval`, `payload`, `Allowed` and the searches; the engine holds a `DeadRows` for
//! each segment of a `View`.
//!
//! A [`RowSet`] is dense: one bit a row, 64 rows a word, so a set over a million rows is 125 kB and
//! combining two is a pass over words. Invariant: bits at and above `len` are zero, so counting and
//! complementing need no special case. It is not compressed and does not grow.
//!
//! [`DeadRows`] is the same set in chunks that clones share, for deletes that many views look at.

mod dead;
#[cfg(test)]
mod tests;

pub use dead::DeadRows;

use crate::error::{Error, Result};
use crate::ids::RowId;

const WORD_BITS: usize = u64::BITS as usize;

/// A set of rows out of `0..len`.
#[derive(Clone, PartialEq, Eq)]
pub struct RowSet {
    len: u32,
    words: Vec<u64>,
}

impl RowSet {
    /// No row of `0..len`.
    pub fn empty(len: u32) -> Self {
        RowSet { len, words: vec![0; (len as usize).div_ceil(WORD_BITS)] }
    }

    /// Every row of `0..len`.
    pub fn full(len: u32) -> Self {
        let mut set = RowSet { len, words: vec![u64::MAX; (len as usize).div_ceil(WORD_BITS)] };
        set.clear_tail();
        set
    }

    /// The inverse of [`to_bytes`](RowSet::to_bytes).
    ///
    /// # Errors
    /// `Corrupt` if `bytes` is not a set over `len` rows: another length, or bits above `len`.
    pub fn from_bytes(len: u32, bytes: &[u8]) -> Result<Self> {
        let expected = (len as usize).div_ceil(WORD_BITS) * size_of::<u64>();
        if bytes.len() != expected {
            let found = format!("expected {expected} bytes for {len} rows, found {}", bytes.len());
            return Err(Error::corrupt("row set", "length", found));
        }
        let (words, _) = bytes.as_chunks::<8>();
        let set =
            RowSet { len, words: words.iter().map(|word| u64::from_le_bytes(*word)).collect() };
        if set.words.last().is_some_and(|last| last & !tail_mask(len) != 0) {
            return Err(Error::corrupt("row set", "last word", format!("rows above {len}")));
        }
        Ok(set)
    }

    /// Little-endian words, row 0 in the lowest bit of the first byte.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.words.iter().flat_map(|word| word.to_le_bytes()).collect()
    }

    /// Number of rows the set is over (not the number in it: that is [`count`](RowSet::count)).
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if no row is in the set. O(len / 64).
    pub fn is_empty(&self) -> bool {
        self.words.iter().all(|word| *word == 0)
    }

    /// Rows in the set. O(len / 64).
    pub fn count(&self) -> u32 {
        self.words.iter().map(|word| word.count_ones()).sum()
    }

    /// True if `row` is in the set; a row at or above `len` is not.
    #[inline]
    pub fn contains(&self, row: RowId) -> bool {
        let word = self.words.get(row.index() / WORD_BITS).copied().unwrap_or(0);
        word >> (row.index() % WORD_BITS) & 1 == 1
    }

    /// Adds `row`; true if it was not there.
    ///
    /// # Panics
    /// If `row >= len`.
    #[inline]
    pub fn insert(&mut self, row: RowId) -> bool {
        assert!(row.0 < self.len, "row {} of a set over {} rows", row.0, self.len);
        let word = &mut self.words[row.index() / WORD_BITS];
        let bit = 1 << (row.index() % WORD_BITS);
        let is_new = *word & bit == 0;
        *word |= bit;
        is_new
    }

    /// Takes `row` out; true if it was there. A row at or above `len` never is.
    pub fn remove(&mut self, row: RowId) -> bool {
        let was_there = self.contains(row);
        if was_there {
            self.words[row.index() / WORD_BITS] &= !(1 << (row.index() % WORD_BITS));
        }
        was_there
    }

    /// Keeps the rows that are also in `other`.
    ///
    /// # Panics
    /// If the sets are over different numbers of rows (so do the next four).
    pub fn and_with(&mut self, other: &RowSet) {
        self.combine(other, |a, b| a & b);
    }

    /// Adds the rows of `other`.
    pub fn or_with(&mut self, other: &RowSet) {
        self.combine(other, |a, b| a | b);
    }

    /// Takes out the rows of `other`.
    pub fn and_not(&mut self, other: &RowSet) {
        self.combine(other, |a, b| a & !b);
    }

    /// The complement: exactly the rows that were not in the set.
    pub fn not(&mut self) {
        for word in &mut self.words {
            *word = !*word;
        }
        self.clear_tail();
    }

    /// The rows in the set, ascending. O(len / 64 + rows).
    pub fn iter(&self) -> impl Iterator<Item = RowId> + '_ {
        self.words.iter().enumerate().flat_map(|(index, &word)| {
            let first = (index * WORD_BITS) as u32;
            let mut rest = word;
            std::iter::from_fn(move || {
                let bit = rest.trailing_zeros();
                // Takes out the lowest bit; a word of zero has none and stays as it is.
                rest &= rest.wrapping_sub(1);
                (bit < u64::BITS).then_some(RowId(first + bit))
            })
        })
    }

    /// The words, for kernels that make 64 rows at a time. Bits at and above `len` must stay zero.
    pub(crate) fn words_mut(&mut self) -> &mut [u64] {
        &mut self.words
    }

    /// The words, row 0 in the lowest bit of the first.
    pub(crate) fn words(&self) -> &[u64] {
        &self.words
    }

    fn combine(&mut self, other: &RowSet, operation: impl Fn(u64, u64) -> u64) {
        assert_eq!(self.len, other.len, "sets over the same rows");
        for (word, other) in self.words.iter_mut().zip(&other.words) {
            *word = operation(*word, *other);
        }
    }

    fn clear_tail(&mut self) {
        if let Some(last) = self.words.last_mut() {
            *last &= tail_mask(self.len);
        }
    }
}

impl std::fmt::Debug for RowSet {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "RowSet({} of {} rows)", self.count(), self.len)
    }
}

/// The bits of the last word that stand for rows below `len`.
fn tail_mask(len: u32) -> u64 {
    match len as usize % WORD_BITS {
        0 => u64::MAX,
        used => (1 << used) - 1,
    }
}
