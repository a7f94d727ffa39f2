//! Finds rows with equal vectors: `equal_rows`, called by `GraphBuilder`, which makes one node of them (`duplicates`).
//! For l2 and dot these are rows of equal elements; for cosine rows of equal direction, up to what rounding makes of
//! two rows that differ in length alone.
//!
//! Rows are sorted by a key that equal rows share, then those of one key are compared with the first of them. Rounding
//! may give two equal directions different keys: their group is then found as two.

use crate::ids::{RowId, mix64};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::rng::Rng;

use super::codec::norm;
use super::rows::VectorRows;

/// Smaller groups stay ordinary rows: the candidate list of a search has room for them.
const GROUP_MIN: usize = 8;

/// Most by which elements of equal directions, of length one, differ: each was rounded to f32.
const DIRECTION_ERROR: f64 = 1.0 / (1 << 22) as f64;

/// The key of a direction is its place on some axes, in steps that are far wider than
/// [`DIRECTION_ERROR`] and so narrow that unequal directions seldom share all places.
const AXES: usize = 3;
const STEP: f64 = 1.0 / (1 << 16) as f64;

/// Pairs of the first row of a group of equal rows and another of the group, for each group of at
/// least [`GROUP_MIN`]. O(rows × dim).
pub(super) fn equal_rows(rows: &VectorRows<'_>, pool: &Pool) -> Vec<(RowId, RowId)> {
    let form = Form::new(rows);
    let mut keys = vec![(0u64, RowId(0)); rows.len() as usize];
    pool.for_each_chunk(&mut keys, 1024, Vec::new, |elements, offset, chunk| {
        for (index, place) in chunk.iter_mut().enumerate() {
            let row = RowId((offset + index) as u32);
            form.read(row, elements);
            *place = (form.key(elements), row);
        }
    });
    keys.sort_unstable();
    let (mut first, mut other, mut equals) = (Vec::new(), Vec::new(), Vec::new());
    let mut pairs = Vec::new();
    for alike in keys.chunk_by(|a, b| a.0 == b.0).filter(|alike| alike.len() >= GROUP_MIN) {
        let representative = alike[0].1;
        form.read(representative, &mut first);
        equals.clear();
        for &(_, row) in &alike[1..] {
            form.read(row, &mut other);
            if form.are_equal(&first, &other) {
                equals.push((representative, row));
            }
        }
        if equals.len() + 1 >= GROUP_MIN {
            pairs.append(&mut equals);
        }
    }
    pairs
}

/// What is compared of a row: its elements, or its direction.
struct Form<'a> {
    rows: &'a VectorRows<'a>,
    /// For directions: as many elements an axis as a row has.
    axes: Vec<f64>,
}

impl<'a> Form<'a> {
    fn new(rows: &'a VectorRows<'a>) -> Self {
        let mut rng = Rng::new(1);
        let axes = match rows.metric() {
            Metric::Cosine => {
                (0..AXES * rows.dim()).map(|_| f64::from(rng.unit_f32()) - 0.5).collect()
            }
            Metric::Dot | Metric::L2 => Vec::new(),
        };
        Form { rows, axes }
    }

    /// The elements of a row, or those of its direction. Never −0.0.
    fn read(&self, row: RowId, elements: &mut Vec<f64>) {
        let mut values = vec![0.0; self.rows.dim()];
        self.rows.widen(row, &mut values);
        let length = match self.rows.metric() {
            // Too short for an inverse: every cosine is 0, like that of zero.
            Metric::Cosine if self.rows.inv_norms()[row.index()] == 0.0 => f64::INFINITY,
            Metric::Cosine => norm(&values),
            Metric::Dot | Metric::L2 => 1.0,
        };
        elements.clear();
        elements.extend(values.iter().map(|&value| f64::from(value) / length + 0.0));
    }

    fn key(&self, elements: &[f64]) -> u64 {
        let add = |key: u64, word: u64| mix64(key ^ word).rotate_left(1);
        if self.rows.metric() != Metric::Cosine {
            return elements.iter().map(|element| element.to_bits()).fold(0, add);
        }
        let places = self.axes.chunks_exact(elements.len()).map(|axis| {
            let place: f64 = axis.iter().zip(elements).map(|(a, b)| a * b).sum();
            (place / STEP).round() as i64 as u64
        });
        places.fold(0, add)
    }

    fn are_equal(&self, a: &[f64], b: &[f64]) -> bool {
        let most = if self.rows.metric() == Metric::Cosine { DIRECTION_ERROR } else { 0.0 };
        a.iter().zip(b).all(|(a, b)| (a - b).abs() <= most)
    }
}
