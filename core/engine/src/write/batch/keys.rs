//! The idempotency keys of a batch: what is refused, and leaving out the rows whose keys are known.
//!
//! One key names the whole batch, or some rows have keys of their own; never both, and rows with keys come
//! without deletes. A repeated batch is then wholly known or wholly new, and leaving a row out cannot take
//! away what the deletes of its batch made room for.

use std::borrow::Cow;
use std::collections::HashSet;

use crc32c::crc32c_append;
use nearfield_segment::{Error, Fault, PointId, Result, shown};

use super::encode::write_ids;
use super::{Batch, check_count};

/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// Checks both kinds of keys of a draft; returns those of the rows, none if no row has one.
pub(super) fn check<'a>(
    deletes: &[PointId],
    rows: usize,
    batch_key: Option<&str>,
    row_keys: Vec<Option<Cow<'a, str>>>,
) -> Result<Vec<Option<Cow<'a, str>>>> {
    if let Some(key) = batch_key {
        check_len("idempotency key", key)?;
    }
    let count = row_keys.len();
    check_count("row keys", count, "one per row:", rows, count == 0 || count == rows)?;
    let mut seen = HashSet::new();
    for (row, key) in row_keys.iter().enumerate() {
        let Some(key) = key.as_deref() else { continue };
        check_len(&format!("idempotency key of row {row}"), key)?;
        if !seen.insert(key) {
            let key = shown(key);
            let message = format!("two rows of one batch have the idempotency key {key:?}");
            return Err(Error::invalid(Fault::Parameter, message).with("got", key.as_ref()));
        }
    }
    let beside = match (batch_key.is_some(), deletes.is_empty()) {
        _ if seen.is_empty() => return Ok(Vec::new()),
        (false, true) => return Ok(row_keys),
        (true, _) => "a key of the whole batch",
        (false, false) => "deletes",
    };
    let message = format!("expected idempotency keys of rows or {beside}, got both in one batch");
    Err(Error::invalid(Fault::Parameter, message).with("got", "both"))
}

fn check_len(what: &str, key: &str) -> Result<()> {
    let len = key.len();
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&len) {
        return Ok(());
    }
    let expected = format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
    let message = format!("{what}: expected {expected}, got {len}");
    Err(Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", len))
}

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
