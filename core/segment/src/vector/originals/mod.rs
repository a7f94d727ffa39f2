//! How the rows of a vector field lie in bytes, and how they are scored.
//!
//! A field has two sections. *Vectors*: for each row `padded(dim)` elements (f32, or IEEE halves),
//! zeros after the first `dim`. *Inverse norms*: for cosine one f32 a row, `1/‖x‖` or 0 for a vector
//! shorter than the smallest normal f32; for other metrics nothing. Answers over halves equal those over the widened f32
//! rows, bit for bit.
//!
//! [`Approximations`] refuse rows of a scan by a byte an element. Lossy codecs (integer codes with a rerank) come in
//! beside [`VectorRows`] as further [`Scorer`]s.

mod encode;
mod equal;
mod scorer;
mod space;
#[cfg(test)]
mod tests;

pub use encode::{EncodedRows, RowEncoder};
pub use scorer::{RowScorer, Scorer};

pub(super) use encode::norm;
pub(super) use equal::equal_rows;
pub(super) use space::{Lift, Space};

use crate::error::{Error, ErrorKind, Result};
use crate::ids::RowId;
use crate::kernel::{Element, Kernel, half_to_f32, padded};
use crate::metric::Metric;
use crate::schema::{Encoding, VectorSpec};

/// The rows of one vector field, borrowed from their two sections. A cheap copy.
#[derive(Debug, Clone, Copy)]
pub struct VectorRows<'a> {
    dim: u32,
    metric: Metric,
    rows: u32,
    matrix: Matrix<'a>,
    /// Empty unless the metric is cosine.
    inv_norms: &'a [f32],
}

#[derive(Debug, Clone, Copy)]
pub(crate) enum Matrix<'a> {
    F32(&'a [f32]),
    F16(&'a [u16]),
}

impl<'a> VectorRows<'a> {
    /// A view of two sections that hold `rows` rows of a field. O(1).
    ///
    /// # Errors
    /// `Corrupt` if a section has the wrong length or starts at an address that is no multiple of 4.
    pub fn new(
        spec: &VectorSpec,
        rows: u32,
        vectors: &'a [u8],
        inv_norms: &'a [u8],
    ) -> Result<Self> {
        expect_len("vectors", vectors, rows as usize, row_bytes(spec))?;
        expect_len("inverse norms", inv_norms, rows as usize, norm_bytes(spec))?;
        let matrix = match spec.store {
            Encoding::F32 => Matrix::F32(cast("vectors", vectors)?),
            Encoding::F16 => Matrix::F16(cast("vectors", vectors)?),
        };
        let inv_norms = cast("inverse norms", inv_norms)?;
        Ok(VectorRows { dim: spec.dim, metric: spec.metric, rows, matrix, inv_norms })
    }

    /// Number of rows.
    pub fn len(&self) -> u32 {
        self.rows
    }

    /// True if there are no rows.
    pub fn is_empty(&self) -> bool {
        self.rows == 0
    }

    /// Elements per vector, without padding.
    pub fn dim(&self) -> usize {
        self.dim as usize
    }

    /// How the field's vectors are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn decode(&self, row: RowId, out: &mut [f32]) {
        assert_eq!(out.len(), self.dim(), "one place for each element");
        self.widen(row, out);
    }

    /// A scorer of rows against `query`, which has `dim` finite elements. Copies the query: O(dim).
    pub fn scorer(&self, kernel: Kernel, query: &[f32]) -> RowScorer<'a> {
        RowScorer::new(*self, kernel, query)
    }

    /// Elements from the start of one row to the next.
    pub(crate) fn stride(&self) -> usize {
        padded(self.dim())
    }

    pub(crate) fn matrix(&self) -> Matrix<'a> {
        self.matrix
    }

    pub(crate) fn inv_norms(&self) -> &'a [f32] {
        self.inv_norms
    }

    /// The first `out.len()` values of a row (at most the stride).
    pub(crate) fn widen(&self, row: RowId, out: &mut [f32]) {
        let start = row.index() * self.stride();
        match self.matrix {
            Matrix::F32(elements) => out.copy_from_slice(&elements[start..][..out.len()]),
            Matrix::F16(elements) => {
                for (value, &half) in out.iter_mut().zip(&elements[start..][..self.stride()]) {
                    *value = half_to_f32(half);
                }
            }
        }
    }
}

/// Bytes a row takes in the vectors section.
pub fn row_bytes(spec: &VectorSpec) -> usize {
    padded(spec.dim as usize)
        * match spec.store {
            Encoding::F32 => size_of::<f32>(),
            Encoding::F16 => size_of::<u16>(),
        }
}

/// Bytes a row takes in the section of inverse norms.
pub fn norm_bytes(spec: &VectorSpec) -> usize {
    match spec.metric {
        Metric::Cosine => size_of::<f32>(),
        Metric::Dot | Metric::L2 => 0,
    }
}

fn expect_len(section: &str, bytes: &[u8], rows: usize, row_len: usize) -> Result<()> {
    let expected = rows.checked_mul(row_len);
    if expected == Some(bytes.len()) {
        return Ok(());
    }
    let message =
        format!("{section}: expected {rows} rows of {row_len} bytes, found {} bytes", bytes.len());
    Err(Error::new(ErrorKind::Corrupt, message).with("got", bytes.len()))
}

fn cast<'a, E: Element>(section: &str, bytes: &'a [u8]) -> Result<&'a [E]> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|cause| {
        Error::new(ErrorKind::Corrupt, format!("{section}: expected aligned elements: {cause}"))
    })
}
