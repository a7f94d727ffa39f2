//! The reference: `compare` applies the summation rule as plain loops, one row at a time. Called by `Kernel`
//! without SIMD; tests compare `simd` with it.

use crate::kernel::comparison::{Comparison, LANES, Measure, PADDING};
use crate::kernel::element::Element;

/// Computes the comparison with no special instructions.
pub(super) fn compare<E: Element>(comparison: Comparison<'_, E>) {
    for (position, &row) in comparison.rows.iter().enumerate() {
        let elements = comparison.row(row);
        comparison.out[position] = sum(comparison.measure, comparison.query, elements);
    }
}

fn sum<E: Element>(measure: Measure, query: &[f32], row: &[E]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    let (query_blocks, query_tail) = query.as_chunks::<LANES>();
    let (row_blocks, row_tail) = row.as_chunks::<LANES>();
    for (query, row) in query_blocks.iter().zip(row_blocks) {
        add(measure, query, &E::widen(row), &mut lanes);
    }
    if let (Some(query), Some(row)) = (query_tail.first_chunk(), row_tail.first_chunk()) {
        add::<PADDING>(measure, query, &E::widen(row), &mut lanes);
    }
    let mut width = LANES;
    while width > 1 {
        width /= 2;
        for lane in 0..width {
            lanes[lane] += lanes[lane + width];
        }
    }
    lanes[0]
}

/// Adds one term to each lane, or to the first half of them.
#[inline]
fn add<const N: usize>(measure: Measure, a: &[f32; N], b: &[f32; N], lanes: &mut [f32; LANES]) {
    for lane in 0..N {
        lanes[lane] += match measure {
            Measure::Product => a[lane] * b[lane],
            Measure::SquaredDifference => (a[lane] - b[lane]) * (a[lane] - b[lane]),
        };
    }
}
