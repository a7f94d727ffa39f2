//! What work that did not finish left behind: directories that no database document names.
//!
//! A create, restore or replay that is cut short leaves a collection's directory without a name; a backup
//! cut short has no document. Both are removed when the database is opened for writing, as are documents
//! that a newer one replaced. Whoever calls this holds the writer's lock, so nothing here is in the making.
//!
//! Removes files only: empty directories stay.

use std::collections::HashSet;

use nearfield_segment::storage::Storage;
use nearfield_segment::{FileId, Result, parse_canonical_uuid};

use crate::manifest::{DatabaseManifest, document_name, list_numbers};

/// Where backups are made.
pub(crate) const BACKUPS: &str = "tmp";
/// Directories of a collection. Manifests are removed first: whoever still reads then finds no collection,
/// rather than one with damage.
pub(crate) const COLLECTION_DIRS: [&str; 5] = ["", "segments", "wal", "archive", "quarantine"];

/// Removes the files of a collection's directory.
///
/// # Errors
/// Those of the storage; what was removed stays removed.
pub(crate) fn remove_collection(storage: &dyn Storage, dir: &str) -> Result<()> {
    for inner in COLLECTION_DIRS {
        let dir = if inner.is_empty() { dir.to_owned() } else { format!("{dir}/{inner}") };
        for name in storage.list(&dir)? {
            storage.remove(&format!("{dir}/{name}"))?;
        }
    }
    Ok(())
}

/// Removes collections that `database` does not name, unfinished backups and older documents.
///
/// # Errors
/// As [`remove_collection`].
pub(crate) fn sweep(storage: &dyn Storage, database: &DatabaseManifest) -> Result<()> {
    let named: HashSet<FileId> = database.collections.values().map(|entry| entry.id).collect();
    sweep_collections(storage, "c", &named)?;
    for backup in storage.directories(BACKUPS)? {
        let dir = format!("{BACKUPS}/{backup}");
        if list_numbers::<DatabaseManifest>(storage, &dir)?.is_empty() {
            sweep_collections(storage, &format!("{dir}/c"), &HashSet::new())?;
        }
    }
    remove_older_documents(storage, database.number)
}

fn sweep_collections(storage: &dyn Storage, dir: &str, named: &HashSet<FileId>) -> Result<()> {
    for name in storage.directories(dir)? {
        // Other names are none of ours.
        let id = parse_canonical_uuid(&name).map(FileId);
        if id.is_some_and(|id| !named.contains(&id)) {
            remove_collection(storage, &format!("{dir}/{name}"))?;
        }
    }
    Ok(())
}

/// Removes database documents with a number below `newest`.
///
/// # Errors
/// Those of the storage.
pub(crate) fn remove_older_documents(storage: &dyn Storage, newest: u64) -> Result<()> {
    let numbers = list_numbers::<DatabaseManifest>(storage, "")?.into_iter();
    for number in numbers.filter(|&number| number < newest) {
        storage.remove(&document_name::<DatabaseManifest>("", number))?;
    }
    Ok(())
}
