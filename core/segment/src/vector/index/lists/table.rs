//! The opened cell table: how near each cell is to a query, and where it lies.

use std::ops::Range;

use crate::error::{Error, Result};
use crate::format::align64;
use crate::metric::Metric;
use crate::reader::ByteReader;
use crate::schema::VectorSpec;
use crate::storage::Bytes;

use super::{HEADER_BYTES, RECORD_BYTES, VERSION, cell};
use crate::vector::codec::CodedQuery;

const PLACE: &str = "section CellTable";

/// An opened table. Everything in it was checked against the segment.
#[derive(Debug)]
pub struct CellTable {
    places: Vec<CellPlace>,
    /// Of each centroid: its scale and squared length.
    scales: Vec<(f32, f64)>,
    codes: Bytes,
    dim: usize,
    rows: u32,
}

/// One cell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CellPlace {
    /// Its bytes in the section of cells.
    pub range: Range<u64>,
    /// Its rows, at least one.
    pub rows: u32,
    crc: u32,
}

impl CellTable {
    /// Opens the table of a field of a segment with `segment_rows` rows, whose section of cells has `cells_len`
    /// bytes. `blob` is for messages. O(cells × dim).
    ///
    /// # Errors
    /// `Corrupt` if it contradicts itself or what is given.
    pub fn open(
        blob: &str,
        bytes: &Bytes,
        spec: &VectorSpec,
        segment_rows: u32,
        cells_len: u64,
    ) -> Result<CellTable> {
        let mut reader = ByteReader::new(blob, PLACE, bytes);
        let version = reader.u32()?;
        if version != VERSION {
            return Err(reader.corrupt(format!("version {version}, expected {VERSION}")));
        }
        let (rows, dim, count) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let expected =
            HEADER_BYTES as u64 + u64::from(count) * (RECORD_BYTES as u64 + u64::from(dim));
        if dim != spec.dim || count == 0 || rows > segment_rows || expected != bytes.len() as u64 {
            let found =
                format!("{count} cells of {rows} rows, {dim} elements, {} bytes", bytes.len());
            let expected = format!("{segment_rows} rows, {} elements, {expected} bytes", spec.dim);
            return Err(reader.corrupt(format!("{found}; expected at most {expected}")));
        }
        reader.take(HEADER_BYTES - 16)?;
        let codes_at = HEADER_BYTES + count as usize * RECORD_BYTES;
        let codes = bytes.slice(codes_at..bytes.len());
        let mut table = CellTable {
            places: Vec::with_capacity(count as usize),
            scales: Vec::with_capacity(count as usize),
            codes,
            dim: dim as usize,
            rows,
        };
        for index in 0..count as usize {
            table.push(index, &mut reader, spec)?;
        }
        let found = table.places.iter().map(|place| u64::from(place.rows)).sum::<u64>();
        let end = table.places.last().map_or(0, |place| place.range.end);
        if found != u64::from(rows) || end != cells_len {
            let expected = format!("expected {rows} rows in {cells_len} bytes");
            return Err(reader.corrupt(format!("{found} rows in {end} bytes; {expected}")));
        }
        Ok(table)
    }

    fn push(&mut self, index: usize, reader: &mut ByteReader<'_>, spec: &VectorSpec) -> Result<()> {
        let (rows, len, crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let scale = f32::from_bits(reader.u32()?);
        let fits = u64::from(len) >= u64::from(rows) * cell::row_bytes_min(spec);
        if rows == 0 || !fits || !(scale.is_finite() && scale >= 0.0) {
            let found = format!("cell {index}: {rows} rows in {len} bytes, scale {scale}");
            return Err(reader.corrupt(found));
        }
        // Sums of u32 do not overflow: the table has fewer than 2³² of them.
        let start = align64(self.places.last().map_or(0, |place| place.range.end));
        self.places.push(CellPlace { range: start..start + u64::from(len), rows, crc });
        let squares = self.centroid(index).iter().map(|&code| i64::from(code) * i64::from(code));
        let squared = squares.sum::<i64>() as f64 * f64::from(scale) * f64::from(scale);
        self.scales.push((scale, squared));
        Ok(())
    }

    fn centroid(&self, index: usize) -> &[i8] {
        bytemuck::cast_slice(&self.codes[index * self.dim..(index + 1) * self.dim])
    }

    /// Rows in all cells.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The cells, in file order.
    pub fn places(&self) -> &[CellPlace] {
        &self.places
    }

    /// How far each centroid is from the query, in file order: comparable between tables of one field, and for
    /// nothing else. O(cells × dim).
    pub fn distances(&self, query: &CodedQuery) -> Vec<f32> {
        let distance = |(index, &(scale, squared)): (usize, &(f32, f64))| {
            let product = query.product(self.centroid(index), scale);
            let distance = match query.metric() {
                Metric::Dot => -product,
                // Rows near an end of a cell are as near for cosine as for l2: cells are of points of length one.
                Metric::Cosine | Metric::L2 => squared - 2.0 * product,
            };
            distance as f32
        };
        self.scales.iter().enumerate().map(distance).collect()
    }
}

impl CellPlace {
    /// Checks the bytes of the cell against the table.
    ///
    /// # Errors
    /// `Corrupt` if they are not those that were written; the detail `offset` is `start`, where the cell is in the file.
    pub fn verify(&self, blob: &str, bytes: &[u8], start: u64) -> Result<()> {
        let found = crc32c::crc32c(bytes);
        if found == self.crc {
            return Ok(());
        }
        let message =
            format!("checksum {found:08x} of {} bytes, expected {:08x}", bytes.len(), self.crc);
        Err(Error::corrupt(blob, format!("section Cells, offset {start}"), message)
            .with("offset", start)
            .with("length", bytes.len())
            .with("checksum", format!("{found:08x}")))
    }
}
