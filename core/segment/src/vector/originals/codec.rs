//! `OriginalCodec`: the codec of stored vectors, padded rows as given or rounded to halves, and for cosine their
//! inverse norms. Used by `VectorField` and `originals::rows`.
//!
//! Norms are taken of the *stored* values (after rounding to halves), in f64, in a fixed order.

use crate::error::Result;
use crate::kernel::padded;
use crate::metric::Metric;
use crate::schema::{Encoding, VectorSpec, squared_norm};
use crate::vector::codec::Codec;

use super::matrix;

/// Rows as they are stored. The factor of a row is its inverse norm; 0 for metrics that need none.
#[derive(Debug, Clone, Copy)]
pub struct OriginalCodec {
    pub(super) dim: usize,
    pub(super) metric: Metric,
    pub(super) store: Encoding,
}

impl OriginalCodec {
    /// The codec of a field.
    pub fn new(spec: &VectorSpec) -> Self {
        OriginalCodec { dim: spec.dim as usize, metric: spec.metric, store: spec.store }
    }

    /// Elements from the start of one row to the next.
    pub(super) fn stride(&self) -> usize {
        padded(self.dim)
    }

    /// Bytes of a row in the section of inverse norms.
    pub fn norm_bytes(&self) -> usize {
        match self.metric {
            Metric::Cosine => size_of::<f32>(),
            Metric::Dot | Metric::L2 => 0,
        }
    }
}

impl Codec for OriginalCodec {
    type Factors = f32;
    /// Padded; for cosine of length one.
    type Query = Vec<f32>;

    fn code_bytes(&self) -> usize {
        self.stride() * matrix::element_bytes(self.store)
    }

    fn encode(&self, values: &[f32], code: &mut [u8]) -> Result<f32> {
        assert_eq!(values.len(), self.dim, "the row was checked");
        matrix::encode(self.store, values, code)?;
        Ok(match self.metric {
            Metric::Cosine => inverse_norm(&matrix::stored(self.store, values)),
            Metric::Dot | Metric::L2 => 0.0,
        })
    }

    fn query(&self, values: &[f32]) -> Vec<f32> {
        assert_eq!(values.len(), self.dim, "the query was checked against the schema");
        let mut query = vec![0.0; self.stride()];
        match self.metric {
            Metric::Cosine => normalise(values, &mut query),
            Metric::Dot | Metric::L2 => query[..values.len()].copy_from_slice(values),
        }
        query
    }
}

/// `1/‖x‖`; 0 if the norm is below the smallest normal f32, whose inverse would overflow.
fn inverse_norm(values: &[f32]) -> f32 {
    let norm = norm(values);
    if norm < f64::from(f32::MIN_POSITIVE) { 0.0 } else { (1.0 / norm) as f32 }
}

/// The query divided by its norm, in f64; a query of length zero stays zero.
fn normalise(query: &[f32], out: &mut [f32]) {
    let norm = norm(query);
    if norm > 0.0 {
        for (place, &value) in out.iter_mut().zip(query) {
            *place = (f64::from(value) / norm) as f32;
        }
    }
}

/// Euclidean norm in f64.
pub(super) fn norm(values: &[f32]) -> f64 {
    squared_norm(values).sqrt()
}
