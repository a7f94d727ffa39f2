//! `FourBitCodec`: half a byte for each element of a rotated, centred vector, and the distances that such codes
//! estimate. The walk of a graph compares by them and reads the originals of few rows. Used by `stored`.
//!
//! A row x, for cosine at length one, is taken as r = R(x − c): R a fixed [`Rotation`], c the mean of the rows. Element
//! j of its code is u in 0 to 15 and stands for w = u − 7.5; the step between values is chosen for each row. With a
//! query q′ = R(q − c) or, for products, R(q), the product ⟨q′, r⟩ is estimated as ⟨q′, w⟩ · ‖r‖² / ⟨w, r⟩, which is
//! right on average over rotations (Gao and Long, RaBitQ, SIGMOD 2024, §3.2; with more bits Gao et al., SIGMOD 2025).
//! The query is rounded to bytes, so ⟨q′, u⟩ is an integer and the same on every machine; what follows is one product
//! and one sum of f32.

use pulp::{Simd, WithSimd};

use crate::ids::RowId;
use crate::kernel::{BLOCK, BLOCK_BYTES, Kernel, NibbleProducts, prefetch_slice};
use crate::metric::Metric;
use crate::schema::squared_norm;
use crate::vector::scorer::Scorer;

use super::rotation::Rotation;

/// Half of the range of a code: what a code of 0 stands for, in steps, is −7.5.
const CENTRE: f32 = 7.5;
/// The steps tried for a row, in sixteenths of the one that its largest element needs.
const STEPS: std::ops::RangeInclusive<u8> = 8..=16;

/// How rows of a field become codes.
#[derive(Debug, Clone)]
pub(in crate::vector) struct FourBitCodec {
    metric: Metric,
    rotation: Rotation,
    /// Rotated; subtracted from every rotated row.
    mean: Vec<f32>,
}

/// Numbers that belong to the code of a row: ‖r‖² / ⟨w, r⟩, or 0 for a row that is the mean; for L2 also ‖r‖².
pub(super) fn factor_count(metric: Metric) -> usize {
    match metric {
        Metric::L2 => 2,
        Metric::Cosine | Metric::Dot => 1,
    }
}

/// A query, prepared for any number of rows.
#[derive(Debug, Clone)]
pub(in crate::vector) struct FourBitQuery {
    /// About q′ / step.
    codes: Vec<i8>,
    /// The estimate is `constant` + factor · (`slope`·⟨codes, u⟩ + `offset`), for L2 plus ‖r‖².
    slope: f32,
    offset: f32,
    constant: f32,
}

impl FourBitCodec {
    /// For rows of this mean, which for cosine is that of the rows at length one.
    pub(in crate::vector) fn new(kernel: Kernel, metric: Metric, mut mean: Vec<f32>) -> Self {
        let rotation = Rotation::new(mean.len());
        rotation.apply(kernel, &mut mean);
        FourBitCodec { metric, rotation, mean }
    }

    /// For rows whose mean was rotated.
    pub(super) fn with_rotated_mean(metric: Metric, mean: Vec<f32>) -> Self {
        FourBitCodec { metric, rotation: Rotation::new(mean.len()), mean }
    }

    pub(super) fn rotated_mean(&self) -> &[f32] {
        &self.mean
    }

    fn dim(&self) -> usize {
        self.mean.len()
    }

    /// Bytes of a code: whole blocks.
    pub(in crate::vector) fn code_bytes(&self) -> usize {
        code_bytes(self.dim())
    }

