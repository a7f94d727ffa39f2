//! Vectors for tests: clustered, not whole numbers, and with the oddities real data has.
//!
//! Every set is a function of its seed. Rows come from the same generator that users get
//! (`nearfield_server::sample`); what is added here is only of interest to tests.

use nearfield_segment::{Rng, SQUARED_NORM_MAX};
use nearfield_server::sample::Clusters;

/// What is odd about a set of vectors.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Oddity {
    /// Nothing: clusters with a little overlap.
    None,
    /// A third of the rows are exact copies of another row: ties in every result.
    Duplicates,
    /// A tenth of the rows are the zero vector: cosine has to give them a similarity.
    Zeros,
    /// Norms down to 1e-18: squares leave the range of normal f32.
    TinyNorms,
    /// Norms up to just below the largest allowed: sums come near to overflow.
    HugeNorms,
    /// Every row is the same.
    AllEqual,
}

impl Oddity {
    /// All of them, for tests that loop.
    pub const ALL: [Oddity; 6] = [
        Oddity::None,
        Oddity::Duplicates,
        Oddity::Zeros,
        Oddity::TinyNorms,
        Oddity::HugeNorms,
        Oddity::AllEqual,
    ];
}

/// `rows` × `dim` vectors, row-major, around `√rows` centres.
///
/// # Panics
/// If `dim` is 0.
pub fn vectors(seed: u64, rows: usize, dim: usize, oddity: Oddity) -> Vec<f32> {
    let centres = rows.isqrt().max(1);
    let mut vectors = Clusters::new(seed, dim, centres, 0.3).take_rows(rows);
    let mut rng = Rng::new(!seed);
    match oddity {
        Oddity::None => {}
        Oddity::Duplicates => copy_some(&mut vectors, dim, &mut rng),
        Oddity::Zeros => each_row(&mut vectors, dim, |row| {
            if rng.below(10) == 0 {
                row.fill(0.0);
            }
        }),
        Oddity::TinyNorms => each_row(&mut vectors, dim, |row| {
            rescale(row, 1e-18 * (1.0 + rng.unit_f32() * 1000.0));
        }),
        Oddity::HugeNorms => each_row(&mut vectors, dim, |row| {
            rescale(row, (SQUARED_NORM_MAX as f32).sqrt() * (0.1 + rng.unit_f32() * 0.8));
        }),
        Oddity::AllEqual => {
            if let Some((first, rest)) = vectors.split_at_mut_checked(dim) {
                each_row(rest, dim, |row| row.copy_from_slice(first));
            }
        }
    }
    vectors
}

fn each_row(vectors: &mut [f32], dim: usize, change: impl FnMut(&mut [f32])) {
    vectors.chunks_exact_mut(dim).for_each(change);
}

/// Overwrites about a third of the rows with other rows.
fn copy_some(vectors: &mut [f32], dim: usize, rng: &mut Rng) {
    let rows = vectors.len() / dim;
    for target in 0..rows {
        if rng.below(3) == 0 {
            let source = rng.below(rows as u64) as usize;
            vectors.copy_within(source * dim..(source + 1) * dim, target * dim);
        }
    }
}

/// Stretches `row` to the Euclidean norm `norm`; a zero row stays.
fn rescale(row: &mut [f32], norm: f32) {
    let squared: f64 = row.iter().map(|&element| f64::from(element).powi(2)).sum();
    if squared > 0.0 {
        let factor = f64::from(norm) / squared.sqrt();
        row.iter_mut().for_each(|element| *element = (f64::from(*element) * factor) as f32);
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    const ROWS: usize = 300;
    const DIM: usize = 19;

    fn bits(row: &[f32]) -> Vec<u32> {
        row.iter().map(|element| element.to_bits()).collect()
    }

    fn squared_norms(vectors: &[f32]) -> Vec<f64> {
        let squared = |row: &[f32]| row.iter().map(|&x| f64::from(x).powi(2)).sum();
        vectors.chunks_exact(DIM).map(squared).collect()
    }

    #[test]
    fn each_set_is_finite_of_the_right_size_and_the_same_for_the_same_seed() {
        for oddity in Oddity::ALL {
            let set = vectors(1, ROWS, DIM, oddity);
            assert_eq!(set.len(), ROWS * DIM, "{oddity:?}");
            assert!(set.iter().all(|element| element.is_finite()), "{oddity:?}");
            assert_eq!(bits(&set), bits(&vectors(1, ROWS, DIM, oddity)), "{oddity:?}");
            assert_ne!(bits(&set), bits(&vectors(2, ROWS, DIM, oddity)), "{oddity:?}");
            assert!(vectors(1, 0, DIM, oddity).is_empty());
        }
    }

    #[test]
    fn each_set_has_its_oddity() {
        let distinct = |oddity| {
            let set = vectors(5, ROWS, DIM, oddity);
            set.chunks_exact(DIM).map(bits).collect::<HashSet<_>>().len()
        };
        assert_eq!(distinct(Oddity::None), ROWS);
        assert!((100..280).contains(&distinct(Oddity::Duplicates)));
        assert_eq!(distinct(Oddity::AllEqual), 1);

        let zeros = squared_norms(&vectors(5, ROWS, DIM, Oddity::Zeros));
        assert!((10..60).contains(&zeros.iter().filter(|&&norm| norm == 0.0).count()));
        let tiny = squared_norms(&vectors(5, ROWS, DIM, Oddity::TinyNorms));
        assert!(tiny.iter().all(|&norm| norm > 0.0 && norm < 1e-29));
        let huge = squared_norms(&vectors(5, ROWS, DIM, Oddity::HugeNorms));
        let max = f64::from(SQUARED_NORM_MAX as f32);
        assert!(huge.iter().all(|&norm| norm > max / 200.0 && norm < max));
    }
}
