//! Shared read-only bytes: a cheap clone of a piece of a map or of an aligned buffer.

use std::ops::{Deref, Range};
use std::sync::Arc;

/// A line of the cache; buffers are made of these so that they start at a multiple of 64.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

/// Owned bytes at an address that is a multiple of 64.
#[derive(Clone, Default)]
pub struct AlignedBuffer {
    lines: Vec<Line>,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes.
    pub fn zeroed(len: usize) -> Self {
        AlignedBuffer { lines: vec![Line([0; 64]); len.div_ceil(64)], len }
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = AlignedBuffer::zeroed(bytes.len());
        buffer.as_mut_slice().copy_from_slice(bytes);
        buffer
    }

    /// Forgets the bytes after the first `len`; longer than it is, it stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        &mut bytemuck::cast_slice_mut(&mut self.lines)[..self.len]
    }
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &bytemuck::cast_slice(&self.lines)[..self.len]
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

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
