//! `nearfield import`: rows of a file into a collection, batch by batch, each batch durable at once.
//!
//! Into a directory, or into a running server; a directory that a server has open is reached through that
//! server. Interrupted at any moment, the collection holds a whole number of batches. With ids, the same
//! import can be run again and replaces what is there.

mod local;
mod remote;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::{Path, PathBuf};

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nearfield_engine::{Error, ErrorKind, Fault};
use nearfield_segment::{Encoding, Metric, PointId};
use serde_json::{Value, json};

use super::exit::Result;
use super::server::{self, Place, ServerArguments};
use super::store;
use crate::config::metric_parser;
use crate::host::{self, ProgressLine, Stopwatch};
use crate::rows::{self, ColumnNames, RowFile, Rows};

/// Most rows of one batch.
const BATCH_ROWS_MAX: usize = 8_192;
/// Bytes of vectors from which a batch is not made larger; a server takes twice that by default.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// Read vectors from a file into a collection
#[derive(Debug, Args)]
pub struct Import {
    /// Directory (made if missing), collection (made if missing, with the dimension of the file) and
    /// file; or the file alone, with --collection and --server or --data-dir. Files: .npy, .npz, .fvecs,
    /// .jsonl, .parquet, .arrow, .arrows, .feather
    #[arg(required = true, num_args = 1..=3, value_name = "[DIR NAME] FILE")]
    places: Vec<PathBuf>,
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// Collection
    #[arg(long, value_name = "NAME")]
    collection: Option<String>,
    #[command(flatten)]
    server: ServerArguments,
    /// Metric of a new collection [default: cosine]
    #[arg(long, value_parser = metric_parser())]
    metric: Option<Metric>,
    /// How a new collection keeps elements [default: f32]
    #[arg(long, value_parser = encoding_parser())]
    store: Option<Encoding>,
    /// Ids by row: a .npy of whole numbers or text, or one id a line; assigned if left out
    #[arg(long)]
    ids: Option<PathBuf>,
    /// Column with the vectors, in formats that have columns
    #[arg(long, value_name = "COLUMN")]
    vector_column: Option<String>,
    /// Column with the ids, in formats that have columns
    #[arg(long, value_name = "COLUMN")]
    id_column: Option<String>,
    /// Leave building the index to later; a server does that by itself
    #[arg(long)]
    no_compact: bool,
    /// Threads that build the index [default: all processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

fn encoding_parser() -> impl TypedValueParser<Value = Encoding> {
    PossibleValuesParser::new(Encoding::ALL.map(Encoding::name)).try_map(|name| name.parse())
}

/// What was imported so far.
#[derive(Debug, Default, Clone, Copy)]
struct Tally {
    rows: u64,
    inserted: u64,
    replaced: u64,
}

/// What the collection is after it.
#[derive(Debug)]
struct Outcome {
    tally: Tally,
    total: u64,
    lsn: Value,
    dim: usize,
    load_s: f64,
    /// `None` where a server does that when it sees fit.
    index_s: Option<f64>,
}

/// A file, and the name of the collection it goes into.
#[derive(Debug)]
struct Order {
    collection: String,
    file: PathBuf,
    metric: Option<Metric>,
    store: Option<Encoding>,
}

/// The rows of the file, with ids from elsewhere if they were given.
struct Source {
    file: Box<dyn RowFile>,
    ids: Option<std::vec::IntoIter<PointId>>,
    line: ProgressLine,
}

impl Import {
    /// Reads the file into the collection and says what happened.
    ///
    /// # Errors
    /// What the file, the engine or the server refuses; batches before it stay.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (clock, pool) = (Stopwatch::start(), host::pool(self.threads));
        let (place, order) = self.order()?;
        let mut source = self.source(&order.file)?;
        let outcome = match place {
            Place::Server(client) => remote::import(&client, &order, &mut source, clock)?,
            Place::Path(dir) => match store::open_for_writing(&dir, "import", true) {
                Ok(database) => {
                    local::import(&database, &order, &mut source, clock, &pool, !self.no_compact)?
                }
                Err(error) => {
                    let client = server::holder(&dir, error)?;
                    remote::import(&client, &order, &mut source, clock)?
                }
            },
        };
        self.report(out, &order, &outcome)
    }

