//! Reads the log back: `replay` passes each frame after an LSN to a function and returns a `ReplayReport`, with a torn
//! tail (`Torn`) in it. Called by recovery (`Mode::Recover`), and for reading by `Follower`, rebuild and verify.
//!
//! After [`Mode::Recover`] everything delivered is durable, also what was only in the page cache of a
//! failed fsync: the tail is copied into a new file before the call returns, so that neither lost pages
//! nor the garbage behind a torn frame can ever come back. Each frame is checked again in the bytes that are
//! written, since the page cache may have dropped pages of that fsync after the frame was delivered.

use std::io::Write;

use nearfield_segment::storage::Storage;
use nearfield_segment::{Error, ErrorKind, Lsn, Result};

use super::files::{LogDirectory, SealedFile};
use super::frame::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, padded,
};
use super::scan::Scan;
use super::walk::Part;

/// End of the message of an error for bytes that were others a moment ago.
const CHANGED: &str = "changed while it was read";
/// Bytes copied at a time while the tail is rewritten.
const COPY_BYTES: u64 = 1 << 20;

/// The purpose of a replay.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The writer, alone: every whole batch, then the tail is repaired.
    Recover,
    /// Beside a writer: batches up to the LSN that the writer published as durable. An unfinished frame at
    /// the end is no error.
    ReadOnly,
    /// A moment of the past: batches up to this LSN, also from the archive. Nothing is repaired.
    Through(Lsn),
}

/// What was found and done.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ReplayReport {
    /// Newest LSN delivered, or the starting LSN if there was nothing after it.
    pub last: Lsn,
    /// Newest LSN known to be durable; after [`Mode::Recover`] equal to `last`.
    pub durable: Lsn,
    /// Batches delivered.
    pub batches: u64,
    /// Bytes of the bodies delivered.
    pub bytes: u64,
    /// The part that was cut off because a crash had left it unfinished: to be reported as a warning.
    pub torn: Option<Torn>,
    /// Timeline of the newest file, from 1.
    pub timeline: u32,
    /// Link of the newest frame, which the next file continues.
    pub(crate) link: u32,
    /// Length of the newest file, as it was found.
    pub(crate) newest_bytes: u64,
    /// Live files.
    pub(crate) sealed: Vec<SealedFile>,
}

/// An unfinished, never acknowledged end of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Torn {
    /// The file.
    pub file: String,
    /// Where it stopped being valid.
    pub offset: u64,
    /// How many bytes were behind that.
    pub bytes: u64,
}

/// Calls `apply` with every batch after `from` (an LSN that is durable elsewhere: a manifest's checkpoint LSN), in
/// order. Bodies start at a multiple of 8 bytes of their file.
///
/// Two passes: the log is validated before the first batch is delivered.
///
/// # Errors
/// `Corrupt` with `file` and `offset` if an acknowledged batch is damaged or missing; `NotFound` if a
/// file was archived meanwhile (open again from the newest manifest); `Version`; `Io`; or what `apply`
/// returned. Nothing is repaired then.
pub fn replay(
    place: &LogDirectory,
    from: Lsn,
    mode: Mode,
    apply: &mut dyn FnMut(Lsn, &[u8]) -> Result<()>,
) -> Result<ReplayReport> {
    let through = match mode {
        Mode::Recover | Mode::ReadOnly => Lsn(u64::MAX),
        Mode::Through(lsn) => lsn,
    };
    let scan = Scan::read(place, from, through)?;
    let deliver_through = match mode {
        Mode::Recover | Mode::Through(_) => scan.last,
        Mode::ReadOnly => scan.durable.min(scan.last),
    };
    let mut report = ReplayReport {
        last: deliver_through.max(from),
        durable: scan.durable,
        batches: 0,
        bytes: 0,
        torn: None,
        timeline: scan.timeline,
        link: scan.link,
        newest_bytes: scan.parts.last().map_or(0, |part| part.file.len()),
        sealed: scan.sealed.clone(),
    };
    for part in &scan.parts {
        deliver(part, from, deliver_through, &mut report, apply)?;
    }
    if mode == Mode::Recover {
        repair(place.storage(), scan, from, &mut report)?;
    }
    Ok(report)
}

fn deliver(
    part: &Part,
    from: Lsn,
    through: Lsn,
    report: &mut ReplayReport,
    apply: &mut dyn FnMut(Lsn, &[u8]) -> Result<()>,
) -> Result<()> {
    let changed = |offset| changed(part, offset);
    let mut offset = FILE_HEADER_BYTES as u64;
    while offset < part.end {
        let (frame, _) = part.file.frame(offset, part.crc)?.ok_or_else(|| changed(offset))?;
        if frame.kind == FrameKind::Batch && frame.lsn > from && frame.lsn <= through {
            let body = part.file.body(offset, &frame)?.ok_or_else(|| changed(offset))?;
            apply(frame.lsn, &body).map_err(|error| {
                error.context(format_args!("{} offset {offset}", part.file.path))
            })?;
            report.batches += 1;
            report.bytes += body.len() as u64;
        }
        offset += frame.frame_bytes();
    }
    Ok(())
}

