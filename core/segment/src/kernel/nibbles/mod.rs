//! `NibbleProducts`: inner products of rows of half a byte an element with a query of a byte an element. Used by
//! `FourBitCodec`. Integer sums are exact, so no order of summation is prescribed.
//!
//! A row is a sequence of blocks of [`BLOCK`] elements in half as many bytes, a line of the cache: byte j of a
//! block has element j in its low half and element j + 64 in its high half, each 0 to 15.
//!
//! The plain loops here are the reference, and run where there are no vector instructions; `vnni`, `avx2`, `neon`
//! and `simd128` are written for theirs. `Kernel::nibble_products` chooses.

#[cfg(target_arch = "x86_64")]
pub(super) mod avx2;
#[cfg(target_arch = "aarch64")]
pub(super) mod neon;
#[cfg(all(target_arch = "wasm32", target_feature = "simd128"))]
pub(super) mod simd128;
#[cfg(target_arch = "x86_64")]
pub(super) mod vnni;

use pulp::{Simd, WithSimd};

use crate::ids::RowId;

/// Elements of a block.
pub(crate) const BLOCK: usize = 128;
/// Bytes of a block.
pub(crate) const BLOCK_BYTES: usize = BLOCK / 2;

/// A query against the codes of some rows; `out[i]` receives the inner product with `rows[i]`. At most 2²⁰
/// elements: then no sum leaves an i32.
#[derive(Debug)]
pub(crate) struct NibbleProducts<'a> {
    /// Whole blocks, in the order of the elements.
    pub(crate) query: &'a [i8],
    /// Rows of half as many bytes, one after the other.
    pub(crate) codes: &'a [u8],
    pub(crate) rows: &'a [RowId],
    pub(crate) out: &'a mut [i32],
}

impl NibbleProducts<'_> {
    /// Sums groups of rows by `group`, and those left over by `single`. Both are given the blocks of the query, and
    /// as many of each row.
    ///
    /// Always inlined: a closure is compiled with the instructions of the function it is written in, and is inlined
    /// only where they are enabled.
    ///
    /// # Panics
    /// If the codes have no such row.
    #[inline(always)]
    fn in_groups<const G: usize>(
        self,
        group: impl Fn(&[[i8; BLOCK]], [&[[u8; BLOCK_BYTES]]; G]) -> [i32; G],
        single: impl Fn(&[[i8; BLOCK]], &[[u8; BLOCK_BYTES]]) -> i32,
    ) {
        let query = self.query.as_chunks().0;
        let codes = self.codes.as_chunks().0;
        let blocks_of = |row: RowId| &codes[row.index() * query.len()..][..query.len()];
        let (groups, rest) = self.rows.as_chunks::<G>();
        let (out, out_of_rest) = self.out.as_chunks_mut::<G>();
        for (out, rows) in out.iter_mut().zip(groups) {
            // A loop: `map` of an array may be compiled as a call, without the instructions.
            let mut blocks: [&[[u8; BLOCK_BYTES]]; G] = [&[]; G];
            for (blocks, &row) in blocks.iter_mut().zip(rows) {
                *blocks = blocks_of(row);
            }
            *out = group(query, blocks);
        }
        for (out, &row) in out_of_rest.iter_mut().zip(rest) {
            *out = single(query, blocks_of(row));
        }
    }

    /// Sums the rows by `single`.
    #[inline(always)]
    fn one_by_one(self, single: impl Fn(&[[i8; BLOCK]], &[[u8; BLOCK_BYTES]]) -> i32) {
        self.in_groups::<1>(|query, [row]| [single(query, row)], &single);
    }
}

/// Plain loops, which the compiler makes vector instructions of.
impl WithSimd for NibbleProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.one_by_one(sum);
    }
}

#[inline(always)]
fn sum(query: &[[i8; BLOCK]], row: &[[u8; BLOCK_BYTES]]) -> i32 {
    let mut sum = 0i32;
    for (query, block) in query.iter().zip(row) {
        let (low, high) = query.split_at(BLOCK_BYTES);
        for ((&byte, &low), &high) in block.iter().zip(low).zip(high) {
            // Each product is at most 15 · 128, so two fit an i16.
            let pair =
                i16::from(byte & 15) * i16::from(low) + i16::from(byte >> 4) * i16::from(high);
            sum += i32::from(pair);
        }
    }
    sum
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::{InstructionSet, Kernel};
    use crate::rng::Rng;

    /// Compares all that this processor can run, and the plain loops as each set compiles them.
    fn assert_sums(query: &[i8], codes: &[u8], rows: &[RowId], expected: &[i32]) {
        let products = |run: &dyn Fn(NibbleProducts<'_>)| {
            let mut out = vec![0; rows.len()];
            run(NibbleProducts { query, codes, rows, out: &mut out });
            out
        };
        for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
            let set = kernel.set();
            assert_eq!(products(&|products| kernel.nibble_products(products)), expected, "{set:?}");
            assert_eq!(products(&|products| kernel.vectorize(products)), expected, "{set:?}");
        }
    }

    #[test]
    fn every_instruction_set_sums_exactly() {
        let mut rng = Rng::new(5);
        for blocks in [1, 2, 3, 7] {
            let query: Vec<i8> = (0..blocks * BLOCK).map(|_| rng.next_u64() as i8).collect();
            let codes: Vec<u8> =
                (0..11 * blocks * BLOCK_BYTES).map(|_| rng.next_u64() as u8).collect();
            let rows: Vec<RowId> = [0, 3, 10, 1, 0, 7, 5, 2, 9].map(RowId).to_vec();
            let naive = |row: &RowId| {
                let code = &codes[row.index() * blocks * BLOCK_BYTES..];
                let element = |index: usize| {
                    let byte = code[index / BLOCK * BLOCK_BYTES + index % BLOCK_BYTES];
                    if index % BLOCK < BLOCK_BYTES { byte & 15 } else { byte >> 4 }
                };
                (0..query.len()).map(|i| i32::from(query[i]) * i32::from(element(i))).sum::<i32>()
            };
            let expected: Vec<i32> = rows.iter().map(naive).collect();
            for count in 0..=rows.len() {
                assert_sums(&query, &codes, &rows[..count], &expected[..count]);
            }
        }
    }

    #[test]
    fn the_largest_sums_leave_no_lane() {
        // A group of rows and one left over, at the dimensions that a field may have and at the limit here.
        let rows = [RowId(0); 5];
        for elements in [BLOCK, 1 << 16, 1 << 20] {
            for value in [i8::MIN, i8::MAX] {
                let (query, codes) = (vec![value; elements], vec![u8::MAX; elements / 2]);
                let expected = elements as i32 * 15 * i32::from(value);
                assert_sums(&query, &codes, &rows, &[expected; 5]);
            }
        }
    }
}
