//! Files of vectors from outside, read a part at a time: NumPy arrays, fvecs, lines of JSON, tables.
//!
//! The bytes are untrusted: lengths are checked against the file before memory is allocated, and every
//! error names the place, what was expected, and what was found. Values are converted to f32; whether
//! they are finite and fit a collection is checked by the engine.

pub(crate) mod arrow;
mod caught;
mod fvecs;
mod jsonl;
mod npy;
mod npy_header;
mod npz;
mod parquet;
mod tables;
mod view;
pub(crate) mod write;

use std::fs::File;
use std::path::Path;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{DIM_MAX, PointId};

pub(crate) use arrow::ColumnNames;
pub(crate) use npy::{read_ids, read_queries};
pub(crate) use view::ViewRows;

/// Some consecutive rows of a file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// Number of rows.
    pub(crate) count: usize,
    /// Elements, row-major.
    pub(crate) vectors: Vec<f32>,
    /// Ids by row; empty if the file has none.
    pub(crate) ids: Vec<PointId>,
    /// JSON objects by row; empty if the file has none.
    pub(crate) metadata: Vec<Option<String>>,
}

/// Which kinds of ids there are in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    /// No ids.
    None,
    /// All are numbers.
    Numbers,
    /// All are UUIDs or strings.
    Text,
    /// Some are numbers.
    Mixed,
}

/// A file of vectors, open at its next row.
pub(crate) trait RowFile {
    /// Elements of a row.
    fn dim(&self) -> usize;

    /// Number of rows, where the file says it.
    fn rows(&self) -> Option<u64>;

    /// How much of the file has been read, as (done, total) in a unit of its own.
    fn progress(&self) -> (u64, u64);

    /// The next rows, at most `count_max`; none at the end.
    ///
    /// # Errors
    /// `Corrupt` with file and offset or line, `InvalidInput` for what is well-formed but not usable.
    fn next_rows(&mut self, count_max: usize) -> Result<Rows>;
}

/// Opens a file by the ending of its name. `names` are for formats that have columns.
///
/// # Errors
/// `InvalidInput(Parameter)` listing the endings, else as [`RowFile::next_rows`].
pub(crate) fn open(path: &Path, names: &ColumnNames) -> Result<Box<dyn RowFile>> {
    let (name, file) = (path.display().to_string(), open_plain(path)?);
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

fn open_plain(path: &Path) -> Result<File> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Error::io("open", &name, error))?;
    if !file.metadata().map_err(|error| Error::io("read", &name, error))?.is_file() {
        return Err(Error::invalid(Fault::Parameter, format!("{name} is not a file")));
    }
    Ok(file)
}

fn file_len(file: &File, name: &str) -> Result<u64> {
    file.metadata().map(|data| data.len()).map_err(|error| Error::io("read", name, error))
}

/// A dimension read from a file, if a collection can have it.
fn check_dim(name: &str, place: &str, dim: u64) -> Result<usize> {
    usize::try_from(dim).ok().filter(|dim| (1..=DIM_MAX).contains(dim)).ok_or_else(|| {
        let message = format!("{name}: {place}: expected 1 to {DIM_MAX} elements a row, got {dim}");
        Error::invalid(Fault::Dimension, message).with("got", dim)
    })
}

/// A read that must succeed because the length was checked: the file shrank, or the medium failed.
fn read_error(name: &str, offset: u64, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return Error::corrupt(name, format!("offset {offset}"), "the file ends early");
    }
    Error::io("read", name, error)
}
