//! The Python class `Collection`: reads the arguments, makes one call of the engine without the interpreter lock, and
//! converts the result. Returned by the class `Database`; `upsert`, `search`, `rows` and `hits` hold its parts.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_engine::task::{MergeScope, Task};
use nearfield_engine::{Collection as EngineCollection, View, recall};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::SearchParams;
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{DEFAULT_FIELD, Pool};
use pyo3::prelude::*;
use pyo3::types::PyDict;
use serde_json::Value;

use crate::arguments::{count, filter, pool};
use crate::arrays::Vectors;
use crate::error::{Failure, Result};
use crate::handle::{Handle, spec_of};
use crate::hits::Hits;
use crate::progress::{Progress, Signals};
use crate::rows::{self, Scan};
use crate::search::{self, Searcher};
use crate::store::Store;
use crate::upsert::{self, Input, Outcome};
use crate::{ids, json};

/// Ids that iterating over a collection gathers at once.
const IDS_AT_ONCE: usize = 8_192;

/// A collection of vectors with ids and metadata.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Collection {
    handle: Handle,
    searcher: Searcher,
}

impl Collection {
    pub(crate) fn new(store: Arc<Store>, engine: Arc<EngineCollection>) -> Collection {
        Collection { handle: Handle::new(store, engine), searcher: Searcher::default() }
    }

    fn compact_watched(&self, py: Python<'_>, pool: &Pool, progress: Progress) -> Result<()> {
        let (mut progress, signals) = (progress, Signals::default());
        let compacted = self.handle.change(py, |engine| {
            // Progress is that of the merge of all files; the checkpoint before it sees Ctrl-C only.
            let mut carry = |task: Task| match task.level() == 0 {
                true => task.run(pool, &mut |_| signals.step()),
                false => task.run(pool, &mut |at| progress.step(at.done, at.total)),
            };
            Ok(engine.merge_by(MergeScope::Everything, &mut carry))
        })?;
        signals.or_failure(progress.or_failure(compacted))?;
        Ok(progress.finished(py)?)
    }
}

#[pymethods]
impl Collection {
    /// Name in its database.
    #[getter]
    fn name(&self) -> &str {
        self.handle.engine.name()
    }

    /// Elements of a vector.
    #[getter]
    fn dim(&self) -> u32 {
        self.handle.spec().dim
    }

