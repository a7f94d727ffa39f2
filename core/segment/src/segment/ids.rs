//! The id table of a segment (`IdTable`): the point id of each row, and a hash table from id to row. Built by
//! `SegmentBuilder`, read by `Segment`.
//!
//! Section layout (little-endian, every array starts at a multiple of 8):
//!
//! | size | field |
//! |---|---|
//! | 32 | rows u32, UUIDs u32, strings u32, zero u32, string bytes u64, slots u64 |
//! | 8 × rows | value: the u64 itself, or the index of the UUID or string |
//! | rows | kind: 0 u64, 1 UUID, 2 string; absent if there are neither UUIDs nor strings |
//! | 16 × UUIDs | UUIDs |
//! | 8 × (strings + 1) | where each string starts; the last is their total length |
//! | string bytes | UTF-8 |
//! | 4 × slots | open-addressing hash table of rows, `u32::MAX` = empty, linear probing |
//!
//! `slots` is the least power of two above 1.5 × rows (rounded down); a point's first slot is `hash64 & (slots − 1)`.

use crate::error::{Error, Result};
use crate::ids::{KIND_STR, KIND_U64, KIND_UUID, PointId, RowId};
use crate::reader::ByteReader;
use crate::storage::Bytes;

const HEADER_BYTES: usize = 32;
const EMPTY: u32 = u32::MAX;

/// The open ids section of a segment.
#[derive(Debug)]
pub struct IdTable {
    bytes: Bytes,
    layout: Layout,
}

/// Byte offsets of the arrays.
#[derive(Debug, Clone, Copy)]
struct Layout {
    rows: usize,
    uuids: usize,
    strings: usize,
    kinds_at: usize,
    uuids_at: usize,
    starts_at: usize,
    text_at: usize,
    slots_at: usize,
    end: usize,
}

impl Layout {
    fn new(rows: usize, uuids: usize, strings: usize, text_len: usize, slots: usize) -> Layout {
        let align8 = |offset: usize| offset.next_multiple_of(8);
        let kinds_at = HEADER_BYTES + 8 * rows;
        let kinds = if uuids + strings == 0 { 0 } else { rows };
        let uuids_at = align8(kinds_at + kinds);
        let starts_at = uuids_at + 16 * uuids;
        let text_at = starts_at + 8 * (strings + 1);
        let slots_at = align8(text_at + text_len);
        let end = slots_at + 4 * slots;
        Layout { rows, uuids, strings, kinds_at, uuids_at, starts_at, text_at, slots_at, end }
    }
}

fn slots_for(rows: usize) -> usize {
    (rows + rows / 2 + 1).next_power_of_two()
}

/// Encodes the ids of a segment, in row order. The ids must be distinct.
pub(crate) fn encode(ids: &[PointId]) -> Vec<u8> {
    let (mut values, mut kinds) = (Vec::with_capacity(ids.len()), Vec::with_capacity(ids.len()));
    let (mut uuids, mut starts, mut text) = (Vec::new(), vec![0u64], Vec::new());
    for id in ids {
        let (kind, value) = match id {
            PointId::U64(value) => (KIND_U64, *value),
            PointId::Uuid(value) => {
                uuids.push(*value);
                (KIND_UUID, uuids.len() as u64 - 1)
            }
            PointId::Str(string) => {
                text.extend_from_slice(string.as_bytes());
                starts.push(text.len() as u64);
                (KIND_STR, starts.len() as u64 - 2)
            }
        };
        kinds.push(kind);
        values.push(value);
    }
    let slots = slots_for(ids.len());
    let layout = Layout::new(ids.len(), uuids.len(), starts.len() - 1, text.len(), slots);
    let mut bytes = Vec::with_capacity(layout.end);
    for field in [ids.len(), uuids.len(), starts.len() - 1, 0] {
        bytes.extend_from_slice(&(field as u32).to_le_bytes());
    }
    bytes.extend_from_slice(&(text.len() as u64).to_le_bytes());
    bytes.extend_from_slice(&(slots as u64).to_le_bytes());
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    if layout.uuids + layout.strings > 0 {
        bytes.extend_from_slice(&kinds);
    }
    bytes.resize(layout.uuids_at, 0);
    uuids.iter().for_each(|uuid| bytes.extend_from_slice(&uuid.to_le_bytes()));
    starts.iter().for_each(|start| bytes.extend_from_slice(&start.to_le_bytes()));
    bytes.extend_from_slice(&text);
    bytes.resize(layout.slots_at, 0);
    hash_slots(ids, slots).iter().for_each(|slot| bytes.extend_from_slice(&slot.to_le_bytes()));
    bytes
}

