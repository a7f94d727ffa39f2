//! The layout of the columns section: a directory of paths and blocks in front, the blocks behind it. `build` writes
//! it, `columns` and `block` read it.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `NFCOLMN1` |
//! | 8 | 4 | rows |
//! | 12 | 4 | paths P |
//! | 16 | 4 | blocks B |
//! | 20 | 4 | bytes of names N |
//! | 24 | 4 | flags: 1 = some paths of some rows have no entry |
//! | 28 | 4 | 0 |
//! | 32 | 16 × P | paths, sorted by name: name offset and length, first block, blocks (u32 each) |
//! | … | 32 × B | blocks: part, kind, form (u8 each), 5 × 0, base u64, offset u64, length u64 |
//! | … | N | names, UTF-8, one after another |
//! | … | … | blocks, each at a multiple of 8 |
//!
//! *Parts* of a path (kind 0): 0 exists, 1 null, 2 empty list, 3 rows with strings too long for a column.
//! Parts of a column (kind 1 int, 2 uint, 3 float, 4 bool, 5 keyword, 6 instant in µs since 1970): 4 presence of a
//! dense column, 5 rows (u32) of a listed column, 6 values, 7 and 8 dictionary offsets (u32, one more than strings)
//! and bytes (keyword).
//!
//! *Forms.* Of a set of rows (parts 0 to 4): 0 every row (no bytes), 1 bits in u64 words, 2 rows (u32)
//! ascending; a missing block is the empty set. Of values: bytes a value — 8 for floats, else 1, 2, 4 or 8
//! for the unsigned distance from `base`, which is the smallest value (keywords: codes into the sorted
//! dictionary). A *dense* column has one value a row, the base where the row has none; a *listed* one has
//! values and the rows they belong to, ascending by row, any number a row.

use bytemuck::{Pod, Zeroable};

use crate::error::{Error, Fault, Result};

pub(super) const MAGIC: [u8; 8] = *b"NFCOLMN1";
/// Flag: paths beyond the limit were left out.
pub(super) const INCOMPLETE: u32 = 1;

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct Header {
    pub(super) magic: [u8; 8],
    pub(super) rows: u32,
    pub(super) path_count: u32,
    pub(super) block_count: u32,
    pub(super) names_bytes: u32,
    pub(super) flags: u32,
    pub(super) zero: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct PathRecord {
    pub(super) name_offset: u32,
    pub(super) name_bytes: u32,
    pub(super) first_block: u32,
    pub(super) block_count: u32,
}

#[derive(Debug, Clone, Copy, Pod, Zeroable)]
#[repr(C)]
pub(super) struct BlockRecord {
    pub(super) part: u8,
    pub(super) kind: u8,
    pub(super) form: u8,
    pub(super) zero: [u8; 5],
    pub(super) base: u64,
    pub(super) offset: u64,
    pub(super) len_bytes: u64,
}

/// What a block is to its path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Part {
    Exists,
    Null,
    Empty,
    Long,
    Presence,
    Rows,
    Values,
    DictionaryOffsets,
    DictionaryBytes,
}

/// The type of the values of a column. A path has a column for each kind seen at it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[repr(u8)]
pub enum ColumnKind {
    /// Integers that fit an `i64`.
    Int = 1,
    /// Integers above `i64::MAX`.
    Uint = 2,
    /// Numbers written with a fraction or an exponent, or beyond 64 bits.
    Float = 3,
    /// `true` and `false`.
    Bool = 4,
    /// Strings of at most 256 bytes.
    Keyword = 5,
    /// Dates of a declared field, as microseconds since 1970.
    Datetime = 6,
}

impl ColumnKind {
    /// Every kind, in the order of the file.
    pub const ALL: [ColumnKind; 6] = [
        ColumnKind::Int,
        ColumnKind::Uint,
        ColumnKind::Float,
        ColumnKind::Bool,
        ColumnKind::Keyword,
        ColumnKind::Datetime,
    ];

    /// Stable lower-case name.
    pub fn name(self) -> &'static str {
        match self {
            ColumnKind::Int => "int",
            ColumnKind::Uint => "uint",
            ColumnKind::Float => "float",
            ColumnKind::Bool => "bool",
            ColumnKind::Keyword => "keyword",
            ColumnKind::Datetime => "datetime",
        }
    }
}

/// Forms of a set of rows.
pub(super) const FORM_ALL: u8 = 0;
pub(super) const FORM_WORDS: u8 = 1;
pub(super) const FORM_ROWS: u8 = 2;

/// Gathers paths and blocks in the order they come, which must be that of sorted names.
#[derive(Debug, Default)]
pub(super) struct Writer {
    paths: Vec<PathRecord>,
    blocks: Vec<BlockRecord>,
    names: Vec<u8>,
    data: Vec<u8>,
}

impl Writer {
    /// Starts the next path; blocks added from now on are its own.
    pub(super) fn path(&mut self, name: &str) {
        self.paths.push(PathRecord {
            name_offset: self.names.len() as u32,
            name_bytes: name.len() as u32,
            first_block: self.blocks.len() as u32,
            block_count: 0,
        });
        self.names.extend_from_slice(name.as_bytes());
    }

    /// Adds a block to the path started last. `kind` is 0 for the parts of a path itself.
    pub(super) fn block(&mut self, part: Part, kind: u8, form: u8, base: u64, bytes: &[u8]) {
        self.data.resize(self.data.len().next_multiple_of(8), 0);
        self.blocks.push(BlockRecord {
            part: part as u8,
            kind,
            form,
            zero: [0; 5],
            base,
            offset: self.data.len() as u64,
            len_bytes: bytes.len() as u64,
        });
        self.data.extend_from_slice(bytes);
        self.paths.last_mut().expect("a path was started").block_count += 1;
    }

    /// The whole section.
    pub(super) fn finish(mut self, rows: u32, flags: u32) -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            rows,
            path_count: self.paths.len() as u32,
            block_count: self.blocks.len() as u32,
            names_bytes: self.names.len() as u32,
            flags,
            zero: 0,
        };
        let front = size_of::<Header>()
            + size_of_val(self.paths.as_slice())
            + size_of_val(self.blocks.as_slice())
            + self.names.len();
        let data_start = front.next_multiple_of(8);
        for block in &mut self.blocks {
            block.offset += data_start as u64;
        }
        let mut bytes = Vec::with_capacity(data_start + self.data.len());
        bytes.extend_from_slice(bytemuck::bytes_of(&header));
        bytes.extend_from_slice(bytemuck::cast_slice(&self.paths));
        bytes.extend_from_slice(bytemuck::cast_slice(&self.blocks));
        bytes.extend_from_slice(&self.names);
        bytes.resize(data_start, 0);
        bytes.extend_from_slice(&self.data);
        bytes
    }
}

/// A count as it goes to disk.
///
/// # Errors
/// `InvalidInput(Metadata)` above 2^32 − 1.
pub(super) fn count_u32(count: usize, what: &str) -> Result<u32> {
    u32::try_from(count).map_err(|_| {
        Error::invalid(
            Fault::Metadata,
            format!("{what} of one segment: expected at most 2^32 − 1, got {count}"),
        )
        .with("expected", "at most 2^32 − 1")
        .with("got", count)
    })
}
