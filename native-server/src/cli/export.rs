//! `nearfield export`: writes collections to one `.near` file, or the rows of one collection to a file of
//! another format (`rows::write`). Entry: `Export::run`, called by `cli::run`.
//!
//! From a directory (beside a writer), from a `.near` file, or from a running server. The file is written
//! whole or not at all. What its format cannot hold is printed.

use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{Error, Fault, View, write_export};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::storage::{Storage, open_target_directory};
use serde_json::{Value, json};

use super::exit::Result;
use super::server::{Place, ServerArguments, collection_path};
use super::store::{self, Readable};
use crate::client::Client;
use crate::host::{self, ProgressLine};
use crate::rows::write::{self, Census, Format, Pass};
use crate::rows::{self, ColumnNames, RowFile, ViewRows};

/// Bytes gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// What a format for the rows of one collection wants.
const ONE_COLLECTION: &str = "one --collection (a .near file of a directory holds several)";

#[derive(Debug, Args)]
pub struct Export {
    /// Directory of the database or a .near file, and the file to write; or the file to write alone, with
    /// --server or --data-dir. Files: .near, .npy, .npz, .fvecs, .jsonl, .parquet, .arrow, .arrows
    #[arg(required = true, num_args = 1..=2, value_name = "[DIR] FILE")]
    places: Vec<PathBuf>,
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    #[command(flatten)]
    server: ServerArguments,
    /// Collections; several only in a .near file from a directory [default: all]
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Only points whose metadata pass, as in {"price": {"lt": 10}}; not for .near
    #[arg(long, value_name = "JSON")]
    filter: Option<String>,
    /// Also write the ids, to a .npy or one a line: for formats without them
    #[arg(long, value_name = "FILE")]
    ids: Option<PathBuf>,
    /// Print the outcome as JSON
    #[arg(long)]
    json: bool,
}

/// What was written.
struct Written {
    points: u64,
    bytes: u64,
    /// Of what the format has no place for.
    without_ids: bool,
    without_metadata: u64,
}

/// The rows to write, for any number of passes.
enum Source {
    View(Arc<View>, Option<Filter>),
    /// What a server sent, in a file that is removed in the end.
    Downloaded(Scratch),
}

