//! Products of half bytes on NEON, in the instructions that every 64-bit ARM has. Called by `Kernel`.

use std::arch::aarch64::{
    int8x16_t, int16x8_t, int32x4_t, uint8x16_t, vaddvq_s32, vandq_u8, vdupq_n_s16, vdupq_n_s32,
    vdupq_n_u8, vget_low_s8, vmlal_high_s8, vmlal_s8, vpadalq_s16, vreinterpretq_s8_u8, vshrq_n_u8,
};

use bytemuck::cast;

use super::{BLOCK, BLOCK_BYTES, NibbleProducts};

/// Rows that are summed side by side, to hide the latency of the instructions.
const GROUP: usize = 4;
/// Registers of a block.
const PIECES: usize = BLOCK_BYTES / 16;

/// Multiplies rows with a query. The token is the proof that the processor has NEON.
pub(crate) fn nibble_products(_: pulp::aarch64::Neon, products: NibbleProducts<'_>) {
    // SAFETY: pulp makes a `Neon` only where NEON is there. The compiler widens the bytes of plain loops to 32 bits
    // before it multiplies them, which is several times the instructions.
    unsafe { in_registers(products) }
}

#[target_feature(enable = "neon")]
fn in_registers(products: NibbleProducts<'_>) {
    products.in_groups::<GROUP>(
        |query, rows| sums(query, rows),
        |query, row| {
            let [sum] = sums(query, [row]);
            sum
        },
    );
}

#[inline]
#[target_feature(enable = "neon")]
fn sums<const G: usize>(query: &[[i8; BLOCK]], rows: [&[[u8; BLOCK_BYTES]]; G]) -> [i32; G] {
    let mut lanes = [vdupq_n_s32(0); G];
    for (index, query) in query.iter().enumerate() {
        let [low, high]: [[int8x16_t; PIECES]; 2] = cast(*query);
        for (lanes, row) in lanes.iter_mut().zip(&rows) {
            *lanes = add_block(*lanes, cast(row[index]), low, high);
        }
    }
    let mut sums = [0; G];
    for (sum, lanes) in sums.iter_mut().zip(lanes) {
        *sum = vaddvq_s32(lanes);
    }
    sums
}

/// Adds the products of a block. A lane of 16 bits receives sixteen of at most 15 · 128; it holds seventeen.
#[inline]
#[target_feature(enable = "neon")]
fn add_block(
    lanes: int32x4_t,
    block: [uint8x16_t; PIECES],
    low: [int8x16_t; PIECES],
    high: [int8x16_t; PIECES],
) -> int32x4_t {
    let mut of_block = vdupq_n_s16(0);
    for piece in 0..PIECES {
        let lows = vandq_u8(block[piece], vdupq_n_u8(15));
        of_block = add_products(of_block, lows, low[piece]);
        of_block = add_products(of_block, vshrq_n_u8::<4>(block[piece]), high[piece]);
    }
    vpadalq_s16(lanes, of_block)
}

/// Adds the products of 16 bytes below 16, two to each lane.
#[inline]
#[target_feature(enable = "neon")]
fn add_products(lanes: int16x8_t, halves: uint8x16_t, query: int8x16_t) -> int16x8_t {
    let halves = vreinterpretq_s8_u8(halves);
    let lanes = vmlal_s8(lanes, vget_low_s8(halves), vget_low_s8(query));
    vmlal_high_s8(lanes, halves, query)
}
