//! `Database`: a directory of collections, with one lock for the writer and shared open handles
//! (`Collection`). Opened (`Database::open`) by the server, Python, `wasm` and the command line. Opening,
//! creating and dropping collections are here; also databases in memory and read-only ones from an export.

mod collection;
mod exporting;
mod fence;
mod names;
mod open_logs;
mod opening;
mod place;
mod rebuild;
mod replay;
mod restore;
mod snapshot;
mod succession;
mod turns;
mod verify;

pub use collection::{Begun, Carry, Collection, Vacuumed, Watch};
pub(crate) use names::Inner;
pub use opening::OpeningReport;
pub use place::check_place;
pub use replay::Replayed;
pub use restore::{Restored, restore};
pub use snapshot::Snapshot;
pub use verify::{Finding, VerifyReport, verify, verify_export, verify_present};

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nearfield_segment::filter::near_names;
use nearfield_segment::format::Residence;
use nearfield_segment::storage::{Blob, LockMode, MemoryStorage, Storage};
use nearfield_segment::{Error, ErrorKind, Fault, FileId, Pool, Result, Rng, Schema};
use nearfield_segment::{shown, shown_list};

use crate::clock::Clock;
use crate::database::fence::{Fence, Fenced};
use crate::database::open_logs::OpenLogs;
use crate::database::opening::Opening;
use crate::database::place::LOCK;
use crate::export::Export;
use crate::files::CollectionPath;
use crate::files::leftovers::{self, Unnamed};
use crate::files::quarantine::{self, Reason};
use crate::manifest::{
    DatabaseManifest, Manifest, Stored, check_schema, commit, document_name, load_newest,
};
use crate::options::Options;
use crate::write::recovery::{self, Follower, RecoveryReport};
use crate::write::writer::{Ground, Writer};

/// What a database was opened for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// The one writer of the directory.
    Write,
    /// A reader beside it; never writes.
    Read,
    /// Nothing outlives the process.
    Memory,
}

/// An open database.
#[derive(Debug)]
pub struct Database {
    pub(crate) storage: Arc<dyn Storage>,
    mode: Mode,
    pub(crate) options: Options,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Mutex<Rng>,
    inner: Mutex<Inner>,
    opening: OpeningReport,
    open_logs: Arc<OpenLogs>,
    /// Of a database in a directory that is open for writing.
    fence: Option<Arc<Fence>>,
}

impl Database {
    /// Opens the database in `storage`; a writer creates one in an empty directory. `owner` is one line for
    /// the lock file; it should name the process that holds the lock.
    ///
    /// # Errors
    /// `Locked` if there is another writer; `NotFound` if a reader finds no database; `InvalidInput(Parameter)` if
    /// a writer finds none, and foreign files; `Corrupt` if there are collections that no document names (nothing
    /// is written then), or if the document is damaged; `Version`, `Io`.
    pub fn open(
        storage: Arc<dyn Storage>,
        mode: Mode,
        options: Options,
        clock: Arc<dyn Clock>,
        seed: u64,
        owner: &str,
    ) -> Result<Database> {
        let writes = mode != Mode::Read;
        let (storage, fence) = if writes { take(storage, owner)? } else { (storage, None) };
        let manifest = match load_newest(&*storage, "")? {
            Some(manifest) => manifest,
            None if writes => commit(&*storage, "", DatabaseManifest::first())?,
            None => {
                return Err(Error::new(
                    ErrorKind::NotFound,
                    "there is no database in this directory",
                ));
            }
        };
        let unnamed = if writes {
            leftovers::inspect(&*storage, &manifest.document)?
        } else {
            Unnamed::default()
        };
        // A snapshot that is opened for writing is one no more: its logs change.
        let mut next = manifest.successor();
        let changes = writes && next.forget_logs();
        let manifest = if changes { commit(&*storage, "", next)? } else { manifest };
        let inner = Inner::new(manifest, BTreeMap::new());
        let (rng, opening) = (Mutex::new(Rng::new(seed)), OpeningReport::default());
        let open_logs = Arc::new(OpenLogs::new(options.open_logs_max));
        let mut database =
            Database { storage, mode, options, clock, rng, inner, opening, open_logs, fence };
        if writes {
            database.opening = database.tidy(unnamed);
        }
        Ok(database)
    }

