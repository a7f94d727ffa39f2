//! `Nearest`: the closest rows that a walk has met, sorted; also the frontier of an unfiltered walk. Used by `search`
//! and inside `Filtered`.

use crate::ids::RowId;
use crate::vector::index::Candidate;

use super::walk::Beam;

/// The closest rows seen, sorted; also the frontier of an unfiltered walk. An entry is distance bits
/// (32), row (31), expanded (1): the mark does not disturb the order.
#[derive(Debug, Default)]
pub(super) struct Nearest {
    entries: Vec<u64>,
    capacity: usize,
    /// Every entry before this one is expanded.
    cursor: usize,
    /// Entries to be inserted.
    closer: Vec<u64>,
}

impl Nearest {
    pub(super) fn reset(&mut self, capacity: usize) {
        self.entries.clear();
        self.capacity = capacity;
        self.cursor = 0;
    }

    fn is_full(&self) -> bool {
        self.entries.len() == self.capacity
    }

    /// The entry beyond which nothing is kept.
    #[inline]
    pub(super) fn limit(&self) -> u64 {
        if self.is_full() { self.entries[self.capacity - 1] } else { u64::MAX }
    }

    /// The entry of the `k`-th closest row, counted from 1; `u64::MAX` if there are fewer.
    pub(super) fn entry_at(&self, k: usize) -> u64 {
        self.entries.get(k.saturating_sub(1)).copied().unwrap_or(u64::MAX)
    }

    #[inline]
    pub(super) fn entry(candidate: Candidate) -> u64 {
        let key = candidate.key();
        key >> 32 << 32 | (key & 0xFFFF_FFFF) << 1
    }

    #[inline]
    pub(super) fn candidate(entry: u64) -> Candidate {
        Candidate(entry >> 32 << 32 | (entry & 0xFFFF_FFFF) >> 1)
    }

    pub(super) fn candidates(&self) -> impl Iterator<Item = Candidate> + '_ {
        self.entries.iter().map(|&entry| Nearest::candidate(entry))
    }

    #[inline]
    pub(super) fn insert(&mut self, entry: u64) {
        if entry >= self.limit() {
            return;
        }
        if self.is_full() {
            self.entries.pop();
        }
        let place = self.entries.partition_point(|&other| other < entry);
        self.entries.insert(place, entry);
        self.cursor = self.cursor.min(place);
    }
}

impl Beam for Nearest {
    #[inline]
    fn offer(&mut self, rows: &[RowId], distances: &[f32]) {
        // Without branches: few rows are close enough, and which is as good as random.
        let limit = self.limit();
        let mut closer = std::mem::take(&mut self.closer);
        closer.resize(rows.len(), 0);
        let mut count = 0;
        for (&row, &distance) in rows.iter().zip(distances) {
            let entry = Nearest::entry(Candidate::new(distance, row));
            closer[count] = entry;
            count += usize::from(entry < limit);
        }
        closer[..count].iter().for_each(|&entry| self.insert(entry));
        self.closer = closer;
    }

    #[inline]
    fn next(&mut self) -> Option<Candidate> {
        let open = self.entries[self.cursor..].iter().position(|&entry| entry & 1 == 0)?;
        let entry = &mut self.entries[self.cursor + open];
        *entry |= 1;
        self.cursor += open + 1;
        Some(Nearest::candidate(*entry))
    }

    #[inline]
    fn peek(&self) -> Option<RowId> {
        let open = self.entries[self.cursor..].iter().find(|&entry| entry & 1 == 0);
        open.map(|&entry| Nearest::candidate(entry).row())
    }
}
