//! Reads of bytes that may be missing: several at once, so that all missing ranges are requested together, each once.

use std::sync::OnceLock;

use nearfield_segment::{ErrorKind, Result};

/// The values, or the first error. An error of missing bytes is returned after every item has asked for its bytes.
pub(super) fn all<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let (mut found, mut missing) = (Vec::new(), None);
    for result in results {
        match result {
            Ok(value) => found.push(value),
            Err(error) if error.kind() == ErrorKind::NotResident => {
                missing = missing.or(Some(error));
            }
            Err(error) => return Err(error),
        }
    }
    missing.map_or(Ok(found), Err)
}

/// The value in `cell`; `make` makes it if there is none.
pub(super) fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}