    fn order(&self) -> Result<(Place, Order)> {
        let (dir, name, file) = match (self.places.as_slice(), &self.collection) {
            ([dir, name, file], None) => {
                let name = name.to_str().map(str::to_owned);
                (Some(dir.clone()), name, file)
            }
            ([file], Some(name)) => (None, Some(name.clone()), file),
            _ => (None, None, &self.places[0]),
        };
        let Some(collection) = name else {
            let expected = "DIR NAME FILE, or FILE with --collection and --server or --data-dir";
            return Err(Error::invalid(Fault::Parameter, format!("expected {expected}")).into());
        };
        let place = self.server.place(dir, self.data_dir.as_ref())?;
        let (metric, store) = (self.metric, self.store);
        Ok((place, Order { collection, file: file.clone(), metric, store }))
    }

    fn source(&self, file: &Path) -> Result<Source> {
        let names = ColumnNames { vector: self.vector_column.clone(), id: self.id_column.clone() };
        let file = rows::open(file, &names)?;
        let ids = self.given_ids(&*file)?.map(Vec::into_iter);
        Ok(Source { file, ids, line: ProgressLine::new("reading") })
    }

    /// The ids of `--ids`, one for each row of the file.
    fn given_ids(&self, source: &dyn RowFile) -> nearfield_engine::Result<Option<Vec<PointId>>> {
        let Some(path) = &self.ids else { return Ok(None) };
        let refused = |found: String| {
            Error::invalid(Fault::Parameter, format!("--ids: expected one id a row, {found}"))
        };
        let Some(rows) = source.rows() else {
            return Err(refused("this format has them in its rows".into()));
        };
        let ids = read_ids(path)?;
        if ids.len() as u64 != rows {
            return Err(refused(format!("found {} ids for {rows} rows", ids.len())));
        }
        Ok(Some(ids))
    }

    fn report(&self, out: &mut dyn Write, order: &Order, outcome: &Outcome) -> Result {
        let Outcome { tally, total, lsn, dim, load_s, index_s } = outcome;
        let (Tally { rows, inserted, replaced }, name) = (tally, &order.collection);
        if self.json {
            let report = json!({
                "collection": name, "rows": rows, "inserted": inserted, "replaced": replaced,
                "total": total, "lsn": lsn, "load_s": load_s, "index_s": index_s,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        writeln!(
            out,
            "{rows} rows into {name:?} ({inserted} new, {replaced} replaced), {total} in all"
        )?;
        let indexed = index_s.map_or_else(
            || "the server indexes them by itself".to_owned(),
            |index_s| format!("indexed in {index_s:.2} s"),
        );
        Ok(writeln!(out, "dim {dim}; loaded in {load_s:.2} s, {indexed}")?)
    }
}

impl Source {
    fn dim(&self) -> usize {
        self.file.dim()
    }

    /// The next batch; none at the end.
    fn next_batch(&mut self) -> nearfield_engine::Result<Rows> {
        let rows_max = (BATCH_BYTES_MAX / (4 * self.dim())).clamp(1, BATCH_ROWS_MAX);
        let mut rows = self.file.next_rows(rows_max)?;
        if let Some(ids) = &mut self.ids {
            rows.ids = ids.take(rows.count).collect();
        }
        let (done, total) = self.file.progress();
        self.line.show(done, total);
        Ok(rows)
    }
}

/// That a collection is of another kind than the file or the arguments ask for.
fn conflict(order: &Order, what: &str, there: String, asked: String) -> Error {
    let (name, file) = (&order.collection, order.file.display());
    let message = format!("collection {name:?} has {what} {there}, {file} is for {asked}");
    Error::new(ErrorKind::Conflict, message).with("expected", there).with("got", asked)
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

#[cfg(test)]
mod tests;
