//! `nearfield search`: searches a database (beside a writer) or an export, and prints the nearest points or
//! the plan. Entry: `Search::run`, called by `cli::run`.

use std::borrow::Cow;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{Columns, Error, ErrorKind, Fault, View};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{Hit, SearchParams, SearchStats, SourcePlan};
use nearfield_segment::{DEFAULT_FIELD, Metric, PointId, VectorSpec};
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::exit::Result;
use super::printable::printable;
use super::store::{Readable, warn_of_degraded};
use crate::{host, json, rows};

/// Characters of a document shown in the table.
const DOCUMENT_CHARS_MAX: usize = 72;

#[derive(Debug, Args)]
pub struct Search {
    /// Directory of a database, or a .near file
    path: PathBuf,
    /// Collection
    name: String,
    #[command(flatten)]
    query: Query,
    /// Results wanted
    #[arg(long, short, default_value_t = 10)]
    k: usize,
    /// Candidates a graph search keeps: more is slower and finds more
    #[arg(long)]
    ef: Option<usize>,
    /// Compare with every point
    #[arg(long)]
    exact: bool,
    /// Only points whose metadata pass, as in {"price": {"lt": 10}}
    #[arg(long = "where", value_name = "JSON")]
    filter: Option<String>,
    /// Also say how it was searched and what that cost
    #[arg(long)]
    explain: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
#[group(required = true, multiple = false)]
struct Query {
    /// '[0.1, …]', or @file.npy with one vector or several
    #[arg(long, allow_hyphen_values = true)]
    vector: Option<String>,
    /// Neighbours of this point, itself left out
    #[arg(long)]
    id: Option<String>,
}

/// Answers to all queries.
struct Answers {
    plans: Vec<SourcePlan>,
    metric: Metric,
    results: Vec<(Vec<Hit>, SearchStats)>,
}

impl Search {
    /// Searches and prints, best first.
    ///
    /// # Errors
    /// `NotFound` for path, collection or id; `InvalidInput` for vector, numbers or filter.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let source = Readable::open(&self.path)?;
        let view = source.view(&self.name)?;
        let (own, vectors) = self.queries(&view)?;
        let answers = self.ask(&view, own.as_ref(), &vectors)?;
        warn_of_degraded(&self.name, &view);
        if self.json {
            self.print_json(out, &view, &answers)
        } else {
            self.print(out, &view, &answers)
        }
    }

    /// The query vectors, row-major, and the point they are of if they are one's.
    fn queries(&self, view: &View) -> Result<(Option<PointId>, Vec<f32>)> {
        let spec = default_field(view)?;
        if let Some(text) = &self.query.id {
            let (id, vector) = vector_of(view, text)?;
            return Ok((Some(id), vector));
        }
        let text = self.query.vector.as_deref().expect("clap requires one of the two");
        let (dim, vectors) = match text.strip_prefix('@') {
            Some(path) => rows::read_queries(Path::new(path))?,
            None => {
                let vector: Vec<f32> = serde_json::from_str(text).map_err(|error| {
                    let expected = "expected '[number, …]' or @file.npy";
                    Error::invalid(Fault::Parameter, format!("--vector: {expected}: {error}"))
                })?;
                (vector.len(), vector)
            }
        };
        if dim != spec.dim as usize {
            let message = format!("--vector: expected {} elements, got {dim}", spec.dim);
            let error = Error::invalid(Fault::Dimension, message);
            return Err(error.with("expected", spec.dim).with("got", dim).into());
        }
        Ok((None, vectors))
    }

    fn ask(&self, view: &View, own: Option<&PointId>, vectors: &[f32]) -> Result<Answers> {
        let filter = self.filter.as_deref().map(Filter::from_json_text).transpose()?;
        let k = self.k.saturating_add(usize::from(own.is_some() && self.k > 0));
        let params = SearchParams {
            field: DEFAULT_FIELD,
            k,
            ef: self.ef,
            exact: self.exact,
            filter: filter.as_ref(),
        };
        let prepared = view.prepare(params, host::kernel()?)?;
        let pool = host::pool(None);
        let mut results = view.search_many(&prepared, vectors, &pool, &never_cancelled)?;
        for (hits, _) in &mut results {
            hits.retain(|hit| Some(&hit.id) != own);
            hits.truncate(self.k);
        }
        let (plans, metric) = (prepared.plans().cloned().collect(), default_field(view)?.metric);
        Ok(Answers { plans, metric, results })
    }

