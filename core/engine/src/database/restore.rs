//! Restores a snapshot: `restore` to an empty directory, `Database::restore_snapshot` and `restore_from` in the place
//! of collections of a database. Called by the command line and Python.
//!
//! Every checksum of the snapshot is compared before anything is written. In place, its collections come in
//! whole, under new directory ids, and one database document makes the change (`succession`); collections
//! that are not in the snapshot stay as they are.

use std::collections::HashSet;
use std::sync::Arc;

use nearfield_segment::cancel::{GoOn, never_cancelled};
use nearfield_segment::storage::{Lock, LockMode, Storage, join};
use nearfield_segment::{Error, ErrorKind, Fault, Result};

use crate::database::collection::Collection;
use crate::database::place::{LOCK, check_place};
use crate::database::succession::{HighWaterMarks, Replacement};
use crate::database::verify::{Finding, verify_below};
use crate::database::{Database, Inner};
use crate::files::CollectionPath;
use crate::files::leftovers::{COLLECTION_DIRS, remove_collection};
use crate::files::transfer::bring;
use crate::log::{Mode, replay};
use crate::manifest::{
    CollectionEntry, DatabaseManifest, Manifest, Reason, Stored, commit, load_newest,
};

/// What was restored in place.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Restored {
    /// Names of the collections that came from the snapshot, sorted.
    pub collections: Vec<String>,
    /// Where the collections they replaced were kept, from the root of the store; none if there were none.
    pub backup: Option<String>,
    /// Of the collections, those of which the snapshot does not list the log, as snapshots of earlier builds: that
    /// its end is missing would not be noticed.
    pub unlisted_logs: Vec<String>,
}

/// A snapshot that was found to be whole, held still while it is read.
struct Source {
    place: CollectionPath,
    database: DatabaseManifest,
    _still: Option<Box<dyn Lock>>,
}

impl Source {
    /// The snapshot (or closed database) in the directory `place`, after verifying every checksum of it.
    fn open(place: CollectionPath, go_on: GoOn<'_>) -> Result<Source> {
        let CollectionPath { storage, dir, .. } = &place;
        // A living store has a lock file; a snapshot has none.
        let living = storage.list(dir)?.iter().any(|name| name == LOCK);
        let lock = join(dir, LOCK);
        let still = living.then(|| storage.lock(&lock, LockMode::Shared, "")).transpose()?;
        let database = load_newest::<DatabaseManifest>(&**storage, dir)?.ok_or_else(|| {
            Error::new(ErrorKind::NotFound, "there is no snapshot in this directory")
        })?;
        check_regular(&**storage, dir, &database.document)?;
        let report = verify_below(storage, dir, go_on)?;
        if let Some(error) = report.findings.iter().find_map(Finding::refusal) {
            return Err(error);
        }
        Ok(Source { database: database.document, place, _still: still })
    }

    /// Names of the collections without a list of their log.
    fn unlisted_logs(&self) -> Vec<String> {
        let entries = self.database.collections.iter();
        entries.filter(|(_, entry)| entry.log.is_none()).map(|(name, _)| name.clone()).collect()
    }

    /// Brings the files of a collection's newest manifest, and its log; returns the manifest.
    fn bring_collection(
        &self,
        entry: &CollectionEntry,
        target: &CollectionPath,
        go_on: GoOn<'_>,
    ) -> Result<Stored<Manifest>> {
        let dir = format!("c/{}", entry.id);
        let source = CollectionPath { dir: join(&self.place.dir, &dir), ..self.place.clone() };
        let manifest = load_newest::<Manifest>(&*source.storage, &source.dir)?
            .ok_or_else(|| Error::corrupt(&source.dir, "manifest", "there is none"))?;
        let log = match &entry.log {
            Some(log) => log.files.iter().map(|listed| listed.file.clone()).collect(),
            None => source
                .log(manifest.document.collection)
                .live_after(manifest.document.checkpoint_lsn)?,
        };
        let files = manifest.document.files().map(|(file, _, _)| file.to_owned());
        for file in files.chain(log) {
            bring(&source, &file, target, &file, go_on)?;
        }
        Ok(manifest)
    }
}

