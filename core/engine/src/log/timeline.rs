//! `start_timeline`: goes on from an earlier LSN; the log after it is left behind, not erased. Called for
//! replay and restore (`succession`).
//!
//! One atomic file makes the change: its header continues after the branch LSN, and its only frame, a
//! timeline record, takes the LSN above everything ever written, so that no LSN is used twice. Frames between
//! the two no longer count (see `scan`); a crash before their files are moved aside changes nothing.

use nearfield_segment::{Error, Fault, Lsn, Result};

use super::files::LogDirectory;
use super::frame::{FileHeader, FrameHeader, FrameKind, TimelineBody, padded};
use super::replay::ReplayReport;
use super::scan::Scan;

/// Makes `branch` the newest LSN that counts and returns the LSN of the timeline record. Recover again
/// afterwards. `recovered` is the report of a recovery of the whole log.
///
/// # Errors
/// `InvalidInput(Parameter)` if `branch` lies above the log, `Corrupt` if the log up to `branch` is
/// damaged, or those of the storage.
pub fn start_timeline(
    place: &LogDirectory,
    recovered: &ReplayReport,
    branch: Lsn,
    epoch: u64,
    time_ms: u64,
) -> Result<Lsn> {
    if branch > recovered.last {
        return Err(Error::invalid(
            Fault::Parameter,
            format!("LSN: expected at most {}, the newest, got {branch}", recovered.last),
        )
        .with("expected", recovered.last.0)
        .with("got", branch.0));
    }
    let first = recovered.last.next();
    let timeline = recovered.timeline + 1;
    let header = FileHeader {
        collection: place.collection(),
        first,
        continues: branch,
        timeline,
        previous_link: Scan::read(place, branch, branch)?.link,
        epoch,
    };
    let body = TimelineBody { timeline, branch, time_ms }.encode();
    let (header_bytes, crc) = header.encode();
    let mut bytes = header_bytes.to_vec();
    let frame = FrameHeader::around(&body, FrameKind::Timeline, first, branch, crc);
    bytes.extend_from_slice(&frame.encode(crc).0);
    bytes.extend_from_slice(&body);
    bytes.resize(bytes.len() + padded(body.len()) - body.len(), 0);
    place.storage().put_new(&place.live_name(first), &bytes)?;
    // Live files that hold only LSNs between the two are archived.
    for file in place.list()? {
        if file.live && file.first > branch && file.first < first {
            place.archive(file.first)?;
        }
    }
    Ok(first)
}
