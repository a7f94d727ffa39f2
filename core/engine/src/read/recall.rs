//! Recall: the share of the true nearest points that a search finds. Entry: `measure` (view, queries,
//! parameters → `RecallReport`); `sample` picks queries from the stored vectors. Called by `recall` of Python
//! and `wasm`, and by the demo commands.
//!
//! Recall is measured, never assumed: the same queries run with the given parameters, and again exactly. A found
//! point counts if it is no farther than the k-th true one, so the order of ties does not change the recall.

use nearfield_segment::cancel::{GoOn, never_cancelled};
use nearfield_segment::filter::Filter;
use nearfield_segment::format::Reads;
use nearfield_segment::search::{Hit, SearchParams, SearchStats};
use nearfield_segment::{Kernel, Pool, Result, Rng, RowId, RowSet};

use crate::read::view::View;

type Answer = (Vec<Hit>, SearchStats);

/// Recall over some queries, with a 95 % confidence interval.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct RecallReport {
    /// Mean recall@k over the queries.
    pub recall: f64,
    /// Lower end of the interval.
    pub low: f64,
    /// Upper end of the interval.
    pub high: f64,
    /// Number of queries.
    pub queries: usize,
    /// Neighbours per query.
    pub k: usize,
}

/// Searches for each row of `queries` twice, with `params` and exactly, and compares. O(queries × rows). `go_on` is asked
/// about twice a second, as long as eight exact queries take no longer.
///
/// # Errors
/// As for a search; `Cancelled` once `go_on` says no.
pub fn measure(
    view: &View,
    params: SearchParams<'_>,
    queries: &[f32],
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<RecallReport> {
    let asked = view.prepare(SearchParams { exact: false, ..params }, kernel)?;
    let exact = view.prepare(SearchParams { exact: true, ..params }, kernel)?;
    let spec = &view.schema.vectors[asked.field()];
    let dim = spec.dim as usize;
    // All of them first, so that an error names the row of the caller.
    for (row, vector) in queries.chunks_exact(dim).enumerate() {
        spec.check_query(vector, row)?;
    }
    let mut shares: Vec<f64> = Vec::new();
    for some in queries.chunks(view.exact_queries_at_once(dim) * pool.threads() * dim) {
        let found = view.search_many(&asked, some, pool, go_on)?;
        let truth = view.search_many(&exact, some, pool, go_on)?;
        let share = |((found, _), (truth, _)): (&Answer, &Answer)| {
            let farthest = truth.last()?.distance;
            let hits = found.iter().filter(|hit| hit.distance <= farthest).count();
            Some(hits as f64 / truth.len() as f64)
        };
        shares.extend(found.iter().zip(&truth).filter_map(share));
    }
    Ok(interval(&shares, params.k))
}

/// Vectors of `count` live points drawn without replacement, for a probe without queries of its own; those that
/// cannot be a query, like zero under cosine, are passed over. A point's own vector is an easy query: real
/// queries give a more honest figure.
///
/// # Errors
/// `NotFound` for an unknown field, `InvalidInput` for a bad filter; `NotResident` after all vectors were requested;
/// `Corrupt`.
pub fn sample(
    view: &View,
    field: &str,
    filter: Option<&Filter>,
    count: usize,
    seed: u64,
) -> Result<Vec<f32>> {
    let sets: Vec<RowSet> = filter
        .map_or_else(|| Ok(view.live_rows()), |filter| view.matching(filter, &never_cancelled))?;
    let mut places: Vec<(usize, RowId)> = Vec::new();
    for (segment, rows) in sets.iter().enumerate() {
        places.extend(rows.iter().map(|row| (segment, row)));
    }
    let mut rng = Rng::new(seed);
    let mut vectors = Vec::new();
    let (mut drawn, mut reads) = (0, Reads::default());
    for taken in 0..places.len() {
        if drawn == count {
            break;
        }
        let other = taken + rng.below((places.len() - taken) as u64) as usize;
        places.swap(taken, other);
        let (segment, row) = places[taken];
        let field = view.segments[segment].segment.field(field)?;
        let start = vectors.len();
        vectors.resize(start + field.spec().dim as usize, 0.0);
        let read = reads.note(field.decode(row, &mut vectors[start..]))?;
        if read.is_none() || field.spec().check_query(&vectors[start..], drawn).is_ok() {
            drawn += 1;
        } else {
            vectors.truncate(start);
        }
    }
    reads.end()?;
    Ok(vectors)
}

/// Normal interval over queries (the hits of one query are not independent); where all queries agree,
/// Wilson's, which does not collapse to a point.
fn interval(shares: &[f64], k: usize) -> RecallReport {
    const Z: f64 = 1.96;
    let n = shares.len() as f64;
    if shares.is_empty() {
        return RecallReport { recall: 1.0, low: 0.0, high: 1.0, queries: 0, k };
    }
    let mean = shares.iter().sum::<f64>() / n;
    let variance =
        shares.iter().map(|share| (share - mean).powi(2)).sum::<f64>() / (n - 1.0).max(1.0);
    let (low, high) = if variance > 0.0 {
        let half = Z * (variance / n).sqrt();
        (mean - half, mean + half)
    } else {
        let centre = (mean + Z * Z / (2.0 * n)) / (1.0 + Z * Z / n);
        let half = Z * (mean * (1.0 - mean) / n + Z * Z / (4.0 * n * n)).sqrt() / (1.0 + Z * Z / n);
        (centre - half, centre + half)
    };
    RecallReport {
        recall: mean,
        low: low.clamp(0.0, mean),
        high: high.clamp(mean, 1.0),
        queries: shares.len(),
        k,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn intervals_contain_the_mean_and_stay_within_0_and_1() {
        for shares in [vec![1.0; 50], vec![0.0; 3], vec![0.9, 1.0, 0.8, 1.0], vec![0.5]] {
            let report = interval(&shares, 10);
            assert!(report.low <= report.recall && report.recall <= report.high, "{report:?}");
            assert!(report.low >= 0.0 && report.high <= 1.0, "{report:?}");
            assert!(report.high - report.low > 0.0, "{report:?}: fifty queries prove no certainty");
        }
    }

    #[test]
    fn more_queries_narrow_the_interval() {
        let few = interval(&[0.8, 1.0, 0.9, 1.0], 10);
        let many = interval(&[0.8, 1.0, 0.9, 1.0].repeat(25), 10);
        assert!(many.high - many.low < (few.high - few.low) / 3.0);
    }
}
