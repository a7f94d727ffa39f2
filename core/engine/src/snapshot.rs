//! Backups: a snapshot is a directory that is itself a database; restoring copies it to an empty place.
//!
//! Files of a store are immutable, so a snapshot links them (where the disk has links) and copies only the
//! log's tail. The database manifest is written last: a snapshot without one is not there.

use std::sync::Arc;

use nearfield_segment::storage::{LockMode, Storage};
use nearfield_segment::{Error, ErrorKind, Result};

use crate::database::{Database, LOCK};
use crate::manifest::{DatabaseManifest, Manifest, commit, load_newest};
use crate::verify::verify;
use crate::writer::Writer;

/// Directory of the snapshots in a store.
pub const SNAPSHOTS: &str = "snapshots";

/// A snapshot that was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Snapshot {
    /// Its directory, from the root of the store.
    pub dir: String,
    /// Collections in it.
    pub collections: u64,
    /// Files linked or copied.
    pub files: u64,
}

impl Database {
    /// Writes a snapshot of every collection, each at the last batch acknowledged before its turn. Writers
    /// wait while their collection is linked.
    ///
    /// # Errors
    /// `ReadOnly`, `StorageFull`, `Io`; `NotFound` or `Conflict` if a collection is dropped or replaced
    /// meanwhile. An unfinished snapshot has no database manifest.
    pub fn snapshot(&self) -> Result<Snapshot> {
        let now = self.clock.now_ms();
        let dir = format!("{SNAPSHOTS}/snap-{now:014}");
        if load_newest::<DatabaseManifest>(&*self.storage, &dir)?.is_some() {
            let message = format!("{dir} exists already; try again in a millisecond");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // Read once: a collection created meanwhile has no files in this snapshot and must not be named.
        let manifest = self.manifest();
        let mut files = 0;
        for (name, entry) in &manifest.collections {
            let expected = format!("c/{}", entry.id);
            files += self.collection(name)?.with_writer(|writer| {
                if writer.site.dir != expected {
                    let message = format!("collection {name:?} was replaced meanwhile; try again");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                link_collection(writer, &dir)
            })?;
        }
        let collections = manifest.collections.len() as u64;
        commit(&*self.storage, &dir, manifest)?;
        Ok(Snapshot { dir, collections, files })
    }
}

fn link_collection(writer: &Writer, dir: &str) -> Result<u64> {
    let (site, manifest) = (&writer.site, writer.manifest());
    let storage = &*site.storage;
    let target = format!("{dir}/{}", site.dir);
    let mut files = 0;
    for (file, _, _) in manifest.files() {
        storage.link(&site.path(file), &format!("{target}/{file}"))?;
        files += 1;
    }
    for name in storage.list(&site.path("wal"))? {
        copy(
            storage,
            &site.path(&format!("wal/{name}")),
            storage,
            &format!("{target}/wal/{name}"),
        )?;
        files += 1;
    }
    commit(storage, &target, manifest.clone())?;
    Ok(files + 1)
}

/// Copies a snapshot (or any closed database) in `source` to the empty `target`, after verifying every
/// checksum of it. The database manifest is written last, so an interrupted restore is no database.
///
/// # Errors
/// `Locked` if somebody writes in either; `Conflict` if there is a database in `target`; `Corrupt` naming the first damage; `NotFound` if
/// `source` holds no database; `StorageFull`, `Io`.
pub fn restore(source: &Arc<dyn Storage>, target: &Arc<dyn Storage>) -> Result<()> {
    // A living store has a lock file; a snapshot has none.
    let living = source.list("")?.iter().any(|name| name == LOCK);
    let _still = living.then(|| source.lock(LOCK, LockMode::Shared, "")).transpose()?;
    let _alone = target.lock(LOCK, LockMode::Exclusive, "restore")?;
    if load_newest::<DatabaseManifest>(&**target, "")?.is_some() {
        let message = "the target holds a database already; restore into an empty directory";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let database = load_newest::<DatabaseManifest>(&**source, "")?
        .ok_or_else(|| Error::new(ErrorKind::NotFound, "there is no snapshot in this directory"))?;
    if let Some(finding) = verify(source)?.findings.iter().find(|finding| !finding.derived) {
        return Err(Error::corrupt(
            &finding.file,
            "verification before restoring",
            &finding.message,
        ));
    }
    for entry in database.document.collections.values() {
        let dir = format!("c/{}", entry.id);
        let manifest = load_newest::<Manifest>(&**source, &dir)?
            .ok_or_else(|| Error::corrupt(&dir, "manifest", "there is none"))?;
        let log = source.list(&format!("{dir}/wal"))?.into_iter().map(|name| format!("wal/{name}"));
        let files = manifest.document.files().map(|(file, _, _)| file.to_owned());
        for file in files.chain(log) {
            let name = format!("{dir}/{file}");
            copy(&**source, &name, &**target, &name)?;
        }
        commit(&**target, &dir, manifest.document)?;
    }
    commit(&**target, "", database.document).map(drop)
}

fn copy(source: &dyn Storage, from: &str, target: &dyn Storage, to: &str) -> Result<()> {
    let blob = source.open(from)?;
    let bytes = blob.read(0..blob.len())?;
    target.put(to, &mut |out| out.write_all(&bytes).map_err(|error| Error::io("write", to, error)))
}
