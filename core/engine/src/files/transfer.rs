//! Copies immutable files from one collection's directory to another: hard links where both are on one storage and the
//! disk has links, copies everywhere else. Entry: `bring`, called by rebuild, replay, snapshot and restore;
//! `bring_all` brings every file of a directory.
//!
//! Log files count as immutable here: callers bring only those that are no longer appended to, and
//! recovery replaces a file rather than to change it.

use crc32c::crc32c;
use nearfield_segment::cancel::{self, GoOn, never_cancelled};
use nearfield_segment::storage::{Storage, join};
use nearfield_segment::{ErrorKind, Result};

use crate::files::CollectionPath;
use crate::files::leftovers::COLLECTION_DIRS;

/// Makes `file` of `source` the file `to` of `target`, unless `go_on` returns false. One that is there already stays.
///
/// # Errors
/// `NotFound` without the file, `StorageFull`, `Io`; `Cancelled`.
pub(crate) fn bring(
    source: &CollectionPath,
    file: &str,
    target: &CollectionPath,
    to: &str,
    go_on: GoOn<'_>,
) -> Result<()> {
    cancel::check(go_on)?;
    let (from, to) = (source.path(file), target.path(to));
    if !std::sync::Arc::ptr_eq(&source.storage, &target.storage) {
        return copy(&*source.storage, &from, &*target.storage, &to, go_on).map(drop);
    }
    match source.storage.link(&from, &to) {
        Err(error) if error.kind() == ErrorKind::Conflict => Ok(()),
        other => other,
    }
}

/// Brings everything in a collection's directory but its quarantine. Returns the number of files.
///
/// # Errors
/// As [`bring`].
pub(crate) fn bring_all(source: &CollectionPath, target: &CollectionPath) -> Result<u64> {
    let mut count = 0;
    for dir in COLLECTION_DIRS.into_iter().filter(|&dir| dir != "quarantine") {
        for name in source.storage.list(source.path(dir).trim_end_matches('/'))? {
            // The lock of a living collection.
            if dir.is_empty() && name == crate::files::pin::PIN {
                continue;
            }
            let file = join(dir, &name);
            bring(source, &file, target, &file, &never_cancelled)?;
            count += 1;
        }
    }
    Ok(count)
}

/// Copies a whole file; durable on return. Returns its length and CRC32C.
///
/// # Errors
/// As [`bring`].
pub(crate) fn copy(
    source: &dyn Storage,
    from: &str,
    target: &dyn Storage,
    to: &str,
    go_on: GoOn<'_>,
) -> Result<(u64, u32)> {
    let blob = source.open(from)?;
    let bytes = blob.read(0..blob.len())?;
    target.put(to, &mut |out| cancel::write_all(out, &bytes, to, go_on))?;
    Ok((bytes.len() as u64, crc32c(&bytes)))
}
