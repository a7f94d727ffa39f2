//! `FourBitCodec`: half a byte for each element of a rotated, centred vector, and the distances that such codes
//! estimate. The walk of a graph compares by them and reads the originals of few rows.
//!
//! A row x is taken as r = R(x − c): R a fixed [`Rotation`], c the mean of the rows, for cosine at length one. Element j of its code is u in 0
//! to 15 and stands for w = u − 7.5; the step between values is chosen for each row. With a query q′ = R(q − c) or,
//! for products, R(q), the product ⟨q′, r⟩ is estimated as ⟨q′, w⟩ · ‖r‖² / ⟨w, r⟩, which is right on average over
//! rotations (Gao and Long, RaBitQ, SIGMOD 2024, §3.2; with more bits Gao et al., SIGMOD 2025). The query is rounded
//! to bytes, so ⟨q′, u⟩ is an integer and the same on every machine; what follows is one product and one sum of f32.

use crate::error::Result;
use crate::ids::RowId;
use crate::kernel::{BLOCK, BLOCK_BYTES, Kernel, NibbleProducts, prefetch_slice};
use crate::metric::Metric;
use crate::schema::squared_norm;
use crate::vector::codec::{Codec, EncodedRows};
use crate::vector::scorer::Scorer;

use super::rotation::Rotation;

/// Half of the range of a code: what a code of 0 stands for, in steps, is −7.5.
const CENTRE: f32 = 7.5;
/// The steps tried for a row, in sixteenths of the one that its largest element needs.
const STEPS: std::ops::RangeInclusive<u8> = 8..=16;

/// How rows of a field become codes.
#[derive(Debug, Clone)]
pub struct FourBitCodec {
    kernel: Kernel,
    metric: Metric,
    rotation: Rotation,
    /// Rotated; subtracted from every rotated row.
    mean: Vec<f32>,
}

/// What belongs to the code of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FourBitFactors {
    /// ‖r‖² / ⟨w, r⟩; 0 for a row that is the mean.
    factor: f32,
    /// ‖r‖².
    squares: f32,
}

/// A query, prepared for any number of rows.
#[derive(Debug, Clone)]
pub struct FourBitQuery {
    /// About q′ / step.
    codes: Vec<i8>,
    /// The estimate is `constant` + `squares`·‖r‖² + factor · (`slope`·⟨codes, u⟩ + `offset`).
    slope: f32,
    offset: f32,
    constant: f32,
    squares: f32,
}

impl FourBitCodec {
    /// For rows of this mean, which for cosine is that of the rows at length one.
    pub fn new(kernel: Kernel, metric: Metric, mean: Vec<f32>) -> Self {
        let (rotation, mut mean) = (Rotation::new(mean.len()), mean);
        rotation.apply(kernel, &mut mean);
        FourBitCodec { kernel, metric, rotation, mean }
    }

    fn dim(&self) -> usize {
        self.mean.len()
    }

    /// A vector, for cosine at length one, rotated.
    fn rotated(&self, values: &[f32]) -> Vec<f32> {
        let mut rotated = values.to_vec();
        if self.metric == Metric::Cosine {
            let norm = squared_norm(values).sqrt();
            let scale = if norm > 0.0 { 1.0 / norm } else { 0.0 };
            rotated.iter_mut().for_each(|value| *value = (f64::from(*value) * scale) as f32);
        }
        self.rotation.apply(self.kernel, &mut rotated);
        rotated
    }

    fn subtract_mean(&self, rotated: &mut [f32]) {
        rotated.iter_mut().zip(&self.mean).for_each(|(value, mean)| *value -= mean);
    }
}

impl Codec for FourBitCodec {
    type Factors = FourBitFactors;
    type Query = FourBitQuery;

    fn code_bytes(&self) -> usize {
        self.dim().div_ceil(BLOCK) * BLOCK_BYTES
    }

    fn encode(&self, values: &[f32], code: &mut [u8]) -> Result<FourBitFactors> {
        let mut rotated = self.rotated(values);
        self.subtract_mean(&mut rotated);
        let squares = squared_norm(&rotated);
        let largest = rotated.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        code.fill(0);
        let needed = largest / CENTRE;
        if !needed.is_normal() {
            return Ok(FourBitFactors { factor: 0.0, squares: squares as f32 });
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
        Ok(FourBitFactors { factor: (squares / product) as f32, squares: squares as f32 })
    }

    fn query(&self, values: &[f32]) -> FourBitQuery {
        let mut rotated = self.rotated(values);
        if self.metric == Metric::L2 {
            self.subtract_mean(&mut rotated);
        }
        let largest = rotated.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let step = if largest > 0.0 { largest / f32::from(i8::MAX) } else { 1.0 };
        let mut codes = vec![0i8; self.dim().next_multiple_of(BLOCK)];
        for (code, value) in codes.iter_mut().zip(&rotated) {
            *code = (value / step).round_ties_even() as i8;
        }
        let sum: i32 = codes.iter().map(|&code| i32::from(code)).sum();
        // ⟨q′, w⟩ = step · (⟨codes, u⟩ − 7.5 · Σ codes).
        let (slope, offset) = (step, -step * CENTRE * sum as f32);
        match self.metric {
            Metric::L2 => FourBitQuery {
                codes,
                slope: -2.0 * slope,
                offset: -2.0 * offset,
                constant: squared_norm(&rotated) as f32,
                squares: 1.0,
            },
            Metric::Dot | Metric::Cosine => {
                let pairs = self.mean.iter().zip(&rotated);
                let product: f64 = pairs.map(|(&a, &b)| f64::from(a) * f64::from(b)).sum();
                let constant = -product as f32;
                FourBitQuery { codes, slope: -slope, offset: -offset, constant, squares: 0.0 }
            }
        }
    }
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

/// A query with the codes of a field.
#[derive(Debug, Clone, Copy)]
pub struct FourBitScorer<'a> {
    kernel: Kernel,
    rows: &'a EncodedRows<FourBitCodec>,
    query: &'a FourBitQuery,
}

impl<'a> FourBitScorer<'a> {
    /// Estimates distances of `rows` from `query`, which their codec made.
    pub fn new(rows: &'a EncodedRows<FourBitCodec>, query: &'a FourBitQuery) -> Self {
        FourBitScorer { kernel: rows.codec().kernel, rows, query }
    }
}

impl Scorer for FourBitScorer<'_> {
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        const AT_ONCE: usize = 64;
        let mut products = [0; AT_ONCE];
        for (rows, out) in rows.chunks(AT_ONCE).zip(out.chunks_mut(AT_ONCE)) {
            let products = &mut products[..rows.len()];
            self.kernel.nibble_products(NibbleProducts {
                query: &self.query.codes,
                codes: self.rows.codes(),
                rows,
                out: products,
            });
            let FourBitQuery { slope, offset, constant, squares, .. } = *self.query;
            for ((place, product), row) in out.iter_mut().zip(&*products).zip(rows) {
                let of_row = self.rows.factors()[row.index()];
                let estimate = of_row.factor * (slope * *product as f32 + offset);
                *place = squares * of_row.squares + estimate + constant;
            }
        }
    }

    #[inline]
    fn prefetch(&self, row: RowId) {
        let bytes = self.rows.codec().code_bytes();
        prefetch_slice(&self.rows.codes()[row.index() * bytes..][..bytes]);
        prefetch_slice(&self.rows.factors()[row.index()..=row.index()]);
    }
}
