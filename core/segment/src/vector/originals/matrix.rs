//! `Matrix`: the elements of stored rows, f32 or IEEE halves. The one file with an arm for each `Encoding`. Used by
//! `originals::rows`.
//!
//! Rows lie one after the other, each padded with zeros. Answers over halves equal those over the widened f32 rows, bit
//! for bit.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Fault, Result, show_float};
use crate::ids::RowId;
use crate::kernel::{
    Comparison, Element, Kernel, Measure, half_from_f32, half_to_f32, prefetch_slice,
};
use crate::schema::Encoding;

/// Borrowed elements of all rows.
#[derive(Debug, Clone, Copy)]
pub(super) enum Matrix<'a> {
    F32(&'a [f32]),
    F16(&'a [u16]),
}

/// Bytes of an element.
pub(super) fn element_bytes(store: Encoding) -> usize {
    match store {
        Encoding::F32 => size_of::<f32>(),
        Encoding::F16 => size_of::<u16>(),
    }
}

/// Writes the elements of a row, and zeros behind them to the end of `out`.
///
/// # Errors
/// `InvalidInput(NonFinite)` if an element does not fit a half; `out` is then unspecified.
pub(super) fn encode(store: Encoding, values: &[f32], out: &mut [u8]) -> Result<()> {
    let (elements, padding) = out.split_at_mut(values.len() * element_bytes(store));
    padding.fill(0);
    match store {
        Encoding::F32 => {
            for (place, value) in elements.as_chunks_mut().0.iter_mut().zip(values) {
                *place = value.to_le_bytes();
            }
        }
        Encoding::F16 => {
            let places = elements.as_chunks_mut().0.iter_mut();
            for (column, (place, &value)) in places.zip(values).enumerate() {
                let half = half_from_f32(value).ok_or_else(|| beyond_half(value, column))?;
                *place = half.to_le_bytes();
            }
        }
    }
    Ok(())
}

/// The values that `encode` keeps of a row that fits.
pub(super) fn stored(store: Encoding, values: &[f32]) -> Cow<'_, [f32]> {
    let round = |&value: &f32| half_from_f32(value).map_or(value, half_to_f32);
    match store {
        Encoding::F32 => Cow::Borrowed(values),
        Encoding::F16 => values.iter().map(round).collect(),
    }
}

impl<'a> Matrix<'a> {
    /// Elements in the bytes of a section.
    ///
    /// # Errors
    /// `Corrupt` if they start at an address that is no multiple of an element.
    pub(super) fn open(store: Encoding, bytes: &'a [u8]) -> Result<Self> {
        match store {
            Encoding::F32 => cast("vectors", bytes).map(Matrix::F32),
            Encoding::F16 => cast("vectors", bytes).map(Matrix::F16),
        }
    }

    /// The first `out.len()` values of a row of `stride` elements.
    pub(super) fn widen(self, row: RowId, stride: usize, out: &mut [f32]) {
        let start = row.index() * stride;
        match self {
            Matrix::F32(elements) => out.copy_from_slice(&elements[start..][..out.len()]),
            Matrix::F16(elements) => {
                for (value, &half) in out.iter_mut().zip(&elements[start..][..stride]) {
                    *value = half_to_f32(half);
                }
            }
        }
    }

    /// A row of `stride` elements as f32; where it is not stored as such, a copy.
    pub(super) fn row(self, row: RowId, stride: usize) -> Cow<'a, [f32]> {
        match self {
            Matrix::F32(elements) => Cow::Borrowed(&elements[row.index() * stride..][..stride]),
            Matrix::F16(_) => {
                let mut values = vec![0.0; stride];
                self.widen(row, stride, &mut values);
                Cow::Owned(values)
            }
        }
    }

    /// Sums over the elements of `query`, which is padded, and each row.
    pub(super) fn compare(
        self,
        kernel: Kernel,
        measure: Measure,
        query: &[f32],
        rows: &[RowId],
        out: &mut [f32],
    ) {
        match self {
            Matrix::F32(matrix) => kernel.run(Comparison { measure, query, matrix, rows, out }),
            Matrix::F16(matrix) => kernel.run(Comparison { measure, query, matrix, rows, out }),
        }
    }

    /// Starts loading a row of `stride` elements.
    #[inline]
    pub(super) fn prefetch(self, row: RowId, stride: usize) {
        let range = row.index() * stride..(row.index() + 1) * stride;
        match self {
            Matrix::F32(matrix) => prefetch_slice(&matrix[range]),
            Matrix::F16(matrix) => prefetch_slice(&matrix[range]),
        }
    }
}

/// The elements of a section called `section` in errors.
pub(in crate::vector) fn cast<'a, E: Element>(section: &str, bytes: &'a [u8]) -> Result<&'a [E]> {
    if bytes.is_empty() {
        return Ok(&[]);
    }
    bytemuck::try_cast_slice(bytes).map_err(|cause| {
        Error::new(ErrorKind::Corrupt, format!("{section}: expected aligned elements: {cause}"))
    })
}

fn beyond_half(value: f32, column: usize) -> Error {
    let got = show_float(value.into());
    let message =
        format!("column {column}: expected a number within ±65504 (half precision), got {got}");
    Error::invalid(Fault::NonFinite, message)
        .with("expected", "within ±65504")
        .with("got", got)
        .with("column", column)
}
