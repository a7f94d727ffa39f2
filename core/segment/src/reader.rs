//! Reads little-endian bytes that may be anything, from front to back. `ByteReader` is used by the decoders
//! of segment files, log frames, batches, delete lists, idempotency-key files, exports and slots. Errors name
//! the file (blob) and the part of it (place).
//!
//! Every read is checked: running off the end is `Corrupt`, never a panic, and a length found in the bytes allocates
//! nothing before it was compared with what is left. What the values mean is the caller's business.

use std::fmt::Display;

use serde::de::{DeserializeOwned, Error as _};

use crate::error::{Error, Result};

/// Reads JSON that is a file or a part of one. The way to read bytes as JSON: serde_json would have a second copy of
/// everything that reads a text, and a page loads it.
///
/// # Errors
/// Those of serde_json, also for bytes that are no UTF-8.
pub fn read_json<T: DeserializeOwned>(bytes: &[u8]) -> serde_json::Result<T> {
    let text = std::str::from_utf8(bytes).map_err(serde_json::Error::custom)?;
    serde_json::from_str(text)
}

/// A position in some bytes.
#[derive(Debug)]
pub struct ByteReader<'a> {
    blob: &'a str,
    place: &'a str,
    bytes: &'a [u8],
    at: usize,
}

impl<'a> ByteReader<'a> {
    /// The start of `bytes`, which errors call `place` of `blob`.
    pub fn new(blob: &'a str, place: &'a str, bytes: &'a [u8]) -> Self {
        ByteReader { blob, place, bytes, at: 0 }
    }

    /// The next `count` bytes.
    ///
    /// # Errors
    /// `Corrupt` if fewer are left.
    pub fn take(&mut self, count: usize) -> Result<&'a [u8]> {
        let Some(taken) = self.bytes[self.at..].get(..count) else {
            let found = format!("{count} bytes expected, {} left", self.left());
            return Err(self.corrupt_at(self.at, found));
        };
        self.at += count;
        Ok(taken)
    }

    /// The next `N` bytes.
    ///
    /// # Errors
    /// `Corrupt` if fewer are left.
    pub fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("take returns as many bytes as requested"))
    }

    /// The next u16.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u16(&mut self) -> Result<u16> {
        self.array().map(u16::from_le_bytes)
    }

    /// The next u32.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u32(&mut self) -> Result<u32> {
        self.array().map(u32::from_le_bytes)
    }

    /// The next u64.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u64(&mut self) -> Result<u64> {
        self.array().map(u64::from_le_bytes)
    }

    /// The next u128.
    ///
    /// # Errors
    /// `Corrupt` at the end.
    pub fn u128(&mut self) -> Result<u128> {
        self.array().map(u128::from_le_bytes)
    }

    /// The next `len_bytes` bytes as UTF-8.
    ///
    /// # Errors
    /// `Corrupt` at the end, or if they are no UTF-8.
    pub fn text(&mut self, len_bytes: usize) -> Result<&'a str> {
        let at = self.at;
        let bytes = self.take(len_bytes)?;
        std::str::from_utf8(bytes).map_err(|error| self.corrupt_at(at, error))
    }

    /// Bytes read so far.
    pub fn at(&self) -> usize {
        self.at
    }

    /// Bytes not read yet.
    pub fn left(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// An error about these bytes.
    pub fn corrupt(&self, found: impl Display) -> Error {
        Error::corrupt(self.blob, self.place, found)
    }

    /// An error about the byte at `at`.
    pub fn corrupt_at(&self, at: usize, found: impl Display) -> Error {
        Error::corrupt(self.blob, format_args!("{}, byte {at}", self.place), found)
    }
}
