//! Distances and roundings as the documents define them, written from the text and not from the kernels.
//!
//! `docs/internals/decisions/0001-one-summation-rule.md` and `0008-cosine-keeps-originals.md`. One row at a time, as
//! slow as it is plain.

use nearfield_segment::Metric;

const LANES: usize = 32;

/// The internal distance between a query and stored values; smaller is closer.
pub fn distance(metric: Metric, query: &[f32], stored: &[f32]) -> f32 {
    match metric {
        Metric::L2 => sum(query.iter().zip(stored).map(|(a, b)| (a - b) * (a - b))),
        Metric::Dot => plus_zero(-sum(products(query, stored))),
        Metric::Cosine => {
            let length = norm(query);
            let unit = |x: &f32| if length > 0.0 { (f64::from(*x) / length) as f32 } else { 0.0 };
            let query: Vec<f32> = query.iter().map(unit).collect();
            plus_zero(-(sum(products(&query, stored)) * inverse_norm(stored)))
        }
    }
}

fn products(a: &[f32], b: &[f32]) -> impl Iterator<Item = f32> {
    a.iter().zip(b).map(|(a, b)| a * b)
}

/// Element i goes to lane i mod 32; then lane j += lane j + 16, + 8, + 4, + 2, + 1.
fn sum(terms: impl Iterator<Item = f32>) -> f32 {
    let mut lanes = [0.0f32; LANES];
    for (index, term) in terms.enumerate() {
        lanes[index % LANES] += term;
    }
    for half in [16, 8, 4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0]
}

/// There is one zero.
fn plus_zero(distance: f32) -> f32 {
    if distance == 0.0 { 0.0 } else { distance }
}

/// Length in f64, summed in eight lanes as a tree.
fn norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    for (index, &value) in values.iter().enumerate() {
        lanes[index % 8] += f64::from(value) * f64::from(value);
    }
    for half in [4, 2, 1] {
        for lane in 0..half {
            lanes[lane] += lanes[lane + half];
        }
    }
    lanes[0].sqrt()
}

fn inverse_norm(stored: &[f32]) -> f32 {
    let norm = norm(stored);
    if norm < f64::from(f32::MIN_POSITIVE) { 0.0 } else { (1.0 / norm) as f32 }
}

/// The nearest IEEE half, ties to even, as f32. The value is within ±65504.
pub fn rounded_to_half(value: f32) -> f32 {
    let magnitude = f64::from(value.abs());
    let exponent = ((value.abs().to_bits() >> 23) as i32 - 127).max(-14);
    let step = 2.0f64.powi(exponent - 10);
    let rounded = (magnitude / step).round_ties_even() * step;
    (rounded as f32).copysign(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn halves_are_those_of_the_standard() {
        let pairs = [
            (0.0, 0.0),
            (1.0, 1.0),
            (0.1, 0.099_975_586),
            (2049.0, 2048.0),
            (2051.0, 2052.0),
            (65504.0, 65504.0),
            (-5.960_464_5e-8, -5.960_464_5e-8),
            (2.9e-8, 0.0),
        ];
        for (value, half) in pairs {
            assert_eq!(rounded_to_half(value).to_bits(), f32::to_bits(half), "{value}");
        }
    }

    #[test]
    fn distances_agree_with_plain_arithmetic() {
        let (a, b) = ([3.0, 4.0], [0.0, 2.0]);
        assert_eq!(distance(Metric::L2, &a, &b), 13.0);
        assert_eq!(distance(Metric::Dot, &a, &b), -8.0);
        assert_eq!(distance(Metric::Cosine, &a, &b), -0.8);
        assert_eq!(distance(Metric::Cosine, &a, &[0.0, 0.0]).to_bits(), 0.0f32.to_bits());
    }
}
