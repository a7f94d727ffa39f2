//! `FileLog`: the write-ahead log in files, over any [`Storage`](nearfield_segment::storage::Storage). It
//! appends frames, syncs, and begins new files. Made by recovery; used by `Writer` through the trait `Log`.
//!
//! A file is created with the first batch that needs it; its header is durable before any frame follows, and
//! everything in earlier files is durable before that. After each sync a small mark is appended (not synced itself)
//! so that readers in other processes see the durable LSN at once, and recovery can tell a torn tail from damage.

use nearfield_segment::storage::Appender;
use nearfield_segment::{Error, ErrorKind, Lsn, Result};

use super::files::{LogDirectory, SealedFile};
use super::frame::{
    FILE_HEADER_BYTES, FRAME_HEADER_BYTES, FileHeader, FrameHeader, FrameKind, padded,
};
use super::memory::check_body;
use super::replay::ReplayReport;
use super::{Log, Written};

/// Bodies up to this length are copied beside their header to be written by one call.
const COPIED_BODY_BYTES_MAX: usize = 64 << 10;

/// How a [`FileLog`] behaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FileLogOptions {
    /// A file is closed before it would grow beyond this; one batch never spans two files.
    pub file_bytes_max: u64,
    /// Number of the writer's opening, written into file headers.
    pub epoch: u64,
}

/// The durable log of one collection.
#[derive(Debug)]
pub struct FileLog {
    place: LogDirectory,
    options: FileLogOptions,
    timeline: u32,
    last: Lsn,
    durable: Lsn,
    /// Link of the frame `last`.
    link: u32,
    /// Live files that are closed, oldest first.
    pub(super) sealed: Vec<SealedFile>,
    active: Option<Active>,
    poison: Option<(ErrorKind, String)>,
    scratch: Vec<u8>,
    written: Written,
    /// Length of the newest file, unless that is `active`.
    newest_bytes: u64,
}

/// The file being appended to.
#[derive(Debug)]
struct Active {
    appender: Box<dyn Appender>,
    first: Lsn,
    bytes: u64,
    crc: u32,
    /// Link of the newest frame of any kind.
    link: u32,
}

impl FileLog {
    /// Goes on after what [`replay`](super::replay) with [`Mode::Recover`](super::Mode::Recover) found.
    /// Writes nothing yet.
    pub fn open(place: LogDirectory, recovered: &ReplayReport, options: FileLogOptions) -> Self {
        FileLog {
            place,
            options,
            timeline: recovered.timeline,
            last: recovered.last,
            durable: recovered.last,
            link: recovered.link,
            sealed: recovered.sealed.clone(),
            active: None,
            poison: None,
            scratch: Vec::new(),
            written: Written::default(),
            newest_bytes: recovered.newest_bytes,
        }
    }

    fn check_poison(&self) -> Result<()> {
        match &self.poison {
            None => Ok(()),
            Some((kind, cause)) => Err(Error::new(
                *kind,
                format!("the log is poisoned by an earlier error ({cause}) until it is recovered"),
            )),
        }
    }

    /// Remembers the first failure; from then on nothing is written.
    fn poison_on_error<T>(&mut self, result: Result<T>) -> Result<T> {
        if let Err(error) = &result {
            self.poison = Some((error.kind(), error.message().to_owned()));
        }
        result
    }

    fn append_batch(&mut self, body: &[u8]) -> Result<Lsn> {
        let frame_bytes = (FRAME_HEADER_BYTES + padded(body.len())) as u64;
        let full = |active: &Active| active.bytes + frame_bytes > self.options.file_bytes_max;
        if self.active.as_ref().is_some_and(full) {
            self.close_active()?;
        }
        if self.active.is_none() {
            self.active = Some(self.create_file()?);
        }
        let lsn = self.last.next();
        self.link = self.write_frame(body, FrameKind::Batch, lsn)?;
        self.last = lsn;
        Ok(lsn)
    }

    fn create_file(&mut self) -> Result<Active> {
        let first = self.last.next();
        let header = FileHeader {
            collection: self.place.collection(),
            first,
            continues: self.last,
            timeline: self.timeline,
            previous_link: self.link,
            epoch: self.options.epoch,
        };
        let (bytes, crc) = header.encode();
        let mut appender = self.place.storage().append_new(&self.place.live_name(first))?;
        appender.write(&bytes)?;
        appender.sync()?;
        self.written.bytes += bytes.len() as u64;
        self.written.syncs += 1;
        Ok(Active { appender, first, bytes: FILE_HEADER_BYTES as u64, crc, link: crc })
    }

