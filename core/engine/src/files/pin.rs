//! The pin: `shared` is taken by a reader that opens the files of a manifest (`Follower`, verify, replay),
//! `exclusive` by `Writer::vacuum`.
//!
//! So nothing is removed between reading a manifest and opening what it names. It is not held longer: an
//! open file stays readable after its name is gone.

use nearfield_segment::storage::{Lock, LockMode, Storage};
use nearfield_segment::{Error, ErrorKind, Result};

/// Name of the lock file in a collection's directory.
pub(crate) const PIN: &str = "pin";

/// For opening files. Where the file of the pin cannot be made (this process may not write, or the disk is full) there
/// is no pin, and while files are being removed there is none either: a reader that then finds a file gone starts
/// again.
///
/// # Errors
/// Those of the storage, except that it cannot be written to.
pub(crate) fn shared(storage: &dyn Storage, dir: &str) -> Result<Option<Box<dyn Lock>>> {
    match storage.lock(&format!("{dir}/{PIN}"), LockMode::Shared, "") {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == ErrorKind::Locked || cannot_write(&error) => Ok(None),
        Err(error) => Err(error),
    }
}

/// For removing files; `None` while a reader is opening some.
///
/// # Errors
/// Those of the storage.
pub(crate) fn exclusive(storage: &dyn Storage, dir: &str) -> Result<Option<Box<dyn Lock>>> {
    match storage.lock(&format!("{dir}/{PIN}"), LockMode::Exclusive, "vacuum") {
        Ok(lock) => Ok(Some(lock)),
        Err(error) if error.kind() == ErrorKind::Locked => Ok(None),
        Err(error) => Err(error),
    }
}

/// True if the medium is full, or cannot be written, or not by this user. Any other failure (no file handles left, a
/// failing disk) is no reason to go on without the pin.
fn cannot_write(error: &Error) -> bool {
    let cause = std::error::Error::source(error).and_then(|source| source.downcast_ref());
    let kind = cause.map(std::io::Error::kind);
    matches!(error.kind(), ErrorKind::ReadOnly | ErrorKind::StorageFull)
        || matches!(
            kind,
            Some(std::io::ErrorKind::ReadOnlyFilesystem | std::io::ErrorKind::PermissionDenied)
        )
}

#[cfg(test)]
mod tests {
    use std::io::{self, ErrorKind as Io};

    use super::*;

    #[test]
    fn only_where_nothing_can_be_written_is_there_no_pin() {
        let denied = |kind| cannot_write(&Error::io("lock", "pin", io::Error::from(kind)));
        assert!(denied(Io::ReadOnlyFilesystem) && denied(Io::PermissionDenied));
        let no_handles_left = Error::io("lock", "pin", io::Error::from_raw_os_error(24));
        assert!(!cannot_write(&no_handles_left) && !denied(Io::Other));
        assert!(cannot_write(&Error::new(ErrorKind::ReadOnly, "opened for reading only")));
        assert!(denied(Io::StorageFull));
    }
}
