//! `nearfield import`: rows of a file into a collection, batch by batch, each batch durable at once.
//!
//! Interrupted at any moment, the collection holds a whole number of batches. With ids, the same import
//! can be run again and replaces what is there.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Collection, Database, Error, ErrorKind, Fault};
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, PointId, Pool, Schema, payload};
use serde_json::json;

use super::exit::Result;
use super::store;
use crate::host::{self, ProgressLine, Stopwatch};
use crate::rows::{self, RowFile, Rows};

/// Most rows of one batch.
const BATCH_ROWS_MAX: usize = 8_192;
/// Bytes of vectors from which a batch is not made larger.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Read vectors from a .npy, .fvecs or .jsonl file into a collection
#[derive(Debug, Args)]
pub struct Import {
    /// Directory of the database; made if missing
    dir: PathBuf,
    /// Collection; made if missing, with the dimension of the file
    name: String,
    /// .npy: rows × dim of any number type; .fvecs; .jsonl: {"id": …, "vector": […], …metadata}
    file: PathBuf,
    /// Metric of a new collection [default: cosine]
    #[arg(long, value_parser = metric_parser())]
    metric: Option<Metric>,
    /// How a new collection keeps elements [default: f32]
    #[arg(long, value_parser = encoding_parser())]
    store: Option<Encoding>,
    /// Ids by row: a .npy of whole numbers, or one id a line; assigned if left out
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Leave building the index to later
    #[arg(long)]
    no_compact: bool,
    /// Threads that build the index [default: all processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

fn metric_parser() -> impl TypedValueParser<Value = Metric> {
    PossibleValuesParser::new(Metric::ALL.map(Metric::name)).map(|name| {
        let named = Metric::ALL.into_iter().find(|metric| metric.name() == name);
        named.expect("the names are those of the metrics")
    })
}

fn encoding_parser() -> impl TypedValueParser<Value = Encoding> {
    PossibleValuesParser::new(["f32", "f16"])
        .map(|name| if name == "f16" { Encoding::F16 } else { Encoding::F32 })
}

/// What was imported so far.
#[derive(Debug, Default)]
struct Tally {
    rows: u64,
    inserted: u64,
    replaced: u64,
}

impl Import {
    /// Reads the file into the collection and says what happened.
    ///
    /// # Errors
    /// What the file or the engine refuses; batches before it stay.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (clock, pool) = (Stopwatch::start(), host::pool(self.threads));
        let mut source = rows::open(&self.file)?;
        let mut ids = self.given_ids(&*source)?;
        let database = store::open_for_writing(&self.dir, "import", true)?;
        let collection = self.collection(&database, source.dim())?;
        store::warn_of_recovery(&collection);
        let tally = self.fill(&collection, &mut *source, &mut ids, &pool)?;
        let loaded = clock.seconds();
        if !self.no_compact {
            let mut line = ProgressLine::new("indexing");
            collection.compact(&pool, &mut |progress| {
                line.show(progress.done, progress.total);
                ControlFlow::Continue(())
            })?;
        }
        self.report(out, &collection, &tally, [loaded, clock.seconds() - loaded])
    }

    /// The collection named, made if it is missing, refused if it is of another kind than asked for.
    fn collection(&self, database: &Database, dim: usize) -> Result<Arc<Collection>> {
        let file = self.file.display();
        if !database.names().contains(&self.name) {
            let metric = self.metric.unwrap_or(Metric::Cosine);
            let schema = Schema::dense(dim, metric, self.store.unwrap_or_default())?;
            return Ok(database.create(&self.name, &schema)?);
        }
        let collection = database.collection(&self.name)?;
        let view = collection.view();
        let Some(spec) = view.schema.default_field() else {
            let message = format!("collection {:?} has no default vector field", self.name);
            return Err(Error::invalid(Fault::Parameter, message).into());
        };
        let other = |what, there: String, asked: String| {
            let name = &self.name;
            let message = format!("collection {name:?} has {what} {there}, {file} is for {asked}");
            Error::new(ErrorKind::Conflict, message).with("expected", there).with("got", asked)
        };
        if spec.dim as usize != dim {
            return Err(other("dim", spec.dim.to_string(), format!("dim {dim}")).into());
        }
        if let Some(metric) = self.metric.filter(|metric| *metric != spec.metric) {
            let (there, asked) = (spec.metric.name(), metric.name());
            return Err(other("metric", there.into(), format!("--metric {asked}")).into());
        }
        if self.store.is_some_and(|store| store != spec.store) {
            let there = format!("{:?}", spec.store).to_lowercase();
            return Err(other("elements kept as", there, "another --store".into()).into());
        }
        Ok(collection)
    }

