//! `NibbleProducts`: inner products of rows of half a byte an element with a query of a byte an element. Used by
//! `FourBitCodec`. Integer sums are exact, so no order of summation is prescribed.
//!
//! A row is a sequence of blocks of [`BLOCK`] elements in half as many bytes, a line of the cache: byte j of a block
//! has element j in its low half and element j + 64 in its high half, each 0 to 15.

use pulp::{Simd, WithSimd};

use crate::ids::RowId;

/// Elements of a block.
pub(crate) const BLOCK: usize = 128;
/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = BLOCK / 2;

/// A query against the codes of some rows; `out[i]` receives the inner product with `rows[i]`. At most 2²⁰ elements:
/// then no sum leaves an i32.
#[derive(Debug)]
pub(crate) struct NibbleProducts<'a> {
    /// Whole blocks, in the order of the elements.
    pub(crate) query: &'a [i8],
    /// Rows of half as many bytes, one after the other.
    pub(crate) codes: &'a [u8],
    pub(crate) rows: &'a [RowId],
    pub(crate) out: &'a mut [i32],
}

impl<'a> NibbleProducts<'a> {
    #[inline(always)]
    fn blocks(&self, row: RowId) -> &'a [[u8; BLOCK_BYTES]] {
        let row_bytes = self.query.len() / 2;
        self.codes[row.index() * row_bytes..][..row_bytes].as_chunks().0
    }
}

/// Plain loops, which the compiler makes vector instructions of.
impl WithSimd for NibbleProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let query = self.query.as_chunks::<BLOCK>().0;
        for index in 0..self.rows.len() {
            let mut sum = 0i32;
            for (query, block) in query.iter().zip(self.blocks(self.rows[index])) {
                let (low, high) = query.split_at(BLOCK_BYTES);
                for ((&byte, &low), &high) in block.iter().zip(low).zip(high) {
                    // Each product is at most 15 · 128, so two fit an i16.
                    let pair = i16::from(byte & 15) * i16::from(low)
                        + i16::from(byte >> 4) * i16::from(high);
                    sum += i32::from(pair);
                }
            }
            self.out[index] = sum;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use vnni::Vnni;

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        _mm512_and_si512, _mm512_dpbusd_epi32, _mm512_loadu_si512, _mm512_reduce_add_epi32,
        _mm512_set1_epi8, _mm512_setzero_si512, _mm512_srli_epi16,
    };

    use super::{BLOCK, BLOCK_BYTES, NibbleProducts};

    /// Rows that are summed side by side, to hide the latency of the instruction.
    const GROUP: usize = 4;

    /// Proof that the processor multiplies bytes and adds four products to a 32-bit lane, in 512-bit registers.
    #[derive(Debug, Clone, Copy)]
    pub(in crate::kernel) struct Vnni(());

    impl Vnni {
        pub(in crate::kernel) fn detect() -> Option<Vnni> {
            let has_all = is_x86_feature_detected!("avx512f")
                && is_x86_feature_detected!("avx512bw")
                && is_x86_feature_detected!("avx512vnni");
            has_all.then_some(Vnni(()))
        }

        pub(in crate::kernel) fn nibble_products(self, products: NibbleProducts<'_>) {
            // SAFETY: `detect` alone makes a `Vnni`, and only where these instructions are there. Without them there
            // is no exact product of bytes at a third of the cost; pulp does not offer them.
            unsafe { nibble_products(products) }
        }
    }

    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn nibble_products(products: NibbleProducts<'_>) {
        let (groups, rest) = products.rows.as_chunks::<GROUP>();
        let mut place = 0;
        for group in groups {
            let blocks = group.map(|row| products.blocks(row));
            products.out[place..place + GROUP].copy_from_slice(&sums(products.query, blocks));
            place += GROUP;
        }
        for &row in rest {
            [products.out[place]] = sums(products.query, [products.blocks(row)]);
            place += 1;
        }
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn sums<const G: usize>(query: &[i8], rows: [&[[u8; BLOCK_BYTES]]; G]) -> [i32; G] {
        let low_half = _mm512_set1_epi8(15);
        let mut lanes = [_mm512_setzero_si512(); G];
        let query = query.as_chunks::<BLOCK>().0;
        let rows = rows.map(|row| &row[..query.len()]);
        for (index, query) in query.iter().enumerate() {
            // SAFETY: each load reads 64 bytes of an array of 64 or 128, at any address.
            let (low, high) = unsafe {
                let start = query.as_ptr();
                (
                    _mm512_loadu_si512(start.cast()),
                    _mm512_loadu_si512(start.add(BLOCK_BYTES).cast()),
                )
            };
            for (lanes, row) in lanes.iter_mut().zip(&rows) {
                // SAFETY: as above.
                let block = unsafe { _mm512_loadu_si512(row[index].as_ptr().cast()) };
                let in_low = _mm512_and_si512(block, low_half);
                let in_high = _mm512_and_si512(_mm512_srli_epi16::<4>(block), low_half);
                *lanes = _mm512_dpbusd_epi32(*lanes, in_low, low);
                *lanes = _mm512_dpbusd_epi32(*lanes, in_high, high);
            }
        }
        let mut sums = [0; G];
        for (sum, lanes) in sums.iter_mut().zip(lanes) {
            *sum = _mm512_reduce_add_epi32(lanes);
        }
        sums
    }
}
