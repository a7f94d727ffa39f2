//! `SlotStorage`: the `Storage` over a pool of files that are open in advance (a browser's private file system). It
//! decides when content is written, when it gets its name, and when its space is free again. Made by `wasm`'s store;
//! `table` keeps the headers.
//!
//! Locks hold among the users of one instance; that there is one instance is the host's promise, kept by
//! whatever makes its handles exclusive. Directories are a matter of names.

use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::file::{Hold, SlotBlob, SlotFile};
use super::header::{CONTENT_AT, Content};
use super::table::{Entry, Table};
use super::{SlotId, Slots};
use crate::error::{Error, Result};
use crate::storage::disk::DiskFile;
use crate::storage::locks::LockTable;
use crate::storage::writing::{FileAppender, write_synced};
use crate::storage::{Appender, Blob, Fill, Lock, LockMode, Storage, listing, name};

/// Pieces in which a blob is copied.
const COPY_BYTES: u64 = 1 << 20;

/// [`Storage`] in a pool of [`Slots`].
#[derive(Debug)]
pub struct SlotStorage {
    slots: Arc<dyn Slots>,
    table: Mutex<Table>,
    locks: LockTable,
}

impl SlotStorage {
    /// Reads the headers of all slots and mends what a crash left half done. The caller is the only user of
    /// the slots.
    ///
    /// # Errors
    /// `Corrupt` if a slot can no longer tell what it is, `Version` if a later build wrote it, `Io`.
    pub fn open(slots: Arc<dyn Slots>) -> Result<SlotStorage> {
        let table = Mutex::new(Table::read(Arc::clone(&slots))?);
        Ok(SlotStorage { slots, table, locks: LockTable::default() })
    }

    /// Slots that no file and no reader uses. The host adds some when there are few: a change may take as
    /// many as it writes files.
    ///
    /// # Errors
    /// As [`SlotStorage::open`], for slots that were added.
    pub fn free_slots(&self) -> Result<usize> {
        let mut table = self.table();
        table.mend()?;
        Ok(table.free_count())
    }

    fn table(&self) -> MutexGuard<'_, Table> {
        self.table.lock().expect("nothing panics while the table is held")
    }

    /// The table, ready for a change.
    fn mended(&self) -> Result<MutexGuard<'_, Table>> {
        let mut table = self.table();
        table.mend()?;
        Ok(table)
    }

    /// Writes a durable blob and gives it its name, if that is free or may be replaced.
    fn write(&self, name: &str, replaces: bool, fill: Fill<'_>) -> Result<()> {
        let slot = self.take(name, replaces)?;
        let filled = self.fill(slot, name, fill);
        let content = filled.map(|len_bytes| Content::Blob { name: name.to_owned(), len_bytes });
        self.publish(slot, name, replaces, content, Hold::default())?
            .map_err(|error| Error::io("write", name, error))
    }

    /// Gives a slot that was taken its name, if its content is there and the name is still free or may be replaced.
    /// The inner result is that of writing the header. After any error the slot is free again.
    fn publish(
        &self,
        slot: SlotId,
        name: &str,
        replaces: bool,
        content: Result<Content>,
        hold: Hold,
    ) -> Result<io::Result<()>> {
        let mut table = self.table();
        let ready = content.and_then(|content| {
            table.mend()?;
            check_name(&table, name, replaces).map(|()| content)
        });
        match ready {
            Ok(content) => Ok(table.publish(slot, content, hold)),
            Err(error) => {
                table.empty(slot);
                Err(error)
            }
        }
    }

    fn take(&self, name: &str, replaces: bool) -> Result<SlotId> {
        name::check(name)?;
        let mut table = self.mended()?;
        check_name(&table, name, replaces)?;
        table.take().map_err(|error| Error::io("create", name, error))
    }

    /// Fills a slot and makes its content durable; returns how long it is.
    fn fill(&self, slot: SlotId, name: &str, fill: Fill<'_>) -> Result<u64> {
        write_synced(SlotFile::new(&self.slots, slot, Hold::default()), name, fill)?;
        let end = self.slots.len(slot).map_err(|error| Error::io("measure", name, error))?;
        Ok(end - CONTENT_AT)
    }

    fn blob(&self, name: &str, entry: Entry) -> Result<SlotBlob> {
        let end = self.slots.len(entry.slot).map_err(|error| Error::io("open", name, error))?;
        let there = end.saturating_sub(CONTENT_AT);
        let len_bytes = match entry.header.content {
            Content::Blob { len_bytes, .. } => len_bytes,
            Content::Log { .. } | Content::Free => there,
        };
        if len_bytes > there {
            let found = format!("{there} bytes in slot {}, expected {len_bytes}", entry.slot.0);
            return Err(Error::corrupt(name, "content", found));
        }
        let (name, slots) = (name.to_owned(), Arc::clone(&self.slots));
        Ok(SlotBlob { name, slots, slot: entry.slot, len_bytes, _hold: entry.hold })
    }
}

impl Storage for SlotStorage {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        name::check(name)?;
        let entry = self.table().names.get(name).cloned();
        let entry = entry.ok_or_else(|| listing::failure("open", name, io::ErrorKind::NotFound))?;
        Ok(Arc::new(self.blob(name, entry)?))
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        self.write(name, true, fill)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        let mut fill = |out: &mut dyn io::Write| {
            out.write_all(bytes).map_err(|error| Error::io("write", name, error))
        };
        self.write(name, false, &mut fill)
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        let slot = self.take(name, false)?;
        let hold = Hold::default();
        let mut file = SlotFile::new(&self.slots, slot, Arc::clone(&hold));
        // What the slot held before must not come back behind the name.
        let cut = file.sync().map_err(|error| Error::io("sync", name, error));
        let content = cut.map(|()| Content::Log { name: name.to_owned() });
        self.publish(slot, name, false, content, hold)?
            .map_err(|error| Error::io("create", name, error))?;
        Ok(Box::new(FileAppender::new(file, name)))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        Ok(listing::files(&self.table().names, dir))
    }

    fn directories(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        Ok(listing::directories(&self.table().names, dir))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        name::check(from)?;
        name::check(to)?;
        let mut table = self.mended()?;
        if !table.names.contains_key(from) {
            return Err(listing::failure("rename", from, io::ErrorKind::NotFound));
        }
        check_name(&table, to, false)?;
        table
            .rename(from, to)
            .map_err(|error| Error::io("rename", &format!("{from} to {to}"), error))
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        name::check(to)?;
        let blob = self.open(from)?;
        self.write(to, false, &mut |out| {
            for start in (0..blob.len()).step_by(COPY_BYTES as usize) {
                let piece = blob.read(start..blob.len().min(start + COPY_BYTES))?;
                out.write_all(&piece).map_err(|error| Error::io("write", to, error))?;
            }
            Ok(())
        })
    }

    fn remove(&self, name: &str) -> Result<()> {
        name::check(name)?;
        self.mended()?.remove(name).map_err(|error| Error::io("remove", name, error))
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|part| self.remove(&name::join(dir, part)))
    }

    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        name::check(name)?;
        self.locks.take(name, mode, owner)
    }
}

/// Whether a file may be called so.
fn check_name(table: &Table, name: &str, replaces: bool) -> Result<()> {
    if table.names.contains_key(name) {
        let taken = || listing::failure("create", name, io::ErrorKind::AlreadyExists);
        return if replaces { Ok(()) } else { Err(taken()) };
    }
    listing::check_place(&table.names, name)
}