impl Export {
    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// `NotFound`, `StorageFull`, `Io`, `Corrupt` if what is to be copied is damaged.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (file, rest) = self.places.split_last().expect("clap requires one");
        let place = self.server.place(rest.first().cloned(), self.data_dir.as_ref())?;
        let written = if file.extension().is_some_and(|ending| ending == "near") {
            self.write_near(&place, file)?
        } else {
            self.write_rows(&place, file)?
        };
        self.report(out, file, &written)
    }

    /// Segments as they are.
    fn write_near(&self, place: &Place, file: &Path) -> Result<Written> {
        let refused = |why: &str| Err(Error::invalid(Fault::Parameter, why).into());
        if self.filter.is_some() || self.ids.is_some() {
            return refused("a .near file holds whole collections: no --filter, no --ids");
        }
        let path = match place {
            Place::Path(path) => path,
            Place::Server(client) => return self.fetch_near(client, file),
        };
        let source = Readable::open(path)?;
        let names =
            if self.collections.is_empty() { source.names() } else { self.collections.clone() };
        let mut views = Vec::with_capacity(names.len());
        for name in names {
            let view = source.view(&name)?;
            views.push((name, view));
        }
        let (directory, name) = store::place(file)?;
        let pool = host::pool(None);
        let report = write_export(
            &open_target_directory(&directory)?,
            &name,
            &views,
            host::kernel()?,
            &pool,
            &never_cancelled,
        )?;
        let (points, bytes) = (report.points, report.bytes);
        Ok(Written { points, bytes, without_ids: false, without_metadata: 0 })
    }

    /// One collection of a server, as it is sent.
    fn fetch_near(&self, client: &Client, file: &Path) -> Result<Written> {
        let name = self.only_collection(&served_names(client)?, "one --collection")?;
        let path = collection_path(&name, "/export.near");
        let shown = file.display().to_string();
        let bytes = put(file, &mut |out| {
            let failed = |error| Error::io("write", &shown, error);
            client
                .download(&path, None, &mut |piece| out.write_all(piece).map_err(failed))
                .map(drop)
        })?;
        let points = Readable::open(file)?.view(&name)?.len();
        Ok(Written { points, bytes, without_ids: false, without_metadata: 0 })
    }

    fn write_rows(&self, place: &Place, file: &Path) -> Result<Written> {
        let format = Format::of(file)?;
        let source = match place {
            Place::Path(path) => {
                let readable = Readable::open(path)?;
                let filter = self.filter.as_deref().map(Filter::from_json_text).transpose()?;
                let name = self.only_collection(&readable.names(), ONE_COLLECTION)?;
                Source::View(readable.view(&name)?, filter)
            }
            Place::Server(client) => Source::Downloaded(self.download(client, file)?),
        };
        let census = write::census(&mut |pass| source.pass(pass))?;
        let bytes = put(file, &mut |out| {
            let mut line = ProgressLine::new("writing");
            let show = &mut |done, total| line.show(done, total);
            write::write(format, &census, &mut |pass| source.pass(pass), out, show)
        })?;
        if let Some(ids) = &self.ids {
            self.write_ids(&source, &census, ids)?;
        }
        let complete = format.is_complete();
        Ok(Written {
            points: census.rows,
            bytes,
            without_ids: !complete && self.ids.is_none(),
            without_metadata: if complete { 0 } else { census.with_metadata },
        })
    }

    fn write_ids(&self, source: &Source, census: &Census, file: &Path) -> Result {
        let as_array = file.extension().is_some_and(|ending| ending == "npy");
        put(file, &mut |out| {
            write::write_ids(as_array, census, &mut |pass| source.pass(pass), out)
        })?;
        Ok(())
    }

    /// The collection to write, if it is clear which.
    fn only_collection(
        &self,
        names: &[String],
        expected: &str,
    ) -> nearfield_engine::Result<String> {
        let named = if self.collections.is_empty() { names } else { &self.collections };
        if let [only] = named {
            return Ok(only.clone());
        }
        let message = format!("expected {expected}, there are {named:?}");
        Err(Error::invalid(Fault::Parameter, message).with("expected", expected))
    }

    fn download(&self, client: &Client, file: &Path) -> Result<Scratch> {
        let name = self.only_collection(&served_names(client)?, ONE_COLLECTION)?;
        let path = collection_path(&name, "/export");
        let mut asked = json!({});
        if let Some(filter) = &self.filter {
            asked["filter"] = serde_json::from_str::<Value>(filter).map_err(|error| {
                Error::invalid(Fault::Filter, format!("--filter: expected JSON: {error}"))
            })?;
        }
        let (scratch, mut to) = Scratch::beside(file)?;
        let name = scratch.0.display().to_string();
        let failed = |error| Error::io("write", &name, error);
        client.download(&path, Some(&asked), &mut |piece| to.write_all(piece).map_err(failed))?;
        to.flush().map_err(failed)?;
        Ok(scratch)
    }

    fn report(&self, out: &mut dyn Write, file: &Path, written: &Written) -> Result {
        let Written { points, bytes, without_ids, without_metadata } = written;
        let ending = file.extension().unwrap_or_default().display();
        if *without_ids {
            eprintln!("note: .{ending} has no place for ids; write them with --ids FILE");
        }
        if *without_metadata > 0 {
            eprintln!(
                "note: .{ending} has no place for metadata; {without_metadata} points have some"
            );
        }
        let file = file.display();
        if self.json {
            let report = json!({
                "file": file.to_string(), "points": points, "bytes": bytes,
                "ids_left_out": without_ids, "metadata_left_out": without_metadata,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        Ok(writeln!(out, "{points} points, {bytes} bytes in {file}")?)
    }
}

/// The collections of a server.
fn served_names(client: &Client) -> nearfield_engine::Result<Vec<String>> {
    let answer = client.get("/v2/collections")?;
    let collections = answer["collections"].as_array().into_iter().flatten();
    Ok(collections.filter_map(|one| one["name"].as_str().map(str::to_owned)).collect())
}

impl Source {
    fn pass(&self, pass: Pass) -> nearfield_engine::Result<Box<dyn RowFile>> {
        match self {
            Source::View(view, filter) => {
                let rows = ViewRows::new(Arc::clone(view), filter.as_ref(), &never_cancelled)?;
                Ok(Box::new(if pass == Pass::Census { rows.without_vectors() } else { rows }))
            }
            Source::Downloaded(scratch) => rows::open(&scratch.0, &ColumnNames::default()),
        }
    }
}

/// Writes a file whole or not at all, and returns its length.
fn put(
    file: &Path,
    fill: &mut dyn FnMut(&mut dyn Write) -> nearfield_engine::Result<()>,
) -> Result<u64> {
    let (directory, name) = store::place(file)?;
    open_target_directory(&directory)?.put(&name, &mut |out| {
        let mut out = BufWriter::with_capacity(BUFFER_BYTES, out);
        fill(&mut out)?;
        out.flush().map_err(|error| Error::io("write", &name, error))
    })?;
    let written = std::fs::metadata(file).map_err(|error| Error::io("read", &name, error))?;
    Ok(written.len())
}

/// A file of ours that is removed when it is no longer needed.
struct Scratch(PathBuf);

impl Scratch {
    /// A new one in the directory of `file`, where there must be room for as much anyway.
    fn beside(file: &Path) -> nearfield_engine::Result<(Scratch, BufWriter<std::fs::File>)> {
        let (directory, _) = store::place(file)?;
        let path = directory.join(format!(".nearfield-{:016x}.arrows", host::seed()));
        let made = std::fs::File::create_new(&path);
        let made = made.map_err(|error| Error::io("create", &path.display().to_string(), error))?;
        Ok((Scratch(path), BufWriter::with_capacity(BUFFER_BYTES, made)))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        // What cannot be removed is left under a name that says whose it is.
        drop(std::fs::remove_file(&self.0));
    }
}
