//! Cancels long work: the caller passes a check ([`GoOn`]), and the work calls [`check`] between pieces; [`write_all`]
//! does so between pieces of a file. Used by searches, verify, snapshot, restore and export; [`never_cancelled`] is
//! for callers that do not cancel. Merges stop between steps instead.
//!
//! *Invariant.* Work that ends early because of the check returns `Cancelled` and no partial answer.

use std::io::Write;

use crate::error::{Error, ErrorKind, Result};

/// Bytes written between two checks.
const CHECKED_BYTES: usize = 1 << 20;

/// Returns whether the work may continue. Called between pieces of work, from any thread; once it has returned false, it keeps
/// returning false.
pub type GoOn<'a> = &'a (dyn Fn() -> bool + Sync);

/// The check of work that is never cancelled.
pub fn never_cancelled() -> bool {
    true
}

/// Returns an error if the caller has cancelled.
///
/// # Errors
/// `Cancelled`.
pub fn check(go_on: GoOn<'_>) -> Result<()> {
    if go_on() { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "cancelled by its caller")) }
}

/// Writes `bytes` to `out` in pieces of a mebibyte, with a check before each; `name` is for errors.
///
/// # Errors
/// `Cancelled`, after which some pieces are written; `Io`.
pub fn write_all(out: &mut dyn Write, bytes: &[u8], name: &str, go_on: GoOn<'_>) -> Result<()> {
    bytes.chunks(CHECKED_BYTES).try_for_each(|piece| {
        check(go_on)?;
        out.write_all(piece).map_err(|error| Error::io("write", name, error))
    })
}
