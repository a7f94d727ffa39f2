//! Faults of opening, tidying, recovery and the log, each by a test through the public interface.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::{Database, Error, ErrorKind, ManualClock, Mode, Options};
use nearfield_segment::PointId;
use nearfield_segment::storage::{Disk, SimDisk, Storage, open_directory};
use nearfield_tests::oracle::{Change, Point};
use nearfield_tests::sim::{Files, Session, Step, open, schema, storage, tree};

/// A directory of the system that is removed when dropped.
struct Scratch(PathBuf);

impl Scratch {
    fn new(name: &str) -> Scratch {
        let dir = std::env::temp_dir().join(format!("nearfield-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&dir);
        std::fs::create_dir_all(&dir).unwrap();
        Scratch(dir)
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.0);
    }
}

fn open_at(path: &Path, mode: Mode) -> Result<Database, Error> {
    let storage: Arc<dyn Storage> = Arc::new(open_directory(path)?);
    Database::open(storage, mode, Options::default(), Arc::new(ManualClock::new(1)), 1, "test")
}

/// Every path below `dir`, with its length and its time of change: what a write would alter.
fn listing(dir: &Path) -> BTreeMap<PathBuf, (u64, std::time::SystemTime)> {
    let mut found = BTreeMap::new();
    let mut waiting = vec![dir.to_owned()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(&dir).unwrap() {
            let path = entry.unwrap().path();
            let facts = std::fs::symlink_metadata(&path).unwrap();
            if facts.is_dir() {
                waiting.push(path.clone());
            }
            found.insert(path, (facts.len(), facts.modified().unwrap()));
        }
    }
    found
}

/// Files of the store without its lock, which every opening writes.
fn files(disk: &SimDisk) -> Files {
    let mut files = tree(disk, "").unwrap();
    files.retain(|name, _| name != "lock" && !name.ends_with("/pin"));
    files
}

fn point(n: u64) -> Point {
    Point { vector: vec![n as f32; 4], n: Some(n) }
}

/// A change of one point.
fn one(n: u64) -> Change {
    Change { ids: Some(vec![PointId::U64(n)]), points: vec![point(n)], ..Change::default() }
}

/// A store with the collections `names`, each with points in a file and points in the log.
fn filled(disk: &SimDisk, names: &[&'static str]) -> Session {
    let session = open(storage(disk), 0, 1).unwrap();
    for name in names {
        session.perform(&Step::Create(name), 1).unwrap();
        session.perform(&Step::Write(name, one(1)), 2).unwrap();
        session.perform(&Step::Checkpoint(name), 3).unwrap();
        session.perform(&Step::Write(name, one(2)), 4).unwrap();
    }
    session
}

fn write_files(storage: &dyn Storage, files: &Files) {
    for (name, bytes) in files {
        let put = storage.put(name, &mut |out| {
            out.write_all(bytes).unwrap();
            Ok(())
        });
        put.unwrap();
    }
}

fn remove_documents(storage: &dyn Storage) {
    for name in storage.list("").unwrap().iter().filter(|name| name.starts_with("database-")) {
        storage.remove(name).unwrap();
    }
}

fn documents(files: &Files) -> Files {
    let documents = files.iter().filter(|(name, _)| name.starts_with("database-"));
    documents.map(|(name, bytes)| (name.clone(), bytes.clone())).collect()
}

mod documents_lost_or_brought_back {
    use super::*;

    #[test]
    fn a_store_without_its_document_is_refused_and_left_as_it_is() {
        let disk = SimDisk::new(1);
        drop(filled(&disk, &["a", "b"]));
        let whole = files(&disk);
        remove_documents(&*storage(&disk));
        let without = files(&disk);
        assert!(without.len() < whole.len());
        let error = open(storage(&disk), 9, 2).expect_err("the document is missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("document"), "{error}");
        assert_eq!(files(&disk), without, "nothing was written or removed");
        write_files(&*storage(&disk), &documents(&whole));
        let session = open(storage(&disk), 10, 3).unwrap();
        for name in ["a", "b"] {
            assert_eq!(session.db.collection(name).unwrap().view().len(), 2, "{name}");
        }
    }

    #[test]
    fn an_older_document_does_not_delete_a_newer_collection() {
        let disk = SimDisk::new(1);
        let session = filled(&disk, &["a"]);
        let old = documents(&files(&disk));
        drop(session);
        drop(filled_beside(&disk));
        let whole = files(&disk);
        remove_documents(&*storage(&disk));
        write_files(&*storage(&disk), &old);
        let before = files(&disk);
        let error = open(storage(&disk), 9, 2).expect_err("b has no name in this document");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains("c/"), "the collection is named: {error}");
        assert_eq!(files(&disk), before, "nothing was written or removed");
        remove_documents(&*storage(&disk));
        write_files(&*storage(&disk), &documents(&whole));
        let session = open(storage(&disk), 10, 3).unwrap();
        assert_eq!(session.db.collection("b").unwrap().view().len(), 1);
    }

    /// Adds the collection `b`, whose one point is in the log only.
    fn filled_beside(disk: &SimDisk) -> Session {
        let session = open(storage(disk), 5, 2).unwrap();
        session.perform(&Step::Create("b"), 6).unwrap();
        session.perform(&Step::Write("b", one(7)), 7).unwrap();
        session
    }

    /// Without any row there is nothing to lose but a schema; it is kept all the same.
    #[test]
    fn an_older_document_does_not_delete_a_newer_empty_collection() {
        let disk = SimDisk::new(1);
        let session = filled(&disk, &["a"]);
        let old = documents(&files(&disk));
        session.perform(&Step::Create("b"), 6).unwrap();
        drop(session);
        let contents = |disk: &SimDisk| -> Vec<Vec<u8>> { files(disk).into_values().collect() };
        let manifest_of_b = files(&disk)
            .into_iter()
            .find(|(name, bytes)| {
                name.contains("/manifest-") && !String::from_utf8_lossy(bytes).contains("segments/")
            })
            .unwrap();
        remove_documents(&*storage(&disk));
        write_files(&*storage(&disk), &old);
        let opened = open(storage(&disk), 9, 2);
        assert!(opened.is_ok(), "an empty collection does not keep the others closed");
        assert!(contents(&disk).contains(&manifest_of_b.1), "its manifest is kept");
    }
}

mod directories_that_are_not_ours {
    use super::*;

    #[test]
    fn a_foreign_directory_is_refused_and_nothing_is_written() {
        let scratch = Scratch::new("foreign");
        std::fs::create_dir(scratch.path("photos")).unwrap();
        std::fs::write(scratch.path("photos/.tmp-edit.psd"), b"mine").unwrap();
        std::fs::write(scratch.path("notes.txt"), b"mine").unwrap();
        let before = listing(&scratch.0);
        let error = open_at(&scratch.0, Mode::Write).expect_err("it is not empty");
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{error}");
        assert!(error.message().contains("notes.txt"), "what is there is named: {error}");
        assert_eq!(listing(&scratch.0), before);
    }

    #[test]
    fn foreign_files_and_directories_in_a_store_are_left_alone_and_not_synced() {
        let disk = SimDisk::new(1);
        drop(filled(&disk, &["a"]));
        disk.make_dir("photos").unwrap();
        for name in ["photos/.tmp-edit.psd", "photos/.tmp-1", ".tmp-notes", "c/.tmp-x"] {
            drop(disk.create(name).unwrap());
        }
        let before: Vec<String> = files(&disk).into_keys().collect();
        let disk = disk.kill(1);
        drop(open(storage(&disk), 9, 2).unwrap());
        let touched = disk.op_log().into_iter().find(|op| op.ends_with("photos"));
        assert_eq!(files(&disk).into_keys().collect::<Vec<_>>(), before);
        assert_eq!(touched, None, "the foreign directory is not even listed");
    }

    #[test]
    fn parents_are_not_created_and_odd_places_are_refused() {
        let scratch = Scratch::new("odd");
        let error = open_at(&scratch.path("s3:/bucket/store"), Mode::Write).expect_err("no parent");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        std::fs::write(scratch.path("file"), b"mine").unwrap();
        open_at(&scratch.path("file"), Mode::Write).expect_err("a file");
        #[cfg(unix)]
        {
            std::os::unix::fs::symlink(scratch.path("nowhere"), scratch.path("link")).unwrap();
            let error = open_at(&scratch.path("link"), Mode::Write).expect_err("leads to nothing");
            assert!(error.message().contains("symbolic link"), "{error}");
            std::os::unix::fs::symlink(scratch.path("real"), scratch.path("good")).unwrap();
            std::fs::create_dir(scratch.path("real")).unwrap();
            drop(open_at(&scratch.path("good"), Mode::Write).unwrap());
            assert!(scratch.path("real/lock").exists(), "a link to a directory is followed");
        }
        let found: Vec<PathBuf> = listing(&scratch.0).into_keys().collect();
        assert!(!found.iter().any(|path| path.starts_with(scratch.path("s3:"))), "{found:?}");
        assert!(!found.contains(&scratch.path("nowhere")), "{found:?}");
    }

    #[test]
    fn dropped_collections_leave_no_directory_and_cost_no_sync_at_opening() {
        let syncs_of = |count: u64| {
            let disk = SimDisk::new(1);
            let session = open(storage(&disk), 0, 1).unwrap();
            for now in 0..count {
                session.perform(&Step::Create("x"), now).unwrap();
                session.perform(&Step::Write("x", one(now)), now).unwrap();
                session.perform(&Step::Checkpoint("x"), now).unwrap();
                session.perform(&Step::Drop("x"), now).unwrap();
            }
            drop(session);
            let disk = disk.kill(1);
            drop(open(storage(&disk), 900, 2).unwrap());
            let left = disk.list("c").unwrap_or_default();
            assert!(left.is_empty(), "{left:?}");
            disk.op_log().iter().filter(|op| op.starts_with("sync_dir")).count()
        };
        assert!(syncs_of(40) <= syncs_of(1) + 2, "{} against {}", syncs_of(40), syncs_of(1));
    }

    #[test]
    fn snapshots_cost_no_sync_at_opening() {
        let syncs_of = |count: u64| {
            let disk = SimDisk::new(1);
            let session = filled(&disk, &["a"]);
            (0..count).for_each(|n| session.perform(&Step::Snapshot, 100 + n).unwrap());
            drop(session);
            let disk = disk.kill(1);
            drop(open(storage(&disk), 900, 2).unwrap());
            disk.op_log().iter().filter(|op| op.starts_with("sync_dir")).count()
        };
        assert_eq!(syncs_of(20), syncs_of(1));
    }
}

#[cfg(unix)]
mod rights {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn mode(path: &Path) -> u32 {
        std::fs::metadata(path).unwrap().permissions().mode() & 0o777
    }

    #[test]
    fn files_and_directories_are_for_their_owner_alone() {
        let scratch = Scratch::new("rights");
        let root = scratch.path("store");
        let database = open_at(&root, Mode::Write).unwrap();
        let collection = database.create("a", &schema()).unwrap();
        let batch = one(1).batch(&collection.view().schema).unwrap();
        collection.apply(batch, &nearfield_segment::Pool::SERIAL).unwrap();
        collection.checkpoint(&nearfield_segment::Pool::SERIAL).unwrap();
        database.snapshot(&[], &|| true).unwrap();
        drop((collection, database));
        assert_eq!(mode(&root), 0o700);
        let mut seen = 0;
        for path in listing(&root).into_keys() {
            let expected = if path.is_dir() { 0o700 } else { 0o600 };
            assert_eq!(mode(&path), expected, "{}", path.display());
            seen += 1;
        }
        assert!(seen > 10, "{seen}");
    }

    #[test]
    fn a_writer_notices_that_its_lock_file_is_gone() {
        let scratch = Scratch::new("lock");
        let root = scratch.path("store");
        let first = open_at(&root, Mode::Write).unwrap();
        let of_first = first.create("a", &schema()).unwrap();
        let write = |collection: &nearfield_engine::Collection, n| {
            let batch = one(n).batch(&collection.view().schema).unwrap();
            collection.apply(batch, &nearfield_segment::Pool::SERIAL)
        };
        write(&of_first, 1).unwrap();
        std::fs::remove_file(root.join("lock")).unwrap();
        let second = open_at(&root, Mode::Write).unwrap();
        let of_second = second.collection("a").unwrap();
        write(&of_second, 2).unwrap();
        let error = write(&of_first, 3).expect_err("it is not the only writer any more");
        assert_eq!(error.kind(), ErrorKind::Locked, "{error}");
        assert!(error.message().contains("lock file"), "{error}");
        // There is nothing that it may commit.
        let _refused_or_idle = of_first.checkpoint(&nearfield_segment::Pool::SERIAL);
        first.create("b", &schema()).expect_err("nor create");
        write(&of_second, 4).unwrap();
        drop((of_first, first, of_second, second));
        let again = open_at(&root, Mode::Write).unwrap();
        assert_eq!(again.collection("a").unwrap().view().len(), 3);
    }
}
