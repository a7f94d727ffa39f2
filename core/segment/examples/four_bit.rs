//! How well four-bit codes rank the rows of a data set, and what a code costs: `cargo run --release -p
//! nearfield-segment --example four_bit -- FOLDER` with base.npy, query.npy and gt100.npy of the bench.
//!
//! Prints how far down the list by codes all of the true ten are, over 200 queries; nanoseconds a code, in order and in
//! random order; and recall@10 and microseconds a query of walks over one graph, by originals, and by codes with the
//! originals of the first 30.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a stopwatch for people")]

use std::fs;
use std::path::Path;
use std::time::Instant;

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::vector::graph::{Graph, GraphBuilder, GraphParams, Scratch, SearchBudget};
use nearfield_segment::vector::{
    Codec, EncodedRows, FourBitCodec, FourBitScorer, Geometry, Lift, OriginalCodec, RowScorer,
    Scorer, SearchStats,
};
use nearfield_segment::{Allowed, Encoding, Kernel, Metric, Pool, Rng, RowId, VectorSpec};

const QUERIES: usize = 200;
const PASSES: usize = 5;
/// Originals read at the end of a walk by codes.
const RERANKED: usize = 30;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args().nth(1).ok_or("expected a folder")?;
    let folder = Path::new(&folder);
    let meta = fs::read_to_string(folder.join("meta.json"))?;
    let metric = if meta.contains("\"cos") { Metric::Cosine } else { Metric::L2 };
    let (rows, dim) = matrix(&folder.join("base.npy"))?;
    let (queries, _) = matrix(&folder.join("query.npy"))?;
    let (truth, depth) = matrix(&folder.join("gt100.npy"))?;
    let started = Instant::now();
    let mean = mean(metric, &rows, dim);
    let codec = FourBitCodec::new(Kernel::detect(), metric, mean);
    let mut encoded = EncodedRows::with_capacity(codec.clone(), rows.len() / dim);
    for row in rows.chunks_exact(dim) {
        encoded.push(row)?;
    }
    let row_us = started.elapsed().as_secs_f64() * 1e6 / encoded.len() as f64;
    println!("{} rows × {dim}: {row_us:.2} µs to encode a row", encoded.len());
    let all: Vec<RowId> = (0..encoded.len() as u32).map(RowId).collect();
    let mut distances = vec![0.0; all.len()];
    let mut depths: Vec<usize> = Vec::new();
    let each = queries.chunks_exact(dim).zip(truth.chunks_exact(depth)).take(QUERIES);
    for (query, truth) in each {
        let query = codec.query(query);
        FourBitScorer::new(&encoded, &query).score_many(&all, &mut distances);
        let worst = truth[..10].iter().map(|row| distances[*row as usize]).fold(f32::MIN, f32::max);
        depths.push(distances.iter().filter(|distance| **distance <= worst).count());
    }
    depths.sort_unstable();
    let at = |share: usize| depths[depths.len() * share / 100];
    println!(
        "all of the true ten are among the first {} (p50) {} (p90) {} (p99)",
        at(50),
        at(90),
        at(99)
    );
    let query = codec.query(&queries[..dim]);
    let scorer = FourBitScorer::new(&encoded, &query);
    time("in order", &scorer, &all, &mut distances);
    let mut shuffled = all;
    let mut rng = Rng::new(1);
    for index in (1..shuffled.len()).rev() {
        shuffled.swap(index, rng.below(index as u64 + 1) as usize);
    }
    time("in random order", &scorer, &shuffled, &mut distances);
    let few: Vec<RowId> = shuffled.iter().map(|row| RowId(row.0 % 64)).collect();
    time("of 64 rows", &scorer, &few, &mut distances);
    let started = Instant::now();
    let made: usize = queries.chunks_exact(dim).map(|query| codec.query(query)).map(|_| 1).sum();
    println!("{:.2} µs to prepare a query", started.elapsed().as_secs_f64() * 1e6 / made as f64);
    walks(metric, (&rows, &queries, dim), (&truth, depth), &encoded)?;
    Ok(())
}

