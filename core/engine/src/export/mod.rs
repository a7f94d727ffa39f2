//! Exports: one read-only `.near` file with whole collections. `write_export` writes one to a storage,
//! `stream_export` to a stream; `Export::open` opens one, its collections as `View`s. Called by the command
//! line, the server's `export.near`, Python and `wasm`.
//!
//! The same segments as in the store, so the same answers, bit for bit; the sections of all segments are
//! ordered so that what a search over ranges reads comes first and metadata texts last (`docs/internals/format.md`):
//!
//! ```text
//! | header 64 | directory (JSON) | section tables | cell tables | cells | ids … | metadata texts |
//! ```
//!
//! An export never changes. It is read whole through any [`Blob`], or on demand (`stages`), for which inverted lists
//! (the format calls them cells) are added. Lists and deletes of a source export are written anew.

mod front;
mod stages;
#[cfg(test)]
mod tests;

use std::io::Write;
use std::sync::{Arc, OnceLock};

use nearfield_segment::cancel::{self, GoOn};
use nearfield_segment::format::{
    BLOCK_BYTES, FORMAT_VERSION, Front, Residence, SectionEntry, SectionKey, SectionKind, align64,
    all,
};
use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{AlignedBuffer, Blob, Bytes, Storage};
use nearfield_segment::vector::lists;
use nearfield_segment::{
    DeadRows, Error, ErrorKind, Fault, Kernel, Lsn, Pool, Result, RowId, Schema,
};

pub use front::EXPORT_VERSION;
pub use stages::Stage;

use crate::manifest::DeleteList;
use crate::read::fields::KnownFields;
use crate::read::view::{LiveSegment, View};
use front::Contents;

/// Bytes requested first: they hold the whole front of an export of up to about a gigabyte.
pub const FIRST_BYTES: u64 = 64 * 1024;

/// Sections in the order of the file: every known kind has its place, and unknown ones are the end.
const ORDER: [SectionKind; 13] = [
    SectionKind::Schema,
    SectionKind::Deletes,
    SectionKind::CellTable,
    SectionKind::Cells,
    SectionKind::Ids,
    SectionKind::Stats,
    SectionKind::Columns,
    SectionKind::IdBloom,
    SectionKind::InverseNorms,
    SectionKind::Graph,
    SectionKind::Codes,
    SectionKind::Vectors,
    SectionKind::Metadata,
];

/// Most bytes that a live row takes in a cell besides its code, and on the way there: its id and row, and what the
/// partition keeps of it.
const CELL_ROW_BYTES: u64 = 64;
/// Bytes that a dead row takes in a delete list and on the way there.
const DEAD_ROW_BYTES: u64 = 64;

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

