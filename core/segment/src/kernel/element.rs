//! Converts between f32 and stored elements (f32, or IEEE half precision as u16). `Element::widen` is called
//! by the distance loops (`scalar`, `simd`); `half_from_f32` and `half_to_f32` by `originals::matrix`, which
//! stores and reads rows.
//!
//! Widening is exact and yields finite numbers only: exponent 31, which an encoder here never
//! writes, reads as the next powers of two instead of infinity or NaN.

use bytemuck::Pod;

/// A stored element of a row.
pub(crate) trait Element: Pod + Send + Sync {
    /// The values of a block.
    fn widen<const N: usize>(block: &[Self; N]) -> [f32; N];
}

impl Element for f32 {
    #[inline(always)]
    fn widen<const N: usize>(block: &[f32; N]) -> [f32; N] {
        *block
    }
}

impl Element for u16 {
    #[inline(always)]
    fn widen<const N: usize>(block: &[u16; N]) -> [f32; N] {
        // A loop and not `map`: it becomes vector instructions.
        let mut values = [0.0; N];
        for (value, &half) in values.iter_mut().zip(block) {
            *value = half_to_f32(half);
        }
        values
    }
}

/// 2¹¹²: moves the exponent of a half (bias 15), placed in an f32 (bias 127), to where it belongs.
const EXPONENT_SHIFT: f32 = f32::from_bits((127 + 112) << 23);

/// The value of a half. Exact, subnormals included: one multiplication by a power of two.
#[inline(always)]
pub(crate) fn half_to_f32(half: u16) -> f32 {
    let half = u32::from(half);
    let magnitude = f32::from_bits((half & 0x7FFF) << 13) * EXPONENT_SHIFT;
    f32::from_bits(magnitude.to_bits() | (half & 0x8000) << 16)
}

/// The nearest half, ties to even; `None` if the value is beyond the largest half (65504) by half a
/// step or more, or NaN.
pub(crate) fn half_from_f32(value: f32) -> Option<u16> {
    let sign = ((value.to_bits() >> 16) & 0x8000) as u16;
    let magnitude = value.abs();
    if magnitude.is_nan() || magnitude >= 65_520.0 {
        return None;
    }
    // Below 2⁻¹⁴ halves are evenly spaced by 2⁻²⁴: adding 0.5 makes the f32 unit in the last place
    // just that, so the addition itself rounds to nearest even.
    let bits = if magnitude < f32::from_bits((127 - 14) << 23) {
        (magnitude + 0.5).to_bits() - 0.5f32.to_bits()
    } else {
        let bits = magnitude.to_bits() - ((127 - 15) << 23);
        (bits + 0xFFF + ((bits >> 13) & 1)) >> 13
    };
    Some(sign | bits as u16)
}