/// Makes the newest file whole and durable, or removes it if nothing in it counts.
fn repair(storage: &dyn Storage, scan: Scan, from: Lsn, report: &mut ReplayReport) -> Result<()> {
    if let Some(file) = &scan.unborn {
        report.torn = Some(Torn { file: file.path.clone(), offset: 0, bytes: file.len() });
        storage.remove(&file.path)?;
        return Ok(());
    }
    let Some(part) = scan.parts.last() else { return Ok(()) };
    if let Some(offset) = scan.damage {
        let bytes = part.file.len() - offset;
        report.torn = Some(Torn { file: part.file.path.clone(), offset, bytes });
    }
    if part.last < part.header.first {
        return storage.remove(&part.file.path);
    }
    let mut bytes = part.file.len();
    if scan.damage.is_some() || scan.last > scan.durable {
        bytes = rewrite(storage, part, from)?;
        report.durable = scan.last;
    }
    if part.file.named.live {
        report.sealed.push(SealedFile { first: part.header.first, last: part.last, bytes });
    }
    Ok(())
}

/// The medium gave other bytes than a moment ago: those of a failed fsync that are lost now.
fn changed(part: &Part, offset: u64) -> Error {
    part.file.corrupt(offset, CHANGED)
}

/// Whether the log changed while it was read. Reading it again finds what is there now.
pub(crate) fn has_changed(error: &Error) -> bool {
    error.kind() == ErrorKind::Corrupt && error.message().ends_with(CHANGED)
}

/// Replaces a file by its valid part and a mark that says all of it is durable. Bodies at or below `from` are in
/// files already and are copied as they are.
fn rewrite(storage: &dyn Storage, part: &Part, from: Lsn) -> Result<u64> {
    let mark =
        FrameHeader::around(b"", FrameKind::DurableMark, part.last, part.last, part.end_link);
    storage.put(&part.file.path, &mut |out: &mut dyn Write| {
        let header = part.file.read(0..FILE_HEADER_BYTES as u64)?;
        let crc = FileHeader::decode(&header, &part.file.path).map(|(_, crc)| crc);
        if crc.is_err() || crc.is_ok_and(|crc| crc != part.crc) {
            return Err(changed(part, 0));
        }
        write(out, &header, &part.file.path)?;
        let (mut offset, mut link) = (FILE_HEADER_BYTES as u64, part.crc);
        while offset < part.end {
            let frame = copy_frame(part, offset, link, from, out)?;
            (offset, link) = (offset + frame.0, frame.1);
        }
        if link != part.end_link {
            return Err(changed(part, offset));
        }
        write(out, &mark.encode(part.crc).0, &part.file.path)
    })?;
    Ok(part.end + FRAME_HEADER_BYTES as u64)
}

/// Copies the frame at `offset`, which follows the one with `previous_link`, checking the very bytes that are
/// written. Returns its length and link.
fn copy_frame(
    part: &Part,
    offset: u64,
    previous_link: u32,
    from: Lsn,
    out: &mut dyn Write,
) -> Result<(u64, u32)> {
    let body = offset + FRAME_HEADER_BYTES as u64;
    let head = part.file.read(offset..body)?.to_vec();
    let (frame, link) =
        FrameHeader::decode(&head, part.crc).ok_or_else(|| changed(part, offset))?;
    if frame.previous_link != previous_link {
        return Err(changed(part, offset));
    }
    write(out, &head, &part.file.path)?;
    let (mut at, mut crc) = (body, crc32c::crc32c(b""));
    let (text_end, end) =
        (body + u64::from(frame.body_len), body + padded(frame.body_len as usize) as u64);
    while at < end {
        let piece_end = end.min(at + COPY_BYTES);
        let piece = part.file.read(at..piece_end)?.to_vec();
        let text = text_end.min(piece_end).saturating_sub(at) as usize;
        crc = crc32c::crc32c_append(crc, &piece[..text]);
        write(out, &piece, &part.file.path)?;
        at = piece_end;
    }
    if frame.lsn > from && crc != frame.body_crc {
        return Err(changed(part, offset));
    }
    Ok((frame.frame_bytes(), link))
}

fn write(out: &mut dyn Write, bytes: &[u8], name: &str) -> Result<()> {
    out.write_all(bytes).map_err(|source| Error::io("write", name, source))
}
