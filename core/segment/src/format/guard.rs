//! `Guard`: lets a search read a section in place before all of it was verified. Made by `VectorField` for the rows and
//! the graph of a mapped file; `Scorer` and the graph's walk ask it about the items they are about to read.

use std::cell::OnceCell;
use std::ops::Range;

use crate::error::{Error, Result};
use crate::ids::RowId;

use super::section::Section;

/// Items of one length in a section, verified as they are read. For one search: it keeps the first error.
#[derive(Debug)]
pub(crate) struct Guard<'a> {
    section: &'a Section,
    start: u64,
    item_bytes: u64,
    failure: OnceCell<Error>,
}

impl<'a> Guard<'a> {
    /// A guard of items of `item_bytes`, which begin at `start` in the section; `None` if all of it was verified.
    pub(crate) fn new(section: &'a Section, start: usize, item_bytes: usize) -> Option<Guard<'a>> {
        let (start, item_bytes) = (start as u64, item_bytes as u64);
        let guard = || Guard { section, start, item_bytes, failure: OnceCell::new() };
        // The browser's package maps nothing: without guards it is smaller.
        (cfg!(feature = "fs") && !section.is_verified()).then(guard)
    }

    /// True if the bytes of these items have their checksums. Blocks that were not verified before are read, all of
    /// them at once. After it returns false the search must stop; [`Guard::end`] says why.
    #[inline]
    pub(crate) fn admit(&self, items: &[RowId]) -> bool {
        let is_verified = |&item: &RowId| self.section.has_verified(&self.range(item));
        items.iter().all(is_verified) || self.verify(items)
    }

    #[cold]
    fn verify(&self, items: &[RowId]) -> bool {
        if self.failure.get().is_some() {
            return false;
        }
        let ranges = || items.iter().map(|&item| self.range(item));
        let unverified = || ranges().filter(|range| !self.section.has_verified(range));
        unverified().for_each(|range| self.section.announce(&range));
        for range in unverified() {
            if let Err(error) = self.section.read(range) {
                let _first_counts = self.failure.set(error);
                return false;
            }
        }
        true
    }

    fn range(&self, item: RowId) -> Range<u64> {
        let start = self.start + u64::from(item.0) * self.item_bytes;
        start..start + self.item_bytes
    }

    /// Returns the first error that the search met.
    ///
    /// # Errors
    /// `Corrupt` if an item was damaged; what the blob returns.
    pub(crate) fn end(self) -> Result<()> {
        self.failure.into_inner().map_or(Ok(()), Err)
    }
}
