//! Files from outside: `open_plain`, `file_len`, `check_dim`, and `read_error` for what is wrong with them.
//! Called by the readers of formats in `rows`.

use std::fs::File;
use std::path::Path;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::DIM_MAX;

pub(super) fn open_plain(path: &Path) -> Result<File> {
    let name = path.display().to_string();
    let file = File::open(path).map_err(|error| Error::io("open", &name, error))?;
    if !file.metadata().map_err(|error| Error::io("read", &name, error))?.is_file() {
        return Err(Error::invalid(Fault::Parameter, format!("{name} is not a file")));
    }
    Ok(file)
}

pub(super) fn file_len(file: &File, name: &str) -> Result<u64> {
    file.metadata().map(|data| data.len()).map_err(|error| Error::io("read", name, error))
}

/// A dimension read from a file, if a collection can have it.
pub(super) fn check_dim(name: &str, place: &str, dim: u64) -> Result<usize> {
    usize::try_from(dim).ok().filter(|dim| (1..=DIM_MAX).contains(dim)).ok_or_else(|| {
        let message = format!("{name}: {place}: expected 1 to {DIM_MAX} elements a row, got {dim}");
        Error::invalid(Fault::Dimension, message).with("got", dim)
    })
}

/// A read that must succeed because the length was checked: the file shrank, or the medium failed.
pub(super) fn read_error(name: &str, offset: u64, error: std::io::Error) -> Error {
    if error.kind() == std::io::ErrorKind::UnexpectedEof {
        return Error::corrupt(name, format!("offset {offset}"), "the file ends early");
    }
    Error::io("read", name, error)
}
