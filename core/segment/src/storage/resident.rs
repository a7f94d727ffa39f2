//! Copies of hot sections in memory that the kernel backs with huge pages.
//!
//! A graph search touches a few cache lines of many pages: with 4 KiB pages most of its time goes to
//! address translation. Where huge pages are given on request only, an anonymous map with that request
//! is the way to them; a file map never gets them. Elsewhere the copy is an ordinary aligned buffer.

use super::{AlignedBuffer, Bytes};

/// Below this the copy would waste much of its last huge page (2 MiB) and translation is cheap anyway.
const HUGE_BYTES_MIN: usize = 4 << 20;

/// A copy of `bytes` in anonymous memory, aligned to 64 bytes at least; in huge pages where the system
/// grants them and there are 4 MiB or more. O(bytes), and as much memory: for hot sections only.
pub fn resident_copy(bytes: &[u8]) -> Bytes {
    if bytes.len() >= HUGE_BYTES_MIN
        && let Some(copy) = huge_copy(bytes)
    {
        return copy;
    }
    Bytes::from(AlignedBuffer::copy_of(bytes))
}

/// `None` if the system refuses the map; the ordinary buffer then decides whether memory is out.
#[cfg(all(feature = "fs", target_os = "linux"))]
fn huge_copy(bytes: &[u8]) -> Option<Bytes> {
    let mut map = memmap2::MmapMut::map_anon(bytes.len()).ok()?;
    // A kernel without huge pages refuses the advice; the copy is as right without.
    let _refused = map.advise(memmap2::Advice::HugePage);
    map.copy_from_slice(bytes);
    let map = std::sync::Arc::new(map.make_read_only().ok()?);
    Some(Bytes::from_map(map, 0..bytes.len()))
}

#[cfg(not(all(feature = "fs", target_os = "linux")))]
fn huge_copy(_bytes: &[u8]) -> Option<Bytes> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn copies_below_and_above_the_huge_page_bound_hold_the_same_bytes_aligned() {
        for len in [0, 1, 65, HUGE_BYTES_MIN - 1, HUGE_BYTES_MIN, HUGE_BYTES_MIN + 4097] {
            let bytes: Vec<u8> = (0..len).map(|i| (i * 7 + i / 251) as u8).collect();
            let copy = resident_copy(&bytes);
            assert!(copy[..] == bytes[..], "{len} bytes");
            assert_eq!(copy.as_ptr().addr() % 64, 0, "{len} bytes");
        }
    }
}
