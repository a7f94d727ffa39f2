//! `Layout`: where the arrays of an ids section are, in both encodings. Read from the bytes by `IdTable`, and made from
//! sizes by `encode`.
//!
//! Encoding 1 (every array starts at a multiple of 8):
//!
//! | size | field |
//! |---|---|
//! | 40 | rows u32, UUIDs u32, strings u32, kind u8 (of all rows; 255 = each row has its own), bytes a value u8, bytes a string start u8, zero u8, base u64, string bytes u64, slots u64 |
//! | 0, 4 or 8 × rows | value less base: of a number itself, else the index of the UUID or string; 0 bytes: row n has value base + n |
//! | rows | kind: 0 u64, 1 UUID, 2 string, 3 negative i64; absent if all rows have one |
//! | 16 × UUIDs | UUIDs |
//! | 4 or 8 × (strings + 1) | where each string starts; the last is their total length; absent without strings |
//! | string bytes | UTF-8 |
//! | 4 × slots | open-addressing hash table of rows, `u32::MAX` = empty, linear probing |
//!
//! There are 1.5 × rows slots (rounded down) and one more, but none for numbers without values; a point's first slot
//! is (hash × slots) >> 64, the hash being the [`IdHash`](crate::IdHash) of the file.
//!
//! Encoding 0, of format 1: the header has 32 bytes (rows, UUIDs, strings, zero u32, string bytes, slots), values and
//! string starts have 8 bytes, base is 0, kinds are absent if there are numbers only, starts are never absent. The
//! slots are the least power of two above 1.5 × rows (rounded down); the first slot is `hash64 & (slots − 1)`.

use crate::error::{Error, Result};
use crate::ids::{KIND_I64, KIND_U64};
use crate::reader::ByteReader;

/// Every row has a kind of its own.
const MIXED: u8 = 255;
const FIXED_HEADER_BYTES: u64 = 32;
pub(super) const HEADER_BYTES: u64 = 40;

/// Sizes and byte offsets of the arrays.
#[derive(Debug, Clone, Copy)]
pub(super) struct Layout {
    pub(super) rows: usize,
    pub(super) uuids: usize,
    pub(super) strings: usize,
    pub(super) starts: usize,
    pub(super) slots: usize,
    /// The kind of all rows; `None` if each has its own.
    pub(super) kind: Option<u8>,
    pub(super) value_bytes: usize,
    start_bytes: usize,
    pub(super) base: u64,
    /// The number of slots is a power of two, and the low bits of the hash choose the first.
    is_masked: bool,
    text_len: usize,
    values_at: usize,
    pub(super) kinds_at: usize,
    pub(super) uuids_at: usize,
    starts_at: usize,
    text_at: usize,
    slots_at: usize,
}

/// What a header says.
#[derive(Clone, Copy)]
pub(super) struct Sizes {
    pub(super) rows: u32,
    pub(super) uuids: u32,
    pub(super) strings: u32,
    pub(super) kind: Option<u8>,
    pub(super) value_bytes: u8,
    pub(super) start_bytes: u8,
    pub(super) base: u64,
    pub(super) text_len: u64,
}

/// Slots of the table of a section that is written.
pub(super) fn slots_for(sizes: &Sizes) -> u64 {
    let is_number = matches!(sizes.kind, Some(KIND_U64 | KIND_I64));
    let rows = u64::from(sizes.rows);
    if is_number && sizes.value_bytes == 0 { 0 } else { rows + rows / 2 + 1 }
}

impl Sizes {
    pub(super) fn header(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(HEADER_BYTES as usize);
        for count in [self.rows, self.uuids, self.strings] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        let kind = self.kind.unwrap_or(MIXED);
        bytes.extend_from_slice(&[kind, self.value_bytes, self.start_bytes, 0]);
        for value in [self.base, self.text_len, slots_for(self)] {
            bytes.extend_from_slice(&value.to_le_bytes());
        }
        bytes
    }
}

impl Layout {
    /// The places of the arrays, for a section of `len` bytes; `None` if it has another length.
    pub(super) fn new(sizes: &Sizes, len: u64) -> Option<Layout> {
        let starts = if sizes.strings == 0 { 0 } else { u64::from(sizes.strings) + 1 };
        Layout::place(sizes, HEADER_BYTES, starts, slots_for(sizes), len)
    }

    fn place(sizes: &Sizes, header: u64, starts: u64, slots: u64, len: u64) -> Option<Layout> {
        let rows = u64::from(sizes.rows);
        // None of the arrays is of 2^40 bytes but the text, which is checked by itself.
        if sizes.text_len > len {
            return None;
        }
        let kinds_at = header + u64::from(sizes.value_bytes) * rows;
        let kinds = if sizes.kind.is_some() { 0 } else { rows };
        let uuids_at = (kinds_at + kinds).next_multiple_of(8);
        let starts_at = uuids_at + 16 * u64::from(sizes.uuids);
        let text_at = starts_at + u64::from(sizes.start_bytes) * starts;
        let slots_at = (text_at + sizes.text_len).next_multiple_of(8);
        let end = slots_at + 4 * slots;
        // All places are within the section, so they fit a `usize` where the section does.
        (end == len).then_some(Layout {
            rows: sizes.rows as usize,
            uuids: sizes.uuids as usize,
            strings: sizes.strings as usize,
            starts: starts as usize,
            slots: slots as usize,
            kind: sizes.kind,
            value_bytes: usize::from(sizes.value_bytes),
            start_bytes: usize::from(sizes.start_bytes),
            base: sizes.base,
            is_masked: header == FIXED_HEADER_BYTES,
            text_len: sizes.text_len as usize,
            values_at: header as usize,
            kinds_at: kinds_at as usize,
            uuids_at: uuids_at as usize,
            starts_at: starts_at as usize,
            text_at: text_at as usize,
            slots_at: slots_at as usize,
        })
    }