    fn print(&self, out: &mut dyn Write, view: &Arc<View>, answers: &Answers) -> Result {
        let kind = answers.metric.score_kind().name();
        for (index, (hits, stats)) in answers.results.iter().enumerate() {
            if answers.results.len() > 1 {
                writeln!(out, "query {index}")?;
            }
            writeln!(out, "{:>4}  {kind:>12}  id", "")?;
            for (rank, hit) in (1..).zip(hits) {
                let score = answers.metric.score(hit.distance);
                let document = shortened(&document(view, hit)?.unwrap_or_default());
                let (id, document) = (printable(&hit.id.to_string()), printable(&document));
                writeln!(out, "{rank:>4}  {score:>12.6}  {id}  {document}")?;
            }
            if self.explain {
                let (scored, expanded) = (stats.vectors_scored, stats.nodes_expanded);
                writeln!(out, "      {scored} vectors compared, {expanded} nodes expanded")?;
            }
        }
        for plan in answers.plans.iter().filter(|_| self.explain) {
            let SourcePlan { segment, rows, allowed, pruned, path } = plan;
            let pruned = if *pruned { ", ruled out by statistics" } else { "" };
            writeln!(out, "{segment}: {allowed} of {rows} rows allowed, {path}{pruned}")?;
        }
        Ok(())
    }

    fn print_json(&self, out: &mut dyn Write, view: &Arc<View>, answers: &Answers) -> Result {
        let mut results = Vec::with_capacity(answers.results.len());
        for (hits, stats) in &answers.results {
            let listed: Vec<Value> = hits
                .iter()
                .map(|hit| hit_json(view, answers.metric, hit))
                .collect::<Result<_>>()?;
            let mut result = json!({ "hits": listed });
            if self.explain {
                result["stats"] = json!(stats);
            }
            results.push(result);
        }
        let kind = answers.metric.score_kind().name();
        let mut document = json!({ "lsn": view.lsn, "score_kind": kind, "results": results });
        if self.explain {
            document["plan"] = json!(answers.plans);
        }
        Ok(writeln!(out, "{document}")?)
    }
}

fn default_field(view: &View) -> Result<&VectorSpec> {
    view.schema.default_field().ok_or_else(|| {
        let message = "the collection has no default vector field";
        Error::new(ErrorKind::NotFound, message).into()
    })
}

/// The vector of the point that `text` names: a number if it can be one and there is such a point.
fn vector_of(view: &View, text: &str) -> Result<(PointId, Vec<f32>)> {
    let candidates = PointId::from_digits(text).into_iter().chain([PointId::from_text(text)?]);
    for id in candidates {
        let columns = Columns { vectors: &[DEFAULT_FIELD], metadata: false };
        let (mut points, missing) = view.get(std::slice::from_ref(&id), columns)?;
        if missing.is_empty() {
            return Ok((id, points.vectors.swap_remove(0)));
        }
    }
    Err(Error::new(ErrorKind::NotFound, format!("there is no point {text}")).into())
}

fn document<'a>(view: &'a View, hit: &Hit) -> Result<Option<Cow<'a, str>>> {
    let columns = Columns { vectors: &[], metadata: true };
    let points = view.points([(hit.id.clone(), (hit.source, hit.row))], columns)?;
    Ok(points.metadata.into_iter().next().flatten())
}

fn hit_json(view: &View, metric: Metric, hit: &Hit) -> Result<Value> {
    let metadata: Option<Box<RawValue>> = document(view, hit)?
        .map(|text| RawValue::from_string(text.into_owned()))
        .transpose()
        .map_err(|error| Error::corrupt("document", "search", error))?;
    Ok(json!({
        "id": json::id(&hit.id), "score": metric.score(hit.distance), "metadata": metadata,
    }))
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(DOCUMENT_CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}
