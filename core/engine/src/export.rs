//! One file with whole collections, to be opened anywhere: `.near`.
//!
//! The same segments as in the store, so the same answers, bit for bit; the sections of all segments are
//! ordered so that what every search reads comes first and metadata texts last (`docs/format.md`):
//!
//! ```text
//! | header 64 | directory (JSON) | section tables | hot sections … | metadata texts … |
//! ```
//!
//! An export never changes. It is read through any [`Blob`]: a map, memory, ranges.

use std::sync::Arc;

use nearfield_segment::format::{
    Fields, Front, Residence, SectionEntry, SectionKind, align64, decode_table, encode_table,
};
use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{Blob, Bytes, Storage};
use nearfield_segment::{Error, ErrorKind, FileId, Lsn, Result, RowId, Schema};
use serde::{Deserialize, Serialize};

use crate::manifest::{DeleteList, check_schema};
use crate::state::Held;
use crate::view::{LiveSegment, View};

/// Version written.
pub const EXPORT_VERSION: u32 = 1;

const MAGIC: &[u8; 8] = b"NEAREXP\n";
const HEADER_BYTES: usize = 64;
const CRC_OFFSET: usize = 12;

/// Sections in the order of the file: every kind has its place.
const ORDER: [SectionKind; 10] = [
    SectionKind::Schema,
    SectionKind::Deletes,
    SectionKind::Stats,
    SectionKind::InverseNorms,
    SectionKind::Graph,
    SectionKind::Ids,
    SectionKind::IdBloom,
    SectionKind::Columns,
    SectionKind::Vectors,
    SectionKind::Metadata,
];

#[derive(Debug, Serialize, Deserialize)]
struct Directory {
    collections: Vec<CollectionEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct CollectionEntry {
    name: String,
    lsn: Lsn,
    schema: Schema,
    segments: Vec<SegmentEntry>,
}

#[derive(Debug, Serialize, Deserialize)]
struct SegmentEntry {
    id: FileId,
    rows: u32,
    sections: u32,
    table_len: u64,
}

/// A section to write: what it is and where its bytes are.
struct Piece {
    collection: usize,
    segment: usize,
    entry: SectionEntry,
    bytes: Bytes,
}

/// What an export wrote.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ExportReport {
    /// Length of the file.
    pub bytes: u64,
    /// Live points in it.
    pub points: u64,
}

/// Writes the views, each under its name, as one file called `name` in `storage`.
///
/// # Errors
/// `Corrupt` if a section to copy is damaged, `StorageFull`, `Io`.
pub fn write_export(
    storage: &dyn Storage,
    name: &str,
    collections: &[(String, Arc<View>)],
) -> Result<ExportReport> {
    let mut pieces = gather(collections)?;
    let directory = directory_of(collections, &pieces);
    let front_len = front_len(&directory);
    let mut end = front_len;
    for piece in &mut pieces {
        piece.entry.offset = align64(end);
        end = piece.entry.offset + piece.entry.len;
    }
    let front = encode_front(&directory, &pieces, front_len, end);
    storage.put(name, &mut |out| {
        let mut write =
            |bytes: &[u8]| out.write_all(bytes).map_err(|error| Error::io("write", name, error));
        write(&front)?;
        let mut written = front_len;
        for piece in &pieces {
            write(&[0; 64][..(piece.entry.offset - written) as usize])?;
            write(&piece.bytes)?;
            written = piece.entry.offset + piece.entry.len;
        }
        Ok(())
    })?;
    let points = collections.iter().map(|(_, view)| view.len()).sum();
    Ok(ExportReport { bytes: end, points })
}

fn gather(collections: &[(String, Arc<View>)]) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (collection, (_, view)) in collections.iter().enumerate() {
        for (segment, live) in view.segments.iter().enumerate() {
            for section in live.segment.sections() {
                let bytes = section.read_all(Residence::InPlace)?;
                pieces.push(Piece { collection, segment, entry: section.entry().clone(), bytes });
            }
            if live.dead.count() > 0 {
                pieces.push(deletes_piece(collection, segment, &dead_list(live, view.lsn)));
            }
        }
    }
    let place = |kind| ORDER.iter().position(|other| *other == kind).expect("ORDER has every kind");
    pieces.sort_by_key(|piece| (place(piece.entry.kind), piece.collection, piece.segment));
    Ok(pieces)
}

