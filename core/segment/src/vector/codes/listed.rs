//! `ListCodec`: the codec of inverted lists in exports, one byte for each element and a scale for each row.
//! `ListQuery` is the encoded query. Used by `lists::build`, the opened lists and tables, and `search::lists`.

use crate::error::Result;
use crate::ids::RowId;
use crate::kernel::{CodeProducts, Kernel};
use crate::metric::Metric;
use crate::schema::{VectorSpec, squared_norm};
use crate::vector::codec::Codec;
use crate::vector::originals::VectorRows;

use super::int8::QueryCodes;

/// Codes of one byte an element: element ≈ scale · code. See `int8` for how they differ from those of scans.
#[derive(Debug, Clone)]
pub struct ListCodec {
    metric: Metric,
    dim: usize,
}

/// What belongs to the codes of a row.
#[derive(Debug, Clone, Copy)]
pub struct ListFactors {
    /// Largest magnitude / 127; 0 for a vector of zeros or next to nothing.
    pub(in crate::vector) scale: f32,
    /// Of the row as given.
    pub(in crate::vector) squared_norm: f32,
}

/// A query in whole numbers, to be compared with codes.
#[derive(Debug, Clone)]
pub struct ListQuery {
    metric: Metric,
    codes: Vec<i16>,
    scale: f64,
    /// Of the query as given.
    squared_norm: f64,
}

impl ListCodec {
    /// The codec of rows of `spec`.
    pub fn new(spec: &VectorSpec) -> Self {
        ListCodec { metric: spec.metric, dim: spec.dim as usize }
    }

    /// The codec of these rows.
    pub(in crate::vector) fn of(rows: &VectorRows<'_>) -> Self {
        ListCodec { metric: rows.metric(), dim: rows.dim() }
    }
}

impl Codec for ListCodec {
    type Factors = ListFactors;
    type Query = ListQuery;

    fn code_bytes(&self) -> usize {
        self.dim
    }

    fn encode(&self, values: &[f32], code: &mut [u8]) -> Result<ListFactors> {
        let code_max = f32::from(i8::MAX);
        let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let scale = largest / code_max;
        let scale = if scale.is_normal() { scale } else { 0.0 };
        for (place, value) in code.iter_mut().zip(values) {
            let rounded = (value / scale).round().clamp(-code_max, code_max);
            *place = if scale > 0.0 { rounded as i8 as u8 } else { 0 };
        }
        let squares = values.iter().map(|&value| f64::from(value) * f64::from(value));
        Ok(ListFactors { scale, squared_norm: squares.sum::<f64>() as f32 })
    }

    /// A query that was checked against the spec.
    fn query(&self, values: &[f32]) -> ListQuery {
        assert_eq!(values.len(), self.dim, "the query was checked against the schema");
        let norm = squared_norm(values).sqrt();
        let QueryCodes { codes, step } = QueryCodes::new(values);
        let unit = match self.metric {
            Metric::Cosine if norm > 0.0 => 1.0 / norm,
            Metric::Cosine | Metric::Dot | Metric::L2 => 1.0,
        };
        let scale = step * unit;
        ListQuery { metric: self.metric, codes, scale, squared_norm: norm * norm }
    }
}

impl ListQuery {
    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// The inner products with codes, in order of `rows`; `scale` is that of each row.
    pub(in crate::vector) fn products(
        &self,
        kernel: Kernel,
        codes: &[u8],
        rows: &[RowId],
        scale: impl Fn(RowId) -> f32,
    ) -> impl Iterator<Item = f64> {
        let mut sums = vec![0; rows.len()];
        let codes = bytemuck::cast_slice(codes);
        kernel.vectorize(CodeProducts { query: &self.codes, codes, rows, out: &mut sums });
        let product = move |(sum, &row)| f64::from(sum) * f64::from(scale(row)) * self.scale;
        sums.into_iter().zip(rows).map(product)
    }

    /// The distance to a row from the inner product with it; `squared_norm` is the row's, for l2. Never −0.0.
    #[inline]
    pub(in crate::vector) fn distance(&self, product: f64, squared_norm: f32) -> f32 {
        let distance = match self.metric {
            Metric::Cosine | Metric::Dot => -product,
            Metric::L2 => (self.squared_norm + f64::from(squared_norm) - 2.0 * product).max(0.0),
        };
        distance as f32 + 0.0
    }
}
