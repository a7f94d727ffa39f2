//! The content of one slot: `SlotFile` writes it front to back, `SlotBlob` reads it in ranges. Both are made
//! by `SlotStorage`, and hold the slot, so that it is not used for anything else meanwhile. They know no
//! headers, and names only for messages.

use std::io::{self, Write};
use std::ops::Range;
use std::sync::Arc;

use super::header::CONTENT_AT;
use super::{SlotId, Slots};
use crate::error::{Error, Result};
use crate::storage::disk::DiskFile;
use crate::storage::{AlignedBuffer, Blob, Bytes};

/// One use of a slot; the slot is free again when all its holds are dropped.
pub(super) type Hold = Arc<()>;

/// The writing end of a slot's content, which begins empty.
#[derive(Debug)]
pub(super) struct SlotFile {
    slots: Arc<dyn Slots>,
    slot: SlotId,
    end: u64,
    _hold: Hold,
}

impl SlotFile {
    pub(super) fn new(slots: &Arc<dyn Slots>, slot: SlotId, hold: Hold) -> Self {
        SlotFile { slots: Arc::clone(slots), slot, end: CONTENT_AT, _hold: hold }
    }
}

impl Write for SlotFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.slots.write(self.slot, self.end, bytes)?;
        self.end += bytes.len() as u64;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SlotFile {
    fn sync(&mut self) -> io::Result<()> {
        self.slots.flush(self.slot)
    }
}

/// The first `len_bytes` of a slot's content, for reading. Every read is a copy: there are no maps here.
#[derive(Debug)]
pub(super) struct SlotBlob {
    pub(super) name: String,
    pub(super) slots: Arc<dyn Slots>,
    pub(super) slot: SlotId,
    pub(super) len_bytes: u64,
    pub(super) _hold: Hold,
}

impl Blob for SlotBlob {
    fn len(&self) -> u64 {
        self.len_bytes
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.len_bytes {
            let found = format!("range {}..{} of {} bytes", range.start, range.end, self.len_bytes);
            return Err(Error::corrupt(&self.name, "read", found).with("offset", range.start));
        }
        let mut buffer = AlignedBuffer::zeroed((range.end - range.start) as usize);
        self.slots
            .read(self.slot, CONTENT_AT + range.start, buffer.as_mut_slice())
            .map_err(|error| Error::io("read", &self.name, error))?;
        Ok(Bytes::from(buffer))
    }
}