    /// Gives the directory up although handles of collections are still held: they can be read, and refuse changes
    /// as `ReadOnly`. A database that is only dropped keeps its lock for as long as they live.
    pub fn close(self) {
        if let Some(fence) = &self.fence {
            fence.give_up();
        }
    }

    /// What opening found beside the collections.
    pub fn opening_report(&self) -> &OpeningReport {
        &self.opening
    }

    /// Removes what unfinished work left and sets aside what has no name. What cannot be done now is no reason
    /// not to open.
    fn tidy(&self, unnamed: Unnamed) -> OpeningReport {
        let storage = &*self.storage;
        let mut report = OpeningReport { warnings: storage.warnings(), ..OpeningReport::default() };
        report.warnings.extend(unnamed.warnings);
        let mut inner = self.inner();
        for id in inner.manifest.document.dropped.clone() {
            self.remove_files(&mut inner, id);
        }
        for dir in unnamed.empty {
            let _stays = leftovers::remove_collection(storage, &dir);
        }
        for dir in unnamed.unwritten {
            let file = document_name::<Manifest>(&dir, 1);
            match quarantine::put(storage, "", &file, Reason::Unnamed, self.clock.now_ms()) {
                Ok(()) => {
                    report.quarantined.push(file);
                    let _stays = leftovers::remove_collection(storage, &dir);
                }
                Err(error) => report.warnings.push(format!("{file} has no name: {error}")),
            }
        }
        let _left = leftovers::tidy_snapshots(storage);
        let document = &inner.manifest.document;
        match leftovers::remove_unfinished_backups(storage, document) {
            Ok(left) => report.warnings.extend(left),
            Err(error) => report.warnings.push(error.to_string()),
        }
        let _left = leftovers::remove_older_documents(storage, document.number);
        let _left = quarantine::clean(storage, "", &self.options, self.clock.now_ms());
        report
    }

