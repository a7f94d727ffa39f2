//! Opens what a path argument names, for the commands: a directory with a database (`open_for_writing`,
//! `open_for_reading`) or one `.near` file (`Readable`).
//!
//! Readers open beside a writer and leave the directory as it is. Writers name their process in the lock.
//! What recovery did is reported as warnings; the command goes on.

use std::io::Write;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;

use nearfield_engine::manifest::{DatabaseManifest, Manifest, list_numbers, load_newest};
use nearfield_engine::task::Progress;
use nearfield_engine::{
    Collection, Database, Error, ErrorKind, Export, Fault, Mode, Options, Result, SystemClock, View,
};
use nearfield_segment::Pool;
use nearfield_segment::filter::near_names;
use nearfield_segment::format::Residence;
use nearfield_segment::storage::{Blob, Storage, open_directory, open_existing_directory};
use tracing::warn;

use crate::host::{self, ProgressLine};

/// Milliseconds of an hour.
pub(super) const HOUR_MS: u64 = 3_600_000;
/// Hours of history that are kept for replay by default.
pub(super) const HISTORY_HOURS: u64 = 24;

/// Opens the database in `dir` for writing; `create` makes directory and database where missing. The
/// history that the directory has stays.
///
/// # Errors
/// `Locked` naming the process that holds it; `NotFound` without `create` and a database.
pub(super) fn open_for_writing(dir: &Path, command: &str, create: bool) -> Result<Database> {
    let storage = if create { open_directory(dir)? } else { open_existing_directory(dir)? };
    let storage: Arc<dyn Storage> = Arc::new(storage);
    let mut options = options()?;
    let past = if create && !has_database(dir)? {
        false
    } else {
        has_past(&*storage, &require_database(&storage, dir)?)?
    };
    if past {
        options.history_ms = Some(HISTORY_HOURS * HOUR_MS);
    }
    open_with(storage, Mode::Write, options, command).map_err(|error| named(error, dir))
}

/// Opens the database in `dir` for writing with options of the caller's.
///
/// # Errors
/// As [`open_for_writing`].
pub(super) fn open_with_options(dir: &Path, options: Options, command: &str) -> Result<Database> {
    let (storage, _) = existing(dir)?;
    open_with(storage, Mode::Write, options, command).map_err(|error| named(error, dir))
}

/// Opens the database in `dir` for reading, beside its writer if there is one.
///
/// # Errors
/// `NotFound`, `Corrupt`.
pub(super) fn open_for_reading(dir: &Path) -> Result<Database> {
    let (storage, _) = existing(dir)?;
    open_with(storage, Mode::Read, options()?, "read").map_err(|error| named(error, dir))
}

/// Whether a collection keeps manifests of the past and does not say for how long, as those of earlier builds: a
/// command for a moment shall not shorten what the server that owns the directory keeps for a day.
fn has_past(storage: &dyn Storage, database: &DatabaseManifest) -> Result<bool> {
    let mut collections = database.collections.values();
    collections.try_fold(false, |past, entry| {
        let dir = format!("c/{}", entry.id);
        let several = list_numbers::<Manifest>(storage, &dir)?.len() > 1;
        // A manifest that cannot be read is reported when the collection is opened.
        let newest = load_newest::<Manifest>(storage, &dir).ok().flatten();
        let says = newest.is_some_and(|stored| stored.document.history_ms.is_some());
        Ok(past || (several && !says))
    })
}

/// Merges a collection into one file, and shows how far that is as `doing`.
///
/// # Errors
/// As [`Collection::compact`].
pub(super) fn compact(collection: &Collection, pool: &Pool, doing: &'static str) -> Result<()> {
    let mut line = ProgressLine::new(doing);
    let mut show = |progress: Progress| {
        line.show(progress.done, progress.total);
        ControlFlow::Continue(())
    };
    collection.compact(pool, &mut show).map(drop)
}

/// Whether `dir` is a directory with a database.
///
/// # Errors
/// `Corrupt`, `Io`.
pub(super) fn has_database(dir: &Path) -> Result<bool> {
    match existing(dir) {
        Ok(_) => Ok(true),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(false),
        Err(error) => Err(error),
    }
}

/// Says where the state before a change was kept.
///
/// # Errors
/// Those of `out`.
pub(super) fn say_backup(out: &mut dyn Write, backup: Option<&str>) -> super::exit::Result {
    match backup {
        Some(dir) => Ok(writeln!(out, "the state before is kept in {dir}; remove it when done")?),
        None => Ok(()),
    }
}

/// The usual options, with the instruction set of this call.
///
/// # Errors
/// As [`host::kernel`].
pub(super) fn options() -> Result<Options> {
    let mut options = Options::default();
    options.segment.kernel = host::kernel()?;
    Ok(options)
}

