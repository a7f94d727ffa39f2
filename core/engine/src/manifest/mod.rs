//! `Manifest`: the numbered file that names all files of a collection at one LSN; a file that is not named
//! does not count. Committed by `Writer::commit`; read by recovery, history and verify. `database` holds the
//! manifest of a database.
//!
//! A manifest is written once, whole (see `document`), and never edited; a change is a new manifest with the
//! next number. Fields this version does not know are kept when a successor is written.
//!
//! Nothing here opens the files it names.

mod database;
mod deletes;
mod document;
mod next_id;

pub use database::{
    CollectionEntry, DatabaseManifest, SnapshotLog, SnapshotLogFile, check_collection_name,
};
pub use deletes::{DELETES_VERSION, DeleteList, delete_list_name};
pub use document::{
    Document, MANIFEST_VERSION, Parent, Stored, commit, document_name, list_numbers, load,
    load_newest,
};
pub use next_id::NextId;

use std::collections::{BTreeMap, HashSet};

use nearfield_segment::payload::FieldPath;
use nearfield_segment::storage::Storage;
use nearfield_segment::{DIM_MAX, Error, FieldKinds, FileId, Lsn, Result, Schema};
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// Version of the file of idempotency keys that is written; every one from 1 is read. Version 2 may have negative ids.
pub const KEYS_VERSION: u32 = 2;
/// Most metadata fields whose kind is declared.
pub const DECLARED_FIELDS_MAX: usize = 1024;
/// Fields whose type is fixed; they cannot be declared.
const OWN_KINDS: [&str; 3] = ["tags", "entity_id", "sequence_ts"];
/// Longest name of a vector field, in bytes.
pub const FIELD_NAME_BYTES_MAX: usize = 255;
/// Epochs and LSNs stay below this, so that there is always a next one.
const COUNTER_END: u64 = 1 << 62;
/// Longest name of a file, in bytes.
const FILE_NAME_BYTES_MAX: usize = 255;

/// Everything a collection consists of at one LSN.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Manifest {
    /// The collection.
    pub collection: FileId,
    /// From 1, one more than the parent's.
    pub number: u64,
    /// The manifest this one replaced.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub parent: Option<Parent>,
    /// Number of the writer's opening.
    pub epoch: u64,
    /// Timeline of the log it belongs to, from 1.
    pub timeline: u32,
    /// Every batch up to this LSN is in the files below, and nothing after it.
    #[serde(rename = "cut")]
    pub checkpoint_lsn: Lsn,
    /// The vector fields.
    pub schema: Schema,
    /// The next id to assign.
    pub next_assigned_id: NextId,
    /// The segments, oldest first.
    pub segments: Vec<SegmentEntry>,
    /// The idempotency keys used up to `checkpoint_lsn`, if there were any. Every writer has to check them, so
    /// a manifest that names some has version 2.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys: Option<KeysEntry>,
    /// The metadata fields known at `checkpoint_lsn`, if there are any. Versions that do not know this record keep it as it is: one
    /// that is older than `checkpoint_lsn` is completed from the segments.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fields: Option<FieldsEntry>,
    /// How far back the writer of this manifest keeps every moment, in milliseconds; none if only the present. A
    /// writer without a setting of its own uses it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub history_ms: Option<u64>,
    /// When it was made, milliseconds since 1970.
    pub created_ms: u64,
    /// Why it was made.
    pub reason: Reason,
    /// What the user says about this version.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// Why a manifest was made. Only commits and checkpoints are versions to the user.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Reason {
    /// The collection came into being.
    Create,
    /// The user asked for a version.
    Commit,
    /// The memtable was written out.
    Checkpoint,
    /// Segments were rewritten; the content is that of the parent.
    Compaction,
    /// The collection went back to an earlier LSN.
    Replay,
    /// A snapshot was restored or an export imported.
    Restore,
}