    /// "cosine", "dot" or "l2".
    #[getter]
    fn metric(&self) -> &'static str {
        self.handle.spec().metric.name()
    }

    /// How elements are stored: "f32" or "f16".
    #[getter]
    fn store(&self) -> &'static str {
        self.handle.spec().store.name()
    }

    /// The kinds of declared metadata fields, by path: those of create, and those of dates that were written.
    #[getter]
    fn fields(&self) -> Result<BTreeMap<String, &'static str>> {
        let view = self.handle.view()?;
        let fields = view.schema.fields.iter();
        Ok(fields.map(|(path, kind)| (path.to_owned(), kind.name())).collect())
    }

    /// Number of points.
    fn __len__(&self) -> Result<usize> {
        Ok(usize::try_from(self.handle.view()?.len()).unwrap_or(usize::MAX))
    }

    /// Always true: an empty collection is a collection.
    fn __bool__(&self) -> bool {
        true
    }

    /// Whether there is a point of this id.
    fn __contains__(&self, id: &Bound<'_, PyAny>) -> Result<bool> {
        Ok(self.handle.view()?.find(&ids::read_one(id, 0)?)?.is_some())
    }

    /// Add vectors, or replace those whose ids are there already. Durable when it returns.
    ///
    /// All arguments are checked before anything is written. Rows are written in batches of 8,192 (fewer
    /// if vectors are long), in order; each batch is atomic, and durable once it is written. Ctrl-C stops
    /// between batches with nearfield.Interrupted, a KeyboardInterrupt that says how many rows are written
    /// and which ids were assigned; an error on the way says it in its attribute `written`. Do not change
    /// the arrays from another thread meanwhile.
    ///
    /// vectors: (n, dim) array or list of any numeric type, or one vector; or a column of lists or arrays of
    ///     pandas, polars or Arrow. C-contiguous float32 is not copied before it is written.
    /// ids: integers from -2**63 to 2**64-1, uuid.UUID or strings, mixed freely; assigned if left out. A UUID
    ///     comes back as its text.
    /// metadata: a dict of columns, a list with a dict or None for each row, or a table of pandas, polars or
    ///     Arrow. Nulls (None, pandas NA and NaT, NaN in a pandas column, null of polars and Arrow) are null;
    ///     NaN elsewhere is an error. A field with dates (datetime, date, datetime64, pandas Timestamps, columns
    ///     of these types) is declared datetime from then on: its values are compared as moments, and come
    ///     back as text. Times of day and durations are an error. float32 values are stored with the shortest
    ///     decimals that read back the same: .1 as 0.1, so that a filter for .1 finds it.
    /// threads: threads for upkeep done on the way; all cores by default.
    /// progress: True for a line on stderr, or a callable of (rows done, rows in all).
    #[pyo3(
        signature = (vectors, ids=None, metadata=None, threads=None, progress=None),
        text_signature = "($self, vectors, ids=None, metadata=None, threads=None, progress=False)"
    )]
    fn upsert<'py>(
        &self,
        py: Python<'py>,
        vectors: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        metadata: Option<&Bound<'py, PyAny>>,
        threads: Option<&Bound<'py, PyAny>>,
        progress: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyAny>> {
        self.handle.check()?;
        let (pool, progress) = (pool(threads)?, Progress::new(progress, "upsert")?);
        let mut outcome = Outcome::default();
        let input = Input::read(&self.handle.spec(), vectors, ids, metadata);
        let done = input.and_then(|input| {
            upsert::upsert(py, &self.handle, &input, &pool, &progress, &mut outcome)
        });
        self.handle.store.background().wake();
        let assigned = ids.is_none();
        match done {
            Ok(()) => outcome.into_python(py, assigned),
            Err(failure) if failure.is_interrupt(py) => Err(outcome.interrupted(py, assigned)),
            Err(failure) if outcome.written > 0 => Err(failure.after_writing(outcome.written)),
            Err(failure) => Err(failure),
        }
    }

    /// Remove points by id, or all that pass a filter, as one atomic batch. Returns how many were there. If the ids of
    /// what a filter removes take more than half a GiB, there are several batches, and a crash may leave the first
    /// ones.
    #[pyo3(signature = (ids=None, *, r#where=None))]
    fn delete(
        &self,
        py: Python<'_>,
        ids: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
    ) -> Result<u64> {
        upsert::one_of_ids_and_where(ids.is_some(), r#where.is_some())?;
        let filter = filter(r#where, &self.handle.view()?.schema.fields)?;
        let deleted = match (ids, filter) {
            (Some(ids), _) => upsert::delete_ids(py, &self.handle, ids, &Pool::SERIAL)?,
            (None, Some(filter)) => {
                self.handle.change(py, |engine| engine.delete_where(&filter))?.deleted
            }
            (None, None) => 0,
        };
        self.handle.store.background().wake();
        Ok(deleted)
    }

    /// Points by id, as stored, in the order asked for; `missing` lists those that are not there.
    #[pyo3(signature = (ids, *, vectors=false, metadata=true))]
    fn get<'py>(
        &self,
        py: Python<'py>,
        ids: &Bound<'py, PyAny>,
        vectors: bool,
        metadata: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let view = self.handle.view()?;
        rows::get(py, &view, &ids::read(ids)?, rows::columns(vectors, metadata))
    }

    /// The k nearest points to one vector (1-D) or to each of many (2-D), best first, ties by id.
    ///
    /// queries: (dim,) or (n, dim), as the vectors of upsert. k: at least 1.
    /// where: a filter, as a dict like {"price": {"lt": 10}} or its JSON text. Only points that pass are
    ///     found, and as many of them as there are up to k. A field that no point ever had is a FilterError;
    ///     so are dates for a field that is not declared. A float32 value counts as its shortest decimals.
    /// ef: how many candidates a graph search keeps; more is slower and finds more. exact=True compares
    ///     with every point instead.
    /// threads: threads for many queries; all cores by default. One query runs on one. Ctrl-C stops between
    ///     queries.
    #[pyo3(
        signature = (queries, k=None, *, r#where=None, ef=None, exact=false, threads=None),
        text_signature = "($self, queries, k=10, *, where=None, ef=None, exact=False, threads=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of the Python method")]
    fn search(
        &self,
        py: Python<'_>,
        queries: &Bound<'_, PyAny>,
        k: Option<&Bound<'_, PyAny>>,
        r#where: Option<&Bound<'_, PyAny>>,
        ef: Option<&Bound<'_, PyAny>>,
        exact: bool,
        threads: Option<&Bound<'_, PyAny>>,
    ) -> Result<Hits> {
        let view = self.handle.view()?;
        let filter = filter(r#where, &view.schema.fields)?;
        let k = k.map_or(Ok(10), |k| count("k", k, 1))?;
        let ef = ef.map(|ef| count("ef", ef, 1)).transpose()?;
        let params = SearchParams { field: DEFAULT_FIELD, k, ef, exact, filter: filter.as_ref() };
        let queries = Vectors::read(queries, spec_of(&view).dim as usize)?;
        let (elements, kernel) = (queries.elements(), self.handle.engine.kernel());
        if queries.single {
            // Not without: how many cores there are is read from files.
            threads.map(|threads| pool(Some(threads))).transpose()?;
            return py.detach(|| self.searcher.one(&view, params, elements, kernel));
        }
        let pool = pool(threads)?;
        search::many(py, &view, params, elements, kernel, &pool)
    }

    /// How many points there are, or pass a filter. Exact. O(points) with a filter.
    #[pyo3(signature = (r#where=None))]
    fn count(&self, py: Python<'_>, r#where: Option<&Bound<'_, PyAny>>) -> Result<u64> {
        let view = self.handle.view()?;
        let filter = filter(r#where, &view.schema.fields)?;
        Ok(py.detach(|| view.count(filter.as_ref(), &never_cancelled))?)
    }

    /// All points of this moment, or those that pass a filter, in batches.
    #[pyo3(
        signature = (*, r#where=None, vectors=false, metadata=true, batch_size=None),
        text_signature = "($self, *, where=None, vectors=False, metadata=True, batch_size=65536)"
    )]
    fn scan(
        &self,
        py: Python<'_>,
        r#where: Option<&Bound<'_, PyAny>>,
        vectors: bool,
        metadata: bool,
        batch_size: Option<&Bound<'_, PyAny>>,
    ) -> Result<Scan> {
        let view = self.handle.view()?;
        let filter = filter(r#where, &view.schema.fields)?;
        let batch_size = batch_size.map_or(Ok(65_536), |size| count("batch_size", size, 1))?;
        Scan::new(py, view, filter.as_ref(), rows::columns(vectors, metadata), batch_size)
    }

    /// Merge everything into one segment with a graph: the fastest form to search and to open. Call it once
    /// after loading much; searches are slower until then. Costs minutes for millions of points; Ctrl-C stops
    /// it and changes nothing.
    ///
    /// progress: True for a line on stderr, or a callable of (done, total), in steps of linking rows.
    #[pyo3(
        signature = (*, threads=None, progress=None),
        text_signature = "($self, *, threads=None, progress=False)"
    )]
    fn compact(
        &self,
        py: Python<'_>,
        threads: Option<&Bound<'_, PyAny>>,
        progress: Option<&Bound<'_, PyAny>>,
    ) -> Result<()> {
        let (pool, progress) = (pool(threads)?, Progress::new(progress, "compact")?);
        self.compact_watched(py, &pool, progress)
    }

    /// Write what is in memory and log to a segment file, so that opening does not replay it. Ctrl-C stops it and
    /// changes nothing.
    #[pyo3(signature = (*, threads=None))]
    fn checkpoint(&self, py: Python<'_>, threads: Option<&Bound<'_, PyAny>>) -> Result<()> {
        let (pool, signals) = (pool(threads)?, Signals::default());
        let written = self.handle.change(py, |engine| {
            let mut carry = |task: Task| task.run(&pool, &mut |_| signals.step());
            engine.merge_by(MergeScope::Checkpoint, &mut carry)
        });
        signals.or_failure(written).map(drop)
    }

    /// Measure recall@k: the same queries as asked, and exactly. Without queries, vectors of `sample`
    /// points drawn by `seed` are asked, which is easier than real queries. Costs queries x points; Ctrl-C
    /// stops it.
    #[pyo3(
        signature = (
            queries=None, k=None, *, sample=None, r#where=None, ef=None, seed=0, threads=None
        ),
        text_signature = "($self, queries=None, k=10, *, sample=200, where=None, ef=None, seed=0, threads=None)"
    )]
    #[expect(clippy::too_many_arguments, reason = "the keyword arguments of the Python method")]
    fn recall<'py>(
        &self,
        py: Python<'py>,
        queries: Option<&Bound<'py, PyAny>>,
        k: Option<&Bound<'py, PyAny>>,
        sample: Option<&Bound<'py, PyAny>>,
        r#where: Option<&Bound<'py, PyAny>>,
        ef: Option<&Bound<'py, PyAny>>,
        seed: u64,
        threads: Option<&Bound<'py, PyAny>>,
    ) -> Result<Bound<'py, PyAny>> {
        let (view, pool) = (self.handle.view()?, pool(threads)?);
        let filter = filter(r#where, &view.schema.fields)?;
        let k = k.map_or(Ok(10), |k| count("k", k, 1))?;
        let ef = ef.map(|ef| count("ef", ef, 1)).transpose()?;
        let sample = sample.map_or(Ok(200), |sample| count("sample", sample, 1))?;
        let dim = spec_of(&view).dim as usize;
        let queries = queries.map(|queries| Vectors::read(queries, dim)).transpose()?;
        let given = queries.as_ref().map(Vectors::elements);
        let filter = filter.as_ref();
        let params = SearchParams { field: DEFAULT_FIELD, k, ef, exact: false, filter };
        let (kernel, signals) = (self.handle.engine.kernel(), Signals::default());
        let measured = py.detach(|| {
            let drawn = match given {
                Some(_) => Vec::new(),
                None => recall::sample(&view, DEFAULT_FIELD, filter, sample, seed)?,
            };
            let (asked, go_on) = (given.unwrap_or(&drawn), || signals.go_on());
            Result::Ok(recall::measure(&view, params, asked, kernel, &pool, &go_on)?)
        });
        let report = signals.or_failure(measured)?;
        let report = serde_json::to_value(report).expect("a report is plain data");
        record(py, "RecallReport", &report)
    }

    /// Sizes and state, as a dict.
    fn stats<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let view = self.handle.view()?;
        let stats = self.describe(&view);
        Ok(json::load_value(py, &stats)?)
    }

    /// How a search would be carried out and what it cost, as a dict.
    #[pyo3(
        signature = (query, k=None, *, r#where=None, ef=None, exact=false),
        text_signature = "($self, query, k=10, *, where=None, ef=None, exact=False)"
    )]
    fn explain<'py>(
        &self,
        py: Python<'py>,
        query: &Bound<'py, PyAny>,
        k: Option<&Bound<'py, PyAny>>,
        r#where: Option<&Bound<'py, PyAny>>,
        ef: Option<&Bound<'py, PyAny>>,
        exact: bool,
    ) -> Result<Bound<'py, PyAny>> {
        let view = self.handle.view()?;
        let filter = filter(r#where, &view.schema.fields)?;
        let k = k.map_or(Ok(10), |k| count("k", k, 1))?;
        let ef = ef.map(|ef| count("ef", ef, 1)).transpose()?;
        let params = SearchParams { field: DEFAULT_FIELD, k, ef, exact, filter: filter.as_ref() };
        let spec = spec_of(&view);
        let query = Vectors::read(query, spec.dim as usize)?;
        let elements = query.elements();
        let plan = py.detach(|| {
            spec.check_query(elements, 0)?;
            let prepared = view.prepare(params, self.handle.engine.kernel())?;
            let (hits, stats) =
                prepared.search(elements, &mut Scratch::default(), &never_cancelled)?;
            let plans: Vec<_> = prepared.plans().collect();
            Result::Ok(
                serde_json::json!({ "found": hits.len(), "segments": plans, "stats": stats }),
            )
        })?;
        Ok(json::load_value(py, &plan)?)
    }

    /// With mode="r": show what the writer has made durable since. Returns the LSN now shown.
    fn refresh(&self, py: Python<'_>) -> Result<u64> {
        self.handle.change(py, |engine| Ok(engine.refresh()?.lsn.0))
    }

    /// The ids of all points of this moment.
    fn __iter__<'py>(&self, py: Python<'py>) -> Result<Bound<'py, PyAny>> {
        let view = self.handle.view()?;
        let scan = Scan::new(py, view, None, rows::columns(false, false), IDS_AT_ONCE)?;
        Ok(py.import("nearfield._results")?.getattr("ids_of")?.call1((scan,))?)
    }

    /// Give up this handle; the database stays open.
    fn close(&self) {
        self.handle.close();
    }

    fn __enter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, pyo3::types::PyTuple>) {
        self.close();
    }

    fn __repr__(&self) -> String {
        let (spec, view) = (self.handle.spec(), self.handle.engine.view());
        let (name, points) = (self.handle.engine.name(), view.len());
        let closed = if self.handle.check().is_err() { ", closed" } else { "" };
        let (dim, metric) = (spec.dim, spec.metric.name());
        format!("<Collection {name:?}: {points} points, dim {dim}, {metric}{closed}>")
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield._html")?.getattr("collection")?.call1((slf,))
    }
}

