//! Measures recall on clusters that lie far apart; a program, run by hand: `cargo run --release -p
//! nearfield-segment --example far_clusters -- [ROWS] [CLUSTERS] [DIM] [WIDTH] [FILE]` (100,000 rows in 100
//! clusters of 128 elements without arguments).
//!
//! Cluster centres are uniform in a cube of width 1; a row is its centre plus uniform noise of WIDTH (.5) in every
//! element, and lies nearer to the rows of its cluster than to any other row. With FILE, rows and queries are also
//! written there as f32, for other libraries.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement for people")]

use std::time::Instant;

use nearfield_segment::vector::graph::{
    EF_DEFAULT, Graph, GraphBuilder, GraphParams, Scratch, SearchBudget,
};
use nearfield_segment::vector::{
    EncodedRows, Geometry, Lift, OriginalCodec, RowScorer, SearchStats, VectorRows, flat,
};
use nearfield_segment::{
    Allowed, Encoding, Error, ErrorKind, Kernel, Metric, Pool, Result, Rng, RowId, VectorSpec,
    cancel,
};

const QUERIES: usize = 500;
const K: usize = 10;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual: usize| {
        arguments.get(at).map_or(usual, |text| text.parse().unwrap_or(usual))
    };
    let (count, clusters, dim) = (number(0, 100_000), number(1, 100), number(2, 128));
    let width = arguments.get(3).and_then(|text| text.parse().ok()).unwrap_or(0.5);
    let data = Data::new(clusters, dim, width);
    let mut rng = Rng::new(2);
    let all: Vec<Vec<f32>> = (0..count + QUERIES).map(|_| data.row(&mut rng)).collect();
    let (rows, queries) = all.split_at(count);
    if let Some(file) = arguments.get(4) {
        let bytes: Vec<u8> = all.iter().flatten().flat_map(|value| value.to_le_bytes()).collect();
        std::fs::write(file, bytes)
            .map_err(|error| Error::new(ErrorKind::Io, error.to_string()))?;
    }
    let spec = VectorSpec { dim: dim as u32, metric: Metric::L2, store: Encoding::F32 };
    let mut encoded = EncodedRows::with_capacity(OriginalCodec::new(&spec), count);
    rows.iter().try_for_each(|row| encoded.push(row))?;
    let rows = encoded.rows();
    let (kernel, pool, start) = (Kernel::detect(), Pool::new(2), Instant::now());
    let lift = Lift::new(&rows, &pool);
    let space = Geometry::new(rows, kernel, &lift);
    let mut builder = GraphBuilder::new(&space, GraphParams::default(), 1, None, &pool);
    while {
        let progress = builder.step(&space, &pool);
        progress.done < progress.total
    } {}
    let section = builder.finish();
    // The fourth number of the header (docs of `vector::graph`).
    let entries = section.as_chunks().0.get(3).map_or(0, |bytes| u32::from_le_bytes(*bytes));
    let graph = Graph::open(section.into(), count as u32)?;
    let built = start.elapsed();
    for ef in [EF_DEFAULT, 4 * EF_DEFAULT] {
        measure(&rows, &graph, queries, kernel, ef)?;
    }
    println!("built in {:.1} s, {entries} entries", built.as_secs_f64());
    Ok(())
}

fn measure(
    rows: &VectorRows<'_>,
    graph: &Graph,
    queries: &[Vec<f32>],
    kernel: Kernel,
    ef: usize,
) -> Result<()> {
    let (mut scratch, mut stats) = (Scratch::default(), SearchStats::default());
    let (mut found, mut unused, mut searching) = (0, SearchStats::default(), 0.0);
    for query in queries {
        let scorer = RowScorer::new(*rows, kernel, query);
        let wanted = flat::Wanted::nearest(K);
        let order = |a: RowId, b: RowId| a.cmp(&b);
        let (all, always) = (Allowed::All, &cancel::never_cancelled);
        let exact = flat::search(&scorer, rows.len(), all, wanted, order, &mut unused, always)?;
        let start = Instant::now();
        let budget = SearchBudget::unbounded(ef);
        let close = graph.search(&scorer, all, budget, &mut scratch, &mut stats, always)?;
        searching += start.elapsed().as_secs_f64();
        let limit = exact.last().map_or(0, |c| c.distance_bits());
        let close = close.unwrap_or_default();
        found += close.iter().take(K).filter(|c| c.distance_bits() <= limit).count();
    }
    println!(
        "ef {ef}: recall {:.4}, {} rows scored a query, {:.1} us",
        found as f64 / (K * queries.len()) as f64,
        stats.scored / queries.len() as u64,
        searching / queries.len() as f64 * 1e6
    );
    Ok(())
}

/// Rows around centres.
struct Data {
    centres: Vec<Vec<f32>>,
    width: f32,
}

impl Data {
    fn new(clusters: usize, dim: usize, width: f32) -> Data {
        let mut rng = Rng::new(1);
        let mut points = |count: usize, len: usize| -> Vec<Vec<f32>> {
            (0..count).map(|_| (0..len).map(|_| rng.unit_f32() - 0.5).collect()).collect()
        };
        let centres = points(clusters, dim);
        Data { centres, width }
    }

    fn row(&self, rng: &mut Rng) -> Vec<f32> {
        let centre = &self.centres[rng.below(self.centres.len() as u64) as usize];
        centre.iter().map(|value| value + self.width * rng.unit_f32()).collect()
    }
}