    /// Reads the header of encoding 0.
    pub(super) fn read_fixed(blob: &str, bytes: &[u8], rows: u32) -> Result<Layout> {
        let mut reader = ByteReader::new(blob, "section Ids", bytes);
        let (found_rows, uuids, strings) = (reader.u32()?, reader.u32()?, reader.u32()?);
        reader.u32()?;
        let (text_len, slots) = (reader.u64()?, reader.u64()?);
        let kind = (uuids == 0 && strings == 0).then_some(KIND_U64);
        let sizes = Sizes {
            rows: found_rows,
            uuids,
            strings,
            kind,
            value_bytes: 8,
            start_bytes: 8,
            base: 0,
            text_len,
        };
        let expected = (u64::from(rows) + u64::from(rows / 2) + 1).next_power_of_two();
        let starts = u64::from(strings) + 1;
        let layout =
            Layout::place(&sizes, FIXED_HEADER_BYTES, starts, expected, bytes.len() as u64);
        checked(&reader, layout, &sizes, rows, slots == expected)
    }

    /// Reads the header of encoding 1.
    pub(super) fn read_seeded(blob: &str, bytes: &[u8], rows: u32) -> Result<Layout> {
        let mut reader = ByteReader::new(blob, "section Ids", bytes);
        let (found_rows, uuids, strings) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let [kind, value_bytes, start_bytes, zero] = reader.array()?;
        let (base, text_len, slots) = (reader.u64()?, reader.u64()?, reader.u64()?);
        let kind = (kind != MIXED).then_some(kind);
        let sizes = Sizes {
            rows: found_rows,
            uuids,
            strings,
            kind,
            value_bytes,
            start_bytes,
            base,
            text_len,
        };
        let is_legal = matches!(value_bytes, 0 | 4 | 8)
            && matches!(start_bytes, 4 | 8)
            && zero == 0
            && slots == slots_for(&sizes);
        let layout = Layout::new(&sizes, bytes.len() as u64);
        checked(&reader, layout, &sizes, rows, is_legal)
    }

    /// True if the ids are numbers that grow by one, without values and slots.
    pub(super) fn is_run(&self) -> bool {
        self.slots == 0
    }

    pub(super) fn value(&self, bytes: &[u8], row: usize) -> u64 {
        let distance = match self.value_bytes {
            0 => row as u64,
            width => number(bytes, self.values_at, width, row),
        };
        self.base.wrapping_add(distance)
    }

    /// Where a string starts in the text.
    pub(super) fn start(&self, bytes: &[u8], index: usize) -> u64 {
        number(bytes, self.starts_at, self.start_bytes, index)
    }

    pub(super) fn text<'a>(&self, bytes: &'a [u8]) -> &'a [u8] {
        &bytes[self.text_at..self.text_at + self.text_len]
    }

    pub(super) fn slot(&self, bytes: &[u8], slot: usize) -> u32 {
        number(bytes, self.slots_at, 4, slot) as u32
    }

    /// Where the probing of a hash begins. There is at least one slot.
    pub(super) fn first_slot(&self, hash: u64) -> usize {
        match self.is_masked {
            true => hash as usize & (self.slots - 1),
            false => ((u128::from(hash) * self.slots as u128) >> 64) as usize,
        }
    }
}

fn checked(
    reader: &ByteReader<'_>,
    layout: Option<Layout>,
    sizes: &Sizes,
    rows: u32,
    is_legal: bool,
) -> Result<Layout> {
    match layout {
        Some(layout) if is_legal && sizes.rows == rows => Ok(layout),
        Some(_) | None => Err(wrong_header(reader, sizes, rows)),
    }
}

fn wrong_header(reader: &ByteReader<'_>, sizes: &Sizes, rows: u32) -> Error {
    let Sizes { rows: found, uuids, strings, text_len, .. } = sizes;
    let found = format!("{found} rows, {uuids} UUIDs, {strings} strings of {text_len} bytes");
    reader.corrupt(format!("a header of {found} for {rows} rows"))
}

/// The number of `width` bytes, 4 or 8, at an index of an array.
fn number(bytes: &[u8], at: usize, width: usize, index: usize) -> u64 {
    let at = at + width * index;
    let piece = &bytes[at..at + width];
    match width {
        4 => u64::from(u32::from_le_bytes(piece.try_into().expect("four bytes"))),
        _ => u64::from_le_bytes(piece.try_into().expect("eight bytes")),
    }
}
