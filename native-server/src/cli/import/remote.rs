//! `nearfield import` into a running server: `import` (`Order` → `Outcome`) sends the rows as one Arrow
//! stream with `Client::upload`; the server makes each record batch an atomic batch. Called by `Import`.

use bytes::Bytes;
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::Metric;
use serde_json::{Value, json};

use super::super::exit::Result;
use super::super::server::collection_path;
use super::order::{Order, Outcome, Tally, conflict};
use super::source::Source;
use crate::client::Client;
use crate::host::Stopwatch;
use crate::rows::arrow::{Layout, TableWriter};
use crate::rows::{IdKind, Rows};

const ARROW_STREAM: &str = "application/vnd.apache.arrow.stream";

/// Sends all rows to the collection, which is made if it is missing.
///
/// # Errors
/// What the file or the server refuses, saying how many rows are in.
pub(super) fn import(
    client: &Client,
    order: &Order,
    source: &mut Source,
    clock: Stopwatch,
) -> Result<Outcome> {
    let dim = source.dim();
    make_collection(client, order, dim)?;
    let mut stream = Stream { source, writer: None, sent: Vec::new(), ended: false };
    let path = collection_path(&order.collection, "/ingest");
    let answer = client.upload(&path, ARROW_STREAM, &mut || stream.next());
    let answer = answer.map_err(|error| how_far(error, &stream.sent, order))?;
    let load_s = clock.seconds();
    let number = |name: &str| answer[name].as_u64().unwrap_or(0);
    let (rows, inserted, replaced) = (number("rows"), number("inserted"), number("replaced"));
    let info = client.get(&collection_path(&order.collection, ""))?;
    let total = info["points"].as_u64().unwrap_or(0);
    let (tally, lsn) = (Tally { rows, inserted, replaced }, answer["lsn"].clone());
    Ok(Outcome { tally, total, lsn, dim, load_s, index_s: None })
}

/// Makes the collection if it is missing; refuses one of another kind than asked for.
fn make_collection(client: &Client, order: &Order, dim: usize) -> Result {
    let info = match client.get(&collection_path(&order.collection, "")) {
        Ok(info) => info,
        Err(error) if error.kind() == ErrorKind::NotFound => {
            let metric = order.metric.unwrap_or(Metric::Cosine).name();
            let store = order.store.unwrap_or_default().name();
            let name = &order.collection;
            let asked = json!({ "name": name, "dim": dim, "metric": metric, "store": store });
            client.post("/v2/collections", &asked)?;
            return Ok(());
        }
        Err(error) => return Err(error.into()),
    };
    let there = |what: &str| {
        let value = &info[what];
        value.as_str().map_or_else(|| value.to_string(), str::to_owned)
    };
    if there("dim") != dim.to_string() {
        return Err(conflict(order, "dim", there("dim"), format!("dim {dim}")).into());
    }
    if let Some(asked) = order.metric.map(Metric::name).filter(|asked| *asked != there("metric")) {
        let asked = format!("--metric {asked}");
        return Err(conflict(order, "metric", there("metric"), asked).into());
    }
    Ok(())
}

/// The rows as the bytes of a stream.
struct Stream<'a> {
    source: &'a mut Source,
    /// Begun with the first batch, which says whether rows have ids.
    writer: Option<TableWriter<Vec<u8>>>,
    /// Rows of each batch handed over.
    sent: Vec<u64>,
    ended: bool,
}

impl Stream<'_> {
    fn next(&mut self) -> nearfield_engine::Result<Option<Bytes>> {
        if self.ended {
            return Ok(None);
        }
        let rows = self.source.next_batch()?;
        let writer = self.writer(&rows)?;
        if rows.count == 0 {
            writer.finish()?;
            let bytes = std::mem::take(writer.get_mut());
            self.ended = true;
            return Ok(Some(bytes.into()));
        }
        let count = rows.count as u64;
        writer.write(rows)?;
        let bytes = std::mem::take(writer.get_mut());
        self.sent.push(count);
        Ok(Some(bytes.into()))
    }

    fn writer(&mut self, first: &Rows) -> nearfield_engine::Result<&mut TableWriter<Vec<u8>>> {
        if self.writer.is_none() {
            // Later rows may have ids of the other kind.
            let ids = if first.ids.is_empty() { IdKind::None } else { IdKind::Mixed };
            let layout = Layout::new(ids, Some(self.source.dim()), &self.source.fields());
            self.writer = Some(TableWriter::stream(layout, Vec::new())?);
        }
        Ok(self.writer.as_mut().expect("made above"))
    }
}

/// Adds to an error what it left behind.
fn how_far(error: Error, sent: &[u64], order: &Order) -> Error {
    let error = error.context(order.file.display());
    match error.detail("batches_written").and_then(Value::as_u64) {
        Some(batches) => {
            let rows: u64 = sent.iter().take(batches as usize).sum();
            let said = format!("the first {rows} rows are in ({batches} batches), then");
            error.context(said).with("rows", rows)
        }
        None => {
            let most: u64 = sent.iter().sum();
            let said = format!("any whole number of batches of the {most} rows sent may be in");
            error.context(said)
        }
    }
}
