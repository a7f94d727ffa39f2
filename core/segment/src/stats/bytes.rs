//! Encodes and decodes the statistics section of a segment (`Stats::to_bytes`, `Stats::from_bytes`). Called by
//! `SegmentBuilder` and `Segment::stats`. The section is small, so it is read whole.
//!
//! | offset | bytes | what |
//! |---|---|---|
//! | 0 | 8 | `NFSTATS1` |
//! | 8 | 4 | rows |
//! | 12 | 4 | paths P |
//! | 16 | 4 | flags: 1 = rows have paths that are not listed |
//! | 20 | 4 | 0 |
//! | 24 | 48 × P | records, sorted by path (below) |
//! | … | … | for each record: name, first string, last string, Bloom filter (0 bytes: none), first and last instant (2 × i64; only with flag 7) |
//!
//! A record: bits of the smallest and of the greatest number (u64), their kinds (u32: 0 none, 1 int, 2 uint,
//! 3 float), bytes of name, first string, last string and Bloom filter (u32), flags (u32, two to the power
//! of: 0 in every row, 1 null, 2 empty list, 3 string above 256 bytes, 4 false, 5 true, 6 strings, 7 instants), 4 × 0.

use bytemuck::{Pod, Zeroable};

use super::{Bloom, PathStats, Stats, TextStats};
use crate::error::{Error, Result};
use crate::payload::{FieldPath, Number};
use crate::storage::AlignedBuffer;

const MAGIC: [u8; 8] = *b"NFSTATS1";
const BLOB: &str = "metadata statistics";
const INCOMPLETE: u32 = 1;

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Header {
    magic: [u8; 8],
    rows: u32,
    path_count: u32,
    flags: u32,
    zero: u32,
}

#[derive(Clone, Copy, Pod, Zeroable)]
#[repr(C)]
struct Record {
    low_bits: u64,
    high_bits: u64,
    low_kind: u32,
    high_kind: u32,
    name_bytes: u32,
    first_bytes: u32,
    last_bytes: u32,
    bloom_bytes: u32,
    flags: u32,
    zero: u32,
}

impl Stats {
    /// The bytes for [`from_bytes`](Stats::from_bytes).
    pub fn to_bytes(&self) -> Vec<u8> {
        let header = Header {
            magic: MAGIC,
            rows: self.rows,
            path_count: self.paths.len() as u32,
            flags: if self.is_complete { 0 } else { INCOMPLETE },
            zero: 0,
        };
        let mut bytes = bytemuck::bytes_of(&header).to_vec();
        for path in &self.paths {
            bytes.extend_from_slice(bytemuck::bytes_of(&path.record()));
        }
        for path in &self.paths {
            bytes.extend_from_slice(path.path.as_str().as_bytes());
            if let Some(texts) = &path.texts {
                bytes.extend_from_slice(texts.first.as_bytes());
                bytes.extend_from_slice(texts.last.as_bytes());
                bytes.extend_from_slice(texts.bloom.as_ref().map_or(&[], Bloom::as_bytes));
            }
            let bounds = path.instants.map(|(first, last)| [first, last]);
            for instant in bounds.into_iter().flatten() {
                bytes.extend_from_slice(&instant.to_le_bytes());
            }
        }
        bytes
    }

    /// Reads the statistics of a segment of `rows` rows. O(bytes).
    ///
    /// # Errors
    /// `Corrupt` if the bytes are not what [`to_bytes`](Stats::to_bytes) gives for such a segment.
    pub fn from_bytes(bytes: &[u8], rows: u32) -> Result<Self> {
        let mut reader = Reader { rest: bytes };
        let header: Header = reader.record()?;
        if header.magic != MAGIC || header.rows != rows || header.flags & !INCOMPLETE != 0 {
            return Err(damaged("header", format!("not that of statistics of {rows} rows")));
        }
        let records = reader.take(u64::from(header.path_count) * size_of::<Record>() as u64)?;
        let mut paths: Vec<PathStats> = Vec::new();
        for record in records.chunks_exact(size_of::<Record>()) {
            let path = PathStats::read(&bytemuck::pod_read_unaligned(record), &mut reader)?;
            if paths.last().is_some_and(|last| last.path >= path.path) {
                return Err(damaged(&path.path, "not in order"));
            }
            paths.push(path);
        }
        if !reader.rest.is_empty() {
            return Err(damaged("end", format!("{} bytes too many", reader.rest.len())));
        }
        Ok(Stats { rows, is_complete: header.flags & INCOMPLETE == 0, paths })
    }
}

