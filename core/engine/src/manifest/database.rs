//! `DatabaseManifest`: the content of the database document: names and aliases of collections, in a snapshot
//! also the log files that were copied. `resolve`, `create` and `drop_collection` look names up and change
//! them; `document` reads and writes the file. Committed by `Database`, snapshot, replay and restore.
//!
//! Create and drop are one new document each, so they happen wholly or not at all.

use std::collections::{BTreeMap, HashSet};

use nearfield_segment::{Error, ErrorKind, Fault, FileId, Lsn, Result, shown};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::document::{Document, Parent};

/// Longest name of a collection, in bytes.
const NAME_BYTES_MAX: usize = 255;

/// The collections of a database.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DatabaseManifest {
    /// From 1, one more than the parent's.
    pub number: u64,
    /// The document this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Collections by name.
    pub collections: BTreeMap<String, CollectionEntry>,
    /// Second names: alias to name.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub aliases: BTreeMap<String, String>,
    /// Dropped collections whose files may still be there.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropped: Vec<FileId>,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// What a name means.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CollectionEntry {
    /// The collection; its files are below `c/<id>/`.
    pub id: FileId,
    /// In a snapshot: the log that was copied. A database that is written has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub log: Option<SnapshotLog>,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl CollectionEntry {
    /// The entry of a collection that is written.
    pub fn new(id: FileId) -> CollectionEntry {
        CollectionEntry { id, log: None, unknown: BTreeMap::new() }
    }
}

/// The log of a collection in a snapshot, so that a restore notices when a part of it is missing.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotLog {
    /// The newest durable batch, in the log or in a segment.
    pub last: Lsn,
    /// The files, oldest first; none if the segments hold every batch.
    pub files: Vec<SnapshotLogFile>,
}

/// A log file in a snapshot.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SnapshotLogFile {
    /// Name below the directory of the collection.
    pub file: String,
    /// Length in bytes.
    pub len: u64,
    /// CRC32C of the whole file.
    pub crc: u32,
}

impl DatabaseManifest {
    /// A database without collections.
    pub fn first() -> Self {
        DatabaseManifest {
            number: 1,
            parent: None,
            collections: BTreeMap::new(),
            aliases: BTreeMap::new(),
            dropped: Vec::new(),
            unknown: BTreeMap::new(),
        }
    }

    /// The collection of a name or alias.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn resolve(&self, name: &str) -> Result<FileId> {
        let name = self.aliases.get(name).map_or(name, String::as_str);
        self.collections.get(name).map(|entry| entry.id).ok_or_else(|| not_found(name))
    }

    /// Adds a collection.
    ///
    /// # Errors
    /// `Conflict` if the name is taken, `InvalidInput(Parameter)` if it is no name.
    pub fn create(&mut self, name: &str, id: FileId) -> Result<()> {
        self.check_free(name)?;
        self.collections.insert(name.to_owned(), CollectionEntry::new(id));
        Ok(())
    }

    /// Forgets what a snapshot recorded of its logs: they change from now on. True if there was a record.
    pub(crate) fn forget_logs(&mut self) -> bool {
        let records = self.collections.values_mut().filter_map(|entry| entry.log.take());
        records.count() > 0
    }

    /// Removes a collection and its aliases, and returns what it meant. Its files are not touched but noted.
    ///
    /// # Errors
    /// `NotFound`.
    pub fn drop_collection(&mut self, name: &str) -> Result<FileId> {
        let entry = self.collections.remove(name).ok_or_else(|| not_found(name))?;
        self.aliases.retain(|_, target| target != name);
        self.dropped.push(entry.id);
        Ok(entry.id)
    }

    fn check_free(&self, name: &str) -> Result<()> {
        check_collection_name(name)?;
        if self.collections.contains_key(name) || self.aliases.contains_key(name) {
            return Err(taken(name));
        }
        Ok(())
    }
}

impl Document for DatabaseManifest {
    const KIND: &'static str = "database";

    fn number(&self) -> u64 {
        self.number
    }

    fn parent(&self) -> Option<Parent> {
        self.parent
    }

    fn set_place(&mut self, number: u64, parent: Option<Parent>) {
        (self.number, self.parent) = (number, parent);
    }

    fn check(&self) -> std::result::Result<(), String> {
        let mut ids = HashSet::new();
        for (name, entry) in &self.collections {
            let files = entry.log.iter().flat_map(|log| &log.files);
            if let Some(bad) = files.map(|listed| &listed.file).find(|file| !is_log_name(file)) {
                return Err(format!("{bad:?} is not the name of a log file"));
            }
            check_collection_name(name).map_err(|error| error.message().to_owned())?;
            if !ids.insert(entry.id) {
                return Err(format!("collection {} has two names", entry.id));
            }
        }
        if let Some(id) = self.dropped.iter().find(|id| ids.contains(id)) {
            return Err(format!("collection {id} has a name and was dropped"));
        }
        for (alias, target) in &self.aliases {
            check_collection_name(alias).map_err(|error| error.message().to_owned())?;
            if self.collections.contains_key(alias) || !self.collections.contains_key(target) {
                return Err(format!("alias {alias:?} of {target:?}"));
            }
        }
        Ok(())
    }
}

/// Letters, digits, `.`, `_` and `-`, with no dot in front: no way out of a directory.
pub(super) fn is_plain_name(name: &str, bytes_max: usize) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=bytes_max).contains(&name.len()) && !name.starts_with('.') && name.bytes().all(plain)
}

fn is_log_name(file: &str) -> bool {
    file.strip_prefix("wal/").is_some_and(|name| is_plain_name(name, NAME_BYTES_MAX))
}

/// Names match `[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}`.
///
/// # Errors
/// `InvalidInput(Parameter)`.
pub fn check_collection_name(name: &str) -> Result<()> {
    if is_plain_name(name, NAME_BYTES_MAX) {
        return Ok(());
    }
    let expected = "1 to 255 of A-Z a-z 0-9 . _ - and no dot in front";
    let got = shown(name);
    Err(Error::invalid(
        Fault::Parameter,
        format!("collection name: expected {expected}, got {got:?}"),
    )
    .with("expected", expected)
    .with("got", got.as_ref()))
}

fn not_found(name: &str) -> Error {
    let name = shown(name);
    let message = format!("there is no collection {name:?}");
    Error::new(ErrorKind::NotFound, message).with("got", name.as_ref())
}

fn taken(name: &str) -> Error {
    let name = shown(name);
    let message = format!("there is a collection {name:?} already");
    Error::new(ErrorKind::Conflict, message).with("got", name.as_ref())
}
