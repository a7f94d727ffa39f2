//! `Npy`: reads arrays of numbers in NumPy's `.npy` format, as rows of f32, as ids (`read_ids`) or as query vectors
//! (`read_queries`). Opened by `rows::open`; also used by `npz`.
//!
//! Rows in C order are read a part at a time. Columns first (Fortran order) has to be read whole, after
//! its length was checked. Integers above 2²⁴ and float64 are rounded to the nearest f32.

use std::fs::File;
use std::io::{BufReader, Read};
use std::path::Path;

use half::f16;
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;

use super::input::{check_dim, file_len, open_plain, read_error};
use super::npy_header::{Header, Kind};
use super::row_file::{RowFile, Rows};

/// A two-dimensional array, open at its next row.
#[derive(Debug)]
pub(super) struct Npy<R> {
    name: String,
    source: R,
    header: Header,
    rows: u64,
    dim: usize,
    row: u64,
    /// All elements in row order, if the file has them in column order.
    transposed: Option<Vec<f32>>,
}

impl Npy<BufReader<File>> {
    /// Opens an array of rows.
    ///
    /// # Errors
    /// As [`Npy::new`].
    pub(super) fn open(name: String, file: File) -> Result<Self> {
        let len = file_len(&file, &name)?;
        Npy::new(name, BufReader::with_capacity(1 << 16, file), len)
    }
}

impl<R: Read> Npy<R> {
    /// Reads the header of a file of `len` bytes.
    ///
    /// # Errors
    /// As [`Header::read`]; `InvalidInput` unless there are two dimensions.
    pub(super) fn new(name: String, mut source: R, len: u64) -> Result<Self> {
        let header = Header::read(&name, &mut source, len)?;
        let &[rows, dim] = header.shape.as_slice() else {
            return Err(wrong_shape(&name, "(rows, dim)", &header));
        };
        check_numbers(&name, &header)?;
        let dim = check_dim(&name, "header", dim)?;
        let mut npy = Npy { name, source, header, rows, dim, row: 0, transposed: None };
        if npy.header.fortran_order {
            npy.transposed = Some(npy.read_transposed()?);
        }
        Ok(npy)
    }

    fn read_transposed(&mut self) -> Result<Vec<f32>> {
        let (rows, dim) = (self.rows as usize, self.dim);
        let by_column = self.read_elements(rows * dim)?;
        let mut elements = Vec::with_capacity(by_column.len());
        for row in 0..rows {
            elements.extend((0..dim).map(|column| by_column[column * rows + row]));
        }
        Ok(elements)
    }

    fn read_elements(&mut self, count: usize) -> Result<Vec<f32>> {
        let mut bytes = vec![0; count * self.header.width];
        let offset = self.header.body_offset + self.row * (self.dim * self.header.width) as u64;
        let read = self.source.read_exact(&mut bytes);
        read.map_err(|error| read_error(&self.name, offset, error))?;
        Ok(floats(&self.header, &bytes))
    }
}

impl<R: Read> RowFile for Npy<R> {
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
        let vectors = match &self.transposed {
            Some(all) => all[self.row as usize * self.dim..][..count * self.dim].to_vec(),
            None => self.read_elements(count * self.dim)?,
        };
        self.row += count as u64;
        Ok(Rows { count, vectors, ..Rows::default() })
    }
}

/// All rows of an array of query vectors; one dimension is one vector. Returns dimension and elements.
///
/// # Errors
/// As [`Npy::new`].
pub(crate) fn read_queries(path: &Path) -> Result<(usize, Vec<f32>)> {
    let (name, header, bytes) = read_whole(path)?;
    check_numbers(&name, &header)?;
    let dim = match header.shape.as_slice() {
        &[dim] | &[_, dim] => check_dim(&name, "header", dim)?,
        _ => return Err(wrong_shape(&name, "(dim,) or (queries, dim)", &header)),
    };
    let by_column = floats(&header, &bytes);
    if !header.fortran_order {
        return Ok((dim, by_column));
    }
    let rows = by_column.len() / dim;
    let place = |index: usize| by_column[index % dim * rows + index / dim];
    Ok((dim, (0..by_column.len()).map(place).collect()))
}

/// Ids from a one-dimensional array of texts, or of whole numbers.
///
/// # Errors
/// As [`Npy::new`]; `InvalidInput(Id)` for other numbers.
pub(crate) fn read_ids(path: &Path) -> Result<Vec<PointId>> {
    let (name, header, bytes) = read_whole(path)?;
    if header.shape.len() != 1 {
        return Err(wrong_shape(&name, "(rows,)", &header));
    }
    if header.kind == Kind::Text {
        let bad = || Error::corrupt(&name, "ids", "a character Unicode has not");
        let texts = texts(&header, &bytes).ok_or_else(bad)?;
        return texts.iter().map(|text| PointId::from_text(text)).collect();
    }
    let numbers = integers(&header, &bytes).ok_or_else(|| {
        let message = format!("{name}: ids: expected an integer type or str, got floats or bools");
        Error::invalid(Fault::Id, message)
    })?;
    let id = |(row, number): (usize, i128)| {
        PointId::from_integer(number).ok_or_else(|| {
            let message = format!("{name}: row {row}: expected -2^63 to 2^64 - 1, got {number}");
            Error::invalid(Fault::Id, message).with("row", row)
        })
    };
    numbers.into_iter().enumerate().map(id).collect()
}

