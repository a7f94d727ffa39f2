//! The id table of a segment (`IdTable`): the point id of each row, and a hash table from id to row. Built by
//! `SegmentBuilder`, read by `Segment`.
//!
//! Bytes and their two encodings are in `layout`. Numbers are read where they lie, whatever their width: opening
//! copies nothing.

mod encode;
mod layout;
#[cfg(test)]
mod tests;

pub(crate) use encode::encode;

use crate::error::{Error, Result};
use crate::ids::{FileId, IdHash, KIND_I64, KIND_STR, KIND_U64, KIND_UUID, PointId, RowId};
use crate::storage::Bytes;
use layout::Layout;

/// Encoding of ids and their Bloom filter in format 1.
const FIXED: u16 = 0;
/// Encoding of ids and their Bloom filter that is written.
pub(crate) const SEEDED: u16 = 1;

const EMPTY: u32 = u32::MAX;

/// The open ids section of a segment.
#[derive(Debug)]
pub struct IdTable {
    bytes: Bytes,
    layout: Layout,
}

/// How ids in an encoding, of a file, are hashed.
pub(super) fn hash_of(encoding: Option<u16>, file: FileId) -> IdHash {
    match encoding {
        None | Some(FIXED) => IdHash::Fixed,
        Some(_) => IdHash::of_file(file),
    }
}

/// The encoding of ids that are hashed so, and of their Bloom filter.
pub(super) fn encoding(hash: IdHash) -> u16 {
    match hash {
        IdHash::Fixed => FIXED,
        IdHash::Seeded(_) => SEEDED,
    }
}

impl IdTable {
    /// Opens a section of `rows` ids that are hashed so; checks everything a lookup relies on. O(rows).
    ///
    /// # Errors
    /// `Corrupt` if the section is not one of so many ids.
    pub(crate) fn open(blob: &str, bytes: Bytes, rows: u32, hash: IdHash) -> Result<IdTable> {
        let layout = match hash {
            IdHash::Fixed => Layout::read_fixed(blob, &bytes, rows)?,
            IdHash::Seeded(_) => Layout::read_seeded(blob, &bytes, rows)?,
        };
        let table = IdTable { bytes, layout };
        table.check().map_err(|found| Error::corrupt(blob, "section Ids", found))?;
        Ok(table)
    }

    fn check(&self) -> std::result::Result<(), String> {
        self.check_strings()?;
        self.check_slots()?;
        let Layout { rows, uuids, strings, value_bytes, .. } = self.layout;
        // Without values row n is the nth UUID or string, or the number behind n others.
        if value_bytes == 0 {
            return self.check_run();
        }
        for row in 0..rows {
            let value = self.value(row);
            let limit = match self.kind(row) {
                KIND_U64 => continue,
                KIND_I64 if (value as i64) < 0 => continue,
                KIND_I64 => return Err(format!("row {row}: {value} as a negative id")),
                KIND_UUID => uuids,
                KIND_STR => strings,
                other => return Err(format!("row {row}: id of kind {other}")),
            };
            if value >= limit as u64 {
                return Err(format!("row {row}: value {value} of {limit}"));
            }
        }
        Ok(())
    }

    fn check_strings(&self) -> std::result::Result<(), String> {
        let text = std::str::from_utf8(self.layout.text(&self.bytes))
            .map_err(|error| format!("string ids: {error}"))?;
        let mut last = 0;
        for index in 0..self.layout.starts {
            let start = self.layout.start(&self.bytes, index);
            if start < last || (index == 0 && start != 0) {
                return Err("string offsets are not ascending".into());
            }
            if !usize::try_from(start).is_ok_and(|start| text.is_char_boundary(start)) {
                return Err("a string id ends inside a character".into());
            }
            last = start;
        }
        if last != text.len() as u64 {
            return Err("string offsets do not end with the text".into());
        }
        Ok(())
    }

