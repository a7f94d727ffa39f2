//! Long work that can be told to stop: it asks now and then whether to go on.
//!
//! Merges have a richer way, which also pauses them and shows progress: see `task`.

use nearfield_segment::{Error, ErrorKind, Result};

/// Asked between pieces of work. Once it has said no, it goes on saying so.
pub type GoOn<'a> = &'a dyn Fn() -> bool;

/// Whether to go on.
///
/// # Errors
/// `Cancelled`.
pub(crate) fn check(go_on: GoOn<'_>) -> Result<()> {
    if go_on() { Ok(()) } else { Err(Error::new(ErrorKind::Cancelled, "it was told to stop")) }
}
