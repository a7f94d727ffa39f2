//! `Approximations`: a byte for each element of a row, and `Bounds` on what the byte leaves out: a scan
//! refuses most rows by them alone and reads the others in full, so its answer is the exact one (the VA-file:
//! Weber, Schek and Blott, "A quantitative analysis and performance study for similarity-search methods",
//! VLDB 1998, §4). Built by `VectorField` in memory, used by its exact scan.
//!
//! x ≈ step · codes, |x − step · codes| ≤ error; the query likewise in 16 bits. The bound holds for distances as
//! they are computed, in f32, not only for the true ones. Kept in memory only: nothing of it is in a file.

use crate::error::Result;
use crate::ids::RowId;
use crate::kernel::{CodeProducts, Kernel, LANES, Quantise, Quantised};
use crate::metric::Metric;
use crate::vector::codec::{Codec, EncodedRows};
use crate::vector::originals::VectorRows;

use super::int8::QueryCodes;

/// Fewer rows are scanned as fast without.
const ROWS_MIN: u32 = 64;
/// A larger field without a graph was meant to have none: it is scanned as it lies, without a copy in memory.
const ROWS_MAX: u32 = 1 << 16;
/// In the browser the kernels' 128-bit registers gain nothing from bytes.
const WORTH_IT: bool = cfg!(not(target_arch = "wasm32"));

/// Approximations of all rows of a field: a quarter of what the rows take as f32, half of what they take as f16.
#[derive(Debug)]
pub(in crate::vector) struct Approximations(EncodedRows<ScanCodec>);

/// Codes of one byte an element with a bound on what they leave out. See `int8` for how they differ from those of
/// inverted lists.
#[derive(Debug, Clone, Copy)]
pub(super) struct ScanCodec {
    kernel: Kernel,
    /// Elements of a row with padding.
    stride: usize,
}

/// What belongs to the codes of one row.
#[derive(Debug, Clone, Copy)]
pub(super) struct Approximated {
    step: f32,
    /// Length of step · codes.
    norm: f32,
    /// At least the distance of the row from step · codes; NaN, which refuses nothing, for rows that are no numbers.
    error: f32,
}

/// A query in 16 bits with what rounding can make of it.
#[derive(Debug, Clone)]
pub(super) struct ApproximatedQuery {
    codes: Vec<i16>,
    step: f64,
    norm: f64,
    /// Of the query in 16 bits.
    error: f64,
}

impl Codec for ScanCodec {
    type Factors = Approximated;
    type Query = ApproximatedQuery;

    fn code_bytes(&self) -> usize {
        self.stride
    }

    fn encode(&self, values: &[f32], code: &mut [u8]) -> Result<Approximated> {
        let codes = bytemuck::cast_slice_mut(code);
        Ok(Approximated::of(self.kernel.vectorize(Quantise { values, codes })))
    }

    /// A query as the scorer of the originals has it: padded, and of length one for cosine.
    fn query(&self, values: &[f32]) -> ApproximatedQuery {
        let QueryCodes { codes, step } = QueryCodes::new(values);
        let (mut squared_error, mut squared_norm) = (0.0, 0.0);
        for (&value, &code) in values.iter().zip(&codes) {
            let value = f64::from(value);
            squared_error += (value - step * f64::from(code)).powi(2);
            squared_norm += value * value;
        }
        let norm = f64::sqrt(squared_norm) * (1.0 + 1e-9);
        ApproximatedQuery { codes, step, norm, error: f64::sqrt(squared_error) * (1.0 + 1e-9) }
    }
}

impl Approximations {
    /// Approximates rows that are scanned, if that makes their scans faster. O(rows × dim).
    pub(in crate::vector) fn of(rows: VectorRows<'_>) -> Option<Approximations> {
        if !WORTH_IT || !(ROWS_MIN..=ROWS_MAX).contains(&rows.len()) {
            return None;
        }
        let codec = ScanCodec { kernel: Kernel::detect(), stride: rows.stride() };
        let mut encoded = EncodedRows::with_capacity(codec, rows.len() as usize);
        let mut values = vec![0.0; codec.stride];
        for row in (0..rows.len()).map(RowId) {
            rows.widen(row, &mut values);
            encoded.push(&values).expect("a row of any floats has codes");
        }
        Some(Approximations(encoded))
    }

    /// Bytes of memory.
    pub(in crate::vector) fn bytes(&self) -> u64 {
        self.0.bytes()
    }
}

