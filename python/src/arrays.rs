//! `Vectors`: rows of 32-bit floats read from a Python argument, without a copy where they are that already.
//! Called by `collection` (queries) and `upsert`.
//!
//! An aligned, C-contiguous array of f32 is borrowed. Everything else (other types, orders, strides, lists,
//! objects with `__array__`) is converted once, whole, by NumPy (`nearfield/_convert.py`), so that the rest
//! of the binding sees one layout. Finiteness is the engine's to check.

use nearfield_engine::Fault;
use numpy::{PyArrayDyn, PyArrayMethods, PyReadonlyArrayDyn, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;

use crate::error::{Failure, Result};

/// Rows of vectors, borrowed from NumPy.
pub(crate) struct Vectors<'py> {
    array: PyReadonlyArrayDyn<'py, f32>,
    /// Number of rows.
    pub(crate) rows: usize,
    /// Given as one vector, not as a table of them.
    pub(crate) single: bool,
}

impl<'py> Vectors<'py> {
    /// Reads one vector (1-D, `dim` elements) or a table of them (2-D, `dim` columns).
    pub(crate) fn read(value: &Bound<'py, PyAny>, dim: usize) -> Result<Vectors<'py>> {
        let array = match value.cast_exact::<PyArrayDyn<f32>>() {
            Ok(array) if array.is_c_contiguous() && array.is_aligned() => array.clone(),
            _ => convert(value)?,
        };
        let (rows, single) = match *array.shape() {
            [columns] if columns == dim => (1, true),
            [0] => (0, false),
            [rows, columns] if columns == dim => (rows, false),
            ref shape => return Err(wrong_shape(shape, dim)),
        };
        let array = array.try_readonly().map_err(PyErr::from)?;
        Ok(Vectors { array, rows, single })
    }

    /// All elements, row-major.
    pub(crate) fn elements(&self) -> &[f32] {
        self.array.as_slice().expect("contiguous and aligned: checked or made so when it was read")
    }
}

fn convert<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyArrayDyn<f32>>> {
    static VECTORS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let array = VECTORS.import(value.py(), "nearfield._convert", "vectors")?.call1((value,))?;
    Ok(array.cast_into().map_err(PyErr::from)?)
}

fn wrong_shape(shape: &[usize], dim: usize) -> Failure {
    let got: Vec<String> = shape.iter().map(ToString::to_string).collect();
    let comma = if shape.len() == 1 { "," } else { "" };
    let got = format!("shape ({}{comma})", got.join(", "));
    let expected = format!("{dim} elements a vector: shape ({dim},) or (n, {dim})");
    let error = crate::error::expected_got(Fault::Dimension, "vectors", &expected, &got);
    Failure::Engine(error)
}
