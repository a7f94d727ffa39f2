//! `Header`: the header of a slot, what the bytes behind it are, and what they are called. `encode` and
//! `decode` are called by `table`, which reads and writes the headers of the pool.
//!
//! | offset | type | meaning |
//! |---|---|---|
//! | 0 | 8 bytes | magic `NEARSLOT` |
//! | 8 | u32 | version, 1 |
//! | 12 | u32 | CRC-32C of the 4096 bytes, with zeros here |
//! | 16 | u64 | sequence: higher for every header written to the pool |
//! | 24 | u64 | length of the content of a blob, else 0 |
//! | 32 | u8 | 0 free, 1 blob, 2 append-only file, whose content ends with the slot's file |
//! | 33 | u8 | 0 |
//! | 34 | u16 | length of the name; 0 if free |
//! | 36 | bytes | name, then zeros |
//!
//! A copy of it fills the smallest piece that a disk may tear. Does not decide which of two copies counts.

use crate::error::{Error, ErrorKind, Result};
use crate::reader::ByteReader;
use crate::storage::name;

/// Bytes of one copy.
pub(super) const HEADER_BYTES: usize = 4096;
/// Where content begins, behind both copies.
pub(super) const CONTENT_AT: u64 = 2 * HEADER_BYTES as u64;

const MAGIC: &[u8; 8] = b"NEARSLOT";
const VERSION: u32 = 1;
const CRC_AT: usize = 12;

/// What a slot holds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Content {
    Free,
    Blob { name: String, len_bytes: u64 },
    Log { name: String },
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) sequence: u64,
    pub(super) content: Content,
}

/// What the bytes of one copy are.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Copy {
    /// Never written.
    Blank,
    /// Torn or rotten.
    Damaged,
    Whole(Header),
}

impl Header {
    pub(super) fn encode(&self) -> Vec<u8> {
        let (kind, name, len_bytes) = match &self.content {
            Content::Free => (0, "", 0),
            Content::Blob { name, len_bytes } => (1, name.as_str(), *len_bytes),
            Content::Log { name } => (2, name.as_str(), 0),
        };
        let mut bytes = Vec::with_capacity(HEADER_BYTES);
        bytes.extend_from_slice(MAGIC);
        bytes.extend_from_slice(&VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.sequence.to_le_bytes());
        bytes.extend_from_slice(&len_bytes.to_le_bytes());
        bytes.extend_from_slice(&[kind, 0]);
        let name_len = u16::try_from(name.len()).expect("checked names are short");
        bytes.extend_from_slice(&name_len.to_le_bytes());
        bytes.extend_from_slice(name.as_bytes());
        bytes.resize(HEADER_BYTES, 0);
        let crc = crc32c::crc32c(&bytes);
        bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Reads a copy in the slot called `slot` in messages.
    ///
    /// # Errors
    /// `Version` if a later build wrote it.
    pub(super) fn decode(bytes: &[u8], slot: &str) -> Result<Copy> {
        if bytes.iter().all(|&byte| byte == 0) {
            return Ok(Copy::Blank);
        }
        if bytes.len() != HEADER_BYTES || bytes[..8] != *MAGIC || !is_whole(bytes) {
            return Ok(Copy::Damaged);
        }
        let mut reader = ByteReader::new(slot, "slot header", &bytes[MAGIC.len()..]);
        let version = reader.u32()?;
        if version != VERSION {
            let message = format!("{slot}: slot header {version}; this build reads {VERSION}");
            return Err(Error::new(ErrorKind::Version, message)
                .with("file", slot)
                .with("got", version)
                .with("expected", VERSION));
        }
        let _crc = reader.u32()?;
        let sequence = reader.u64()?;
        Ok(content(&mut reader)?
            .map_or(Copy::Damaged, |content| Copy::Whole(Header { sequence, content })))
    }
}

fn is_whole(bytes: &[u8]) -> bool {
    let stored = [0, 1, 2, 3].map(|place| bytes[CRC_AT + place]);
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..CRC_AT]), &[0; 4]);
    crc32c::crc32c_append(crc, &bytes[CRC_AT + 4..]) == u32::from_le_bytes(stored)
}

/// What follows the sequence; `None` for a kind or name that no header has.
fn content(reader: &mut ByteReader<'_>) -> Result<Option<Content>> {
    let len_bytes = reader.u64()?;
    let [kind, _zero] = reader.array()?;
    let name_len = usize::from(reader.u16()?);
    let Ok(text) = reader.text(name_len) else { return Ok(None) };
    let named = || name::check(text).is_ok().then(|| text.to_owned());
    Ok(match kind {
        0 => Some(Content::Free),
        1 => named().map(|name| Content::Blob { name, len_bytes }),
        2 => named().map(|name| Content::Log { name }),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAME_AT: usize = 36;

    fn header() -> Header {
        let content = Content::Blob { name: "c/1/segments/0a.seg".to_owned(), len_bytes: 77 };
        Header { sequence: 9, content }
    }

    #[test]
    fn every_kind_reads_back() {
        let log = Content::Log { name: "x".repeat(255) };
        for content in [Content::Free, header().content, log] {
            let header = Header { sequence: u64::MAX, content };
            let copy = Header::decode(&header.encode(), "slot 0").expect("of this version");
            assert_eq!(copy, Copy::Whole(header));
        }
        assert_eq!(Header::decode(&[0; HEADER_BYTES], "slot 0").expect("blank"), Copy::Blank);
        assert_eq!(Header::decode(&[], "slot 0").expect("blank"), Copy::Blank);
    }

    #[test]
    fn any_changed_or_missing_byte_is_seen() {
        let bytes = header().encode();
        for at in 0..HEADER_BYTES {
            let mut changed = bytes.clone();
            changed[at] ^= 0x40;
            assert_eq!(Header::decode(&changed, "slot 0").expect("damaged"), Copy::Damaged, "{at}");
        }
        for len in [1, 8, 36, HEADER_BYTES - 1] {
            assert_eq!(Header::decode(&bytes[..len], "slot 0").expect("damaged"), Copy::Damaged);
        }
    }

    #[test]
    fn names_and_kinds_that_nobody_writes_are_damage_and_later_versions_are_told() {
        let forged = |change: fn(&mut Vec<u8>)| {
            let mut bytes = header().encode();
            change(&mut bytes);
            bytes[CRC_AT..CRC_AT + 4].fill(0);
            let crc = crc32c::crc32c(&bytes);
            bytes[CRC_AT..CRC_AT + 4].copy_from_slice(&crc.to_le_bytes());
            Header::decode(&bytes, "slot 3")
        };
        let damage: [fn(&mut Vec<u8>); 4] = [
            |bytes| bytes[32] = 3,
            |bytes| bytes[34..36].fill(255),
            |bytes| bytes[NAME_AT] = b'/',
            |bytes| bytes[NAME_AT] = 0xff,
        ];
        for change in damage {
            assert_eq!(forged(change).expect("of this version"), Copy::Damaged);
        }
        let error = forged(|bytes| bytes[8] = 2).expect_err("a later version");
        assert_eq!(error.kind(), ErrorKind::Version, "{error}");
    }
}