impl Approximated {
    fn of(row: Quantised) -> Approximated {
        let norm = f64::from(row.step) * (row.squares as f64).sqrt();
        // Above what rounding to f32 can take from this, from each element's rest and from the norm.
        let error = row.left_out.sqrt() * (1.0 + 1e-6) + 1e-6 * norm + f64::from(f32::MIN_POSITIVE);
        Approximated { step: row.step, norm: norm as f32, error: error as f32 }
    }
}

/// A query, ready to refuse rows of a field.
#[derive(Debug, Clone)]
pub(in crate::vector) struct Bounds<'a> {
    approximations: &'a Approximations,
    kernel: Kernel,
    metric: Metric,
    inv_norms: &'a [f32],
    query: ApproximatedQuery,
    /// What rounding can make of a sum of `dim` terms: relative to the sum of their sizes, and absolute.
    rounding: f64,
    underflow: f64,
}

impl<'a> Bounds<'a> {
    /// For a query as the scorer of `rows` has it.
    pub(in crate::vector) fn new(
        approximations: &'a Approximations,
        rows: VectorRows<'a>,
        kernel: Kernel,
        query: &[f32],
    ) -> Self {
        Bounds {
            approximations,
            kernel,
            metric: rows.metric(),
            inv_norms: rows.inv_norms(),
            query: approximations.0.codec().query(query),
            // Every lane adds its share of the terms, then the tree; one more for each product and for norms.
            rounding: (query.len() / LANES + 16) as f64 * f64::from(f32::EPSILON),
            underflow: query.len() as f64 * f64::from(f32::MIN_POSITIVE),
        }
    }

    /// Takes out rows that are certainly farther than `limit`. O(rows × dim), of a quarter of the bytes.
    pub(in crate::vector) fn refuse(&self, limit: f32, rows: &mut Vec<RowId>) {
        if limit == f32::INFINITY {
            return;
        }
        let mut products = vec![0; rows.len()];
        self.kernel.vectorize(CodeProducts {
            query: &self.query.codes,
            codes: bytemuck::cast_slice(self.approximations.0.codes()),
            rows,
            out: &mut products,
        });
        let limit = f64::from(limit);
        // For l2: how far the query may be from a row within the limit.
        let reach = ((limit + self.underflow) / (1.0 - self.rounding)).max(0.0).sqrt();
        let mut index = 0;
        rows.retain(|&row| {
            let product = products[index];
            index += 1;
            !self.is_beyond(limit, reach, row, product)
        });
    }

    /// Every comparison with a number that is none keeps the row.
    fn is_beyond(&self, limit: f64, reach: f64, row: RowId, product: i32) -> bool {
        let Approximated { step, norm, error } = self.approximations.0.factors()[row.index()];
        let (norm, error) = (f64::from(norm), f64::from(error));
        // ⟨query, step · codes⟩ at most.
        let product = self.query.step * f64::from(step) * f64::from(product)
            + self.query.error * (norm + error);
        match self.metric {
            Metric::L2 => {
                let squares = self.query.norm * self.query.norm + norm * norm;
                let apart = squares - 2.0 * product - 1e-6 * squares;
                apart > (reach + error).powi(2)
            }
            Metric::Dot => -self.most(product, norm, error) > limit,
            Metric::Cosine => {
                let inv_norm = f64::from(self.inv_norms[row.index()]);
                -(self.most(product, norm, error) * inv_norm) - 1e-6 > limit
            }
        }
    }

    /// ⟨query, row⟩ at most, as it is computed.
    fn most(&self, product: f64, norm: f64, error: f64) -> f64 {
        let length = self.query.norm;
        product + length * error + self.rounding * length * (norm + error) + self.underflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::InstructionSet;
    use crate::rng::Rng;
    use crate::schema::{Encoding, VectorSpec};
    use crate::vector::originals::{OriginalCodec, RowScorer};
    use crate::vector::scorer::Scorer;

    /// Rows around few centres, some of them equal, zero, tiny, or large.
    fn rows(rng: &mut Rng, count: usize, dim: usize) -> Vec<Vec<f32>> {
        let mut around = |centre: f32, spread: f32| {
            (0..dim).map(|_| centre + spread * (rng.unit_f32() - 0.5)).collect::<Vec<f32>>()
        };
        let row = |index: usize| match index % 16 {
            0 => around(0.0, 0.0),
            1 => around(1e-21, 1e-21),
            2 => around(1e3, 1e2),
            3 => around(2.0, 0.0),
            kind => around((kind % 4) as f32 - 2.0, 1.0),
        };
        (0..count).map(row).collect()
    }

    fn encoded(spec: &VectorSpec, rows: &[Vec<f32>]) -> EncodedRows<OriginalCodec> {
        let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(spec), rows.len());
        rows.iter().for_each(|row| encoded.push(row).expect("in range"));
        encoded
    }