impl Collection {
    fn describe(&self, view: &View) -> Value {
        let spec = spec_of(view);
        let segments: Vec<Value> = view
            .segments
            .iter()
            .map(|live| {
                serde_json::json!({
                    "name": live.segment.name(),
                    "rows": live.segment.rows(),
                    "live": live.live_rows(),
                    "bytes": live.segment.front().file_len,
                    "level": live.file.as_ref().map(|file| file.level),
                    "graph": live.segment.fields().iter().any(|field| field.graph().is_some()),
                    "degraded": live.segment.degraded().len(),
                })
            })
            .collect();
        let in_memory = view.segments.iter().filter(|live| live.file.is_none());
        serde_json::json!({
            "name": self.handle.engine.name(),
            "points": view.len(),
            "dim": spec.dim,
            "metric": spec.metric.name(),
            "store": spec.store.name(),
            "lsn": view.lsn.0,
            "manifest": view.manifest,
            "memory_bytes": in_memory.map(|live| live.segment.front().file_len).sum::<u64>(),
            "instruction_set": self.handle.engine.kernel().set().name(),
            "replayed_batches": self.handle.engine.recovery().replayed,
            "background_error": self.handle.store.background().error(),
            "segments": segments,
        })
    }
}

/// A record of `nearfield._results` from its fields.
pub(crate) fn record<'py>(
    py: Python<'py>,
    class: &str,
    fields: &Value,
) -> Result<Bound<'py, PyAny>> {
    let fields = json::load_value(py, fields)?;
    let class = py.import("nearfield._results")?.getattr(class)?;
    Ok(class.call((), Some(fields.cast::<PyDict>().map_err(PyErr::from)?))?)
}