    fn fill(
        &self,
        collection: &Collection,
        source: &mut dyn RowFile,
        ids: &mut Option<Vec<PointId>>,
        pool: &Pool,
    ) -> Result<Tally> {
        let rows_max = (BATCH_BYTES_MAX / (4 * source.dim())).clamp(1, BATCH_ROWS_MAX);
        let (mut tally, mut line) = (Tally::default(), ProgressLine::new("reading"));
        loop {
            let mut rows = source.next_rows(rows_max)?;
            if rows.count == 0 {
                break;
            }
            if let Some(ids) = ids {
                rows.ids = ids.drain(..rows.count).collect();
            }
            let applied = apply(collection, rows, pool).map_err(|error| {
                error.context(format!("{}: rows from {}", self.file.display(), tally.rows))
            })?;
            tally.rows += applied.inserted + applied.replaced;
            tally.inserted += applied.inserted;
            tally.replaced += applied.replaced;
            let (done, total) = source.progress();
            line.show(done, total);
        }
        Ok(tally)
    }

    /// The ids of `--ids`, one for each row of the file.
    fn given_ids(&self, source: &dyn RowFile) -> nearfield_engine::Result<Option<Vec<PointId>>> {
        let Some(path) = &self.ids else { return Ok(None) };
        let refused = |found: String| {
            Error::invalid(Fault::Parameter, format!("--ids: expected one id a row, {found}"))
        };
        let Some(rows) = source.rows() else {
            return Err(refused("a .jsonl file has them in its lines".into()));
        };
        let ids = read_ids(path)?;
        if ids.len() as u64 != rows {
            return Err(refused(format!("found {} ids for {rows} rows", ids.len())));
        }
        Ok(Some(ids))
    }

    fn report(
        &self,
        out: &mut dyn Write,
        collection: &Collection,
        tally: &Tally,
        [load_s, index_s]: [f64; 2],
    ) -> Result {
        let view = collection.view();
        let Tally { rows, inserted, replaced } = tally;
        if self.json {
            let report = json!({
                "collection": self.name, "rows": rows, "inserted": inserted, "replaced": replaced,
                "total": view.len(), "lsn": view.lsn, "load_s": load_s, "index_s": index_s,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        let (name, total) = (&self.name, view.len());
        writeln!(
            out,
            "{rows} rows into {name:?} ({inserted} new, {replaced} replaced), {total} in all"
        )?;
        let dim = view.schema.vectors.get(DEFAULT_FIELD).map_or(0, |spec| spec.dim);
        Ok(writeln!(out, "dim {dim}; loaded in {load_s:.2} s, indexed in {index_s:.2} s")?)
    }
}

/// Applies rows as one batch.
fn apply(collection: &Collection, rows: Rows, pool: &Pool) -> nearfield_engine::Result<Applied> {
    let draft = Draft {
        ids: (!rows.ids.is_empty()).then_some(rows.ids),
        rows: rows.count,
        vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Owned(rows.vectors))]),
        metadata: rows.metadata.into_iter().map(|text| text.map(Cow::Owned)).collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &collection.view().schema, &payload::validate)?;
    collection.apply(batch, pool)
}

fn read_ids(path: &Path) -> nearfield_engine::Result<Vec<PointId>> {
    if path.extension().is_some_and(|ending| ending == "npy") {
        return rows::read_ids(path);
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", &name, error))?;
    let id = |(line, text): (usize, &str)| {
        let number = text.parse().ok().map(PointId::U64).map(Ok);
        let id = number.unwrap_or_else(|| PointId::from_text(text));
        id.map_err(|error| error.context(format!("{name}: line {}", line + 1)))
    };
    text.lines().enumerate().map(id).collect()
}