/// One segment file.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SegmentEntry {
    /// The segment.
    pub id: FileId,
    /// Name relative to the collection's directory, `segments/…`.
    pub file: String,
    /// Length in bytes.
    pub len: u64,
    /// Checksum of its table of contents, which holds those of the sections.
    pub crc: u32,
    /// Rows, dead ones too.
    pub rows: u32,
    /// Age and size class, 0 the youngest.
    pub level: u8,
    /// Delete lists, oldest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub deletes: Vec<DeletesEntry>,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// One delete list of a segment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DeletesEntry {
    /// Name relative to the collection's directory, `segments/…`.
    pub file: String,
    /// Length in bytes.
    pub len: u64,
    /// The checksum in its header.
    pub crc: u32,
    /// Rows it names.
    pub count: u32,
    /// No delete in it is newer than this LSN.
    #[serde(rename = "cut")]
    pub checkpoint_lsn: Lsn,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// The metadata fields that filters may name.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct FieldsEntry {
    /// They are those of all batches up to this LSN.
    #[serde(rename = "cut")]
    pub checkpoint_lsn: Lsn,
    /// Paths in their text form, sorted.
    pub names: Vec<String>,
    /// True if there were more than are remembered: every name counts as known.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub open: bool,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

/// The file of idempotency keys.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeysEntry {
    /// Name relative to the collection's directory, `segments/…`.
    pub file: String,
    /// Length in bytes.
    pub len: u64,
    /// The checksum in its header.
    pub crc: u32,
    /// It holds the keys up to this LSN; between it and the manifest's checkpoint LSN there were none.
    #[serde(rename = "cut")]
    pub checkpoint_lsn: Lsn,
    /// Fields of newer versions, kept as they are.
    #[serde(flatten)]
    pub unknown: BTreeMap<String, Value>,
}

impl DeletesEntry {
    /// Reads the list below `dir` and checks that it is the one named, of that segment.
    ///
    /// # Errors
    /// `Corrupt`, `Version`, `NotFound`, `Io`.
    pub fn read(
        &self,
        storage: &dyn Storage,
        dir: &str,
        segment: &SegmentEntry,
    ) -> Result<DeleteList> {
        let path = format!("{dir}/{}", self.file);
        let blob = storage.open(&path)?;
        let (list, crc) = DeleteList::decode(&blob.read(0..blob.len())?, &path)?;
        if list.segment != segment.id || list.segment_rows != segment.rows || crc != self.crc {
            let found = format!("of segment {} with checksum {crc:08x}", list.segment);
            return Err(Error::corrupt(&path, "header", format!("{found}, not the one named")));
        }
        let (count, checkpoint_lsn, len) =
            (list.entries.len() as u64, list.checkpoint_lsn, blob.len());
        if count != u64::from(self.count)
            || checkpoint_lsn != self.checkpoint_lsn
            || len != self.len
        {
            let found = format!("{count} rows up to LSN {checkpoint_lsn} in {len} bytes");
            let named = format!("{} up to LSN {} in {}", self.count, self.checkpoint_lsn, self.len);
            return Err(Error::corrupt(
                &path,
                "header",
                format!("{found}; the manifest names {named}"),
            ));
        }
        Ok(list)
    }
}

impl Manifest {
    /// The first manifest of an empty collection.
    pub fn first(collection: FileId, schema: Schema, epoch: u64, created_ms: u64) -> Self {
        Manifest {
            collection,
            number: 1,
            parent: None,
            epoch,
            timeline: 1,
            checkpoint_lsn: Lsn(0),
            schema,
            next_assigned_id: NextId::FIRST,
            segments: Vec::new(),
            keys: None,
            fields: None,
            history_ms: None,
            created_ms,
            reason: Reason::Create,
            note: None,
            unknown: BTreeMap::new(),
        }
    }

    /// Every file it names: name, length, checksum.
    pub fn files(&self) -> impl Iterator<Item = (&str, u64, u32)> {
        let of_segments = self.segments.iter().flat_map(|segment| {
            let lists = segment.deletes.iter().map(|list| (list.file.as_str(), list.len, list.crc));
            std::iter::once((segment.file.as_str(), segment.len, segment.crc)).chain(lists)
        });
        of_segments.chain(self.keys.iter().map(|keys| (keys.file.as_str(), keys.len, keys.crc)))
    }
}

impl Document for Manifest {
    const KIND: &'static str = "manifest";