    /// Writes the code of a row to `code`, which has [`code_bytes`](FourBitCodec::code_bytes) bytes, and its factors.
    /// O(dim log dim).
    pub(super) fn encode(
        &self,
        kernel: Kernel,
        values: &[f32],
        code: &mut [u8],
        factors: &mut [f32],
    ) {
        let mut rotated = values.to_vec();
        if self.metric == Metric::Cosine {
            let norm = squared_norm(values).sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            rotated.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        self.rotation.apply(kernel, &mut rotated);
        rotated.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
        let squares = squared_norm(&rotated);
        let largest = rotated.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        code.fill(0);
        factors.fill(0.0);
        if let [_, of_l2] = factors {
            *of_l2 = squares as f32;
        }
        let needed = largest / CENTRE;
        if !needed.is_normal() {
            return;
        }
        // The step whose values point most nearly the way of the row.
        let fit = |sixteenths: u8| {
            let inverse = 16.0 / (f32::from(sixteenths) * needed);
            let (product, code_squares) = products(&rotated, inverse);
            (product * product / code_squares, product, inverse)
        };
        let best = STEPS.map(fit).max_by(|a, b| a.0.total_cmp(&b.0)).expect("there are steps");
        let (_, product, inverse) = best;
        for (values, block) in rotated.chunks(BLOCK).zip(code.as_chunks_mut::<BLOCK_BYTES>().0) {
            let (low, high) = values.split_at(values.len().min(BLOCK_BYTES));
            for (byte, &value) in block.iter_mut().zip(low) {
                *byte = level(value, inverse);
            }
            for (byte, &value) in block.iter_mut().zip(high) {
                *byte |= level(value, inverse) << 4;
            }
        }
        factors[0] = (squares / product) as f32;
    }

    /// Prepares a query, for cosine one of length one. O(dim log dim).
    fn query(&self, kernel: Kernel, values: &[f32]) -> FourBitQuery {
        let mut rotated = values.to_vec();
        self.rotation.apply(kernel, &mut rotated);
        let mut codes = vec![0i8; self.dim().next_multiple_of(BLOCK)];
        let is_centred = self.metric == Metric::L2;
        let rounding =
            RoundQuery { rotated: &mut rotated, mean: &self.mean, codes: &mut codes, is_centred };
        let Rounded { step, sum, with_mean, squares } = kernel.vectorize(rounding);
        // ⟨q′, w⟩ = step · (⟨codes, u⟩ − 7.5 · Σ codes).
        let (slope, offset) = (step, -step * CENTRE * sum as f32);
        match self.metric {
            Metric::L2 => FourBitQuery {
                codes,
                slope: -2.0 * slope,
                offset: -2.0 * offset,
                constant: squares,
            },
            Metric::Dot | Metric::Cosine => {
                FourBitQuery { codes, slope: -slope, offset: -offset, constant: -with_mean }
            }
        }
    }
}

/// Bytes of the code of a vector of `dim` elements.
pub(in crate::vector) fn code_bytes(dim: usize) -> usize {
    dim.div_ceil(BLOCK) * BLOCK_BYTES
}

/// Rounds a rotated query to bytes.
struct RoundQuery<'a> {
    rotated: &'a mut [f32],
    mean: &'a [f32],
    codes: &'a mut [i8],
    /// Whether the mean is subtracted first.
    is_centred: bool,
}

struct Rounded {
    /// What a code of 1 stands for.
    step: f32,
    /// Of the codes.
    sum: i32,
    /// The product of the query, as it came, and the mean.
    with_mean: f32,
    /// ‖q′‖².
    squares: f32,
}

impl WithSimd for RoundQuery<'_> {
    type Output = Rounded;

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) -> Rounded {
        let RoundQuery { rotated, mean, codes, is_centred } = self;
        let with_mean = product(rotated, mean);
        if is_centred {
            rotated.iter_mut().zip(mean).for_each(|(value, mean)| *value -= mean);
        }
        // Bits of positive floats are ordered as the floats are.
        let magnitudes = rotated.iter().map(|value| value.to_bits() & !SIGN_BIT);
        let largest = f32::from_bits(magnitudes.max().unwrap_or(0));
        let step = largest / f32::from(i8::MAX);
        let step = if step.is_normal() { step } else { 1.0 };
        let inverse = 1.0 / step;
        let mut sum = 0;
        for (code, value) in codes.iter_mut().zip(&*rotated) {
            // The sum's last bits are the nearest integer, of two the even one.
            let rounded = (value * inverse + ROUNDING).to_bits().wrapping_sub(ROUNDING.to_bits());
            *code = rounded as i8;
            sum += rounded as i32;
        }
        Rounded { step, sum, with_mean, squares: product(rotated, rotated) }
    }
}

const SIGN_BIT: u32 = 1 << 31;

/// 1.5 · 2²³: what is added to it is rounded to an integer.
const ROUNDING: f32 = 12_582_912.0;

/// ⟨a, b⟩, in lanes and one order.
#[inline(always)]
fn product(a: &[f32], b: &[f32]) -> f32 {
    const LANES: usize = 16;
    let mut lanes = [0.0f32; LANES];
    let (a, a_rest) = a.as_chunks::<LANES>();
    let (b, b_rest) = b.as_chunks::<LANES>();
    for (a, b) in a.iter().zip(b) {
        for lane in 0..LANES {
            lanes[lane] += a[lane] * b[lane];
        }
    }
    for ((lane, a), b) in lanes.iter_mut().zip(a_rest).zip(b_rest) {
        *lane += a * b;
    }
    lanes.into_iter().sum()
}

/// The code of a value.
#[inline]
fn level(value: f32, inverse: f32) -> u8 {
    (value * inverse + (CENTRE + 0.5)).clamp(0.0, 15.0) as u8
}