fn hash_slots(ids: &[PointId], slots: usize) -> Vec<u32> {
    let mut table = vec![EMPTY; slots];
    for (row, id) in ids.iter().enumerate() {
        let mut slot = id.hash64() as usize & (slots - 1);
        while table[slot] != EMPTY {
            slot = (slot + 1) & (slots - 1);
        }
        table[slot] = row as u32;
    }
    table
}

impl IdTable {
    /// Opens a section of `rows` ids; checks everything a lookup relies on. O(rows).
    ///
    /// # Errors
    /// `Corrupt` if the section is not one of so many ids.
    pub fn open(blob: &str, bytes: Bytes, rows: u32) -> Result<IdTable> {
        let mut reader = ByteReader::new(blob, "section Ids", &bytes);
        let found_rows = reader.u32()?;
        let (uuids, strings) = (reader.u32()? as usize, reader.u32()? as usize);
        reader.u32()?;
        let (text_len, slots) = (reader.u64()?, reader.u64()?);
        let len = bytes.len() as u64;
        let arrays = 8 * u64::from(rows) + 16 * uuids as u64 + 8 * strings as u64;
        if arrays > len {
            return Err(reader.corrupt(format!("{len} bytes for arrays of {arrays} bytes")));
        }
        if found_rows != rows || slots != slots_for(rows as usize) as u64 || text_len > len {
            let found = format!("{found_rows} rows, {slots} slots, {text_len} bytes of text");
            return Err(reader.corrupt(format!("{found} for {rows} rows")));
        }
        let layout = Layout::new(rows as usize, uuids, strings, text_len as usize, slots as usize);
        if layout.end != bytes.len() {
            return Err(reader.corrupt(format!("length {len}, expected {}", layout.end)));
        }
        let table = IdTable { bytes, layout };
        table.check(text_len).map_err(|found| Error::corrupt(blob, "section Ids", found))?;
        Ok(table)
    }

    fn check(&self, text_len: u64) -> std::result::Result<(), String> {
        let starts = self.starts();
        if starts.first() != Some(&0) || starts.last() != Some(&text_len) || !starts.is_sorted() {
            return Err("string offsets are not ascending".into());
        }
        let text = &self.bytes[self.layout.text_at..self.layout.text_at + text_len as usize];
        let text = std::str::from_utf8(text).map_err(|error| format!("string ids: {error}"))?;
        if starts.iter().any(|&start| !text.is_char_boundary(start as usize)) {
            return Err("a string id ends inside a character".into());
        }
        for row in 0..self.layout.rows {
            let limit = match self.kind(row) {
                KIND_U64 => continue,
                KIND_UUID => self.layout.uuids,
                KIND_STR => self.layout.strings,
                other => return Err(format!("row {row}: id of kind {other}")),
            };
            if self.values()[row] >= limit as u64 {
                return Err(format!("row {row}: value {} of {limit}", self.values()[row]));
            }
        }
        let bad =
            self.slots().iter().find(|&&slot| slot != EMPTY && slot as usize >= self.layout.rows);
        bad.map_or(Ok(()), |slot| Err(format!("hash table names row {slot}")))
    }

    fn values(&self) -> &[u64] {
        bytemuck::cast_slice(&self.bytes[HEADER_BYTES..self.layout.kinds_at])
    }

    fn starts(&self) -> &[u64] {
        bytemuck::cast_slice(&self.bytes[self.layout.starts_at..self.layout.text_at])
    }

