//! `Columns`: the opened columns section; finds a path, its parts and the columns of its values. Used by `Payload`.
//!
//! Of a mapped file the bytes of a block are verified before they are read.
//!
//! Opening reads the directory only and checks that every block lies within the section and has the length
//! its form and the number of rows ask for. What is inside a block is checked on first use, once; until
//! then a page of a mapped file is not touched. Bytes that break a rule are an error, never a panic.

use std::ops::Range;
use std::sync::Arc;

use super::block::{Block, ColumnEntry, read_set};
use super::build::PATHS_MAX;
use super::column::Column;
use super::layout::{BlockRecord, ColumnKind, Header, INCOMPLETE, MAGIC, Part, PathRecord};
use super::path::FieldPath;
use crate::error::{Error, Result};
use crate::format::Section;
use crate::rowset::RowSet;
use crate::storage::Bytes;

/// Name of the section in messages.
pub(super) const BLOB: &str = "metadata columns";

/// An opened columns section.
#[derive(Debug)]
pub(super) struct Columns {
    bytes: Bytes,
    /// Of a mapped file.
    section: Option<Arc<Section>>,
    rows: u32,
    is_complete: bool,
    /// Sorted by path.
    paths: Vec<PathEntry>,
}

/// Where in the section the parts of one path are.
#[derive(Debug)]
pub(super) struct PathEntry {
    pub(super) path: FieldPath,
    sets: [Option<Block>; 4],
    columns: [ColumnEntry; ColumnKind::ALL.len()],
}

impl Columns {
    /// # Errors
    /// `Corrupt` if the directory is damaged or the section is not of `rows` rows.
    pub(super) fn open(bytes: Bytes, rows: u32) -> Result<Self> {
        let (is_complete, paths) = Columns::read_paths(&bytes, bytes.len(), rows)?;
        Ok(Columns { bytes, section: None, rows, is_complete, paths })
    }

    /// Opens the section of a mapped file. Reads its directory.
    ///
    /// # Errors
    /// As [`Columns::open`]; what the blob returns.
    pub(super) fn open_mapped(section: &Arc<Section>, rows: u32) -> Result<Self> {
        let len = section.entry().len;
        let header = section.read(0..len.min(size_of::<Header>() as u64))?;
        let directory = section.read(0..len.min(Directory::len(&header)?))?;
        let (is_complete, paths) = Columns::read_paths(&directory, len as usize, rows)?;
        let (bytes, section) = (section.read_unverified(0..len)?, Some(Arc::clone(section)));
        Ok(Columns { bytes, section, rows, is_complete, paths })
    }

    /// Whether the paths are all there are, and the paths, of a section of `len` bytes.
    fn read_paths(bytes: &[u8], len: usize, rows: u32) -> Result<(bool, Vec<PathEntry>)> {
        let directory = Directory::read(bytes, rows)?;
        let mut paths: Vec<PathEntry> = Vec::with_capacity(directory.paths.len().min(PATHS_MAX));
        for record in directory.paths {
            let entry = directory.path(record, len, rows)?;
            if paths.last().is_some_and(|last| last.path >= entry.path) {
                return Err(damaged(format!("path {}", entry.path), "not in order"));
            }
            paths.push(entry);
        }
        Ok((directory.header.flags & INCOMPLETE == 0, paths))
    }

    /// The bytes, in which these blocks are verified.
    fn verified<'b>(&self, blocks: impl IntoIterator<Item = &'b Block>) -> Result<&[u8]> {
        if let Some(section) = &self.section {
            for block in blocks {
                section.read(block.range.start as u64..block.range.end as u64)?;
            }
        }
        Ok(&self.bytes)
    }

    /// True if every path of every row has an entry.
    pub(super) fn is_complete(&self) -> bool {
        self.is_complete
    }

    /// Bytes of memory of the directory.
    pub(super) fn directory_bytes(&self) -> u64 {
        size_of_val(&*self.paths) as u64
    }

    pub(super) fn paths(&self) -> &[PathEntry] {
        &self.paths
    }

    pub(super) fn path(&self, path: &FieldPath) -> Option<&PathEntry> {
        let index = self.paths.binary_search_by(|entry| entry.path.cmp(path)).ok()?;
        Some(&self.paths[index])
    }

    /// One of the four sets of a path.
    ///
    /// # Errors
    /// `Corrupt` if its bytes are no set of rows.
    pub(super) fn set(&self, entry: &PathEntry, part: Part) -> Result<RowSet> {
        let block = entry.sets[part as usize].as_ref();
        read_set(self.verified(block)?, block, self.rows)
            .map_err(|found| damaged(format!("{} of {}", set_name(part), entry.path), found))
    }

    /// The column of one kind; `None` if no row has such a value at the path.
    ///
    /// # Errors
    /// `Corrupt` if its bytes break a rule of the format.
    pub(super) fn column(&self, entry: &PathEntry, kind: ColumnKind) -> Result<Option<Column<'_>>> {
        let column = entry.column(kind);
        let Some(values) = &column.values else { return Ok(None) };
        let place = || format!("{} values of {}", kind.name(), entry.path);
        let bytes = self.verified(column.blocks())?;
        let view = Column::new(kind, self.rows, bytes, column, values)
            .map_err(|found| damaged(place(), found))?;
        match column.checked.get_or_init(|| view.check()) {
            Ok(()) => Ok(Some(view)),
            Err(found) => Err(damaged(place(), found)),
        }
    }
}

