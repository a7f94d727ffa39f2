//! Decodes a batch from the body of a log frame: the inverse of `encode`, for bytes that may be anything.
//! Entry: `decode` (body and schema → `Batch`), called by `State::replay` and verify.
//!
//! Every length is compared with what is left before anything is allocated, and everything `Batch::new`
//! checks is checked again, except the content of metadata, which its reader checks, and the least length of vectors,
//! which earlier builds did not have.

use std::borrow::Cow;

use nearfield_segment::{ByteReader, Result, Schema, read_json};

use super::encode::{BATCH_VERSION, DENSE_F32, FLAG_ASSIGNED, FLAG_OPTIONAL, START_BYTES, kind};
use super::input::{
    Section, corrupt, newer, read_ids, read_next_id, read_padding, read_section, reader,
};
use super::{Batch, Draft};
use crate::manifest::NextId;

/// Reads a batch. Vectors are borrowed where `body` is aligned to 4 bytes.
///
/// # Errors
/// `Corrupt` naming the offset within the body, or `Version` for a newer encoding or an unknown section
/// that must not be skipped.
pub fn decode<'a>(body: &'a [u8], schema: &Schema) -> Result<Batch<'a>> {
    let mut input = reader(body);
    let version = input.u16()?;
    if !(1..=BATCH_VERSION).contains(&version) {
        return Err(newer("version", version));
    }
    let flags = input.u16()?;
    if flags & !FLAG_ASSIGNED != 0 {
        return Err(newer("flags", flags));
    }
    let count = input.u32()?;
    let mut parts = Parts::default();
    parts.draft.time_ms = input.u64()?;
    debug_assert_eq!(input.at(), START_BYTES);
    let mut last = (0, String::new());
    for _ in 0..count {
        let start = input.at();
        let section = read_section(&mut input)?;
        let field = parts.read(&section)?;
        if let Some(field) = field {
            let place = (section.kind, field);
            if place <= last {
                return Err(corrupt(start, "section repeated or out of order"));
            }
            last = place;
        }
    }
    if input.at() != body.len() {
        return Err(corrupt(input.at(), "bytes behind the last section"));
    }
    parts.finish(flags & FLAG_ASSIGNED != 0, schema)
}

#[derive(Default)]
struct Parts<'a> {
    draft: Draft<'a>,
    next_id: Option<NextId>,
    metadata: Option<(usize, &'a [u8])>,
    row_keys: Option<(usize, &'a [u8])>,
}

impl<'a> Parts<'a> {
    /// Reads a section and returns the field it belongs to; `None` if it was skipped.
    fn read(&mut self, section: &Section<'a>) -> Result<Option<String>> {
        let mut input = reader(section.content);
        let mut field = String::new();
        match section.kind {
            kind::NEXT_ID => self.next_id = Some(read_next_id(&mut input)?),
            kind::DELETES => self.draft.deletes = read_ids(&mut input)?,
            kind::UPSERTS => {
                let ids = read_ids(&mut input)?;
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
            kind::ROW_KEYS => {
                self.row_keys = Some((section.at, section.content));
                return Ok(Some(field));
            }
            kind::FIELDS => {
                self.draft.fields = read_json(section.content)
                    .map_err(|error| corrupt(section.at, format!("declared fields: {error}")))?;
                return Ok(Some(field));
            }
            kind::DEADLINE => self.draft.deadline_ms = Some(input.u64()?),
            _ if section.flags & FLAG_OPTIONAL != 0 => return Ok(None),
            unknown => return Err(newer("section", unknown)),
        }
        if input.at() != section.content.len() {
            return Err(corrupt(section.at + input.at(), "bytes behind the end of the section"));
        }
        Ok(Some(field))
    }

    fn read_vectors(&mut self, input: &mut ByteReader<'a>) -> Result<String> {
        let name_len = input.u16()?;
        let [encoding, zero] = input.u16()?.to_le_bytes();
        if encoding != DENSE_F32 || zero != 0 {
            return Err(newer("vector encoding", u16::from(encoding)));
        }
        let dim = input.u32()?;
        let name = input.text(usize::from(name_len))?.to_owned();
        read_padding(input)?;
        let expected = (self.draft.rows as u64).checked_mul(u64::from(dim) * 4);
        let left = input.left();
        if expected != Some(left as u64) {
            return Err(corrupt(
                input.at(),
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
        if let Some((at, bytes)) = self.row_keys {
            self.draft.row_keys = read_row_keys(bytes, self.draft.rows)
                .map_err(|error| error.context(format_args!("section at {at}")))?;
        }
        self.draft.ids.get_or_insert_default();
        let next_id = self.next_id.ok_or_else(|| corrupt(0, "no mark for assigned ids"))?;
        let highest = self.draft.ids.iter().flatten().fold(NextId::FIRST, |mut next, id| {
            next.raise_above(id);
            next
        });
        if highest.max(next_id) != next_id {
            return Err(corrupt(0, "the mark for assigned ids lies below an id of the batch"));
        }
        let deletes = self.draft.deletes.len();
        let mut batch =
            Batch::logged(self.draft, schema).map_err(|error| corrupt(0, error.message()))?;
        if batch.deletes.len() != deletes {
            return Err(corrupt(0, "an id is deleted twice"));
        }
        batch.ids_assigned = ids_assigned;
        batch.next_id = Some(next_id);
        Ok(batch)
    }
}

fn read_metadata(bytes: &[u8], rows: usize) -> Result<Vec<Option<Cow<'_, str>>>> {
    let mut input = reader(bytes);
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
    if input.at() != bytes.len() {
        return Err(corrupt(input.at(), "bytes behind the last row"));
    }
    Ok(metadata)
}

fn read_row_keys(bytes: &[u8], rows: usize) -> Result<Vec<Option<Cow<'_, str>>>> {
    let mut input = reader(bytes);
    if rows > bytes.len() / 2 {
        return Err(corrupt(0, format!("{} bytes cannot hold keys of {rows} rows", bytes.len())));
    }
    let mut keys = Vec::with_capacity(rows);
    for _ in 0..rows {
        keys.push(match input.u16()? {
            0 => None,
            len => Some(Cow::Borrowed(input.text(usize::from(len))?)),
        });
    }
    if input.at() != bytes.len() {
        return Err(corrupt(input.at(), "bytes behind the key of the last row"));
    }
    Ok(keys)
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
