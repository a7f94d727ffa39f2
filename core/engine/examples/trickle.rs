//! Measures a slow trickle of writes: files, queries a second, processor time and bytes of upkeep. A program,
//! run by hand.
//!
//! `cargo run --release -p nearfield-engine --example trickle -- FOLDER [ROWS] [DIM]` writes ROWS rows (100,000 of 128
//! elements without arguments) to a database in FOLDER, which must be absent or empty: 100 rows a batch, a checkpoint
//! after every ten batches, rows drawn around 1,000 centres in 24 dimensions. Two threads keep the collection in order meanwhile,
//! as in the Python package. It is searched on the way, at rest, and once more after a full compaction, which is
//! the measure: of queries a second, and of processor time.

#![expect(clippy::disallowed_methods, clippy::print_stdout, reason = "a measurement for people")]

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::task::{MergeScope, Task};
use nearfield_engine::{Collection, Database, Mode, Options, Result, SystemClock};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::SearchParams;
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{Encoding, Metric, PointId, Pool, Rng, Schema};

const BATCH_ROWS: usize = 100;
const BATCHES: usize = 10;
const CENTRES: usize = 1_000;
/// Dimensions of the space that the rows lie in, up to noise.
const LATENT: usize = 24;
/// Width of the rows of a centre. The centres lie in a cube of width 1, so that their rows overlap.
const SPREAD: f32 = 1.0;
const NOISE: f32 = 0.1;
const QUERIES: usize = 200;
const K: usize = 10;
const UPKEEP_THREADS: usize = 2;

fn main() -> Result<()> {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let number = |at: usize, usual| arguments.get(at).map_or(usual, |t| t.parse().unwrap_or(usual));
    let (rows, dim) = (number(1, 100_000), number(2, 128));
    let folder = Path::new(arguments.first().map_or("trickle", String::as_str));
    let storage: Arc<dyn Storage> = Arc::new(open_directory(folder)?);
    let (options, clock) = (Options::default(), Arc::new(SystemClock));
    let database = Database::open(storage, Mode::Write, options, clock, 1, "trickle")?;
    let collection = database.create("c", &Schema::dense(dim, Metric::L2, Encoding::F32)?)?;
    let mut data = Data::new(dim);
    let queries: Vec<f32> = (0..QUERIES).flat_map(|_| data.row()).collect();
    let upkeep = Upkeep::default();
    let start = Instant::now();
    std::thread::scope(|scope| -> Result<()> {
        for _ in 0..UPKEEP_THREADS {
            scope.spawn(|| upkeep.run(&collection));
        }
        let ended = write_and_watch(&collection, &mut data, &queries, &upkeep, rows, start);
        upkeep.stop.store(true, Ordering::Relaxed);
        ended
    })?;
    report(&collection, &queries, &upkeep, (rows * dim * 4) as f64)
}

/// Writes everything, then waits for rest; says how it stands on the way.
fn write_and_watch(
    collection: &Collection,
    data: &mut Data,
    queries: &[f32],
    upkeep: &Upkeep,
    rows: usize,
    start: Instant,
) -> Result<()> {
    let schema = Arc::clone(&collection.view().schema);
    let checkpoint_rows = BATCH_ROWS * BATCHES;
    for at in 0..rows / checkpoint_rows {
        for _ in 0..BATCHES {
            let vectors: Vec<f32> = (0..BATCH_ROWS).flat_map(|_| data.row()).collect();
            let vectors = BTreeMap::from([(String::new(), Cow::Owned(vectors))]);
            let draft = Draft { rows: BATCH_ROWS, vectors, ..Draft::default() };
            collection.apply(Batch::new(draft, &schema)?, &Pool::SERIAL)?;
        }
        collection.checkpoint(&Pool::SERIAL)?;
        if at % (rows / checkpoint_rows / 10).max(1) == 0 {
            say(collection, queries, start, "writing")?;
        }
    }
    say(collection, queries, start, "all is written")?;
    upkeep.may_rest.store(true, Ordering::Relaxed);
    let mut said = Instant::now();
    while upkeep.resting.load(Ordering::Relaxed) < UPKEEP_THREADS as u64 {
        std::thread::sleep(Duration::from_millis(50));
        if said.elapsed() > Duration::from_secs(10) {
            say(collection, queries, start, "merging")?;
            said = Instant::now();
        }
    }
    say(collection, queries, start, "at rest")
}

