//! The Python class `Database`, and the functions that open one (directory, memory, export), restore a
//! snapshot, and verify. Called from Python; it returns `Collection`s.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::hash::{BuildHasher, Hasher};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::{
    Collection as EngineCollection, Database as EngineDatabase, ErrorKind, Finding, Mode, Options,
    SystemClock, verify, verify_export,
};
use nearfield_segment::storage::{
    MemoryStorage, Storage, open_directory, open_existing_directory, open_target_directory,
};
use nearfield_segment::{FieldKinds, Kernel, Metric, Schema};
use pyo3::prelude::*;
use pyo3::types::PyTuple;
use serde_json::json;

use crate::arguments::{self, choice, count};
use crate::collection::{Collection, record};
use crate::error::{Failure, Result};
use crate::progress::Signals;
use crate::store::{Place, Store};

/// What `quantization=` accepts so far; both mean that vectors are compared as stored.
const QUANTIZATIONS: [(&str, ()); 2] = [("none", ()), ("auto", ())];

/// The path that means memory.
const IN_MEMORY: &str = ":memory:";

/// A directory (or memory, or an export) with collections.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Database {
    store: Arc<Store>,
}

impl Database {
    fn wrap(&self, engine: Arc<EngineCollection>) -> Collection {
        if engine.is_writable() {
            self.store.background().add(&engine);
        }
        Collection::new(Arc::clone(&self.store), engine)
    }
}

