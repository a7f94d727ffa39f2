//! Reading the log back: recovery by the writer, and reading by other processes.
//!
//! After [`Mode::Recover`] everything delivered is durable, also what was only in the page cache of a
//! failed fsync: the tail is copied into a new file before the call returns, so that neither lost pages
//! nor the garbage behind a torn frame can ever come back.

use std::io::Write;

use nearfield_segment::storage::Storage;
use nearfield_segment::{Error, Lsn, Result};

use super::files::{LogDirectory, SealedFile};
use super::frame::{FRAME_HEADER_BYTES, FrameHeader, FrameKind};
use super::scan::Scan;
use super::walk::Part;

/// Bytes copied at a time while the tail is rewritten.
const COPY_BYTES: u64 = 1 << 20;

/// Who is reading.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The writer, alone: every whole batch, then the tail is repaired.
    Recover,
    /// Beside a writer: batches up to the LSN he published as durable. An unfinished frame at the end is
    /// no error.
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

/// Calls `apply` with every batch after `from` (an LSN that is durable elsewhere: a manifest's cut), in
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
        repair(place.storage(), scan, &mut report)?;
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
    let changed = |offset| part.file.corrupt(offset, "changed while it was read");
    let mut offset = super::frame::FILE_HEADER_BYTES as u64;
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
fn repair(storage: &dyn Storage, scan: Scan, report: &mut ReplayReport) -> Result<()> {
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
        bytes = rewrite(storage, part)?;
        report.durable = scan.last;
    }
    if part.file.named.live {
        report.sealed.push(SealedFile { first: part.header.first, last: part.last, bytes });
    }
    Ok(())
}

/// Replaces a file by its valid part and a mark that says all of it is durable.
fn rewrite(storage: &dyn Storage, part: &Part) -> Result<u64> {
    let mark =
        FrameHeader::around(b"", FrameKind::DurableMark, part.last, part.last, part.end_link);
    storage.put(&part.file.path, &mut |out: &mut dyn Write| {
        let mut offset = 0;
        while offset < part.end {
            let end = part.end.min(offset + COPY_BYTES);
            let bytes = part.file.read(offset..end)?;
            write(out, &bytes, &part.file.path)?;
            offset = end;
        }
        write(out, &mark.encode(part.crc).0, &part.file.path)
    })?;
    Ok(part.end + FRAME_HEADER_BYTES as u64)
}

fn write(out: &mut dyn Write, bytes: &[u8], name: &str) -> Result<()> {
    out.write_all(bytes).map_err(|source| Error::io("write", name, source))
}