/// Threads that keep the collection in order.
#[derive(Default)]
struct Upkeep {
    stop: AtomicBool,
    /// Nothing more is written.
    may_rest: AtomicBool,
    /// Threads that have found nothing to do since.
    resting: AtomicU64,
    cpu_ns: AtomicU64,
    merges: AtomicU64,
}

impl Upkeep {
    fn run(&self, collection: &Collection) {
        let mut resting = false;
        while !self.stop.load(Ordering::Relaxed) {
            let may_rest = self.may_rest.load(Ordering::Relaxed);
            let scope = if may_rest { MergeScope::Worthwhile } else { MergeScope::Due };
            let before = thread_cpu_ns();
            let mut carry = |task: Task| {
                self.merges.fetch_add(1, Ordering::Relaxed);
                task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()))
            };
            let did = collection.maintain_by(scope, &mut carry);
            self.cpu_ns.fetch_add(thread_cpu_ns() - before, Ordering::Relaxed);
            let idle = !matches!(did, Ok(true));
            if may_rest && idle != resting {
                resting = idle;
                self.resting.fetch_add(if idle { 1 } else { u64::MAX }, Ordering::Relaxed);
            }
            if idle {
                std::thread::sleep(Duration::from_millis(5));
            }
        }
    }
}

fn say(collection: &Collection, queries: &[f32], start: Instant, when: &str) -> Result<()> {
    let (rate, recall) = (queries_a_second(collection, queries)?, recall(collection, queries, 20)?);
    println!(
        "{:7.1} s, {when}: {}; {rate:.0} queries/s, recall {recall:.3}",
        start.elapsed().as_secs_f64(),
        shape(collection)
    );
    Ok(())
}

/// Files and rows.
fn shape(collection: &Collection) -> String {
    let view = collection.view();
    let files = view.segments.iter().filter_map(|live| Some((live.file.as_ref()?, live)));
    let (mut graphs, mut flat) = (Vec::new(), Vec::new());
    for (entry, live) in files {
        (if entry.level > 0 { &mut graphs } else { &mut flat }).push(live.live_rows());
    }
    graphs.sort_unstable_by(|a, b| b.cmp(a));
    let two: u32 = graphs.iter().take(2).sum();
    format!(
        "{} rows in {} files ({} flat with {} rows), {:.1} % in the two largest graphs",
        view.len(),
        graphs.len() + flat.len(),
        flat.len(),
        flat.iter().sum::<u32>(),
        100.0 * f64::from(two) / (view.len() as f64).max(1.0)
    )
}

fn queries_a_second(collection: &Collection, queries: &[f32]) -> Result<f64> {
    let (view, start) = (collection.view(), Instant::now());
    let params = SearchParams { field: "", k: K, ef: None, exact: false, filter: None };
    let prepared = view.prepare(params, collection.kernel())?;
    let mut asked = 0;
    while start.elapsed() < Duration::from_millis(300) {
        asked += view.search_many(&prepared, queries, &Pool::SERIAL, &never_cancelled)?.len();
    }
    Ok(asked as f64 / start.elapsed().as_secs_f64())
}