impl Outcome {
    fn into_python(self, py: Python<'_>, assigned: bool) -> Result<Bound<'_, PyAny>> {
        let ids = self.assigned_ids(py, assigned)?;
        let class = py.import("nearfield._results")?.getattr("UpsertReport")?;
        Ok(class.call1((self.inserted, self.replaced, ids))?)
    }

    /// The ids of the rows that are written, if ids were assigned.
    fn assigned_ids<'py>(
        &self,
        py: Python<'py>,
        assigned: bool,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        let ids = self.assigned.iter().cloned().flatten().map(nearfield_segment::PointId::U64);
        let ids: Vec<_> = ids.collect();
        assigned.then(|| ids::to_array(py, &ids)).transpose()
    }

    /// What Ctrl-C raises: a `KeyboardInterrupt` that says what is written.
    fn interrupted(&self, py: Python<'_>, assigned: bool) -> Failure {
        let Outcome { rows, written, .. } = self;
        let build = || {
            let details = PyDict::new(py);
            details.set_item("written", written)?;
            details.set_item("rows", rows)?;
            details.set_item("ids", self.assigned_ids(py, assigned)?)?;
            let message = format!("upsert was interrupted: {written} of {rows} rows are written");
            let class = py.import("nearfield.errors")?.getattr("Interrupted")?;
            class.call((message,), Some(&details))
        };
        Failure::Python(build().map_or_else(|error| error, PyErr::from_value))
    }
}