/// Compares walks by originals and by codes.
fn walks(
    metric: Metric,
    (rows, queries, dim): (&[f32], &[f32], usize),
    (truth, depth): (&[f32], usize),
    codes: &EncodedRows<FourBitCodec>,
) -> nearfield_segment::Result<()> {
    let spec = VectorSpec { dim: dim as u32, metric, store: Encoding::F32 };
    let mut originals = EncodedRows::with_capacity(OriginalCodec::new(&spec), codes.len());
    rows.chunks_exact(dim).try_for_each(|row| originals.push(row))?;
    let (originals, kernel, pool) = (originals.rows(), Kernel::detect(), Pool::new(2));
    let lift = Lift::new(&originals, &pool);
    let space = Geometry::new(originals, kernel, &lift);
    let mut builder = GraphBuilder::new(&space, GraphParams::default(), 1, None, &pool);
    while {
        let progress = builder.step(&space, &pool);
        progress.done < progress.total
    } {}
    let graph = Graph::open(builder.finish().into(), codes.len() as u32)?;
    let mut scratch = Scratch::default();
    println!("ef | by originals: recall, µs | by codes: recall, µs");
    for ef in [10, 16, 24, 32, 48, 64, 96, 128] {
        let mut line = format!("{ef}");
        for by_codes in [false, true] {
            let (mut found, mut best_us) = (0, f64::INFINITY);
            for _ in 0..PASSES {
                found = 0;
                let started = Instant::now();
                for (query, truth) in queries.chunks_exact(dim).zip(truth.chunks_exact(depth)) {
                    let budget = SearchBudget::unbounded(ef);
                    let mut stats = SearchStats::default();
                    let scorer = RowScorer::new(originals, kernel, query);
                    let nearest: Vec<RowId> = if by_codes {
                        let query = codes.codec().query(query);
                        let by_code = FourBitScorer::new(codes, &query);
                        let all = &never_cancelled;
                        let found = graph.search(
                            &by_code,
                            Allowed::All,
                            budget,
                            &mut scratch,
                            &mut stats,
                            all,
                        )?;
                        let found = found.unwrap_or_default().iter().take(RERANKED);
                        let rows: Vec<RowId> = found.map(|candidate| candidate.row()).collect();
                        let mut distances = vec![0.0; rows.len()];
                        rows.iter().for_each(|&row| scorer.prefetch(row));
                        scorer.score_many(&rows, &mut distances);
                        let mut both: Vec<(f32, RowId)> = distances.into_iter().zip(rows).collect();
                        both.sort_by(|a, b| a.0.total_cmp(&b.0));
                        both.into_iter().take(10).map(|(_, row)| row).collect()
                    } else {
                        let all = &never_cancelled;
                        let found = graph.search(
                            &scorer,
                            Allowed::All,
                            budget,
                            &mut scratch,
                            &mut stats,
                            all,
                        )?;
                        found.unwrap_or_default().iter().take(10).map(|one| one.row()).collect()
                    };
                    found +=
                        nearest.iter().filter(|row| truth[..10].contains(&(row.0 as f32))).count();
                }
                let us = started.elapsed().as_secs_f64() * 1e6 / (queries.len() / dim) as f64;
                best_us = best_us.min(us);
            }
            let recall = found as f64 / (queries.len() / dim * 10) as f64;
            line += &format!(" | {recall:.4} {best_us:.1}");
        }
        println!("{line}");
    }
    Ok(())
}

fn time(name: &str, scorer: &FourBitScorer<'_>, rows: &[RowId], distances: &mut [f32]) {
    let pass = |_| {
        let started = Instant::now();
        scorer.score_many(rows, distances);
        started.elapsed().as_secs_f64() * 1e9 / rows.len() as f64
    };
    let best = (0..PASSES).map(pass).fold(f64::INFINITY, f64::min);
    println!("{best:.2} ns a code {name}");
}

fn mean(metric: Metric, rows: &[f32], dim: usize) -> Vec<f32> {
    let mut sums = vec![0.0f64; dim];
    for row in rows.chunks_exact(dim) {
        let squares: f64 = row.iter().map(|&value| f64::from(value).powi(2)).sum();
        let scale = if metric == Metric::Cosine { 1.0 / squares.sqrt() } else { 1.0 };
        sums.iter_mut().zip(row).for_each(|(sum, &value)| *sum += f64::from(value) * scale);
    }
    let count = (rows.len() / dim) as f64;
    sums.into_iter().map(|sum| (sum / count) as f32).collect()
}

/// The elements of an array of NumPy as f32, and how many a row has.
fn matrix(path: &Path) -> Result<(Vec<f32>, usize), Box<dyn std::error::Error>> {
    let bytes = fs::read(path)?;
    let header_bytes = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = std::str::from_utf8(&bytes[10..10 + header_bytes])?;
    let data = &bytes[10 + header_bytes..];
    let shape = header.split("'shape': (").nth(1).ok_or("no shape")?;
    let columns = shape.split([',', ')']).nth(1).ok_or("one dimension")?.trim().parse()?;
    let elements = match header.split("'descr': '").nth(1).and_then(|text| text.get(..3)) {
        Some("|u1") => data.iter().map(|&value| f32::from(value)).collect(),
        Some("<f2") => {
            data.as_chunks().0.iter().map(|&two| half(u16::from_le_bytes(two))).collect()
        }
        Some("<f4") => data.as_chunks().0.iter().map(|&four| f32::from_le_bytes(four)).collect(),
        Some("<i4") => {
            data.as_chunks().0.iter().map(|&four| i32::from_le_bytes(four) as f32).collect()
        }
        other => return Err(format!("elements {other:?}").into()),
    };
    Ok((elements, columns))
}

/// Of a finite half.
fn half(bits: u16) -> f32 {
    let magnitude =
        f32::from_bits(u32::from(bits & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    if bits >> 15 == 1 { -magnitude } else { magnitude }
}