/// Against an exact search, of the first `count` queries.
fn recall(collection: &Collection, queries: &[f32], count: usize) -> Result<f64> {
    let (view, queries) = (collection.view(), &queries[..queries.len() / QUERIES * count]);
    let ids = |exact| -> Result<Vec<HashSet<PointId>>> {
        let params = SearchParams { field: "", k: K, ef: None, exact, filter: None };
        let prepared = view.prepare(params, collection.kernel())?;
        let answers = view.search_many(&prepared, queries, &Pool::SERIAL, &never_cancelled)?;
        Ok(answers.into_iter().map(|(hits, _)| hits.into_iter().map(|h| h.id).collect()).collect())
    };
    let (found, right) = (ids(false)?, ids(true)?);
    let common = found.iter().zip(&right).map(|(found, right)| found.intersection(right).count());
    let all: usize = right.iter().map(HashSet::len).sum();
    Ok(common.sum::<usize>() as f64 / all.max(1) as f64)
}

/// At rest against one compacted segment.
fn report(collection: &Collection, queries: &[f32], upkeep: &Upkeep, bytes: f64) -> Result<()> {
    let written = written_bytes();
    let rate = queries_a_second(collection, queries)?;
    println!("at rest: {}; recall {:.4}", shape(collection), recall(collection, queries, QUERIES)?);
    // One deletion, so that a compaction has something to do in any case.
    let draft = Draft { deletes: vec![PointId::U64(0)], ..Draft::default() };
    let batch = Batch::new(draft, &collection.view().schema)?;
    collection.apply(batch, &Pool::SERIAL)?;
    let before = thread_cpu_ns();
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()))?;
    let compaction_ns = thread_cpu_ns() - before;
    let compacted = queries_a_second(collection, queries)?;
    let all = recall(collection, queries, QUERIES)?;
    println!("compacted: {}; recall {all:.4}", shape(collection));
    let upkeep_ns = upkeep.cpu_ns.load(Ordering::Relaxed);
    println!(
        "queries/s {rate:.0} at rest, {compacted:.0} compacted: ratio {:.2} (at least .4)\n\
         upkeep {:.1} s of processor time in {} merges, a full compaction {:.1} s: {:.2} x (at most 4)\n\
         written {:.0} MB for {:.0} MB of vectors, log included: {:.1} x",
        rate / compacted,
        upkeep_ns as f64 / 1e9,
        upkeep.merges.load(Ordering::Relaxed),
        compaction_ns as f64 / 1e9,
        upkeep_ns as f64 / compaction_ns as f64,
        written as f64 / 1e6,
        bytes / 1e6,
        written as f64 / bytes,
    );
    Ok(())
}

/// Processor time of this thread, in nanoseconds; 0 where Linux is not.
fn thread_cpu_ns() -> u64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split(' ').next().and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Bytes that this process has given to the system to write; 0 where Linux is not.
fn written_bytes() -> u64 {
    let text = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
    let line = text.lines().find_map(|line| line.strip_prefix("wchar: "));
    line.and_then(|text| text.parse().ok()).unwrap_or(0)
}

/// Rows around centres, in fewer dimensions than they have elements, as embeddings are.
struct Data {
    rng: Rng,
    centres: Vec<Vec<f32>>,
    /// What each latent coordinate adds to a row.
    axes: Vec<Vec<f32>>,
}

impl Data {
    fn new(dim: usize) -> Data {
        let mut rng = Rng::new(1);
        let mut points = |count: usize, len: usize| -> Vec<Vec<f32>> {
            (0..count).map(|_| (0..len).map(|_| rng.unit_f32() - 0.5).collect()).collect()
        };
        let (centres, axes) = (points(CENTRES, LATENT), points(LATENT, dim));
        Data { rng, centres, axes }
    }

    fn row(&mut self) -> Vec<f32> {
        let centre = self.rng.below(CENTRES as u64) as usize;
        let mut row = vec![0.0; self.axes[0].len()];
        for (middle, axis) in self.centres[centre].iter().zip(&self.axes) {
            let coordinate = middle + SPREAD * (self.rng.unit_f32() - 0.5);
            row.iter_mut().zip(axis).for_each(|(value, step)| *value += coordinate * step);
        }
        row.iter_mut().for_each(|value| *value += NOISE * (self.rng.unit_f32() - 0.5));
        row
    }
}
