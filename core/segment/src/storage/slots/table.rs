//! `Table`: the state of every slot of a pool as its headers say it (free, blob, append-only file; name; length), and
//! the writing of headers. Used by `SlotStorage`.
//!
//! The table in memory is what should be on the medium. Where a header could not be written, the slot is
//! *doubtful*, and nothing else is written before the header is there: a crash in between shows the slot as
//! it was or as it should be. Content is not touched here, except to free its space.

use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::sync::{Arc, Weak};

use super::file::Hold;
use super::header::{CONTENT_AT, Content, Copy, HEADER_BYTES, Header};
use super::{SlotId, Slots};
use crate::error::{Error, Result};

/// A named slot.
#[derive(Debug, Clone)]
pub(super) struct Entry {
    pub(super) slot: SlotId,
    pub(super) header: Header,
    pub(super) hold: Hold,
}

/// Which copy of a header may be torn. The other one may be out of date.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doubt {
    /// The first; the second is whole.
    First,
    /// The second; the first is whole.
    Second,
}

#[derive(Debug)]
pub(super) struct Table {
    slots: Arc<dyn Slots>,
    pub(super) names: BTreeMap<String, Entry>,
    free: BTreeSet<SlotId>,
    /// Without a name, but still read or written through an open handle.
    lingering: Vec<(SlotId, Weak<()>)>,
    doubtful: BTreeMap<SlotId, Doubt>,
    /// Slots looked at so far.
    known: u32,
    /// The highest on any header.
    sequence: u64,
}

impl Table {
    /// Reads all headers, mends what a crash left half done, and gives back the space of free slots.
    ///
    /// # Errors
    /// `Corrupt` if both copies of a header are damaged, `Version`, `StorageFull`, `Io`.
    pub(super) fn read(slots: Arc<dyn Slots>) -> Result<Table> {
        let mut table = Table {
            slots,
            names: BTreeMap::new(),
            free: BTreeSet::new(),
            lingering: Vec::new(),
            doubtful: BTreeMap::new(),
            known: 0,
            sequence: 0,
        };
        table.mend()?;
        table.cut_free_slots()?;
        Ok(table)
    }

    /// A process that was killed may have freed slots, or filled some, and not got to cutting them. Only after
    /// `mend`: until its header is durable, a slot may still be what a power cut brings back.
    fn cut_free_slots(&mut self) -> Result<()> {
        for slot in self.free.clone() {
            if self.len(slot)? > CONTENT_AT {
                self.empty(slot);
            }
        }
        Ok(())
    }

    /// To be called before any change: takes in new slots, writes the headers that could not be written, and
    /// frees the slots whose last reader is gone.
    ///
    /// # Errors
    /// As [`Table::read`].
    pub(super) fn mend(&mut self) -> Result<()> {
        while self.known < self.slots.count() {
            self.take_in(SlotId(self.known))?;
            self.known += 1;
        }
        self.rewrite_doubtful()?;
        let (ended, lingering) =
            self.lingering.drain(..).partition(|(_, hold)| hold.strong_count() == 0);
        self.lingering = lingering;
        let ended: Vec<(SlotId, Weak<()>)> = ended;
        ended.into_iter().for_each(|(slot, _)| self.empty(slot));
        Ok(())
    }

    /// Names first: one must be durable before the slot that had it is freed.
    fn rewrite_doubtful(&mut self) -> Result<()> {
        let mut doubtful: Vec<(SlotId, Doubt, Header)> = Vec::new();
        for (slot, doubt) in self.doubtful.clone() {
            doubtful.push((slot, doubt, self.header_of(slot)));
        }
        doubtful.sort_by_key(|(_, _, header)| header.content == Content::Free);
        for (slot, doubt, header) in doubtful {
            self.write_copies(slot, &header, doubt)
                .map_err(|error| Error::io("write the header of", &shown(slot), error))?;
        }
        Ok(())
    }

