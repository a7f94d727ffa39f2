//! Reads the frames of one log file one after another (`walk_file`), and searches for evidence of durable frames
//! behind damage (`search_behind`). Called by `scan`.
//!
//! Says where a file stops being valid and what its frames prove; what that means is `scan`'s. Every frame
//! advances the walk by at least its header, so the work is bounded by the length of the file.

use nearfield_segment::{Lsn, Result};

use super::files::OpenFile;
use super::frame::{FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FRAME_MAGIC};
use super::frame::{FileHeader, FrameHeader, FrameKind, TimelineBody};

/// Bytes read at a time while searching behind damage; a multiple of 8.
const SEARCH_WINDOW_BYTES: u64 = 1 << 20;

/// A file and the end of what is valid in it.
#[derive(Debug)]
pub(crate) struct Part {
    pub(crate) file: OpenFile,
    pub(crate) header: FileHeader,
    pub(crate) crc: u32,
    pub(crate) end: u64,
    /// Link of the last valid frame of any kind.
    pub(crate) end_link: u32,
    pub(crate) last: Lsn,
}

/// The state of a walk through the frames.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Walk {
    pub(crate) last: Lsn,
    pub(crate) link: u32,
    pub(crate) durable: Lsn,
    pub(crate) end: u64,
    pub(crate) end_link: u32,
    /// An invalid byte stopped the walk, not the end of the file or of its share.
    pub(crate) damaged: bool,
}

/// Validates frames up to `limit`. Bodies at or below `from` are not needed and not read.
pub(crate) fn walk_file(part: &Part, limit: Lsn, from: Lsn) -> Result<Walk> {
    let header = &part.header;
    let mut walk = Walk {
        last: header.continues,
        link: header.previous_link,
        // A file that leaves LSNs out was put there whole with its timeline record.
        durable: if header.leaves_gap() { header.first } else { header.continues },
        end: FILE_HEADER_BYTES as u64,
        end_link: part.crc,
        damaged: false,
    };
    while walk.end < part.file.len() {
        let Some((frame, link)) = part.file.frame(walk.end, part.crc)? else {
            walk.damaged = true;
            break;
        };
        if frame.kind.takes_lsn() && walk.last >= limit {
            break;
        }
        check_place(part, &walk, &frame)?;
        let needed = frame.lsn > from;
        let whole = walk.end + frame.frame_bytes() <= part.file.len();
        if !whole || (needed && part.file.body(walk.end, &frame)?.is_none()) {
            walk.damaged = true;
            break;
        }
        if frame.kind.takes_lsn() {
            (walk.last, walk.link) = (frame.lsn, link);
        }
        walk.durable = walk.durable.max(frame.durable);
        walk.end += frame.frame_bytes();
        walk.end_link = link;
    }
    Ok(walk)
}

/// A frame whose checksum is right but which does not belong here was not written by a crash.
fn check_place(part: &Part, walk: &Walk, frame: &FrameHeader) -> Result<()> {
    let header = &part.header;
    let first = walk.last == header.continues;
    let expected = match frame.kind {
        FrameKind::DurableMark => walk.last,
        FrameKind::Batch | FrameKind::Timeline if first => header.first,
        FrameKind::Batch | FrameKind::Timeline => walk.last.next(),
    };
    let gap = frame.kind == FrameKind::Batch && frame.lsn.0 > walk.last.0 + 1;
    let late =
        frame.kind == FrameKind::Timeline && !(first && walk.end == FILE_HEADER_BYTES as u64);
    if frame.lsn != expected || frame.previous_link != walk.end_link || gap || late {
        return Err(part.file.corrupt(
            walk.end,
            format!(
                "expected LSN {expected} linked to {:08x}, found {:?} with LSN {} linked to {:08x}",
                walk.end_link, frame.kind, frame.lsn, frame.previous_link
            ),
        ));
    }
    if frame.kind == FrameKind::Timeline {
        let body = part.file.body(walk.end, frame)?;
        let says = body.as_deref().and_then(TimelineBody::decode);
        if says.is_some_and(|b| b.timeline != header.timeline || b.branch != header.continues) {
            return Err(part.file.corrupt(walk.end, "the timeline record contradicts the header"));
        }
    }
    Ok(())
}

/// The highest durable LSN named by a frame header at or behind `start`, and its offset. A header is
/// enough: its checksum shows that the writer wrote it. One pass, O(bytes).
pub(crate) fn search_behind(part: &Part, start: u64) -> Result<(Lsn, u64)> {
    let mut found = (Lsn(0), start);
    let mut window = start;
    while window + FRAME_HEADER_BYTES as u64 <= part.file.len() {
        let overlap = FRAME_HEADER_BYTES as u64;
        let end = part.file.len().min(window + SEARCH_WINDOW_BYTES + overlap);
        let bytes = part.file.read(window..end)?;
        for at in (0..bytes.len().min(SEARCH_WINDOW_BYTES as usize)).step_by(8) {
            if !bytes[at..].starts_with(&FRAME_MAGIC) {
                continue;
            }
            if let Some((frame, _)) = FrameHeader::decode(&bytes[at..], part.crc)
                && frame.durable > found.0
            {
                found = (frame.durable, window + at as u64);
            }
        }
        window += SEARCH_WINDOW_BYTES;
    }
    Ok(found)
}
