//! The extension module of the Python package: check shapes, call the engine, convert the result. Imported by
//! `python/nearfield/`; the classes are `Database`, `Collection` and `Hits`.
//!
//! No behaviour lives here: what a search or a write means is the engine's. The interpreter is released
//! around every call that computes or touches a disk. What is pleasant rather than needed (HTML, a progress
//! line, odd inputs) is Python, in `python/nearfield/`.
//!
//! | module | |
//! |---|---|
//! | `database` `collection` `search` `hits` `rows` | the classes, and searching |
//! | `upsert` `arrays` `ids` `metadata` `arguments` `json` | arguments in |
//! | `store` `handle` `background` `progress` | one open database: its gate, its thread, its long calls |
//! | `error` | the table of exceptions |

mod arguments;
mod arrays;
mod background;
mod collection;
mod database;
mod error;
mod handle;
mod hits;
mod ids;
mod json;
mod metadata;
mod progress;
mod rows;
mod search;
mod store;
mod upsert;

use nearfield_segment::format::{FORMAT_VERSION, OLDEST_READABLE_VERSION};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use serde_json::json;

/// Version, instructions in use, formats: what to put into a bug report.
#[pyfunction]
fn info(py: Python<'_>) -> error::Result<Bound<'_, PyAny>> {
    let facts = json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instruction_set": arguments::kernel()?.set().name(),
        "format": FORMAT_VERSION,
        "oldest_readable_format": OLDEST_READABLE_VERSION,
        "export_format": nearfield_engine::EXPORT_VERSION,
        "threads": arguments::pool(None)?.threads(),
    });
    Ok(json::load_value(py, &facts)?)
}

/// Called in the child after a fork.
#[pyfunction]
fn _forked() {
    store::note_fork();
}

/// Finds NumPy's tables now: the numpy crate would with its first use, and panics if Ctrl-C comes then.
fn load_numpy(py: Python<'_>) -> PyResult<()> {
    py.import("numpy")?;
    PyArray1::<f32>::zeros(py, 0, false).try_readonly()?;
    Ok(())
}

#[pymodule]
fn _nearfield(module: &Bound<'_, PyModule>) -> PyResult<()> {
    load_numpy(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<database::Database>()?;
    module.add_class::<collection::Collection>()?;
    module.add_class::<hits::Hits>()?;
    module.add_class::<rows::Scan>()?;
    module.add_function(wrap_pyfunction!(database::open, module)?)?;
    module.add_function(wrap_pyfunction!(database::restore, module)?)?;
    module.add_function(wrap_pyfunction!(info, module)?)?;
    module.add_function(wrap_pyfunction!(_forked, module)?)?;
    Ok(())
}
