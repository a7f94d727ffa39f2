//! `DeleteList`: the file with the deleted rows of one segment, each with the LSN of its deletion. Immutable.
//! Encoded by `Writer::finish`; decoded when a segment or an export is opened.
//!
//! A view at LSN L still sees a row whose delete LSN is above L. Lists of one segment never share a row.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `NEARDEL\n` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC32C of bytes 0..12 and 16..end |
//! | 16 | 16 | segment id |
//! | 32 | 8 | cut: no delete is newer |
//! | 40 | 4 | rows of the segment |
//! | 44 | 4 | count |
//! | 48 | 16 | zero |
//! | 64 | 4 × count | rows, growing; then zeros up to a multiple of 64 |
//! | … | 8 × count | delete LSN of each |

use crc32c::{crc32c, crc32c_append};
use nearfield_segment::{ByteReader, Error, ErrorKind, FileId, Lsn, Result, RowId};

/// Version of delete lists.
pub const DELETES_VERSION: u32 = 1;

const MAGIC: [u8; 8] = *b"NEARDEL\n";
const HEADER_BYTES: usize = 64;

/// Deleted rows of one segment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DeleteList {
    /// The segment.
    pub segment: FileId,
    /// Its rows.
    pub segment_rows: u32,
    /// No delete is newer than this.
    pub checkpoint_lsn: Lsn,
    /// Rows, growing, with the LSN of their delete: 1 to `checkpoint_lsn`.
    pub entries: Vec<(RowId, Lsn)>,
}

/// Name of the list of `segment` at `checkpoint_lsn`, relative to the collection's directory.
pub fn delete_list_name(segment: FileId, checkpoint_lsn: Lsn) -> String {
    format!("segments/{segment}-{:020}.del", checkpoint_lsn.0)
}

impl DeleteList {
    /// The bytes of the file, and the checksum in its header.
    ///
    /// # Panics
    /// If the entries break what is documented about them.
    pub fn encode(&self) -> (Vec<u8>, u32) {
        if let Err(problem) = self.check() {
            panic!("a delete list must not be written in this state: {problem}");
        }
        let count = self.entries.len();
        let mut bytes = Vec::with_capacity(file_bytes(count as u64) as usize);
        bytes.extend_from_slice(&MAGIC);
        bytes.extend_from_slice(&DELETES_VERSION.to_le_bytes());
        bytes.extend_from_slice(&[0; 4]);
        bytes.extend_from_slice(&self.segment.0.to_le_bytes());
        bytes.extend_from_slice(&self.checkpoint_lsn.0.to_le_bytes());
        bytes.extend_from_slice(&self.segment_rows.to_le_bytes());
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
        bytes.resize(HEADER_BYTES, 0);
        bytes.extend(self.entries.iter().flat_map(|(row, _)| row.0.to_le_bytes()));
        bytes.resize(bytes.len().next_multiple_of(64), 0);
        bytes.extend(self.entries.iter().flat_map(|(_, lsn)| lsn.0.to_le_bytes()));
        let crc = checksum(&bytes);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        (bytes, crc)
    }

    /// Reads a file that may be anything. `name` is for messages. O(bytes).
    ///
    /// # Errors
    /// `Corrupt` or `Version`.
    pub fn decode(bytes: &[u8], name: &str) -> Result<(Self, u32)> {
        let corrupt = |place: &str, found: String| Error::corrupt(name, place, found);
        if bytes.len() < HEADER_BYTES || bytes[..8] != MAGIC {
            return Err(corrupt("header", "not a delete list".to_owned()));
        }
        let mut header = ByteReader::new(name, "header", &bytes[MAGIC.len()..]);
        let version = header.u32()?;
        let (stored, crc) = (header.u32()?, checksum(bytes));
        if stored != crc {
            return Err(corrupt("checksum", format!("expected {stored:08x}, found {crc:08x}")));
        }
        if version != DELETES_VERSION {
            let message = format!("{name}: version {version}; this build reads {DELETES_VERSION}");
            return Err(Error::new(ErrorKind::Version, message).with("file", name));
        }
        let segment = FileId(header.u128()?);
        let checkpoint_lsn = Lsn(header.u64()?);
        let segment_rows = header.u32()?;
        let count = header.u32()?;
        if bytes.len() as u64 != file_bytes(u64::from(count)) {
            return Err(corrupt("length", format!("{} bytes for {count} rows", bytes.len())));
        }
        let rows = bytes[HEADER_BYTES..].as_chunks().0.iter().copied().map(u32::from_le_bytes);
        let lsns = bytes[bytes.len() - 8 * count as usize..].as_chunks().0;
        let lsns = lsns.iter().copied().map(u64::from_le_bytes);
        let entries = rows.map(RowId).zip(lsns.map(Lsn)).collect();
        let list = DeleteList { segment, segment_rows, checkpoint_lsn, entries };
        list.check().map_err(|problem| corrupt("content", problem))?;
        Ok((list, crc))
    }

    fn check(&self) -> std::result::Result<(), String> {
        if !self.entries.is_sorted_by(|a, b| a.0 < b.0) {
            return Err("rows do not grow".to_owned());
        }
        if let Some((row, _)) = self.entries.last()
            && row.0 >= self.segment_rows
        {
            return Err(format!("row {} of a segment of {}", row.0, self.segment_rows));
        }
        match self.entries.iter().find(|(_, lsn)| lsn.0 == 0 || *lsn > self.checkpoint_lsn) {
            Some((row, lsn)) => Err(format!(
                "row {} deleted at LSN {lsn}, the cut is {}",
                row.0, self.checkpoint_lsn
            )),
            None => Ok(()),
        }
    }
}

fn checksum(bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&bytes[..12]), &bytes[16..])
}

fn file_bytes(count: u64) -> u64 {
    (HEADER_BYTES as u64 + 4 * count).next_multiple_of(64) + 8 * count
}
