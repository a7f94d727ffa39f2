//! Inner products of small integers. Exact, so no rule of summation is needed.

use pulp::{Simd, WithSimd};

use crate::ids::RowId;

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

impl CodeProducts<'_> {
    /// Plain loops, which the compiler makes vector instructions of: which ones, the caller's features say.
    #[inline(always)]
    pub(super) fn compute(self) {
        let stride = self.query.len();
        for (place, row) in self.out.iter_mut().zip(self.rows) {
            let codes = &self.codes[row.index() * stride..][..stride];
            let products =
                self.query.iter().zip(codes).map(|(&q, &c)| i32::from(q) * i32::from(i16::from(c)));
            *place = products.sum();
        }
    }
}

impl WithSimd for CodeProducts<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        self.compute();
    }
}
