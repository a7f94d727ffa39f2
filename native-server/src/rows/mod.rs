//! Files of vectors from outside, read a part at a time: NumPy arrays, fvecs, lines of JSON, tables. Entry:
//! `open` (path and names of columns → `RowFile`), called by `nearfield import`. `write` goes the other way.
//!
//! The bytes are untrusted: lengths are checked against the file before memory is allocated, and every
//! error names the place, what was expected, and what was found. Values are converted to f32; whether
//! they are finite and fit a collection is checked by the engine.

pub(crate) mod arrow;
mod caught;
mod date;
mod fvecs;
mod input;
mod jsonl;
mod npy;
mod npy_header;
mod npz;
mod parquet;
mod row_file;
mod tables;
mod view;
pub(crate) mod write;

use std::path::Path;

use nearfield_engine::{Error, Fault, Result};

pub(crate) use arrow::ColumnNames;
pub(crate) use npy::{read_ids, read_queries};
pub(crate) use row_file::{IdKind, RowFile, Rows};
pub(crate) use view::ViewRows;

/// Opens a file by the ending of its name. `names` are for formats that have columns.
///
/// # Errors
/// `InvalidInput(Parameter)` listing the endings, else as [`RowFile::next_rows`].
pub(crate) fn open(path: &Path, names: &ColumnNames) -> Result<Box<dyn RowFile>> {
    let (name, file) = (path.display().to_string(), input::open_plain(path)?);
    Ok(match path.extension().and_then(|ending| ending.to_str()) {
        Some("npy") => Box::new(npy::Npy::open(name, file)?),
        Some("npz") => Box::new(npz::Npz::open(&name, path, names)?),
        Some("fvecs") => Box::new(fvecs::Fvecs::open(name, file)?),
        Some("jsonl" | "ndjson") => Box::new(jsonl::JsonLines::open(name, file)?),
        Some("parquet") => {
            let source = parquet::Parquet::open(name.clone(), file, names)?;
            Box::new(tables::TableFile::open(&name, source)?)
        }
        Some("arrow" | "arrows" | "feather" | "ipc") => {
            let source = arrow::ArrowFile::open(name.clone(), file, names.clone())?;
            Box::new(tables::TableFile::open(&name, source)?)
        }
        _ => {
            let expected = ".npy, .npz, .fvecs, .jsonl, .parquet, .arrow, .arrows or .feather";
            let message = format!("{name}: expected a name ending in {expected}");
            return Err(Error::invalid(Fault::Parameter, message).with("expected", expected));
        }
    })
}
