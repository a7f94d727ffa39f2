//! The ids of a cell's rows, one after the other: u8 kind and value, as in a batch.

use crate::ids::PointId;
use crate::storage::Bytes;

const KIND_U64: u8 = 0;
const KIND_UUID: u8 = 1;
const KIND_STR: u8 = 2;

/// Fewest bytes of an id: a string of one.
pub(super) const NAME_BYTES_MIN: u64 = 4;

pub(super) fn encode(id: &PointId, out: &mut Vec<u8>) {
    match id {
        PointId::U64(value) => {
            out.push(KIND_U64);
            out.extend_from_slice(&value.to_le_bytes());
        }
        PointId::Uuid(value) => {
            out.push(KIND_UUID);
            out.extend_from_slice(&value.to_le_bytes());
        }
        PointId::Str(text) => {
            out.push(KIND_STR);
            out.extend_from_slice(&(text.len() as u16).to_le_bytes());
            out.extend_from_slice(text.as_bytes());
        }
    }
}

/// Where each of `count` ids starts in `bytes`, which they fill; every one of them can be read.
pub(super) fn starts(bytes: &[u8], count: usize) -> Result<Vec<u32>, String> {
    let (mut starts, mut at) = (Vec::with_capacity(count), 0);
    for index in 0..count {
        starts.push(at as u32);
        let Some((_, len)) = decode(&bytes[at..]) else {
            return Err(format!("id {index} of {count} cannot be read"));
        };
        at += len;
    }
    if at == bytes.len() {
        Ok(starts)
    } else {
        Err(format!("{at} bytes of ids in {}", bytes.len()))
    }
}

/// The id at `at`, which is one of [`starts`].
pub(super) fn id_at(bytes: &Bytes, at: u32) -> PointId {
    let (id, _) =
        decode(&bytes[at as usize..]).expect("every id was read when the cell was opened");
    id
}

/// The id that `bytes` begin with, and its length.
fn decode(bytes: &[u8]) -> Option<(PointId, usize)> {
    let (&kind, rest) = bytes.split_first()?;
    match kind {
        KIND_U64 => Some((PointId::U64(u64::from_le_bytes(*rest.first_chunk()?)), 9)),
        KIND_UUID => Some((PointId::Uuid(u128::from_le_bytes(*rest.first_chunk()?)), 17)),
        KIND_STR => {
            let (len, text) = rest.split_first_chunk()?;
            let len = usize::from(u16::from_le_bytes(*len));
            let text = std::str::from_utf8(text.get(..len)?).ok()?;
            Some((PointId::Str(text.into()), 3 + len))
        }
        _ => None,
    }
}