/// Every dead row of a segment, as a delete list of one moment.
fn dead_list(live: &LiveSegment, lsn: Lsn) -> Vec<u8> {
    let rows = (0..live.segment.rows()).map(RowId).filter(|&row| live.dead.contains(row));
    let list = DeleteList {
        segment: live.segment.id(),
        segment_rows: live.segment.rows(),
        cut: lsn,
        entries: rows.map(|row| (row, lsn)).collect(),
    };
    list.encode().0
}

fn deletes_piece(collection: usize, segment: usize, bytes: &[u8]) -> Piece {
    let block = nearfield_segment::format::BLOCK_BYTES as usize;
    let entry = SectionEntry {
        kind: SectionKind::Deletes,
        field: 0,
        encoding: 0,
        ordinal: 0,
        offset: 0,
        len: bytes.len() as u64,
        block_crcs: bytes.chunks(block).map(crc32c::crc32c).collect(),
    };
    let bytes = nearfield_segment::storage::AlignedBuffer::copy_of(bytes).into();
    Piece { collection, segment, entry, bytes }
}

/// Entries of one segment's sections, in file order.
fn table(pieces: &[Piece], collection: usize, segment: usize) -> Vec<SectionEntry> {
    let own = |piece: &&Piece| piece.collection == collection && piece.segment == segment;
    pieces.iter().filter(own).map(|piece| piece.entry.clone()).collect()
}

fn directory_of(collections: &[(String, Arc<View>)], pieces: &[Piece]) -> Directory {
    let entry = |(index, (name, view)): (usize, &(String, Arc<View>))| {
        let segments = view.segments.iter().enumerate().map(|(position, live)| {
            let table = table(pieces, index, position);
            SegmentEntry {
                id: live.segment.id(),
                rows: live.segment.rows(),
                sections: table.len() as u32,
                table_len: encode_table(&table).len() as u64,
            }
        });
        let (segments, schema) = (segments.collect(), (*view.schema).clone());
        CollectionEntry { name: name.clone(), lsn: view.lsn, schema, segments }
    };
    Directory { collections: collections.iter().enumerate().map(entry).collect() }
}

fn directory_json(directory: &Directory) -> Vec<u8> {
    serde_json::to_vec(directory).expect("a directory is plain data")
}

fn front_len(directory: &Directory) -> u64 {
    let json = directory_json(directory).len() as u64;
    let segments = directory.collections.iter().flat_map(|collection| &collection.segments);
    let tables: u64 = segments.map(|segment| segment.table_len).sum();
    align64(HEADER_BYTES as u64 + json + tables)
}

fn encode_front(directory: &Directory, pieces: &[Piece], front_len: u64, file_len: u64) -> Vec<u8> {
    let json = directory_json(directory);
    let mut front = Vec::with_capacity(front_len as usize);
    front.extend_from_slice(MAGIC);
    front.extend_from_slice(&EXPORT_VERSION.to_le_bytes());
    front.extend_from_slice(&0u32.to_le_bytes());
    front.extend_from_slice(&front_len.to_le_bytes());
    front.extend_from_slice(&file_len.to_le_bytes());
    front.extend_from_slice(&(json.len() as u64).to_le_bytes());
    front.resize(HEADER_BYTES, 0);
    front.extend_from_slice(&json);
    for (index, collection) in directory.collections.iter().enumerate() {
        for position in 0..collection.segments.len() {
            front.extend_from_slice(&encode_table(&table(pieces, index, position)));
        }
    }
    front.resize(front_len as usize, 0);
    let crc = crc32c::crc32c(&front);
    front[CRC_OFFSET..CRC_OFFSET + 4].copy_from_slice(&crc.to_le_bytes());
    front
}