/// Refuses links and special files in a snapshot. One in the place of a file would be followed out of the snapshot,
/// and one among the log files would not be listed, so that its batches would be lost without an error.
fn check_regular(storage: &dyn Storage, dir: &str, database: &DatabaseManifest) -> Result<()> {
    let is_document = |name: &str| name == "c" || name.starts_with("database-");
    check_entries(storage, dir, is_document)?;
    check_entries(storage, &join(dir, "c"), is_name)?;
    for entry in database.collections.values() {
        let collection = join(dir, &format!("c/{}", entry.id));
        for part in COLLECTION_DIRS {
            check_entries(storage, join(&collection, part).trim_end_matches('/'), is_name)?;
        }
    }
    Ok(())
}

/// Whether a store may have a file or directory of this name.
fn is_name(name: &str) -> bool {
    name.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
}

/// Refuses entries of `dir` that are neither files nor directories, if `counts` says that their names matter.
fn check_entries(storage: &dyn Storage, dir: &str, counts: fn(&str) -> bool) -> Result<()> {
    let mut regular = storage.list(dir)?;
    regular.extend(storage.directories(dir)?);
    let regular: HashSet<String> = regular.into_iter().collect();
    let names = storage.names(dir)?;
    match names.iter().find(|name| counts(name) && !regular.contains(*name)) {
        None => Ok(()),
        Some(name) => {
            let file = join(dir, name);
            let message = format!(
                "{file} is a symbolic link or a special file; a snapshot consists of directories and regular \
                 files. Copy it with the files that its links lead to (cp -RL), and restore the copy"
            );
            Err(Error::invalid(Fault::Parameter, message).with("file", file))
        }
    }
}

/// Copies a snapshot (or any closed database) in `source` to the empty `target`, after verifying every
/// checksum of it, until `go_on` returns false. The database manifest is written last, so an interrupted restore is no
/// database. After any error while files are brought, they are removed again.
///
/// # Errors
/// `Locked` if another process writes in either; `Conflict` if there is a database in `target`; `Corrupt` naming the
/// first damage; `InvalidInput(Parameter)` for a symbolic link or a special file in `source`; `NotFound` if it holds no
/// database; `StorageFull`, `Io`; `Cancelled`.
pub fn restore(
    source: &Arc<dyn Storage>,
    target: &Arc<dyn Storage>,
    go_on: GoOn<'_>,
) -> Result<Restored> {
    check_place(&**target)?;
    let _alone = target.lock(LOCK, LockMode::Exclusive, "restore")?;
    if load_newest::<DatabaseManifest>(&**target, "")?.is_some() {
        let message = "the target holds a database already; restore into an empty directory";
        return Err(Error::new(ErrorKind::Conflict, message));
    }
    let source = Source::open(CollectionPath::root(source), go_on)?;
    let entries = source.database.collections.values();
    let sites = entries.clone().map(|entry| CollectionPath {
        dir: format!("c/{}", entry.id),
        ..CollectionPath::root(target)
    });
    let brought = entries.zip(sites.clone()).try_for_each(|(entry, location)| {
        let manifest = source.bring_collection(entry, &location, go_on)?;
        commit(&**target, &location.dir, manifest.document).map(drop)
    });
    if let Err(error) = brought {
        // The target had no collections. What cannot be removed keeps it from becoming a database.
        for location in sites {
            let _stays = remove_collection(&**target, &location.dir);
        }
        return Err(error);
    }
    let unlisted_logs = source.unlisted_logs();
    let mut database = source.database;
    database.forget_logs();
    let collections = database.collections.keys().cloned().collect();
    commit(&**target, "", database)?;
    Ok(Restored { collections, backup: None, unlisted_logs })
}

impl Database {
    /// Puts the collections of the snapshot in `dir` (from the root of this store) in the place of those of
    /// the same names; its files are linked. See [`Database::restore_from`].
    ///
    /// # Errors
    /// As [`Database::restore_from`].
    pub fn restore_snapshot(&self, dir: &str) -> Result<Restored> {
        let place = CollectionPath { dir: dir.to_owned(), ..CollectionPath::root(&self.storage) };
        self.restore_at(place)
    }

