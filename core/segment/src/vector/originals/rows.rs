//! `VectorRows`: the stored vectors of a field, borrowed from their two sections (elements; inverse norms). Used by
//! searches, graph builds, `lists::build` and merges.

use std::borrow::Cow;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::RowId;
use crate::kernel::{Kernel, Measure};
use crate::metric::Metric;
use crate::schema::VectorSpec;
use crate::vector::codec::{Codec, EncodedRows};

use super::codec::OriginalCodec;
use super::matrix::{Matrix, cast};

/// Rows that are requested from memory before the first of them is compared.
const PREFETCHED_ROWS: usize = 4;

/// The rows of one vector field. A cheap copy.
#[derive(Debug, Clone, Copy)]
pub struct VectorRows<'a> {
    pub(super) codec: OriginalCodec,
    rows: u32,
    matrix: Matrix<'a>,
    /// Empty unless the metric is cosine.
    inv_norms: &'a [f32],
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
        let codec = OriginalCodec::new(spec);
        expect_len("vectors", vectors, rows as usize, codec.code_bytes())?;
        expect_len("inverse norms", inv_norms, rows as usize, codec.norm_bytes())?;
        let matrix = Matrix::open(spec.store, vectors)?;
        Ok(VectorRows { codec, rows, matrix, inv_norms: cast("inverse norms", inv_norms)? })
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
        self.codec.dim
    }

    /// How the field's vectors are compared.
    pub fn metric(&self) -> Metric {
        self.codec.metric
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn decode(&self, row: RowId, out: &mut [f32]) {
        assert_eq!(out.len(), self.dim(), "one place for each element");
        self.widen(row, out);
    }

    /// Elements from the start of one row to the next.
    pub(in crate::vector) fn stride(&self) -> usize {
        self.codec.stride()
    }

    pub(in crate::vector) fn inv_norms(&self) -> &'a [f32] {
        self.inv_norms
    }

    /// The first `out.len()` values of a row (at most the stride).
    pub(in crate::vector) fn widen(&self, row: RowId, out: &mut [f32]) {
        self.matrix.widen(row, self.stride(), out);
    }

    /// All values of a row, with padding.
    pub(super) fn row(&self, row: RowId) -> Cow<'a, [f32]> {
        self.matrix.row(row, self.stride())
    }

    /// Sums over the elements of `query` (padded) and each row.
    pub(super) fn compare(
        &self,
        kernel: Kernel,
        measure: Measure,
        query: &[f32],
        rows: &[RowId],
        out: &mut [f32],
    ) {
        self.matrix.compare(kernel, measure, query, rows, out);
    }

    /// Starts loading the first of these rows.
    #[inline]
    pub(super) fn prefetch(&self, rows: &[RowId]) {
        for &row in rows.iter().take(PREFETCHED_ROWS) {
            self.matrix.prefetch(row, self.stride());
        }
    }
}

impl EncodedRows<OriginalCodec> {
    /// The rows so far, as they are read.
    pub fn rows(&self) -> VectorRows<'_> {
        let codec = *self.codec();
        let matrix = Matrix::open(codec.store, self.codes()).expect("own buffers are aligned");
        let inv_norms = if codec.norm_bytes() > 0 { self.factors() } else { &[] };
        VectorRows { codec, rows: self.len() as u32, matrix, inv_norms }
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
