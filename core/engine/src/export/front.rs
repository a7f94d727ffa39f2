//! The header of an export: `Contents` holds the directory of collections and the section tables of all
//! segments (`docs/internals/format.md`). `encode` writes it, `read` reads it and nothing else of the file;
//! both called by `export`.

use std::sync::Arc;

use nearfield_segment::format::{
    BLOCK_BYTES, FORMAT_VERSION, Front, SectionEntry, align64, decode_table, encode_table,
};
use nearfield_segment::storage::{Blob, Bytes};
use nearfield_segment::{ByteReader, Error, ErrorKind, FileId, Lsn, Result, Schema, read_json};
use serde::{Deserialize, Serialize};

use crate::manifest::{FieldsEntry, check_fields, check_schema};

/// Version written; every one from 1 is read. Version 2 may have sections of segments of format 2.
pub const EXPORT_VERSION: u32 = 2;

const MAGIC: &[u8; 8] = b"NEAREXP\n";
const HEADER_BYTES: usize = 64;
const CRC_OFFSET: usize = 12;
/// Most bytes of a front beside its checksums of blocks. A segment takes about 800, a schema 300.
const FRONT_BYTES_MAX: u64 = 16 << 20;

/// Longest front of a file of `file_len` bytes. A reader over a network gets the whole front before its checksum
/// confirms the length; a valid front has 4 bytes for each block, and is otherwise small.
pub(super) fn front_len_max(file_len: u64) -> u64 {
    FRONT_BYTES_MAX + file_len / BLOCK_BYTES * 4
}

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    collections: Vec<CollectionEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CollectionEntry {
    name: String,
    lsn: Lsn,
    schema: Schema,
    /// Absent in files of versions that did not record it, and where no field is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fields: Option<FieldsEntry>,
    segments: Vec<SegmentEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SegmentEntry {
    id: FileId,
    rows: u32,
    sections: u32,
    table_len: u64,
}

/// A collection in an export.
#[derive(Debug)]
pub(crate) struct Contents {
    pub(crate) name: String,
    pub(crate) lsn: Lsn,
    pub(crate) schema: Schema,
    /// The metadata fields known, where that is recorded.
    pub(crate) fields: Option<FieldsEntry>,
    /// What each segment has. `crc` is 0, `file_len` that of the export.
    pub(crate) segments: Vec<Front>,
}

/// The bytes of the front. Its length depends on the number of sections and blocks alone, not on offsets.
pub(super) fn encode(collections: &[Contents], file_len: u64) -> Vec<u8> {
    let entry = |front: &Front| SegmentEntry {
        id: front.id,
        rows: front.rows,
        sections: front.sections.len() as u32,
        table_len: encode_table(&front.sections).len() as u64,
    };
    let collection = |contents: &Contents| CollectionEntry {
        name: contents.name.clone(),
        lsn: contents.lsn,
        schema: contents.schema.clone(),
        fields: contents.fields.clone(),
        segments: contents.segments.iter().map(entry).collect(),
    };
    let directory = Directory { collections: collections.iter().map(collection).collect() };
    let json = serde_json::to_vec(&directory).expect("a directory is plain data");
    let mut front = vec![0; HEADER_BYTES];
    front.extend_from_slice(&json);
    for segment in collections.iter().flat_map(|contents| &contents.segments) {
        front.extend_from_slice(&encode_table(&segment.sections));
    }
    front.resize(align64(front.len() as u64) as usize, 0);
    let front_len = front.len() as u64;
    front[..8].copy_from_slice(MAGIC);
    front[8..12].copy_from_slice(&EXPORT_VERSION.to_le_bytes());
    front[16..24].copy_from_slice(&front_len.to_le_bytes());
    front[24..32].copy_from_slice(&file_len.to_le_bytes());
    front[32..40].copy_from_slice(&(json.len() as u64).to_le_bytes());
    let crc = crc32c::crc32c(&front);
    front[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
    front
}

/// What is in an export called `name`, and the length of its front. Sections lie within the file.
///
/// # Errors
/// `Corrupt`, or `Version` for a file of a later version; what the blob returns.
pub(crate) fn read(name: &str, blob: &Arc<dyn Blob>) -> Result<(Vec<Contents>, u64)> {
    let front = read_bytes(name, blob)?;
    let mut reader = ByteReader::new(name, "header", &front);
    reader.take(32)?;
    let json_len = usize::try_from(reader.u64()?).unwrap_or(usize::MAX);
    reader.take(HEADER_BYTES - 40)?;
    let directory: Directory = read_json(reader.take(json_len)?)
        .map_err(|error| Error::corrupt(name, "directory", error))?;
    let mut collections = Vec::with_capacity(directory.collections.len());
    for entry in directory.collections {
        check_schema(&entry.schema)
            .map_err(|problem| Error::corrupt(name, "directory", problem))?;
        if let Some(fields) = &entry.fields {
            check_fields(fields, entry.lsn)
                .map_err(|problem| Error::corrupt(name, "directory", problem))?;
        }
        let mut segments = Vec::new();
        for segment in &entry.segments {
            segments.push(read_segment(name, segment, &mut reader, blob.len())?);
        }
        if entry.lsn == Lsn(0) && !segments.is_empty() {
            return Err(Error::corrupt(
                name,
                "directory",
                "segments at LSN 0, before the first batch",
            ));
        }
        let CollectionEntry { name, lsn, schema, fields, .. } = entry;
        collections.push(Contents { name, lsn, schema, fields, segments });
    }
    Ok((collections, front.len() as u64))
}

fn read_segment(
    name: &str,
    entry: &SegmentEntry,
    reader: &mut ByteReader<'_>,
    file_len: u64,
) -> Result<Front> {
    let len = usize::try_from(entry.table_len).unwrap_or(usize::MAX);
    let sections: Vec<SectionEntry> = decode_table(name, reader.take(len)?, entry.sections)?;
    let outside = |section: &&SectionEntry| section.offset + section.len > file_len;
    if let Some(section) = sections.iter().find(outside) {
        let found = format!("{} ends after the file", section.kind);
        return Err(Error::corrupt(name, "section table", found));
    }
    let (version, id, rows) = (FORMAT_VERSION, entry.id, entry.rows);
    Ok(Front { version, id, rows, crc: 0, file_len, sections })
}

/// The whole front, after checking magic, version, lengths and checksum.
fn read_bytes(name: &str, blob: &Arc<dyn Blob>) -> Result<Bytes> {
    let prefix = blob.read(0..(HEADER_BYTES as u64).min(blob.len()))?;
    let mut reader = ByteReader::new(name, "header", &prefix);
    if reader.take(8)? != MAGIC {
        return Err(reader.corrupt("not a .near export: it does not begin with the magic of one; give a database directory or a .near file"));
    }
    let version = reader.u32()?;
    if !(1..=EXPORT_VERSION).contains(&version) {
        let message =
            format!("{name}: export format {version}; this build reads 1 to {EXPORT_VERSION}");
        return Err(Error::new(ErrorKind::Version, message)
            .with("file", name)
            .with("got", version)
            .with("expected", EXPORT_VERSION));
    }
    let expected = reader.u32()?;
    let (front_len, file_len) = (reader.u64()?, reader.u64()?);
    if file_len != blob.len() || front_len > file_len || front_len < HEADER_BYTES as u64 {
        let found = format!("{} bytes, the header says {file_len} (truncated?)", blob.len());
        return Err(reader.corrupt(found));
    }
    let most = front_len_max(file_len);
    if front_len > most {
        let found = format!("a front of {front_len} bytes, expected at most {most} for this file");
        return Err(reader.corrupt(found).with("expected", most).with("got", front_len));
    }
    let front = blob.read(0..front_len)?;
    let found = crc32c::crc32c_append(
        crc32c::crc32c_append(crc32c::crc32c(&front[..CRC_OFFSET]), &[0; 4]),
        &front[CRC_OFFSET + 4..],
    );
    if found != expected {
        return Err(reader
            .corrupt(format!("checksum {found:08x}, expected {expected:08x}"))
            .with("checksum", format!("{found:08x}")));
    }
    Ok(front)
}