#[pymethods]
impl Database {
    /// Create a collection.
    ///
    /// dim: elements of a vector, 1 to 65,536.
    /// metric: "cosine", "dot" or "l2".
    /// store: "f32" keeps vectors as given, "f16" rounds them to half the size.
    /// quantization: "auto" and "none" are what there is; both compare vectors as stored.
    /// fields: metadata fields, by path, whose texts are dates: {"published": "datetime"} compares them as moments.
    ///     What is written as dates, not as texts, needs none: see upsert.
    /// exist_ok: return the collection if it is there with the same dim, metric and store, and declares these fields.
    #[pyo3(signature = (
        name, dim, *, metric="cosine", store="f32", quantization="auto", fields=None, exist_ok=false
    ))]
    #[expect(clippy::too_many_arguments, reason = "the arguments of the Python method")]
    fn create(
        &self,
        py: Python<'_>,
        name: &str,
        dim: &Bound<'_, PyAny>,
        metric: &str,
        store: &str,
        quantization: &str,
        fields: Option<BTreeMap<String, String>>,
        exist_ok: bool,
    ) -> Result<Collection> {
        let metric = metric.parse::<Metric>()?;
        choice("quantization", quantization, &QUANTIZATIONS)?;
        let kinds = fields.unwrap_or_default().into_iter();
        let kinds = kinds.map(|(name, kind)| Ok((name, kind.parse()?)));
        let fields = kinds.collect::<nearfield_engine::Result<FieldKinds>>()?;
        let dense = Schema::dense(count("dim", dim, 1)?, metric, store.parse()?)?;
        let schema = Schema { fields, ..dense };
        let created = py.detach(|| {
            self.store.with(|database| match database.create(name, &schema) {
                Err(error) if exist_ok && error.kind() == ErrorKind::Conflict => {
                    database.collection(name)
                }
                other => other,
            })
        })?;
        let there = &created.view().schema;
        let lacks = |path: &str| there.fields.get(path) != schema.fields.get(path);
        // Dates that were written may have declared more.
        if there.vectors != schema.vectors || schema.fields.paths().any(lacks) {
            return Err(nearfield_engine::Error::new(
                ErrorKind::Conflict,
                format!("collection {name:?} exists with another dim, metric, store or fields"),
            )
            .with("expected", serde_json::to_value(&schema).expect("plain data"))
            .with("got", serde_json::to_value(&**there).expect("plain data"))
            .into());
        }
        Ok(self.wrap(created))
    }

    /// An existing collection.
    fn collection(&self, py: Python<'_>, name: &str) -> Result<Collection> {
        Ok(self.wrap(py.detach(|| self.store.with(|database| database.collection(name)))?))
    }

    fn __getitem__(&self, py: Python<'_>, name: &str) -> Result<Collection> {
        self.collection(py, name)
    }

    /// Remove a collection and its files. Handles to it raise ClosedError from then on.
    fn drop(&self, py: Python<'_>, name: &str) -> Result<()> {
        self.store.background().remove(name);
        py.detach(|| {
            self.store.with(|database| {
                // One that does not open can be dropped, and no handle to it exists.
                let held = database.collection(name);
                database.drop_collection(name)?;
                if let Ok(held) = &held {
                    self.store.note_dropped(held);
                }
                Ok(())
            })
        })
    }

    /// Names of the collections, sorted.
    fn names(&self, py: Python<'_>) -> Result<Vec<String>> {
        py.detach(|| self.store.with(|database| Ok(database.names())))
    }

    fn __contains__(&self, py: Python<'_>, name: &str) -> Result<bool> {
        Ok(self.names(py)?.iter().any(|there| there == name))
    }

    fn __len__(&self, py: Python<'_>) -> Result<usize> {
        Ok(self.names(py)?.len())
    }

    /// Always true: an empty database is a database.
    fn __bool__(&self) -> bool {
        true
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, pyo3::types::PyIterator>> {
        Ok(pyo3::types::PyList::new(py, self.names(py)?)?.try_iter()?)
    }

    /// Write collections (all, or those named) as one `.near` file that opens anywhere. Ctrl-C stops it and leaves no
    /// file.
    #[pyo3(signature = (path, *, collections=None))]
    fn export<'py>(
        &self,
        py: Python<'py>,
        path: PathBuf,
        collections: Option<Vec<String>>,
    ) -> Result<Bound<'py, PyAny>> {
        let (path, names) = (local(py, path)?, collections.unwrap_or_default());
        let (directory, file) = split(&path)?;
        let pool = arguments::pool(None)?;
        let signals = Signals::default();
        let report = py.detach(|| {
            let target = open_target_directory(directory)?;
            let go_on = || signals.go_on();
            self.store.with(|database| database.export(&target, &file, &names, &pool, &go_on))
        });
        let report = signals.or_failure(report)?;
        let path = path.display().to_string();
        let fields = json!({ "path": path, "bytes": report.bytes, "points": report.points });
        record(py, "ExportReport", &fields)
    }

    /// Back the whole database up into its `snapshots/` directory, while it is in use.
    fn snapshot<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let root = self.store.place.path.clone().filter(|_| self.store.place.mode != "memory");
        let Some(root) = root else {
            let got = "a database in memory (export it instead)";
            return Err(Failure::parameter("snapshot", "a database in a directory", got));
        };
        let signals = Signals::default();
        let snapshot =
            py.detach(|| self.store.with(|database| database.snapshot(&[], &|| signals.go_on())));
        let snapshot = signals.or_failure(snapshot)?;
        let path = root.join(&snapshot.dir).display().to_string();
        let (collections, files) = (snapshot.collections, snapshot.files);
        let fields = json!({ "path": path, "collections": collections, "files": files });
        record(py, "SnapshotReport", &fields)
    }

    /// Read every file and check every checksum. Damage is reported, not raised.
    fn verify<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let signals = Signals::default();
        let report = py.detach(|| {
            self.store.with(|_| {
                let Place { storage, path, mode } = &self.store.place;
                let file = path.as_ref().and_then(|path| path.file_name()?.to_str());
                match (*mode, file) {
                    ("near", Some(file)) => verify_export(file, &storage.open(file)?),
                    _ => verify(storage, None, &|| signals.go_on()),
                }
            })
        });
        let report = signals.or_failure(report)?;
        let finding = |found: &Finding| json!(found);
        let findings: Result<Vec<_>> =
            report.findings.iter().map(|found| record(py, "Finding", &finding(found))).collect();
        let class = py.import("nearfield._results")?.getattr("VerifyReport")?;
        let (files, bytes) = (report.files, report.bytes);
        let counts = (report.collections, files, bytes, report.log_batches, findings?);
        Ok(class.call1(counts)?)
    }

    /// What was opened; None in memory.
    #[getter]
    fn path(&self) -> Option<PathBuf> {
        self.store.place.path.clone()
    }

    /// "rw", "r", "memory", or "near" for an export.
    #[getter]
    fn mode(&self) -> &'static str {
        self.store.place.mode
    }

    /// True after close().
    #[getter]
    fn closed(&self) -> bool {
        self.store.is_closed()
    }

    /// Stop upkeep, wait for changes under way in other threads, and give the directory up. Everything
    /// acknowledged is durable already; what is only in the log is written to a file if it is much, so that
    /// the next opening is fast. Closing twice is fine.
    fn close(&self, py: Python<'_>) {
        py.detach(|| self.store.close());
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, py: Python<'_>, _exception: &Bound<'_, PyTuple>) {
        self.close(py);
    }

    fn __repr__(&self, py: Python<'_>) -> String {
        let what = match self.names(py) {
            Ok(names) => format!("collections {names:?}"),
            Err(_) => "closed".to_owned(),
        };
        let path = self.store.place.path.as_ref();
        let path = path.map_or_else(|| "in memory".to_owned(), |path| path.display().to_string());
        format!("<Database {path} ({}): {what}>", self.store.place.mode)
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield._html")?.getattr("database")?.call1((slf,))
    }
}

/// Open a database: a directory (created if missing), a `.near` file, or memory.
///
/// path: a directory or file; a leading "~" is the home directory, ":memory:" is memory.
/// mode: "rw" to write (one process at a time), "r" to read beside a writer (what is shown stays until
/// Collection.refresh()), "memory" for a database that ends with the process. An export is always read-only.
#[pyfunction]
#[pyo3(signature = (path=None, *, mode=None))]
pub(crate) fn open(py: Python<'_>, path: Option<PathBuf>, mode: Option<&str>) -> Result<Database> {
    let path = path.filter(|path| path.as_os_str() != IN_MEMORY);
    let path = path.map(|path| local(py, path)).transpose()?;
    let fallback = if path.is_none() { "memory" } else { "rw" };
    let mode = match mode.unwrap_or(fallback) {
        "rw" if path.is_none() => "memory",
        other => choice("mode", other, &["rw", "r", "memory"].map(|mode| (mode, mode)))?,
    };
    let kernel = arguments::kernel()?;
    let owner = owner(py)?;
    match (path, mode) {
        (None, "memory") => memory(kernel),
        (None, _) => Err(Failure::parameter("path", "a directory or .near file to read", "None")),
        (Some(path), "memory") => {
            let got = path.display().to_string();
            Err(Failure::parameter("path", "None with mode=\"memory\"", &got))
        }
        (Some(path), _) if path.is_file() => py.detach(|| export(&path, kernel)),
        (Some(path), mode) => py.detach(|| directory(&path, mode, kernel, &owner)),
    }
}