    /// Writes a frame to the active file and returns its link.
    fn write_frame(&mut self, body: &[u8], kind: FrameKind, lsn: Lsn) -> Result<u32> {
        let active = self.active.as_mut().expect("the caller made sure of a file");
        let frame = FrameHeader::around(body, kind, lsn, self.durable, active.link);
        let (header, link) = frame.encode(active.crc);
        let padding = padded(body.len()) - body.len();
        self.scratch.clear();
        self.scratch.extend_from_slice(&header);
        if body.len() > COPIED_BODY_BYTES_MAX {
            active.appender.write(&self.scratch)?;
            active.appender.write(body)?;
            self.scratch.clear();
        } else {
            self.scratch.extend_from_slice(body);
        }
        self.scratch.resize(self.scratch.len() + padding, 0);
        if !self.scratch.is_empty() {
            active.appender.write(&self.scratch)?;
        }
        active.bytes += frame.frame_bytes();
        self.written.bytes += frame.frame_bytes();
        active.link = link;
        Ok(link)
    }

    fn sync_active(&mut self) -> Result<()> {
        if self.durable == self.last {
            return Ok(());
        }
        let active = self.active.as_mut().expect("unsynced batches are in the active file");
        active.appender.sync()?;
        self.written.syncs += 1;
        self.durable = self.last;
        Ok(())
    }

    /// Syncs what follows the newest batch of the active file, its mark: only the newest file may have a torn end.
    fn sync_mark(&mut self) -> Result<()> {
        let last = self.last;
        if let Some(active) = self.active.as_mut().filter(|active| active.first <= last) {
            active.appender.sync()?;
            self.written.syncs += 1;
        }
        Ok(())
    }

    /// A file without a batch stays open: there is nothing in it to be archived.
    fn close_active(&mut self) -> Result<()> {
        self.sync_active()?;
        self.sync_mark()?;
        let last = self.last;
        if let Some(Active { first, bytes, .. }) =
            self.active.take_if(|active| active.first <= last)
        {
            self.sealed.push(SealedFile { first, last, bytes });
            self.newest_bytes = bytes;
        }
        Ok(())
    }

    /// Removes the newest file if it is open and holds no batch: its name says nothing that the manifest does not.
    fn discard_empty(&mut self) -> Result<()> {
        let Some(active) = self.active.take() else { return Ok(()) };
        self.place.storage().remove(&self.place.live_name(active.first))
    }

    /// Makes sure that the newest file holds nothing up to `lsn`, if that is everything: the files before it can
    /// then be archived, and its name keeps the newest LSN that was used.
    fn begin_file_after(&mut self, lsn: Lsn) -> Result<()> {
        if self.last > lsn {
            return Ok(());
        }
        self.close_active()?;
        if self.active.is_some() || self.sealed.is_empty() {
            return Ok(());
        }
        match self.create_file() {
            Ok(active) => self.active = Some(active),
            // The batches stay where they are, which costs space only; the next checkpoint tries again.
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                self.place.storage().remove(&self.place.live_name(self.last.next()))?;
            }
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

impl Log for FileLog {
    fn append(&mut self, body: &[u8]) -> Result<Lsn> {
        self.check_poison()?;
        check_body(body)?;
        let result = self.append_batch(body);
        self.poison_on_error(result)
    }

    fn sync(&mut self) -> Result<Lsn> {
        self.check_poison()?;
        if self.durable == self.last {
            return Ok(self.durable);
        }
        let result = self.sync_active();
        self.poison_on_error(result)?;
        // The batches are durable whether or not the mark can be written, so its failure is reported by
        // the next call, not by this one.
        let mark = self.write_frame(b"", FrameKind::DurableMark, self.last);
        let _reported_by_the_next_call = self.poison_on_error(mark);
        Ok(self.durable)
    }

    fn is_open(&self) -> bool {
        self.active.is_some()
    }

    fn last(&self) -> Lsn {
        self.last
    }

    fn durable(&self) -> Lsn {
        self.durable
    }

    fn poisoned(&self) -> Option<ErrorKind> {
        self.poison.as_ref().map(|(kind, _)| *kind)
    }

    fn is_recoverable(&self) -> bool {
        true
    }

    fn size_bytes(&self) -> u64 {
        let sealed: u64 = self.sealed.iter().map(|file| file.bytes).sum();
        sealed + self.active.as_ref().map_or(0, |active| active.bytes)
    }

    fn recovery_bytes(&self) -> u64 {
        self.active.as_ref().map_or(self.newest_bytes, |active| active.bytes)
    }

    fn written(&self) -> Written {
        self.written
    }

    fn rotate(&mut self) -> Result<()> {
        self.check_poison()?;
        // With a mark, so that the next recovery need not rewrite a file that is durable already.
        self.sync()?;
        let result =
            self.sync_mark().and_then(|()| self.close_active()).and_then(|()| self.discard_empty());
        self.poison_on_error(result)
    }

    fn archive_through(&mut self, lsn: Lsn) -> Result<usize> {
        self.check_poison()?;
        let begun = self.begin_file_after(lsn);
        self.poison_on_error(begun)?;
        let newest_stays = usize::from(self.active.is_none());
        let mut moved = 0;
        while self.sealed.len() > newest_stays && self.sealed[0].last <= lsn {
            self.place.archive(self.sealed[0].first)?;
            self.sealed.remove(0);
            moved += 1;
        }
        Ok(moved)
    }
}
