//! k-means, the same for any number of threads and any instruction set: `train` (a sample of rows →
//! `Centroids`), and the rows of each centroid (`members`). Called by `lists::build`.
//!
//! Which centroid a row belongs to is decided by the kernel's sums and ties by position; means are summed in f64
//! in row order. A few rounds on a sample are enough: the partition only has to put near rows together.

use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::ids::RowId;
use crate::kernel::{Comparison, Kernel, Measure, padded};
use crate::metric::Metric;
use crate::parallel::Pool;
use crate::rng::Rng;
use crate::vector::originals::VectorRows;

const SEED: u64 = 0x6365_6C6C;
const ROUNDS: usize = 8;
/// Rows of the sample for each centroid.
const SAMPLE_ROWS: usize = 64;
/// A bound for memory: 100 MB at 384 elements.
const SAMPLE_ROWS_MAX: usize = 65_536;
/// Rows that a thread takes at a time.
const CHUNK_ROWS: usize = 128;

/// The rows of a field as they are clustered: for cosine of length one.
#[derive(Debug, Clone, Copy)]
pub(super) struct Points<'a> {
    pub(super) rows: &'a VectorRows<'a>,
    pub(super) kernel: Kernel,
}

impl Points<'_> {
    /// Elements of a point with padding.
    pub(super) fn stride(&self) -> usize {
        padded(self.rows.dim())
    }

    /// Writes a row to `out`, which has `stride` places, the last of them zero.
    pub(super) fn read(&self, row: RowId, out: &mut [f32]) {
        self.rows.widen(row, &mut out[..self.rows.dim()]);
        match self.rows.metric() {
            Metric::Cosine => {
                let inverse = self.rows.inv_norms()[row.index()];
                out.iter_mut().for_each(|value| *value *= inverse);
            }
            Metric::Dot | Metric::L2 => {}
        }
    }
}

/// Centroids, padded like rows.
#[derive(Debug, Clone)]
pub(super) struct Centroids {
    pub(super) stride: usize,
    pub(super) values: Vec<f32>,
}

impl Centroids {
    pub(super) fn count(&self) -> usize {
        self.values.len() / self.stride
    }

    pub(super) fn get(&self, index: usize) -> &[f32] {
        &self.values[index * self.stride..][..self.stride]
    }

    /// The mean of `rows`, in f64 and their order.
    pub(super) fn push_mean(&mut self, points: &Points<'_>, rows: &[RowId]) {
        let (mut sums, mut point) = (vec![0.0f64; self.stride], vec![0.0; self.stride]);
        for &row in rows {
            points.read(row, &mut point);
            sums.iter_mut().zip(&point).for_each(|(sum, value)| *sum += f64::from(*value));
        }
        self.values.extend(sums.iter().map(|sum| (sum / rows.len() as f64) as f32));
    }

    /// The position of the nearest centroid of each of `rows`, in order.
    ///
    /// # Errors
    /// `Cancelled`.
    pub(super) fn nearest(
        &self,
        points: &Points<'_>,
        rows: &[RowId],
        pool: &Pool,
        go_on: GoOn<'_>,
    ) -> Result<Vec<u32>> {
        let all: Vec<RowId> = (0..self.count() as u32).map(RowId).collect();
        let half = |index| squared(self.get(index)) / 2.0;
        let halves: Vec<f32> = (0..self.count()).map(|index| half(index) as f32).collect();
        let mut nearest = vec![0; rows.len()];
        let scratch = || (vec![0.0; self.stride], vec![0.0; all.len()]);
        pool.for_each_chunk(&mut nearest, CHUNK_ROWS, scratch, |(point, out), offset, chunk| {
            if !go_on() {
                return;
            }
            for (place, &row) in chunk.iter_mut().zip(&rows[offset..]) {
                points.read(row, point);
                let (query, matrix, measure) = (&point[..], &self.values[..], Measure::Product);
                points.kernel.run(Comparison { measure, query, matrix, rows: &all, out });
                *place = farthest_ahead(out, &halves);
            }
        });
        cancel::check(go_on)?;
        Ok(nearest)
    }
}

/// The first position where product − half is greatest: ‖x − c‖² is least there.
fn farthest_ahead(products: &[f32], halves: &[f32]) -> u32 {
    let (mut best, mut most) = (0, f32::NEG_INFINITY);
    for (index, (product, half)) in products.iter().zip(halves).enumerate() {
        if product - half > most {
            (best, most) = (index as u32, product - half);
        }
    }
    best
}

fn squared(values: &[f32]) -> f64 {
    values.iter().map(|&value| f64::from(value) * f64::from(value)).sum()
}

/// At most `count` centroids of the rows `live`, of which there is one or more.
///
/// # Errors
/// `Cancelled`.
pub(super) fn train(
    points: &Points<'_>,
    live: &[RowId],
    count: usize,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Centroids> {
    let sample = sample(live, (count * SAMPLE_ROWS).min(SAMPLE_ROWS_MAX));
    let stride = points.stride();
    let mut centroids = Centroids { stride, values: Vec::with_capacity(count * stride) };
    // The sample is in random order, so its first rows are as good as any to start from.
    sample.iter().take(count).for_each(|row| centroids.push_mean(points, &[*row]));
    for _ in 0..ROUNDS {
        let nearest = centroids.nearest(points, &sample, pool, go_on)?;
        let mut next = Centroids { stride, values: Vec::with_capacity(centroids.values.len()) };
        for (index, members) in members(&sample, &nearest, centroids.count()).iter().enumerate() {
            if members.is_empty() {
                next.values.extend_from_slice(centroids.get(index));
            } else {
                next.push_mean(points, members);
            }
        }
        centroids = next;
    }
    Ok(centroids)
}

/// The rows of each of `count` groups, in order.
pub(super) fn members(rows: &[RowId], group_of: &[u32], count: usize) -> Vec<Vec<RowId>> {
    let mut members = vec![Vec::new(); count];
    for (&row, &group) in rows.iter().zip(group_of) {
        members[group as usize].push(row);
    }
    members
}

/// `count` different rows in random order, or all of them.
fn sample(live: &[RowId], count: usize) -> Vec<RowId> {
    let (mut rows, mut rng) = (live.to_vec(), Rng::new(SEED));
    let count = count.min(rows.len());
    for place in 0..count {
        let other = place as u64 + rng.below((rows.len() - place) as u64);
        rows.swap(place, other as usize);
    }
    rows.truncate(count);
    rows
}
