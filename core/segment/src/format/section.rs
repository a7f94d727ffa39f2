//! Reads one section of a segment file or an export: `Section` verifies the checksums of the blocks that a read
//! touches, then returns the bytes. `Residence` says whether the file is mapped or in memory, or read on demand.
//! Created by `Sections`; used by `payload`, `stats`, `vector` and verify.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{Error, Result};
use crate::storage::{Advice, Blob, Bytes};

use super::front::{BLOCK_BYTES, SectionEntry, SectionKind};
use super::verified::Verified;

/// Blocks that are announced together where many are read.
const ANNOUNCED_BLOCKS: u64 = 32;

/// Where the bytes of a hot section should be while it is searched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Residence {
    /// Wherever the blob has them (memory, or a map whose pages come and go).
    InPlace,
    /// In place, and built by this process a moment ago: checksums need no test.
    Built,
    /// In place, each section read when it is first used: bytes of the blob may be missing until then.
    OnDemand,
    /// In a map of a file, each block verified when it is first used: opening reads next to nothing.
    Mapped,
}

impl Residence {
    /// What is possible with this blob: one whose reads are copies is read whole and not mapped.
    pub(crate) fn possible(self, blob: &dyn Blob) -> Residence {
        if self != Residence::Mapped {
            return self;
        }
        if !self.is_mapped() || !blob.is_in_place() {
            return Residence::InPlace;
        }
        blob.advise(0..blob.len(), Advice::Random);
        Residence::Mapped
    }

    /// True if blocks are verified when they are first used.
    #[inline]
    pub(crate) fn is_mapped(self) -> bool {
        // The browser's package maps nothing: without this path it is smaller.
        cfg!(feature = "fs") && self == Residence::Mapped
    }
}

/// A section of an open blob. Each block's checksum is verified on first touch, and again after the blob forgot
/// bytes.
#[derive(Debug)]
pub struct Section {
    name: String,
    blob: Arc<dyn Blob>,
    entry: SectionEntry,
    verified: Verified,
    damaged: AtomicBool,
}

impl Section {
    /// A section of `blob`, which is called `name` in errors.
    pub fn new(name: &str, blob: Arc<dyn Blob>, entry: SectionEntry) -> Self {
        let verified = Verified::new(entry.block_crcs.len());
        let damaged = AtomicBool::new(false);
        Section { name: name.to_owned(), blob, entry, verified, damaged }
    }

    /// What and where it is.
    pub fn entry(&self) -> &SectionEntry {
        &self.entry
    }

    /// True once a block did not have its checksum.
    pub fn is_damaged(&self) -> bool {
        self.damaged.load(Ordering::Relaxed)
    }

    /// True if every block was verified. For blobs that forget nothing.
    pub fn is_verified(&self) -> bool {
        self.verified.is_complete()
    }

    /// True if the blocks that these bytes touch were verified. For blobs that forget nothing.
    #[inline]
    pub(crate) fn has_verified(&self, range: &Range<u64>) -> bool {
        let mut blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        blocks.all(|block| self.verified.has_ever(block as usize))
    }

    /// Announces that the blocks of these bytes will be read soon.
    pub(crate) fn announce(&self, range: &Range<u64>) {
        let start = range.start / BLOCK_BYTES * BLOCK_BYTES;
        let end = range.end.next_multiple_of(BLOCK_BYTES).min(self.entry.len);
        self.blob.advise(self.entry.offset + start..self.entry.offset + end, Advice::Soon);
    }

    /// How often the blob has forgotten bytes.
    pub fn changes(&self) -> u64 {
        self.blob.changes()
    }

    /// All bytes, in place; verified unless they were just built.
    ///
    /// # Errors
    /// `Corrupt` naming the block, or what the blob returns.
    pub fn read_all(&self, residence: Residence) -> Result<Bytes> {
        let (start, len) = (self.entry.offset, self.entry.len);
        match residence {
            Residence::InPlace | Residence::OnDemand | Residence::Mapped => self.read(0..len),
            Residence::Built => self.blob.read(start..start + len),
        }
    }

