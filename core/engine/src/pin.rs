//! The pin: who opens the files of a manifest holds it shared, who removes files holds it alone.
//!
//! So nothing is removed between reading a manifest and opening what it names. It is not held longer: an
//! open file stays readable after its name is gone.

use nearfield_segment::storage::{Lock, LockMode, Storage};
use nearfield_segment::{ErrorKind, Result};

/// Name of the lock file in a collection's directory.
pub(crate) const PIN: &str = "pin";

/// For opening files. On a medium that cannot be written nobody removes files, and there is no pin. While
/// files are being removed there is none either: whoever then finds a file gone has to start again.
///
/// # Errors
/// What the storage says, except that it cannot lock.
pub(crate) fn shared(storage: &dyn Storage, dir: &str) -> Result<Option<Box<dyn Lock>>> {
    match storage.lock(&format!("{dir}/{PIN}"), LockMode::Shared, "") {
        Ok(lock) => Ok(Some(lock)),
        Err(error) => match error.kind() {
            ErrorKind::Locked | ErrorKind::Io | ErrorKind::ReadOnly => Ok(None),
            ErrorKind::InvalidInput(_)
            | ErrorKind::NotFound
            | ErrorKind::Conflict
            | ErrorKind::Corrupt
            | ErrorKind::Version
            | ErrorKind::StorageFull
            | ErrorKind::Cancelled => Err(error),
        },
    }
}

/// For removing files; `None` while somebody is opening some.
pub(crate) fn exclusive(storage: &dyn Storage, dir: &str) -> Option<Box<dyn Lock>> {
    storage.lock(&format!("{dir}/{PIN}"), LockMode::Exclusive, "vacuum").ok()
}
