//! The JSON texts of the rows, as given.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 4 | rows R |
//! | 4 | 4 | 0 |
//! | 8 | 8 × (R + 1) | where the text of each row starts behind this table, and where the last ends |
//! | … | … | the texts, UTF-8, in row order |
//!
//! A row without metadata has an empty text, which no JSON object is. Opening reads the header only; each
//! text is checked when it is read.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::ids::RowId;
use crate::storage::Bytes;

const BLOB: &str = "metadata texts";
const HEADER_BYTES: usize = 8;
/// Bytes of texts in one piece, unless one text is longer.
const PIECE_BYTES: usize = 4 << 20;

/// Gathers texts in row order, in pieces, so that copying the section can free one after the other.
#[derive(Debug)]
pub(super) struct RawWriter {
    offsets: Vec<u64>,
    pieces: Vec<Vec<u8>>,
}

impl RawWriter {
    pub(super) fn new() -> Self {
        RawWriter { offsets: vec![0], pieces: Vec::new() }
    }

    pub(super) fn push(&mut self, text: Option<&str>) {
        let text = text.unwrap_or_default().as_bytes();
        let end = self.offsets.last().copied().unwrap_or(0) + text.len() as u64;
        self.offsets.push(end);
        match self.pieces.last_mut() {
            Some(piece) if piece.len() + text.len() <= PIECE_BYTES => piece.extend_from_slice(text),
            Some(_) | None => self.pieces.push(text.to_vec()),
        }
    }

    /// The section: its bytes are those of the pieces, one after the other.
    pub(super) fn finish(self, rows: u32) -> Vec<Vec<u8>> {
        let mut table = Vec::with_capacity(HEADER_BYTES + 8 * self.offsets.len());
        table.extend_from_slice(&rows.to_le_bytes());
        table.extend_from_slice(&[0; 4]);
        table.extend_from_slice(bytemuck::cast_slice(&self.offsets));
        let mut pieces = self.pieces;
        pieces.insert(0, table);
        pieces
    }
}

/// An opened section of texts.
#[derive(Debug, Clone)]
pub(super) struct RawTexts {
    bytes: Bytes,
    rows: u32,
}

impl RawTexts {
    /// # Errors
    /// `Corrupt` unless the bytes hold a table for exactly `rows` rows.
    pub(super) fn open(bytes: Bytes, rows: u32) -> Result<Self> {
        let table_end = HEADER_BYTES as u64 + 8 * (u64::from(rows) + 1);
        if (bytes.len() as u64) < table_end {
            let found = format!("expected at least {table_end} bytes, found {}", bytes.len());
            return Err(Error::corrupt(BLOB, "length", found));
        }
        let found = u32::from_le_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]);
        if found != rows {
            let found = format!("expected {rows} rows, found {found}");
            return Err(Error::corrupt(BLOB, "header", found));
        }
        Ok(RawTexts { bytes, rows })
    }

    /// The text of a row; `None` if it has no metadata. O(text).
    ///
    /// # Errors
    /// `Corrupt` if the row's place in the table or its text is damaged.
    ///
    /// # Panics
    /// If there is no such row.
    pub(super) fn get(&self, row: RowId) -> Result<Option<&str>> {
        assert!(row.0 < self.rows, "row {} of {} rows", row.0, self.rows);
        let (start, end) = (self.offset(row.index()), self.offset(row.index() + 1));
        let texts = &self.bytes[HEADER_BYTES + 8 * (self.rows as usize + 1)..];
        let place = || format!("text of row {}", row.0);
        let text = usize::try_from(start)
            .ok()
            .zip(usize::try_from(end).ok())
            .and_then(|(start, end)| texts.get(start..end))
            .ok_or_else(|| {
                let found = format!("at {start} to {end} of {} bytes", texts.len());
                Error::corrupt(BLOB, place(), found)
            })?;
        let text = std::str::from_utf8(text)
            .map_err(|error| Error::corrupt(BLOB, place(), format!("not UTF-8: {error}")))?;
        Ok((!text.is_empty()).then_some(text))
    }

    fn offset(&self, index: usize) -> u64 {
        let start = HEADER_BYTES + 8 * index;
        let bytes = self.bytes[start..start + 8].try_into().expect("the table was checked");
        u64::from_le_bytes(bytes)
    }
}

/// Where texts are, for a reader that has a part of the section only.
#[derive(Debug, Clone, Copy)]
pub struct TextPlaces {
    rows: u32,
}

impl TextPlaces {
    /// Of a section of `rows` rows.
    pub fn new(rows: u32) -> Self {
        TextPlaces { rows }
    }

    /// The bytes of the section that say where the text of a row is.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn entry(&self, row: RowId) -> Range<u64> {
        assert!(row.0 < self.rows, "row {} of {} rows", row.0, self.rows);
        let start = HEADER_BYTES as u64 + 8 * u64::from(row.0);
        start..start + 16
    }

    /// The bytes of the text, by those of its [`entry`](TextPlaces::entry); none if the row has no metadata.
    ///
    /// # Errors
    /// `Corrupt` if it is not within a section of `len` bytes.
    pub fn text(&self, entry: &[u8], len: u64) -> Result<Range<u64>> {
        let base = HEADER_BYTES as u64 + 8 * (u64::from(self.rows) + 1);
        let place = |at: usize| {
            let bytes = *entry.get(at..)?.first_chunk()?;
            base.checked_add(u64::from_le_bytes(bytes)).filter(|place| *place <= len)
        };
        match (place(0), place(8)) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(Error::corrupt(BLOB, "table", format!("a text outside {len} bytes"))),
        }
    }
}