    /// All rows with their distances, and those kept for each of some limits.
    fn kept(
        spec: &VectorSpec,
        rows: &[Vec<f32>],
        query: &[f32],
        kernel: Kernel,
    ) -> (Vec<f32>, Vec<(f32, Vec<RowId>)>) {
        let encoded = encoded(spec, rows);
        let count = rows.len() as u32;
        let view = encoded.rows();
        let approximations = Approximations::of(view).expect("enough rows");
        let scorer = RowScorer::new(view, kernel, query);
        let bounds = Bounds::new(&approximations, view, kernel, scorer.query());
        let all: Vec<RowId> = (0..count).map(RowId).collect();
        let mut distances = vec![0.0; rows.len()];
        scorer.score_many(&all, &mut distances);
        let mut sorted = distances.clone();
        sorted.sort_by(f32::total_cmp);
        let limits = [0, 9, rows.len() / 2, rows.len() - 1].map(|place| sorted[place]);
        let keep = |limit: f32| {
            let mut left = all.clone();
            bounds.refuse(limit, &mut left);
            (limit, left)
        };
        (distances, limits.map(keep).to_vec())
    }

    #[test]
    fn no_row_within_the_limit_is_refused() {
        let mut rng = Rng::new(11);
        for (dim, store) in [(1, Encoding::F32), (17, Encoding::F16), (384, Encoding::F32)] {
            let rows = rows(&mut rng, 512, dim);
            let queries = [rows[7].clone(), rows[2].clone(), rows[0].clone(), rows[1].clone()];
            for (metric, query) in
                Metric::ALL.into_iter().flat_map(|m| queries.iter().map(move |q| (m, q)))
            {
                let spec = VectorSpec { dim: dim as u32, metric, store };
                for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
                    let (distances, kept) = kept(&spec, &rows, query, kernel);
                    for (limit, left) in kept {
                        let within = (0..rows.len()).filter(|&row| distances[row] <= limit);
                        for row in within {
                            assert!(
                                left.contains(&RowId(row as u32)),
                                "{metric:?} {dim} {limit} {row}"
                            );
                        }
                    }
                }
            }
        }
    }

    #[test]
    fn rows_of_any_scale_that_lie_close_together_are_ranked_as_without() {
        let mut rng = Rng::new(14);
        let dim = 96;
        let base: Vec<f32> = (0..dim).map(|_| rng.unit_f32() - 0.5).collect();
        for scale in [1e15, 1.0, 1e-10, 1e-17, 1e-20, 1e-25, 1e-30, 3e-37, 1e-42] {
            let near = |rng: &mut Rng| -> Vec<f32> {
                base.iter().map(|&x| scale * (x + 0.004 * (rng.unit_f32() - 0.5))).collect()
            };
            let rows: Vec<Vec<f32>> = (0..600).map(|_| near(&mut rng)).collect();
            let query = near(&mut rng);
            for metric in Metric::ALL {
                let spec = VectorSpec { dim: dim as u32, metric, store: Encoding::F32 };
                let (distances, kept) = kept(&spec, &rows, &query, Kernel::detect());
                for (limit, left) in kept {
                    for row in (0..rows.len()).filter(|&row| distances[row] <= limit) {
                        assert!(left.contains(&RowId(row as u32)), "{metric:?} {scale} {limit}");
                    }
                }
            }
        }
    }

    #[test]
    fn most_rows_beyond_the_limit_are_refused() {
        let mut rng = Rng::new(12);
        let rows: Vec<Vec<f32>> =
            (0..1000).map(|_| (0..96).map(|_| rng.unit_f32() - 0.5).collect()).collect();
        for metric in Metric::ALL {
            let spec = VectorSpec { dim: 96, metric, store: Encoding::F32 };
            let (_, kept) = kept(&spec, &rows, &rows[3], Kernel::detect());
            let (limit, left) = &kept[1];
            assert!(left.len() < 50, "{metric:?}: {} of 1000 kept for {limit}", left.len());
        }
    }

    #[test]
    fn rows_that_are_no_numbers_are_kept() {
        let spec = VectorSpec { dim: 16, metric: Metric::L2, store: Encoding::F32 };
        let mut rows = rows(&mut Rng::new(13), 300, 16);
        (rows[5][3], rows[6][0]) = (f32::NAN, f32::INFINITY);
        let (_, kept) = kept(&spec, &rows, &[0.25; 16], Kernel::detect());
        for (_, left) in kept {
            assert!(left.contains(&RowId(5)) && left.contains(&RowId(6)));
        }
    }
}
