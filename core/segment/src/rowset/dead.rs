//! `DeadRows`: the deleted rows of a segment, shared between the views of the segment. Held by `LiveSegment` of the
//! engine; read by searches through `Source`.
//!
//! Rows are held in chunks of 4,096 behind `Arc`: cloning copies one pointer a chunk, and a delete copies
//! only the chunk it falls into (unless no other clone shares it). Rows are never revived: there is no
//! `remove`.

use std::sync::Arc;

use super::RowSet;
use crate::ids::RowId;

const CHUNK_WORDS: usize = 64;
const CHUNK_ROWS: usize = CHUNK_WORDS * 64;

/// The dead rows out of `0..len`; a clone is a snapshot. Clone: O(len / 4,096).
#[derive(Clone)]
pub struct DeadRows {
    len: u32,
    count: u32,
    /// `None` where the whole chunk lives, which is most of them.
    chunks: Vec<Option<Arc<[u64; CHUNK_WORDS]>>>,
}

impl DeadRows {
    /// Every row of `0..len` lives.
    pub fn new(len: u32) -> Self {
        DeadRows { len, count: 0, chunks: vec![None; (len as usize).div_ceil(CHUNK_ROWS)] }
    }

    /// Number of rows the set is over.
    pub fn len(&self) -> u32 {
        self.len
    }

    /// True if every row lives. O(1).
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Dead rows. O(1).
    pub fn count(&self) -> u32 {
        self.count
    }

    /// True if `row` is dead; a row at or above `len` is not.
    #[inline]
    pub fn contains(&self, row: RowId) -> bool {
        match self.chunks.get(row.index() / CHUNK_ROWS) {
            Some(Some(words)) => {
                words[row.index() % CHUNK_ROWS / 64] >> (row.index() % 64) & 1 == 1
            }
            Some(None) | None => false,
        }
    }

    /// Marks `row` dead; true if it lived. Copies 512 bytes if a clone shares its chunk.
    ///
    /// # Panics
    /// If `row >= len`.
    pub fn insert(&mut self, row: RowId) -> bool {
        assert!(row.0 < self.len, "row {} of a set over {} rows", row.0, self.len);
        if self.contains(row) {
            return false;
        }
        let chunk = &mut self.chunks[row.index() / CHUNK_ROWS];
        let words = Arc::make_mut(chunk.get_or_insert_with(|| Arc::new([0; CHUNK_WORDS])));
        words[row.index() % CHUNK_ROWS / 64] |= 1 << (row.index() % 64);
        self.count += 1;
        true
    }

    /// Takes the dead rows out of `rows`. Chunks without dead rows cost nothing.
    ///
    /// # Panics
    /// If `rows` is over another number of rows.
    pub fn apply_to(&self, rows: &mut RowSet) {
        assert_eq!(self.len, rows.len(), "sets over the same rows");
        for (chunk, words) in self.chunks.iter().zip(rows.words_mut().chunks_mut(CHUNK_WORDS)) {
            let Some(dead) = chunk else { continue };
            for (word, dead) in words.iter_mut().zip(dead.iter()) {
                *word &= !dead;
            }
        }
    }

    #[cfg(test)]
    pub(super) fn shared_chunks(&self, other: &DeadRows) -> Vec<bool> {
        let pairs = self.chunks.iter().zip(&other.chunks);
        pairs.map(|(a, b)| matches!((a, b), (Some(a), Some(b)) if Arc::ptr_eq(a, b))).collect()
    }

    /// The rows that live.
    pub fn live(&self) -> RowSet {
        let mut live = RowSet::full(self.len);
        self.apply_to(&mut live);
        live
    }
}

impl std::fmt::Debug for DeadRows {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "DeadRows({} of {} rows)", self.count, self.len)
    }
}
