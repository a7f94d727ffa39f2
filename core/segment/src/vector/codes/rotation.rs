//! `Rotation`: a fixed orthogonal map that looks random: the elements of a rotated vector are about equally large,
//! whatever the vector. Used by `FourBitCodec`.
//!
//! Four rounds, each: signs drawn from a fixed seed; the Walsh–Hadamard transform of the longest power of two of
//! elements, from the start and, every second round, from the end; and, unless those are all elements, one step of
//! Kac's walk between the first half and the second. O(dim log dim), where a random matrix takes O(dim²) (Ailon and
//! Chazelle, 2009; the library of Gao and Long's RaBitQ, 2024, rotates so).
//!
//! Only sums, differences and products element by element, never fused: the same bits on every machine.

use std::f32::consts::FRAC_1_SQRT_2;

use pulp::{Simd, WithSimd};

use crate::kernel::Kernel;
use crate::rng::Rng;

const ROUNDS: usize = 4;
const SEED: u64 = 0x6E65_6172_6669_656C;
const SIGN_BIT: u32 = 1 << 31;

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Rotation {
    dim: usize,
    /// For each round and element the sign bit, to be flipped or not.
    signs: Vec<u32>,
}

impl Rotation {
    /// Of vectors of `dim` elements. O(dim).
    pub(super) fn new(dim: usize) -> Self {
        let mut rng = Rng::new(SEED);
        let signs = (0..ROUNDS * dim).map(|_| (rng.next_u64() >> 32) as u32 & SIGN_BIT).collect();
        Rotation { dim, signs }
    }

    /// Rotates a vector in place. O(dim log dim).
    ///
    /// # Panics
    /// If it has other than `dim` elements.
    pub(super) fn apply(&self, kernel: Kernel, values: &mut [f32]) {
        assert_eq!(values.len(), self.dim, "a vector of the field");
        kernel.vectorize(Rotate { rotation: self, values });
    }
}

struct Rotate<'a> {
    rotation: &'a Rotation,
    values: &'a mut [f32],
}

impl WithSimd for Rotate<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        let Rotate { rotation, values } = self;
        let dim = rotation.dim;
        if dim == 0 {
            return;
        }
        let span = 1 << dim.ilog2();
        let scale = 1.0 / (span as f32).sqrt();
        let mut scratch = vec![0.0; span];
        for (round, signs) in rotation.signs.chunks_exact(dim).enumerate() {
            for (value, sign) in values.iter_mut().zip(signs) {
                *value = f32::from_bits(value.to_bits() ^ sign);
            }
            let start = if round % 2 == 0 { 0 } else { dim - span };
            let spanned = &mut values[start..start + span];
            hadamard(simd, spanned, &mut scratch);
            spanned.iter_mut().for_each(|value| *value *= scale);
            if span < dim {
                // Of an odd number the one in the middle stays.
                let (left, right) = values.split_at_mut(dim.div_ceil(2));
                let scaled = |value: f32| value * FRAC_1_SQRT_2;
                for (left, right) in left.iter_mut().zip(right) {
                    (*left, *right) = (scaled(*left + *right), scaled(*left - *right));
                }
            }
        }
    }
}

/// Elements of a vector register, of the widest.
const LANES: usize = 16;

/// The Walsh–Hadamard transform of a power of two of elements, without its scale, and with the outcome in another order:
/// what is element i · 16 + j of it comes to place j · n / 16 + i. So all levels add and subtract whole registers.
#[inline(always)]
fn hadamard<S: Simd>(simd: S, values: &mut [f32], scratch: &mut [f32]) {
    let columns = values.len() / LANES;
    if columns == 0 {
        return add_and_subtract(simd, values, 1);
    }
    add_and_subtract(simd, values, LANES);
    for (column, row) in values.as_chunks::<LANES>().0.iter().enumerate() {
        for (lane, &value) in row.iter().enumerate() {
            scratch[lane * columns + column] = value;
        }
    }
    add_and_subtract(simd, scratch, columns);
    values.copy_from_slice(scratch);
}

/// The levels that join elements at least `lowest` apart.
#[inline(always)]
fn add_and_subtract<S: Simd>(simd: S, values: &mut [f32], lowest: usize) {
    let mut apart = values.len() / 2;
    while apart >= lowest {
        for pair in values.chunks_exact_mut(2 * apart) {
            let (left, right) = pair.split_at_mut(apart);
            let (left, left_rest) = S::as_mut_simd_f32s(left);
            let (right, right_rest) = S::as_mut_simd_f32s(right);
            for (left, right) in left.iter_mut().zip(right) {
                let (a, b) = (*left, *right);
                *left = simd.add_f32s(a, b);
                *right = simd.sub_f32s(a, b);
            }
            for (left, right) in left_rest.iter_mut().zip(right_rest) {
                (*left, *right) = (*left + *right, *left - *right);
            }
        }
        apart /= 2;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::InstructionSet;

    #[test]
    fn lengths_and_products_stay_and_one_element_is_spread_over_all() {
        for dim in [1, 2, 3, 17, 100, 384, 784, 1025] {
            let rotation = Rotation::new(dim);
            let mut rng = Rng::new(dim as u64);
            let mut random = || (0..dim).map(|_| rng.unit_f32() - 0.5).collect::<Vec<f32>>();
            let (a, b) = (random(), random());
            let mut axis = vec![0.0; dim];
            axis[dim / 2] = 1.0;
            let rotated = |values: &[f32]| {
                let mut values = values.to_vec();
                rotation.apply(Kernel::detect(), &mut values);
                values
            };
            let product = |a: &[f32], b: &[f32]| {
                a.iter().zip(b).map(|(&a, &b)| f64::from(a) * f64::from(b)).sum::<f64>()
            };
            for (a, b) in [(&a, &a), (&a, &b), (&a, &axis)] {
                let (before, after) = (product(a, b), product(&rotated(a), &rotated(b)));
                assert!((before - after).abs() < 1e-5 * dim as f64, "{dim}: {before} {after}");
            }
            let largest =
                rotated(&axis).into_iter().fold(0.0f32, |most, value| most.max(value.abs()));
            assert!(dim < 100 || largest < 5.0 / (dim as f32).sqrt(), "{dim}: {largest}");
        }
    }

    #[test]
    fn every_instruction_set_rotates_to_the_same_bits() {
        for dim in [1, 5, 96, 384, 784] {
            let rotation = Rotation::new(dim);
            let values: Vec<f32> = (0..dim).map(|element| (element as f32).sin()).collect();
            let rotated = |kernel: Kernel| {
                let mut values = values.clone();
                rotation.apply(kernel, &mut values);
                values.into_iter().map(f32::to_bits).collect::<Vec<u32>>()
            };
            let kernels = InstructionSet::ALL.into_iter().filter_map(Kernel::forced);
            let all: Vec<Vec<u32>> = kernels.map(rotated).collect();
            assert!(all.windows(2).all(|pair| pair[0] == pair[1]), "{dim}");
        }
    }
}
