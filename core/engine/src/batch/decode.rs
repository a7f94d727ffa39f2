//! The inverse of `encode`, for bytes that may be anything.
//!
//! Every length is compared with what is left before anything is allocated, and everything `Batch::new`
//! checks is checked again, except the content of metadata (whoever parses it does).

use std::borrow::Cow;

use nearfield_segment::{Error, ErrorKind, PointId, Result, Schema};

use super::encode::{
    BATCH_VERSION, DENSE_F32, FLAG_ASSIGNED, FLAG_OPTIONAL, SECTION_BYTES, START_BYTES, kind,
};
use super::{Batch, Draft};
use crate::manifest::NextId;

/// Reads a batch. Vectors are borrowed where `body` is aligned to 4 bytes.
///
/// # Errors
/// `Corrupt` naming the offset within the body, or `Version` for a newer encoding or an unknown section
/// that must not be skipped.
pub fn decode<'a>(body: &'a [u8], schema: &Schema) -> Result<Batch<'a>> {
    let mut input = Input { bytes: body, at: 0 };
    let version = input.u16()?;
    if version != BATCH_VERSION {
        return Err(newer("version", version));
    }
    let flags = input.u16()?;
    if flags & !FLAG_ASSIGNED != 0 {
        return Err(newer("flags", flags));
    }
    let count = input.u32()?;
    let mut parts = Parts::default();
    parts.draft.time_ms = input.u64()?;
    debug_assert_eq!(input.at, START_BYTES);
    let mut last = (0, String::new());
    for _ in 0..count {
        let start = input.at;
        let section = input.section()?;
        let field = parts.read(&section)?;
        if let Some(field) = field {
            let place = (section.kind, field);
            if place <= last {
                return Err(corrupt(start, "section repeated or out of order"));
            }
            last = place;
        }
    }
    if input.at != body.len() {
        return Err(corrupt(input.at, "bytes behind the last section"));
    }
    parts.finish(flags & FLAG_ASSIGNED != 0, schema)
}

#[derive(Default)]
struct Parts<'a> {
    draft: Draft<'a>,
    next_id: Option<NextId>,
    metadata: Option<(usize, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// Reads a section and returns the field it belongs to; `None` if it was skipped.
    fn read(&mut self, section: &Section<'a>) -> Result<Option<String>> {
        let mut input = Input { bytes: section.content, at: 0 };
        let mut field = String::new();
        match section.kind {
            kind::NEXT_ID => self.next_id = Some(input.next_id()?),
            kind::DELETES => self.draft.deletes = input.ids()?,
            kind::UPSERTS => {
                let ids = input.ids()?;
                self.draft.rows = ids.len();
                self.draft.ids = Some(ids);
            }
            kind::VECTORS => {
                field = self.read_vectors(&mut input)?;
            }
            kind::METADATA => {
                self.metadata = Some((section.at, section.content));
                return Ok(Some(field));
            }
            kind::IDEMPOTENCY_KEY => {
                let len = section.content.len();
                self.draft.idempotency_key = Some(input.text(len)?.to_owned());
            }
            kind::DEADLINE => self.draft.deadline_ms = Some(input.u64()?),
            _ if section.flags & FLAG_OPTIONAL != 0 => return Ok(None),
            unknown => return Err(newer("section", unknown)),
        }
        if input.at != section.content.len() {
            return Err(corrupt(section.at + input.at, "bytes behind the end of the section"));
        }
        Ok(Some(field))
    }

    fn read_vectors(&mut self, input: &mut Input<'a>) -> Result<String> {
        let name_len = input.u16()?;
        let [encoding, zero] = input.u16()?.to_le_bytes();
        if encoding != DENSE_F32 || zero != 0 {
            return Err(newer("vector encoding", u16::from(encoding)));
        }
        let dim = input.u32()?;
        let name = input.text(usize::from(name_len))?.to_owned();
        input.pad()?;
        let expected = (self.draft.rows as u64).checked_mul(u64::from(dim) * 4);
        let left = input.bytes.len() - input.at;
        if expected != Some(left as u64) {
            return Err(corrupt(
                input.at,
                format!("expected {} rows of {dim} elements, found {left} bytes", self.draft.rows),
            ));
        }
        let elements = floats(input.take(left)?);
        self.draft.vectors.insert(name.clone(), elements);
        Ok(name)
    }

    fn finish(mut self, ids_assigned: bool, schema: &Schema) -> Result<Batch<'a>> {
        if let Some((at, bytes)) = self.metadata {
            self.draft.metadata = read_metadata(bytes, self.draft.rows)
                .map_err(|error| error.context(format_args!("section at {at}")))?;
        }
        self.draft.ids.get_or_insert_default();
        let next_id = self.next_id.ok_or_else(|| corrupt(0, "no mark for assigned ids"))?;
        let highest = self.draft.ids.iter().flatten().fold(NextId::FIRST, |mut next, id| {
            next.note(id);
            next
        });
        if highest.max(next_id) != next_id {
            return Err(corrupt(0, "the mark for assigned ids lies below an id of the batch"));
        }
        let deletes = self.draft.deletes.len();
        let mut batch = Batch::new(self.draft, schema, &|_, _| Ok(()))
            .map_err(|error| corrupt(0, error.message()))?;
        if batch.deletes.len() != deletes {
            return Err(corrupt(0, "an id is deleted twice"));
        }
        batch.ids_assigned = ids_assigned;
        batch.next_id = Some(next_id);
        Ok(batch)
    }
}

