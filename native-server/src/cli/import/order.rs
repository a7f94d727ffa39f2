//! `Order`: what is to be imported, made by `Import` of its arguments; `Outcome`: what `local` and `remote` return.

use std::path::PathBuf;

use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::{Encoding, Metric};
use serde_json::Value;

/// What was imported so far.
#[derive(Debug, Default, Clone, Copy)]
pub(super) struct Tally {
    pub(super) rows: u64,
    pub(super) inserted: u64,
    pub(super) replaced: u64,
}

/// What the collection is after it.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) tally: Tally,
    pub(super) total: u64,
    pub(super) lsn: Value,
    pub(super) dim: usize,
    pub(super) load_s: f64,
    /// `None` where a server does that when it sees fit.
    pub(super) index_s: Option<f64>,
}

/// A file, and the name of the collection it goes into.
#[derive(Debug)]
pub(super) struct Order {
    pub(super) collection: String,
    pub(super) file: PathBuf,
    pub(super) metric: Option<Metric>,
    pub(super) store: Option<Encoding>,
}

/// That a collection is of another kind than the file or the arguments ask for.
pub(super) fn conflict(order: &Order, what: &str, there: String, asked: String) -> Error {
    let (name, file) = (&order.collection, order.file.display());
    let message = format!("collection {name:?} has {what} {there}, {file} is for {asked}");
    Error::new(ErrorKind::Conflict, message).with("expected", there).with("got", asked)
}
