//! Every instruction set against the plain loops (all bits) and against f64 (closely).

use super::comparison::PADDING;
use super::*;
use crate::ids::RowId;
use crate::rng::Rng;

fn kernels() -> Vec<Kernel> {
    InstructionSet::ALL.into_iter().filter_map(Kernel::forced).collect()
}

fn compare<E: Element>(
    kernel: Kernel,
    measure: Measure,
    query: &[f32],
    matrix: &[E],
    rows: &[RowId],
) -> Vec<f32> {
    let mut out = vec![f32::NAN; rows.len()];
    kernel.run(Comparison { measure, query, matrix, rows, out: &mut out });
    out
}

/// The sum in f64 over the true elements, and the sum of magnitudes that bounds its rounding.
fn oracle(measure: Measure, query: &[f32], row: &[f32]) -> (f64, f64) {
    let terms = query.iter().zip(row).map(|(&a, &b)| match measure {
        Measure::Product => f64::from(a) * f64::from(b),
        Measure::SquaredDifference => (f64::from(a) - f64::from(b)).powi(2),
    });
    terms.fold((0.0, 0.0), |(sum, size), term| (sum + term, size + term.abs()))
}

/// The rule word by word: lane i mod 32, multiply, add, halve.
fn by_the_rule(measure: Measure, query: &[f32], row: &[f32]) -> f32 {
    let mut lanes = vec![0.0f32; 32];
    for (index, (&a, &b)) in query.iter().zip(row).enumerate() {
        let term = match measure {
            Measure::Product => a * b,
            Measure::SquaredDifference => (a - b) * (a - b),
        };
        lanes[index % 32] += term;
    }
    for width in [16, 8, 4, 2, 1] {
        let upper = lanes.split_off(width);
        lanes.iter_mut().zip(upper).for_each(|(lane, other)| *lane += other);
    }
    lanes[0]
}

fn random(rng: &mut Rng, dim: usize, scale: f32) -> Vec<f32> {
    let mut elements: Vec<f32> = (0..dim).map(|_| (rng.unit_f32() - 0.5) * scale).collect();
    elements.resize(padded(dim), 0.0);
    elements
}

#[test]
fn all_sets_give_the_same_bits_at_every_length() {
    let mut rng = Rng::new(11);
    let dims = (0..=130).chain([384, 768, 784, 1000, 1536, 4100]);
    for dim in dims {
        let query = random(&mut rng, dim, 3.0);
        let rows: Vec<Vec<f32>> = (0..7).map(|_| random(&mut rng, dim, 2.0)).collect();
        let matrix = rows.concat();
        let halves: Vec<u16> =
            matrix.iter().map(|&x| half_from_f32(x).expect("small enough")).collect();
        let widened: Vec<f32> = halves.iter().map(|&half| half_to_f32(half)).collect();
        let list: Vec<RowId> = [3, 0, 6, 6, 1, 2, 5, 4].map(RowId).to_vec();
        for measure in [Measure::Product, Measure::SquaredDifference] {
            let scalar = Kernel::forced(InstructionSet::Scalar).expect("always there");
            let expected = compare(scalar, measure, &query, &matrix, &list);
            let expected_half = compare(scalar, measure, &query, &widened, &list);
            for (sum, row) in expected.iter().zip(&list) {
                let (exact, size) = oracle(measure, &query, &rows[row.index()]);
                let bound = size * (dim as f64 / 32.0 + 8.0) * f64::from(f32::EPSILON) + 1e-30;
                assert!((f64::from(*sum) - exact).abs() <= bound, "dim {dim}: {sum} {exact}");
                let ruled = by_the_rule(measure, &query[..dim], &rows[row.index()]);
                assert_eq!(sum.to_bits(), ruled.to_bits(), "dim {dim}");
            }
            for kernel in kernels() {
                let (set, dim) = (kernel.set(), dim);
                let found = compare(kernel, measure, &query, &matrix, &list);
                assert_eq!(bits(&found), bits(&expected), "{set:?} {measure:?} dim {dim}");
                let found = compare(kernel, measure, &query, &halves, &list);
                assert_eq!(bits(&found), bits(&expected_half), "{set:?} {measure:?} half {dim}");
            }
        }
    }
}

fn bits(sums: &[f32]) -> Vec<u32> {
    sums.iter().map(|sum| sum.to_bits()).collect()
}

#[test]
fn a_list_of_any_length_is_answered_in_its_order() {
    let matrix: Vec<f32> = (0..20).flat_map(|row| [row as f32; PADDING]).collect();
    let query = [1.0; PADDING];
    for kernel in kernels() {
        for count in 0..20u32 {
            let list: Vec<RowId> = (0..count).map(|i| RowId((i * 7) % 20)).collect();
            let found = compare(kernel, Measure::Product, &query, &matrix, &list);
            let expected: Vec<f32> = list.iter().map(|row| row.0 as f32 * 16.0).collect();
            assert_eq!(found, expected, "{:?}", kernel.set());
        }
    }
}

#[test]
fn additions_are_not_fused_with_multiplications() {
    // 1 + 2^-12 squared needs 25 bits; a fused multiply-add would keep the last one.
    let a = 1.0 + f32::powi(2.0, -12);
    let mut query = [0.0; 64];
    let mut row = [0.0; 64];
    (query[0], row[0]) = (1.0, -1.0 - f32::powi(2.0, -11));
    (query[32], row[32]) = (a, a);
    for kernel in kernels() {
        let found = compare(kernel, Measure::Product, &query, &row, &[RowId(0)]);
        assert_eq!(found, [0.0], "{:?}", kernel.set());
    }
}

#[test]
fn halves_are_widened_exactly_and_rounded_to_nearest_even() {
    for half in 0..=0xFFFFu16 {
        let magnitude = half & 0x7FFF;
        if magnitude >= 0x7C00 {
            assert!(half_to_f32(half).is_finite());
            continue;
        }
        let (exponent, fraction) = (i32::from(magnitude >> 10), f64::from(magnitude & 0x3FF));
        let exact = match exponent {
            0 => fraction * 2f64.powi(-24),
            _ => (1.0 + fraction / 1024.0) * 2f64.powi(exponent - 15),
        };
        let value = half_to_f32(half);
        assert_eq!(f64::from(value.abs()), exact, "{half:#x}");
        assert_eq!(value.is_sign_negative(), half & 0x8000 != 0, "{half:#x}");
        assert_eq!(half_from_f32(value), Some(half), "{half:#x}");
        let next = f64::from(half_to_f32(magnitude + 1));
        let middle = ((exact + next) / 2.0) as f32;
        if magnitude + 1 < 0x7C00 {
            let even = magnitude + (magnitude & 1);
            assert_eq!(half_from_f32(middle), Some(even), "tie above {magnitude:#x}");
            let above = f32::from_bits(middle.to_bits() + 1);
            assert_eq!(half_from_f32(above), Some(magnitude + 1), "above {magnitude:#x}");
        }
    }
    for beyond in [65_520.0, -65_520.0, f32::INFINITY, f32::NAN] {
        assert_eq!(half_from_f32(beyond), None, "{beyond}");
    }
    assert_eq!(half_from_f32(65_519.0), Some(0x7BFF));
}

#[test]
fn an_unknown_instruction_set_is_refused_with_those_there_are() {
    let kernel: Kernel = "scalar".parse().expect("every processor has it");
    assert_eq!(kernel.set(), InstructionSet::Scalar);
    let error = "mmx".parse::<Kernel>().expect_err("not a set");
    assert!(error.message().contains("scalar") && error.message().contains("\"mmx\""));
}
