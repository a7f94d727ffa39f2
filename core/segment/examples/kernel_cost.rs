//! Measures what the parity rule costs: nanoseconds a row for the kernels of the crate (32 lanes, multiply then add,
//! one tree) against a kernel free to fuse and to reorder. Rows lie in cache. A program, run by hand:
//!
//! `cargo run --release -p nearfield-segment --example kernel_cost`

#![expect(clippy::print_stdout, reason = "a measurement prints its table")]

use std::hint::black_box;
use std::time::Instant;

use nearfield_segment::vector::{EncodedRows, OriginalCodec, RowScorer, Scorer};
use nearfield_segment::{Encoding, InstructionSet, Kernel, Metric, Rng, RowId, VectorSpec};
use pulp::{Arch, Simd, WithSimd};

/// Few enough to stay in the second-level cache.
const ROWS: usize = 256;
const ROUNDS: usize = 20;
const PASSES: usize = 300;

fn main() {
    println!("| dim | metric | kernel | ns/row f32 | ns/row f16 |");
    println!("|--:|---|---|--:|--:|");
    for dim in [128, 384, 784] {
        for metric in [Metric::L2, Metric::Dot] {
            for kernel in InstructionSet::ALL.into_iter().filter_map(Kernel::forced) {
                let [full, half] = [Encoding::F32, Encoding::F16]
                    .map(|store| by_the_rule(kernel, &VectorSpec { dim, metric, store }));
                println!(
                    "| {dim} | {} | {} | {full:.1} | {half:.1} |",
                    metric.name(),
                    kernel.set().name()
                );
            }
            let free = free_order(dim as usize, metric);
            println!("| {dim} | {} | fused, any order | {free:.1} | |", metric.name());
        }
    }
}

fn random(count: usize) -> Vec<f32> {
    let mut rng = Rng::new(1);
    (0..count).map(|_| rng.unit_f32() - 0.5).collect()
}

fn by_the_rule(kernel: Kernel, spec: &VectorSpec) -> f64 {
    let dim = spec.dim as usize;
    let values = random(ROWS * dim);
    let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(spec), ROWS);
    values.chunks(dim).for_each(|row| encoded.push(row).expect("small numbers"));
    let scorer = RowScorer::new(encoded.rows(), kernel, &values[..dim]);
    let list: Vec<RowId> = (0..ROWS as u32).map(RowId).collect();
    let mut out = vec![0.0; ROWS];
    nanoseconds_a_row(|| scorer.score_many(black_box(&list), black_box(&mut out)))
}

fn free_order(dim: usize, metric: Metric) -> f64 {
    let matrix = random(ROWS * dim);
    let query = random(dim);
    let mut out = vec![0.0; ROWS];
    let is_l2 = metric == Metric::L2;
    nanoseconds_a_row(|| {
        let task = Free { query: &query, matrix: black_box(&matrix), out: &mut out, is_l2 };
        Arch::new().dispatch(task);
        black_box(&mut out);
    })
}

/// The quickest of some passes: the one least disturbed.
fn nanoseconds_a_row(mut scan: impl FnMut()) -> f64 {
    let mut best = f64::MAX;
    for _ in 0..PASSES {
        #[expect(clippy::disallowed_methods, reason = "a measurement reads the clock")]
        let start = Instant::now();
        (0..ROUNDS).for_each(|_| scan());
        best = best.min(start.elapsed().as_nanos() as f64 / (ROUNDS * ROWS) as f64);
    }
    best
}

/// Two rows at a time, four accumulators each, fused multiply-add.
struct Free<'a> {
    query: &'a [f32],
    matrix: &'a [f32],
    out: &'a mut [f32],
    is_l2: bool,
}

impl WithSimd for Free<'_> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        if self.is_l2 {
            self.scan(simd, |a, b, sum| {
                let difference = simd.sub_f32s(a, b);
                simd.mul_add_e_f32s(difference, difference, sum)
            });
        } else {
            self.scan(simd, |a, b, sum| simd.mul_add_e_f32s(a, b, sum));
        }
    }
}

impl Free<'_> {
    #[inline(always)]
    fn scan<S: Simd>(self, simd: S, step: impl Fn(S::f32s, S::f32s, S::f32s) -> S::f32s) {
        let dim = self.query.len();
        let (query, _) = S::as_simd_f32s(self.query);
        let pairs = self.matrix.chunks_exact(2 * dim).zip(self.out.as_chunks_mut::<2>().0);
        for (pair, out) in pairs {
            let (first, second) = pair.split_at(dim);
            let (first, second) = (S::as_simd_f32s(first).0, S::as_simd_f32s(second).0);
            let mut sums = [[simd.splat_f32s(0.0); 4]; 2];
            let (queries, query_rest) = query.as_chunks::<4>();
            let (firsts, first_rest) = first.as_chunks::<4>();
            let (seconds, second_rest) = second.as_chunks::<4>();
            for ((query, first), second) in queries.iter().zip(firsts).zip(seconds) {
                for lane in 0..4 {
                    sums[0][lane] = step(query[lane], first[lane], sums[0][lane]);
                    sums[1][lane] = step(query[lane], second[lane], sums[1][lane]);
                }
            }
            for ((&query, &first), &second) in query_rest.iter().zip(first_rest).zip(second_rest) {
                sums[0][0] = step(query, first, sums[0][0]);
                sums[1][0] = step(query, second, sums[1][0]);
            }
            for (out, [a, b, c, d]) in out.iter_mut().zip(sums) {
                let sum = simd.add_f32s(simd.add_f32s(a, b), simd.add_f32s(c, d));
                *out = simd.reduce_sum_f32s(sum);
            }
        }
    }
}
