//! Makes a snapshot of a database: a directory below it that is itself a database. Entry: `Database::snapshot` (names
//! of collections → `Snapshot`), called by the server's jobs, the command line and Python.
//!
//! Files of a store are immutable, so a snapshot links them (where the disk has links) and copies only the log
//! that no segment contains. It holds the present only, not the past kept for replay. The database manifest is
//! written last and lists the copied log: a snapshot without one is not there.
//!
//! While it is being made its directory holds a mark, by which the next opening removes what a crash left.

use nearfield_segment::{Error, ErrorKind, Result};

use crate::database::{Database, id_of};
use crate::files::CollectionPath;
use crate::files::leftovers::{SNAPSHOTS, UNFINISHED, end_snapshot};
use crate::files::transfer::{bring, copy};
use crate::manifest::{
    DatabaseManifest, SnapshotLog, SnapshotLogFile, commit, document_name, load_newest,
};
use crate::write::writer::Writer;
use nearfield_segment::cancel::GoOn;

/// A snapshot that was written.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Snapshot {
    /// Its name, the last part of `dir`.
    pub id: String,
    /// Its directory, from the root of the store.
    pub dir: String,
    /// Collections in it.
    pub collections: u64,
    /// Segments in it.
    pub segments: u64,
    /// Files linked or copied, manifests too.
    pub files: u64,
}

impl Database {
    /// Writes a snapshot of collections (all, if none are named), each at the last batch acknowledged before
    /// its turn. Writers wait while their collection is linked.
    ///
    /// # Errors
    /// `ReadOnly`, `StorageFull`, `Io`; `Corrupt` naming a file that has not the length it should have;
    /// `NotFound` for an unknown name; `NotFound` or `Conflict` if a collection is dropped or replaced meanwhile;
    /// `Cancelled` once `go_on` says no. The files of the snapshot are gone then, or the next opening removes them.
    pub fn snapshot(&self, collections: &[String], go_on: GoOn<'_>) -> Result<Snapshot> {
        self.check_writable()?;
        let id = format!("snap-{:014}", self.clock.now_ms());
        let dir = format!("{SNAPSHOTS}/{id}");
        if load_newest::<DatabaseManifest>(&*self.storage, &dir)?.is_some() {
            let message = format!("{dir} exists already; try again in a millisecond");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // Read once: a collection created meanwhile has no files in this snapshot and must not be named.
        let mut manifest = self.chosen(collections)?;
        let count = manifest.collections.len() as u64;
        let mut snapshot = Snapshot { id, dir, collections: count, segments: 0, files: 0 };
        let (storage, dir) = (&*self.storage, snapshot.dir.clone());
        let document = document_name::<DatabaseManifest>("", manifest.number);
        let begun = storage.put_new(&format!("{dir}/{UNFINISHED}"), b"");
        let linked =
            begun.and_then(|()| self.link_collections(&mut manifest, &mut snapshot, go_on));
        let finish = || {
            commit(storage, &dir, manifest).or_else(|error| {
                // It is unknown whether it happened: first it is made certain that it did not.
                storage.remove_durably(&dir, &[document])?;
                Err(error)
            })
        };
        let made = linked.and_then(|()| finish());
        // What cannot be removed now is removed by the next opening.
        let _left = end_snapshot(storage, &dir);
        made.map(|_| snapshot)
    }

    fn link_collections(
        &self,
        manifest: &mut DatabaseManifest,
        snapshot: &mut Snapshot,
        go_on: GoOn<'_>,
    ) -> Result<()> {
        for (name, entry) in &mut manifest.collections {
            let expected = format!("c/{}", entry.id);
            self.collection(name)?.with_writer(|writer| {
                if writer.location.dir != expected {
                    let message = format!("collection {name:?} was replaced meanwhile; try again");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                snapshot.segments += writer.manifest().segments.len() as u64;
                let (files, log) = link_collection(writer, &snapshot.dir, go_on)?;
                snapshot.files += files;
                entry.log = Some(log);
                Ok(())
            })?;
        }
        Ok(())
    }

    /// The names, without those that are not asked for.
    fn chosen(&self, collections: &[String]) -> Result<DatabaseManifest> {
        let mut manifest = self.manifest();
        let asked = collections.iter().map(|name| id_of(&manifest, name));
        let asked = asked.collect::<Result<Vec<_>>>()?;
        if !asked.is_empty() {
            manifest.collections.retain(|_, entry| asked.contains(&entry.id));
        }
        let left = &manifest.collections;
        manifest.aliases.retain(|_, target| left.contains_key(target));
        manifest.dropped.clear();
        Ok(manifest)
    }
}

/// Number of files, and what was copied of the log.
fn link_collection(writer: &Writer, dir: &str, go_on: GoOn<'_>) -> Result<(u64, SnapshotLog)> {
    let (location, manifest) = (&writer.location, writer.manifest());
    let target = CollectionPath { dir: format!("{dir}/{}", location.dir), ..location.clone() };
    let mut files = 0;
    for (file, len, _) in manifest.files() {
        check_length(location, file, len)?;
        bring(location, file, &target, file, go_on)?;
        files += 1;
    }
    let log = copy_log(writer, &target, go_on)?;
    commit(&*location.storage, &target.dir, manifest.clone())?;
    Ok((files + log.files.len() as u64 + 1, log))
}

/// Copies the log after the manifest's checkpoint LSN: the newest file still grows.
fn copy_log(writer: &Writer, target: &CollectionPath, go_on: GoOn<'_>) -> Result<SnapshotLog> {
    let (location, checkpoint_lsn) = (&writer.location, writer.manifest().checkpoint_lsn);
    let storage = &*location.storage;
    let mut log = SnapshotLog { last: writer.log.durable().max(checkpoint_lsn), files: Vec::new() };
    if writer.log.last() <= checkpoint_lsn {
        return Ok(log);
    }
    let place = location.log(writer.manifest().collection);
    for file in place.live_after(checkpoint_lsn)? {
        let (len, crc) = copy(storage, &location.path(&file), storage, &target.path(&file), go_on)?;
        log.files.push(SnapshotLogFile { file, len, crc });
    }
    Ok(log)
}

/// A file of another length than the manifest's is damaged.
fn check_length(location: &CollectionPath, file: &str, len: u64) -> Result<()> {
    let path = location.path(file);
    let found = location.storage.open(&path)?.len();
    if found == len {
        return Ok(());
    }
    Err(Error::corrupt(&path, "length", format!("expected {len}, found {found}")))
}
