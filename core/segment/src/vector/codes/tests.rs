//! Four-bit codes against exact distances: how near estimates are, that they are the same bits everywhere, and rows that
//! codes cannot tell apart.

use crate::ids::RowId;
use crate::kernel::{InstructionSet, Kernel};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::schema::{Encoding, VectorSpec};
use crate::vector::codec::EncodedRows;
use crate::vector::codes::{CodesBuilder, FourBitScorer};
use crate::vector::originals::{OriginalCodec, RowScorer};
use crate::vector::scorer::Scorer;

fn encoded(
    metric: Metric,
    rows: &[Vec<f32>],
    kernel: Kernel,
) -> (EncodedRows<OriginalCodec>, CodesBuilder) {
    let spec = VectorSpec { dim: rows[0].len() as u32, metric, store: Encoding::F32 };
    let mut originals = EncodedRows::with_capacity(OriginalCodec::new(&spec), rows.len());
    rows.iter().for_each(|row| originals.push(row).expect("finite"));
    let mut codes = CodesBuilder::new(&originals.rows(), kernel);
    while codes.step(&originals.rows(), kernel, &Pool::new(2)) {}
    (originals, codes)
}

/// Exact distances and estimates of all rows.
fn distances(
    metric: Metric,
    rows: &[Vec<f32>],
    query: &[f32],
    kernel: Kernel,
) -> (Vec<f32>, Vec<f32>) {
    let (originals, codes) = encoded(metric, rows, kernel);
    let all: Vec<RowId> = (0..rows.len() as u32).map(RowId).collect();
    let (mut exact, mut estimates) = (vec![0.0; rows.len()], vec![0.0; rows.len()]);
    let by_originals = RowScorer::new(originals.rows(), kernel, query);
    by_originals.score_many(&all, &mut exact);
    let by_codes = FourBitScorer::new(codes.rows(), kernel, &by_originals.query()[..query.len()]);
    by_codes.score_many(&all, &mut estimates);
    (exact, estimates)
}

fn random(rng: &mut Rng, dim: usize) -> Vec<f32> {
    (0..dim).map(|_| rng.unit_f32() - 0.3).collect()
}

fn norm(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value).powi(2)).sum::<f64>().sqrt()
}

#[test]
fn estimates_are_near_the_exact_distances() {
    let mut rng = Rng::new(1);
    for dim in [1, 2, 64, 100, 384, 1025, 65_536] {
        let count = if dim > 10_000 { 12 } else { 200 };
        let rows: Vec<Vec<f32>> = (0..count).map(|_| random(&mut rng, dim)).collect();
        let query = random(&mut rng, dim);
        for metric in Metric::ALL {
            let (exact, estimates) = distances(metric, &rows, &query, Kernel::detect());
            for ((exact, estimate), row) in exact.iter().zip(&estimates).zip(&rows) {
                // The error of a product is that of the code's angle, about a tenth, spread over all directions.
                let size = match metric {
                    Metric::Cosine => 1.0,
                    Metric::Dot | Metric::L2 => 2.0 * norm(row) * norm(&query),
                };
                let limit = 0.8 * size / (dim as f64).sqrt().max(2.0);
                let error = f64::from(exact - estimate).abs();
                assert!(error <= limit, "{metric:?} {dim}: {exact} estimated as {estimate}");
            }
        }
    }
}

#[test]
fn codes_and_estimates_are_the_same_bits_on_every_instruction_set() {
    let mut rng = Rng::new(2);
    for dim in [1, 70, 384, 500] {
        let mut rows: Vec<Vec<f32>> = (0..70).map(|_| random(&mut rng, dim)).collect();
        rows[3] = vec![0.0; dim];
        rows[4] = rows[5].clone();
        let query = random(&mut rng, dim);
        for metric in Metric::ALL {
            let mut all = Vec::new();
            for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
                let (_, estimates) = distances(metric, &rows, &query, kernel);
                assert_eq!(estimates[4].to_bits(), estimates[5].to_bits(), "equal rows");
                let bits: Vec<u32> = estimates.into_iter().map(f32::to_bits).collect();
                all.push((encoded(metric, &rows, kernel).1.finish(7).to_vec(), bits));
            }
            all.iter().for_each(|other| assert!(*other == all[0], "{metric:?} {dim}"));
        }
    }
}

#[test]
fn rows_without_variance_are_estimated_exactly() {
    let row = random(&mut Rng::new(3), 96);
    let rows = vec![row.clone(); 40];
    for metric in Metric::ALL {
        let (exact, estimates) = distances(metric, &rows, &row, Kernel::detect());
        for (exact, estimate) in exact.iter().zip(&estimates) {
            assert!((exact - estimate).abs() <= 1e-3 * norm(&row) as f32, "{exact} {estimate}");
        }
    }
}
