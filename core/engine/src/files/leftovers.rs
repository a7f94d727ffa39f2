//! Finds and removes what unfinished work left behind: directories that no database document names (unfinished
//! collections, backups, snapshots), and older documents. Entry: `inspect`, called by `Database` when it is opened for
//! writing.
//!
//! Nothing is removed without evidence that it is not needed:
//!
//! | found | evidence | done |
//! |---|---|---|
//! | a collection in the document's list `dropped` | it was dropped, or it was announced before it was built and never got its name | removed |
//! | a directory without files | | removed |
//! | a first manifest and nothing else | a create that was cut short; there is no row to lose | moved to quarantine |
//! | a collection with anything in it | its document was lost, or an older document was brought back | the database does not open |
//! | files without a manifest | no collection can be opened from them | left, with a warning |
//! | a snapshot with a mark and no document | it was being made | removed |
//! | a backup without a document | if the document still names all its collections, the change it was for never happened | removed, else left with a warning |
//!
//! Foreign names are left alone. Callers hold the writer's lock, so nothing here is in the making.

use std::collections::HashSet;

use nearfield_segment::storage::Storage;
use nearfield_segment::{Error, FileId, Lsn, Result, parse_canonical_uuid};

use crate::files::pin::PIN;
use crate::manifest::{DatabaseManifest, Manifest, document_name, list_numbers, load};

/// Where backups are made.
pub(crate) const BACKUPS: &str = "tmp";
/// Directory of the snapshots in a store.
pub const SNAPSHOTS: &str = "snapshots";
/// File in the directory of a snapshot while it is being made.
pub(crate) const UNFINISHED: &str = "unfinished";
/// Directories of a collection. Manifests are removed first: a reader then finds no collection, rather than
/// a damaged one.
pub(crate) const COLLECTION_DIRS: [&str; 5] = ["", "segments", "wal", "archive", "quarantine"];
/// Starts of the names of backups; milliseconds follow.
const BACKUP_KINDS: [&str; 2] = ["replay_backup_", "restore_backup_"];

/// Names in a message.
const NAMED_MAX: usize = 5;
/// Characters of a name in a message.
const NAME_CHARS_MAX: usize = 64;

/// What the directory of a collection without a name holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Content {
    Nothing,
    /// The manifest that its creation wrote, which names no rows.
    FirstManifest,
    FilesWithoutManifest,
    /// Rows, or manifests that may name some.
    Collection,
}

/// What was found beside the collections that have names.
#[derive(Debug, Default)]
pub(crate) struct Unnamed {
    /// Directories without files.
    pub(crate) empty: Vec<String>,
    /// Directories with nothing but a first manifest.
    pub(crate) unwritten: Vec<String>,
    /// Sentences about what is left as it is.
    pub(crate) warnings: Vec<String>,
}

/// Looks at every directory of a collection that `database` does not name. Only reads.
///
/// # Errors
/// `Corrupt` if there are collections with rows among them; those of the storage.
pub(crate) fn inspect(storage: &dyn Storage, database: &DatabaseManifest) -> Result<Unnamed> {
    let named = named(database);
    let mut found = Unnamed::default();
    let mut lost = Vec::new();
    for name in storage.directories("c")? {
        let Some(id) = parse_canonical_uuid(&name).map(FileId) else {
            found.warnings.push(format!("c/{name} is not of this database; it is left alone"));
            continue;
        };
        if named.contains(&id) || database.dropped.contains(&id) {
            continue;
        }
        let dir = format!("c/{name}");
        match content(storage, &dir)? {
            Content::Nothing => found.empty.push(dir),
            Content::FirstManifest => found.unwritten.push(dir),
            Content::FilesWithoutManifest => {
                found.warnings.push(format!("{dir} holds files but no manifest; it is left alone"))
            }
            Content::Collection => lost.push(dir),
        }
    }
    if lost.is_empty() { Ok(found) } else { Err(nameless(&lost, database.number)) }
}

fn nameless(lost: &[String], number: u64) -> Error {
    let document = document_name::<DatabaseManifest>("", number);
    let found = format!(
        "it does not name {}, which hold data: an older document was brought back, or the newest was lost; \
         nothing was changed. Put the newest document back, or move these directories out of the store to do \
         without them",
        listed(lost)
    );
    Error::corrupt(&document, "collections", found)
}

/// The first few names, and how many there are besides.
pub(crate) fn listed(names: &[String]) -> String {
    let short = |name: &String| name.chars().take(NAME_CHARS_MAX).collect::<String>();
    let first: Vec<String> = names.iter().take(NAMED_MAX).map(short).collect();
    let more = names.len().saturating_sub(NAMED_MAX);
    let rest = if more > 0 { format!(" and {more} more") } else { String::new() };
    format!("{}{rest}", first.join(", "))
}

fn named(database: &DatabaseManifest) -> HashSet<FileId> {
    database.collections.values().map(|entry| entry.id).collect()
}

/// Directories of collections below `dir` with any file in them.
///
/// # Errors
/// Those of the storage.
pub(crate) fn with_files(storage: &dyn Storage, dir: &str) -> Result<Vec<String>> {
    let mut found = Vec::new();
    for name in storage.directories(dir)? {
        let path = format!("{dir}/{name}");
        if parse_canonical_uuid(&name).is_some() && content(storage, &path)? != Content::Nothing {
            found.push(path);
        }
    }
    Ok(found)
}

