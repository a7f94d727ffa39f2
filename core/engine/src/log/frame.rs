//! The bytes of the log: a 64-byte header per file (`FileHeader`), then frames (`FrameHeader`, body). Both types
//! encode and decode themselves; used by `file` and `timeline` (write), `files`, `walk` and `replay` (read).
//!
//! File header (little-endian; the CRC32C covers bytes 0..12 and 16..64):
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `NEARLOG\n` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC32C |
//! | 16 | 16 | collection id |
//! | 32 | 8 | first LSN of this file |
//! | 40 | 8 | LSN it continues after: the first LSN − 1, less on a new timeline |
//! | 48 | 4 | timeline, from 1 |
//! | 52 | 4 | link of the frame it continues after (0 if unknown) |
//! | 56 | 8 | epoch of the writer |
//!
//! Frame header (40 bytes), then the body, then zeros up to a multiple of 8:
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 4 | magic `NFRM` |
//! | 4 | 4 | CRC32C of bytes 8..40, started with the file header's CRC: the frame's **link** |
//! | 8 | 4 | length of the body |
//! | 12 | 4 | CRC32C of the body |
//! | 16 | 8 | LSN (of a mark: the last LSN before it) |
//! | 24 | 8 | durable LSN known when the frame was appended |
//! | 32 | 4 | link of the frame before it in the file; the file header's CRC for the first |
//! | 36 | 2 | kind |
//! | 38 | 2 | zero |
//!
//! Because the link depends on the file header (which holds random and earlier bits), bytes that look
//! like a frame inside a user's vector or metadata do not verify as one.
//!
//! Pure functions on bytes: nothing here reads a file or decides what damage means.

use crc32c::{crc32c, crc32c_append};
use nearfield_segment::{ByteReader, Error, ErrorKind, FileId, Lsn, Result};

/// Length of a file header.
pub(crate) const FILE_HEADER_BYTES: usize = 64;
/// Length of a frame header.
pub(crate) const FRAME_HEADER_BYTES: usize = 40;
/// Longest body of a frame: 1 GiB.
pub const BODY_BYTES_MAX: usize = 1 << 30;
/// Version of log files written and read.
pub const LOG_VERSION: u32 = 1;

const FILE_MAGIC: [u8; 8] = *b"NEARLOG\n";
/// First bytes of a frame; the search for frames behind damage looks for them.
pub(crate) const FRAME_MAGIC: [u8; 4] = *b"NFRM";
/// LSNs stay below this, so that the next one always exists.
const LSN_END: u64 = 1 << 62;
/// Timelines stay below this, for the same reason.
const TIMELINE_END: u32 = 1 << 31;

/// What a frame is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum FrameKind {
    /// One atomic batch; has an LSN of its own.
    Batch,
    /// Says what is durable; has no LSN of its own.
    DurableMark,
    /// First frame of a new timeline; has an LSN of its own.
    Timeline,
}

impl FrameKind {
    fn tag(self) -> u16 {
        match self {
            FrameKind::Batch => 1,
            FrameKind::DurableMark => 2,
            FrameKind::Timeline => 3,
        }
    }

    fn from_tag(tag: u16) -> Option<Self> {
        match tag {
            1 => Some(FrameKind::Batch),
            2 => Some(FrameKind::DurableMark),
            3 => Some(FrameKind::Timeline),
            _ => None,
        }
    }

    /// Whether the frame has an LSN of its own.
    pub(crate) fn takes_lsn(self) -> bool {
        match self {
            FrameKind::Batch | FrameKind::Timeline => true,
            FrameKind::DurableMark => false,
        }
    }
}

/// The header of a log file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FileHeader {
    pub(crate) collection: FileId,
    pub(crate) first: Lsn,
    pub(crate) continues: Lsn,
    pub(crate) timeline: u32,
    pub(crate) previous_link: u32,
    pub(crate) epoch: u64,
}

impl FileHeader {
    /// Whether LSNs are left out in front of this file: it begins a new timeline.
    pub(crate) fn leaves_gap(&self) -> bool {
        self.continues.next() < self.first
    }