fn read_metadata(bytes: &[u8], rows: usize) -> Result<Vec<Option<Cow<'_, str>>>> {
    let mut input = Input { bytes, at: 0 };
    if rows > bytes.len() / 4 {
        return Err(corrupt(0, format!("{} bytes cannot hold {rows} rows", bytes.len())));
    }
    let mut metadata = Vec::with_capacity(rows);
    for _ in 0..rows {
        metadata.push(match input.u32()? {
            0 => None,
            len => Some(Cow::Borrowed(input.text(len as usize - 1)?)),
        });
    }
    if input.at != bytes.len() {
        return Err(corrupt(input.at, "bytes behind the last row"));
    }
    Ok(metadata)
}

/// In place if the address allows it.
fn floats(bytes: &[u8]) -> Cow<'_, [f32]> {
    match bytemuck::try_cast_slice(bytes) {
        Ok(elements) => Cow::Borrowed(elements),
        Err(_) => {
            let element =
                |four: &[u8]| f32::from_le_bytes(four.try_into().expect("chunks of 4 bytes"));
            Cow::Owned(bytes.chunks_exact(4).map(element).collect())
        }
    }
}

struct Section<'a> {
    kind: u16,
    flags: u16,
    at: usize,
    content: &'a [u8],
}

/// Bytes read from the front; every read is checked.
struct Input<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Input<'a> {
    fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        let taken = left.get(..len).ok_or_else(|| {
            corrupt(self.at, format!("expected {len} more bytes, found {}", left.len()))
        })?;
        self.at += len;
        Ok(taken)
    }

    fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    fn text(&mut self, len: usize) -> Result<&'a str> {
        let at = self.at;
        std::str::from_utf8(self.take(len)?).map_err(|error| corrupt(at, error))
    }

    /// Zeros up to a multiple of 8.
    fn pad(&mut self) -> Result<()> {
        let at = self.at;
        let zeros = self.take(at.next_multiple_of(8) - at)?;
        if zeros.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(corrupt(at, "padding is not zero"))
    }

    fn section(&mut self) -> Result<Section<'a>> {
        let start = self.at;
        let (kind, flags, zero, len) = (self.u16()?, self.u16()?, self.u32()?, self.u64()?);
        if zero != 0 || flags & !FLAG_OPTIONAL != 0 {
            return Err(newer("section flags", flags));
        }
        let at = self.at;
        debug_assert_eq!(at, start + SECTION_BYTES);
        let len = usize::try_from(len).map_err(|_| corrupt(start, "section too long"))?;
        let content = self.take(len)?;
        self.pad()?;
        Ok(Section { kind, flags, at, content })
    }

    fn next_id(&mut self) -> Result<NextId> {
        let at = self.at;
        match (self.u64()?, self.u64()?) {
            (next, 0) => Ok(NextId::starting_at(next)),
            (0, 1) => Ok(NextId::EXHAUSTED),
            (next, exhausted) => Err(corrupt(at, format!("next id {next}, exhausted {exhausted}"))),
        }
    }

    fn ids(&mut self) -> Result<Vec<PointId>> {
        let at = self.at;
        let count = self.u64()?;
        // The shortest id takes 4 bytes: kind, length and one byte of text.
        let left = (self.bytes.len() - self.at) as u64;
        if count > left / 4 {
            return Err(corrupt(at, format!("{count} ids cannot fit in {left} bytes")));
        }
        (0..count).map(|_| self.id()).collect()
    }

    fn id(&mut self) -> Result<PointId> {
        let at = self.at;
        let [tag] = self.array()?;
        match tag {
            0 => self.u64().map(PointId::U64),
            1 => Ok(PointId::Uuid(u128::from_le_bytes(self.array()?))),
            2 => {
                let len = self.u16()?;
                Ok(PointId::Str(self.text(usize::from(len))?.into()))
            }
            unknown => Err(corrupt(at, format!("unknown kind of id {unknown}"))),
        }
    }
}

fn corrupt(at: usize, found: impl std::fmt::Display) -> Error {
    Error::corrupt("batch", format_args!("byte {at}"), found)
}

fn newer(what: &str, found: u16) -> Error {
    Error::new(
        ErrorKind::Version,
        format!("batch: {what} {found} is not known to this version of Nearfield"),
    )
}
