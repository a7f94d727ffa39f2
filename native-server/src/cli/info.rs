//! `nearfield info`: prints what is in a database or an export (schema, counts, segments, sizes), without
//! changing it. Entry: `Info::run`, called by `cli::run`.
//!
//! A collection that cannot be opened is listed with the reason, and the others all the same.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{ErrorKind, View};
use nearfield_segment::{InstructionSet, Kernel};
use serde_json::{Value, json};

use super::exit::{Exit, Result};
use super::store::{self, Readable};
use crate::host;

#[derive(Debug, Args)]
pub struct Info {
    /// Directory of a database, or a .near file
    path: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Info {
    /// Prints one block per collection.
    ///
    /// # Errors
    /// `NotFound`, or damage that hides everything.
    pub(super) fn run(self, out: &mut dyn Write) -> Result<Exit> {
        let source = Readable::open(&self.path)?;
        let (mut collections, mut exit) = (Vec::new(), Exit::Ok);
        for name in source.names() {
            let described = source.view(&name).and_then(|view| {
                let log_bytes = self.log_bytes(&source, &name)?;
                Ok(describe(&name, &view, log_bytes))
            });
            collections.push(described.unwrap_or_else(|error| {
                exit = Exit::of(error.kind());
                json!({ "name": name, "error": error.message() })
            }));
        }
        let kind = match source {
            Readable::Database(_) => "database",
            Readable::Export(_) => "export",
        };
        let available: Vec<&str> = Kernel::available().map(InstructionSet::name).collect();
        let report = json!({
            "kind": kind, "path": self.path.display().to_string(), "collections": collections,
            "instruction_set": host::kernel()?.set().name(), "available": available,
            "version": env!("CARGO_PKG_VERSION"),
        });
        if self.json {
            writeln!(out, "{report}")?
        } else {
            print(out, &report)?
        }
        Ok(exit)
    }

    /// Bytes of the log files of a collection that are not archived; `None` for an export.
    fn log_bytes(&self, source: &Readable, name: &str) -> nearfield_engine::Result<Option<u64>> {
        if let Readable::Export(_) = source {
            return Ok(None);
        }
        let (storage, manifest) = store::existing(&self.path)?;
        let dir = format!("c/{}/wal", manifest.resolve(name)?);
        let len = |file: String| match storage.open(&format!("{dir}/{file}")) {
            Ok(blob) => Ok(blob.len()),
            // A writer beside us has archived it since it was listed.
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(0),
            Err(error) => Err(error),
        };
        storage.list(&dir)?.into_iter().map(len).sum::<nearfield_engine::Result<u64>>().map(Some)
    }
}

fn describe(name: &str, view: &Arc<View>, log_bytes: Option<u64>) -> Value {
    let fields = view.schema.vectors.iter().map(|(field, spec)| {
        json!({ "field": field, "dim": spec.dim, "metric": spec.metric, "store": spec.store })
    });
    let segments = view.segments.iter().map(|live| {
        json!({
            "id": live.segment.id(),
            "level": live.file.as_ref().map(|entry| entry.level),
            "rows": live.segment.rows(),
            "live": live.live_rows(),
            "bytes": live.segment.sections().iter().map(|section| section.entry().len).sum::<u64>(),
            "graph": live.segment.fields().iter().any(|field| field.graph().is_some()),
            "degraded": live.segment.degraded().iter().map(|kind| format!("{kind:?}"))
                .collect::<Vec<_>>(),
        })
    });
    let in_files = view.segments.iter().filter(|live| log_bytes.is_none() || live.file.is_some());
    let section_bytes = in_files.flat_map(|live| live.segment.sections());
    json!({
        "name": name,
        "rows": view.len(),
        "lsn": view.lsn,
        "manifest": view.manifest,
        "vectors": fields.collect::<Vec<_>>(),
        "segments": segments.collect::<Vec<_>>(),
        "segment_bytes": section_bytes.map(|section| section.entry().len).sum::<u64>(),
        "log_bytes": log_bytes,
    })
}

fn print(out: &mut dyn Write, report: &Value) -> std::io::Result<()> {
    let text = |value: &Value| value.as_str().unwrap_or("?").to_owned();
    let sets = report["available"].as_array().into_iter().flatten().map(text);
    let sets = sets.collect::<Vec<_>>().join(", ");
    writeln!(out, "{} {}", text(&report["kind"]), text(&report["path"]))?;
    writeln!(out, "instructions {} (of {sets})", text(&report["instruction_set"]))?;
    for collection in report["collections"].as_array().into_iter().flatten() {
        writeln!(out, "\n{}", text(&collection["name"]))?;
        if let Some(error) = collection["error"].as_str() {
            writeln!(out, "  cannot be opened: {error}")?;
            continue;
        }
        print_collection(out, collection)?;
    }
    Ok(())
}

fn print_collection(out: &mut dyn Write, collection: &Value) -> std::io::Result<()> {
    for field in collection["vectors"].as_array().into_iter().flatten() {
        let named = field["field"].as_str().filter(|name| !name.is_empty());
        let of = named.map_or(String::new(), |name| format!(" of {name:?}"));
        let (dim, metric, store) = (&field["dim"], &field["metric"], &field["store"]);
        let (metric, store) = (metric.as_str().unwrap_or("?"), store.as_str().unwrap_or("?"));
        writeln!(out, "  vectors{of}  dim {dim}, {metric}, {store}")?;
    }
    writeln!(out, "  rows      {}", collection["rows"])?;
    writeln!(out, "  lsn       {}", collection["lsn"])?;
    writeln!(out, "  bytes     {} in segments", collection["segment_bytes"])?;
    if let Some(bytes) = collection["log_bytes"].as_u64() {
        writeln!(out, "  log       {bytes} bytes")?;
    }
    for segment in collection["segments"].as_array().into_iter().flatten() {
        let level = segment["level"].as_u64();
        let unlevelled = if collection["log_bytes"].is_null() { "exported" } else { "in the log" };
        let place = level.map_or(unlevelled.to_owned(), |level| format!("level {level}"));
        let graph = if segment["graph"] == true { ", graph" } else { "" };
        let (live, rows, bytes) = (&segment["live"], &segment["rows"], &segment["bytes"]);
        writeln!(out, "  segment   {place}: {live} of {rows} rows live, {bytes} bytes{graph}")?;
    }
    Ok(())
}
