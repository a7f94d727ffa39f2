//! Shared read-only bytes: a cheap clone of a piece of a map or of an aligned buffer.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::AlignedBuffer;

#[derive(Debug, Clone)]
enum Owner {
    Buffer(Arc<AlignedBuffer>),
    #[cfg(feature = "fs")]
    Map(Arc<memmap2::Mmap>),
}

/// A piece of shared immutable bytes. Cloning and slicing are O(1).
#[derive(Debug, Clone)]
pub struct Bytes {
    owner: Owner,
    range: Range<usize>,
}

impl Bytes {
    /// A piece of a map. The range must lie within it.
    #[cfg(feature = "fs")]
    pub(crate) fn from_map(map: Arc<memmap2::Mmap>, range: Range<usize>) -> Self {
        assert!(range.start <= range.end && range.end <= map.len(), "the range lies in the map");
        Bytes { owner: Owner::Map(map), range }
    }

    /// A piece of these bytes; shares the owner.
    ///
    /// # Panics
    /// If `range` is not within them.
    #[must_use]
    pub fn slice(&self, range: Range<usize>) -> Bytes {
        assert!(range.start <= range.end && range.end <= self.range.len(), "the range lies within");
        let start = self.range.start + range.start;
        Bytes { owner: self.owner.clone(), range: start..start + range.len() }
    }
}

impl From<AlignedBuffer> for Bytes {
    fn from(buffer: AlignedBuffer) -> Self {
        let range = 0..buffer.len();
        Bytes { owner: Owner::Buffer(Arc::new(buffer)), range }
    }
}

impl Deref for Bytes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match &self.owner {
            Owner::Buffer(buffer) => &buffer[self.range.clone()],
            #[cfg(feature = "fs")]
            Owner::Map(map) => &map[self.range.clone()],
        }
    }
}
