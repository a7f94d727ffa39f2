//! Sample data for demos: `Digits`, a small real set, and `Clusters`, a generator of clustered vectors of any size.
//! Used by `nearfield demo`.
//!
//! *Digits*: 1,797 images of handwritten digits, 8 × 8 pixels of 0..=16, with the digit each shows
//! (origin and licence: `data/README.md`). *Clusters*: points around centres; the same seed gives the
//! same bits on every machine, however the rows are asked for, as only sums and products are used.
//! Nothing here reads a file or the clock.

use nearfield_segment::Rng;

const DIGITS_NPY: &[u8] = include_bytes!("../data/digits.npy");
const LABELS_NPY: &[u8] = include_bytes!("../data/digit-labels.npy");

/// Images in the shipped sample.
pub const DIGIT_COUNT: usize = 1797;
/// Pixels of an image: 8 rows of 8, row by row.
pub const DIGIT_DIM: usize = 64;

/// The shipped sample: images and the digit each shows.
#[derive(Debug, Clone)]
pub struct Digits {
    /// Pixels, row-major: `DIGIT_COUNT` × `DIGIT_DIM`, each a whole number in 0..=16.
    pub vectors: Vec<f32>,
    /// The digit, 0..=9, of each image.
    pub labels: Vec<u8>,
}

impl Digits {
    /// Unpacks the sample that is part of the binary. About 460 KB.
    pub fn load() -> Self {
        let pixels = npy_body(DIGITS_NPY, DIGIT_COUNT * DIGIT_DIM);
        Digits {
            vectors: pixels.iter().map(|&pixel| f32::from(pixel)).collect(),
            labels: npy_body(LABELS_NPY, DIGIT_COUNT).to_vec(),
        }
    }

    /// The pixels of one image.
    ///
    /// # Panics
    /// If `index` is not below `DIGIT_COUNT`.
    pub fn image(&self, index: usize) -> &[f32] {
        &self.vectors[index * DIGIT_DIM..][..DIGIT_DIM]
    }

    /// An image as 8 lines of text, darker characters for darker pixels.
    ///
    /// # Panics
    /// If `index` is not below `DIGIT_COUNT`.
    pub fn picture(&self, index: usize) -> String {
        const SHADES: &[u8; 17] = b"  ..::--==++**##@";
        let mut text = String::with_capacity(9 * 8);
        for line in self.image(index).chunks_exact(8) {
            text.extend(line.iter().map(|&pixel| char::from(SHADES[pixel as usize])));
            text.push('\n');
        }
        text
    }
}

/// The elements of a version 1 `.npy` file of bytes. Ours, compiled in: wrong bytes are a broken build.
fn npy_body(file: &[u8], elements: usize) -> &[u8] {
    assert_eq!(&file[..8], b"\x93NUMPY\x01\x00", "the sample is a .npy file, version 1");
    let header_len = usize::from(u16::from_le_bytes([file[8], file[9]]));
    let body = &file[10 + header_len..];
    assert_eq!(body.len(), elements, "the sample has the size its constants say");
    body
}

/// Endless rows around random centres. Rows depend on the seed and their position only, not on how
/// many are asked for at a time; elements are not whole numbers.
#[derive(Debug, Clone)]
pub struct Clusters {
    rng: Rng,
    centres: Vec<f32>,
    dim: usize,
    spread: f32,
}

impl Clusters {
    /// `count` centres uniform in the cube [−1, 1)^`dim`; rows lie around them with standard
    /// deviation `spread` an element. 0.05 gives clusters far apart, 0.5 and more one cloud.
    ///
    /// # Panics
    /// If `dim` or `count` is 0.
    pub fn new(seed: u64, dim: usize, count: usize, spread: f32) -> Self {
        assert!(dim > 0 && count > 0, "{count} clusters of {dim} dimensions");
        let mut rng = Rng::new(seed);
        let centres = (0..count * dim).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
        Clusters { rng, centres, dim, spread }
    }

    /// The next `rows` rows, row-major. O(`rows` × dim).
    pub fn take_rows(&mut self, rows: usize) -> Vec<f32> {
        self.take_labelled(rows).0
    }

    /// Like [`take_rows`](Clusters::take_rows), with the number of the centre of each row.
    pub fn take_labelled(&mut self, rows: usize) -> (Vec<f32>, Vec<u32>) {
        let mut vectors = Vec::with_capacity(rows * self.dim);
        let mut labels = Vec::with_capacity(rows);
        let count = (self.centres.len() / self.dim) as u64;
        for _ in 0..rows {
            let centre = self.rng.below(count) as usize;
            labels.push(centre as u32);
            for element in &self.centres[centre * self.dim..][..self.dim] {
                vectors.push(element + self.spread * bell(&mut self.rng));
            }
        }
        (vectors, labels)
    }
}

/// A number of mean 0 and variance 1 with the shape of a bell, within ±3.47: the sum of four uniform
/// ones (Irwin–Hall). No logarithm or cosine, whose last bits differ between machines.
fn bell(rng: &mut Rng) -> f32 {
    /// 1 / √(4 × 1/12)
    const SCALE: f32 = 1.732_050_8;
    let sum = rng.unit_f32() + rng.unit_f32() + rng.unit_f32() + rng.unit_f32();
    (sum - 2.0) * SCALE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_digit_is_there_in_about_equal_number_and_in_range() {
        let digits = Digits::load();
        assert!(digits.vectors.iter().all(|pixel| (0.0..=16.0).contains(pixel)));
        for digit in 0..=9u8 {
            let count = digits.labels.iter().filter(|&&label| label == digit).count();
            assert!((170..=190).contains(&count), "{count} images of {digit}");
        }
        assert_eq!(digits.image(DIGIT_COUNT - 1).len(), DIGIT_DIM);
    }

    #[test]
    fn a_picture_shows_the_hole_of_a_zero() {
        let digits = Digits::load();
        let lines: Vec<String> = digits.picture(0).lines().map(String::from).collect();
        assert_eq!((digits.labels[0], lines.len()), (0, 8));
        let middle = lines[4].as_bytes();
        assert!(middle[2] != b' ' && middle[3] == b' ' && middle[5] != b' ', "{lines:#?}");
    }

    #[test]
    fn rows_do_not_depend_on_how_they_are_asked_for() {
        let whole = Clusters::new(7, 13, 5, 0.3).take_rows(50);
        let mut source = Clusters::new(7, 13, 5, 0.3);
        let parts = [source.take_rows(20), source.take_rows(0), source.take_rows(30)].concat();
        assert_eq!(whole, parts);
        assert_ne!(whole, Clusters::new(8, 13, 5, 0.3).take_rows(50));
    }

    #[test]
    fn rows_lie_around_their_centres_with_the_spread_asked_for() {
        let (dim, spread) = (16, 0.05);
        let mut source = Clusters::new(3, dim, 4, spread);
        let centres = source.centres.clone();
        let (vectors, labels) = source.take_labelled(2000);
        let mut squares = 0.0;
        for (row, label) in vectors.chunks_exact(dim).zip(&labels) {
            let centre = &centres[*label as usize * dim..][..dim];
            squares += row.iter().zip(centre).map(|(a, b)| f64::from(a - b).powi(2)).sum::<f64>();
        }
        let deviation = (squares / vectors.len() as f64).sqrt();
        assert!((0.049..0.051).contains(&deviation), "{deviation}");
        assert!((0..4).all(|label| labels.contains(&label)));
        assert!(vectors.iter().any(|element| element.fract() != 0.0));
    }
}