/// A path of this machine: with the home directory for `~`, and no URL.
fn local(py: Python<'_>, path: PathBuf) -> Result<PathBuf> {
    let text = path.to_string_lossy();
    if text.contains("://") {
        let expected = "a directory or .near file of this machine (a server is asked over HTTP, see docs/http.md; \
                        a .near file at a URL is downloaded first)";
        return Err(Failure::parameter("path", expected, &text));
    }
    if !text.starts_with('~') {
        return Ok(path);
    }
    Ok(py.import("os.path")?.getattr("expanduser")?.call1((path,))?.extract()?)
}

/// Copy a snapshot to a new directory, after checking all of it. Open the copy with nearfield.open(). Ctrl-C stops it
/// and leaves no database.
#[pyfunction]
#[pyo3(signature = (snapshot, *, to))]
pub(crate) fn restore(py: Python<'_>, snapshot: PathBuf, to: PathBuf) -> Result<()> {
    let (snapshot, to) = (local(py, snapshot)?, local(py, to)?);
    let signals = Signals::default();
    let restored = py.detach(|| {
        let source: Arc<dyn Storage> = Arc::new(open_existing_directory(&snapshot)?);
        let target: Arc<dyn Storage> = Arc::new(open_directory(&to)?);
        Ok(nearfield_engine::restore(&source, &target, &|| signals.go_on())?)
    });
    signals.or_failure(restored).map(drop)
}

fn memory(kernel: Kernel) -> Result<Database> {
    let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let place = Place { storage: Arc::clone(&storage), path: None, mode: "memory" };
    engine(place, Mode::Memory, kernel, "this process")
}

fn directory(path: &Path, mode: &str, kernel: Kernel, owner: &str) -> Result<Database> {
    let (storage, mode, engine_mode) = match mode {
        "r" => (open_existing_directory(path)?, "r", Mode::Read),
        _ => (open_directory(path)?, "rw", Mode::Write),
    };
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    let place = Place { storage: Arc::new(storage), path: Some(path), mode };
    engine(place, engine_mode, kernel, owner)
}

fn engine(place: Place, mode: Mode, kernel: Kernel, owner: &str) -> Result<Database> {
    let mut options = Options::default();
    options.segment.kernel = kernel;
    let (storage, clock) = (Arc::clone(&place.storage), Arc::new(SystemClock));
    let database = EngineDatabase::open(storage, mode, options, clock, seed(), owner)
        .map_err(|error| place.path.iter().fold(error, |e, path| e.context(path.display())))?;
    Ok(Database { store: Store::new(place, database) })
}

fn export(path: &Path, kernel: Kernel) -> Result<Database> {
    let (directory, file) = split(path)?;
    let storage: Arc<dyn Storage> = Arc::new(open_existing_directory(directory)?);
    let blob = storage.open(&file)?;
    let mut options = Options::default();
    options.segment.kernel = kernel;
    let database = EngineDatabase::from_export(&file, &blob, options, Arc::new(SystemClock))?;
    let path = std::path::absolute(path).unwrap_or_else(|_| path.to_owned());
    Ok(Database { store: Store::new(Place { storage, path: Some(path), mode: "near" }, database) })
}

/// Directory and name of a file.
fn split(path: &Path) -> Result<(PathBuf, String)> {
    let file = path.file_name().map(OsString::from).and_then(|name| name.into_string().ok());
    let Some(file) = file else {
        let got = path.display().to_string();
        return Err(Failure::parameter("path", "a path that ends with a file's name", &got));
    };
    let parent = path.parent().filter(|parent| !parent.as_os_str().is_empty());
    Ok((parent.unwrap_or(Path::new(".")).to_owned(), file))
}

/// Different in every process: names of files must not meet.
fn seed() -> u64 {
    std::hash::RandomState::new().build_hasher().finish()
}

/// One line for the lock file that identifies the holder of the lock.
fn owner(py: Python<'_>) -> Result<String> {
    let datetime = py.import("datetime")?;
    let utc = datetime.getattr("timezone")?.getattr("utc")?;
    let now = datetime.getattr("datetime")?.call_method1("now", (utc,))?;
    let opened: String = now.call_method1("isoformat", (" ", "seconds"))?.extract()?;
    let (pid, version) = (std::process::id(), env!("CARGO_PKG_VERSION"));
    Ok(format!("pid {pid}, opened {opened}, nearfield {version}, python"))
}
