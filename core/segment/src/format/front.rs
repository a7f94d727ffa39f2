//! The header of a segment file (`Front`): identity, row count, the section table, the checksums of its blocks.
//! `Front::encode` is called by `SegmentBuilder`, `Front::decode` by `Segment::open` and verify; exports use the same
//! section table (`encode_table`, `decode_table`). Not here: the bytes of sections (`section`).
//!
//! The first fields, 64 bytes:
//!
//! Header, 64 bytes:
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `NEARSEG\n` |
//! | 8 | 4 | format version |
//! | 12 | 4 | CRC32C of the front with this field zero |
//! | 16 | 8 | front length in bytes (a multiple of 64) |
//! | 24 | 8 | file length in bytes |
//! | 32 | 16 | segment id |
//! | 48 | 4 | rows |
//! | 52 | 4 | number of sections |
//! | 56 | 8 | zero |
//!
//! Section entry, 64 bytes: kind u16, flags u16 (1 = derived: can be rebuilt, 2 = required), field u16 (ordinal
//! of the vector field in name order), encoding u16, ordinal u32, zero u32, offset u64, length u64, index of its
//! first block checksum u32, number of blocks u32, zeros. A required section of an unknown kind or encoding is
//! refused; any other is kept without being read, so that sections may be added without a new version.

use std::fmt;

use crate::error::{Error, ErrorKind, Result};
use crate::ids::FileId;

use super::align64;
use crate::reader::ByteReader;

/// Version written.
pub const FORMAT_VERSION: u32 = 2;
/// Oldest version still read.
pub const OLDEST_READABLE_VERSION: u32 = 1;
/// Bytes covered by one checksum.
pub const BLOCK_BYTES: u64 = 64 * 1024;
/// Bytes from which [`Front::len_from_prefix`] reads the length of the whole front.
pub const FRONT_PREFIX_BYTES: u64 = 64;

const MAGIC: &[u8; 8] = b"NEARSEG\n";
const HEADER_BYTES: usize = 64;
const ENTRY_BYTES: usize = 64;
const CRC_OFFSET: usize = 12;
/// More sections than any schema needs; a bound for hostile files.
const SECTIONS_MAX: u32 = 65_536;
const FLAG_DERIVED: u16 = 1;
const FLAG_REQUIRED: u16 = 2;

/// What a section holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum SectionKind {
    /// The schema as JSON.
    Schema,
    /// Point ids by row and the hash table from id to row.
    Ids,
    /// Rows of a dense vector field.
    Vectors,
    /// One f32 per row: 1/length, for cosine.
    InverseNorms,
    /// Neighbour lists of the graph over one vector field. Derived.
    Graph,
    /// Typed metadata columns. Derived from the metadata.
    Columns,
    /// Metadata as given, one JSON text per row.
    Metadata,
    /// Ranges and bloom filters of the columns. Derived.
    Stats,
    /// `(row, LSN)` pairs of deleted rows; in exports only (a store keeps them in files of their own).
    Deletes,
    /// Bloom filter of the ids. Derived.
    IdBloom,
    /// Centroids and places of the cells of one vector field; in exports only. Derived.
    CellTable,
    /// Rows of one vector field as codes, by cell; in exports only. Derived.
    Cells,
    /// Rows of one vector field as codes, for walks of its graph. Derived.
    Codes,
    /// A kind of a later build, by number: kept, copied with the file, and not read.
    Unknown(u16),
}

/// The kinds of this build, each at the place of its number, from 1, with its name in messages.
const KNOWN: [(SectionKind, &str); 13] = [
    (SectionKind::Schema, "Schema"),
    (SectionKind::Ids, "Ids"),
    (SectionKind::Vectors, "Vectors"),
    (SectionKind::InverseNorms, "InverseNorms"),
    (SectionKind::Graph, "Graph"),
    (SectionKind::Columns, "Columns"),
    (SectionKind::Metadata, "Metadata"),
    (SectionKind::Stats, "Stats"),
    (SectionKind::Deletes, "Deletes"),
    (SectionKind::IdBloom, "IdBloom"),
    (SectionKind::CellTable, "CellTable"),
    (SectionKind::Cells, "Cells"),
    (SectionKind::Codes, "Codes"),
];

impl fmt::Display for SectionKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match KNOWN.iter().find(|(kind, _)| kind == self) {
            Some((_, name)) => f.write_str(name),
            None => write!(f, "Unknown({})", self.number()),
        }
    }
}