    /// Slots that can be taken now, without those that were never looked at.
    pub(super) fn free_count(&self) -> usize {
        let ended = self.lingering.iter().filter(|(_, hold)| hold.strong_count() == 0);
        self.free.len() + ended.count()
    }

    /// Takes a slot without content from the free ones. The caller names it, or frees it again.
    ///
    /// # Errors
    /// `StorageFull` if there is none, or what the medium fails with.
    pub(super) fn take(&mut self) -> io::Result<SlotId> {
        let slot = self.free.pop_first().ok_or_else(|| {
            let message = format!("all {} files opened beforehand are in use", self.known);
            io::Error::new(io::ErrorKind::StorageFull, message)
        })?;
        if let Err(error) = self.slots.truncate(slot, CONTENT_AT) {
            self.free.insert(slot);
            return Err(error);
        }
        Ok(slot)
    }

    /// Gives a taken slot its header, whose content must be durable. What had the name before is freed.
    ///
    /// # Errors
    /// What the medium fails with; the slot is given back then, and the old one keeps the name, until a
    /// crash decides.
    pub(super) fn publish(&mut self, slot: SlotId, content: Content, hold: Hold) -> io::Result<()> {
        let header = self.next_header(content);
        if let Err(error) = self.write_header(slot, &header) {
            self.empty(slot);
            return Err(error);
        }
        let name = name_of(&header).to_owned();
        if let Some(old) = self.names.insert(name, Entry { slot, header, hold }) {
            // If it fails it is doubtful; until it is mended the higher sequence decides.
            let _mended_later = self.free_header(old);
        }
        Ok(())
    }

    /// Gives a named slot another name, which must be free.
    ///
    /// # Errors
    /// What the medium fails with; it keeps the old name then, until a crash decides.
    pub(super) fn rename(&mut self, from: &str, to: &str) -> io::Result<()> {
        let mut entry = self.names[from].clone();
        let content = match &entry.header.content {
            Content::Free => unreachable!("free slots have no names"),
            Content::Blob { len_bytes, .. } => {
                Content::Blob { name: to.to_owned(), len_bytes: *len_bytes }
            }
            Content::Log { .. } => Content::Log { name: to.to_owned() },
        };
        let header = self.next_header(content);
        self.write_header(entry.slot, &header)?;
        self.names.remove(from);
        entry.header = header;
        self.names.insert(to.to_owned(), entry);
        Ok(())
    }

    /// Takes a name away.
    ///
    /// # Errors
    /// What the medium fails with; the name is gone then, until a crash decides.
    pub(super) fn remove(&mut self, name: &str) -> io::Result<()> {
        self.names.remove(name).map_or(Ok(()), |entry| self.free_header(entry))
    }

    fn free_header(&mut self, entry: Entry) -> io::Result<()> {
        let header = self.next_header(Content::Free);
        let written = self.write_header(entry.slot, &header);
        let hold = Arc::downgrade(&entry.hold);
        drop(entry.hold);
        if written.is_ok() && hold.strong_count() == 0 {
            self.empty(entry.slot);
        } else {
            // Its space is given back by `mend`, once the header says that it is free.
            self.lingering.push((entry.slot, hold));
        }
        written
    }

    /// Frees a slot whose header is that of a free slot, or that was taken and not named. A failure to free its disk space is harmless.
    pub(super) fn empty(&mut self, slot: SlotId) {
        if !self.doubtful.contains_key(&slot) {
            let _kept = self.slots.truncate(slot, CONTENT_AT);
        }
        self.free.insert(slot);
    }

    fn next_header(&mut self, content: Content) -> Header {
        self.sequence += 1;
        Header { sequence: self.sequence, content }
    }

    /// What the header of a slot should be.
    fn header_of(&mut self, slot: SlotId) -> Header {
        match self.names.values().find(|entry| entry.slot == slot) {
            Some(entry) => entry.header.clone(),
            None => self.next_header(Content::Free),
        }
    }

    fn write_header(&mut self, slot: SlotId, header: &Header) -> io::Result<()> {
        match self.write_copies(slot, header, Doubt::First) {
            // The first copy is durable, so it is done; the second is made up for by `mend`.
            Err(_) if self.doubtful.get(&slot) == Some(&Doubt::Second) => Ok(()),
            written => written,
        }
    }

