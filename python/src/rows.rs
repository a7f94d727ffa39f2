//! Points as stored: by id, or all of them batch by batch.
//!
//! Bytes are gathered from one view without the interpreter, then made Python objects in one go.

use std::sync::Arc;

use nearfield_engine::View;
use nearfield_segment::{DEFAULT_FIELD, PointId, RowId, RowSet};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::Result;
use crate::{ids, json};

/// Which parts of a point are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    pub(crate) vectors: bool,
    pub(crate) metadata: bool,
}

/// Points on their way out.
#[derive(Debug, Default)]
struct Gathered {
    ids: Vec<PointId>,
    texts: Vec<Option<String>>,
    vectors: Vec<f32>,
    missing: Vec<PointId>,
}

impl Gathered {
    fn push(&mut self, view: &View, place: (usize, RowId), parts: Parts) -> Result<()> {
        let (index, row) = place;
        let segment = &view.segments[index].segment;
        self.ids.push(segment.id_of(row));
        if parts.metadata {
            self.texts.push(segment.payload().json(row)?.map(str::to_owned));
        }
        if parts.vectors {
            let rows = segment.field(DEFAULT_FIELD)?.rows();
            let start = self.vectors.len();
            self.vectors.resize(start + rows.dim(), 0.0);
            rows.decode(row, &mut self.vectors[start..]);
        }
        Ok(())
    }

    /// As `nearfield.Rows`.
    fn into_python(self, py: Python<'_>, dim: usize, parts: Parts) -> Result<Bound<'_, PyAny>> {
        let arguments = PyDict::new(py);
        arguments.set_item("ids", ids::to_array(py, &self.ids)?)?;
        let texts = self.texts.iter().map(Option::as_deref);
        let metadata = parts.metadata.then(|| json::load_list(py, texts)).transpose()?;
        arguments.set_item("metadata", metadata)?;
        let shape = [self.ids.len(), dim];
        let vectors = parts.vectors.then(|| PyArray1::from_vec(py, self.vectors).reshape(shape));
        arguments.set_item("vectors", vectors.transpose()?)?;
        let missing: PyResult<Vec<Bound<'_, PyAny>>> =
            self.missing.iter().map(|id| ids::to_object(py, id)).collect();
        arguments.set_item("missing", missing?)?;
        let class = py.import("nearfield._results")?.getattr("Rows")?;
        Ok(class.call((), Some(&arguments))?)
    }
}

/// Looks points up, in the order of `wanted`.
pub(crate) fn get<'py>(
    py: Python<'py>,
    view: &View,
    wanted: Vec<PointId>,
    parts: Parts,
) -> Result<Bound<'py, PyAny>> {
    let gathered = py.detach(|| {
        let mut gathered = Gathered::default();
        for id in wanted {
            match view.place_of(&id) {
                Some(place) => gathered.push(view, place, parts)?,
                None => gathered.missing.push(id),
            }
        }
        Result::Ok(gathered)
    })?;
    gathered.into_python(py, dim(view), parts)
}

fn dim(view: &View) -> usize {
    view.schema.default_field().map_or(0, |spec| spec.dim as usize)
}

/// Iterates over the points of one moment, batch by batch.
#[pyclass(module = "nearfield")]
pub(crate) struct Scan {
    view: Arc<View>,
    sets: Vec<RowSet>,
    parts: Parts,
    batch_size: usize,
    segment: usize,
    /// Row of the current segment from which the next batch goes on.
    row: u32,
}

impl Scan {
    pub(crate) fn new(view: Arc<View>, sets: Vec<RowSet>, parts: Parts, batch_size: usize) -> Scan {
        Scan { view, sets, parts, batch_size, segment: 0, row: 0 }
    }

    fn gather(&mut self) -> Result<Gathered> {
        let mut gathered = Gathered::default();
        while self.segment < self.sets.len() {
            let set = &self.sets[self.segment];
            let rows = (self.row..set.len()).map(RowId).filter(|&row| set.contains(row));
            for row in rows.take(self.batch_size - gathered.ids.len()) {
                gathered.push(&self.view, (self.segment, row), self.parts)?;
                self.row = row.0 + 1;
            }
            if gathered.ids.len() == self.batch_size {
                break;
            }
            self.segment += 1;
            self.row = 0;
        }
        Ok(gathered)
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>> {
        let gathered = py.detach(|| self.gather())?;
        if gathered.ids.is_empty() {
            return Ok(None);
        }
        gathered.into_python(py, dim(&self.view), self.parts).map(Some)
    }
}
