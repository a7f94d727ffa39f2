//! `Reads`: several reads of bytes of which some may be missing; `note` keeps the first failure, so that all
//! are made. Used by `View` and `points`; `all`, `once` and `resident` are for single values.
//!
//! A blob whose bytes arrive piece by piece notes what a read lacks. A caller of several reads makes all of them
//! before it fails, so that all missing ranges are requested together, each once.

use std::sync::OnceLock;

use crate::error::{Error, ErrorKind, Result};

/// Whether one of several reads lacked bytes.
#[derive(Debug, Default)]
pub struct Reads {
    missing: Option<Error>,
}

impl Reads {
    /// The value; `None` if bytes are missing.
    ///
    /// # Errors
    /// Those of the read other than `NotResident`.
    pub fn note<T>(&mut self, read: Result<T>) -> Result<Option<T>> {
        match read {
            Err(error) if error.kind() == ErrorKind::NotResident => {
                self.missing.get_or_insert(error);
                Ok(None)
            }
            read => read.map(Some),
        }
    }

    /// The end of all reads.
    ///
    /// # Errors
    /// `NotResident` if one of them lacked bytes.
    pub fn end(self) -> Result<()> {
        self.missing.map_or(Ok(()), Err)
    }
}

/// The values of all reads.
///
/// # Errors
/// The first error; `NotResident` after every read was made.
pub fn all<T>(results: impl IntoIterator<Item = Result<T>>) -> Result<Vec<T>> {
    let results = results.into_iter();
    let (mut found, mut reads) = (Vec::with_capacity(results.size_hint().0), Reads::default());
    for result in results {
        found.extend(reads.note(result)?);
    }
    reads.end()?;
    Ok(found)
}

/// The value in `cell`; `make` makes it if there is none.
///
/// # Errors
/// Those of `make`; the cell stays empty then.
pub fn once<T>(cell: &OnceLock<T>, make: impl FnOnce() -> Result<T>) -> Result<&T> {
    if let Some(value) = cell.get() {
        return Ok(value);
    }
    let value = make()?;
    Ok(cell.get_or_init(|| value))
}

/// Separates missing bytes from damage: a caller that meets `NotResident` fetches them and reads again.
///
/// # Errors
/// `NotResident`.
pub fn resident<T>(read: Result<T>) -> Result<Result<T>> {
    match read {
        Err(error) if error.kind() == ErrorKind::NotResident => Err(error),
        Ok(_) | Err(_) => Ok(read),
    }
}
