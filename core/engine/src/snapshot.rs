//! Snapshots: a directory that is itself a database, below the one it is of.
//!
//! Files of a store are immutable, so a snapshot links them (where the disk has links) and copies only the
//! log's tail. It holds the present only, not the past kept for replay. The database manifest is written last:
//! a snapshot without one is not there.

use nearfield_segment::{Error, ErrorKind, Result};

use crate::database::{Database, id_of};
use crate::leftovers::{SNAPSHOTS, remove_collection};
use crate::manifest::{DatabaseManifest, commit, load_newest};
use crate::transfer::{bring, copy};
use crate::writer::{Site, Writer};
use nearfield_segment::cancel::{self, GoOn};

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
    /// `ReadOnly`, `StorageFull`, `Io`; `NotFound` for an unknown name; `NotFound` or `Conflict` if a
    /// collection is dropped or replaced meanwhile. An unfinished snapshot has no database manifest. `Cancelled`
    /// once `go_on` says no; then its files are gone.
    pub fn snapshot(&self, collections: &[String], go_on: GoOn<'_>) -> Result<Snapshot> {
        let id = format!("snap-{:014}", self.clock.now_ms());
        let dir = format!("{SNAPSHOTS}/{id}");
        if load_newest::<DatabaseManifest>(&*self.storage, &dir)?.is_some() {
            let message = format!("{dir} exists already; try again in a millisecond");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        // Read once: a collection created meanwhile has no files in this snapshot and must not be named.
        let manifest = self.chosen(collections)?;
        let count = manifest.collections.len() as u64;
        let mut snapshot = Snapshot { id, dir, collections: count, segments: 0, files: 0 };
        let linked = self.link_collections(&manifest, &mut snapshot, go_on);
        if linked.as_ref().is_err_and(|error| error.kind() == ErrorKind::Cancelled) {
            for entry in manifest.collections.values() {
                remove_collection(&*self.storage, &format!("{}/c/{}", snapshot.dir, entry.id))?;
            }
        }
        linked?;
        commit(&*self.storage, &snapshot.dir, manifest)?;
        Ok(snapshot)
    }

    fn link_collections(
        &self,
        manifest: &DatabaseManifest,
        snapshot: &mut Snapshot,
        go_on: GoOn<'_>,
    ) -> Result<()> {
        for (name, entry) in &manifest.collections {
            let expected = format!("c/{}", entry.id);
            self.collection(name)?.with_writer(|writer| {
                if writer.site.dir != expected {
                    let message = format!("collection {name:?} was replaced meanwhile; try again");
                    return Err(Error::new(ErrorKind::Conflict, message));
                }
                snapshot.segments += writer.manifest().segments.len() as u64;
                snapshot.files += link_collection(writer, &snapshot.dir, go_on)?;
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

fn link_collection(writer: &Writer, dir: &str, go_on: GoOn<'_>) -> Result<u64> {
    let (site, manifest) = (&writer.site, writer.manifest());
    let target = Site { dir: format!("{dir}/{}", site.dir), ..site.clone() };
    let mut files = 0;
    for (file, _, _) in manifest.files() {
        cancel::check(go_on)?;
        bring(site, file, &target, file)?;
        files += 1;
    }
    let storage = &*site.storage;
    for name in storage.list(&site.path("wal"))? {
        cancel::check(go_on)?;
        // The newest one still grows.
        let file = format!("wal/{name}");
        copy(storage, &site.path(&file), storage, &target.path(&file))?;
        files += 1;
    }
    commit(storage, &target.dir, manifest.clone())?;
    Ok(files + 1)
}