    /// The bytes, and their CRC: the start of the chain of links in this file.
    pub(crate) fn encode(&self) -> ([u8; FILE_HEADER_BYTES], u32) {
        let mut bytes = [0; FILE_HEADER_BYTES];
        bytes[..8].copy_from_slice(&FILE_MAGIC);
        bytes[8..12].copy_from_slice(&LOG_VERSION.to_le_bytes());
        bytes[16..32].copy_from_slice(&self.collection.0.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[40..48].copy_from_slice(&self.continues.0.to_le_bytes());
        bytes[48..52].copy_from_slice(&self.timeline.to_le_bytes());
        bytes[52..56].copy_from_slice(&self.previous_link.to_le_bytes());
        bytes[56..64].copy_from_slice(&self.epoch.to_le_bytes());
        let crc = header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a header and its CRC.
    ///
    /// # Errors
    /// `Version` for a whole header of another version, else `Corrupt`; both name `file`.
    pub(crate) fn decode(bytes: &[u8], file: &str) -> Result<(FileHeader, u32)> {
        let corrupt = |found: String| Error::corrupt(file, "file header", found).with("offset", 0);
        if bytes.len() < FILE_HEADER_BYTES {
            return Err(corrupt(format!(
                "expected {FILE_HEADER_BYTES} bytes, got {}",
                bytes.len()
            )));
        }
        if bytes[..8] != FILE_MAGIC {
            return Err(corrupt("not a log file: wrong magic".to_owned()));
        }
        let bytes = &bytes[..FILE_HEADER_BYTES];
        let mut reader = ByteReader::new(file, "file header", &bytes[FILE_MAGIC.len()..]);
        let version = reader.u32()?;
        let (stored, crc) = (reader.u32()?, header_crc(bytes));
        if stored != crc {
            return Err(corrupt(format!("checksum {crc:08x}, expected {stored:08x}")));
        }
        if version != LOG_VERSION {
            return Err(Error::new(
                ErrorKind::Version,
                format!("{file}: log version {version}; this build reads {LOG_VERSION}"),
            )
            .with("expected", LOG_VERSION)
            .with("got", version)
            .with("file", file));
        }
        let header = FileHeader {
            collection: FileId(reader.u128()?),
            first: Lsn(reader.u64()?),
            continues: Lsn(reader.u64()?),
            timeline: reader.u32()?,
            previous_link: reader.u32()?,
            epoch: reader.u64()?,
        };
        if header.first.0 >= LSN_END || header.continues >= header.first {
            return Err(corrupt(format!(
                "first LSN {} after LSN {}",
                header.first, header.continues
            )));
        }
        if header.timeline == 0 || header.timeline >= TIMELINE_END {
            return Err(corrupt(format!("timeline {}", header.timeline)));
        }
        Ok((header, crc))
    }
}

/// The header of a frame, verified.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) kind: FrameKind,
    pub(crate) lsn: Lsn,
    pub(crate) durable: Lsn,
    pub(crate) previous_link: u32,
    pub(crate) body_len: u32,
    pub(crate) body_crc: u32,
}

impl FrameHeader {
    /// The header of a frame around `body`.
    pub(crate) fn around(
        body: &[u8],
        kind: FrameKind,
        lsn: Lsn,
        durable: Lsn,
        previous_link: u32,
    ) -> Self {
        assert!(body.len() <= BODY_BYTES_MAX, "the caller checked the length of the body");
        let body_len = body.len() as u32;
        FrameHeader { kind, lsn, durable, previous_link, body_len, body_crc: crc32c(body) }
    }

    /// The bytes, and the frame's link. `file_crc` is the CRC of the file's header.
    pub(crate) fn encode(&self, file_crc: u32) -> ([u8; FRAME_HEADER_BYTES], u32) {
        let mut bytes = [0; FRAME_HEADER_BYTES];
        bytes[..4].copy_from_slice(&FRAME_MAGIC);
        bytes[8..12].copy_from_slice(&self.body_len.to_le_bytes());
        bytes[12..16].copy_from_slice(&self.body_crc.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.lsn.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.durable.0.to_le_bytes());
        bytes[32..36].copy_from_slice(&self.previous_link.to_le_bytes());
        bytes[36..38].copy_from_slice(&self.kind.tag().to_le_bytes());
        let link = crc32c_append(file_crc, &bytes[8..]);
        bytes[4..8].copy_from_slice(&link.to_le_bytes());
        (bytes, link)
    }

    /// Reads a header and its link; `None` if the bytes are not a frame header of this file.
    pub(crate) fn decode(bytes: &[u8], file_crc: u32) -> Option<(FrameHeader, u32)> {
        let bytes = bytes.first_chunk::<FRAME_HEADER_BYTES>()?;
        if bytes[..4] != FRAME_MAGIC {
            return None;
        }
        let (header, stored) = FrameHeader::read(&bytes[4..]).ok()??;
        let link = crc32c_append(file_crc, &bytes[8..]);
        if stored != link {
            return None;
        }
        let sane = header.body_len as usize <= BODY_BYTES_MAX
            && header.lsn.0 < LSN_END
            && header.durable <= header.lsn;
        sane.then_some((header, link))
    }

