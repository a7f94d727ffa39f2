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

/// The blocks of a row.
///
/// # Panics
/// If the codes have no such row.
#[inline(always)]
fn blocks_of<'a>(codes: &'a [u8], query: &[i8], row: RowId) -> &'a [[u8; BLOCK_BYTES]] {
    let row_bytes = query.len() / 2;
    codes[row.index() * row_bytes..][..row_bytes].as_chunks().0
}

/// Plain loops, which the compiler makes vector instructions of.
impl WithSimd for NibbleProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let NibbleProducts { query, codes, rows, out } = self;
        for (out, &row) in out.iter_mut().zip(rows) {
            let mut sum = 0i32;
            let blocks = blocks_of(codes, query, row);
            for (query, block) in query.as_chunks::<BLOCK>().0.iter().zip(blocks) {
                let (low, high) = query.split_at(BLOCK_BYTES);
                for ((&byte, &low), &high) in block.iter().zip(low).zip(high) {
                    // Each product is at most 15 · 128, so two fit an i16.
                    let pair = i16::from(byte & 15) * i16::from(low)
                        + i16::from(byte >> 4) * i16::from(high);
                    sum += i32::from(pair);
                }
            }
            *out = sum;
        }
    }
}

#[cfg(target_arch = "x86_64")]
pub(super) use vnni::Vnni;

#[cfg(target_arch = "x86_64")]
mod vnni {
    use std::arch::x86_64::{
        __m512i, _mm_add_epi32, _mm_hadd_epi32, _mm_setzero_si128, _mm256_add_epi32,
        _mm256_castsi256_si128, _mm256_extracti128_si256, _mm512_and_si512, _mm512_castsi512_si256,
        _mm512_dpbusd_epi32, _mm512_extracti64x4_epi64, _mm512_loadu_si512,
        _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512, _mm512_srli_epi16,
    };

    use bytemuck::cast;

    use super::{BLOCK, BLOCK_BYTES, NibbleProducts, blocks_of};

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
        let NibbleProducts { query, codes, rows, out } = products;
        let (groups, rest) = rows.as_chunks::<GROUP>();
        let (out, out_of_rest) = out.as_chunks_mut::<GROUP>();
        for (group, out) in groups.iter().zip(out) {
            let rows = group.map(|row| blocks_of(codes, query, row));
            *out = totals(sums(query, rows));
        }
        for (&row, out) in rest.iter().zip(out_of_rest) {
            let [lanes] = sums(query, [blocks_of(codes, query, row)]);
            *out = _mm512_reduce_add_epi32(lanes);
        }
    }

    /// The total of each register.
    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn totals(lanes: [__m512i; GROUP]) -> [i32; GROUP] {
        let mut quarters = [_mm_setzero_si128(); GROUP];
        for (quarter, lanes) in quarters.iter_mut().zip(lanes) {
            let half = _mm256_add_epi32(
                _mm512_castsi512_si256(lanes),
                _mm512_extracti64x4_epi64::<1>(lanes),
            );
            *quarter =
                _mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half));
        }
        let [a, b, c, d] = quarters;
        cast(_mm_hadd_epi32(_mm_hadd_epi32(a, b), _mm_hadd_epi32(c, d)))
    }

    #[inline]
    #[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
    fn sums<const G: usize>(query: &[i8], rows: [&[[u8; BLOCK_BYTES]]; G]) -> [__m512i; G] {
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
        lanes
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{InstructionSet, Kernel};
    use crate::rng::Rng;

    #[test]
    fn every_instruction_set_sums_exactly() {
        let mut rng = Rng::new(5);
        for blocks in [1, 2, 3, 7] {
            let mut query: Vec<i8> = (0..blocks * BLOCK).map(|_| rng.next_u64() as i8).collect();
            // The largest sums.
            query[..BLOCK].fill(-128);
            let mut codes: Vec<u8> =
                (0..11 * blocks * BLOCK_BYTES).map(|_| rng.next_u64() as u8).collect();
            codes[..blocks * BLOCK_BYTES].fill(255);
            let rows: Vec<RowId> = [0, 3, 10, 1, 0, 7, 5, 2, 9].map(RowId).to_vec();
            for count in 0..=rows.len() {
                let rows = &rows[..count];
                let naive = |row: &RowId| {
                    let code = &codes[row.index() * blocks * BLOCK_BYTES..];
                    let element = |index: usize| {
                        let byte = code[index / BLOCK * BLOCK_BYTES + index % BLOCK_BYTES];
                        if index % BLOCK < BLOCK_BYTES { byte & 15 } else { byte >> 4 }
                    };
                    (0..query.len())
                        .map(|i| i32::from(query[i]) * i32::from(element(i)))
                        .sum::<i32>()
                };
                let expected: Vec<i32> = rows.iter().map(naive).collect();
                let products = |run: &dyn Fn(NibbleProducts<'_>)| {
                    let mut out = vec![0; count];
                    run(NibbleProducts { query: &query, codes: &codes, rows, out: &mut out });
                    out
                };
                for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
                    assert_eq!(products(&|products| kernel.nibble_products(products)), expected);
                    assert_eq!(products(&|products| kernel.vectorize(products)), expected);
                }
            }
        }
    }
}
