//! Products of half bytes on AVX-512 VNNI, whose one instruction multiplies 64 bytes with 64 and adds four products
//! to each 32-bit lane. Called by `Kernel` where the processor has it.

use std::arch::x86_64::{
    __m512i, _mm_add_epi32, _mm256_add_epi32, _mm256_castsi256_si128, _mm256_extracti128_si256,
    _mm512_add_epi32, _mm512_and_si512, _mm512_castsi512_si256, _mm512_dpbusd_epi32,
    _mm512_extracti64x4_epi64, _mm512_reduce_add_epi32, _mm512_set1_epi8, _mm512_setzero_si512,
    _mm512_srai_epi32, _mm512_unpackhi_epi32, _mm512_unpackhi_epi64, _mm512_unpacklo_epi32,
    _mm512_unpacklo_epi64,
};

use bytemuck::cast;

use super::{BLOCK, BLOCK_BYTES, NibbleProducts};

/// Rows that are summed side by side, to hide the latency of the instruction.
const GROUP: usize = 4;

/// Proof that the processor has the instructions; pulp has none for these.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Vnni(());

impl Vnni {
    pub(crate) fn detect() -> Option<Vnni> {
        let has_all = is_x86_feature_detected!("avx512f")
            && is_x86_feature_detected!("avx512bw")
            && is_x86_feature_detected!("avx512vnni");
        has_all.then_some(Vnni(()))
    }

    pub(crate) fn nibble_products(self, products: NibbleProducts<'_>) {
        // SAFETY: `detect` alone makes a `Vnni`, and only where these instructions are there. The plain loops,
        // compiled for AVX-512, take several times as long.
        unsafe { nibble_products(products) }
    }
}

#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn nibble_products(products: NibbleProducts<'_>) {
    products.in_groups::<GROUP>(
        |query, rows| totals(sums(query, rows)),
        |query, row| {
            let [lanes] = sums(query, [row]);
            _mm512_reduce_add_epi32(lanes)
        },
    );
}

/// The total of each register: transposed, so that one addition serves all of them.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn totals([a, b, c, d]: [__m512i; GROUP]) -> [i32; GROUP] {
    let ab = _mm512_add_epi32(_mm512_unpacklo_epi32(a, b), _mm512_unpackhi_epi32(a, b));
    let cd = _mm512_add_epi32(_mm512_unpacklo_epi32(c, d), _mm512_unpackhi_epi32(c, d));
    let all = _mm512_add_epi32(_mm512_unpacklo_epi64(ab, cd), _mm512_unpackhi_epi64(ab, cd));
    let half = _mm256_add_epi32(_mm512_castsi512_si256(all), _mm512_extracti64x4_epi64::<1>(all));
    cast(_mm_add_epi32(_mm256_castsi256_si128(half), _mm256_extracti128_si256::<1>(half)))
}

/// The products of each row, spread over the lanes of a register.
#[inline]
#[target_feature(enable = "avx512f,avx512bw,avx512vnni")]
fn sums<const G: usize>(query: &[[i8; BLOCK]], rows: [&[[u8; BLOCK_BYTES]]; G]) -> [__m512i; G] {
    let (low_half, high_half) = (_mm512_set1_epi8(0x0F), _mm512_set1_epi8(0xF0u8 as i8));
    let mut lows = [_mm512_setzero_si512(); G];
    // Of sixteen times the high halves: one instruction less than moving them down, block by block.
    let mut highs = lows;
    for (index, query) in query.iter().enumerate() {
        let [low, high]: [__m512i; 2] = cast(*query);
        for ((row, lows), highs) in rows.iter().zip(&mut lows).zip(&mut highs) {
            let block = cast(row[index]);
            *lows = _mm512_dpbusd_epi32(*lows, _mm512_and_si512(block, low_half), low);
            *highs = _mm512_dpbusd_epi32(*highs, _mm512_and_si512(block, high_half), high);
        }
    }
    for (lows, highs) in lows.iter_mut().zip(highs) {
        // Exact: each term is a multiple of sixteen, and a block adds at most 4 · 240 · 128 to a lane, so it stays
        // an i32 in the longest rows.
        *lows = _mm512_add_epi32(*lows, _mm512_srai_epi32::<4>(highs));
    }
    lows
}