    /// A database in memory.
    ///
    /// # Errors
    /// None in practice; the signature is that of [`Database::open`].
    pub fn in_memory(options: Options, clock: Arc<dyn Clock>, seed: u64) -> Result<Database> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        Database::open(storage, Mode::Memory, options, clock, seed, "this process")
    }

    /// The collections of an export called `name` in errors, for reading.
    ///
    /// # Errors
    /// As [`Export::open`].
    pub fn from_export(
        name: &str,
        blob: &Arc<dyn Blob>,
        options: Options,
        clock: Arc<dyn Clock>,
    ) -> Result<Database> {
        let storage: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        let mut manifest = DatabaseManifest::first();
        let (mut open, mut rng) = (BTreeMap::new(), Rng::new(0));
        for (collection, view) in Export::open(name, blob, Residence::Mapped)?.collections {
            let id = rng.file_id();
            manifest.create(&collection, id).map_err(|error| error.context(name))?;
            let kernel = options.segment.kernel;
            let collection = Arc::new(Collection::exported(&collection, view, kernel));
            open.insert(id, Arc::new(Opening::opened(collection)));
        }
        let inner = Inner::new(Stored { document: manifest, crc: 0 }, open);
        let (rng, mode) = (Mutex::new(rng), Mode::Read);
        let (opening, open_logs, fence) = (OpeningReport::default(), Arc::default(), None);
        Ok(Database { storage, mode, options, clock, rng, inner, opening, open_logs, fence })
    }

    /// Checkpoints every open collection with at least `bytes_min` bytes in memory, so that the next
    /// opening has less to replay. For closing; durability does not need it.
    ///
    /// # Errors
    /// As [`Collection::checkpoint`]; collections before the failing one are checkpointed.
    pub fn checkpoint(&self, pool: &Pool, bytes_min: u64) -> Result<()> {
        if self.mode == Mode::Read {
            return Ok(());
        }
        let open: Vec<Arc<Collection>> =
            self.inner().open.values().filter_map(|opening| opening.now()).collect();
        for collection in open {
            if collection.with_writer(|writer| Ok(writer.memory_bytes()))? >= bytes_min {
                collection.checkpoint(pool)?;
            }
        }
        Ok(())
    }

    /// What it was opened for.
    pub fn mode(&self) -> Mode {
        self.mode
    }

    /// Names of the collections, sorted.
    pub fn names(&self) -> Vec<String> {
        let mut inner = self.inner();
        // Without a newer list the one at hand is as good as any.
        let _stale = self.follow_names(&mut inner);
        inner.manifest.document.collections.keys().cloned().collect()
    }

    /// Creates a collection.
    ///
    /// # Errors
    /// `Conflict` if the name is taken, `InvalidInput` for a bad name or schema, `ReadOnly`.
    pub fn create(&self, name: &str, schema: &Schema) -> Result<Arc<Collection>> {
        self.check_writable()?;
        check_schema(schema).map_err(|problem| Error::invalid(Fault::Parameter, problem))?;
        let mut inner = self.inner();
        self.resolve_uncertain_commit(&mut inner)?;
        let id = self.rng.lock().expect("a generator does not panic").file_id();
        let mut next = inner.manifest.successor();
        next.create(name, id)?;
        let location = self.location(id);
        if self.mode == Mode::Write {
            recovery::create(&location, id, schema, self.clock.now_ms())?;
        }
        if let Err(error) = self.change(&mut inner, next) {
            if !inner.unsure {
                let _left = leftovers::remove_collection(&*self.storage, &location.dir);
            }
            return Err(error);
        }
        if self.mode == Mode::Memory {
            // Only here and now: there is nothing to open it from later.
            let writer = recovery::create_in_memory(self.ground(location), schema)?;
            let collection = Arc::new(self.writing(name, writer, RecoveryReport::default()));
            inner.open.insert(id, Arc::new(Opening::opened(collection)));
        }
        drop(inner);
        self.collection(name)
    }

    /// An existing collection; opened with its first use, then shared. Waits while this collection is being
    /// opened, and not for others.
    ///
    /// # Errors
    /// `NotFound` listing near names; `Corrupt` or `Version` if it cannot be opened (others still can).
    pub fn collection(&self, name: &str) -> Result<Arc<Collection>> {
        loop {
            let (id, opening) = self.opening(name)?;
            if let Some(open) = opening.enter(|| self.open_collection(name, self.location(id)))? {
                return Ok(open);
            }
            // Dropped or replaced since its name was looked up.
        }
    }

    fn opening(&self, name: &str) -> Result<(FileId, Arc<Opening>)> {
        let mut inner = self.inner();
        self.follow_names(&mut inner)?;
        self.resolve_uncertain_commit(&mut inner)?;
        let id = id_of(&inner.manifest.document, name)?;
        Ok((id, Arc::clone(inner.open.entry(id).or_default())))
    }

    /// Removes a collection and its files. Handles that are still held answer `NotFound` from then on; a view that
    /// is held stays readable. Files that cannot be removed now are removed when the database is opened again.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`; `StorageFull` or `Io` if it is unknown whether the name is gone: handles
    /// to the collection then refuse changes, and asking for it again finds out.
    pub fn drop_collection(&self, name: &str) -> Result<()> {
        self.check_writable()?;
        let mut inner = self.inner();
        self.resolve_uncertain_commit(&mut inner)?;
        let id = id_of(&inner.manifest.document, name)?;
        let mut next = inner.manifest.successor();
        next.drop_collection(name)?;
        // First, so that nothing is acknowledged that the new manifest would take away.
        inner.retire(id, "the collection was dropped, or should have been")?;
        self.change(&mut inner, next)?;
        inner.mark_gone(id, "it was dropped");
        self.remove_files(&mut inner, id);
        Ok(())
    }

    /// Removes what is left of a dropped collection. What cannot be removed waits for the next opening.
    pub(crate) fn remove_files(&self, inner: &mut Inner, id: FileId) {
        let removed = leftovers::remove_collection(&*self.storage, &self.location(id).dir).is_ok();
        if removed && !inner.busy.contains(&id) {
            inner.removed.push(id);
        }
    }

    fn open_collection(&self, name: &str, location: CollectionPath) -> Result<Collection> {
        let ground = self.ground(location);
        let opened = if self.mode == Mode::Read {
            let kernel = self.options.segment.kernel;
            Follower::open(ground).map(|follower| Collection::following(name, follower, kernel))
        } else {
            recovery::open_writer(ground).map(|(writer, report)| self.writing(name, writer, report))
        };
        opened.map_err(|error| error.context(format!("collection {name:?}")))
    }

    fn writing(&self, name: &str, writer: Writer, report: RecoveryReport) -> Collection {
        Collection::writing(name, writer, report, Arc::clone(&self.open_logs))
    }

    /// What the collection in `location` is opened with; the seed of its file ids is a new one.
    pub(crate) fn ground(&self, location: CollectionPath) -> Ground {
        let seed = self.rng.lock().expect("a generator does not panic").next_u64();
        Ground { location, options: self.options.clone(), clock: Arc::clone(&self.clock), seed }
    }

    pub(crate) fn location(&self, id: FileId) -> CollectionPath {
        let residence =
            if self.mode == Mode::Memory { Residence::InPlace } else { Residence::Mapped };
        CollectionPath { storage: Arc::clone(&self.storage), dir: format!("c/{id}"), residence }
    }

    pub(crate) fn manifest(&self) -> DatabaseManifest {
        self.inner().manifest.document.clone()
    }

    pub(crate) fn inner(&self) -> std::sync::MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    pub(crate) fn check_writable(&self) -> Result<()> {
        if self.mode == Mode::Read {
            return Err(Error::new(ErrorKind::ReadOnly, "the database is open for reading only"));
        }
        Ok(())
    }
}