    fn version(&self) -> u32 {
        // Builds of version 2 would compare dates as texts, and lose the declarations.
        match (self.schema.fields.is_empty(), self.keys.is_some()) {
            (false, _) => 3,
            (true, true) => 2,
            (true, false) => 1,
        }
    }

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
        check_schema(&self.schema)?;
        if self.timeline == 0 {
            return Err("timelines count from 1".to_owned());
        }
        let counters = [self.epoch, self.checkpoint_lsn.0, u64::from(self.timeline) << 31];
        if counters.into_iter().any(|counter| counter >= COUNTER_END) {
            let (epoch, checkpoint_lsn, timeline) =
                (self.epoch, self.checkpoint_lsn, self.timeline);
            return Err(format!(
                "used up: epoch {epoch}, cut {checkpoint_lsn} or timeline {timeline}"
            ));
        }
        let mut files = HashSet::new();
        let mut ids = HashSet::new();
        for segment in &self.segments {
            if !ids.insert(segment.id) {
                return Err(format!("segment {} occurs twice", segment.id));
            }
            check_segment(segment, self.checkpoint_lsn)?;
        }
        if let Some(keys) =
            self.keys.as_ref().filter(|keys| keys.checkpoint_lsn > self.checkpoint_lsn)
        {
            return Err(format!(
                "{}: cut {} above the manifest's {}",
                keys.file, keys.checkpoint_lsn, self.checkpoint_lsn
            ));
        }
        if let Some(fields) = &self.fields {
            check_fields(fields, self.checkpoint_lsn)?;
        }
        for (file, _, _) in self.files() {
            check_file(file)?;
            if !files.insert(file) {
                return Err(format!("file {file:?} is named twice"));
            }
        }
        Ok(())
    }
}

/// What is wrong with a schema, if anything.
pub(crate) fn check_schema(schema: &Schema) -> std::result::Result<(), String> {
    for (name, spec) in &schema.vectors {
        if spec.dim == 0 || spec.dim as usize > DIM_MAX {
            return Err(format!("field {name:?}: dim {} is not 1 to {DIM_MAX}", spec.dim));
        }
        if name.len() > FIELD_NAME_BYTES_MAX {
            return Err(format!("field name of {} bytes", name.len()));
        }
    }
    check_declared(&schema.fields)
}

/// What is wrong with declared fields, if anything.
pub(crate) fn check_declared(fields: &FieldKinds) -> std::result::Result<(), String> {
    if fields.len() > DECLARED_FIELDS_MAX {
        return Err(format!("{} declared fields, at most {DECLARED_FIELDS_MAX}", fields.len()));
    }
    let is_legal = |name: &str| {
        FieldPath::parse(name).is_ok_and(|path| path.as_str() == name) && !OWN_KINDS.contains(&name)
    };
    match fields.paths().find(|name| !is_legal(name)) {
        Some(name) => {
            Err(format!("declared fields: {name:?} is no path, or has a kind of its own"))
        }
        None => Ok(()),
    }
}

/// What is wrong with a record of known fields of a document with this checkpoint LSN, if anything.
pub(crate) fn check_fields(
    fields: &FieldsEntry,
    checkpoint_lsn: Lsn,
) -> std::result::Result<(), String> {
    if fields.checkpoint_lsn > checkpoint_lsn {
        return Err(format!("fields: cut {} above {checkpoint_lsn}", fields.checkpoint_lsn));
    }
    let illegal = fields.names.iter().find(|name| FieldPath::parse(name).is_err());
    match illegal {
        Some(name) => Err(format!("fields: {name:?} is no path")),
        None => Ok(()),
    }
}

fn check_segment(segment: &SegmentEntry, checkpoint_lsn: Lsn) -> std::result::Result<(), String> {
    let dead: u64 = segment.deletes.iter().map(|list| u64::from(list.count)).sum();
    if dead > u64::from(segment.rows) {
        return Err(format!("segment {}: {dead} of {} rows deleted", segment.id, segment.rows));
    }
    if !segment.deletes.is_sorted_by(|a, b| a.checkpoint_lsn < b.checkpoint_lsn) {
        return Err(format!("segment {}: delete lists out of order", segment.id));
    }
    match segment.deletes.iter().find(|list| list.checkpoint_lsn > checkpoint_lsn) {
        Some(list) => Err(format!(
            "{}: cut {} above the manifest's {checkpoint_lsn}",
            list.file, list.checkpoint_lsn
        )),
        None => Ok(()),
    }
}

/// `segments/` and one plain name: no way out of the collection's directory.
fn check_file(file: &str) -> std::result::Result<(), String> {
    let name = file.strip_prefix("segments/").unwrap_or_default();
    let good = database::is_plain_name(name, FILE_NAME_BYTES_MAX);
    if good { Ok(()) } else { Err(format!("file name {file:?} is not segments/<plain name>")) }
}

#[cfg(test)]
mod tests;