    fn slots(&self) -> &[u32] {
        bytemuck::cast_slice(&self.bytes[self.layout.slots_at..self.layout.end])
    }

    fn kind(&self, row: usize) -> u8 {
        let only_numbers = self.layout.uuids + self.layout.strings == 0;
        if only_numbers { KIND_U64 } else { self.bytes[self.layout.kinds_at + row] }
    }

    /// The point of a row.
    ///
    /// # Panics
    /// If the row is not in the segment.
    pub fn id(&self, row: RowId) -> PointId {
        let value = self.values()[row.index()];
        match self.kind(row.index()) {
            KIND_U64 => PointId::U64(value),
            KIND_UUID => {
                let at = self.layout.uuids_at + 16 * value as usize;
                let bytes = self.bytes[at..at + 16].try_into().expect("sixteen bytes");
                PointId::Uuid(u128::from_le_bytes(bytes))
            }
            _ => PointId::Str(self.string(value as usize).into()),
        }
    }

    fn string(&self, index: usize) -> &str {
        let starts = self.starts();
        let at = self.layout.text_at;
        let bytes = &self.bytes[at + starts[index] as usize..at + starts[index + 1] as usize];
        std::str::from_utf8(bytes).expect("checked at open")
    }

    /// The row of a point, if the segment has one. Expected O(1), at most O(slots).
    pub fn find(&self, id: &PointId) -> Option<RowId> {
        let slots = self.slots();
        let mask = slots.len() - 1;
        let first = id.hash64() as usize & mask;
        for step in 0..slots.len() {
            let row = slots[(first + step) & mask];
            if row == EMPTY {
                return None;
            }
            if self.matches(row as usize, id) {
                return Some(RowId(row));
            }
        }
        None
    }

    fn matches(&self, row: usize, id: &PointId) -> bool {
        match (self.kind(row), id) {
            (KIND_U64, PointId::U64(value)) => self.values()[row] == *value,
            (KIND_STR, PointId::Str(text)) => self.string(self.values()[row] as usize) == &**text,
            (KIND_UUID, PointId::Uuid(_)) => self.id(RowId(row as u32)) == *id,
            _ => false,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rng::Rng;
    use crate::storage::AlignedBuffer;

    fn open(ids: &[PointId]) -> IdTable {
        let bytes = AlignedBuffer::copy_of(&encode(ids)).into();
        IdTable::open("test", bytes, ids.len() as u32).expect("just encoded")
    }

    fn mixed(count: u64, seed: u64) -> Vec<PointId> {
        let mut rng = Rng::new(seed);
        (0..count)
            .map(|i| match rng.below(3) {
                0 => PointId::U64(rng.next_u64()),
                1 => PointId::Uuid(rng.file_id().0),
                _ => PointId::from_text(&format!("naïve-{i}-{}", rng.next_u64())).expect("short"),
            })
            .collect()
    }

    #[test]
    fn every_id_finds_its_row_and_every_row_its_id() {
        for ids in [
            vec![],
            vec![PointId::U64(u64::MAX)],
            mixed(1000, 3),
            (0..777).map(PointId::U64).collect(),
        ] {
            let table = open(&ids);
            for (row, id) in ids.iter().enumerate() {
                assert_eq!(table.find(id), Some(RowId(row as u32)));
                assert_eq!(table.id(RowId(row as u32)), *id);
            }
            assert_eq!(table.find(&PointId::U64(123_456_789)), None);
            assert_eq!(table.find(&PointId::Str("unknown".into())), None);
        }
    }

    #[test]
    fn flipped_bytes_never_panic_a_lookup() {
        let ids = mixed(40, 5);
        let good = encode(&ids);
        for at in 0..good.len() {
            let mut bad = good.clone();
            bad[at] ^= 0x55;
            let bytes = AlignedBuffer::copy_of(&bad).into();
            if let Ok(table) = IdTable::open("test", bytes, ids.len() as u32) {
                for (row, id) in ids.iter().enumerate() {
                    let _ = table.find(id);
                    let _ = table.id(RowId(row as u32));
                }
            }
        }
    }
}
