//! Replaces collections by other directories, in one commit. Used by `replay` and `restore`: `Replacement` announces
//! the new directories and makes the change, `HighWaterMarks` collects the numbers that must not be used again.
//!
//! What takes a collection's place is announced in the document's list of dropped collections, so that a later
//! opening knows it for unfinished work; then it is built whole in its directory, the old state is kept as a
//! backup, and *one* database document makes the change: before it the old state is there, after it the new
//! one. What a crash leaves of either is removed by the next opening (`leftovers`).
//!
//! Numbers are never used again: manifest numbers, LSNs, timelines and assigned ids go on above the old ones.

use nearfield_segment::{Error, FileId, Lsn, Result};

use crate::database::{Database, Inner};
use crate::files::CollectionPath;
use crate::files::leftovers::{self, BACKUPS};
use crate::files::transfer::bring_all;
use crate::log::{LogDirectory, ReplayReport, start_timeline};
use crate::manifest::{
    CollectionEntry, DatabaseManifest, Manifest, NextId, Parent, Reason, commit, list_numbers, load,
};
use crate::write::recovery;
use crate::write::writer::Writer;

/// The highest numbers that a collection has used.
#[derive(Debug, Clone)]
pub(crate) struct HighWaterMarks {
    pub(crate) manifest: Parent,
    pub(crate) collection: Option<FileId>,
    epoch: u64,
    timeline: u32,
    pub(crate) lsn: Lsn,
    next_id: NextId,
    /// Not used up but kept: how much of the past its writer keeps.
    history_ms: Option<u64>,
}

impl HighWaterMarks {
    /// Of a collection that is open.
    pub(crate) fn by(writer: &Writer) -> HighWaterMarks {
        let stored = &writer.manifest;
        HighWaterMarks {
            epoch: writer.epoch,
            lsn: writer.log.last().max(writer.state.lsn),
            next_id: writer.state.next_id,
            history_ms: writer.history_ms(),
            ..HighWaterMarks::named(&stored.document, stored.crc)
        }
    }

    /// Of a collection as its manifest says.
    pub(crate) fn named(manifest: &Manifest, crc: u32) -> HighWaterMarks {
        HighWaterMarks {
            manifest: Parent { number: manifest.number, crc },
            collection: Some(manifest.collection),
            epoch: manifest.epoch,
            timeline: manifest.timeline,
            lsn: manifest.checkpoint_lsn,
            next_id: manifest.next_assigned_id,
            history_ms: manifest.history_ms,
        }
    }

    /// By a collection that does not open, as far as its files tell; `None` if there is no trace of one. The
    /// LSN is an upper bound. Ids assigned since the newest manifest that can be read are not seen.
    ///
    /// # Errors
    /// `Io`.
    pub(crate) fn by_damaged(location: &CollectionPath) -> Result<Option<HighWaterMarks>> {
        let numbers = list_numbers::<Manifest>(&*location.storage, &location.dir)?;
        let Some(&newest) = numbers.last() else { return Ok(None) };
        let log = location.log(FileId(0));
        let mut marks = HighWaterMarks {
            manifest: Parent { number: newest, crc: 0 },
            collection: None,
            epoch: 1,
            timeline: 1,
            lsn: log.lsn_bound()?,
            next_id: NextId::FIRST,
            history_ms: None,
        };
        for number in numbers {
            if let Ok(stored) = load::<Manifest>(&*location.storage, &location.dir, number) {
                marks = marks.and(&HighWaterMarks::named(&stored.document, stored.crc));
            }
        }
        Ok(Some(marks))
    }

    /// What both have used up.
    #[must_use]
    pub(crate) fn and(&self, other: &HighWaterMarks) -> HighWaterMarks {
        let newer = if other.manifest.number >= self.manifest.number { other } else { self };
        HighWaterMarks {
            manifest: newer.manifest,
            collection: newer.collection,
            epoch: self.epoch.max(other.epoch),
            timeline: self.timeline.max(other.timeline),
            lsn: self.lsn.max(other.lsn),
            next_id: self.next_id.max(other.next_id),
            history_ms: other.history_ms.or(self.history_ms),
        }
    }

    /// The content of `manifest` as the first manifest above all numbers used.
    pub(crate) fn successor(&self, manifest: &Manifest, reason: Reason, now_ms: u64) -> Manifest {
        Manifest {
            number: self.manifest.number + 1,
            parent: Some(self.manifest),
            epoch: self.epoch + 1,
            timeline: self.timeline + 1,
            next_assigned_id: self.next_id.max(manifest.next_assigned_id),
            history_ms: self.history_ms.or(manifest.history_ms),
            created_ms: now_ms,
            reason,
            note: None,
            ..manifest.clone()
        }
    }

