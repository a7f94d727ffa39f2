//! `Bytes`: shared read-only bytes of a blob. A clone is cheap, and `slice` takes a part without a copy; the owner is
//! a memory map or an `AlignedBuffer`. Returned by `Blob::read`.

use std::ops::{Deref, Range};
use std::sync::Arc;

use super::{Advice, AlignedBuffer};

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

    /// Tells the system how pages of a map will be read; of other bytes nothing. `range` lies within them.
    pub(super) fn advise(&self, range: Range<usize>, advice: Advice) {
        #[cfg(all(feature = "fs", unix))]
        if let Owner::Map(map) = &self.owner {
            let advice = match advice {
                Advice::Random => memmap2::Advice::Random,
                Advice::Soon => memmap2::Advice::WillNeed,
            };
            let _only_a_hint =
                map.advise_range(advice, self.range.start + range.start, range.len());
        }
        #[cfg(not(all(feature = "fs", unix)))]
        let _ = (range, advice);
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

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;
    use crate::rng::Rng;

    #[test]
    fn a_buffer_written_in_pieces_holds_what_a_vec_holds() {
        for seed in 0..50 {
            let mut rng = Rng::new(seed);
            let mut buffer = AlignedBuffer::zeroed(rng.below(100) as usize);
            let mut expected = vec![0; buffer.len()];
            for _ in 0..20 {
                let piece = vec![rng.below(256) as u8; rng.below(200) as usize];
                buffer.write_all(&piece).unwrap();
                expected.extend_from_slice(&piece);
            }
            assert_eq!(buffer[..], expected, "seed {seed}");
            assert_eq!(buffer.as_ptr().addr() % 64, 0, "seed {seed}");
        }
    }

    #[test]
    fn a_slice_of_a_slice_keeps_the_owner_alive() {
        let bytes = Bytes::from(AlignedBuffer::copy_of(b"0123456789"));
        let inner = bytes.slice(2..9).slice(1..4);
        drop(bytes);
        assert_eq!(inner[..], *b"345");
    }
}
