//! Chooses the entry rows of a graph, from which every search starts. `move_far_apart_to_front` and `Probe` are used
//! by `GraphBuilder`.
//!
//! A few that lie far apart are chosen before the first row is inserted. They do not suffice where rows lie in many
//! clusters: once a cluster has more rows than a search keeps candidates, its lists name rows of the cluster alone, and
//! a search that starts in another cluster never leaves it. So the builder searches now and then for a sample of the
//! rows it has inserted, and a row whose region the search misses becomes an entry. Data without such clusters gets
//! no further entries.

use crate::ids::RowId;
use crate::parallel::Pool;
use crate::vector::index::Candidate;
use crate::vector::index::graph::adjacency::Adjacency;
use crate::vector::index::graph::search::{Scratch, walk_expanded};
use crate::vector::scorer::{Scorer, Space};

/// Rows the entries are chosen from.
const SAMPLE_MAX: usize = 4096;

/// Rows far apart that every search starts from: each costs one distance a search.
const FAR_APART_MAX: usize = 16;

/// Of how many rows one is searched for, at least.
const PROBED_EVERY: usize = 64;

/// Most rows that one probe searches for: it is a part of one step of a build.
const PROBES_MAX: usize = 16_384;

/// Most entries of a graph that probes may lead to: a search scores them all.
const ENTRIES_MAX: usize = 2048;

/// Moves the entries of all searches to the front and counts them: the row closest to the mean, then
/// always the row farthest from the entries so far (Gonzalez, 1985), so that no far cluster is
/// without one. All are from a sample, the first rows of `order`, and differ from each other.
pub(super) fn move_far_apart_to_front(space: &impl Space, order: &mut [RowId]) -> usize {
    let len = order.len().min(SAMPLE_MAX);
    let sample = &mut order[..len];
    let mut distances = vec![0.0; len];
    space.mean_scorer(sample).score_many(sample, &mut distances);
    let middle = (0..len).min_by_key(|&at| Candidate::new(distances[at], sample[at]));
    let Some(middle) = middle else { return 0 };
    sample.swap(0, middle);
    let mut nearest = vec![f32::INFINITY; len];
    for count in 1..FAR_APART_MAX.min(len) {
        space.scorer(sample[count - 1]).score_many(sample, &mut distances);
        for (nearest, &distance) in nearest.iter_mut().zip(&distances) {
            *nearest = nearest.min(distance);
        }
        let farthest = (count..len).max_by_key(|&at| Candidate::new(nearest[at], sample[at]));
        let farthest = farthest.expect("the sample is longer");
        if nearest[farthest] <= 0.0 {
            return count;
        }
        sample.swap(count, farthest);
        nearest.swap(count, farthest);
    }
    FAR_APART_MAX.min(len)
}

/// A search for rows by their own vectors.
#[derive(Debug, Clone, Copy)]
pub(super) struct Probe<'a, S> {
    pub(super) adjacency: Adjacency<'a>,
    pub(super) entries: &'a [u32],
    /// Candidates that it keeps.
    pub(super) ef: usize,
    pub(super) space: &'a S,
}

impl<S: Space> Probe<'_, S> {
    /// Rows among `rows` whose region the search misses, one a region. It searches for one of every `PROBED_EVERY`
    /// rows or of more, from the `offset`-th on.
    pub(super) fn missed(&self, rows: &[RowId], offset: usize, pool: &Pool) -> Vec<RowId> {
        let every = PROBED_EVERY.max(rows.len().div_ceil(PROBES_MAX));
        let sample = rows.iter().skip(offset % every).step_by(every);
        let mut probes: Vec<(RowId, Option<f32>)> = sample.map(|&row| (row, None)).collect();
        pool.for_each_chunk(&mut probes, 8, Scratch::default, |scratch, _, chunk| {
            for (row, reached) in chunk {
                *reached = self.miss(*row, scratch);
            }
        });
        let room = ENTRIES_MAX.saturating_sub(self.entries.len());
        let (mut regions, mut distances) = (Vec::new(), Vec::new());
        for (row, reached) in probes.iter().filter_map(|&(row, reached)| Some((row, reached?))) {
            distances.resize(regions.len(), 0.0);
            self.space.scorer(row).score_many(&regions, &mut distances);
            if regions.len() < room && distances.iter().all(|&distance| distance >= reached) {
                regions.push(row);
            }
        }
        regions
    }

    /// The distance of the closest row found, if it is farther than half of the row's neighbours.
    fn miss(&self, row: RowId, scratch: &mut Scratch) -> Option<f32> {
        let scorer = self.space.scorer(row);
        let neighbours: Vec<RowId> = self.adjacency.neighbours(row).collect();
        let mut distances = vec![0.0; neighbours.len()];
        scorer.score_many(&neighbours, &mut distances);
        distances.sort_unstable_by(f32::total_cmp);
        let median = *distances.get(distances.len() / 2)?;
        let found = walk_expanded(self.adjacency, self.entries, &scorer, self.ef, scratch);
        let reached = found.first().map_or(f32::INFINITY, |closest| closest.distance());
        (reached > median).then_some(reached)
    }
}