/// Opens an export called `name` in errors: its collections by name, each as a view.
///
/// # Errors
/// `Corrupt` with offset, or `Version` for a file of a later version.
pub fn open_export(
    name: &str,
    blob: &Arc<dyn Blob>,
    residence: Residence,
) -> Result<Vec<(String, View)>> {
    let front = read_front(name, blob)?;
    let mut fields = Fields::new(name, "header", &front);
    fields.take(32)?;
    let json_len = usize::try_from(fields.u64()?).unwrap_or(usize::MAX);
    fields.take(HEADER_BYTES - 40)?;
    let directory: Directory = serde_json::from_slice(fields.take(json_len)?)
        .map_err(|error| Error::corrupt(name, "directory", error))?;
    let mut collections = Vec::with_capacity(directory.collections.len());
    for entry in directory.collections {
        check_schema(&entry.schema)
            .map_err(|problem| Error::corrupt(name, "directory", problem))?;
        let mut segments = Vec::new();
        for segment in &entry.segments {
            let len = usize::try_from(segment.table_len).unwrap_or(usize::MAX);
            let table = decode_table(name, fields.take(len)?, segment.sections)?;
            let held = open_segment(name, blob, segment, table, residence)?;
            if *held.live.segment.schema() != entry.schema {
                return Err(Error::corrupt(name, "section Schema", "not that of its collection"));
            }
            segments.push(held.live);
        }
        let (lsn, schema) = (entry.lsn, Arc::new(entry.schema));
        collections.push((entry.name, View { lsn, schema, manifest: 0, segments }));
    }
    Ok(collections)
}

/// The whole front, after checking magic, version, lengths and checksum.
fn read_front(name: &str, blob: &Arc<dyn Blob>) -> Result<Bytes> {
    let prefix = blob.read(0..(HEADER_BYTES as u64).min(blob.len()))?;
    let mut fields = Fields::new(name, "header", &prefix);
    if fields.take(8)? != MAGIC {
        return Err(fields.corrupt("not a .near export: it does not begin with the magic of one; give a database directory or a .near file"));
    }
    let version = fields.u32()?;
    if version != EXPORT_VERSION {
        let message = format!("{name}: export format {version}; this build reads {EXPORT_VERSION}");
        return Err(Error::new(ErrorKind::Version, message)
            .with("file", name)
            .with("got", version)
            .with("expected", EXPORT_VERSION));
    }
    let expected = fields.u32()?;
    let (front_len, file_len) = (fields.u64()?, fields.u64()?);
    if file_len != blob.len() || front_len > file_len || front_len < HEADER_BYTES as u64 {
        let found = format!("{} bytes, the header says {file_len} (truncated?)", blob.len());
        return Err(fields.corrupt(found));
    }
    let front = blob.read(0..front_len)?;
    let found = crc32c::crc32c_append(
        crc32c::crc32c_append(crc32c::crc32c(&front[..CRC_OFFSET]), &[0; 4]),
        &front[CRC_OFFSET + 4..],
    );
    if found != expected {
        return Err(fields
            .corrupt(format!("checksum {found:08x}, expected {expected:08x}"))
            .with("checksum", format!("{found:08x}")));
    }
    Ok(front)
}

fn open_segment(
    name: &str,
    blob: &Arc<dyn Blob>,
    entry: &SegmentEntry,
    sections: Vec<SectionEntry>,
    residence: Residence,
) -> Result<Held> {
    let outside = |section: &&SectionEntry| section.offset + section.len > blob.len();
    if let Some(section) = sections.iter().find(outside) {
        let found = format!("{:?} ends after the file", section.kind);
        return Err(Error::corrupt(name, "section table", found));
    }
    let front = Front { id: entry.id, rows: entry.rows, crc: 0, file_len: blob.len(), sections };
    let segment = Segment::from_front(name, Arc::clone(blob), front, residence)?;
    let dead = segment.sections().iter().find(|s| s.entry().kind == SectionKind::Deletes);
    let dead = dead.map(|section| section.read_all(Residence::InPlace)).transpose()?;
    let mut held = Held::new(segment, None);
    if let Some(bytes) = dead {
        let (list, _) = DeleteList::decode(&bytes, name)?;
        if list.segment != entry.id || list.segment_rows != entry.rows {
            return Err(Error::corrupt(name, "section Deletes", "it is of another segment"));
        }
        list.entries.iter().for_each(|&(row, lsn)| held.kill(row, lsn));
    }
    Ok(held)
}