    /// Puts the collections of a snapshot (or any closed database) elsewhere in the place of those of the same
    /// names, after verifying every checksum of it; its files are copied. What they replace is kept as a
    /// database below `tmp/`, also if it is damaged. Handles to replaced collections refuse changes from then
    /// on; ask for them again. A crash leaves the old state or the new one. O(bytes).
    ///
    /// # Errors
    /// `Corrupt` naming the first damage in the snapshot; `InvalidInput(Parameter)` for a symbolic link or a special
    /// file in it; `NotFound` if it is none; `Conflict` if a name in it is an alias here; `Locked`, `ReadOnly`,
    /// `StorageFull`, `Io`. Nothing has changed then, unless the message says that it is unknown.
    pub fn restore_from(&self, snapshot: &Arc<dyn Storage>) -> Result<Restored> {
        self.restore_at(CollectionPath::root(snapshot))
    }

    fn restore_at(&self, place: CollectionPath) -> Result<Restored> {
        self.check_in_directory()?;
        let source = Source::open(place, &never_cancelled)?;
        let names: Vec<&String> = source.database.collections.keys().collect();
        // Opened before the names are locked; one that does not open is what a restore is for.
        let open = names.iter().map(|name| self.unless_ruined(name)).collect::<Result<Vec<_>>>()?;
        let mut inner = self.inner();
        self.resolve_uncertain_commit(&mut inner)?;
        let alias = names.iter().find(|&&name| inner.manifest.document.aliases.contains_key(name));
        if let Some(alias) = alias {
            let message = format!("{alias:?} is an alias here: remove it first");
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let replacements: Vec<Replacement> =
            names.iter().map(|name| self.replacement(name)).collect();
        self.announce(&mut inner, &replacements)?;
        for (replacement, open) in replacements.iter().zip(&open) {
            let entry = &source.database.collections[&replacement.name];
            let brought = self
                .close_replaced(&mut inner, &replacement.name, open.as_deref())
                .and_then(|marks| {
                    self.bring_in_place(&source, entry, marks, &self.location(replacement.id))
                });
            brought.map_err(|error| self.give_up(&mut inner, &replacements, error))?;
        }
        let backup = self.put_in_place(&mut inner, &replacements, "restore")?;
        let collections = names.into_iter().cloned().collect();
        Ok(Restored { collections, backup, unlisted_logs: source.unlisted_logs() })
    }

    /// A collection that is there and opens; none if there is none, or if its files are not what was written.
    fn unless_ruined(&self, name: &str) -> Result<Option<Arc<Collection>>> {
        match self.collection(name) {
            Err(error)
                if matches!(
                    error.kind(),
                    ErrorKind::NotFound | ErrorKind::Corrupt | ErrorKind::Version
                ) =>
            {
                Ok(None)
            }
            other => other.map(Some),
        }
    }

    /// Ends the writer of a collection that will be replaced, and says what it has used up.
    fn close_replaced(
        &self,
        inner: &mut Inner,
        name: &str,
        open: Option<&Collection>,
    ) -> Result<Option<HighWaterMarks>> {
        let Some(entry) = inner.manifest.document.collections.get(name) else { return Ok(None) };
        let location = self.location(entry.id);
        inner.retire(entry.id, "the collection was restored, or should have been")?;
        match open {
            None => HighWaterMarks::by_damaged(&location),
            Some(collection) => collection.with_writer(|writer| {
                if writer.location.dir == location.dir {
                    return Ok(Some(HighWaterMarks::by(writer)));
                }
                let message = format!("collection {name:?} was replaced meanwhile; try again");
                Err(Error::new(ErrorKind::Conflict, message))
            }),
        }
    }

    /// Brings a collection of `source` to `location`, on a timeline of its own above all numbers used.
    fn bring_in_place(
        &self,
        source: &Source,
        entry: &CollectionEntry,
        marks: Option<HighWaterMarks>,
        location: &CollectionPath,
    ) -> Result<()> {
        let Stored { document: manifest, crc } =
            source.bring_collection(entry, location, &never_cancelled)?;
        let own = HighWaterMarks::named(&manifest, crc);
        // Another collection of that name has numbers of its own.
        let same =
            |marks: &HighWaterMarks| marks.collection.is_none_or(|id| id == manifest.collection);
        let marks = marks.filter(same).map_or_else(|| own.clone(), |marks| own.and(&marks));
        let now_ms = self.clock.now_ms();
        let first = marks.successor(&manifest, Reason::Restore, now_ms);
        commit(&*location.storage, &location.dir, first)?;
        let place = location.log(manifest.collection);
        let log = replay(&place, manifest.checkpoint_lsn, Mode::Recover, &mut |_, _| Ok(()))?;
        marks.begin_timeline(&place, &log, log.last, now_ms).map(drop)
    }
}