impl SectionKind {
    fn from_number(number: u16) -> Self {
        let known = usize::from(number).checked_sub(1).and_then(|place| KNOWN.get(place));
        known.map_or(SectionKind::Unknown(number), |(kind, _)| *kind)
    }

    /// The number in the file.
    pub fn number(self) -> u16 {
        if let SectionKind::Unknown(number) = self {
            return number;
        }
        let mut numbered = (1..).zip(&KNOWN);
        // Tests write every kind that this build has.
        numbered.find(|(_, (kind, _))| *kind == self).map_or(0, |(number, _)| number)
    }

    /// The highest encoding of the kind that this build reads; `None` for an unknown kind.
    fn encoding_max(self) -> Option<u16> {
        match self {
            SectionKind::Unknown(_) => None,
            SectionKind::Ids | SectionKind::IdBloom => Some(1),
            SectionKind::Schema
            | SectionKind::Vectors
            | SectionKind::InverseNorms
            | SectionKind::Graph
            | SectionKind::Columns
            | SectionKind::Metadata
            | SectionKind::Stats
            | SectionKind::Deletes
            | SectionKind::CellTable
            | SectionKind::Cells
            | SectionKind::Codes => Some(0),
        }
    }

    /// Whether the section holds rows. Others are derived from these, or do not grow with them.
    pub(crate) fn holds_rows(self) -> bool {
        matches!(
            self,
            SectionKind::Ids
                | SectionKind::Vectors
                | SectionKind::InverseNorms
                | SectionKind::Metadata
        )
    }

    /// Whether a reader can do without the section. Of known kinds these can be rebuilt from the others.
    pub fn is_derived(self) -> bool {
        match self {
            SectionKind::Graph
            | SectionKind::Columns
            | SectionKind::Stats
            | SectionKind::IdBloom
            | SectionKind::CellTable
            | SectionKind::Cells
            | SectionKind::Codes
            | SectionKind::Unknown(_) => true,
            SectionKind::Schema
            | SectionKind::Ids
            | SectionKind::Vectors
            | SectionKind::InverseNorms
            | SectionKind::Metadata
            | SectionKind::Deletes => false,
        }
    }
}

/// One section: what it is and where its bytes and checksums are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SectionEntry {
    /// What it holds.
    pub kind: SectionKind,
    /// Which vector field, by position in name order; 0 where there is none.
    pub field: u16,
    /// How a kind with several encodings is encoded.
    pub encoding: u16,
    /// Distinguishes several sections of one kind and field.
    pub ordinal: u32,
    /// First byte, from the start of the blob; a multiple of 64.
    pub offset: u64,
    /// Length in bytes.
    pub len: u64,
    /// CRC32C of each [`BLOCK_BYTES`] block.
    pub block_crcs: Vec<u32>,
}

/// The parsed front of a segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Front {
    /// Version of the format of the file; that of this build for a segment of an export, which says none.
    pub version: u32,
    /// Identity of the segment.
    pub id: FileId,
    /// Rows in the segment.
    pub rows: u32,
    /// Checksum of the front, which holds those of the sections: it stands for the whole file.
    pub crc: u32,
    /// Length of the whole file.
    pub file_len: u64,
    /// Sections in file order.
    pub sections: Vec<SectionEntry>,
}

/// Length in bytes of an encoded front with these sections.
pub fn front_len(section_lens: &[u64]) -> u64 {
    let blocks: u64 = section_lens.iter().map(|len| len.div_ceil(BLOCK_BYTES)).sum();
    align64((HEADER_BYTES + ENTRY_BYTES * section_lens.len()) as u64 + 4 * blocks)
}

impl Front {
    /// Bytes of the front, ready to be written at offset 0; sets `crc`.
    ///
    /// # Panics
    /// If the sections are not laid out as the format says: a broken promise of the writer.
    pub fn encode(&mut self) -> Vec<u8> {
        let lens: Vec<u64> = self.sections.iter().map(|section| section.len).collect();
        let front_len = front_len(&lens);
        check_layout(&self.sections, front_len, self.file_len)
            .expect("the writer lays sections out");
        let mut bytes = Vec::with_capacity(front_len as usize);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&self.version.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&front_len.to_le_bytes());
        bytes.extend_from_slice(&self.file_len.to_le_bytes());
        bytes.extend_from_slice(&self.id.0.to_le_bytes());
        bytes.extend_from_slice(&self.rows.to_le_bytes());
        bytes.extend_from_slice(&(self.sections.len() as u32).to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend_from_slice(&encode_table(&self.sections));
        bytes.resize(front_len as usize, 0);
        self.crc = crc32c::crc32c(&bytes);
        bytes[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&self.crc.to_le_bytes());
        bytes
    }

