//! `RangeBlob`: a blob whose bytes are downloaded range by range. Made by `wasm`'s file of ranges; read by segments
//! that are opened on demand.
//!
//! The core does not wait. A read of a range that is not resident notes it as wanted and fails with
//! `NotResident`; the caller takes the list ([`RangeBlob::take_wanted`]), fetches the ranges, supplies them,
//! and makes the same call again.
//!
//! Invariant: pieces do not overlap, so a byte is kept once, and no piece is longer than [`PIECE_BYTES`] or has
//! room that it does not use: memory is what was supplied, and none has to be found in one stretch or moved when
//! more comes. Not here: what is fetched (`Export` plans it), and whether the bytes are right (checksums of
//! the format decide; bytes that fail are taken out with [`RangeBlob::forget`]).

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{AlignedBuffer, Blob, Bytes};
use crate::error::{Error, ErrorKind, Fault, Result};

/// Most bytes of a piece.
pub const PIECE_BYTES: u64 = 256 * 1024;

/// A blob of known length, some of whose bytes are here.
#[derive(Debug)]
pub struct RangeBlob {
    name: String,
    len: u64,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// First byte of each piece to its bytes.
    pieces: BTreeMap<u64, Box<[u8]>>,
    /// Times bytes were taken out.
    changes: u64,
    /// Ranges asked for and not here, sorted, apart from each other.
    wanted: Vec<Range<u64>>,
}

impl RangeBlob {
    /// A blob of `len` bytes, called `name` in errors, none of which are here.
    pub fn new(name: impl Into<String>, len: u64) -> Self {
        RangeBlob { name: name.into(), len, state: Mutex::default() }
    }

    /// Copies `bytes` in at `offset`. What is here already stays as it is: pieces may overlap.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` if they do not lie within the blob; nothing is kept then. `StorageFull` if there is
    /// no memory; some may be kept then.
    pub fn supply(&self, offset: u64, bytes: &[u8]) -> Result<()> {
        let end = offset.checked_add(bytes.len() as u64).filter(|&end| end <= self.len);
        let Some(end) = end else {
            let message = format!(
                "{}: {} bytes at {offset} of a file of {} bytes",
                self.name,
                bytes.len(),
                self.len
            );
            return Err(Error::invalid(Fault::Parameter, message).with("offset", offset));
        };
        let mut state = self.state();
        for gap in state.missing(offset..end) {
            for start in gap.clone().step_by(PIECE_BYTES as usize) {
                let end = (start + PIECE_BYTES).min(gap.end);
                let piece = copied(&bytes[(start - offset) as usize..(end - offset) as usize]);
                let piece = piece.ok_or_else(|| no_memory(&self.name, end - start))?;
                state.pieces.insert(start, piece);
            }
        }
        Ok(())
    }

    /// What is here: sorted, disjoint, not adjacent.
    pub fn held(&self) -> Vec<Range<u64>> {
        let mut held: Vec<Range<u64>> = Vec::new();
        for (start, end) in self.state().pieces.iter().map(bounds) {
            match held.last_mut() {
                Some(last) if last.end == start => last.end = end,
                _ => held.push(start..end),
            }
        }
        held
    }

    /// Bytes that are here.
    pub fn resident_bytes(&self) -> u64 {
        self.state().pieces.values().map(|piece| piece.len() as u64).sum()
    }

    /// What reads asked for since the last call and is still not here: sorted, disjoint, not adjacent.
    pub fn take_wanted(&self) -> Vec<Range<u64>> {
        let mut state = self.state();
        let wanted = std::mem::take(&mut state.wanted);
        let mut missing = Vec::new();
        wanted.into_iter().for_each(|range| missing.extend(state.missing(range)));
        missing
    }

    /// Takes the bytes of `range` out, so that they are fetched again; of a piece it cuts also the rest, if there is
    /// no memory to keep that.
    pub fn forget(&self, range: Range<u64>) {
        let mut state = self.state();
        state.changes += 1;
        for (start, end) in state.touching(&range) {
            let piece = state.pieces.remove(&start).expect("it was just listed");
            let before = start..range.start.max(start);
            let after = range.end.min(end)..end;
            for kept in [before, after].into_iter().filter(|kept| !kept.is_empty()) {
                let rest = &piece[(kept.start - start) as usize..(kept.end - start) as usize];
                state.pieces.extend(copied(rest).map(|rest| (kept.start, rest)));
            }
        }
    }

