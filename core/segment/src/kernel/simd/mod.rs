//! The SIMD implementation of inner products and squared distances, generic over the register width by pulp. Called by
//! `Kernel` for each instruction set; `scalar` computes the same bits with plain loops.
//!
//! `A` registers hold the 32 lanes of one row; `G` rows are summed side by side, which hides the
//! latency of the additions and loads each piece of the query once for the group. While a group is
//! summed, the next one is on its way from memory.
//!
//! Everything that touches a register is `#[inline(always)]` and no closure: a closure handed to a
//! library function may be compiled without the instructions, at many times the cost.

mod prefetch;

pub(crate) use prefetch::prefetch_slice;

use pulp::{Simd, WithSimd};

use crate::kernel::comparison::{Comparison, LANES, Measure, PADDING};
use crate::kernel::element::Element;

impl<E: Element> WithSimd for Comparison<'_, E> {
    type Output = ();

    #[inline(always)]
    fn with_simd<S: Simd>(self, simd: S) {
        match self.measure {
            Measure::Product => by_width::<S, Product, E>(simd, self),
            Measure::SquaredDifference => by_width::<S, SquaredDifference, E>(simd, self),
        }
    }
}

/// One step of a sum, in registers.
trait Term {
    fn term<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s;
}

struct Product;
struct SquaredDifference;

impl Term for Product {
    #[inline(always)]
    fn term<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        simd.mul_f32s(a, b)
    }
}

impl Term for SquaredDifference {
    #[inline(always)]
    fn term<S: Simd>(simd: S, a: S::f32s, b: S::f32s) -> S::f32s {
        let difference = simd.sub_f32s(a, b);
        simd.mul_f32s(difference, difference)
    }
}

#[inline(always)]
fn by_width<S: Simd, T: Term, E: Element>(simd: S, comparison: Comparison<'_, E>) {
    match S::F32_LANES {
        16 => in_groups::<S, T, E, 2, 4>(simd, comparison),
        8 => in_groups::<S, T, E, 4, 2>(simd, comparison),
        4 if cfg!(target_arch = "wasm32") => one_by_one::<S, T, E>(simd, comparison),
        4 => in_groups::<S, T, E, 8, 2>(simd, comparison),
        lanes => unreachable!("no instruction set here has registers of {lanes} lanes"),
    }
}

#[inline(always)]
fn in_groups<S: Simd, T: Term, E: Element, const A: usize, const G: usize>(
    simd: S,
    comparison: Comparison<'_, E>,
) {
    let (groups, rest) = comparison.rows.as_chunks::<G>();
    let mut position = 0;
    for (index, group) in groups.iter().enumerate() {
        let next = groups.get(index + 1).map_or(rest, |group| &group[..]);
        for &row in next {
            prefetch_slice(comparison.row(row));
        }
        // A loop: `map` of an array may be compiled as a call, without the instructions.
        let mut rows: [&[E]; G] = [&[]; G];
        for (slice, &row) in rows.iter_mut().zip(group) {
            *slice = comparison.row(row);
        }
        let sums = sum::<S, T, E, A, G>(simd, comparison.query, rows);
        comparison.out[position..position + G].copy_from_slice(&sums);
        position += G;
    }
    for &row in rest {
        let rows = [comparison.row(row)];
        [comparison.out[position]] = sum::<S, T, E, A, 1>(simd, comparison.query, rows);
        position += 1;
    }
}

/// For registers of four lanes in the browser. Its module is compiled for size, which unrolls no loop
/// over an array of registers and keeps the array in memory, at three times the cost: hence eight names.
#[inline(always)]
fn one_by_one<S: Simd, T: Term, E: Element>(simd: S, comparison: Comparison<'_, E>) {
    for (index, &row) in comparison.rows.iter().enumerate() {
        if index % READ_AHEAD == 0 {
            read_ahead(&comparison, index);
        }
        comparison.out[index] = sum_narrow::<S, T, E>(simd, comparison.query, comparison.row(row));
    }
}

/// Rows that are read together, before the first of them is summed: what they take fits into the second cache.
const READ_AHEAD: usize = 16;

/// Reads the next rows to be summed, unless they follow each other: the processor sees those coming.
#[inline(always)]
fn read_ahead<E: Element>(comparison: &Comparison<'_, E>, from: usize) {
    let rows = &comparison.rows[from..];
    let rows = &rows[..rows.len().min(READ_AHEAD)];
    if rows.is_sorted_by(|one, next| one.0 + 1 == next.0) {
        return;
    }
    for &row in rows {
        prefetch::read_lines(comparison.row(row));
    }
}

