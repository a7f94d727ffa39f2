//! `QueryCodes`: what codecs of one byte an element share, a query in 16 bits, whose products with codes add
//! up exactly in an i32. Used by `approximation` and `listed`.
//!
//! Integers add up to the same sum in any order, so every machine computes the same distance. There are two such
//! codecs, and their codes of the same row differ:
//!
//! | | [`ScanCodec`](super::ScanCodec) | [`ListCodec`](super::ListCodec) |
//! |---|---|---|
//! | where | memory only | sections of exports, so the rounding is part of the format |
//! | code | value × (1 / step), ties to even, in SIMD | value / scale, ties away from zero |
//! | rows next to zero | a step of their own | codes and scale 0 |
//! | gives | a bound that no computed distance passes | a distance that is near |
//!
//! Both have a step of largest magnitude / 127.

/// A vector in whole numbers: about step · codes.
#[derive(Debug, Clone)]
pub(super) struct QueryCodes {
    pub(super) codes: Vec<i16>,
    pub(super) step: f64,
}

impl QueryCodes {
    /// As many levels as an i16 has, unless a sum of products with codes could leave an i32. O(dim).
    pub(super) fn new(values: &[f32]) -> Self {
        let levels = i32::MAX as usize / (i8::MAX as usize * values.len().max(1));
        let levels = levels.min(i16::MAX as usize) as f64;
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let step = if largest > 0.0 { f64::from(largest) / levels } else { 1.0 };
        let codes = values.iter().map(|&value| (f64::from(value) / step).round() as i16).collect();
        QueryCodes { codes, step }
    }
}
