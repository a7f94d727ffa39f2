//! Distances against f64 over the decoded rows, halves against their widened twins, bad sections.

use crate::error::ErrorKind;
use crate::ids::RowId;
use crate::kernel::{InstructionSet, Kernel};
use crate::metric::Metric;
use crate::rng::Rng;
use crate::schema::{Encoding, VectorSpec};
use crate::storage::AlignedBuffer;
use crate::vector::codec::EncodedRows;
use crate::vector::scorer::Scorer;

use super::{OriginalCodec, RowScorer, VectorRows};

fn spec(dim: u32, metric: Metric, store: Encoding) -> VectorSpec {
    VectorSpec { dim, metric, store }
}

fn random_rows(seed: u64, count: usize, dim: usize) -> Vec<Vec<f32>> {
    let mut rng = Rng::new(seed);
    (0..count).map(|_| (0..dim).map(|_| rng.unit_f32() * 4.0 - 2.0).collect()).collect()
}

fn encode(spec: &VectorSpec, rows: &[Vec<f32>]) -> EncodedRows<OriginalCodec> {
    let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(spec), rows.len());
    rows.iter().for_each(|row| encoded.push(row).expect("in range"));
    encoded
}

fn score(spec: &VectorSpec, rows: &[Vec<f32>], kernel: Kernel, query: &[f32]) -> Vec<f32> {
    let encoded = encode(spec, rows);
    let list: Vec<RowId> = (0..rows.len() as u32).map(RowId).collect();
    let mut out = vec![f32::NAN; rows.len()];
    RowScorer::new(encoded.rows(), kernel, query).score_many(&list, &mut out);
    out
}

fn oracle(metric: Metric, a: &[f32], b: &[f32]) -> f64 {
    let sum = |term: fn(f64, f64) -> f64| -> f64 {
        a.iter().zip(b).map(|(&a, &b)| term(f64::from(a), f64::from(b))).sum()
    };
    match metric {
        Metric::L2 => sum(|a, b| (a - b) * (a - b)),
        Metric::Dot => -sum(|a, b| a * b),
        Metric::Cosine => {
            let norms = (sum(|a, _| a * a) * sum(|_, b| b * b)).sqrt();
            if norms == 0.0 { 0.0 } else { -sum(|a, b| a * b) / norms }
        }
    }
}

#[test]
fn distances_are_those_of_f64_arithmetic_and_of_every_instruction_set() {
    for dim in [1, 2, 15, 16, 17, 100, 384] {
        let mut rows = random_rows(u64::from(dim), 9, dim as usize);
        rows[4].fill(0.0);
        let query = random_rows(99, 1, dim as usize).remove(0);
        for metric in Metric::ALL {
            let spec = spec(dim, metric, Encoding::F32);
            let expected = score(&spec, &rows, Kernel::detect(), &query);
            for (distance, row) in expected.iter().zip(&rows) {
                let exact = oracle(metric, &query, row);
                let bound = 1e-5 * exact.abs().max(f64::from(dim));
                assert!((f64::from(*distance) - exact).abs() < bound, "{metric:?} {dim}");
            }
            for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
                let found = score(&spec, &rows, kernel, &query);
                assert!(found.iter().zip(&expected).all(|(a, b)| a.to_bits() == b.to_bits()));
            }
        }
    }
}

#[test]
fn halves_answer_as_the_values_they_decode_to() {
    for (dim, metric) in [(5, Metric::L2), (33, Metric::Cosine), (384, Metric::Dot)] {
        let (rows, half) = (random_rows(3, 8, dim as usize), spec(dim, metric, Encoding::F16));
        let query = &random_rows(4, 1, dim as usize)[0];
        let encoded = encode(&half, &rows);
        let view = encoded.rows();
        let decoded: Vec<Vec<f32>> = (0..8)
            .map(|row| {
                let mut out = vec![0.0; dim as usize];
                view.decode(RowId(row), &mut out);
                out
            })
            .collect();
        assert_ne!(decoded, rows, "rounding is seen");
        let full = spec(dim, metric, Encoding::F32);
        let found = score(&half, &rows, Kernel::detect(), query);
        assert_eq!(found, score(&full, &decoded, Kernel::detect(), query), "{metric:?}");
    }
}

#[test]
fn zero_vectors_and_zero_queries_have_cosine_zero_and_never_negative_zero() {
    let rows = vec![vec![0.0, -0.0], vec![1e-42, 0.0], vec![1.0, 0.0], vec![3.0, 4.0]];
    for metric in [Metric::Cosine, Metric::Dot] {
        let spec = spec(2, metric, Encoding::F32);
        for distance in score(&spec, &rows, Kernel::detect(), &[0.0, 0.0]) {
            assert_eq!(distance.to_bits(), 0, "{metric:?}");
        }
    }
    let cosine = spec(2, Metric::Cosine, Encoding::F32);
    let found = score(&cosine, &rows, Kernel::detect(), &[2.0, 0.0]);
    assert_eq!(found, [0.0, 0.0, -1.0, -0.6]);
}

#[test]
fn elements_beyond_a_half_are_refused_with_row_and_column() {
    let spec = spec(2, Metric::L2, Encoding::F16);
    let rows = [[1.0, 2.0], [3.0, 70_000.0]];
    let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(&spec), 2);
    encoded.push(&rows[0]).expect("in range");
    let error = encoded.push(&rows[1]).expect_err("too large");
    assert_eq!(error.kind(), ErrorKind::InvalidInput(crate::error::Fault::NonFinite));
    assert_eq!(error.detail("row").and_then(serde_json::Value::as_u64), Some(1));
    assert_eq!(error.detail("column").and_then(serde_json::Value::as_u64), Some(1));
}

#[test]
fn sections_of_the_wrong_length_or_alignment_are_corrupt() {
    let spec = spec(3, Metric::Cosine, Encoding::F32);
    let buffer = AlignedBuffer::zeroed(16 * 4 * 2 + 1);
    let norms = AlignedBuffer::zeroed(8);
    let corrupt = |rows: u32, vectors: &[u8], norms: &[u8]| {
        let error = VectorRows::new(&spec, rows, vectors, norms).expect_err("not a section");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    };
    corrupt(2, &buffer, &norms);
    corrupt(2, &buffer[..127], &norms);
    corrupt(2, &buffer[..128], &norms[..4]);
    corrupt(2, &buffer[1..129], &norms);
    corrupt(u32::MAX, &[], &[]);
    assert!(VectorRows::new(&spec, 2, &buffer[..128], &norms).is_ok());
    assert!(VectorRows::new(&spec, 0, &[], &[]).is_ok());
}
