//! What a search through the graph costs and finds: `cargo run --profile dist -p nearfield-segment --example walk_cost
//! -- FOLDER [EF …]` with base.npy, query.npy and gt100.npy of the bench.
//!
//! Builds one segment, then prints for each `ef`, over all queries: recall@10, microseconds a query (the fastest of
//! some passes), nodes expanded, rows scored and originals read; and the fit T = F + h · ef.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a stopwatch for people")]

use std::fs;
use std::path::Path;
use std::sync::Arc;
use std::time::Instant;

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{SearchParams, SearchStats, Source, prepare};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::BytesBlob;
use nearfield_segment::vector::graph::{GraphParams, Scratch};
use nearfield_segment::{
    DEFAULT_FIELD, DeadRows, Encoding, FileId, Kernel, Metric, PointId, Pool, Schema,
};

const PASSES: usize = 5;
const K: usize = 10;
const EFS: [usize; 8] = [10, 16, 24, 32, 48, 64, 96, 128];

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut arguments = std::env::args().skip(1);
    let folder = arguments.next().ok_or("expected a folder")?;
    let efs: Vec<usize> = arguments.map(|ef| ef.parse()).collect::<Result<_, _>>()?;
    let folder = Path::new(&folder);
    let meta = fs::read_to_string(folder.join("meta.json"))?;
    let metric = if meta.contains("\"cos") { Metric::Cosine } else { Metric::L2 };
    let (rows, dim) = matrix(&folder.join("base.npy"))?;
    let (queries, _) = matrix(&folder.join("query.npy"))?;
    let (truth, depth) = matrix(&folder.join("gt100.npy"))?;
    let kernel = Kernel::detect();
    let segment = build(&rows, dim, metric, kernel)?;
    println!("{} rows × {dim}, {}", segment.rows(), kernel.set());
    println!("ef | recall | µs | expanded | scored | originals read");
    let efs = if efs.is_empty() { EFS.to_vec() } else { efs };
    let mut costs: Vec<(f64, f64)> = Vec::new();
    let (dead, fields) = (DeadRows::new(segment.rows()), Default::default());
    for &ef in &efs {
        let source = Source { segment: &segment, dead: &dead, fields: &fields, skipped: false };
        let params =
            SearchParams { field: DEFAULT_FIELD, k: K, ef: Some(ef), exact: false, filter: None };
        let prepared = prepare([source], params, kernel, &never_cancelled)?;
        let mut scratch = Scratch::default();
        let (mut found, mut stats, mut best_us) = (0, SearchStats::default(), f64::INFINITY);
        for _ in 0..PASSES {
            (found, stats) = (0, SearchStats::default());
            let started = Instant::now();
            for (query, truth) in queries.chunks_exact(dim).zip(truth.chunks_exact(depth)) {
                let (hits, cost) = prepared.search(query, &mut scratch, &never_cancelled)?;
                found += hits.iter().filter(|hit| truth[..K].contains(&(hit.row.0 as f32))).count();
                stats += cost;
            }
            best_us = best_us.min(started.elapsed().as_secs_f64() * 1e6);
        }
        let count = (queries.len() / dim) as f64;
        let us = best_us / count;
        costs.push((ef as f64, us));
        println!(
            "{ef} | {:.4} | {us:.1} | {:.0} | {:.0} | {:.1}",
            found as f64 / count / K as f64,
            stats.nodes_expanded as f64 / count,
            stats.vectors_scored as f64 / count,
            f64::from(stats.reranked) / count,
        );
    }
    let (f, h) = fit(&costs);
    println!("T = {f:.1} µs + {h:.3} µs · ef");
    Ok(())
}

fn build(
    rows: &[f32],
    dim: usize,
    metric: Metric,
    kernel: Kernel,
) -> nearfield_segment::Result<Segment> {
    let schema = Schema::dense(dim, metric, Encoding::F32)?;
    let mut builder = SegmentBuilder::new(FileId(1), &schema, rows.len() / dim);
    for (id, row) in (0..).zip(rows.chunks_exact(dim)) {
        builder.push(PointId::U64(id), [row], None)?;
    }
    let options = SegmentOptions { kernel, graph_rows_min: 1, graph: GraphParams::default() };
    let bytes = builder.index(&options, None).finish(&Pool::new(2))?;
    let blob = Arc::new(BytesBlob::new("walk_cost", bytes));
    Segment::open("walk_cost", blob, Residence::Built)
}

/// Least squares.
fn fit(points: &[(f64, f64)]) -> (f64, f64) {
    let count = points.len() as f64;
    let (x, y) = points.iter().fold((0.0, 0.0), |sum, point| (sum.0 + point.0, sum.1 + point.1));
    let (x, y) = (x / count, y / count);
    let (mut xy, mut xx) = (0.0, 0.0);
    for point in points {
        xy += (point.0 - x) * (point.1 - y);
        xx += (point.0 - x) * (point.0 - x);
    }
    let slope = xy / xx;
    (y - slope * x, slope)
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
