//! Products of half bytes on WebAssembly's SIMD. Called by `Kernel`. The module of the browser is compiled for
//! size, so this is one short loop, a row at a time.

use std::arch::wasm32::{
    i16x8_add, i16x8_mul, i16x8_shl, i16x8_shr, i32x4_add, i32x4_extadd_pairwise_i16x8,
    i32x4_splat, u16x8_shr, u16x8_splat, v128, v128_and,
};

use bytemuck::cast;

use super::{BLOCK, BLOCK_BYTES, NibbleProducts};

/// Bytes of a register.
const BYTES: usize = 16;

pub(crate) fn nibble_products(products: NibbleProducts<'_>) {
    products.one_by_one(sum);
}

#[inline(always)]
fn sum(query: &[[i8; BLOCK]], row: &[[u8; BLOCK_BYTES]]) -> i32 {
    let mut lanes = i32x4_splat(0);
    for (query, block) in query.iter().zip(row) {
        let (low, high) = query.split_at(BLOCK_BYTES);
        let (low, high) = (low.as_chunks::<BYTES>().0, high.as_chunks::<BYTES>().0);
        for ((bytes, low), high) in block.as_chunks::<BYTES>().0.iter().zip(low).zip(high) {
            let bytes = cast(*bytes);
            let lows = products_of(bytes, cast(*low));
            let highs = products_of(u16x8_shr(bytes, 4), cast(*high));
            // A lane of 16 bits holds four products of at most 15 · 128.
            lanes = i32x4_add(lanes, i32x4_extadd_pairwise_i16x8(i16x8_add(lows, highs)));
        }
    }
    let lanes: [i32; 4] = cast(lanes);
    lanes.into_iter().sum()
}

/// The products of the low halves of bytes, two in each lane: shifts within lanes take fewer instructions than
/// widening the bytes.
#[inline(always)]
fn products_of(bytes: v128, query: v128) -> v128 {
    let half = u16x8_splat(15);
    let even = i16x8_mul(v128_and(bytes, half), i16x8_shr(i16x8_shl(query, 8), 8));
    let odd = i16x8_mul(v128_and(u16x8_shr(bytes, 8), half), i16x8_shr(query, 8));
    i16x8_add(even, odd)
}