    /// A panic elsewhere leaves whole pieces behind: every change below is one of the map.
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Bounds of the pieces that share a byte with `range`.
    fn touching(&self, range: &Range<u64>) -> Vec<(u64, u64)> {
        if range.is_empty() {
            return Vec::new();
        }
        let before = self.pieces.range(..range.start).next_back();
        let pieces = before.into_iter().chain(self.pieces.range(range.clone())).map(bounds);
        pieces.filter(|&(_, end)| end > range.start).collect()
    }

    fn missing(&self, range: Range<u64>) -> Vec<Range<u64>> {
        let (mut at, mut gaps) = (range.start, Vec::new());
        for (start, end) in self.touching(&range) {
            if start > at {
                gaps.push(at..start);
            }
            at = end;
        }
        if at < range.end {
            gaps.push(at..range.end);
        }
        gaps
    }

    /// Notes a wanted range, joined with those it touches.
    fn want(&mut self, range: Range<u64>) {
        let touches = |other: &Range<u64>| other.start <= range.end && range.start <= other.end;
        let (joined, mut rest): (Vec<_>, Vec<_>) =
            std::mem::take(&mut self.wanted).into_iter().partition(touches);
        let start = joined.iter().map(|other| other.start).fold(range.start, u64::min);
        let end = joined.iter().map(|other| other.end).fold(range.end, u64::max);
        let place = rest.partition_point(|other| other.start < start);
        rest.insert(place, start..end);
        self.wanted = rest;
    }
}

impl Blob for RangeBlob {
    fn len(&self) -> u64 {
        self.len
    }

    /// Copies: a range may lie in several pieces, and they may be taken out while the bytes are in use.
    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.len {
            let found = format!("range {}..{} of {} bytes", range.start, range.end, self.len);
            return Err(Error::corrupt(&self.name, "read", found).with("offset", range.start));
        }
        let mut state = self.state();
        let gaps = state.missing(range.clone());
        if let (Some(first), Some(last)) = (gaps.first(), gaps.last()) {
            let error = not_resident(&self.name, first.start..last.end);
            gaps.into_iter().for_each(|gap| state.want(gap));
            return Err(error);
        }
        let len = range.end - range.start;
        let buffer = AlignedBuffer::try_zeroed(len as usize);
        let mut buffer = buffer.ok_or_else(|| no_memory(&self.name, len))?;
        for (start, end) in state.touching(&range) {
            let (from, to) = (start.max(range.start), end.min(range.end));
            let piece = &state.pieces[&start][(from - start) as usize..(to - start) as usize];
            let place = (from - range.start) as usize..(to - range.start) as usize;
            buffer.as_mut_slice()[place].copy_from_slice(piece);
        }
        Ok(buffer.into())
    }

    fn changes(&self) -> u64 {
        self.state().changes
    }
}

/// First byte and end of a piece.
fn bounds((&start, piece): (&u64, &impl AsRef<[u8]>)) -> (u64, u64) {
    (start, start + piece.as_ref().len() as u64)
}

/// A copy without room to spare; `None` if there is no memory for it.
fn copied(bytes: &[u8]) -> Option<Box<[u8]>> {
    let mut copy = Vec::new();
    copy.try_reserve_exact(bytes.len()).ok()?;
    copy.extend_from_slice(bytes);
    Some(copy.into_boxed_slice())
}

fn no_memory(name: &str, count: u64) -> Error {
    let message = format!("{name}: no memory for {count} more bytes");
    Error::new(ErrorKind::StorageFull, message).with("file", name)
}

/// What a read of bytes that are not here yet fails with.
fn not_resident(name: &str, range: Range<u64>) -> Error {
    let message = format!("{name}: bytes {}..{} are not here yet", range.start, range.end);
    Error::new(ErrorKind::NotResident, message).with("file", name).with("offset", range.start)
}
