//! The extension module of the Python package: check shapes, call the engine, convert the result.
//!
//! No behaviour lives here: what a search or a write means is the engine's. The interpreter is released
//! around every call that computes or touches a disk. What is pleasant rather than needed (HTML, a progress
//! line, odd inputs) is Python, in `python/nearfield/`.
//!
//! | module | |
//! |---|---|
//! | `database` `collection` `hits` `rows` | the classes |
//! | `upsert` `arrays` `ids` `metadata` `arguments` `json` | arguments in |
//! | `store` `background` `progress` | one open database: its gate, its thread, its long calls |
//! | `error` | the table of exceptions |

mod arguments;
mod arrays;
mod background;
mod collection;
mod database;
mod error;
mod hits;
mod ids;
mod json;
mod metadata;
mod progress;
mod rows;
mod store;
mod upsert;

use nearfield_segment::format::{FORMAT_VERSION, OLDEST_READABLE_VERSION};
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

#[pymodule]
fn _nearfield(module: &Bound<'_, PyModule>) -> PyResult<()> {
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
