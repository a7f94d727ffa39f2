//! The texts section: the JSON text of each row, as given. `RawWriter` is used by `PayloadBuilder`, `Texts` by
//! `Payload`.
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

use std::borrow::Cow;
use std::ops::Range;
use std::sync::{Arc, OnceLock};

use crate::error::{Error, ErrorKind, Result};
use crate::format::{Residence, Section, once};
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

/// The texts of a segment: all of them, or each read from its section when it is used.
#[derive(Debug)]
pub(crate) struct Texts {
    rows: u32,
    /// The bytes of the section.
    whole: OnceLock<Bytes>,
    section: Option<Arc<Section>>,
}

impl Texts {
    /// # Errors
    /// `Corrupt` unless the bytes hold a table for exactly `rows` rows.
    pub(crate) fn open(bytes: Bytes, rows: u32) -> Result<Self> {
        check(&bytes, rows)?;
        Ok(Texts { rows, whole: OnceLock::from(bytes), section: None })
    }

    /// Texts of which nothing is read yet; without a section there are none.
    pub(crate) fn on_demand(section: Option<Arc<Section>>, rows: u32) -> Self {
        Texts { rows, whole: OnceLock::new(), section }
    }

    fn section(&self) -> Result<&Section> {
        let missing = || Error::new(ErrorKind::NotFound, "the metadata texts were not opened");
        self.section.as_deref().ok_or_else(missing)
    }

    /// Reads all texts at once, for a caller that needs many.
    ///
    /// # Errors
    /// As [`Texts::open`]; what the blob returns.
    pub(crate) fn load(&self) -> Result<()> {
        let read = || {
            let bytes = self.section()?.read_all(Residence::InPlace)?;
            check(&bytes, self.rows)?;
            Ok(bytes)
        };
        once(&self.whole, read).map(drop)
    }

    /// The text of a row; `None` if it has no metadata. O(text).
    ///
    /// # Errors
    /// `Corrupt` if the row's place in the table or its text is damaged; what the blob returns.
    ///
    /// # Panics
    /// If there is no such row.
    pub(crate) fn get(&self, row: RowId) -> Result<Option<Cow<'_, str>>> {
        assert!(row.0 < self.rows, "row {} of {} rows", row.0, self.rows);
        let entry = HEADER_BYTES as u64 + 8 * u64::from(row.0);
        let entry = entry..entry + 16;
        let text = if let Some(whole) = self.whole.get() {
            let place = self.place(row, &whole[index(entry)], whole.len() as u64)?;
            Cow::Borrowed(utf8(row, &whole[index(place)])?)
        } else {
            let section = self.section()?;
            let place = self.place(row, &section.read(entry)?, section.entry().len)?;
            Cow::Owned(utf8(row, &section.read(place)?)?.to_owned())
        };
        Ok((!text.is_empty()).then_some(text))
    }

    /// Where the text is in a section of `len` bytes, by its entry in the table.
    fn place(&self, row: RowId, entry: &[u8], len: u64) -> Result<Range<u64>> {
        let base = HEADER_BYTES as u64 + 8 * (u64::from(self.rows) + 1);
        let [start, end] = [0, 8].map(|at| {
            let bytes = entry[at..at + 8].try_into().expect("an entry has 16 bytes");
            base.checked_add(u64::from_le_bytes(bytes)).filter(|place| *place <= len)
        });
        match (start, end) {
            (Some(start), Some(end)) if start <= end => Ok(start..end),
            _ => Err(damaged(row, format!("outside the {len} bytes of the section"))),
        }
    }
}

/// Whether the bytes begin with a table for so many rows.
fn check(bytes: &[u8], rows: u32) -> Result<()> {
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
    Ok(())
}

/// A range of bytes that are in memory.
fn index(range: Range<u64>) -> Range<usize> {
    range.start as usize..range.end as usize
}

fn utf8(row: RowId, text: &[u8]) -> Result<&str> {
    std::str::from_utf8(text).map_err(|error| damaged(row, format!("not UTF-8: {error}")))
}

fn damaged(row: RowId, found: String) -> Error {
    Error::corrupt(BLOB, format!("text of row {}", row.0), found)
}
