//! Reads stored points for Python, by id, or all of them batch by batch (the class `Scan`). Called by
//! `Collection.get` and `scan`.
//!
//! Bytes are gathered from one view without the interpreter, then made Python objects in one go.

use std::sync::Arc;

use nearfield_engine::{Columns, Points, Scan as EngineScan, View};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::{DEFAULT_FIELD, PointId};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::error::Result;
use crate::{ids, json};

/// What is read of each point beside its id.
pub(crate) fn columns(vectors: bool, metadata: bool) -> Columns<'static> {
    let fields: &[&str] = if vectors { &[DEFAULT_FIELD] } else { &[] };
    Columns { vectors: fields, metadata }
}

/// Points as `nearfield.Rows`.
fn to_python<'py>(
    py: Python<'py>,
    view: &View,
    points: Points<'_>,
    columns: Columns<'_>,
    missing: &[&PointId],
) -> Result<Bound<'py, PyAny>> {
    let arguments = PyDict::new(py);
    arguments.set_item("ids", ids::to_array(py, &points.ids)?)?;
    let texts = points.metadata.iter().map(Option::as_deref);
    let metadata = columns.metadata.then(|| json::load_list(py, texts)).transpose()?;
    arguments.set_item("metadata", metadata)?;
    let dim = view.schema.default_field().map_or(0, |spec| spec.dim as usize);
    let shape = [points.ids.len(), dim];
    let table = |elements| PyArray1::from_vec(py, elements).reshape(shape);
    let vectors = points.vectors.into_iter().next().map(table).transpose()?;
    arguments.set_item("vectors", vectors)?;
    let missing: PyResult<Vec<_>> = missing.iter().map(|id| ids::to_object(py, id)).collect();
    arguments.set_item("missing", missing?)?;
    let class = py.import("nearfield._results")?.getattr("Rows")?;
    Ok(class.call((), Some(&arguments))?)
}

/// Looks points up, in the order of `wanted`.
pub(crate) fn get<'py>(
    py: Python<'py>,
    view: &View,
    wanted: &[PointId],
    columns: Columns<'_>,
) -> Result<Bound<'py, PyAny>> {
    let (points, missing) = py.detach(|| view.get(wanted, columns))?;
    let missing: Vec<&PointId> = missing.into_iter().map(|position| &wanted[position]).collect();
    to_python(py, view, points, columns, &missing)
}

/// Iterates over the points of one moment, batch by batch.
#[pyclass(module = "nearfield")]
pub(crate) struct Scan {
    view: Arc<View>,
    scan: EngineScan,
    columns: Columns<'static>,
    batch_size: usize,
}

impl Scan {
    pub(crate) fn new(
        py: Python<'_>,
        view: Arc<View>,
        filter: Option<&Filter>,
        columns: Columns<'static>,
        batch_size: usize,
    ) -> Result<Scan> {
        let scan = py.detach(|| EngineScan::new(&view, filter, &never_cancelled))?;
        Ok(Scan { view, scan, columns, batch_size })
    }
}

#[pymethods]
impl Scan {
    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&mut self, py: Python<'py>) -> Result<Option<Bound<'py, PyAny>>> {
        let Scan { view, scan, columns, batch_size } = self;
        let points = py.detach(|| scan.next(view, *columns, *batch_size, usize::MAX))?;
        if points.ids.is_empty() {
            return Ok(None);
        }
        to_python(py, view, points, *columns, &[]).map(Some)
    }
}
