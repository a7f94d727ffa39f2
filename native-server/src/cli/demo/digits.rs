//! First part of `nearfield demo`: searches 1,797 images of digits and prints them as text, so that a user
//! sees what "near" means. Entry: `show`, called by `Demo`; `export` writes the sample export (`--sample`).

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use nearfield_engine::{Collection, Database, ManualClock, View, recall, write_export};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{Hit, SearchParams};
use nearfield_segment::storage::open_target_directory;
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, Pool, Schema};
use serde_json::json;

use super::database::{broken, open, upsert};
use crate::cli::exit::Result;
use crate::cli::store;
use crate::host;
use crate::sample::{DIGIT_COUNT, DIGIT_DIM, Digits};

/// The collection of the images.
const NAME: &str = "digits";
/// The image that is searched for: a three.
pub(super) const SHOWN: usize = 3;
/// Sets smaller than this are scanned by default; here a graph is wanted for show.
const GRAPH_ROWS_MIN: u32 = 512;
/// A short candidate list, so that the graph is the cheaper way even for so few rows.
const EF: usize = 32;

pub(super) fn show(out: &mut dyn Write, dir: &Path) -> Result {
    let digits = Digits::load();
    let database = open(dir, GRAPH_ROWS_MIN, 32 << 20)?;
    let collection = fill(&database, &digits)?;
    writeln!(
        out,
        "{DIGIT_COUNT} images of 8 × 8 pixels, with metadata such as {{\"label\": {}, \"index\": \
         {SHOWN}}}.",
        digits.labels[SHOWN]
    )?;
    let view = collection.view();
    show_neighbours(out, &digits, &view)?;
    show_filtered(out, &digits, &view)?;
    show_recall(out, &view)
}

/// The images as a collection, in one segment with a graph.
fn fill(database: &Database, digits: &Digits) -> Result<Arc<Collection>> {
    let schema = Schema::dense(DIGIT_DIM, Metric::Cosine, Encoding::F32)?;
    let collection = database.create(NAME, &schema)?;
    let documents = digits.labels.iter().enumerate();
    let documents = documents.map(|(index, label)| json!({"label": label, "index": index}));
    let documents: Vec<String> = documents.map(|document| document.to_string()).collect();
    upsert(&collection, 0, &digits.vectors, documents)?;
    collection.compact(&host::pool(None), &mut |_| ControlFlow::Continue(()))?;
    Ok(collection)
}

/// Writes the images to a `.near` file, the same bytes each time: clock and seed are fixed.
pub(super) fn export(out: &mut dyn Write, file: &Path) -> Result {
    let mut options = store::options()?;
    options.segment.graph_rows_min = GRAPH_ROWS_MIN;
    let database = Database::in_memory(options, Arc::new(ManualClock::new(0)), 0)?;
    let collection = fill(&database, &Digits::load())?;
    let (directory, name) = store::place(file)?;
    let views = [(NAME.to_owned(), collection.view())];
    let (kernel, pool) = (host::kernel()?, host::pool(None));
    let directory = open_target_directory(&directory)?;
    let report = write_export(&directory, &name, &views, kernel, &pool, &never_cancelled)?;
    let (points, bytes) = (report.points, report.bytes);
    Ok(writeln!(out, "{points} images of handwritten digits, {bytes} bytes: {}", file.display())?)
}

fn params(filter: Option<&Filter>) -> SearchParams<'_> {
    SearchParams { field: DEFAULT_FIELD, k: 10, ef: Some(EF), exact: false, filter }
}

/// The nearest images to [`SHOWN`], itself left out.
fn neighbours(digits: &Digits, view: &View, params: SearchParams<'_>) -> Result<Vec<(usize, Hit)>> {
    let prepared = view.prepare(params, host::kernel()?)?;
    let image = digits.image(SHOWN);
    let answers = view.search_many(&prepared, image, &Pool::SERIAL, &never_cancelled)?;
    let hits = answers.into_iter().flat_map(|(hits, _)| hits);
    let by_index = hits.filter_map(|hit| Some((hit.id.to_string().parse().ok()?, hit)));
    Ok(by_index.filter(|(index, _)| *index != SHOWN).collect())
}

fn show_neighbours(out: &mut dyn Write, digits: &Digits, view: &View) -> Result {
    let near = neighbours(digits, view, params(None))?;
    writeln!(out, "\nImage {SHOWN}, and the four nearest to it (cosine similarity):\n")?;
    pictures(out, digits, &near)?;
    let exact = neighbours(digits, view, SearchParams { exact: true, ..params(None) })?;
    let ids = |hits: &[(usize, Hit)]| hits.iter().map(|(index, _)| *index).collect::<Vec<_>>();
    writeln!(out, "\nthrough the graph   {:?}", ids(&near))?;
    Ok(writeln!(out, "exact, all compared {:?}", ids(&exact))?)
}

fn show_filtered(out: &mut dyn Write, digits: &Digits, view: &View) -> Result {
    let label = digits.labels[SHOWN];
    let json = json!({"and": [{"label": {"ne": label}}, {"index": {"lt": 1500}}]});
    let filter = Filter::from_json(&json)?;
    let near = neighbours(digits, view, params(Some(&filter)))?;
    let wrong = |index: usize| digits.labels[index] == label || index >= 1500;
    if near.is_empty() || near.iter().any(|(index, _)| wrong(*index)) {
        return Err(broken(format!("a filtered search gave {near:?}")));
    }
    let count = view.count(Some(&filter), &never_cancelled)?;
    writeln!(out, "\nwhere {json} ({count} pass), the look-alikes:\n")?;
    pictures(out, digits, &near)
}

/// The searched image and the four nearest beside it.
fn pictures(out: &mut dyn Write, digits: &Digits, near: &[(usize, Hit)]) -> Result {
    const WIDTH: usize = 13;
    let others = &near[..near.len().min(4)];
    let mut columns = vec![format!("a {}", digits.labels[SHOWN])];
    columns.extend(others.iter().map(|(index, hit)| {
        let score = Metric::Cosine.score(hit.distance);
        format!("a {}, {score:.3}", digits.labels[*index])
    }));
    let images = [SHOWN].into_iter().chain(others.iter().map(|(index, _)| *index));
    let images: Vec<String> = images.map(|index| digits.picture(index)).collect();
    for line in 0..8 {
        let parts = images.iter().map(|image| image.lines().nth(line).unwrap_or_default());
        let text: String = parts.map(|part| format!("{part:WIDTH$}")).collect();
        writeln!(out, "    {}", text.trim_end())?;
    }
    let captions: String = columns.iter().map(|caption| format!("{caption:WIDTH$}")).collect();
    Ok(writeln!(out, "    {}", captions.trim_end())?)
}

fn show_recall(out: &mut dyn Write, view: &View) -> Result {
    let (kernel, pool) = (host::kernel()?, host::pool(None));
    let prepared = view.prepare(params(None), kernel)?;
    for plan in prepared.plans() {
        let (allowed, rows, path) = (plan.allowed, plan.rows, plan.path);
        writeln!(out, "\nexplain, without the filter: {allowed} of {rows} rows allowed, {path}")?;
    }
    let probes = recall::sample(view, DEFAULT_FIELD, None, 300, host::seed())?;
    let report = recall::measure(view, params(None), &probes, kernel, &pool, &|| true)?;
    let recall::RecallReport { recall, low, high, queries, k } = report;
    Ok(writeln!(
        out,
        "recall@{k} of that way: {recall:.4} (95 % interval {low:.4} to {high:.4}, {queries} images)"
    )?)
}
