//! Turning given vectors into stored rows.
//!
//! Norms are taken of the *stored* values (after rounding to halves), in f64, in a fixed order.

use std::borrow::Cow;

use crate::error::{Error, Fault, Result};
use crate::kernel::{half_from_f32, half_to_f32};
use crate::metric::Metric;
use crate::schema::{Encoding, VectorSpec, squared_norm};
use crate::storage::AlignedBuffer;
use crate::vector::originals::{norm_bytes, row_bytes};

/// The two sections of a vector field, ready to be written or viewed.
#[derive(Debug, Clone)]
pub struct EncodedRows {
    /// Padded rows, one after the other.
    pub vectors: AlignedBuffer,
    /// One f32 a row for cosine, else empty.
    pub inv_norms: AlignedBuffer,
}

/// Writes rows one by one into sections made by the caller.
#[derive(Debug, Clone)]
pub struct RowEncoder {
    spec: VectorSpec,
}

impl RowEncoder {
    /// An encoder for one field.
    pub fn new(spec: &VectorSpec) -> Self {
        RowEncoder { spec: spec.clone() }
    }

    /// Encodes `count` rows that were checked against the spec.
    ///
    /// # Errors
    /// `InvalidInput(NonFinite)` if an element does not fit a half.
    ///
    /// # Panics
    /// If there are not `count` rows of `dim` elements.
    pub fn all<'r>(
        spec: &VectorSpec,
        count: u32,
        rows: impl IntoIterator<Item = &'r [f32]>,
    ) -> Result<EncodedRows> {
        let (row_len, norm_len) = (row_bytes(spec), norm_bytes(spec));
        let mut vectors = AlignedBuffer::zeroed(count as usize * row_len);
        let mut inv_norms = AlignedBuffer::zeroed(count as usize * norm_len);
        let encoder = RowEncoder::new(spec);
        let mut rows = rows.into_iter();
        for index in 0..count as usize {
            let row = rows.next().expect("the caller counted the rows");
            let place = &mut vectors.as_mut_slice()[index * row_len..][..row_len];
            let inv_norm = encoder.row(row, place).map_err(|error| error.with("row", index))?;
            let place = &mut inv_norms.as_mut_slice()[index * norm_len..][..norm_len];
            place.copy_from_slice(&inv_norm.to_le_bytes()[..norm_len]);
        }
        assert!(rows.next().is_none(), "the caller counted the rows");
        Ok(EncodedRows { vectors, inv_norms })
    }

    /// Encodes one row into its `row_bytes` bytes and returns its inverse norm (0 for length zero, and for
    /// metrics that need none).
    ///
    /// # Errors
    /// `InvalidInput(NonFinite)` if an element does not fit a half; `out` is then unspecified.
    ///
    /// # Panics
    /// If `row` has not `dim` elements or `out` the wrong length.
    pub fn row(&self, row: &[f32], out: &mut [u8]) -> Result<f32> {
        assert_eq!(row.len(), self.spec.dim as usize, "the row was checked");
        assert_eq!(out.len(), row_bytes(&self.spec), "the row's own bytes");
        match self.spec.store {
            Encoding::F32 => {
                let (elements, padding) = out.split_at_mut(size_of_val(row));
                for (place, value) in elements.as_chunks_mut().0.iter_mut().zip(row) {
                    *place = value.to_le_bytes();
                }
                padding.fill(0);
                Ok(self.inverse_norm(|| Cow::Borrowed(row)))
            }
            Encoding::F16 => {
                let (elements, padding) = out.split_at_mut(row.len() * size_of::<u16>());
                let places = elements.as_chunks_mut().0;
                for (column, (place, &value)) in places.iter_mut().zip(row).enumerate() {
                    let half = half_from_f32(value).ok_or_else(|| beyond_half(value, column))?;
                    *place = half.to_le_bytes();
                }
                padding.fill(0);
                let stored = places.iter().map(|&bytes| half_to_f32(u16::from_le_bytes(bytes)));
                Ok(self.inverse_norm(|| stored.collect()))
            }
        }
    }

    /// Of stored values, where the metric needs it; else 0.
    fn inverse_norm<'r>(&self, stored: impl FnOnce() -> Cow<'r, [f32]>) -> f32 {
        match self.spec.metric {
            Metric::Cosine => inverse_norm(&stored()),
            Metric::Dot | Metric::L2 => 0.0,
        }
    }
}

/// `1/‖x‖`; 0 if the norm is below the smallest normal f32, whose inverse would overflow.
fn inverse_norm(values: &[f32]) -> f32 {
    let norm = norm(values);
    if norm < f64::from(f32::MIN_POSITIVE) { 0.0 } else { (1.0 / norm) as f32 }
}

/// Euclidean norm in f64.
pub(crate) fn norm(values: &[f32]) -> f64 {
    squared_norm(values).sqrt()
}

fn beyond_half(value: f32, column: usize) -> Error {
    let message =
        format!("column {column}: expected a number within ±65504 (half precision), got {value}");
    Error::invalid(Fault::NonFinite, message)
        .with("expected", "within ±65504")
        .with("got", value.to_string())
        .with("column", column)
}
