//! Cancelling long work: the caller passes a check, and the work calls it between pieces.
//!
//! *Invariant.* Work that ends early because of the check returns `Cancelled` and no partial answer.

use crate::error::{Error, ErrorKind, Result};

/// Whether to go on. Called between pieces of work, from any thread; once it has returned false, it keeps
/// returning false.
pub type GoOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// The check of work that is never cancelled.
pub fn always() -> bool {
    true
}

/// Returns an error if the work is to end.
///
/// # Errors
/// `Cancelled`.
pub fn check(go_on: GoOn<'_>) -> Result<()> {
    if go_on() { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "cancelled by its caller")) }
}
