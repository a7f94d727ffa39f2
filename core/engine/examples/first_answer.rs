//! Measures a first answer over ranges: recall@10, bytes and requests for real rows with known answers. A
//! program, run by hand.
//!
//! `cargo run --release -p nearfield-engine --example first_answer -- FOLDER [METRIC]` reads base.npy,
//! query.npy and gt100.npy of a folder, makes an export in memory, searches it for each query with nothing
//! fetched before, and prints a table. Wanted ranges with less than 32 KiB between them are merged, as in the
//! browser; every request counts, that of the header too.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement for people")]

use std::ops::Range;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nearfield_engine::{
    Error, ErrorKind, Export, FIRST_BYTES, LiveSegment, Result, View, write_export,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{Hit, ListParams, RUNS_DEFAULT, SearchParams};
use nearfield_segment::segment::{Segment, SegmentBuilder, SegmentOptions};
use nearfield_segment::storage::{Blob, Bytes, BytesBlob, MemoryStorage, RangeBlob, Storage};
use nearfield_segment::vector::graph::{GraphParams, Scratch};
use nearfield_segment::{DeadRows, Encoding, FileId, Kernel, Lsn, Metric, PointId, Pool, Schema};

const MERGED_GAP_BYTES: u64 = 32 * 1024;
const QUERIES_MAX: usize = 500;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let [folder, metric] = [0, 1].map(|index| arguments.get(index).map_or("", String::as_str));
    let metric = metric.parse().unwrap_or(Metric::Cosine);
    let folder = Path::new(folder);
    let (rows, dim) = numbers(&folder.join("base.npy"))?;
    let (queries, _) = numbers(&folder.join("query.npy"))?;
    let (truth, width) = numbers(&folder.join("gt100.npy"))?;
    let file = export(&rows, dim, metric)?;
    println!("{} rows x {dim}, export of {} bytes", rows.len() / dim, file.len());
    println!(
        "lists runs rerank | recall@10 | MB mean max | requests mean max | rounds | ms to compute"
    );
    for (lists, runs, rerank) in [
        (Some(16), 8, 0),
        (Some(20), 9, 0),
        (Some(24), 7, 0),
        (Some(24), 9, 0),
        (Some(32), 9, 0),
        (None, RUNS_DEFAULT, 0),
        (None, RUNS_DEFAULT, 30),
    ] {
        let mut sum = Sum::default();
        for (query, truth) in
            queries.chunks_exact(dim).zip(truth.chunks_exact(width)).take(QUERIES_MAX)
        {
            let params = ListParams { lists, runs_max: runs, rerank };
            let (hits, cost) = first_answer(&file, query, params)?;
            sum.add(&hits, &cost, &truth[..10]);
        }
        let lists = lists.map_or("usual".to_owned(), |lists| lists.to_string());
        println!("{lists:>5} {runs:>4} {rerank:>6} | {sum}");
    }
    Ok(())
}

/// What was fetched for an answer.
#[derive(Default)]
struct Cost {
    bytes: u64,
    requests: u64,
    rounds: u64,
    time: Duration,
}

/// Asks with nothing here, fetching what is wanted until there is an answer.
fn first_answer(file: &Bytes, query: &[f32], lists: ListParams) -> Result<(Vec<Hit>, Cost)> {
    let ranges = Arc::new(RangeBlob::new("range.near", file.len() as u64));
    let blob: Arc<dyn Blob> = Arc::<RangeBlob>::clone(&ranges);
    let (mut cost, mut export) = (Cost::default(), None);
    let first = 0..FIRST_BYTES.min(file.len() as u64);
    fetch(file, &ranges, std::iter::once(first).collect(), &mut cost)?;
    loop {
        let start = Instant::now();
        let opened = match export.take() {
            Some(export) => Ok(export),
            None => Export::open("range.near", &blob, Residence::OnDemand),
        };
        let answer = opened.and_then(|opened| {
            let view = &export.insert(opened).collections[0].1;
            let params = SearchParams { field: "", k: 10, ef: None, exact: false, filter: None };
            let prepared = view.prepare(params, Kernel::detect())?.with_lists(lists)?;
            prepared.search(query, &mut Scratch::default(), &never_cancelled)
        });
        cost.time = start.elapsed();
        match answer {
            Err(error) if error.kind() == ErrorKind::NotResident => {
                fetch(file, &ranges, ranges.take_wanted(), &mut cost)?;
            }
            answer => return Ok((answer?.0, cost)),
        }
    }
}

fn fetch(file: &[u8], blob: &RangeBlob, wanted: Vec<Range<u64>>, cost: &mut Cost) -> Result<()> {
    let mut merged: Vec<Range<u64>> = Vec::new();
    for range in wanted {
        match merged.last_mut() {
            Some(last) if range.start <= last.end + MERGED_GAP_BYTES => last.end = range.end,
            _ => merged.push(range),
        }
    }
    cost.rounds += 1;
    cost.requests += merged.len() as u64;
    for range in merged {
        cost.bytes += range.end - range.start;
        blob.supply(range.start, &file[range.start as usize..range.end as usize])?;
    }
    Ok(())
}