    fn check_run(&self) -> std::result::Result<(), String> {
        let Layout { rows, uuids, strings, kind, base, .. } = self.layout;
        let last = base.checked_add((rows as u64).saturating_sub(1));
        let fits = match kind {
            Some(KIND_U64) => last.is_some(),
            Some(KIND_I64) => last.is_some() && (base as i64) < 0,
            Some(KIND_UUID) => base == 0 && uuids == rows,
            Some(KIND_STR) => base == 0 && strings == rows,
            _ => false,
        };
        if fits { Ok(()) } else { Err(format!("{rows} ids without values, from {base} on")) }
    }

    fn check_slots(&self) -> std::result::Result<(), String> {
        let mut slots = (0..self.layout.slots).map(|slot| self.slot(slot));
        let bad = slots.find(|&row| row != EMPTY && row as usize >= self.layout.rows);
        bad.map_or(Ok(()), |row| Err(format!("hash table names row {row}")))
    }

    fn kind(&self, row: usize) -> u8 {
        self.layout.kind.unwrap_or_else(|| self.bytes[self.layout.kinds_at + row])
    }

    fn value(&self, row: usize) -> u64 {
        self.layout.value(&self.bytes, row)
    }

    fn slot(&self, slot: usize) -> u32 {
        self.layout.slot(&self.bytes, slot)
    }

    fn uuid(&self, index: usize) -> u128 {
        let at = self.layout.uuids_at + 16 * index;
        u128::from_le_bytes(self.bytes[at..at + 16].try_into().expect("sixteen bytes"))
    }

    fn string(&self, index: usize) -> &str {
        let [start, end] = [index, index + 1].map(|at| self.layout.start(&self.bytes, at) as usize);
        std::str::from_utf8(&self.layout.text(&self.bytes)[start..end]).expect("checked at open")
    }

    /// Bytes of the table.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes.len() as u64
    }

    /// The point of a row.
    ///
    /// # Panics
    /// If the row is not in the segment.
    pub fn id(&self, row: RowId) -> PointId {
        assert!(row.index() < self.layout.rows, "row {} of {}", row.0, self.layout.rows);
        let value = self.value(row.index());
        match self.kind(row.index()) {
            KIND_U64 => PointId::U64(value),
            KIND_I64 => PointId::I64(value as i64),
            KIND_UUID => PointId::Uuid(self.uuid(value as usize)),
            _ => PointId::Str(self.string(value as usize).into()),
        }
    }

    /// The row of a point, if the segment has one. `hash` is its hash in this file. Expected O(1), at most
    /// O(slots).
    pub fn find(&self, id: &PointId, hash: u64) -> Option<RowId> {
        match self.layout.is_run() {
            true => self.find_in_run(id),
            false => self.probe(id, hash).0,
        }
    }

    fn find_in_run(&self, id: &PointId) -> Option<RowId> {
        let value = match (id, self.layout.kind) {
            (PointId::U64(value), Some(KIND_U64)) => *value,
            (PointId::I64(value), Some(KIND_I64)) => *value as u64,
            (PointId::U64(_) | PointId::I64(_) | PointId::Uuid(_) | PointId::Str(_), _) => {
                return None;
            }
        };
        let row = value.checked_sub(self.layout.base)?;
        (row < self.layout.rows as u64).then_some(RowId(row as u32))
    }

    /// The row, and how many slots were looked at.
    fn probe(&self, id: &PointId, hash: u64) -> (Option<RowId>, usize) {
        let slots = self.layout.slots;
        let mut slot = self.layout.first_slot(hash);
        for probes in 1..=slots {
            let row = self.slot(slot);
            if row == EMPTY {
                return (None, probes);
            }
            if self.matches(row as usize, id) {
                return (Some(RowId(row)), probes);
            }
            slot = if slot + 1 == slots { 0 } else { slot + 1 };
        }
        (None, slots)
    }

    fn matches(&self, row: usize, id: &PointId) -> bool {
        let value = self.value(row);
        match (self.kind(row), id) {
            (KIND_U64, PointId::U64(id)) => value == *id,
            (KIND_I64, PointId::I64(id)) => value == *id as u64,
            (KIND_STR, PointId::Str(text)) => self.string(value as usize) == &**text,
            (KIND_UUID, PointId::Uuid(uuid)) => self.uuid(value as usize) == *uuid,
            _ => false,
        }
    }
}
