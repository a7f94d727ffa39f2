//! Reading bytes that may be anything from front to back: every read is checked, nothing is allocated on
//! the word of a length.
//!
//! Knows numbers, texts, ids and the sections of a batch; what they mean is the caller's.

use nearfield_segment::{Error, ErrorKind, PointId, Result};

use super::encode::{FLAG_OPTIONAL, SECTION_BYTES};
use crate::manifest::NextId;

/// A part of a batch with its own start.
pub(super) struct Section<'a> {
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) at: usize,
    pub(super) content: &'a [u8],
}

/// Bytes read from the front; every read is checked.
pub(crate) struct Input<'a> {
    /// What the bytes are called in messages.
    name: &'a str,
    pub(super) bytes: &'a [u8],
    pub(crate) at: usize,
}

impl<'a> Input<'a> {
    /// The start of `bytes`, which are called `name` in messages.
    pub(crate) fn new(name: &'a str, bytes: &'a [u8]) -> Self {
        Input { name, bytes, at: 0 }
    }

    pub(crate) fn take(&mut self, len: usize) -> Result<&'a [u8]> {
        let left = &self.bytes[self.at..];
        let taken = left.get(..len).ok_or_else(|| {
            self.corrupt(self.at, format!("expected {len} more bytes, found {}", left.len()))
        })?;
        self.at += len;
        Ok(taken)
    }

    pub(crate) fn array<const N: usize>(&mut self) -> Result<[u8; N]> {
        Ok(self.take(N)?.try_into().expect("N bytes were taken"))
    }

    pub(crate) fn u16(&mut self) -> Result<u16> {
        Ok(u16::from_le_bytes(self.array()?))
    }

    pub(crate) fn u32(&mut self) -> Result<u32> {
        Ok(u32::from_le_bytes(self.array()?))
    }

    pub(crate) fn u64(&mut self) -> Result<u64> {
        Ok(u64::from_le_bytes(self.array()?))
    }

    pub(crate) fn text(&mut self, len: usize) -> Result<&'a str> {
        let at = self.at;
        let bytes = self.take(len)?;
        std::str::from_utf8(bytes).map_err(|error| self.corrupt(at, error))
    }

    /// Zeros up to a multiple of 8.
    pub(super) fn pad(&mut self) -> Result<()> {
        let at = self.at;
        let zeros = self.take(at.next_multiple_of(8) - at)?;
        if zeros.iter().all(|&byte| byte == 0) {
            return Ok(());
        }
        Err(self.corrupt(at, "padding is not zero"))
    }

    pub(super) fn section(&mut self) -> Result<Section<'a>> {
        let start = self.at;
        let (kind, flags, zero, len) = (self.u16()?, self.u16()?, self.u32()?, self.u64()?);
        if zero != 0 || flags & !FLAG_OPTIONAL != 0 {
            return Err(self.newer("section flags", flags));
        }
        let at = self.at;
        debug_assert_eq!(at, start + SECTION_BYTES);
        let len = usize::try_from(len).map_err(|_| self.corrupt(start, "section too long"))?;
        let content = self.take(len)?;
        self.pad()?;
        Ok(Section { kind, flags, at, content })
    }

    pub(super) fn next_id(&mut self) -> Result<NextId> {
        let at = self.at;
        match (self.u64()?, self.u64()?) {
            (next, 0) => Ok(NextId::starting_at(next)),
            (0, 1) => Ok(NextId::EXHAUSTED),
            (next, exhausted) => {
                Err(self.corrupt(at, format!("next id {next}, exhausted {exhausted}")))
            }
        }
    }

    pub(super) fn ids(&mut self) -> Result<Vec<PointId>> {
        let at = self.at;
        let count = self.u64()?;
        // The shortest id takes 4 bytes: kind, length and one byte of text.
        let left = (self.bytes.len() - self.at) as u64;
        if count > left / 4 {
            return Err(self.corrupt(at, format!("{count} ids cannot fit in {left} bytes")));
        }
        (0..count).map(|_| self.id()).collect()
    }

    pub(crate) fn id(&mut self) -> Result<PointId> {
        let at = self.at;
        let [tag] = self.array()?;
        match tag {
            0 => self.u64().map(PointId::U64),
            1 => Ok(PointId::Uuid(u128::from_le_bytes(self.array()?))),
            2 => {
                let len = self.u16()?;
                Ok(PointId::Str(self.text(usize::from(len))?.into()))
            }
            unknown => Err(self.corrupt(at, format!("unknown kind of id {unknown}"))),
        }
    }

    pub(crate) fn corrupt(&self, at: usize, found: impl std::fmt::Display) -> Error {
        corrupt(self.name, at, found)
    }

    fn newer(&self, what: &str, found: u16) -> Error {
        newer(self.name, what, found)
    }
}

/// Bytes of `name` that are not what was written.
pub(super) fn corrupt(name: &str, at: usize, found: impl std::fmt::Display) -> Error {
    Error::corrupt(name, format_args!("byte {at}"), found)
}

/// Bytes of `name` that a newer version wrote.
pub(super) fn newer(name: &str, what: &str, found: u16) -> Error {
    Error::new(
        ErrorKind::Version,
        format!("{name}: {what} {found} is not known to this version of Nearfield"),
    )
}
