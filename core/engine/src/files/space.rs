//! `check`: refuses work whose bytes do not fit on the disk. Called before a merge (`Task`) and before
//! recovery (`Writer::check_space`), which would read everything only to find the disk full. Where the
//! storage does not know its free bytes, nothing is refused.

use nearfield_segment::storage::Storage;
use nearfield_segment::{Error, ErrorKind, Result};

/// Refuses `what` if it takes more bytes than can be written.
///
/// # Errors
/// `StorageFull` with the bytes needed (`expected`) and free (`got`).
pub(crate) fn check(storage: &dyn Storage, bytes: u64, what: &str) -> Result<()> {
    let Ok(Some(free)) = storage.free_bytes() else { return Ok(()) };
    if free >= bytes {
        return Ok(());
    }
    let message = format!("the disk is full: {what} takes {bytes} bytes, {free} are free");
    Err(Error::new(ErrorKind::StorageFull, message).with("expected", bytes).with("got", free))
}