fn content(storage: &dyn Storage, dir: &str) -> Result<Content> {
    let mut files = 0;
    for inner in &COLLECTION_DIRS[1..] {
        files += storage.list(&format!("{dir}/{inner}"))?.len();
    }
    let manifests = list_numbers::<Manifest>(storage, dir)?;
    let outside = storage.list(dir)?.iter().filter(|&name| name != PIN).count();
    Ok(match manifests.as_slice() {
        [] if files + outside == 0 => Content::Nothing,
        [] => Content::FilesWithoutManifest,
        [1] if files == 0 && outside == 1 && is_first(storage, dir) => Content::FirstManifest,
        _ => Content::Collection,
    })
}

fn is_first(storage: &dyn Storage, dir: &str) -> bool {
    load::<Manifest>(storage, dir, 1).is_ok_and(|stored| {
        stored.document.checkpoint_lsn == Lsn(0) && stored.document.segments.is_empty()
    })
}

/// Removes the files and directories of a collection. When this returns no power cut brings them back. A
/// directory with foreign files in it stays.
///
/// # Errors
/// Those of the storage; what was removed stays removed.
pub(crate) fn remove_collection(storage: &dyn Storage, dir: &str) -> Result<()> {
    let inner = |inner: &str| {
        if inner.is_empty() { dir.to_owned() } else { format!("{dir}/{inner}") }
    };
    for part in COLLECTION_DIRS.map(inner) {
        for name in storage.list(&part)? {
            storage.remove(&format!("{part}/{name}"))?;
        }
    }
    if !remove_directories(storage, &COLLECTION_DIRS.map(inner))? {
        // Unfinished writes are not listed.
        storage.settle(dir)?;
        if !remove_directories(storage, &COLLECTION_DIRS.map(inner))? {
            let mut left = COLLECTION_DIRS.map(inner).into_iter();
            left.try_for_each(|part| storage.remove_durably(&part, &[]))?;
        }
    }
    let parent = dir.rsplit_once('/').map_or("", |(parent, _)| parent);
    storage.remove_durably(parent, &[])
}

/// Removes a collection's directories, where they are empty; true if all are gone.
fn remove_directories(storage: &dyn Storage, dirs: &[String]) -> Result<bool> {
    let mut gone = true;
    for dir in dirs.iter().rev() {
        gone &= storage.remove_directory(dir)?;
    }
    Ok(gone)
}

/// Removes unfinished backups whose collections all still have the names that the backup was to free. Returns
/// sentences about those that are left.
///
/// # Errors
/// As [`remove_collection`].
pub(crate) fn remove_unfinished_backups(
    storage: &dyn Storage,
    database: &DatabaseManifest,
) -> Result<Vec<String>> {
    let named = named(database);
    let mut left = Vec::new();
    for backup in storage.directories(BACKUPS)?.iter().filter(|name| is_backup(name)) {
        let dir = format!("{BACKUPS}/{backup}");
        storage.settle(&dir)?;
        if !list_numbers::<DatabaseManifest>(storage, &dir)?.is_empty() {
            continue;
        }
        let inside = storage.directories(&format!("{dir}/c"))?;
        let has_name = |name: &String| {
            parse_canonical_uuid(name).is_some_and(|id| named.contains(&FileId(id)))
        };
        if !inside.iter().all(has_name) {
            left.push(format!("{dir} is a backup without a document; it is left alone"));
            continue;
        }
        for name in inside {
            remove_collection(storage, &format!("{dir}/c/{name}"))?;
        }
        storage.remove_directory(&format!("{dir}/c"))?;
        storage.remove_directory(&dir)?;
    }
    Ok(left)
}

/// Removes the files of snapshots that were being made, by their mark. Of a directory with neither mark nor
/// document only what was just being written is removed: it may be a copy in the making.
///
/// # Errors
/// Those of the storage.
pub(crate) fn tidy_snapshots(storage: &dyn Storage) -> Result<()> {
    for name in storage.directories(SNAPSHOTS)? {
        let dir = format!("{SNAPSHOTS}/{name}");
        if list_numbers::<DatabaseManifest>(storage, &dir)?.is_empty() {
            storage.settle(&dir)?;
        }
        if storage.list(&dir)?.iter().any(|file| file == UNFINISHED) {
            end_snapshot(storage, &dir)?;
        }
    }
    Ok(())
}

/// Ends the making of a snapshot in `dir`: one with a document is finished, of any other the files are removed.
///
/// # Errors
/// Those of the storage; the mark is still there then.
pub(crate) fn end_snapshot(storage: &dyn Storage, dir: &str) -> Result<()> {
    let (mark, inner) = (format!("{dir}/{UNFINISHED}"), format!("{dir}/c"));
    if !list_numbers::<DatabaseManifest>(storage, dir)?.is_empty() {
        return storage.remove(&mark);
    }
    for name in storage.directories(&inner)? {
        if parse_canonical_uuid(&name).is_some() {
            remove_collection(storage, &format!("{inner}/{name}"))?;
        }
    }
    storage.remove(&mark)?;
    storage.remove_directory(&inner)?;
    storage.remove_directory(dir).map(drop)
}

fn is_backup(name: &str) -> bool {
    BACKUP_KINDS.iter().any(|kind| {
        let time = name.strip_prefix(kind).unwrap_or_default();
        time.len() >= 14 && time.bytes().all(|byte| byte.is_ascii_digit())
    })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_list_is_cut() {
        let names: Vec<String> = (0..9).map(|n| format!("{n}{}", "x".repeat(99))).collect();
        let text = listed(&names);
        assert!(text.ends_with("and 4 more") && text.len() < 6 * 70, "{text}");
    }

    #[test]
    fn only_exact_names_are_backups() {
        assert!(is_backup("replay_backup_00000000000012"));
        for name in
            ["replay_backup_", "replay_backup_0000000000001x", "backup_00000000000012", "tmp"]
        {
            assert!(!is_backup(name), "{name}");
        }
    }
}
