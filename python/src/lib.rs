//! Skeleton.
use pyo3::prelude::*;
#[pymodule]
fn _nearfield(_m: &Bound<'_, PyModule>) -> PyResult<()> { let _ = numpy::dtype::<f32>; Ok(()) }