    /// Some bytes, after verifying every block they touch. Those blocks are read as one range.
    ///
    /// # Errors
    /// `Corrupt` for a bad block or a range outside the section; what the blob returns.
    pub fn read(&self, range: Range<u64>) -> Result<Bytes> {
        self.check_range(&range)?;
        let blocks = range.start / BLOCK_BYTES..range.end.div_ceil(BLOCK_BYTES);
        let changes = self.blob.changes();
        let is_new = |block: &u64| !self.verified.has(*block as usize, changes);
        if !range.is_empty() && blocks.clone().any(|block| is_new(&block)) {
            let start = blocks.start * BLOCK_BYTES;
            let end = (blocks.end * BLOCK_BYTES).min(self.entry.len);
            let bytes = self.blob.read(self.entry.offset + start..self.entry.offset + end)?;
            let first = blocks.start;
            for block in blocks.filter(is_new) {
                if block == first || block.is_multiple_of(ANNOUNCED_BLOCKS) {
                    let ahead = (block + 2 * ANNOUNCED_BLOCKS) * BLOCK_BYTES;
                    self.announce(&(block * BLOCK_BYTES..ahead.min(end)));
                }
                let at = (block * BLOCK_BYTES - start) as usize;
                let end = (at + BLOCK_BYTES as usize).min(bytes.len());
                self.compare(block, &bytes[at..end])?;
                self.verified.add(block as usize);
            }
            return Ok(bytes.slice((range.start - start) as usize..(range.end - start) as usize));
        }
        self.blob.read(self.entry.offset + range.start..self.entry.offset + range.end)
    }

    /// Bytes of the section as they are in the blob, for callers that verify their own checksum.
    ///
    /// # Errors
    /// `Corrupt` for a range outside the section; what the blob returns.
    pub fn read_unverified(&self, range: Range<u64>) -> Result<Bytes> {
        self.check_range(&range)?;
        self.blob.read(self.entry.offset + range.start..self.entry.offset + range.end)
    }

    /// Verifies every block again, whatever was verified before, as long as `go_on` returns true.
    ///
    /// # Errors
    /// `Corrupt` naming the first bad block.
    pub fn verify(&self, go_on: &dyn Fn() -> bool) -> Result<()> {
        let mut blocks = (0..self.entry.block_crcs.len() as u64).take_while(|_| go_on());
        blocks.try_for_each(|block| {
            let start = block * BLOCK_BYTES;
            self.announce(&(start..start + BLOCK_BYTES));
            self.check_block(block)
        })
    }

    fn check_range(&self, range: &Range<u64>) -> Result<()> {
        if range.start <= range.end && range.end <= self.entry.len {
            return Ok(());
        }
        let found = format!("{range:?} of {} bytes", self.entry.len);
        Err(Error::corrupt(&self.name, self.place(), found))
    }

    fn check_block(&self, block: u64) -> Result<()> {
        let start = self.entry.offset + block * BLOCK_BYTES;
        let end = (start + BLOCK_BYTES).min(self.entry.offset + self.entry.len);
        self.compare(block, &self.blob.read(start..end)?)
    }

    /// Holds the bytes of a block against its checksum.
    fn compare(&self, block: u64, bytes: &[u8]) -> Result<()> {
        let start = self.entry.offset + block * BLOCK_BYTES;
        let expected = self.entry.block_crcs[block as usize];
        let compared = check_bytes(&self.name, self.entry.kind, bytes, start, expected);
        if compared.is_err() {
            self.damaged.store(true, Ordering::Relaxed);
        }
        compared
    }

    fn place(&self) -> String {
        format!("section {}", self.entry.kind)
    }
}

/// Holds bytes of a section, which start at `start` in the file `blob`, against their checksum.
///
/// # Errors
/// `Corrupt` with the details `offset`, `length`, `checksum` and whether the section is `derived`.
pub(crate) fn check_bytes(
    blob: &str,
    kind: SectionKind,
    bytes: &[u8],
    start: u64,
    expected: u32,
) -> Result<()> {
    let found = crc32c::crc32c(bytes);
    if found == expected {
        return Ok(());
    }
    let message = format!("checksum {found:08x} of {} bytes, expected {expected:08x}", bytes.len());
    Err(Error::corrupt(blob, format_args!("section {kind}, offset {start}"), message)
        .with("offset", start)
        .with("length", bytes.len())
        .with("checksum", format!("{found:08x}"))
        .with("derived", kind.is_derived()))
}