impl PathStats {
    fn record(&self) -> Record {
        let (low, high) = match self.numbers {
            Some((low, high)) => (number_bits(low), number_bits(high)),
            None => ((0, 0), (0, 0)),
        };
        let bits = [
            self.is_in_every_row,
            self.has_null,
            self.has_empty,
            self.has_long,
            self.has_false,
            self.has_true,
            self.texts.is_some(),
            self.instants.is_some(),
        ];
        let flags = bits.iter().enumerate().map(|(bit, flag)| u32::from(*flag) << bit).sum();
        let texts = self.texts.as_ref();
        let bloom = texts.and_then(|texts| texts.bloom.as_ref());
        Record {
            low_bits: low.1,
            high_bits: high.1,
            low_kind: low.0,
            high_kind: high.0,
            name_bytes: self.path.as_str().len() as u32,
            first_bytes: texts.map_or(0, |texts| texts.first.len() as u32),
            last_bytes: texts.map_or(0, |texts| texts.last.len() as u32),
            bloom_bytes: bloom.map_or(0, |bloom| bloom.as_bytes().len() as u32),
            flags,
            zero: 0,
        }
    }

    fn read(record: &Record, reader: &mut Reader<'_>) -> Result<Self> {
        let name = reader.text(record.name_bytes)?;
        let path = FieldPath::parse(name).map_err(|error| damaged("names", error))?;
        if record.flags >> 8 != 0 {
            return Err(damaged(&path, format!("unknown flags {:#x}", record.flags)));
        }
        let low = number(record.low_kind, record.low_bits);
        let high = number(record.high_kind, record.high_bits);
        let numbers = match (low, high) {
            (Some(low), Some(high)) if low <= high => Some((low, high)),
            (None, None) if record.low_kind == 0 && record.high_kind == 0 => None,
            (_, _) => return Err(damaged(&path, "a range that is none")),
        };
        let flag = |bit: u32| record.flags >> bit & 1 == 1;
        let first = reader.text(record.first_bytes)?.to_owned();
        let last = reader.text(record.last_bytes)?.to_owned();
        let bloom = match reader.take(u64::from(record.bloom_bytes))? {
            [] => None,
            bytes => Some(Bloom::from_bytes(AlignedBuffer::copy_of(bytes).into())?),
        };
        let texts = flag(6).then_some(TextStats { first, last, bloom });
        let instants = match flag(7) {
            true => Some((reader.record::<i64>()?, reader.record::<i64>()?)),
            false => None,
        };
        if instants.is_some_and(|(first, last)| first > last) {
            return Err(damaged(&path, "a range of instants that is none"));
        }
        Ok(PathStats {
            path,
            is_in_every_row: flag(0),
            has_null: flag(1),
            has_empty: flag(2),
            has_long: flag(3),
            has_false: flag(4),
            has_true: flag(5),
            numbers,
            texts,
            instants,
        })
    }
}

fn number_bits(number: Number) -> (u32, u64) {
    match number {
        Number::Int(value) => (1, value as u64),
        Number::Uint(value) => (2, value),
        Number::Float(value) => (3, value.to_bits()),
    }
}

fn number(kind: u32, bits: u64) -> Option<Number> {
    match kind {
        1 => Some(Number::Int(bits as i64)),
        2 if bits > i64::MAX as u64 => Some(Number::Uint(bits)),
        3 => Number::from_f64(f64::from_bits(bits)),
        _ => None,
    }
}

/// Takes bytes from the front, never more than there are.
struct Reader<'a> {
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn take(&mut self, len: u64) -> Result<&'a [u8]> {
        let split = usize::try_from(len).ok().and_then(|len| self.rest.split_at_checked(len));
        let Some((front, rest)) = split else {
            let found = format!("expected {len} bytes, found {}", self.rest.len());
            return Err(damaged("end", found));
        };
        self.rest = rest;
        Ok(front)
    }

    fn record<T: Pod>(&mut self) -> Result<T> {
        self.take(size_of::<T>() as u64).map(bytemuck::pod_read_unaligned)
    }

    fn text(&mut self, len: u32) -> Result<&'a str> {
        std::str::from_utf8(self.take(u64::from(len))?)
            .map_err(|error| damaged("strings", format!("not UTF-8: {error}")))
    }
}

fn damaged(place: impl std::fmt::Display, found: impl std::fmt::Display) -> Error {
    Error::corrupt(BLOB, place, found)
}
