//! Whether there is space for what is about to be written.
//!
//! Asked where trying would be dear: a recovery or a merge that reads everything, only to find the disk full
//! at its end. Where the medium cannot tell, trying is all there is.

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
