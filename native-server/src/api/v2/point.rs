//! A point as JSON text, piece by piece, and an id as it is written in a request.

use nearfield_engine::{Error, Fault};
use nearfield_segment::segment::Segment;
use nearfield_segment::{PointId, RowId, shown};
use serde::Serialize;
use serde_json::Value;

use super::cursor::Cursor;
use super::error::Result;

/// Which parts of a point an answer shows.
#[derive(Debug, Clone, Copy)]
pub(super) struct Shown {
    pub(super) metadata: bool,
    pub(super) vector: bool,
}

/// A number, or a string.
pub(super) fn write_id(out: &mut Vec<u8>, id: &PointId) {
    match id {
        PointId::U64(number) => write(out, number),
        PointId::Uuid(_) => write(out, &id.to_string()),
        PointId::Str(text) => write(out, text),
    }
}

/// The shortest digits that give the same `f32` again.
pub(super) fn write_float(out: &mut Vec<u8>, value: f32) {
    write(out, &value);
}

fn write(out: &mut Vec<u8>, value: &(impl Serialize + ?Sized)) {
    serde_json::to_writer(out, value).expect("a vector takes everything");
}

/// `,"metadata":…` as given, if the point has any, and `,"vector":[…]`, as far as they are shown.
pub(super) fn write_rest(
    out: &mut Vec<u8>,
    segment: &Segment,
    row: RowId,
    field: &str,
    shown: Shown,
) -> nearfield_engine::Result<()> {
    if shown.metadata
        && let Some(json) = segment.payload().json(row)?
    {
        out.extend_from_slice(b",\"metadata\":");
        out.extend_from_slice(json.as_bytes());
    }
    if shown.vector {
        let field = segment.field(field)?;
        let mut vector = vec![0.0; field.spec().dim as usize];
        field.rows().decode(row, &mut vector);
        out.extend_from_slice(b",\"vector\":");
        write(out, &vector);
    }
    Ok(())
}

/// An id in a body: a number or a string.
pub(super) fn read_id(cursor: &mut Cursor<'_>) -> Result<PointId> {
    let text = cursor.raw()?;
    let number = text.parse().ok().map(PointId::U64);
    if let Some(id) = number {
        return Ok(id);
    }
    if text.starts_with('"')
        && let Ok(Value::String(text)) = serde_json::from_str(text)
    {
        return Ok(PointId::from_text(&text)?);
    }
    let got = shown(text);
    let message = format!("id: expected 0 to 2^64 - 1 or a string, got {got}");
    Err(Error::invalid(Fault::Id, message).with("got", got.as_ref()).into())
}

/// An id in a path: digits are a number, unless `as_string`.
pub(super) fn path_id(text: &str, as_string: bool) -> Result<PointId> {
    // A sign is no digit, though the standard library reads one.
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(number) if digits && !as_string => Ok(PointId::U64(number)),
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
        for other in ["+5", "-5", "5.0", "18446744073709551616"] {
            assert_eq!(read(other, false), text(other));
        }
    }
}