fn read_whole(path: &Path) -> Result<(String, Header, Vec<u8>)> {
    let (name, file) = (path.display().to_string(), open_plain(path)?);
    let (len, mut source) = (file_len(&file, &name)?, BufReader::new(file));
    let header = Header::read(&name, &mut source, len)?;
    let mut bytes = vec![0; (len - header.body_offset) as usize];
    let read = source.read_exact(&mut bytes);
    read.map_err(|error| read_error(&name, header.body_offset, error))?;
    Ok((name, header, bytes))
}

fn check_numbers(name: &str, header: &Header) -> Result<()> {
    let got = match header.kind {
        Kind::Text => "text",
        Kind::Datetime(_) => "dates",
        Kind::Float | Kind::Signed | Kind::Unsigned | Kind::Bool => return Ok(()),
    };
    let message = format!("{name}: element type: expected numbers, got {got}");
    Err(Error::invalid(Fault::Parameter, message).with("expected", "numbers"))
}

fn wrong_shape(name: &str, expected: &str, header: &Header) -> Error {
    let message = format!("{name}: expected an array of shape {expected}, got {:?}", header.shape);
    Error::invalid(Fault::Dimension, message).with("expected", expected)
}

/// Elements of any kind as f32, in file order.
fn floats(header: &Header, bytes: &[u8]) -> Vec<f32> {
    let big = header.big_endian;
    match (header.kind, header.width) {
        (Kind::Float, 2) => each(bytes, big).map(|b| f16::from_le_bytes(b).to_f32()).collect(),
        (Kind::Float, 4) => each::<4>(bytes, big).map(f32::from_le_bytes).collect(),
        (Kind::Float, _) => each::<8>(bytes, big).map(|b| f64::from_le_bytes(b) as f32).collect(),
        (Kind::Bool | Kind::Text | Kind::Datetime(_), _) => {
            bytes.iter().map(|&byte| f32::from(u8::from(byte != 0))).collect()
        }
        (Kind::Signed | Kind::Unsigned, _) => {
            let numbers = integers(header, bytes).expect("both kinds are whole numbers");
            numbers.into_iter().map(|number| number as f32).collect()
        }
    }
}

/// Floats in file order, as f64.
pub(super) fn doubles(header: &Header, bytes: &[u8]) -> Vec<f64> {
    if (header.kind, header.width) == (Kind::Float, 8) {
        return each::<8>(bytes, header.big_endian).map(f64::from_le_bytes).collect();
    }
    floats(header, bytes).into_iter().map(f64::from).collect()
}

/// Points in time in file order, in the unit of their array; `None` for NaT.
pub(super) fn moments(header: &Header, bytes: &[u8]) -> Vec<Option<i64>> {
    let moment = |bytes| Some(i64::from_le_bytes(bytes)).filter(|&moment| moment != i64::MIN);
    each::<8>(bytes, header.big_endian).map(moment).collect()
}

/// Texts in file order, without the zeros that pad them; `None` if a character is none of Unicode's.
pub(super) fn texts(header: &Header, bytes: &[u8]) -> Option<Vec<String>> {
    let character = |bytes: [u8; 4]| char::from_u32(u32::from_le_bytes(bytes));
    let text = |element: &[u8]| {
        let text: Option<String> = each::<4>(element, header.big_endian).map(character).collect();
        Some(text?.trim_end_matches('\0').to_owned())
    };
    bytes.chunks_exact(header.width).map(text).collect()
}

/// Whole numbers in file order; `None` for other kinds.
pub(super) fn integers(header: &Header, bytes: &[u8]) -> Option<Vec<i128>> {
    let big = header.big_endian;
    Some(match (header.kind, header.width) {
        (Kind::Unsigned, 1) => bytes.iter().map(|&b| b.into()).collect(),
        (Kind::Unsigned, 2) => each(bytes, big).map(|b| u16::from_le_bytes(b).into()).collect(),
        (Kind::Unsigned, 4) => each(bytes, big).map(|b| u32::from_le_bytes(b).into()).collect(),
        (Kind::Unsigned, _) => each(bytes, big).map(|b| u64::from_le_bytes(b).into()).collect(),
        (Kind::Signed, 1) => bytes.iter().map(|&b| (b as i8).into()).collect(),
        (Kind::Signed, 2) => each(bytes, big).map(|b| i16::from_le_bytes(b).into()).collect(),
        (Kind::Signed, 4) => each(bytes, big).map(|b| i32::from_le_bytes(b).into()).collect(),
        (Kind::Signed, _) => each(bytes, big).map(|b| i64::from_le_bytes(b).into()).collect(),
        (Kind::Float | Kind::Bool | Kind::Text | Kind::Datetime(_), _) => return None,
    })
}

/// Elements of `N` bytes, least significant byte first.
fn each<const N: usize>(bytes: &[u8], big_endian: bool) -> impl Iterator<Item = [u8; N]> {
    bytes.chunks_exact(N).map(move |chunk| {
        let mut element: [u8; N] = chunk.try_into().expect("chunks have N bytes");
        if big_endian {
            element.reverse();
        }
        element
    })
}

#[cfg(test)]
mod tests;