    /// True for a file of an older format than this build writes.
    pub fn is_outdated(&self) -> bool {
        self.version < FORMAT_VERSION
    }

    /// Length of the whole front, from its first [`FRONT_PREFIX_BYTES`] bytes. Checks magic and version.
    ///
    /// # Errors
    /// `Corrupt` for a wrong magic or an impossible length, `Version` for a version not readable here.
    pub fn len_from_prefix(blob: &str, prefix: &[u8], blob_len: u64) -> Result<u64> {
        let mut reader = ByteReader::new(blob, "header", prefix);
        if reader.take(8)? != MAGIC {
            return Err(reader.corrupt("not a segment file (wrong magic)"));
        }
        let version = reader.u32()?;
        if !(OLDEST_READABLE_VERSION..=FORMAT_VERSION).contains(&version) {
            return Err(Error::new(
                ErrorKind::Version,
                format!(
                    "{blob}: segment format {version}; this build reads \
                     {OLDEST_READABLE_VERSION} to {FORMAT_VERSION}"
                ),
            )
            .with("file", blob)
            .with("got", version)
            .with("expected", FORMAT_VERSION));
        }
        reader.u32()?;
        let front_len = reader.u64()?;
        if front_len > blob_len || front_len < HEADER_BYTES as u64 || front_len % 64 != 0 {
            return Err(reader.corrupt(format!("front of {front_len} bytes in {blob_len}")));
        }
        Ok(front_len)
    }

    /// Parses a whole front and checks that its sections lie in order behind it and within the file.
    ///
    /// # Errors
    /// As [`Front::len_from_prefix`], and `Corrupt` for a wrong checksum, length or layout.
    pub fn decode(blob: &str, bytes: &[u8], blob_len: u64) -> Result<Front> {
        let front_len = Front::len_from_prefix(blob, bytes, blob_len)?;
        let mut reader = ByteReader::new(blob, "header", bytes);
        if bytes.len() as u64 != front_len {
            return Err(reader.corrupt(format!("{} bytes read of {front_len}", bytes.len())));
        }
        reader.take(8)?;
        let (version, expected) = (reader.u32()?, reader.u32()?);
        let found = crc32c::crc32c_append(
            crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_OFFSET]), &[0; 4]),
            &bytes[CRC_OFFSET + 4..],
        );
        if expected != found {
            return Err(reader.corrupt(format!("checksum {found:08x}, expected {expected:08x}")));
        }
        reader.u64()?;
        let file_len = reader.u64()?;
        if file_len != blob_len {
            return Err(reader
                .corrupt(format!("file of {blob_len} bytes, {file_len} expected (truncated?)")));
        }
        let id = FileId(reader.u128()?);
        let rows = reader.u32()?;
        let count = reader.u32()?;
        let sections = decode_table(blob, &bytes[HEADER_BYTES..], count)?;
        let known_and_unknown_fit = check_layout(&sections, front_len, file_len);
        known_and_unknown_fit.map_err(|found| Error::corrupt(blob, "section table", found))?;
        Ok(Front { version, id, rows, crc: found, file_len, sections })
    }
}

/// Section entries, then all block checksums; the inverse of [`decode_table`].
pub fn encode_table(sections: &[SectionEntry]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(sections.len() * ENTRY_BYTES);
    let mut first_crc = 0u32;
    for section in sections {
        let start = bytes.len();
        bytes.extend_from_slice(&section.kind.number().to_le_bytes());
        let flags = if section.kind.is_derived() { FLAG_DERIVED } else { FLAG_REQUIRED };
        bytes.extend_from_slice(&flags.to_le_bytes());
        bytes.extend_from_slice(&section.field.to_le_bytes());
        bytes.extend_from_slice(&section.encoding.to_le_bytes());
        bytes.extend_from_slice(&section.ordinal.to_le_bytes());
        bytes.extend_from_slice(&0u32.to_le_bytes());
        bytes.extend_from_slice(&section.offset.to_le_bytes());
        bytes.extend_from_slice(&section.len.to_le_bytes());
        bytes.extend_from_slice(&first_crc.to_le_bytes());
        bytes.extend_from_slice(&(section.block_crcs.len() as u32).to_le_bytes());
        bytes.resize(start + ENTRY_BYTES, 0);
        first_crc += section.block_crcs.len() as u32;
    }
    for crc in sections.iter().flat_map(|section| &section.block_crcs) {
        bytes.extend_from_slice(&crc.to_le_bytes());
    }
    bytes
}