/// Means and maxima over queries.
#[derive(Default)]
struct Sum {
    queries: f64,
    found: f64,
    bytes: u64,
    bytes_max: u64,
    requests: u64,
    requests_max: u64,
    rounds_max: u64,
    time: Duration,
}

impl Sum {
    fn add(&mut self, hits: &[Hit], cost: &Cost, truth: &[f32]) {
        let is_true = |id: &PointId| truth.iter().any(|&row| *id == PointId::U64(row as u64));
        self.queries += 1.0;
        self.found += hits.iter().filter(|hit| is_true(&hit.id)).count() as f64;
        self.bytes += cost.bytes;
        self.bytes_max = self.bytes_max.max(cost.bytes);
        self.requests += cost.requests;
        self.requests_max = self.requests_max.max(cost.requests);
        self.rounds_max = self.rounds_max.max(cost.rounds);
        self.time += cost.time;
    }
}

impl std::fmt::Display for Sum {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(
            f,
            "{:.4} | {:.2} {:.2} | {:.1} {} | {} | {:.2}",
            self.found / self.queries / 10.0,
            self.bytes as f64 / self.queries / 1e6,
            self.bytes_max as f64 / 1e6,
            self.requests as f64 / self.queries,
            self.requests_max,
            self.rounds_max,
            self.time.as_secs_f64() * 1e3 / self.queries
        )
    }
}

/// An export of one segment without a graph, ids from 0. Says how long the cells took.
fn export(rows: &[f32], dim: usize, metric: Metric) -> Result<Bytes> {
    let kernel = Kernel::detect();
    let options =
        SegmentOptions { kernel, graph_rows_min: u32::MAX, graph: GraphParams::default() };
    let schema = Schema::dense(dim, metric, Encoding::F32)?;
    let mut builder = SegmentBuilder::new(FileId(1), &schema, rows.len() / dim);
    for (id, row) in (0..).zip(rows.chunks_exact(dim)) {
        builder.push(PointId::U64(id), [row], None)?;
    }
    let bytes = builder.index(&options, None).finish(&Pool::SERIAL)?;
    let blob = Arc::new(BytesBlob::new("a.seg", bytes));
    let segment = Arc::new(Segment::open("a.seg", blob, Residence::InPlace)?);
    let dead = Arc::new(DeadRows::new(segment.rows()));
    let segments = vec![LiveSegment { segment, dead, file: None }];
    let view = View::of_segments(Lsn(1), schema, segments);
    let (storage, start) = (MemoryStorage::default(), Instant::now());
    write_export(
        &storage,
        "a.near",
        &[("docs".to_owned(), Arc::new(view))],
        kernel,
        &Pool::SERIAL,
        &never_cancelled,
    )?;
    println!("export with cells on one thread: {:.2} s", start.elapsed().as_secs_f64());
    let blob = storage.open("a.near")?;
    blob.read(0..blob.len())
}

/// The values of a two-dimensional .npy file of f32, f16 or i32, and the length of its rows.
fn numbers(path: &Path) -> Result<(Vec<f32>, usize)> {
    let name = path.display().to_string();
    let bytes = std::fs::read(path).map_err(|error| Error::io("read", &name, error))?;
    let unknown =
        || Error::corrupt(&name, "header", "expected a .npy of f4, f2, u1 or i4, two-dimensional");
    let len = usize::from(u16::from_le_bytes([bytes[8], bytes[9]]));
    let header = String::from_utf8_lossy(&bytes[10..10 + len]).into_owned();
    let shape = header.split_once("'shape': (").and_then(|(_, rest)| rest.split_once(')'));
    let width = shape.and_then(|(shape, _)| shape.split(',').nth(1)?.trim().parse().ok());
    let data = &bytes[10 + len..];
    let words = data.as_chunks::<4>().0.iter();
    let values = match header.split('\'').nth(3) {
        Some("<f4") => words.map(|word| f32::from_le_bytes(*word)).collect(),
        Some("<i4") => words.map(|word| i32::from_le_bytes(*word) as f32).collect(),
        Some("|u1") => data.iter().map(|byte| f32::from(*byte)).collect(),
        Some("<f2") => data.as_chunks::<2>().0.iter().map(|half| widen(*half)).collect(),
        _ => return Err(unknown()),
    };
    Ok((values, width.ok_or_else(unknown)?))
}

/// A finite IEEE half.
fn widen(half: [u8; 2]) -> f32 {
    let half = u32::from(u16::from_le_bytes(half));
    let magnitude = f32::from_bits((half & 0x7FFF) << 13) * f32::from_bits((127 + 112) << 23);
    f32::from_bits(magnitude.to_bits() | (half & 0x8000) << 16)
}