/// Opens a database with options of the caller's.
///
/// # Errors
/// As [`Database::open`].
pub(super) fn open_with(
    storage: Arc<dyn Storage>,
    mode: Mode,
    options: Options,
    command: &str,
) -> Result<Database> {
    let (clock, owner) = (Arc::new(SystemClock), host::owner(command));
    Database::open(storage, mode, options, clock, host::seed(), &owner)
}

/// The directory `dir` as storage, if it holds a database.
///
/// # Errors
/// `NotFound`, `Corrupt`.
pub(super) fn existing(dir: &Path) -> Result<(Arc<dyn Storage>, DatabaseManifest)> {
    let storage: Arc<dyn Storage> = Arc::new(open_existing_directory(dir)?);
    let manifest = require_database(&storage, dir)?;
    Ok((storage, manifest))
}

fn require_database(storage: &Arc<dyn Storage>, dir: &Path) -> Result<DatabaseManifest> {
    let manifest = load_newest(&**storage, "").map_err(|error| named(error, dir))?;
    manifest.map(|stored| stored.document).ok_or_else(|| {
        let message = format!("there is no database in {}", dir.display());
        Error::new(ErrorKind::NotFound, message)
    })
}

fn named(error: Error, path: &Path) -> Error {
    error.context(path.display())
}

/// Something to search: a database opened for reading, or an export.
#[derive(Debug)]
pub(super) enum Readable {
    /// A directory; follows a writer in another process.
    Database(Box<Database>),
    /// A `.near` file and its collections.
    Export(Vec<(String, Arc<View>)>),
}

impl Readable {
    /// Opens the directory or file at `path`.
    ///
    /// # Errors
    /// `NotFound`, `Corrupt`, `Version`, `Io`.
    pub(super) fn open(path: &Path) -> Result<Readable> {
        if path.is_file() {
            let (name, blob) = open_file(path)?;
            let Export { collections, .. } = Export::open(&name, &blob, Residence::InPlace)?;
            let shared = |(name, view)| (name, Arc::new(view));
            return Ok(Readable::Export(collections.into_iter().map(shared).collect()));
        }
        open_for_reading(path).map(|database| Readable::Database(Box::new(database)))
    }

    /// Names of the collections, sorted.
    pub(super) fn names(&self) -> Vec<String> {
        match self {
            Readable::Database(database) => database.names(),
            Readable::Export(collections) => {
                collections.iter().map(|(name, _)| name.clone()).collect()
            }
        }
    }

    /// The newest view of a collection.
    ///
    /// # Errors
    /// `NotFound` listing near names; what opening the collection returns.
    pub(super) fn view(&self, name: &str) -> Result<Arc<View>> {
        let view = match self {
            Readable::Database(database) => database.collection(name)?.view(),
            Readable::Export(collections) => {
                let named = collections.iter().find(|(there, _)| there == name);
                Arc::clone(&named.ok_or_else(|| unknown(name, &self.names()))?.1)
            }
        };
        Ok(view)
    }
}

fn unknown(name: &str, names: &[String]) -> Error {
    let near = near_names(name, names.iter().map(String::as_str));
    let message = format!("there is no collection {name:?}; there are: {}", names.join(", "));
    Error::new(ErrorKind::NotFound, message).with("near", near)
}

/// A file outside any store as a blob, with its name for messages.
///
/// # Errors
/// `NotFound`, `Io`; `InvalidInput` for a name no store would use.
pub(super) fn open_file(path: &Path) -> Result<(String, Arc<dyn Blob>)> {
    let (directory, name) = place(path)?;
    let blob = open_existing_directory(&directory)?.open(&name)?;
    Ok((path.display().to_string(), blob))
}

/// The directory of a file and its name there.
///
/// # Errors
/// `InvalidInput(Parameter)` if the path does not end in a name.
pub(super) fn place(path: &Path) -> Result<(std::path::PathBuf, String)> {
    let name = path.file_name().and_then(|name| name.to_str()).ok_or_else(|| {
        Error::invalid(Fault::Parameter, format!("{} does not name a file", path.display()))
    })?;
    let directory = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((directory.unwrap_or(Path::new(".")).to_owned(), name.to_owned()))
}

/// Says which sections were found damaged so far: a file is verified as it is read.
pub(super) fn warn_of_degraded(name: &str, view: &View) {
    for live in &view.segments {
        let sections = live.segment.degraded();
        if !sections.is_empty() {
            warn!(
                collection = name,
                segment = live.segment.name(),
                ?sections,
                "damaged sections are done without; `nearfield compact` rebuilds them"
            );
        }
    }
}