/// A storage that is locked, and the fence that its changes need.
type Taken = (Arc<dyn Storage>, Option<Arc<Fence>>);

/// Takes the lock of a directory that is a database or may become one, and takes over what an earlier writer
/// left at its top. Nothing is written before the directory was looked at. Changes need the lock from then on.
fn take(storage: Arc<dyn Storage>, owner: &str) -> Result<Taken> {
    check_place(&*storage)?;
    let lock = storage.lock(LOCK, LockMode::Exclusive, owner)?;
    let storage = Fenced::new(storage, lock);
    storage.settle_names("")?;
    storage.settle_names("c")?;
    // Again, now that no other writer can be at work.
    check_place(&storage)?;
    let fence = storage.fence();
    Ok((Arc::new(storage), Some(fence)))
}

pub(crate) fn id_of(manifest: &DatabaseManifest, name: &str) -> Result<FileId> {
    manifest.resolve(name).map_err(|_| {
        let names: Vec<&str> = manifest.collections.keys().map(String::as_str).collect();
        let near = near_names(name, names.iter().copied());
        let (what, listed) = match near.as_slice() {
            [] => ("there are", shown_list(names).join(", ")),
            near => ("near names are", near.join(", ")),
        };
        let name = shown(name);
        let message = format!("there is no collection {name:?}; {what}: {listed}");
        Error::new(ErrorKind::NotFound, message).with("near", near)
    })
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;
    use std::ops::ControlFlow;
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nearfield_segment::{Encoding, Metric, PointId, Pool};

    use super::*;
    use crate::clock::ManualClock;
    use crate::write::batch::{Batch, Draft};
    use crate::write::task::{MergeScope, Task};

    fn database(mode: Mode) -> Database {
        let (storage, clock) = (Arc::new(MemoryStorage::default()), Arc::new(ManualClock::new(1)));
        Database::open(storage, mode, Options::default(), clock, 7, "test").expect("opens")
    }

    fn collection(database: &Database) -> Arc<Collection> {
        let schema = Schema::dense(2, Metric::L2, Encoding::F32).expect("a good schema");
        database.create("points", &schema).expect("creates")
    }

    fn write(collection: &Collection, rows: usize, deletes: Vec<PointId>) -> Result<u64> {
        let vectors = BTreeMap::from([(String::new(), Cow::Owned(vec![1.0; 2 * rows]))]);
        let schema = Arc::clone(&collection.view().schema);
        let draft = Draft { rows, deletes, vectors, ..Draft::default() };
        let batch = Batch::new(draft, &schema)?;
        collection.apply(batch, &Pool::SERIAL)?;
        Ok(collection.view().len())
    }

    #[test]
    fn compacting_drops_rows_deleted_since_the_last_checkpoint() {
        let database = database(Mode::Write);
        let collection = collection(&database);
        write(&collection, 10, Vec::new()).expect("writes");
        let compact =
            || collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).expect("ends");
        compact();
        assert_eq!(write(&collection, 0, vec![PointId::U64(3)]).expect("deletes"), 9);
        compact();
        let view = collection.view();
        assert_eq!((view.len(), view.segments[0].segment.rows()), (9, 9));
        compact();
        assert_eq!(collection.view().manifest, view.manifest, "there was nothing left to do");
    }

    #[test]
    fn work_may_be_carried_out_elsewhere_and_makes_way_when_it_says_so() {
        let database = database(Mode::Write);
        let collection = collection(&database);
        write(&collection, 3, Vec::new()).expect("writes");
        let mut stop = |_| Err(Error::new(ErrorKind::Cancelled, "a caller waits"));
        let stopped = collection.maintain_by(MergeScope::Checkpoint, &mut stop);
        assert!(!stopped.expect("no error"), "nothing was done");
        let mut aside = |task: Task| {
            let run = || task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()));
            std::thread::scope(|scope| scope.spawn(run).join().expect("no panic"))
        };
        assert!(collection.maintain_by(MergeScope::Checkpoint, &mut aside).expect("checkpoints"));
        assert!(!collection.merge_by(MergeScope::Checkpoint, &mut aside).expect("nothing left"));
        assert!(
            !collection.maintain_by(MergeScope::Worthwhile, &mut aside).expect("one short file")
        );
        write(&collection, 1, Vec::new()).expect("writes");
        assert!(collection.maintain_by(MergeScope::Checkpoint, &mut aside).expect("checkpoints"));
        assert!(!collection.maintain_by(MergeScope::Due, &mut aside).expect("two are not many"));
        assert!(collection.maintain_by(MergeScope::Worthwhile, &mut aside).expect("merges two"));
        assert_eq!(collection.view().segments.len(), 1);
    }

    #[test]
    fn a_writer_whose_thread_panicked_refuses_until_it_is_recovered() {
        let database = database(Mode::Write);
        let collection = collection(&database);
        write(&collection, 3, Vec::new()).expect("writes");
        let panic = || collection.with_writer(|_| -> Result<()> { panic!("on purpose") });
        assert!(catch_unwind(AssertUnwindSafe(panic)).is_err());
        let error = write(&collection, 1, Vec::new()).expect_err("refused");
        assert!(error.message().contains("panicked"), "{error}");
        collection.recover().expect("recovers");
        assert_eq!(write(&collection, 1, Vec::new()).expect("writes again"), 4);
    }

    #[test]
    fn recovering_a_collection_in_memory_loses_nothing() {
        let database = database(Mode::Memory);
        let collection = collection(&database);
        write(&collection, 3, Vec::new()).expect("writes");
        collection.recover().expect("does nothing");
        assert_eq!(collection.view().len(), 3);
    }
}
