//! `AlignedBuffer`: owned bytes at an address that is a multiple of 64; large ones in huge pages where the system has
//! them. Holds segment bytes that are built or read, the blocks of a `RangeBlob`, and copied files.
//!
//! A graph search touches a few cache lines of many pages: with 4 KiB pages much of its time goes to
//! address translation. Where huge pages are given on request only, an anonymous map with that request
//! is the way to them; a file map never gets them.

use std::io::{self, Write};
use std::ops::Deref;

/// Below this much of the last huge page (2 MiB) would be wasted, and translation is cheap anyway.
const HUGE_BYTES_MIN: usize = 4 << 20;

/// A line of the cache; buffers are made of these so that they start at a multiple of 64.
#[derive(Clone, Copy, bytemuck::Pod, bytemuck::Zeroable)]
#[repr(C, align(64))]
struct Line([u8; 64]);

enum Memory {
    Lines(Vec<Line>),
    #[cfg(all(feature = "fs", target_os = "linux"))]
    Map(memmap2::MmapMut),
}

/// A buffer of fixed length, aligned to 64 bytes.
pub struct AlignedBuffer {
    memory: Memory,
    len: usize,
}

impl AlignedBuffer {
    /// `len` zero bytes. From 4 MiB on in huge pages, if the system grants them.
    pub fn zeroed(len: usize) -> Self {
        let huge = if len >= HUGE_BYTES_MIN { huge_map(len) } else { None };
        // Fresh pages are zero already; `vec!` would write them once more.
        let lines = || Memory::Lines(bytemuck::zeroed_vec(len.div_ceil(64)));
        AlignedBuffer { memory: huge.unwrap_or_else(lines), len }
    }

    /// As [`zeroed`](AlignedBuffer::zeroed); `None` where memory for it cannot be had.
    pub fn try_zeroed(len: usize) -> Option<Self> {
        let mut lines = Vec::new();
        lines.try_reserve_exact(len.div_ceil(64)).ok()?;
        lines.resize(len.div_ceil(64), Line([0; 64]));
        Some(AlignedBuffer { memory: Memory::Lines(lines), len })
    }

    /// A copy of `bytes`.
    pub fn copy_of(bytes: &[u8]) -> Self {
        let mut buffer = AlignedBuffer::zeroed(bytes.len());
        buffer.as_mut_slice().copy_from_slice(bytes);
        buffer
    }

    /// Forgets the bytes after the first `len`; if it is shorter, it stays as it is.
    pub fn truncate(&mut self, len: usize) {
        self.len = self.len.min(len);
    }

    /// The bytes, writable.
    pub fn as_mut_slice(&mut self) -> &mut [u8] {
        let len = self.len;
        &mut self.memory_mut()[..len]
    }

    fn memory_mut(&mut self) -> &mut [u8] {
        match &mut self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice_mut(lines),
            #[cfg(all(feature = "fs", target_os = "linux"))]
            Memory::Map(map) => &mut map[..],
        }
    }
}

/// Appends; grows like a `Vec`, so that a blob can be built in place without a second copy.
impl Write for AlignedBuffer {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (start, end) = (self.len, self.len + bytes.len());
        if end > self.memory_mut().len() {
            let mut larger = AlignedBuffer::zeroed(end.next_power_of_two());
            larger.as_mut_slice()[..start].copy_from_slice(self);
            *self = larger;
        }
        self.memory_mut()[start..end].copy_from_slice(bytes);
        self.len = end;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// `None` if the system refuses the map; the ordinary buffer then decides whether memory is out.
#[cfg(all(feature = "fs", target_os = "linux"))]
fn huge_map(len: usize) -> Option<Memory> {
    let map = memmap2::MmapMut::map_anon(len).ok()?;
    // A kernel without huge pages refuses the advice; the buffer is as right without.
    let _refused = map.advise(memmap2::Advice::HugePage);
    Some(Memory::Map(map))
}

#[cfg(not(all(feature = "fs", target_os = "linux")))]
fn huge_map(_len: usize) -> Option<Memory> {
    None
}

impl Deref for AlignedBuffer {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        let memory = match &self.memory {
            Memory::Lines(lines) => bytemuck::cast_slice(lines),
            #[cfg(all(feature = "fs", target_os = "linux"))]
            Memory::Map(map) => &map[..],
        };
        &memory[..self.len]
    }
}

impl Clone for AlignedBuffer {
    fn clone(&self) -> Self {
        AlignedBuffer::copy_of(self)
    }
}

impl Default for AlignedBuffer {
    fn default() -> Self {
        AlignedBuffer::zeroed(0)
    }
}

impl std::fmt::Debug for AlignedBuffer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "AlignedBuffer({} bytes)", self.len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_below_and_above_the_huge_page_bound_hold_the_same_bytes_aligned() {
        for len in [0, 1, 65, HUGE_BYTES_MIN - 1, HUGE_BYTES_MIN, HUGE_BYTES_MIN + 4097] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
            let copy = AlignedBuffer::copy_of(&bytes);
            assert!(copy[..] == bytes[..], "{len} bytes");
            assert_eq!(copy.as_ptr().addr() % 64, 0, "{len} bytes");
            let mut written = AlignedBuffer::default();
            bytes.chunks(70_001).for_each(|chunk| written.write_all(chunk).expect("memory"));
            assert!(written[..] == bytes[..], "{len} bytes");
            assert!(AlignedBuffer::zeroed(len).iter().all(|&byte| byte == 0), "{len} bytes");
            let zeroed = AlignedBuffer::try_zeroed(len).expect("memory");
            assert!(zeroed[..] == vec![0; len][..], "{len} bytes");
        }
    }

    #[test]
    fn memory_that_cannot_be_had_is_no_panic() {
        assert!(AlignedBuffer::try_zeroed(isize::MAX as usize - 64).is_none());
    }
}
