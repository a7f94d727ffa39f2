//! Reading one section: checksums first, then bytes.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{Error, Result};
use crate::storage::{AlignedBuffer, Blob, Bytes};

use super::front::{BLOCK_BYTES, SectionEntry};

/// Where the bytes of a hot section should be while it is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residence {
    /// Wherever the blob has them (memory, or a map whose pages come and go).
    InPlace,
    /// Copied once into aligned memory of our own (huge pages where the system gives them).
    Copied,
    /// In place, and built by this process a moment ago: checksums need no test.
    Built,
}

/// A section of an open blob. Each block's checksum is verified on first touch.
#[derive(Debug)]
pub struct Section {
    name: String,
    blob: Arc<dyn Blob>,
    entry: SectionEntry,
    verified: Vec<AtomicU64>,
}

impl Section {
    /// A section of `blob`, which is called `name` in errors.
    pub fn new(name: &str, blob: Arc<dyn Blob>, entry: SectionEntry) -> Self {
        let words = entry.block_crcs.len().div_ceil(64);
        let verified = (0..words).map(|_| AtomicU64::new(0)).collect();
        Section { name: name.to_owned(), blob, entry, verified }
    }

    /// What and where it is.
    pub fn entry(&self) -> &SectionEntry {
        &self.entry
    }

    /// All bytes, verified unless they were just built.
    ///
    /// # Errors
    /// `Corrupt` naming the block, or what the blob returns.
    pub fn read_all(&self, residence: Residence) -> Result<Bytes> {
        let (start, len) = (self.entry.offset, self.entry.len);
        match residence {
            Residence::InPlace => self.read(0..len),
            Residence::Copied => Ok(AlignedBuffer::copy_of(&self.read(0..len)?).into()),
            Residence::Built => self.blob.read(start..start + len),
        }
    }

    /// Some bytes, after verifying every block they touch.
    ///
    /// # Errors
    /// `Corrupt` for a bad block or a range outside the section.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.entry.len {
            let found = format!("{range:?} of {} bytes", self.entry.len);
            return Err(Error::corrupt(&self.name, self.place(), found));
        }
        for block in range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES) {
            self.verify_block(block)?;
        }
        self.blob.read(self.entry.offset + range.start..self.entry.offset + range.end)
    }

    /// Verifies every block again, whatever was verified before.
    ///
    /// # Errors
    /// `Corrupt` naming the first bad block.
    pub fn verify(&self) -> Result<()> {
        (0..self.entry.block_crcs.len() as u64).try_for_each(|block| self.check_block(block))
    }

    fn verify_block(&self, block: u64) -> Result<()> {
        let (word, bit) = (&self.verified[(block / 64) as usize], 1 << (block % 64));
        if word.load(Ordering::Relaxed) & bit != 0 {
            return Ok(());
        }
        self.check_block(block)?;
        word.fetch_or(bit, Ordering::Relaxed);
        Ok(())
    }

    fn check_block(&self, block: u64) -> Result<()> {
        let start = self.entry.offset + block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.entry.offset + self.entry.len);
        let found = crc32c::crc32c(&self.blob.read(start..end)?);
        let expected = self.entry.block_crcs[block as usize];
        if found == expected {
            return Ok(());
        }
        let message =
            format!("checksum {found:08x} of {} bytes, expected {expected:08x}", end - start);
        let place = format!("{}, offset {start}", self.place());
        Err(Error::corrupt(&self.name, place, message)
            .with("offset", start)
            .with("checksum", format!("{found:08x}")))
    }

    fn place(&self) -> String {
        format!("section {:?}", self.entry.kind)
    }
}