/// ⟨w, r⟩ and ⟨w, w⟩ of the codes that this step gives, in lanes and one order.
fn products(rotated: &[f32], inverse: f32) -> (f64, f64) {
    const LANES: usize = 16;
    let (mut product, mut squares) = ([0.0f32; LANES], [0.0f32; LANES]);
    let (blocks, rest) = rotated.as_chunks::<LANES>();
    for block in blocks {
        for lane in 0..LANES {
            let w = f32::from(level(block[lane], inverse)) - CENTRE;
            product[lane] += w * block[lane];
            squares[lane] += w * w;
        }
    }
    for (lane, &value) in rest.iter().enumerate() {
        let w = f32::from(level(value, inverse)) - CENTRE;
        product[lane] += w * value;
        squares[lane] += w * w;
    }
    let sum = |lanes: [f32; LANES]| lanes.into_iter().map(f64::from).sum::<f64>();
    (sum(product), sum(squares))
}

/// The codes of the rows of a field. A cheap copy.
#[derive(Debug, Clone, Copy)]
pub(in crate::vector) struct FourBitRows<'a> {
    pub(super) codec: &'a FourBitCodec,
    /// By row, [`code_bytes`](FourBitCodec::code_bytes) each.
    pub(super) codes: &'a [u8],
    /// By row, [`factor_count`] each.
    pub(super) factors: &'a [f32],
}

/// Estimates distances of rows from a query.
#[derive(Debug, Clone)]
pub(in crate::vector) struct FourBitScorer<'a> {
    kernel: Kernel,
    rows: FourBitRows<'a>,
    query: FourBitQuery,
}

impl<'a> FourBitScorer<'a> {
    /// A scorer of `rows` against `query`, which has as many elements as their vectors, for cosine of length one.
    /// O(dim log dim).
    pub(in crate::vector) fn new(rows: FourBitRows<'a>, kernel: Kernel, query: &[f32]) -> Self {
        FourBitScorer { kernel, rows, query: rows.codec.query(kernel, query) }
    }
}

impl Scorer for FourBitScorer<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        let mut products = [0; ROWS_AT_ONCE];
        for (rows, out) in rows.chunks(ROWS_AT_ONCE).zip(out.chunks_mut(ROWS_AT_ONCE)) {
            let FourBitRows { codec, codes, factors } = self.rows;
            let (query, products) = (&self.query, &mut products[..rows.len()]);
            self.kernel.nibble_products(NibbleProducts {
                query: &query.codes,
                codes,
                rows,
                out: products,
            });
            let products = &*products;
            let estimates = Estimates { query, metric: codec.metric, factors, rows, products, out };
            self.kernel.vectorize(estimates);
        }
    }

    #[inline]
    fn prefetch(&self, rows: &[RowId]) {
        let FourBitRows { codec, codes, factors } = self.rows;
        let (code_bytes, factor_count) = (codec.code_bytes(), factor_count(codec.metric));
        for row in rows {
            prefetch_slice(&codes[row.index() * code_bytes..][..code_bytes]);
            prefetch_slice(&factors[row.index() * factor_count..][..factor_count]);
        }
    }
}

/// Rows whose products are kept between the two passes over them.
const ROWS_AT_ONCE: usize = 64;

/// Makes distances of products.
struct Estimates<'a> {
    query: &'a FourBitQuery,
    metric: Metric,
    factors: &'a [f32],
    rows: &'a [RowId],
    products: &'a [i32],
    out: &'a mut [f32],
}

impl WithSimd for Estimates<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, _simd: S) {
        let Estimates { query, metric, factors, rows, products, out } = self;
        let FourBitQuery { slope, offset, constant, .. } = *query;
        // Gathered first, so that the arithmetic is done in registers.
        let mut gathered = [0.0; ROWS_AT_ONCE];
        match metric {
            Metric::Cosine | Metric::Dot => {
                for (factor, row) in gathered.iter_mut().zip(rows) {
                    *factor = factors[row.index()];
                }
                for ((place, &product), factor) in out.iter_mut().zip(products).zip(&gathered) {
                    *place = factor * (slope * product as f32 + offset) + constant;
                }
            }
            Metric::L2 => {
                let mut squares = [0.0; ROWS_AT_ONCE];
                let pairs = factors.as_chunks::<2>().0;
                for ((factor, squares), row) in gathered.iter_mut().zip(&mut squares).zip(rows) {
                    [*factor, *squares] = pairs[row.index()];
                }
                let of_rows = gathered.iter().zip(&squares);
                for ((place, &product), (factor, squares)) in
                    out.iter_mut().zip(products).zip(of_rows)
                {
                    *place = factor * (slope * product as f32 + offset) + constant + squares;
                }
            }
        }
    }
}
