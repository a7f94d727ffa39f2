//! Integer arithmetic on rows of one byte an element: `CodeProducts` computes inner products of codes, `Quantise`
//! makes codes from floats. Used by `codes::approximation` and `codes::listed`. Integer sums are exact, so no order of
//! summation is prescribed.
//!
//! Plain loops, which the compiler makes vector instructions of: which ones, `Kernel::vectorize` says.

use pulp::{Simd, WithSimd};

use crate::ids::RowId;
use crate::kernel::comparison::PADDING;

/// A query against the codes of some rows; `out[i]` receives the inner product with `rows[i]`. The caller sees to
/// it that no sum leaves an i32.
#[derive(Debug)]
pub(crate) struct CodeProducts<'a> {
    /// Its length is the stride of the codes.
    pub(crate) query: &'a [i16],
    pub(crate) codes: &'a [i8],
    pub(crate) rows: &'a [RowId],
    pub(crate) out: &'a mut [i32],
}

impl WithSimd for CodeProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let stride = self.query.len();
        for (place, row) in self.out.iter_mut().zip(self.rows) {
            let codes = &self.codes[row.index() * stride..][..stride];
            let mut sum = 0i32;
            for (&q, &c) in self.query.iter().zip(codes) {
                // Damaged codes may leave an i32; what becomes of them then does not matter.
                sum = sum.wrapping_add(i32::from(q) * i32::from(i16::from(c)));
            }
            *place = sum;
        }
    }
}

/// Writes a row (padded) as one byte an element.
#[derive(Debug)]
pub(crate) struct Quantise<'a> {
    pub(crate) values: &'a [f32],
    pub(crate) codes: &'a mut [i8],
}

/// What became of a row: it is about step · codes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Quantised {
    pub(crate) step: f32,
    /// Sum of the squares of the codes.
    pub(crate) squares: i64,
    /// Sum of the squares of what the codes leave out; in f64, since the squares of small f32 are no f32.
    pub(crate) left_out: f64,
}

impl WithSimd for Quantise<'_> {
    type Output = Quantised;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Quantised {
        let values = self.values.as_chunks::<PADDING>().0;
        let codes = self.codes.as_chunks_mut::<PADDING>().0;
        let mut largest = [0.0f32; PADDING];
        for block in values {
            for (largest, value) in largest.iter_mut().zip(block) {
                *largest = if value.abs() > *largest { value.abs() } else { *largest };
            }
        }
        let step = largest.into_iter().fold(0.0, f32::max) / f32::from(i8::MAX);
        let inverse = if step > 0.0 { 1.0 / step } else { 0.0 };
        let (mut squares, mut left_out) = ([0i32; PADDING], [0.0f64; PADDING]);
        for (values, codes) in values.iter().zip(codes) {
            for lane in 0..PADDING {
                let code = (values[lane] * inverse).round_ties_even() as i8;
                let rest = f64::from(values[lane] - step * f32::from(code));
                codes[lane] = code;
                squares[lane] += i32::from(code) * i32::from(code);
                left_out[lane] += rest * rest;
            }
        }
        let squares = squares.into_iter().map(i64::from).sum();
        Quantised { step, squares, left_out: left_out.into_iter().sum() }
    }
}
