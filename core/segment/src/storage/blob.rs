//! `BytesBlob`: a `Blob` whose bytes are all in memory: mapped, copied, or made by a builder. Returned by
//! `Directory` and `MemoryStorage`, made by `State` for its small segments. Blobs that are read by
//! ranges (`RangeBlob`, `SlotBlob`) implement [`Blob`] themselves.

use std::ops::Range;

use super::{Advice, Blob, Bytes};
use crate::error::{Error, Result};

/// An immutable blob over [`Bytes`]. Reading is a slice of them: no copy, no failing medium.
#[derive(Debug, Clone)]
pub struct BytesBlob {
    name: String,
    bytes: Bytes,
}

impl BytesBlob {
    /// A blob called `name` (for messages only) with the content `bytes`.
    pub fn new(name: impl Into<String>, bytes: Bytes) -> Self {
        BytesBlob { name: name.into(), bytes }
    }
}

impl Blob for BytesBlob {
    fn len(&self) -> u64 {
        self.bytes.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.len() {
            let found = format!("range {}..{} of {} bytes", range.start, range.end, self.len());
            return Err(Error::corrupt(&self.name, "read", found).with("offset", range.start));
        }
        Ok(self.bytes.slice(range.start as usize..range.end as usize))
    }

    fn is_in_place(&self) -> bool {
        true
    }

    fn advise(&self, range: Range<u64>, advice: Advice) {
        if range.start <= range.end && range.end <= self.len() {
            self.bytes.advise(range.start as usize..range.end as usize, advice);
        }
    }
}
