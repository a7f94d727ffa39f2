//! Writes points as JSON text, piece by piece (`FoundPoint`, `read_points`), and reads an id from a path (`path_id`).
//! Used by the handlers `points` and `query`.

use nearfield_engine::{Columns, Place, View};
use nearfield_segment::PointId;
use serde::Serialize;
use utoipa::ToSchema;

use super::values::Id;
use crate::http::Result;
use crate::workers::StoreResult;

/// Points whose metadata and vectors are in memory at a time: so many, or fewer where the vectors would take more bytes
/// than this. One is read in any case. The memory budget does not count them.
const POINTS_AT_ONCE: usize = 64;
const VECTORS_AT_ONCE_BYTES: usize = 1 << 20;

/// Which parts of a point an answer shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) metadata: bool,
    pub(super) vector: bool,
}

/// A point
#[derive(Debug, ToSchema)]
pub(super) struct PointAnswer<'a> {
    #[schema(value_type = Id)]
    id: &'a PointId,
    #[schema(value_type = Option<Map<String, Value>>)]
    metadata: Option<&'a str>,
    #[schema(value_type = Option<Vec<f32>>)]
    vector: Option<&'a [f32]>,
}

impl PointAnswer<'_> {
    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        write_id(out, self.id);
        write_content(out, self.metadata, self.vector);
    }
}

/// Reads the parts of points that are shown, and calls `write` with each, in order.
///
/// # Errors
/// `Corrupt` naming the file if metadata is damaged; what `write` returns.
pub(super) fn read_points(
    view: &View,
    found: &[(PointId, Place)],
    field: &str,
    shown: Shown,
    mut write: impl FnMut(PointAnswer<'_>) -> StoreResult<()>,
) -> StoreResult<()> {
    let fields = [field];
    let vectors = if shown.vector { &fields[..] } else { &[] };
    let columns = Columns { vectors, metadata: shown.metadata };
    for found in found.chunks(points_at_once(view, vectors)) {
        let points = view.points(found.iter().cloned(), columns)?;
        let elements = points.vectors.first().map_or(&[][..], Vec::as_slice);
        let mut vectors = elements.chunks_exact((elements.len() / found.len()).max(1));
        for (row, id) in points.ids.iter().enumerate() {
            let metadata = points.metadata.get(row).and_then(Option::as_deref);
            write(PointAnswer { id, metadata, vector: vectors.next() })?;
        }
    }
    Ok(())
}

/// How many points with these vectors are read together.
fn points_at_once(view: &View, vectors: &[&str]) -> usize {
    let specs = vectors.iter().filter_map(|field| view.schema.vectors.get(*field));
    let vector_bytes: usize = specs.map(|spec| 4 * spec.dim as usize).sum();
    (VECTORS_AT_ONCE_BYTES / vector_bytes.max(1)).clamp(1, POINTS_AT_ONCE)
}

/// A point found
#[derive(Debug, ToSchema)]
pub(super) struct FoundPoint<'a> {
    #[schema(value_type = Id)]
    id: &'a PointId,
    /// Similarity (larger is closer) or Euclidean distance, as score_kind says
    score: f32,
    #[schema(value_type = Option<Map<String, Value>>)]
    metadata: Option<&'a str>,
    #[schema(value_type = Option<Vec<f32>>)]
    vector: Option<&'a [f32]>,
}

impl<'a> FoundPoint<'a> {
    pub(super) fn of(point: PointAnswer<'a>, score: f32) -> FoundPoint<'a> {
        let PointAnswer { id, metadata, vector } = point;
        FoundPoint { id, score, metadata, vector }
    }

    pub(super) fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        write_id(out, self.id);
        out.extend_from_slice(b",\"score\":");
        write(out, &self.score);
        write_content(out, self.metadata, self.vector);
    }
}

/// A number, or a string.
pub(super) fn write_id(out: &mut Vec<u8>, id: &PointId) {
    match id {
        PointId::I64(number) => write(out, number),
        PointId::U64(number) => write(out, number),
        PointId::Uuid(_) => write(out, &id.to_string()),
        PointId::Str(text) => write(out, text),
    }
}

/// `,"metadata":…` as given and `,"vector":[…]`, as far as they are there, and the end of the object.
fn write_content(out: &mut Vec<u8>, metadata: Option<&str>, vector: Option<&[f32]>) {
    if let Some(json) = metadata {
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(json.as_bytes());
    }
    if let Some(vector) = vector {
        out.extend_from_slice(b",\"vector\":");
        write(out, vector);
    }
    out.push(b'}');
}

/// Numbers get the shortest digits that give the same number again.
fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a vector takes everything");
}

/// An id in a path: digits, with a minus or without, are a number, unless `as_string`.
pub(super) fn path_id(text: &str, as_string: bool) -> Result<PointId> {
    match PointId::from_digits(text) {
        Some(id) if !as_string => Ok(id),
        _ => Ok(PointId::from_text(text)?),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_digits_in_a_path_are_a_number() {
        let text = |text: &str| PointId::from_text(text).expect("an id");
        let read = |text, as_string| path_id(text, as_string).expect("an id");
        assert_eq!(read("5", false), PointId::U64(5));
        assert_eq!(read("18446744073709551615", false), PointId::U64(u64::MAX));
        assert_eq!(read("5", true), text("5"));
        assert_eq!(read("-5", false), PointId::I64(-5));
        for other in ["+5", "--5", "5.0", "18446744073709551616", "-9223372036854775809"] {
            assert_eq!(read(other, false), text(other));
        }
    }
}
