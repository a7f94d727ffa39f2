//! `ArrowFile`: reads `.arrow`, `.arrows` and `.feather` files, Arrow IPC as a stream or in the format with a
//! footer. Opened by `rows::open`.
//!
//! | offset | size | field (with a footer) |
//! |---|---|---|
//! | 0 | 8 to 64 | `ARROW1` and zeros |
//! | … | … | a stream |
//! | end − 10 − n | n | footer, which repeats what the stream says |
//! | end − 10 | 4 | n |
//! | end − 6 | 6 | `ARROW1` |
//!
//! The stream is read from its begin; the footer, for access in any order, is not needed.

use std::fs::File;
use std::io::{Read, Seek, SeekFrom};

use nearfield_engine::{Error, Result};

use super::super::input::{file_len, read_error};
use super::super::tables::Tables;
use super::{ArrowRows, ColumnNames, TableRows};

const MAGIC: &[u8; 6] = b"ARROW1";
const FEATHER_1_MAGIC: &[u8; 4] = b"FEA1";
const START_BYTES: u64 = 8;
const END_BYTES: u64 = 10;
/// The longest start.
const PADDING_BYTES_MAX: u64 = 64;
/// Most bytes of a record batch: 300,000 rows of 1,536 elements fit.
const BATCH_BYTES_MAX: usize = 2 << 30;
/// Bytes read at a time.
const PIECE_BYTES: usize = 1 << 20;

/// An open file.
#[derive(Debug)]
pub(in super::super) struct ArrowFile {
    name: String,
    file: File,
    rows: ArrowRows,
    /// Bytes read, and those of them that were not taken yet.
    piece: Vec<u8>,
    taken: usize,
    offset: u64,
    end: u64,
}

impl ArrowFile {
    /// Opens a file and finds the stream in it.
    ///
    /// # Errors
    /// `Corrupt` with the offset for a footer that cannot be.
    pub(in super::super) fn open(name: String, mut file: File, names: ColumnNames) -> Result<Self> {
        let len = file_len(&file, &name)?;
        let mut start = [0; START_BYTES as usize];
        file.read_exact(&mut start).map_err(|error| read_error(&name, 0, error))?;
        if start.starts_with(FEATHER_1_MAGIC) {
            let advice = "Feather version 1; write it again as version 2 (Arrow IPC)";
            return Err(Error::corrupt(&name, "offset 0", advice));
        }
        let (offset, end) = if start.starts_with(MAGIC) {
            let end = stream_end(&name, &mut file, len)?;
            (stream_start(&name, &mut file)?, end)
        } else {
            (0, len)
        };
        file.seek(SeekFrom::Start(offset)).map_err(|error| Error::io("read", &name, error))?;
        let rows = ArrowRows::new(names, None, BATCH_BYTES_MAX);
        Ok(ArrowFile { name, file, rows, piece: Vec::new(), taken: 0, offset, end })
    }
}

/// Where the zeros after the magic end; writers align what follows to 8 bytes or to 64.
fn stream_start(name: &str, file: &mut File) -> Result<u64> {
    let mut start = Vec::new();
    let read = file.rewind().and_then(|()| file.take(PADDING_BYTES_MAX).read_to_end(&mut start));
    read.map_err(|error| read_error(name, 0, error))?;
    let zeros = start.chunks(8).skip(1).take_while(|bytes| bytes.iter().all(|&byte| byte == 0));
    Ok(START_BYTES + 8 * zeros.count() as u64)
}

fn stream_end(name: &str, file: &mut File, len: u64) -> Result<u64> {
    let end = len.checked_sub(END_BYTES).filter(|end| *end >= START_BYTES);
    let Some(end) = end else {
        return Err(Error::corrupt(name, "length", format!("{len} bytes, too short for a footer")));
    };
    let mut last = [0; END_BYTES as usize];
    let read = file.seek(SeekFrom::Start(end)).and_then(|_| file.read_exact(&mut last));
    read.map_err(|error| read_error(name, end, error))?;
    let (footer_len, magic) = last.split_at(4);
    let footer_len = u32::from_le_bytes(footer_len.try_into().expect("four bytes"));
    let stream_end = end.checked_sub(u64::from(footer_len)).filter(|end| *end >= START_BYTES);
    stream_end.filter(|_| magic == MAGIC).ok_or_else(|| {
        let found = "expected the length of a footer and ARROW1 (is the file cut off?)";
        Error::corrupt(name, format!("offset {end}"), found)
    })
}

impl Tables for ArrowFile {
    fn next_table(&mut self) -> Result<Option<TableRows>> {
        loop {
            let mut bytes = &self.piece[self.taken..];
            let rows = self
                .rows
                .next(&mut bytes, &mut |_| Ok(()))
                .map_err(|error| error.context(&self.name))?;
            self.taken = self.piece.len() - bytes.len();
            if rows.is_some() {
                return Ok(rows);
            }
            let len = (self.end - self.offset).min(PIECE_BYTES as u64) as usize;
            if len == 0 {
                self.rows.finish().map_err(|error| error.context(&self.name))?;
                return Ok(None);
            }
            self.piece.resize(len, 0);
            let read = self.file.read_exact(&mut self.piece);
            read.map_err(|error| read_error(&self.name, self.offset, error))?;
            self.offset += len as u64;
            self.taken = 0;
        }
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn progress(&self) -> (u64, u64) {
        (self.offset, self.end)
    }
}
