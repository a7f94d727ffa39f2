//! `Member`: one array in a `.npz` archive, where it lies, and its bytes, decompressed and checked. Used by `npz`.
//!
//! Only the list of the archive is read by the zip crate. A member may not be larger than Deflate could
//! have made it, has to end where its entry says, and to have the checksum of its entry.

use std::fs::File;
use std::io::{self, BufReader, Read, Seek, SeekFrom, Take};
use std::path::Path;

use flate2::Crc;
use flate2::read::DeflateDecoder;
use nearfield_engine::{Error, Fault, Result};
use zip::{CompressionMethod, ZipArchive};

use super::super::input::open_plain;

/// Deflate writes at least one bit for 258 bytes, so at most 1,032 bytes for one.
const EXPANSION_MAX: u64 = 1_032;
/// Members looked at; NumPy's files have a few.
const MEMBERS_MAX: usize = 10_000;
const BUFFER_BYTES: usize = 1 << 16;

/// Bytes of a member, from its first.
pub(super) type Source = BufReader<Checked>;

/// One array.
#[derive(Debug, Clone)]
pub(super) struct Member {
    /// Name without `.npy`.
    pub(super) name: String,
    /// Bytes, decompressed.
    pub(super) len: u64,
    start: u64,
    stored_len: u64,
    crc: u32,
    deflated: bool,
}

/// The arrays of a file.
///
/// # Errors
/// `Corrupt` for an archive that cannot be, `InvalidInput(Parameter)` for a compression not known here.
pub(super) fn list(path: &Path) -> Result<Vec<Member>> {
    let (file_name, file) = (path.display().to_string(), open_plain(path)?);
    let corrupt = |found: String| Error::corrupt(&file_name, "zip archive", found);
    let archive = ZipArchive::new(BufReader::new(file));
    let mut archive = archive.map_err(|error| corrupt(error.to_string()))?;
    if archive.len() > MEMBERS_MAX {
        return Err(corrupt(format!("{} members, at most {MEMBERS_MAX}", archive.len())));
    }
    let mut members = Vec::with_capacity(archive.len());
    for index in 0..archive.len() {
        let entry = archive.by_index_raw(index).map_err(|error| corrupt(error.to_string()))?;
        let name = entry.name().map_err(|error| corrupt(error.to_string()))?;
        let Some(name) = name.strip_suffix(".npy").map(str::to_owned) else { continue };
        let how = entry.compression();
        if entry.encrypted()
            || !matches!(how, CompressionMethod::Stored | CompressionMethod::Deflated)
        {
            let message = format!("{file_name}: {name:?}: expected Deflate or none, got {how:?}");
            return Err(Error::invalid(Fault::Parameter, message).with("got", how.to_string()));
        }
        let (len, stored_len) = (entry.size(), entry.compressed_size());
        if len > stored_len.saturating_mul(EXPANSION_MAX) {
            return Err(corrupt(format!("{name:?}: {len} bytes cannot come from {stored_len}")));
        }
        let start = entry.data_start().ok_or_else(|| corrupt(format!("{name:?}: no data")))?;
        let deflated = how == CompressionMethod::Deflated;
        members.push(Member { name, len, start, stored_len, crc: entry.crc32(), deflated });
    }
    Ok(members)
}

impl Member {
    /// Opens the member. Each has a file handle of its own, so that several are read side by side.
    ///
    /// # Errors
    /// `Io`.
    pub(super) fn open(&self, path: &Path) -> Result<Source> {
        let mut file = open_plain(path)?;
        let sought = file.seek(SeekFrom::Start(self.start));
        sought.map_err(|error| Error::io("read", &path.display().to_string(), error))?;
        let stored = file.take(self.stored_len);
        let bytes = match self.deflated {
            true => Bytes::Deflated(Box::new(DeflateDecoder::new(stored))),
            false => Bytes::Stored(stored),
        };
        let checked = Checked { bytes, left: self.len, crc: Crc::new(), expected: self.crc };
        Ok(BufReader::with_capacity(BUFFER_BYTES, checked))
    }
}

/// The bytes of a member; the last one is given only if all have the checksum.
#[derive(Debug)]
pub(super) struct Checked {
    bytes: Bytes,
    left: u64,
    crc: Crc,
    expected: u32,
}

#[derive(Debug)]
enum Bytes {
    Stored(Take<File>),
    Deflated(Box<DeflateDecoder<Take<File>>>),
}

impl Read for Checked {
    fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
        let len = out.len().min(usize::try_from(self.left).unwrap_or(usize::MAX));
        let out = &mut out[..len];
        let read = match &mut self.bytes {
            Bytes::Stored(bytes) => bytes.read(out)?,
            Bytes::Deflated(bytes) => bytes.read(out)?,
        };
        self.crc.update(&out[..read]);
        self.left -= read as u64;
        if self.left == 0 && read > 0 && self.crc.sum() != self.expected {
            let (found, expected) = (self.crc.sum(), self.expected);
            let message = format!("checksum {found:08x}, expected {expected:08x}");
            return Err(io::Error::new(io::ErrorKind::InvalidData, message));
        }
        Ok(read)
    }
}
