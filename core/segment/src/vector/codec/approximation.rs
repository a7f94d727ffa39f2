//! A byte for each element of a row, and a bound on what the byte leaves out: a scan refuses most rows by
//! them alone and reads the others in full, so its answer is the exact one (the VA-file: Weber, Schek and
//! Blott, "A quantitative analysis and performance study for similarity-search methods", VLDB 1998, §4).
//!
//! x ≈ step · codes, |x − step · codes| ≤ error; the query likewise in 16 bits. The bound holds for distances as
//! they are computed, in f32, not only for the true ones. Kept in memory only: nothing of it is in a file.

use crate::ids::RowId;
use crate::kernel::{CodeProducts, Kernel, LANES, Quantise, Quantised};
use crate::metric::Metric;
use crate::vector::originals::VectorRows;

/// Fewer rows are scanned as fast without.
const ROWS_MIN: u32 = 64;
/// A larger field without a graph was meant to have none: it is scanned as it lies, without a copy in memory.
const ROWS_MAX: u32 = 1 << 16;
/// In the browser the kernels' 128-bit registers gain nothing from bytes.
const WORTH_IT: bool = cfg!(not(target_arch = "wasm32"));

/// Approximations of all rows of a field: a quarter of what the rows take as f32, half of what they take as f16.
#[derive(Debug)]
pub struct Approximations {
    codes: Vec<i8>,
    rows: Vec<Approximated>,
}

/// What belongs to the codes of one row.
#[derive(Debug, Clone, Copy)]
struct Approximated {
    step: f32,
    /// Length of step · codes.
    norm: f32,
    /// At least the distance of the row from step · codes; NaN, which refuses nothing, for rows that are no numbers.
    error: f32,
}

impl Approximations {
    /// Approximates rows that are scanned, if that makes their scans faster. O(rows × dim).
    pub(crate) fn of(rows: VectorRows<'_>) -> Option<Approximations> {
        if !WORTH_IT || !(ROWS_MIN..=ROWS_MAX).contains(&rows.len()) {
            return None;
        }
        let (stride, kernel) = (rows.stride(), Kernel::detect());
        let mut codes = vec![0; rows.len() as usize * stride];
        let mut values = vec![0.0; stride];
        let places = codes.chunks_exact_mut(stride).enumerate();
        let rows = places
            .map(|(row, codes)| {
                rows.widen(RowId(row as u32), &mut values);
                Approximated::of(kernel.vectorize(Quantise { values: &values, codes }))
            })
            .collect();
        Some(Approximations { codes, rows })
    }

    /// Bytes of memory.
    pub fn bytes(&self) -> u64 {
        (self.codes.len() + size_of_val(&*self.rows)) as u64
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

/// A query, ready to refuse rows.
#[derive(Debug, Clone)]
pub(in crate::vector) struct Bounds<'a> {
    approximations: &'a Approximations,
    kernel: Kernel,
    metric: Metric,
    inv_norms: &'a [f32],
    query: Vec<i16>,
    step: f64,
    norm: f64,
    /// Of the query in 16 bits.
    error: f64,
    /// What rounding can make of a sum of `dim` terms: relative to the sum of their sizes, and absolute.
    rounding: f64,
    underflow: f64,
}

impl<'a> Bounds<'a> {
    /// For a query as the scorer has it: padded, and of length one for cosine.
    pub(in crate::vector) fn new(
        approximations: &'a Approximations,
        rows: VectorRows<'a>,
        kernel: Kernel,
        query: &[f32],
    ) -> Self {
        // No sum of products with codes leaves an i32.
        let most = f64::from(i32::MAX) / (f64::from(i8::MAX) * query.len() as f64);
        let most = most.min(f64::from(i16::MAX)).floor();
        let largest = query.iter().fold(0.0f32, |largest, value| largest.max(value.abs()));
        let step = if largest > 0.0 { f64::from(largest) / most } else { 1.0 };
        let (mut codes, mut squared_error, mut squared_norm) = (Vec::new(), 0.0, 0.0);
        for &value in query {
            let value = f64::from(value);
            let code = (value / step).round();
            codes.push(code as i16);
            squared_error += (value - step * code).powi(2);
            squared_norm += value * value;
        }
        Bounds {
            approximations,
            kernel,
            metric: rows.metric(),
            inv_norms: rows.inv_norms(),
            query: codes,
            step,
            norm: squared_norm.sqrt() * (1.0 + 1e-9),
            error: squared_error.sqrt() * (1.0 + 1e-9),
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
            query: &self.query,
            codes: &self.approximations.codes,
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
        let Approximated { step, norm, error } = self.approximations.rows[row.index()];
        let (norm, error) = (f64::from(norm), f64::from(error));
        // ⟨query, step · codes⟩ at most.
        let product =
            self.step * f64::from(step) * f64::from(product) + self.error * (norm + error);
        match self.metric {
            Metric::L2 => {
                let squares = self.norm * self.norm + norm * norm;
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
        product + self.norm * error + self.rounding * self.norm * (norm + error) + self.underflow
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::kernel::InstructionSet;
    use crate::rng::Rng;
    use crate::schema::{Encoding, VectorSpec};
    use crate::vector::originals::{EncodedRows, RowEncoder, Scorer};

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

    fn encoded(spec: &VectorSpec, rows: &[Vec<f32>]) -> EncodedRows {
        RowEncoder::all(spec, rows.len() as u32, rows.iter().map(Vec::as_slice)).expect("in range")
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
        let view = VectorRows::new(spec, count, &encoded.vectors, &encoded.inv_norms).expect("own");
        let approximations = Approximations::of(view).expect("enough rows");
        let scorer = view.scorer(kernel, query).refusing_by(&approximations);
        let all: Vec<RowId> = (0..count).map(RowId).collect();
        let mut distances = vec![0.0; rows.len()];
        scorer.score_many(&all, &mut distances);
        let mut sorted = distances.clone();
        sorted.sort_by(f32::total_cmp);
        let limits = [0, 9, rows.len() / 2, rows.len() - 1].map(|place| sorted[place]);
        let keep = |limit: f32| {
            let mut left = all.clone();
            scorer.refuse(limit, &mut left);
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
