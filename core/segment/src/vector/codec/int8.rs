//! One byte an element: a vector is its largest magnitude / 127, and whole multiples of that.
//!
//! The query has more bits, as many as sums of products fit an i32 whatever the codes: integers add up to the
//! same sum in any order, so every machine computes the same distance.

use crate::metric::Metric;
use crate::schema::VectorSpec;
use crate::vector::originals::norm;

/// Largest magnitude of a code.
const CODE_MAX: f32 = 127.0;

/// Writes the codes of `values` to `out` and returns their scale; 0 for a vector of zeros or next to nothing.
pub(in crate::vector) fn encode(values: &[f32], out: &mut Vec<i8>) -> f32 {
    let largest = values.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
    let scale = largest / CODE_MAX;
    if !scale.is_normal() {
        out.resize(out.len() + values.len(), 0);
        return 0.0;
    }
    out.extend(values.iter().map(|value| (value / scale).round().clamp(-CODE_MAX, CODE_MAX) as i8));
    scale
}

/// A query in whole numbers, to be compared with codes.
#[derive(Debug, Clone)]
pub struct CodedQuery {
    metric: Metric,
    codes: Vec<i16>,
    scale: f64,
    /// For l2, of the query as given.
    squared_norm: f64,
}

impl CodedQuery {
    /// A query that was checked against `spec`. O(dim).
    pub fn new(spec: &VectorSpec, query: &[f32]) -> Self {
        assert_eq!(query.len(), spec.dim as usize, "the query was checked against the schema");
        let norm = norm(query);
        let largest = query.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let levels = (i32::MAX as usize / (CODE_MAX as usize * query.len())).min(i16::MAX as usize);
        let step = f64::from(largest) / levels as f64;
        let code = |&value: &f32| {
            if largest > 0.0 { (f64::from(value) / step).round() as i16 } else { 0 }
        };
        let unit = match spec.metric {
            Metric::Cosine if norm > 0.0 => 1.0 / norm,
            Metric::Cosine | Metric::Dot | Metric::L2 => 1.0,
        };
        let codes = query.iter().map(code).collect();
        CodedQuery { metric: spec.metric, codes, scale: step * unit, squared_norm: norm * norm }
    }

    /// How vectors are compared.
    pub fn metric(&self) -> Metric {
        self.metric
    }

    /// Elements.
    pub fn dim(&self) -> usize {
        self.codes.len()
    }

    /// The inner product with the vector of `codes` and `scale`.
    #[inline]
    pub(in crate::vector) fn product(&self, codes: &[i8], scale: f32) -> f64 {
        f64::from(sum(&self.codes, codes)) * f64::from(scale) * self.scale
    }

    /// The distance to a row; `squared_norm` is the row's, for l2. Never −0.0.
    #[inline]
    pub(in crate::vector) fn distance(&self, codes: &[i8], scale: f32, squared_norm: f32) -> f32 {
        let product = self.product(codes, scale);
        let distance = match self.metric {
            Metric::Cosine | Metric::Dot => -product,
            Metric::L2 => (self.squared_norm + f64::from(squared_norm) - 2.0 * product).max(0.0),
        };
        distance as f32 + 0.0
    }
}

/// Σ a·b. Of at most as many elements as the query has levels for.
#[inline]
fn sum(query: &[i16], codes: &[i8]) -> i32 {
    let mut total = 0i32;
    for (a, b) in query.iter().zip(codes) {
        total += i32::from(*a) * i32::from(*b);
    }
    total
}