impl PathEntry {
    /// True if the set has no block: no row is in it.
    pub(super) fn is_set_empty(&self, part: Part) -> bool {
        self.sets[part as usize].is_none()
    }

    pub(super) fn has_column(&self, kind: ColumnKind) -> bool {
        self.column(kind).values.is_some()
    }

    fn column(&self, kind: ColumnKind) -> &ColumnEntry {
        &self.columns[kind as usize - 1]
    }
}

/// The front of the section, checked against its length.
struct Directory<'a> {
    header: Header,
    paths: &'a [PathRecord],
    blocks: &'a [BlockRecord],
    names: &'a str,
}

impl<'a> Directory<'a> {
    /// Bytes of the directory, by its header.
    fn len(header: &[u8]) -> Result<u64> {
        let (header, _) = split::<Header>(header, 1).ok_or_else(|| damaged("header", "cut off"))?;
        let Header { path_count, block_count, names_bytes, .. } = header[0];
        let [paths, blocks, names] = [path_count, block_count, names_bytes].map(u64::from);
        let records =
            size_of::<PathRecord>() as u64 * paths + size_of::<BlockRecord>() as u64 * blocks;
        Ok(size_of::<Header>() as u64 + records + names)
    }

    fn read(bytes: &'a [u8], rows: u32) -> Result<Self> {
        let too_short = || damaged("directory", format!("ends beyond {} bytes", bytes.len()));
        let (header, rest) = split::<Header>(bytes, 1).ok_or_else(too_short)?;
        let header = header[0];
        if header.magic != MAGIC || header.zero != 0 || header.flags & !INCOMPLETE != 0 {
            return Err(damaged("header", "not that of a columns section"));
        }
        if header.rows != rows {
            let found = format!("expected {rows} rows, found {}", header.rows);
            return Err(damaged("header", found));
        }
        let (paths, rest) = split(rest, header.path_count).ok_or_else(too_short)?;
        let (blocks, rest) = split(rest, header.block_count).ok_or_else(too_short)?;
        let (names, _) = split::<u8>(rest, header.names_bytes).ok_or_else(too_short)?;
        let names = std::str::from_utf8(names)
            .map_err(|error| damaged("names", format!("not UTF-8: {error}")))?;
        Ok(Directory { header, paths, blocks, names })
    }

    fn path(&self, record: &PathRecord, len_bytes: usize, rows: u32) -> Result<PathEntry> {
        let name = piece(record.name_offset, record.name_bytes)
            .and_then(|range| self.names.get(range))
            .ok_or_else(|| damaged("names", "a name beyond the end"))?;
        let path = FieldPath::parse(name).map_err(|error| damaged("names", error))?;
        let records = piece(record.first_block, record.block_count)
            .and_then(|range| self.blocks.get(range))
            .ok_or_else(|| damaged(format!("path {path}"), "a block beyond the last"))?;
        let mut entry = PathEntry { path, sets: [const { None }; 4], columns: Default::default() };
        for record in records {
            entry
                .add(record, len_bytes, rows)
                .map_err(|found| damaged(format!("path {}", entry.path), found))?;
        }
        for column in &entry.columns {
            column.check_parts().map_err(|found| damaged(format!("path {}", entry.path), found))?;
        }
        Ok(entry)
    }
}

impl PathEntry {
    fn add(
        &mut self,
        record: &BlockRecord,
        len_bytes: usize,
        rows: u32,
    ) -> std::result::Result<(), String> {
        let range = usize::try_from(record.offset)
            .ok()
            .zip(usize::try_from(record.len_bytes).ok())
            .and_then(|(start, len)| Some(start..start.checked_add(len)?))
            .filter(|range| range.end <= len_bytes && range.start.is_multiple_of(8))
            .ok_or_else(|| format!("a block at {} of {len_bytes} bytes", record.offset))?;
        let block = Block { form: record.form, base: record.base, range };
        if record.part <= Part::Presence as u8 {
            block.check_set_length(rows)?;
        }
        let slot = if record.kind == 0 {
            self.sets.get_mut(usize::from(record.part))
        } else {
            let column = self.columns.get_mut(usize::from(record.kind) - 1);
            column.and_then(|column| column.slot(record.part))
        };
        match slot {
            Some(slot @ None) => *slot = Some(block),
            Some(Some(_)) => return Err(format!("part {} twice", record.part)),
            None => return Err(format!("unknown part {} of kind {}", record.part, record.kind)),
        }
        Ok(())
    }
}

/// The first `count` items and the bytes behind them.
fn split<T: bytemuck::Pod>(bytes: &[u8], count: u32) -> Option<(&[T], &[u8])> {
    let len = (count as usize).checked_mul(size_of::<T>())?;
    let (front, rest) = bytes.split_at_checked(len)?;
    Some((bytemuck::try_cast_slice(front).ok()?, rest))
}

fn piece(start: u32, len: u32) -> Option<Range<usize>> {
    let end = start.checked_add(len)?;
    Some(start as usize..end as usize)
}

fn set_name(part: Part) -> &'static str {
    match part {
        Part::Exists => "presence",
        Part::Null => "nulls",
        Part::Empty => "empty lists",
        Part::Long => "long strings",
        Part::Presence
        | Part::Rows
        | Part::Values
        | Part::DictionaryOffsets
        | Part::DictionaryBytes => "column",
    }
}

fn damaged(place: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
    Error::corrupt(BLOB, place, found)
}
