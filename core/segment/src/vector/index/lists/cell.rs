//! One opened cell: rows as codes, with their ids.

use crate::error::{Error, Result};
use crate::ids::{PointId, RowId};
use crate::metric::Metric;
use crate::schema::VectorSpec;
use crate::storage::Bytes;

use super::names;
use super::table::CellPlace;
use crate::vector::codec::CodedQuery;

const PLACE: &str = "section Cells";

/// The rows of a cell. What a lookup relies on was checked.
#[derive(Debug)]
pub struct Cell {
    rows: Vec<RowId>,
    scales: Vec<f32>,
    /// For l2; else zeros.
    squared_norms: Vec<f32>,
    codes: Bytes,
    ids: Bytes,
    id_starts: Vec<u32>,
    dim: usize,
}

/// Bytes of the arrays of a row, without its codes and id.
fn fixed_bytes(spec: &VectorSpec) -> usize {
    match spec.metric {
        Metric::Cosine | Metric::Dot => 8,
        Metric::L2 => 12,
    }
}

/// Fewest bytes a row takes in a cell.
pub(super) fn row_bytes_min(spec: &VectorSpec) -> u64 {
    fixed_bytes(spec) as u64 + u64::from(spec.dim) + PointId::ENCODED_BYTES_MIN
}

impl Cell {
    /// Opens the bytes of `place`, of a segment with `segment_rows` rows. `blob` is for messages.
    /// O(rows), without the codes.
    ///
    /// # Errors
    /// `Corrupt` if they are no cell of that many rows.
    pub fn open(
        blob: &str,
        bytes: &Bytes,
        place: &CellPlace,
        spec: &VectorSpec,
        segment_rows: u32,
    ) -> Result<Cell> {
        let corrupt = |found: String| {
            Error::corrupt(blob, PLACE, format!("cell at {}: {found}", place.range.start))
        };
        let (count, dim) = (place.rows as usize, spec.dim as usize);
        let codes_at = count * fixed_bytes(spec);
        let ids_at = codes_at + count * dim;
        if bytes.len() as u64 != place.range.end - place.range.start || ids_at > bytes.len() {
            return Err(corrupt(format!("{} bytes for {count} rows", bytes.len())));
        }
        let words: Vec<[u8; 4]> = bytes[..codes_at].as_chunks::<4>().0.to_vec();
        let rows = words[..count].iter().map(|word| RowId(u32::from_le_bytes(*word))).collect();
        let floats =
            |words: &[[u8; 4]]| words.iter().map(|word| f32::from_le_bytes(*word)).collect();
        let scales: Vec<f32> = floats(&words[count..2 * count]);
        let mut squared_norms: Vec<f32> = floats(&words[2 * count..]);
        squared_norms.resize(count, 0.0);
        let ids = bytes.slice(ids_at..bytes.len());
        let id_starts = names::starts(&ids, count).map_err(corrupt)?;
        let codes = bytes.slice(codes_at..ids_at);
        let cell = Cell { rows, scales, squared_norms, codes, ids, id_starts, dim };
        cell.check(segment_rows).map_err(corrupt)?;
        Ok(cell)
    }

    fn check(&self, segment_rows: u32) -> std::result::Result<(), String> {
        let ascend = self.rows.is_sorted_by(|a, b| a < b);
        if !ascend || self.rows.last().is_some_and(|row| row.0 >= segment_rows) {
            return Err(format!("rows do not ascend within {segment_rows}"));
        }
        let numbers = self.scales.iter().chain(&self.squared_norms);
        match numbers.copied().find(|number| !(number.is_finite() && *number >= 0.0)) {
            Some(number) => Err(format!("scale or squared length {number}")),
            None => Ok(()),
        }
    }

    /// Row numbers in the segment, ascending.
    pub fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// The distance of the codes of the row at `index` to the query: near the exact one. O(dim).
    #[inline]
    pub fn distance(&self, query: &CodedQuery, index: usize) -> f32 {
        let codes = &self.codes[index * self.dim..(index + 1) * self.dim];
        let codes = bytemuck::cast_slice(codes);
        query.distance(codes, self.scales[index], self.squared_norms[index])
    }

    /// The point of the row at `index`.
    pub fn id(&self, index: usize) -> PointId {
        names::id_at(&self.ids, self.id_starts[index])
    }
}
