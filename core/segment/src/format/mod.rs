//! Layout of a segment file: a front that says everything about it, then sections.
//!
//! ```text
//! 0            64            64 + 64 × sections          front_len                              file_len
//! | header     | entries …   | block checksums (u32 …)   | section | pad | section | pad …      |
//! ```
//!
//! Sections start at multiples of 64, in the order of their entries, without overlap; pads are written as
//! zeros and never read. Each 64 KiB block of a section has a CRC32C in the front; the front has its own.
//! Little-endian throughout.
//! `docs/internals/format.md` holds the tables. What a section means is the business of whoever reads it.

mod front;
mod section;
mod verified;

pub use front::{
    BLOCK_BYTES, FORMAT_VERSION, FRONT_PREFIX_BYTES, Front, OLDEST_READABLE_VERSION, SectionEntry,
    SectionKind, decode_table, encode_table, front_len,
};
pub use section::{Residence, Section};
pub use verified::Verified;

use crate::error::{Error, Result};

/// Next multiple of 64.
pub fn align64(offset: u64) -> u64 {
    offset.next_multiple_of(64)
}

/// Reads little-endian fields front to back; running off the end is `Corrupt`, never a panic.
#[derive(Debug)]
pub struct Fields<'a> {
    blob: &'a str,
    place: &'a str,
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Fields of `bytes`, which are called `place` of `blob` in errors.
    pub fn new(blob: &'a str, place: &'a str, bytes: &'a [u8]) -> Self {
        Fields { blob, place, rest: bytes }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Corrupt` if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        if count > self.rest.len() {
            let found = format!("{count} bytes expected, {} left", self.rest.len());
            return Err(Error::corrupt(self.blob, self.place, found));
        }
        let (head, rest) = self.rest.split_at(count);
        self.rest = rest;
        Ok(head)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as asked"))
    }

    /// The next u16.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    /// The next u32.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    /// The next u64.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    /// The next u128.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u128(&mut self) -> Result<u128> {
        Ok(u128::from_le_bytes(self.array()?))
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.rest.len()
    }

    /// An error about these bytes.
    pub fn corrupt(&self, found: impl std::fmt::Display) -> Error {
        Error::corrupt(self.blob, self.place, found)
    }
}
