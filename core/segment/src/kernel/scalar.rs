//! The reference: the summation rule as plain loops, one row at a time.

use super::{Comparison, Element, LANES, Measure};

/// Computes the comparison with no special instructions.
pub(super) fn compare<E: Element>(comparison: Comparison<'_, E>) {
    for (position, &row) in comparison.rows.iter().enumerate() {
        let elements = comparison.row(row);
        comparison.out[position] = sum(comparison.measure, comparison.query, elements);
    }
}

fn sum<E: Element>(measure: Measure, query: &[f32], row: &[E]) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (index, (&a, &element)) in query.iter().zip(row).enumerate() {
        let [b] = E::widen(&[element]);
        lanes[index % LANES] += match measure {
            Measure::Product => a * b,
            Measure::SquaredDifference => (a - b) * (a - b),
        };
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
