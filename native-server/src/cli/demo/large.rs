//! Third part of `nearfield demo`: generates a set large enough for a graph, searches it, and prints times
//! and recall of this machine. Entry: `show`, called by `Demo`.

use std::io::Write;
use std::path::Path;

use nearfield_engine::{Collection, View, recall};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::SearchParams;
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, Pool, Schema};
use serde_json::json;

use super::database::{open, upsert};
use crate::cli::exit::Result;
use crate::cli::store;
use crate::host::{self, Stopwatch};
use crate::sample::Clusters;

const NAME: &str = "clusters";
const DIM: usize = 128;
const CENTRES: usize = 200;
/// Wide enough for the clusters to be one cloud, which is hard to search.
const SPREAD: f32 = 1.0;
const BATCH_ROWS: usize = 8_192;
const QUERIES: usize = 1_000;
/// Exact answers cost a scan each.
const EXACT_QUERIES: usize = 200;
const GRAPH_ROWS_MIN: u32 = 2_048;

pub(super) fn show(out: &mut dyn Write, dir: &Path, rows: usize) -> Result {
    let mut source = Clusters::new(1, DIM, CENTRES, SPREAD);
    let queries = source.take_rows(QUERIES);
    let database = open(dir, GRAPH_ROWS_MIN, 32 << 20)?;
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32)?;
    let collection = database.create(NAME, &schema)?;
    load(out, &collection, &mut source, rows)?;
    build(out, &collection)?;
    drop(collection);
    drop(database);
    let clock = Stopwatch::start();
    let database = open(dir, GRAPH_ROWS_MIN, 32 << 20)?;
    let view = database.collection(NAME)?.view();
    ask(&view, &queries[..DIM], false, &Pool::SERIAL)?;
    writeln!(out, "reopen  {:.1} ms to the first answer", clock.seconds() * 1000.0)?;
    measure(out, &view, &queries)
}

fn load(
    out: &mut dyn Write,
    collection: &Collection,
    source: &mut Clusters,
    rows: usize,
) -> Result {
    let mut seconds = 0.0;
    let mut done = 0;
    while done < rows {
        let count = BATCH_ROWS.min(rows - done);
        let (vectors, labels) = source.take_labelled(count);
        let documents = labels.iter().map(|label| json!({ "cluster": label }).to_string());
        let documents = documents.collect();
        let clock = Stopwatch::start();
        upsert(collection, done as u64, &vectors, documents)?;
        seconds += clock.seconds();
        done += count;
    }
    let rate = rows as f64 / seconds;
    Ok(writeln!(out, "load    {rows} × {DIM} in {seconds:.2} s, durable ({rate:.0} rows/s)")?)
}

fn build(out: &mut dyn Write, collection: &Collection) -> Result {
    let (clock, pool) = (Stopwatch::start(), host::pool(None));
    store::compact(collection, &pool, "building")?;
    let (seconds, threads) = (clock.seconds(), pool.threads());
    Ok(writeln!(out, "build   {seconds:.2} s on {threads} threads")?)
}

fn params(exact: bool) -> SearchParams<'static> {
    SearchParams { field: DEFAULT_FIELD, k: 10, ef: None, exact, filter: None }
}

fn ask(view: &View, queries: &[f32], exact: bool, pool: &Pool) -> Result {
    let prepared = view.prepare(params(exact), host::kernel()?)?;
    view.search_many(&prepared, queries, pool, &never_cancelled)?;
    Ok(())
}

fn measure(out: &mut dyn Write, view: &View, queries: &[f32]) -> Result {
    let (kernel, pool) = (host::kernel()?, host::pool(None));
    let few = &queries[..EXACT_QUERIES * DIM];
    let threads = pool.threads();
    for (what, exact, asked, pool) in [
        ("default, 1 thread".to_owned(), false, queries, Pool::SERIAL),
        (format!("default, {threads} threads"), false, queries, pool),
        ("exact, 1 thread".to_owned(), true, few, Pool::SERIAL),
    ] {
        let clock = Stopwatch::start();
        ask(view, asked, exact, &pool)?;
        let rate = (asked.len() / DIM) as f64 / clock.seconds();
        writeln!(out, "search  {rate:>8.0} queries/s, {what}")?;
    }
    let report = recall::measure(view, params(false), few, kernel, &pool, &|| true)?;
    let recall::RecallReport { recall, low, high, queries, k } = report;
    writeln!(
        out,
        "recall@{k} at the default setting: {recall:.4} (95 % interval {low:.4} to {high:.4}, \
         {queries} queries that are not in the set)"
    )?;
    for plan in view.prepare(params(false), kernel)?.plans() {
        let (allowed, rows, path) = (plan.allowed, plan.rows, plan.path);
        writeln!(out, "explain {allowed} of {rows} rows allowed, {path}")?;
    }
    Ok(())
}
