//! `Bloom`: a Bloom filter, a set of hashes that may report an absent key as present, never a present key as absent.
//! Built by `SegmentBuilder` for the ids of a segment and by `Stats` for strings; searches call `may_contain`.
//!
//! Blocked Bloom filter (Putze, Sanders, Singler, 2007): a hash picks one block of 512 bits, a line of the
//! cache, and 7 bits in it; with 10 bits a key about 1 in 100 absent keys seems to be there. The bytes are
//! the blocks one after another and nothing else: 64-bit little-endian words, 8 a block.

use crate::error::{Error, Result};
use crate::ids::mix64;
use crate::storage::{AlignedBuffer, Bytes};

const BLOCK_BYTES: usize = 64;
const BITS_PER_KEY: usize = 10;
const PROBES: u32 = 7;

/// See the module. A clone shares the bytes.
#[derive(Debug, Clone)]
pub struct Bloom {
    bytes: Bytes,
}

impl Bloom {
    /// A filter over `hashes`, which must be well mixed (as `PointId::hash64` and `hash_bytes` are).
    pub fn build(hashes: &[u64]) -> Self {
        let blocks = (hashes.len() * BITS_PER_KEY).div_ceil(BLOCK_BYTES * 8).max(1);
        let mut bytes = AlignedBuffer::zeroed(blocks * BLOCK_BYTES);
        let (lines, _) = bytes.as_mut_slice().as_chunks_mut::<BLOCK_BYTES>();
        for hash in hashes {
            let line = &mut lines[block_of(*hash, blocks)];
            for bit in bits_of(*hash) {
                line[bit / 8] |= 1 << (bit % 8);
            }
        }
        Bloom { bytes: bytes.into() }
    }

    /// The filter with these bytes, without a copy. O(1).
    ///
    /// # Errors
    /// `Corrupt` unless the length is a multiple of 64 and not 0.
    pub fn from_bytes(bytes: Bytes) -> Result<Self> {
        if bytes.is_empty() || !bytes.len().is_multiple_of(BLOCK_BYTES) {
            let found = format!("expected a multiple of 64 bytes, found {}", bytes.len());
            return Err(Error::corrupt("bloom filter", "length", found));
        }
        Ok(Bloom { bytes })
    }

    /// The bytes for [`from_bytes`](Bloom::from_bytes).
    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// False only if `hash` was not among those the filter was built of.
    #[inline]
    pub fn may_contain(&self, hash: u64) -> bool {
        let (lines, _) = self.bytes.as_chunks::<BLOCK_BYTES>();
        let line = &lines[block_of(hash, lines.len())];
        // Branch-free: about half of the bits of an absent key are set, so branches would be mispredicted.
        bits_of(hash).fold(1, |all, bit| all & line[bit / 8] >> (bit % 8)) & 1 == 1
    }
}

fn block_of(hash: u64, blocks: usize) -> usize {
    ((u128::from(hash) * blocks as u128) >> 64) as usize
}

/// Seven times nine bits of the hash, mixed once more: the block was picked by its high bits.
fn bits_of(hash: u64) -> impl Iterator<Item = usize> {
    let mixed = mix64(hash);
    (0..PROBES).map(move |probe| (mixed >> (9 * probe) & 511) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ids::{PointId, hash_bytes};

    #[test]
    fn every_key_is_found_and_few_others_are() {
        for count in [0, 1, 50, 51, 1000, 20_000] {
            let bloom =
                Bloom::build(&(0..count).map(|id| PointId::U64(id).hash64()).collect::<Vec<_>>());
            let found = |id: u64| bloom.may_contain(PointId::U64(id).hash64());
            assert!((0..count).all(found), "{count} keys");
            let wrong = (count..count + 50_000).filter(|id| found(*id)).count();
            assert!(wrong < 1000, "{wrong} of 50000 absent ids seem to be among {count}");
        }
    }

    #[test]
    fn strings_are_as_rarely_mistaken_as_numbers() {
        let hashes: Vec<u64> =
            (0..5000).map(|n| hash_bytes(format!("doc-{n}").as_bytes())).collect();
        let bloom = Bloom::build(&hashes);
        let found = |n: u32| bloom.may_contain(hash_bytes(format!("doc-{n}").as_bytes()));
        assert!((0..5000).all(found));
        assert!((5000..55_000).filter(|n| found(*n)).count() < 1000);
    }

    #[test]
    fn bytes_are_frozen_and_read_back() {
        let bloom = Bloom::build(&[1, 2, 3]);
        let read = Bloom::from_bytes(AlignedBuffer::copy_of(bloom.as_bytes()).into()).expect("own");
        assert!([1, 2, 3].into_iter().all(|hash| read.may_contain(hash)));
        assert_eq!(
            hash_bytes(bloom.as_bytes()),
            15_773_109_575_731_833_202,
            "files depend on these bits"
        );
        for len in [0, 63, 65] {
            let error = Bloom::from_bytes(AlignedBuffer::zeroed(len).into()).expect_err("length");
            assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
        }
    }
}