    /// Writes both copies, the doubtful one first, each durable before the other is touched.
    fn write_copies(&mut self, slot: SlotId, header: &Header, doubtful: Doubt) -> io::Result<()> {
        let bytes = header.encode();
        let (first, second) = ((Doubt::First, 0), (Doubt::Second, HEADER_BYTES as u64));
        let order = match doubtful {
            Doubt::First => [first, second],
            Doubt::Second => [second, first],
        };
        for (copy, offset) in order {
            self.doubtful.insert(slot, copy);
            self.slots.write(slot, offset, &bytes)?;
            self.slots.flush(slot)?;
        }
        self.doubtful.remove(&slot);
        Ok(())
    }

    /// Reads one slot's header into the table.
    fn take_in(&mut self, slot: SlotId) -> Result<()> {
        let (first, second) = self.copies(slot)?;
        let (header, doubt) = match (first, second) {
            (Copy::Blank | Copy::Damaged, Copy::Blank) => {
                // Never used, or its very first header was torn.
                self.free.insert(slot);
                return Ok(());
            }
            (Copy::Whole(first), Copy::Whole(second)) if first == second => (first, None),
            // A killed process may have written the first and not got to its flush.
            (Copy::Whole(first), Copy::Blank) => (first, Some(Doubt::First)),
            (Copy::Whole(first), Copy::Whole(second)) => {
                let newer = if first.sequence > second.sequence { first } else { second };
                (newer, Some(Doubt::First))
            }
            // The second is begun only after that flush.
            (Copy::Whole(first), Copy::Damaged) => (first, Some(Doubt::Second)),
            (Copy::Blank | Copy::Damaged, Copy::Whole(second)) => (second, Some(Doubt::First)),
            (Copy::Blank | Copy::Damaged, Copy::Damaged) => {
                let found = "both copies of the header are damaged";
                return Err(Error::corrupt(&shown(slot), "header", found));
            }
        };
        if let Some(doubt) = doubt {
            self.doubtful.insert(slot, doubt);
        }
        self.sequence = self.sequence.max(header.sequence);
        self.enter(slot, header);
        Ok(())
    }

    /// Of two slots with one name the higher sequence has it, and the other is freed by `mend`.
    fn enter(&mut self, slot: SlotId, header: Header) {
        if header.content == Content::Free {
            self.free.insert(slot);
            return;
        }
        let name = name_of(&header).to_owned();
        let entry = Entry { slot, header, hold: Hold::default() };
        let loser = match self.names.get(&name) {
            Some(other) if other.header.sequence > entry.header.sequence => Some(entry.slot),
            _ => self.names.insert(name, entry).map(|other| other.slot),
        };
        if let Some(loser) = loser {
            self.doubtful.entry(loser).or_insert(Doubt::First);
            self.free.insert(loser);
        }
    }

    fn len(&self, slot: SlotId) -> Result<u64> {
        self.slots.len(slot).map_err(|error| Error::io("measure", &shown(slot), error))
    }

    fn copies(&self, slot: SlotId) -> Result<(Copy, Copy)> {
        let mut bytes = vec![0; self.len(slot)?.min(CONTENT_AT) as usize];
        let failed = |error| Error::io("read the header of", &shown(slot), error);
        self.slots.read(slot, 0, &mut bytes).map_err(failed)?;
        bytes.resize(CONTENT_AT as usize, 0);
        let (first, second) = bytes.split_at(HEADER_BYTES);
        let name = shown(slot);
        Ok((Header::decode(first, &name)?, Header::decode(second, &name)?))
    }
}

/// What a slot is called in messages.
fn shown(slot: SlotId) -> String {
    format!("slot {}", slot.0)
}

fn name_of(header: &Header) -> &str {
    match &header.content {
        Content::Free => "",
        Content::Blob { name, .. } | Content::Log { name } => name,
    }
}
