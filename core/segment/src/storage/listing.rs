//! Directories of storages that have only a flat map of names: what is listed in one (`files`,
//! `directories`), and which names can stand beside each other (`check_place`), as on a file system. Called
//! by `MemoryStorage` and `SlotStorage`.

use std::collections::BTreeMap;
use std::io;

use super::name;
use crate::error::{Error, Result};

/// Files directly in `dir`, sorted by bytes.
pub(super) fn files<T>(names: &BTreeMap<String, T>, dir: &str) -> Vec<String> {
    let prefix = name::join(dir, "");
    let below = names.keys().filter_map(|name| name.strip_prefix(&prefix));
    below.filter(|rest| !rest.contains('/')).map(str::to_owned).collect()
}

/// Directories directly in `dir`, sorted by bytes.
pub(super) fn directories<T>(names: &BTreeMap<String, T>, dir: &str) -> Vec<String> {
    let prefix = name::join(dir, "");
    let below = names.keys().filter_map(|name| name.strip_prefix(&prefix)?.split_once('/'));
    let mut parts: Vec<String> = below.map(|(part, _)| part.to_owned()).collect();
    parts.dedup();
    parts.sort_unstable();
    parts
}

/// A name cannot be a file and a directory at once, as on every disk.
///
/// # Errors
/// `Io` saying which of the two `name` would also be.
pub(super) fn check_place<T>(files: &BTreeMap<String, T>, name: &str) -> Result<()> {
    let mut above = name::parent(name);
    while !above.is_empty() {
        if files.contains_key(above) {
            return Err(failure("create", name, io::ErrorKind::NotADirectory));
        }
        above = name::parent(above);
    }
    let prefix = name::join(name, "");
    match files.range(prefix.clone()..).next() {
        Some((below, _)) if below.starts_with(&prefix) => {
            Err(failure("create", name, io::ErrorKind::IsADirectory))
        }
        _ => Ok(()),
    }
}

/// What a file system would have failed with.
pub(super) fn failure(action: &str, name: &str, kind: io::ErrorKind) -> Error {
    Error::io(action, name, io::Error::from(kind))
}