/// The sum of [`sum`], in the same lanes and the same tree.
#[inline(always)]
fn sum_narrow<S: Simd, T: Term, E: Element>(simd: S, query: &[f32], row: &[E]) -> f32 {
    let zero = simd.splat_f32s(0.0);
    let [mut a, mut b, mut c, mut d] = [zero; 4];
    let [mut e, mut f, mut g, mut h] = [zero; 4];
    let step = |lane, x, y| simd.add_f32s(lane, T::term(simd, x, y));
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        let row = E::widen(row);
        let (query, row) = (S::as_simd_f32s(query).0, S::as_simd_f32s(&row).0);
        let ([p, q, r, s, t, u, v, w], [i, j, k, l, m, n, o, x]) = (query, row) else { continue };
        (a, b, c, d) = (step(a, *p, *i), step(b, *q, *j), step(c, *r, *k), step(d, *s, *l));
        (e, f, g, h) = (step(e, *t, *m), step(f, *u, *n), step(g, *v, *o), step(h, *w, *x));
    }
    if let (Some(query), Some(row)) = (query_tail.first_chunk::<PADDING>(), row_tail.first_chunk())
    {
        let row = E::widen::<PADDING>(row);
        let (query, row) = (S::as_simd_f32s(query).0, S::as_simd_f32s(&row).0);
        if let ([p, q, r, s], [i, j, k, l]) = (query, row) {
            (a, b, c, d) = (step(a, *p, *i), step(b, *q, *j), step(c, *r, *k), step(d, *s, *l));
        }
    }
    let plus = |x, y| simd.add_f32s(x, y);
    (a, b, c, d) = (plus(a, e), plus(b, f), plus(c, g), plus(d, h));
    (a, b) = (plus(a, c), plus(b, d));
    simd.reduce_sum_f32s(plus(a, b))
}

/// Sums of `G` rows. All slices have the same length, a multiple of `PADDING`.
#[inline(always)]
fn sum<S: Simd, T: Term, E: Element, const A: usize, const G: usize>(
    simd: S,
    query: &[f32],
    rows: [&[E]; G],
) -> [f32; G] {
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let count = query_blocks.len();
    let mut blocks: [&[[E; LANES]]; G] = [&[]; G];
    for (blocks, row) in blocks.iter_mut().zip(&rows) {
        *blocks = &row.as_chunks::<LANES>().0[..count];
    }
    let mut lanes = [[simd.splat_f32s(0.0); A]; G];
    for index in 0..count {
        let query = &query_blocks[index];
        for group in 0..G {
            add::<S, T, LANES>(simd, query, &E::widen(&blocks[group][index]), &mut lanes[group]);
        }
    }
    if let Some(query) = query_tail.first_chunk::<PADDING>() {
        for group in 0..G {
            let tail = rows[group].last_chunk::<PADDING>().expect("as long as the query");
            add::<S, T, PADDING>(simd, query, &E::widen(tail), &mut lanes[group]);
        }
    }
    let mut sums = [0.0; G];
    for (sum, lanes) in sums.iter_mut().zip(lanes) {
        *sum = reduce(simd, lanes);
    }
    sums
}

/// Adds a block's terms to the lanes; a block of `PADDING` elements feeds the first half of them.
#[inline(always)]
fn add<S: Simd, T: Term, const N: usize>(
    simd: S,
    query: &[f32; N],
    block: &[f32; N],
    lanes: &mut [S::f32s],
) {
    let (query, _) = S::as_simd_f32s(query);
    let (block, _) = S::as_simd_f32s(block);
    for ((lane, &a), &b) in lanes.iter_mut().zip(query).zip(block) {
        *lane = simd.add_f32s(*lane, T::term(simd, a, b));
    }
}

/// The fixed tree. Within a register pulp halves in the same order: +8, +4, +2, +1.
#[inline(always)]
fn reduce<S: Simd, const A: usize>(simd: S, mut lanes: [S::f32s; A]) -> f32 {
    let mut width = A;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] = simd.add_f32s(lanes[lane], lanes[lane + width]);
        }
    }
    simd.reduce_sum_f32s(lanes[0])
}
