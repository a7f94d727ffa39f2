//! Products of half bytes on AVX2, whose one instruction multiplies 32 bytes with 32 and adds pairs of products in
//! 16 bits. Called by `Kernel` for AVX2, and for AVX-512 where it has no such products of its own.

use std::arch::x86_64::{
    __m256i, _mm_add_epi32, _mm256_add_epi16, _mm256_add_epi32, _mm256_and_si256,
    _mm256_castsi256_si128, _mm256_extracti128_si256, _mm256_hadd_epi32, _mm256_madd_epi16,
    _mm256_maddubs_epi16, _mm256_set1_epi8, _mm256_set1_epi16, _mm256_setzero_si256,
    _mm256_srli_epi16,
};

use bytemuck::cast;

use super::{BLOCK, BLOCK_BYTES, NibbleProducts};

/// Rows that are summed side by side: each piece of the query is loaded once for them.
const GROUP: usize = 4;

/// Multiplies rows with a query. The token is the proof that the processor has AVX2.
pub(crate) fn nibble_products(_proof: pulp::x86::V3, products: NibbleProducts<'_>) {
    // SAFETY: pulp makes a `V3` only where AVX2 is there. The plain loops take several times as long.
    unsafe { in_registers(products) }
}

#[target_feature(enable = "avx2")]
fn in_registers(products: NibbleProducts<'_>) {
    products.in_groups::<GROUP>(
        |query, rows| totals(sums(query, rows)),
        |query, row| {
            let [lanes] = sums(query, [row]);
            let [total, ..] = totals([lanes; GROUP]);
            total
        },
    );
}

/// The total of each register.
#[inline]
#[target_feature(enable = "avx2")]
fn totals([a, b, c, d]: [__m256i; GROUP]) -> [i32; GROUP] {
    let all = _mm256_hadd_epi32(_mm256_hadd_epi32(a, b), _mm256_hadd_epi32(c, d));
    cast(_mm_add_epi32(_mm256_castsi256_si128(all), _mm256_extracti128_si256::<1>(all)))
}

/// The products of each row, spread over the lanes of a register.
#[inline]
#[target_feature(enable = "avx2")]
fn sums<const G: usize>(query: &[[i8; BLOCK]], rows: [&[[u8; BLOCK_BYTES]]; G]) -> [__m256i; G] {
    let ones = _mm256_set1_epi16(1);
    let mut lanes = [_mm256_setzero_si256(); G];
    for (index, query) in query.iter().enumerate() {
        let [low_a, low_b, high_a, high_b]: [__m256i; 4] = cast(*query);
        for (lanes, row) in lanes.iter_mut().zip(&rows) {
            let [a, b]: [__m256i; 2] = cast(row[index]);
            // A lane of 16 bits receives eight products of at most 15 · 128.
            let of_a = products_of(a, low_a, high_a);
            let of_block = _mm256_add_epi16(of_a, products_of(b, low_b, high_b));
            *lanes = _mm256_add_epi32(*lanes, _mm256_madd_epi16(of_block, ones));
        }
    }
    lanes
}

/// The products of 32 bytes, four in each lane of 16 bits.
#[inline]
#[target_feature(enable = "avx2")]
fn products_of(bytes: __m256i, low: __m256i, high: __m256i) -> __m256i {
    let half = _mm256_set1_epi8(15);
    let lows = _mm256_and_si256(bytes, half);
    let highs = _mm256_and_si256(_mm256_srli_epi16::<4>(bytes), half);
    _mm256_add_epi16(_mm256_maddubs_epi16(lows, low), _mm256_maddubs_epi16(highs, high))
}