/// Writes the views, each under its name, as one file called `name` in `storage`. Builds cells on the threads of
/// `pool`: O(rows^1.5 × dim) arithmetic for each vector field of a segment.
///
/// # Errors
/// `Corrupt` if a section to copy is damaged, `InvalidInput` for more segments than the front of a file may name (some
/// 20,000), `StorageFull`, `Io`; `Cancelled` once `go_on` returns false: there is no file then.
pub fn write_export(
    storage: &dyn Storage,
    name: &str,
    collections: &[(String, Arc<View>)],
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<ExportReport> {
    let file = lay_out(name, collections, kernel, pool, go_on)?;
    storage.put(name, &mut |out| file.write(name, out, go_on))?;
    Ok(file.report)
}

/// Writes to `out` what [`write_export`] writes as a file; `name` is for errors. After an error what was written is no
/// export: its length is in its front.
///
/// # Errors
/// As [`write_export`]; `Io` if `out` fails.
pub fn stream_export(
    out: &mut dyn Write,
    name: &str,
    collections: &[(String, Arc<View>)],
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<ExportReport> {
    let file = lay_out(name, collections, kernel, pool, go_on)?;
    file.write(name, out, go_on)?;
    Ok(file.report)
}

/// Most memory that an export of these views holds while it is written: cells and delete lists, and one copy of each
/// while it is made. Sections of the store are read where they are.
pub fn export_memory_bytes(collections: &[(String, Arc<View>)]) -> u64 {
    let segments = collections.iter().flat_map(|(_, view)| &view.segments);
    let bytes = segments.map(|live| {
        let fields = live.segment.schema().vectors.values();
        let row_bytes: u64 = fields.map(|field| field.dim as u64 + CELL_ROW_BYTES).sum();
        let (rows, all) = (u64::from(live.live_rows()), u64::from(live.segment.rows()));
        2 * rows * row_bytes + (all - rows) * DEAD_ROW_BYTES
    });
    bytes.sum()
}

/// A file whose every byte has its place.
struct Laid {
    front: Vec<u8>,
    pieces: Vec<Piece>,
    report: ExportReport,
}

/// Gathers what is written and gives each section its place.
fn lay_out(
    name: &str,
    collections: &[(String, Arc<View>)],
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Laid> {
    let mut pieces = gather(collections, kernel, pool, go_on)?;
    // The front's length does not depend on where the sections are.
    let front_len = front::encode(&contents(collections, &pieces)?, 0).len() as u64;
    let mut end = front_len;
    for piece in &mut pieces {
        piece.entry.offset = align64(end);
        end = piece.entry.offset + piece.entry.len;
    }
    let most = front::front_len_max(end);
    if front_len > most {
        let message =
            format!("{name}: a front of {front_len} bytes, at most {most} are read; compact first");
        return Err(Error::invalid(Fault::Parameter, message));
    }
    let front = front::encode(&contents(collections, &pieces)?, end);
    let points = collections.iter().map(|(_, view)| view.len()).sum();
    Ok(Laid { front, pieces, report: ExportReport { bytes: end, points } })
}

impl Laid {
    fn write(&self, name: &str, out: &mut dyn Write, go_on: GoOn<'_>) -> Result<()> {
        let mut write = |bytes: &[u8]| cancel::write_all(out, bytes, name, go_on);
        write(&self.front)?;
        let mut written = self.front.len() as u64;
        for piece in &self.pieces {
            write(&[0; 64][..(piece.entry.offset - written) as usize])?;
            write(&piece.bytes)?;
            written = piece.entry.offset + piece.entry.len;
        }
        Ok(())
    }
}

/// All sections, in the order of the file.
fn gather(
    collections: &[(String, Arc<View>)],
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    for (collection, (_, view)) in collections.iter().enumerate() {
        for (segment, live) in view.segments.iter().enumerate() {
            let place = (collection, segment);
            for section in live.segment.sections().iter().filter(|s| is_copied(s.entry().kind)) {
                cancel::check(go_on)?;
                let bytes = section.read_all(Residence::InPlace)?;
                pieces.push(Piece { collection, segment, entry: section.entry().clone(), bytes });
            }
            if live.dead.count() > 0 {
                let bytes = dead_list(live, view.lsn);
                pieces.push(new_piece(place, SectionKey::of(SectionKind::Deletes), &bytes));
            }
            add_cells(&mut pieces, place, live, kernel, pool, go_on)?;
            // After cells were made of the rows: damage to them must not get a new checksum.
            live.segment.verify_rows()?;
        }
    }
    let place = |kind| ORDER.iter().position(|other| *other == kind);
    pieces.sort_by_key(|piece| {
        (place(piece.entry.kind).unwrap_or(ORDER.len()), piece.collection, piece.segment)
    });
    Ok(pieces)
}

/// False for what an export makes for itself.
fn is_copied(kind: SectionKind) -> bool {
    match kind {
        SectionKind::Deletes | SectionKind::CellTable | SectionKind::Cells => false,
        SectionKind::Schema
        | SectionKind::Ids
        | SectionKind::Vectors
        | SectionKind::InverseNorms
        | SectionKind::Graph
        | SectionKind::Codes
        | SectionKind::Columns
        | SectionKind::Metadata
        | SectionKind::Stats
        | SectionKind::IdBloom
        | SectionKind::Unknown(_) => true,
    }
}

/// Every dead row of a segment, as a delete list of one moment.
fn dead_list(live: &LiveSegment, lsn: Lsn) -> Vec<u8> {
    let rows = (0..live.segment.rows()).map(RowId).filter(|&row| live.dead.contains(row));
    let list = DeleteList {
        segment: live.segment.id(),
        segment_rows: live.segment.rows(),
        checkpoint_lsn: lsn,
        entries: rows.map(|row| (row, lsn)).collect(),
    };
    list.encode().0
}

/// Cells of the live rows of each vector field.
fn add_cells(
    pieces: &mut Vec<Piece>,
    place: (usize, usize),
    live: &LiveSegment,
    kernel: Kernel,
    pool: &Pool,
    go_on: GoOn<'_>,
) -> Result<()> {
    let rows: Vec<RowId> = live.dead.live().iter().collect();
    let ids = live.segment.ids()?;
    for (ordinal, field) in (0..).zip(live.segment.fields()) {
        let Some(built) =
            lists::build(&field.rows()?, &rows, &|row| ids.id(row), kernel, pool, go_on)?
        else {
            continue;
        };
        for (key, bytes) in built.by_key(ordinal) {
            pieces.push(new_piece(place, key, bytes));
        }
    }
    Ok(())
}

fn new_piece(
    (collection, segment): (usize, usize),
    SectionKey { kind, field, encoding, ordinal }: SectionKey,
    bytes: &[u8],
) -> Piece {
    let entry = SectionEntry {
        kind,
        field,
        encoding,
        ordinal,
        offset: 0,
        len: bytes.len() as u64,
        block_crcs: bytes.chunks(BLOCK_BYTES as usize).map(crc32c::crc32c).collect(),
    };
    Piece { collection, segment, entry, bytes: AlignedBuffer::copy_of(bytes).into() }
}

/// The collections with the tables of their segments, whose entries are in file order.
fn contents(collections: &[(String, Arc<View>)], pieces: &[Piece]) -> Result<Vec<Contents>> {
    let table = |collection: usize, segment: usize| {
        let own = |piece: &&Piece| piece.collection == collection && piece.segment == segment;
        pieces.iter().filter(own).map(|piece| piece.entry.clone()).collect()
    };
    let entry = |(index, (name, view)): (usize, &(String, Arc<View>))| {
        let fronts = view.segments.iter().enumerate().map(|(position, live)| {
            let (id, rows) = (live.segment.id(), live.segment.rows());
            Front {
                version: FORMAT_VERSION,
                id,
                rows,
                crc: 0,
                file_len: 0,
                sections: table(index, position),
            }
        });
        let (segments, schema) = (fronts.collect(), (*view.schema).clone());
        let fields = view.known_fields()?.entry(view.lsn);
        Ok(Contents { name: name.clone(), lsn: view.lsn, schema, fields, segments })
    };
    collections.iter().enumerate().map(entry).collect()
}

/// An open export.
#[derive(Debug)]
pub struct Export {
    /// The collections by name, in the order of the file.
    pub collections: Vec<(String, View)>,
    front_len: u64,
}

impl Export {
    /// Opens an export called `name` in errors. On demand it reads the front and the delete lists, which lie in the
    /// first [`FIRST_BYTES`] of most files; they are requested together.
    ///
    /// # Errors
    /// `Corrupt` with offset, or `Version` for a file of a later version; what the blob returns.
    pub fn open(name: &str, blob: &Arc<dyn Blob>, residence: Residence) -> Result<Export> {
        blob.read(0..FIRST_BYTES.min(blob.len()))?;
        let (contents, front_len) = front::read(name, blob)?;
        let open = |Contents { name: collection, lsn, schema, fields, segments }| {
            let open = |front| open_segment(name, blob, front, &schema, residence);
            let segments = all(segments.into_iter().map(open))?;
            let mut view = View::of_segments(lsn, schema, segments);
            if let Some(fields) = &fields {
                view.fields = OnceLock::from(Arc::new(KnownFields::of_entry(fields)));
            }
            Ok((collection, view))
        };
        let collections = all(contents.into_iter().map(open))?;
        Ok(Export { collections, front_len })
    }

    /// A collection by name.
    ///
    /// # Errors
    /// `NotFound`, listing the names there are.
    pub fn collection(&self, name: &str) -> Result<&View> {
        let found = self.collections.iter().find(|(other, _)| other == name);
        found.map(|(_, view)| view).ok_or_else(|| {
            let names: Vec<&str> = self.collections.iter().map(|(name, _)| name.as_str()).collect();
            let message = format!("no collection {name:?}; there are {names:?}");
            Error::new(ErrorKind::NotFound, message).with("near", names)
        })
    }
}

fn open_segment(
    name: &str,
    blob: &Arc<dyn Blob>,
    front: Front,
    schema: &Schema,
    residence: Residence,
) -> Result<LiveSegment> {
    let segment = Segment::from_front(name, blob, front, schema, residence)?;
    let deletes = segment.sections().iter().find(|s| s.entry().kind == SectionKind::Deletes);
    let mut dead = DeadRows::new(segment.rows());
    if let Some(section) = deletes {
        let list = read_deletes(name, &section.read_all(Residence::InPlace)?, segment.front())?;
        for (row, _) in list.entries {
            dead.insert(row);
        }
    }
    Ok(LiveSegment { segment: Arc::new(segment), dead: Arc::new(dead), file: None })
}

/// The delete list in a section, which must be of the segment.
fn read_deletes(name: &str, bytes: &[u8], front: &Front) -> Result<DeleteList> {
    let (list, _) = DeleteList::decode(bytes, name)?;
    if list.segment != front.id || list.segment_rows != front.rows {
        return Err(Error::corrupt(name, "section Deletes", "it is of another segment"));
    }
    Ok(list)
}