    /// Begins the timeline of [`HighWaterMarks::successor`] after `branch`, with an LSN above all that were used.
    /// `recovered` is what the log in `place` holds.
    ///
    /// # Errors
    /// As [`start_timeline`].
    pub(crate) fn begin_timeline(
        &self,
        place: &LogDirectory,
        recovered: &ReplayReport,
        branch: Lsn,
        now_ms: u64,
    ) -> Result<Lsn> {
        let last = recovered.last.max(self.lsn);
        let above = ReplayReport { last, timeline: self.timeline, ..recovered.clone() };
        start_timeline(place, &above, branch, self.epoch + 1, now_ms)
    }
}

/// A directory that is to take the place of a collection.
#[derive(Debug)]
pub(crate) struct Replacement {
    pub(crate) name: String,
    pub(crate) id: FileId,
}

impl Database {
    /// An id for a replacement of `name`.
    pub(crate) fn replacement(&self, name: &str) -> Replacement {
        let id = self.rng.lock().expect("a generator does not panic").file_id();
        Replacement { name: name.to_owned(), id }
    }

    /// Notes durably that the directories of `replacements` hold unfinished work, before there is anything in them.
    ///
    /// # Errors
    /// `StorageFull`, `Io`; nothing was built then.
    pub(crate) fn announce(&self, inner: &mut Inner, replacements: &[Replacement]) -> Result<()> {
        let mut next = inner.manifest.successor();
        next.dropped.extend(replacements.iter().map(|new| new.id));
        self.change(inner, next)
    }

    /// Opens each replacement as the next opening will, keeps the collections they replace as a backup, and puts
    /// them in their places. Returns the directory of the backup, if there was anything to keep.
    ///
    /// # Errors
    /// `Corrupt` if a replacement does not open; `StorageFull`, `Io`. Nothing has changed then, unless the message
    /// says that it is unknown.
    pub(crate) fn put_in_place(
        &self,
        inner: &mut Inner,
        replacements: &[Replacement],
        kind: &str,
    ) -> Result<Option<String>> {
        let validated = replacements.iter().try_for_each(|new| self.validate(new));
        let prepared = validated.and_then(|()| {
            let names: Vec<&str> = replacements.iter().map(|new| new.name.as_str()).collect();
            self.back_up(&inner.manifest.document, &names, kind)
        });
        let backup = prepared.map_err(|error| self.give_up(inner, replacements, error))?;
        let mut next = inner.manifest.successor();
        next.dropped.retain(|id| replacements.iter().all(|new| new.id != *id));
        let mut replaced = Vec::new();
        for Replacement { name, id } in replacements {
            let entry = next.collections.entry(name.clone());
            let entry = entry.or_insert_with(|| CollectionEntry::new(*id));
            if entry.id != *id {
                replaced.push(std::mem::replace(&mut entry.id, *id));
            }
        }
        next.dropped.extend(&replaced);
        self.change(inner, next)?;
        for id in replaced {
            inner.mark_gone(id, "it was replaced by a restore or replay; ask for it by name again");
            self.remove_files(inner, id);
        }
        Ok(backup)
    }

    /// Removes what was prepared for a change that will not be made. What cannot be removed now is removed by
    /// the next opening.
    pub(crate) fn give_up(
        &self,
        inner: &mut Inner,
        replacements: &[Replacement],
        error: Error,
    ) -> Error {
        replacements.iter().for_each(|new| self.remove_files(inner, new.id));
        let document = &inner.manifest.document;
        let _left = leftovers::remove_unfinished_backups(&*self.storage, document);
        error
    }

    fn validate(&self, replacement: &Replacement) -> Result<()> {
        let ground = self.ground(self.location(replacement.id));
        let (writer, _report) = recovery::open_writer(ground)?;
        match writer.poisoned() {
            Some(kind) => Err(Error::new(kind, "there is no space to open the new state")),
            None => Ok(()),
        }
    }

    /// Links all files of the named collections to a database of their own. Its document is written last.
    fn back_up(
        &self,
        database: &DatabaseManifest,
        names: &[&str],
        kind: &str,
    ) -> Result<Option<String>> {
        let mut backup = database.clone();
        backup.collections.retain(|name, _| names.contains(&name.as_str()));
        backup.aliases.retain(|_, target| names.contains(&target.as_str()));
        backup.dropped.clear();
        if backup.collections.is_empty() {
            return Ok(None);
        }
        let dir = self.backup_dir(kind)?;
        for entry in backup.collections.values() {
            let source = self.location(entry.id);
            let target = CollectionPath { dir: format!("{dir}/{}", source.dir), ..source.clone() };
            bring_all(&source, &target)?;
        }
        commit(&*self.storage, &dir, backup)?;
        Ok(Some(dir))
    }

    /// A directory for a backup that is not there yet: named after this millisecond, or the next free one.
    fn backup_dir(&self, kind: &str) -> Result<String> {
        let mut made_ms = self.clock.now_ms();
        loop {
            let dir = format!("{BACKUPS}/{kind}_backup_{made_ms:014}");
            if list_numbers::<DatabaseManifest>(&*self.storage, &dir)?.is_empty() {
                return Ok(dir);
            }
            made_ms += 1;
        }
    }
}
