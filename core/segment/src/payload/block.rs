//! Blocks of the columns section: `Block` says which part of a column a block is, and `read_set` reads a set of rows
//! in its three forms. Used by `columns` and `column`.
//!
//! Lengths and places are checked when the directory is read (`columns`); bytes on first use.

use std::ops::Range;
use std::sync::OnceLock;

use super::layout::{FORM_ALL, FORM_ROWS, FORM_WORDS, Part};
use crate::ids::RowId;
use crate::rowset::RowSet;

/// Where in the section the parts of one column are. Without values there is no column.
#[derive(Debug, Default)]
pub(super) struct ColumnEntry {
    pub(super) presence: Option<Block>,
    pub(super) listed_rows: Option<Block>,
    pub(super) values: Option<Block>,
    pub(super) dictionary_offsets: Option<Block>,
    pub(super) dictionary_bytes: Option<Block>,
    /// The outcome of looking at the bytes.
    pub(super) checked: OnceLock<std::result::Result<(), String>>,
}

/// A piece of the section.
#[derive(Debug, Clone)]
pub(super) struct Block {
    pub(super) form: u8,
    pub(super) base: u64,
    pub(super) range: Range<usize>,
}

impl ColumnEntry {
    pub(super) fn slot(&mut self, part: u8) -> Option<&mut Option<Block>> {
        const PRESENCE: u8 = Part::Presence as u8;
        const ROWS: u8 = Part::Rows as u8;
        const VALUES: u8 = Part::Values as u8;
        const DICTIONARY_OFFSETS: u8 = Part::DictionaryOffsets as u8;
        const DICTIONARY_BYTES: u8 = Part::DictionaryBytes as u8;
        match part {
            PRESENCE => Some(&mut self.presence),
            ROWS => Some(&mut self.listed_rows),
            VALUES => Some(&mut self.values),
            DICTIONARY_OFFSETS => Some(&mut self.dictionary_offsets),
            DICTIONARY_BYTES => Some(&mut self.dictionary_bytes),
            _ => None,
        }
    }

    /// All parts there are.
    pub(super) fn blocks(&self) -> impl Iterator<Item = &Block> {
        let parts = [&self.presence, &self.listed_rows, &self.values];
        parts.into_iter().chain([&self.dictionary_offsets, &self.dictionary_bytes]).flatten()
    }

    /// A column has values and either a presence or rows; or nothing at all.
    pub(super) fn check_parts(&self) -> std::result::Result<(), String> {
        let is_there = self.values.is_some();
        let has_rows = self.presence.is_some() != self.listed_rows.is_some();
        let has_any = self.presence.is_some() || self.listed_rows.is_some();
        if is_there == has_any && is_there == has_rows {
            Ok(())
        } else {
            Err("a column without all of its parts".to_owned())
        }
    }
}

impl Block {
    pub(super) fn check_set_length(&self, rows: u32) -> std::result::Result<(), String> {
        let len = self.range.len();
        let is_right = match self.form {
            FORM_ALL => len == 0,
            FORM_WORDS => len == (rows as usize).div_ceil(64) * 8,
            FORM_ROWS => len.is_multiple_of(4) && len / 4 <= rows as usize,
            form => return Err(format!("unknown form {form} of a set")),
        };
        if is_right { Ok(()) } else { Err(format!("a set of {len} bytes over {rows} rows")) }
    }
}

/// The rows of a set; none without a block.
pub(super) fn read_set(
    bytes: &[u8],
    block: Option<&Block>,
    rows: u32,
) -> std::result::Result<RowSet, String> {
    let Some(block) = block else { return Ok(RowSet::empty(rows)) };
    let bytes = &bytes[block.range.clone()];
    match block.form {
        FORM_ALL => Ok(RowSet::full(rows)),
        FORM_WORDS => RowSet::from_bytes(rows, bytes).map_err(|error| error.to_string()),
        _ => {
            let mut set = RowSet::empty(rows);
            for row in cast::<u32>(bytes)? {
                if *row >= rows || !set.insert(RowId(*row)) {
                    return Err(format!("row {row} twice or beyond {rows} rows"));
                }
            }
            Ok(set)
        }
    }
}

/// Bytes as numbers in place.
pub(super) fn cast<T: bytemuck::Pod>(bytes: &[u8]) -> std::result::Result<&[T], String> {
    bytemuck::try_cast_slice(bytes).map_err(|error| format!("{} bytes: {error}", bytes.len()))
}