    /// The values behind the magic, and the link among them; `None` for a kind or zeros that no frame has.
    fn read(bytes: &[u8]) -> Result<Option<(FrameHeader, u32)>> {
        let mut reader = ByteReader::new("frame", "header", bytes);
        let link = reader.u32()?;
        let (body_len, body_crc) = (reader.u32()?, reader.u32()?);
        let (lsn, durable) = (Lsn(reader.u64()?), Lsn(reader.u64()?));
        let previous_link = reader.u32()?;
        let (tag, zero) = (reader.u16()?, reader.u16()?);
        let kind = FrameKind::from_tag(tag).filter(|_| zero == 0);
        let header = |kind| FrameHeader { kind, lsn, durable, previous_link, body_len, body_crc };
        Ok(kind.map(|kind| (header(kind), link)))
    }

    /// Length of the whole frame with its padding.
    pub(crate) fn frame_bytes(&self) -> u64 {
        (FRAME_HEADER_BYTES + padded(self.body_len as usize)) as u64
    }

    /// Whether `padded_body` is the body this header was written for, followed by zeros.
    pub(crate) fn matches(&self, padded_body: &[u8]) -> bool {
        let body_len = self.body_len as usize;
        padded_body.len() == padded(body_len)
            && padded_body[body_len..].iter().all(|&byte| byte == 0)
            && crc32c(&padded_body[..body_len]) == self.body_crc
    }
}

/// `len` rounded up to a multiple of 8.
pub(crate) fn padded(len: usize) -> usize {
    len.next_multiple_of(8)
}

/// The body of a timeline frame: where the new timeline leaves the old one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TimelineBody {
    pub(crate) timeline: u32,
    pub(crate) branch: Lsn,
    pub(crate) time_ms: u64,
}

impl TimelineBody {
    /// 24 bytes: timeline u32, zero u32, branch LSN u64, time in ms u64.
    pub(crate) fn encode(&self) -> [u8; 24] {
        let mut bytes = [0; 24];
        bytes[..4].copy_from_slice(&self.timeline.to_le_bytes());
        bytes[8..16].copy_from_slice(&self.branch.0.to_le_bytes());
        bytes[16..].copy_from_slice(&self.time_ms.to_le_bytes());
        bytes
    }

    /// Reads what `encode` wrote.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        if bytes.len() != 24 {
            return None;
        }
        let mut reader = ByteReader::new("timeline", "body", bytes);
        let mut read = || {
            let (timeline, _zero) = (reader.u32()?, reader.u32()?);
            let (branch, time_ms) = (Lsn(reader.u64()?), reader.u64()?);
            Ok::<_, Error>(TimelineBody { timeline, branch, time_ms })
        };
        read().ok()
    }
}

fn header_crc(bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&bytes[..12]), &bytes[16..FILE_HEADER_BYTES])
}

#[cfg(test)]
mod tests {
    use super::*;

    fn header() -> FileHeader {
        FileHeader {
            collection: FileId(0x1234_5678_9abc_def0),
            first: Lsn(8),
            continues: Lsn(7),
            timeline: 1,
            previous_link: 99,
            epoch: 3,
        }
    }

    #[test]
    fn headers_round_trip_and_every_flipped_bit_is_seen() {
        let (bytes, crc) = header().encode();
        assert_eq!(FileHeader::decode(&bytes, "f").expect("whole"), (header(), crc));
        let frame = FrameHeader::around(b"abc", FrameKind::Batch, Lsn(8), Lsn(7), crc);
        let (frame_bytes, link) = frame.encode(crc);
        assert_eq!(FrameHeader::decode(&frame_bytes, crc), Some((frame, link)));
        for bit in 0..FILE_HEADER_BYTES * 8 {
            let mut damaged = bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(FileHeader::decode(&damaged, "f").is_err(), "file header bit {bit}");
        }
        for bit in 0..FRAME_HEADER_BYTES * 8 {
            let mut damaged = frame_bytes;
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(FrameHeader::decode(&damaged, crc), None, "frame header bit {bit}");
        }
    }

    #[test]
    fn a_frame_of_another_file_is_not_a_frame_of_this_one() {
        let (_, crc) = header().encode();
        let (_, other) = FileHeader { epoch: 4, ..header() }.encode();
        let (bytes, _) =
            FrameHeader::around(b"", FrameKind::DurableMark, Lsn(7), Lsn(7), crc).encode(crc);
        assert_eq!(FrameHeader::decode(&bytes, other), None);
    }

    #[test]
    fn a_newer_version_is_told_apart_from_damage() {
        let (mut bytes, _) = header().encode();
        bytes[8] = 2;
        let crc = header_crc(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let error = FileHeader::decode(&bytes, "f").expect_err("must be refused");
        assert_eq!(error.kind(), ErrorKind::Version);
    }
}
