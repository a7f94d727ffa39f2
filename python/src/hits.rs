//! The Python class `Hits`, the result of a search: ids and scores as arrays, metadata when it is read. Made by
//! `Collection.search`.
//!
//! Nothing is converted before it is read: a caller that reads ids pays for ids only. The view of the search is
//! kept, so that metadata is that of the moment of the search, whatever has been written since.

use std::iter::repeat;
use std::sync::Arc;

use nearfield_engine::View;
use nearfield_segment::Metric;
use nearfield_segment::search::{Hit, SearchStats};
use numpy::{PyArray1, PyArray2, PyArrayMethods};
use pyo3::exceptions::{PyIndexError, PyTypeError};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyIterator, PyList, PySlice};

use crate::error::Failure;
use crate::json::describe;
use crate::{ids, json, rows};

/// Fills the masked places of an integer table. It may also be an id: `counts` or the mask say which places are hits.
const NO_ID: i64 = i64::MIN;

/// What a search found, best first.
///
/// For one query (a 1-D array) `ids` and `scores` are 1-D; for many they are 2-D, one row a query. If the
/// queries found different numbers of points, both are masked arrays; `counts` says how many each found.
#[pyclass(frozen, module = "nearfield")]
pub(crate) struct Hits {
    view: Arc<View>,
    metric: Metric,
    single: bool,
    answers: Vec<Vec<Hit>>,
    stats: SearchStats,
    ids: PyOnceLock<Py<PyAny>>,
    scores: PyOnceLock<Py<PyAny>>,
    metadata: PyOnceLock<Py<PyAny>>,
}

impl Hits {
    pub(crate) fn new(
        view: Arc<View>,
        metric: Metric,
        single: bool,
        answers: Vec<Vec<Hit>>,
        stats: SearchStats,
    ) -> Hits {
        let (ids, scores, metadata) = (PyOnceLock::new(), PyOnceLock::new(), PyOnceLock::new());
        Hits { view, metric, single, answers, stats, ids, scores, metadata }
    }

    fn width(&self) -> usize {
        self.answers.iter().map(Vec::len).max().unwrap_or(0)
    }

    fn all(&self) -> impl Iterator<Item = &Hit> {
        self.answers.iter().flatten()
    }

    /// A table of `width` columns; short rows end with `filler` and are masked.
    fn table<'py, T: numpy::Element>(
        &self,
        py: Python<'py>,
        cell: impl Fn(&Hit) -> PyResult<T>,
        filler: impl Fn() -> T,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.single {
            let cells: PyResult<Vec<T>> = self.all().map(cell).collect();
            return Ok(PyArray1::from_vec(py, cells?).into_any());
        }
        let width = self.width();
        let answers = self.answers.iter();
        let padded = answers.flat_map(|hits| hits.iter().map(Some).chain(repeat(None)).take(width));
        let cells = padded.map(|hit| hit.map_or_else(|| Ok(filler()), &cell));
        let cells: PyResult<Vec<T>> = cells.collect();
        let flat = PyArray1::from_vec(py, cells?);
        let table: Bound<'py, PyArray2<T>> = flat.reshape([self.answers.len(), width])?;
        if self.answers.iter().all(|answer| answer.len() == width) {
            return Ok(table.into_any());
        }
        let masked = py.import("nearfield._convert")?.getattr("masked")?;
        masked.call1((table, self.counts(py)))
    }

    fn make_ids(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let made = if self.all().all(|hit| ids::as_i64(&hit.id).is_some()) {
            let cell = |hit: &Hit| Ok(ids::as_i64(&hit.id).unwrap_or(NO_ID));
            self.table(py, cell, || NO_ID)
        } else {
            self.table(py, |hit| Ok(ids::to_object(py, &hit.id)?.unbind()), || py.None())
        };
        made.map(Bound::unbind)
    }

    fn make_metadata(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let lists: PyResult<Vec<Bound<'_, PyAny>>> =
            self.answers.iter().map(|answer| self.metadata_of(py, answer)).collect();
        let mut lists = lists?;
        let made = if self.single { lists.remove(0) } else { PyList::new(py, lists)?.into_any() };
        Ok(made.unbind())
    }

    fn metadata_of<'py>(&self, py: Python<'py>, answer: &[Hit]) -> PyResult<Bound<'py, PyAny>> {
        let found = answer.iter().map(|hit| (hit.id.clone(), (hit.source, hit.row)));
        let points = self.view.points(found, rows::columns(false, true)).map_err(Failure::from)?;
        json::load_list(py, points.metadata.iter().map(Option::as_deref))
    }

    fn rows<'py>(&self, py: Python<'py>, query: usize) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let answer = &self.answers[query];
        let metadata = self.metadata_of(py, answer)?;
        let row = |(index, hit): (usize, &Hit)| {
            let row = PyDict::new(py);
            if !self.single {
                row.set_item("query", query)?;
            }
            row.set_item("id", ids::to_object(py, &hit.id)?)?;
            row.set_item("score", self.metric.score(hit.distance))?;
            row.set_item("metadata", metadata.get_item(index)?)?;
            Ok(row)
        };
        answer.iter().enumerate().map(row).collect()
    }

    fn one(&self, query: usize) -> Hits {
        let answers = vec![self.answers[query].clone()];
        Hits::new(Arc::clone(&self.view), self.metric, true, answers, SearchStats::default())
    }

    fn slice<'py>(
        &self,
        py: Python<'py>,
        slice: &Bound<'py, PySlice>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if self.single {
            return PyList::new(py, self.rows(py, 0)?)?.into_any().get_item(slice);
        }
        let chosen = slice.indices(self.answers.len() as isize)?;
        let at = |step: usize| (chosen.start + step as isize * chosen.step) as usize;
        let answers = (0..chosen.slicelength).map(|step| self.answers[at(step)].clone()).collect();
        let (view, stats) = (Arc::clone(&self.view), SearchStats::default());
        Ok(Bound::new(py, Hits::new(view, self.metric, false, answers, stats))?.into_any())
    }
}

