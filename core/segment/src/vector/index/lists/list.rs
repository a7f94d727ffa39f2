//! `InvertedList`: one list in memory, its rows as codes with their ids, and the distances of those codes to a query.
//! Read by `StoredLists`; scored by `search::lists`.

use crate::error::{Error, Result, show_float};
use crate::ids::{PointId, RowId};
use crate::schema::VectorSpec;
use crate::storage::Bytes;

use super::ids;
use super::table::{ListPlace, fixed_bytes};
use crate::kernel::Kernel;
use crate::vector::codes::ListQuery;

const PLACE: &str = "section Cells";

/// The rows of a list. What a lookup relies on was checked.
#[derive(Debug)]
pub struct InvertedList {
    rows: Vec<RowId>,
    scales: Vec<f32>,
    /// For l2; else zeros.
    squared_norms: Vec<f32>,
    codes: Bytes,
    ids: Bytes,
    id_starts: Vec<u32>,
}

impl InvertedList {
    /// Opens the bytes of `place`, of a segment with `segment_rows` rows. `blob` is for messages.
    /// O(rows), without the codes.
    ///
    /// # Errors
    /// `Corrupt` if they are no list of that many rows.
    pub fn open(
        blob: &str,
        bytes: &Bytes,
        place: &ListPlace,
        spec: &VectorSpec,
        segment_rows: u32,
    ) -> Result<InvertedList> {
        let corrupt = |found: String| {
            Error::corrupt(blob, PLACE, format!("list at {}: {found}", place.range.start))
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
        let id_starts = ids::starts(&ids, count).map_err(corrupt)?;
        let codes = bytes.slice(codes_at..ids_at);
        let list = InvertedList { rows, scales, squared_norms, codes, ids, id_starts };
        list.check(segment_rows).map_err(corrupt)?;
        Ok(list)
    }

    fn check(&self, segment_rows: u32) -> std::result::Result<(), String> {
        let ascend = self.rows.is_sorted_by(|a, b| a < b);
        if !ascend || self.rows.last().is_some_and(|row| row.0 >= segment_rows) {
            return Err(format!("rows do not ascend within {segment_rows}"));
        }
        let numbers = self.scales.iter().chain(&self.squared_norms);
        match numbers.copied().find(|number| !(number.is_finite() && *number >= 0.0)) {
            Some(number) => Err(format!("scale or squared length {}", show_float(number.into()))),
            None => Ok(()),
        }
    }

    /// Row numbers in the segment, ascending.
    pub fn rows(&self) -> &[RowId] {
        &self.rows
    }

    /// Distances of the codes of the rows at `positions` to the query, in order: near the exact ones. O(positions × dim).
    pub fn distances(
        &self,
        kernel: Kernel,
        query: &ListQuery,
        positions: &[RowId],
    ) -> impl Iterator<Item = f32> {
        let scale = |position: RowId| self.scales[position.index()];
        let products = query.products(kernel, &self.codes, positions, scale);
        let squared_norm = |&position: &RowId| self.squared_norms[position.index()];
        products.zip(positions.iter().map(squared_norm)).map(|(p, n)| query.distance(p, n))
    }

    /// The point of the row at `index`.
    pub fn id(&self, index: usize) -> PointId {
        ids::id_at(&self.ids, self.id_starts[index])
    }
}
