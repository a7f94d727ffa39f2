//! `ListTable`: the decoded table of inverted lists, with the centroid of each list and its byte range. Read by
//! `StoredLists`; `search::lists` computes the distances of a query to the centroids.

use std::ops::Range;

use crate::error::{Result, show_float};
use crate::format::align64;
use crate::metric::Metric;
use crate::reader::ByteReader;
use crate::schema::VectorSpec;
use crate::storage::Bytes;

use super::{HEADER_BYTES, RECORD_BYTES, VERSION};
use crate::ids::{PointId, RowId};
use crate::kernel::Kernel;
use crate::vector::codes::ListQuery;

const PLACE: &str = "section CellTable";

/// An opened table. Everything in it was checked against the segment.
#[derive(Debug)]
pub struct ListTable {
    places: Vec<ListPlace>,
    /// Of each centroid: its scale and squared length.
    scales: Vec<(f32, f64)>,
    codes: Bytes,
    dim: usize,
    rows: u32,
}

/// One list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ListPlace {
    /// Its bytes in the section of lists.
    pub range: Range<u64>,
    /// Its rows, at least one.
    pub rows: u32,
    pub(super) crc: u32,
}

impl ListTable {
    /// Opens the table of a field of a segment with `segment_rows` rows, whose section of lists has `lists_len`
    /// bytes. `blob` is for messages. O(lists × dim).
    ///
    /// # Errors
    /// `Corrupt` if it contradicts itself or what is given.
    pub fn open(
        blob: &str,
        bytes: &Bytes,
        spec: &VectorSpec,
        segment_rows: u32,
        lists_len: u64,
    ) -> Result<ListTable> {
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
                format!("{count} lists of {rows} rows, {dim} elements, {} bytes", bytes.len());
            let expected = format!("{segment_rows} rows, {} elements, {expected} bytes", spec.dim);
            return Err(reader.corrupt(format!("{found}; expected at most {expected}")));
        }
        reader.take(HEADER_BYTES - 16)?;
        let codes_at = HEADER_BYTES + count as usize * RECORD_BYTES;
        let codes = bytes.slice(codes_at..bytes.len());
        let mut table = ListTable {
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
        if found != u64::from(rows) || end != lists_len {
            let expected = format!("expected {rows} rows in {lists_len} bytes");
            return Err(reader.corrupt(format!("{found} rows in {end} bytes; {expected}")));
        }
        Ok(table)
    }

    fn push(&mut self, index: usize, reader: &mut ByteReader<'_>, spec: &VectorSpec) -> Result<()> {
        let (rows, len, crc) = (reader.u32()?, reader.u32()?, reader.u32()?);
        let scale = f32::from_bits(reader.u32()?);
        let fits = u64::from(len) >= u64::from(rows) * row_bytes_min(spec);
        if rows == 0 || !fits || !(scale.is_finite() && scale >= 0.0) {
            let scale = show_float(scale.into());
            let found = format!("list {index}: {rows} rows in {len} bytes, scale {scale}");
            return Err(reader.corrupt(found));
        }
        // Sums of u32 do not overflow: the table has fewer than 2³² of them.
        let start = align64(self.places.last().map_or(0, |place| place.range.end));
        self.places.push(ListPlace { range: start..start + u64::from(len), rows, crc });
        let squares = self.centroid(index).iter().map(|&code| i64::from(code) * i64::from(code));
        let squared = squares.sum::<i64>() as f64 * f64::from(scale) * f64::from(scale);
        self.scales.push((scale, squared));
        Ok(())
    }

    fn centroid(&self, index: usize) -> &[i8] {
        bytemuck::cast_slice(&self.codes[index * self.dim..(index + 1) * self.dim])
    }

    /// Rows in all lists.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The lists, in file order.
    pub fn places(&self) -> &[ListPlace] {
        &self.places
    }

    /// How far each centroid is from the query, in file order: comparable between tables of one field, and for
    /// nothing else. O(lists × dim).
    pub fn distances(&self, kernel: Kernel, query: &ListQuery) -> Vec<f32> {
        let rows: Vec<RowId> = (0..self.scales.len() as u32).map(RowId).collect();
        let scale = |row: RowId| self.scales[row.index()].0;
        let products = query.products(kernel, &self.codes, &rows, scale);
        let distance = |(product, &(_, squared)): (f64, &(f32, f64))| match query.metric() {
            Metric::Dot => -product as f32,
            // Rows near an end of a list are as near for cosine as for l2: lists are of points of length one.
            Metric::Cosine | Metric::L2 => (squared - 2.0 * product) as f32,
        };
        products.zip(&self.scales).map(distance).collect()
    }
}

/// Bytes of the arrays of a row, without its codes and id.
pub(super) fn fixed_bytes(spec: &VectorSpec) -> usize {
    match spec.metric {
        Metric::Cosine | Metric::Dot => 8,
        Metric::L2 => 12,
    }
}

/// Fewest bytes a row takes in a list.
fn row_bytes_min(spec: &VectorSpec) -> u64 {
    fixed_bytes(spec) as u64 + u64::from(spec.dim) + PointId::ENCODED_BYTES_MIN
}
