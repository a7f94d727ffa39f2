//! The idempotency keys of a batch (`idempotency_key`, `row_keys`), and leaving out the rows whose keys are
//! known. Used by `Keys` and `Writer::apply_all`.

use std::borrow::Cow;

use crc32c::crc32c_append;

use super::Batch;
use super::encode::write_ids;

impl Batch<'_> {
    /// The key of the whole batch, if it has one.
    pub fn idempotency_key(&self) -> Option<&str> {
        self.idempotency_key.as_deref()
    }

    /// The key of each row that has one, with its row, in row order.
    pub fn row_keys(&self) -> impl Iterator<Item = (usize, &str)> {
        let keys = self.row_keys.iter().enumerate();
        keys.filter_map(|(row, key)| Some((row, key.as_deref()?)))
    }

    /// How many keys it has, of either kind.
    pub(crate) fn key_count(&self) -> usize {
        usize::from(self.idempotency_key.is_some()) + self.row_keys().count()
    }

    /// A checksum of which points it is about: the ids it deletes, and those it upserts unless they were
    /// left out. The same before and after ids are assigned.
    pub(crate) fn points_crc(&self) -> u32 {
        let mut bytes = Vec::new();
        write_ids(&mut bytes, &self.deletes);
        if !self.ids_assigned {
            write_ids(&mut bytes, &self.ids);
        }
        crc32c_append(u32::from(self.ids_assigned), &bytes)
    }

    /// Leaves out the rows that are marked; `marked` has one mark per row. O(elements that stay).
    ///
    /// # Panics
    /// After [`assign_ids`](Batch::assign_ids).
    pub(crate) fn leave_out(&mut self, marked: &[bool]) {
        assert_eq!(self.next_id, None, "rows are left out before ids are assigned");
        for elements in self.vectors.values_mut() {
            let dim = elements.len() / marked.len();
            let rows = elements.chunks_exact(dim).zip(marked).filter(|(_, marked)| !**marked);
            *elements = Cow::Owned(rows.flat_map(|(row, _)| row.iter().copied()).collect());
        }
        retain(&mut self.ids, marked);
        retain(&mut self.metadata, marked);
        retain(&mut self.row_keys, marked);
        if self.row_keys().next().is_none() {
            self.row_keys.clear();
        }
        self.rows = marked.iter().filter(|marked| !**marked).count();
    }
}

/// Removes the items that are marked; an empty list stays empty.
fn retain<T>(items: &mut Vec<T>, marked: &[bool]) {
    let mut marks = marked.iter();
    items.retain(|_| !marks.next().expect("one mark per row"));
}
