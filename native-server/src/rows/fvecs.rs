//! `Fvecs`: reads `.fvecs` files, in which each row is its dimension as an i32, then that many f32, little-endian.
//! Opened by `rows::open`.
//!
//! All rows must have the dimension of the first.

use std::fs::File;
use std::io::{BufReader, Read, Seek};

use nearfield_engine::{Error, Result};

use super::input::{check_dim, file_len, read_error};
use super::row_file::{RowFile, Rows};

/// An open file.
#[derive(Debug)]
pub(super) struct Fvecs {
    name: String,
    source: BufReader<File>,
    dim: usize,
    rows: u64,
    row: u64,
}

impl Fvecs {
    /// Opens a file and checks that it is a whole number of rows.
    ///
    /// # Errors
    /// `Corrupt` if it is not, `InvalidInput(Dimension)` for an impossible dimension.
    pub(super) fn open(name: String, file: File) -> Result<Self> {
        let len = file_len(&file, &name)?;
        let mut source = BufReader::with_capacity(1 << 16, file);
        let mut first = [0; 4];
        source.read_exact(&mut first).map_err(|error| read_error(&name, 0, error))?;
        source.rewind().map_err(|error| Error::io("read", &name, error))?;
        let dim = check_dim(&name, "offset 0", u64::from(u32::from_le_bytes(first)))?;
        let row_len = row_len(dim);
        if len % row_len != 0 {
            let found = format!("{len} bytes, expected whole rows of {row_len} bytes");
            return Err(Error::corrupt(&name, "length", found));
        }
        Ok(Fvecs { name, source, dim, rows: len / row_len, row: 0 })
    }
}

fn row_len(dim: usize) -> u64 {
    4 + 4 * dim as u64
}

impl RowFile for Fvecs {
    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn progress(&self) -> (u64, u64) {
        (self.row, self.rows)
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        let count = (self.rows - self.row).min(count_max as u64) as usize;
        let mut vectors = Vec::with_capacity(count * self.dim);
        let mut bytes = vec![0; row_len(self.dim) as usize];
        for _ in 0..count {
            let offset = self.row * row_len(self.dim);
            let read = self.source.read_exact(&mut bytes);
            read.map_err(|error| read_error(&self.name, offset, error))?;
            let mut words = bytes
                .chunks_exact(4)
                .map(|chunk| u32::from_le_bytes(chunk.try_into().expect("chunks have four bytes")));
            let dim = words.next().expect("a row starts with its dimension");
            if dim as usize != self.dim {
                let found = format!("a row of {dim} elements, the first has {}", self.dim);
                let place = format!("offset {offset}");
                return Err(Error::corrupt(&self.name, place, found).with("offset", offset));
            }
            vectors.extend(words.map(f32::from_bits));
            self.row += 1;
        }
        Ok(Rows { count, vectors, ..Rows::default() })
    }
}
