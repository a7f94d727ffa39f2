//! `nearfield import`: rows of a file into a collection, batch by batch, each batch durable at once. `Import`
//! is the command, run by `cli::run`; `source` reads the file, `local` writes into a directory, `remote` into
//! a running server.
//!
//! A directory that a server has open is reached through that server. Interrupted at any moment, the collection holds
//! a whole number of batches. With ids, the same import can be run again and replaces what is there.

mod local;
mod order;
mod remote;
mod source;

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValuesParser, TypedValueParser};
use nearfield_engine::{Error, Fault};
use nearfield_segment::{Encoding, Metric};
use serde_json::json;

use super::exit::Result;
use super::server::{self, Place, ServerArguments};
use super::store;
use crate::config::metric_parser;
use crate::host::{self, Stopwatch};
use crate::rows::ColumnNames;
use order::{Order, Outcome, Tally};
use source::Source;

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

impl Import {
    /// Reads the file into the collection and says what happened.
    ///
    /// # Errors
    /// What the file, the engine or the server refuses; batches before it stay.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (clock, pool) = (Stopwatch::start(), host::pool(self.threads));
        let (place, order) = self.order()?;
        let names = ColumnNames { vector: self.vector_column.clone(), id: self.id_column.clone() };
        let mut source = Source::open(&order.file, &names, self.ids.as_deref())?;
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

#[cfg(test)]
mod tests;
