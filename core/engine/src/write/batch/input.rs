//! Reads the parts of an encoded batch, which may be any bytes, from a [`ByteReader`]: sections, lists of
//! ids, marks. Called by `decode`.

use nearfield_segment::{ByteReader, Error, ErrorKind, PointId, Result};

use super::encode::{FLAG_OPTIONAL, SECTION_BYTES};
use crate::manifest::NextId;

/// What a batch is called in messages.
const NAME: &str = "batch";

/// A part of a batch with its own start.
pub(super) struct Section<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) at: usize,
    pub(super) content: &'a [u8],
}

/// The start of the bytes of a batch, or of a part of one.
pub(super) fn reader(bytes: &[u8]) -> ByteReader<'_> {
    ByteReader::new(NAME, "body", bytes)
}

/// Zeros up to a multiple of 8.
pub(super) fn read_padding(reader: &mut ByteReader<'_>) -> Result<()> {
    let at = reader.at();
    let zeros = reader.take(at.next_multiple_of(8) - at)?;
    if zeros.iter().all(|&byte| byte == 0) {
        return Ok(());
    }
    Err(reader.corrupt_at(at, "padding is not zero"))
}

pub(super) fn read_section<'a>(reader: &mut ByteReader<'a>) -> Result<Section<'a>> {
    let start = reader.at();
    let (kind, flags, zero, len) = (reader.u16()?, reader.u16()?, reader.u32()?, reader.u64()?);
    if zero != 0 || flags & !FLAG_OPTIONAL != 0 {
        return Err(newer("section flags", flags));
    }
    let at = reader.at();
    debug_assert_eq!(at, start + SECTION_BYTES);
    let len = usize::try_from(len).map_err(|_| reader.corrupt_at(start, "section too long"))?;
    let content = reader.take(len)?;
    read_padding(reader)?;
    Ok(Section { kind, flags, at, content })
}

pub(super) fn read_next_id(reader: &mut ByteReader<'_>) -> Result<NextId> {
    let at = reader.at();
    match (reader.u64()?, reader.u64()?) {
        (next, 0) => Ok(NextId::starting_at(next)),
        (0, 1) => Ok(NextId::EXHAUSTED),
        (next, exhausted) => {
            Err(reader.corrupt_at(at, format!("next id {next}, exhausted {exhausted}")))
        }
    }
}

pub(super) fn read_ids(reader: &mut ByteReader<'_>) -> Result<Vec<PointId>> {
    let at = reader.at();
    let count = reader.u64()?;
    let left = reader.left() as u64;
    if count > left / PointId::ENCODED_BYTES_MIN {
        return Err(reader.corrupt_at(at, format!("{count} ids cannot fit in {left} bytes")));
    }
    (0..count).map(|_| PointId::decode(reader)).collect()
}

/// Bytes at `at` of a batch that are not what was written.
pub(super) fn corrupt(at: usize, found: impl std::fmt::Display) -> Error {
    reader(&[]).corrupt_at(at, found)
}

/// A part of a batch that a newer version wrote.
pub(super) fn newer(what: &str, found: u16) -> Error {
    Error::new(
        ErrorKind::Version,
        format!("{NAME}: {what} {found} is not known to this version of Nearfield"),
    )
}