/// Reads `count` section entries and their block checksums.
///
/// # Errors
/// `Corrupt` if the table does not fit in `bytes` or an entry contradicts itself; `Version` for a required section of
/// an unknown kind or encoding.
pub fn decode_table(blob: &str, bytes: &[u8], count: u32) -> Result<Vec<SectionEntry>> {
    let mut reader = ByteReader::new(blob, "section table", bytes);
    if count > SECTIONS_MAX {
        return Err(
            reader.corrupt(format!("{count} sections, at most {SECTIONS_MAX} are possible"))
        );
    }
    let entries = reader.take(count as usize * ENTRY_BYTES)?;
    let mut crcs_left = reader.left() / 4;
    let crcs = reader.take(reader.left())?;
    let mut sections = Vec::new();
    for entry in entries.chunks(ENTRY_BYTES) {
        let section = decode_entry(blob, entry, crcs)?;
        // No two share checksums, so a table never grows in memory beyond its bytes.
        crcs_left = crcs_left
            .checked_sub(section.block_crcs.len())
            .ok_or_else(|| reader.corrupt("sections share block checksums"))?;
        sections.push(section);
    }
    Ok(sections)
}

fn decode_entry(blob: &str, entry: &[u8], crcs: &[u8]) -> Result<SectionEntry> {
    let mut reader = ByteReader::new(blob, "section entry", entry);
    let kind = SectionKind::from_number(reader.u16()?);
    let flags = reader.u16()?;
    let field = reader.u16()?;
    let encoding = reader.u16()?;
    let is_known = kind.encoding_max().is_some_and(|highest| encoding <= highest);
    if flags & FLAG_REQUIRED != 0 && !is_known {
        return Err(unknown_required(blob, kind, encoding));
    }
    let ordinal = reader.u32()?;
    reader.u32()?;
    let offset = reader.u64()?;
    let len = reader.u64()?;
    let first_crc = reader.u32()? as usize;
    let blocks = reader.u32()? as usize;
    let crc_bytes = crcs
        .get(first_crc.saturating_mul(4)..)
        .and_then(|rest| rest.get(..blocks.saturating_mul(4)));
    let Some(crc_bytes) = crc_bytes else {
        return Err(reader.corrupt(format!("block checksums {first_crc} + {blocks} out of range")));
    };
    if len.div_ceil(BLOCK_BYTES) != blocks as u64 {
        return Err(reader.corrupt(format!("{blocks} block checksums for {len} bytes")));
    }
    if offset % 64 != 0 || offset.checked_add(len).is_none() {
        return Err(reader.corrupt(format!("section at {offset} + {len}")));
    }
    let block_crcs = crc_bytes
        .chunks_exact(4)
        .map(|crc| u32::from_le_bytes(crc.try_into().expect("chunks of four")))
        .collect();
    Ok(SectionEntry { kind, field, encoding, ordinal, offset, len, block_crcs })
}

fn unknown_required(blob: &str, kind: SectionKind, encoding: u16) -> Error {
    let what = match kind.encoding_max() {
        Some(_) => format!("section {kind} in encoding {encoding}"),
        None => format!("section of kind {}", kind.number()),
    };
    let message = format!("{blob}: the file needs a {what}, which this build does not know");
    let error = Error::new(ErrorKind::Version, message).with("file", blob);
    match kind.encoding_max() {
        Some(highest) => error.with("got", encoding).with("expected", highest),
        None => error.with("got", kind.number()).with("expected", KNOWN.len()),
    }
}

/// Sections must lie behind the front, inside the file, in order and without overlap.
fn check_layout(
    sections: &[SectionEntry],
    front_len: u64,
    file_len: u64,
) -> std::result::Result<(), String> {
    let mut end = front_len;
    for section in sections {
        let (offset, len) = (section.offset, section.len);
        if offset < end || offset + len > file_len {
            return Err(format!(
                "{} at {offset} + {len}, expected within {end}..{file_len}",
                section.kind
            ));
        }
        end = offset + len;
    }
    Ok(())
}