#[pymethods]
impl Hits {
    /// Ids: int64 if all fit, else objects (`int` and `str`; a UUID is its text).
    #[getter]
    fn ids<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.ids.get_or_try_init(py, || self.make_ids(py))?.bind(py).clone())
    }

    /// Scores as float32: `score_kind` says which way is better.
    #[getter]
    fn scores<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let make = || {
            let cell = |hit: &Hit| Ok(self.metric.score(hit.distance));
            self.table(py, cell, || f32::NAN).map(Bound::unbind)
        };
        Ok(self.scores.get_or_try_init(py, make)?.bind(py).clone())
    }

    /// "similarity" (cosine, dot: larger is closer) or "distance" (l2: smaller is closer).
    #[getter]
    fn score_kind(&self) -> &'static str {
        self.metric.score_kind().name()
    }

    /// How many points each query found.
    #[getter]
    fn counts<'py>(&self, py: Python<'py>) -> Bound<'py, PyArray1<i64>> {
        PyArray1::from_iter(py, self.answers.iter().map(|answer| answer.len() as i64))
    }

    /// Metadata of each hit, `None` where there is none; a list of lists for many queries.
    #[getter]
    fn metadata<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        Ok(self.metadata.get_or_try_init(py, || self.make_metadata(py))?.bind(py).clone())
    }

    /// True for the hits of one query.
    #[getter]
    fn single(&self) -> bool {
        self.single
    }

    /// What the search cost, summed over queries.
    #[getter]
    fn stats<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let value = serde_json::to_value(self.stats).expect("statistics are plain data");
        json::load_value(py, &value)
    }

    /// One dict a hit: id, score, metadata (and query, if there were many).
    fn to_rows<'py>(&self, py: Python<'py>) -> PyResult<Vec<Bound<'py, PyDict>>> {
        let mut rows = Vec::new();
        for query in 0..self.answers.len() {
            rows.append(&mut self.rows(py, query)?);
        }
        Ok(rows)
    }

    /// Hits of one query, or queries.
    fn __len__(&self) -> usize {
        if self.single { self.answers[0].len() } else { self.answers.len() }
    }

    /// One hit as a dict, or the hits of one query. A slice gives a list of hits, or the hits of those queries.
    fn __getitem__<'py>(
        &self,
        py: Python<'py>,
        index: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        if let Ok(slice) = index.cast::<PySlice>() {
            return self.slice(py, slice);
        }
        let Ok(index) = index.extract::<isize>() else {
            let message = format!("hits: expected an integer or a slice, got {}", describe(index));
            return Err(PyTypeError::new_err(message));
        };
        let len = self.__len__();
        let from_end = if index < 0 { index + len as isize } else { index };
        let place = usize::try_from(from_end).ok().filter(|&place| place < len);
        let Some(place) = place else {
            return Err(PyIndexError::new_err(format!("index {index} of {len} hits")));
        };
        if self.single {
            return Ok(self.rows(py, 0)?.swap_remove(place).into_any());
        }
        Ok(Bound::new(py, self.one(place))?.into_any())
    }

    fn __iter__<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyIterator>> {
        if self.single {
            return PyList::new(py, self.rows(py, 0)?)?.try_iter();
        }
        let each: PyResult<Vec<Bound<'py, Hits>>> =
            (0..self.answers.len()).map(|query| Bound::new(py, self.one(query))).collect();
        PyList::new(py, each?)?.try_iter()
    }

    fn __repr__(&self) -> String {
        let kind = self.score_kind();
        let found = self.all().count();
        match self.single {
            true => format!("<Hits: {found} points, scores are {kind}>"),
            false => {
                format!("<Hits: {} queries, {found} points, scores are {kind}>", self.answers.len())
            }
        }
    }

    fn _repr_html_<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        slf.py().import("nearfield._html")?.getattr("hits")?.call1((slf,))
    }
}
