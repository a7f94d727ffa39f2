//! Faults of recovery, the log, manifests and handles, each by a test through the public interface.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_engine::manifest::{DatabaseManifest, commit, load_newest};
use nearfield_engine::{Database, ErrorKind, Mode, Result};
use nearfield_segment::storage::{
    AlignedBuffer, Appender, Blob, Bytes, Disk, Failure, Fill, Lock, LockMode, MemoryStorage,
    SimDisk, Storage, open_directory,
};
use nearfield_segment::{FileId, Lsn, PointId, Pool, Rng};
use nearfield_tests::fixture::{Fixture, NAME, open_database};
use nearfield_tests::oracle::{Change, Point};
use nearfield_tests::sim::{Session, Step, memory, open, random_change, schema, storage};

fn one(n: u64) -> Change {
    let point = Point { vector: vec![n as f32; 4], n: Some(n) };
    Change { ids: Some(vec![PointId::U64(n)]), points: vec![point], ..Change::default() }
}

/// A store with a collection whose four points are in files, one in each.
fn filled(disk: &SimDisk) -> Session {
    let session = open(storage(disk), 0, 1).unwrap();
    session.perform(&Step::Create(NAME), 1).unwrap();
    for n in 2..6 {
        session.perform(&Step::Write(NAME, one(n)), n).unwrap();
        session.perform(&Step::Checkpoint(NAME), n).unwrap();
    }
    session
}

fn collection_dir(disk: &SimDisk) -> String {
    format!("c/{}", disk.list("c").unwrap()[0].name)
}

mod a_full_disk {
    use super::*;

    /// Whatever recovery does for the orphan meets a full disk: the collection opens, and takes writes again.
    #[test]
    fn does_not_keep_a_collection_with_an_orphan_closed() {
        let disk = SimDisk::new(1);
        drop(filled(&disk));
        let orphan = format!("{}/segments/orphan.seg", collection_dir(&disk));
        storage(&disk).put_new(&orphan, &[7; 100]).unwrap();
        let disk = disk.kill(1);
        let probe = disk.kill(1);
        drop(open(storage(&probe), 10, 2).unwrap().db.collection(NAME).unwrap());
        let ops = probe.op_log();
        let of_quarantine = |op: &&(usize, &String)| {
            op.1.contains("quarantine")
                && (op.1.starts_with("make_dir") || op.1.starts_with("rename"))
        };
        let found: Vec<_> = ops.iter().enumerate().filter(|op| of_quarantine(&op)).collect();
        assert!(!found.is_empty(), "the orphan goes to quarantine");
        for (op, what) in found {
            let full = disk.kill(1);
            full.fail_at(op as u64, Failure::Full);
            let session = open(storage(&full), 10, 2).unwrap();
            let collection = session.db.collection(NAME);
            let collection = collection.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(collection.view().len(), 4, "{what}");
            session.perform(&Step::Write(NAME, one(9)), 11).unwrap();
            assert_eq!(collection.view().len(), 5, "{what}");
        }
    }
}

mod pages_lost_after_a_failed_fsync {
    use super::*;

    /// From read number `limit` of a log on, some of its bytes are gone.
    #[derive(Debug)]
    struct Evicting {
        inner: Arc<dyn Storage>,
        reads: Arc<AtomicU64>,
        limit: u64,
    }

    #[derive(Debug)]
    struct EvictedBlob {
        inner: Arc<dyn Blob>,
        reads: Arc<AtomicU64>,
        limit: u64,
    }

    impl Blob for EvictedBlob {
        fn len(&self) -> u64 {
            self.inner.len()
        }

        fn read(&self, range: std::ops::Range<u64>) -> Result<Bytes> {
            let number = self.reads.fetch_add(1, Ordering::Relaxed);
            let bytes = self.inner.read(range.clone())?;
            if number < self.limit {
                return Ok(bytes);
            }
            let mut copy = AlignedBuffer::copy_of(&bytes);
            let len = self.inner.len();
            for at in
                (len.saturating_sub(120)..len.saturating_sub(60)).filter(|at| range.contains(at))
            {
                copy.as_mut_slice()[(at - range.start) as usize] = 0;
            }
            Ok(copy.into())
        }
    }

    impl Storage for Evicting {
        fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
            let inner = self.inner.open(name)?;
            if !name.contains("/wal/") {
                return Ok(inner);
            }
            Ok(Arc::new(EvictedBlob { inner, reads: Arc::clone(&self.reads), limit: self.limit }))
        }
        fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
            self.inner.put(name, fill)
        }
        fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
            self.inner.put_new(name, bytes)
        }
        fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
            self.inner.append_new(name)
        }
        fn list(&self, dir: &str) -> Result<Vec<String>> {
            self.inner.list(dir)
        }
        fn directories(&self, dir: &str) -> Result<Vec<String>> {
            self.inner.directories(dir)
        }
        fn rename(&self, from: &str, to: &str) -> Result<()> {
            self.inner.rename(from, to)
        }
        fn link(&self, from: &str, to: &str) -> Result<()> {
            self.inner.link(from, to)
        }
        fn remove(&self, name: &str) -> Result<()> {
            self.inner.remove(name)
        }
        fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
            self.inner.remove_durably(dir, names)
        }
        fn free_bytes(&self) -> Result<Option<u64>> {
            self.inner.free_bytes()
        }
        fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
            self.inner.lock(name, mode, owner)
        }
        fn settle(&self, dir: &str) -> Result<usize> {
            self.inner.settle(dir)
        }
    }

    /// A write whose sync fails, a kill, and pages that are evicted before read number `limit` of the recovery.
    /// Returns how many reads there were. What is acknowledged afterwards is there after the next opening.
    fn run(limit: u64) -> u64 {
        let disk = SimDisk::new(5);
        let session = open(storage(&disk), 0, 1).unwrap();
        session.perform(&Step::Create(NAME), 1).unwrap();
        session.perform(&Step::Write(NAME, random_change(&mut Rng::new(1), 3, 0)), 2).unwrap();
        disk.fail_at(disk.op_count() + 1, Failure::Io);
        let failed = session.perform(&Step::Write(NAME, random_change(&mut Rng::new(2), 3, 0)), 3);
        failed.expect_err("the sync fails");
        drop(session);
        let disk = disk.kill(1);
        let reads = Arc::new(AtomicU64::new(0));
        let (inner, counted) = (storage(&disk), Arc::clone(&reads));
        let evicting: Arc<dyn Storage> = Arc::new(Evicting { inner, reads: counted, limit });
        let session = open(evicting, 4, 2).unwrap();
        // A read that finds the pages gone may refuse: then the next attempt finds a shorter log.
        let opened = session.db.collection(NAME).or_else(|_| session.db.collection(NAME)).unwrap();
        let reads = reads.load(Ordering::Relaxed);
        session.perform(&Step::Write(NAME, random_change(&mut Rng::new(3), 3, 0)), 5).unwrap();
        let acknowledged = opened.view().len();
        drop((opened, session));
        let reopened = open(storage(&disk.kill(2)), 6, 3).unwrap();
        let collection = reopened.db.collection(NAME);
        let collection = collection.unwrap_or_else(|error| panic!("evicted at {limit}: {error}"));
        assert_eq!(collection.view().len(), acknowledged, "evicted at {limit}");
        reads
    }

    #[test]
    fn are_never_called_durable() {
        let reads = run(u64::MAX);
        assert!(reads > 3, "{reads}");
        for limit in 0..reads {
            run(limit);
        }
    }
}

mod forged_files {
    use super::*;

    fn u32_at(bytes: &[u8], at: usize) -> u32 {
        u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap())
    }

    fn u64_at(bytes: &[u8], at: usize) -> u64 {
        u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap())
    }

    /// A manifest that names another checksum, with a right one of its own.
    fn reseal_document(text: &str, old: u32, new: u32) -> Vec<u8> {
        let (line, json) = text.split_once('\n').unwrap();
        let json = json.replace(&format!("\"crc\":{old}"), &format!("\"crc\":{new}"));
        let (start, _) = line.rsplit_once(' ').unwrap();
        let (start, _) = start.rsplit_once(' ').unwrap();
        let start = format!("{start} {}", json.len());
        let crc = crc32c::crc32c_append(crc32c::crc32c(start.as_bytes()), json.as_bytes());
        format!("{start} {crc:08x}\n{json}").into_bytes()
    }

    /// The cut of a delete list is raised, and with it the LSN of a delete, above what the manifest says.
    #[test]
    fn a_delete_list_with_another_cut_is_refused() {
        let fixture = Fixture::build().unwrap();
        let (name, manifest) = (fixture.named(".del"), fixture.named("/manifest-"));
        for raise_delete in [false, true] {
            let mut files = fixture.files.clone();
            let bytes = files.get_mut(&name).unwrap();
            let (old, cut) = (u32_at(bytes, 12), u64_at(bytes, 32));
            bytes[32..40].copy_from_slice(&(cut + 1000).to_le_bytes());
            if raise_delete {
                let last = bytes.len() - 8;
                bytes[last..].copy_from_slice(&(cut + 1000).to_le_bytes());
            }
            let new = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
            bytes[12..16].copy_from_slice(&new.to_le_bytes());
            let text = String::from_utf8(files[&manifest].clone()).unwrap();
            files.insert(manifest.clone(), reseal_document(&text, old, new));
            for mode in [Mode::Read, Mode::Write] {
                let db = open_database(&files, mode).unwrap();
                let error = db.collection(NAME).expect_err("not the list that was written");
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
                assert!(error.message().contains(".del"), "{error}");
            }
        }
    }

    #[test]
    fn an_export_at_lsn_0_is_refused() {
        let fixture = Fixture::build().unwrap();
        let name = fixture.named(".near");
        let mut bytes = fixture.files[&name].clone();
        let (front, json_len) = (u64_at(&bytes, 16) as usize, u64_at(&bytes, 32) as usize);
        let text = String::from_utf8(bytes[64..64 + json_len].to_vec()).unwrap();
        let lsn = text.split("\"lsn\":").nth(1).unwrap().split([',', '}']).next().unwrap();
        let forged =
            text.replace(&format!("\"lsn\":{lsn}"), &format!("\"lsn\":{:>1$}", 0, lsn.len()));
        assert!(forged != text && forged.len() == text.len());
        bytes[64..64 + json_len].copy_from_slice(forged.as_bytes());
        bytes[12..16].fill(0);
        let crc = crc32c::crc32c(&bytes[..front]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let storage = memory(&BTreeMap::from([("forged.near".to_owned(), bytes)]));
        let blob = storage.open("forged.near").unwrap();
        let clock = Arc::new(nearfield_engine::ManualClock::new(1));
        let options = nearfield_tests::sim::small_options();
        let opened = Database::from_export("forged.near", &blob, options, clock);
        let error = opened.expect_err("no segment is there before the first batch");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    }

    #[test]
    fn stray_files_in_the_log_are_ignored() {
        let disk = SimDisk::new(1);
        drop(filled(&disk));
        let dir = collection_dir(&disk);
        for stray in ["18446744073709551615.log", "00000000000000000000.log", "notes", "1.log"] {
            for content in [&b""[..], &[1; 200]] {
                let disk = disk.kill(1);
                storage(&disk).put_new(&format!("{dir}/wal/{stray}"), content).unwrap();
                let session = open(storage(&disk), 10, 2).unwrap();
                let opened = session.db.collection(NAME);
                let opened = opened.unwrap_or_else(|error| panic!("{stray}: {error}"));
                assert_eq!(opened.view().len(), 4, "{stray}");
                session.perform(&Step::Write(NAME, one(9)), 11).unwrap();
                let there = storage(&disk).list(&format!("{dir}/wal")).unwrap();
                assert!(there.iter().any(|name| name == stray), "{stray} is left as it is");
            }
        }
    }
}

mod limits {
    use super::*;

    /// A document that could not be read again is not written.
    #[test]
    fn a_document_above_its_limit_is_refused_before_it_is_written() {
        let store = MemoryStorage::default();
        let mut database = DatabaseManifest::first();
        for n in 0..230_000_u64 {
            database.create(&format!("{n:0255}"), FileId(u128::from(n))).unwrap();
        }
        let error = commit(&store, "", database).expect_err("above 64 MiB");
        assert!(matches!(error.kind(), ErrorKind::InvalidInput(_)), "{error}");
        assert!(load_newest::<DatabaseManifest>(&store, "").unwrap().is_none());
    }

    /// Many collections are written in turn by one process.
    #[cfg(target_os = "linux")]
    #[test]
    fn written_collections_do_not_use_up_file_handles() {
        let dir = std::env::temp_dir().join(format!("nearfield-handles-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&dir);
        let storage: Arc<dyn Storage> = Arc::new(open_directory(&dir).unwrap());
        let clock = Arc::new(nearfield_engine::ManualClock::new(1));
        let options = nearfield_engine::Options::default();
        let db = Database::open(storage, Mode::Write, options, clock, 1, "test").unwrap();
        let open_files = || std::fs::read_dir("/proc/self/fd").unwrap().count();
        let before = open_files();
        for n in 0..300 {
            let collection = db.create(&format!("c{n}"), &schema()).unwrap();
            let batch = one(n).batch(&collection.view().schema).unwrap();
            collection.apply(batch, &Pool::SERIAL).unwrap();
        }
        let held = open_files() - before;
        assert!(held < 200, "{held} handles for 300 collections");
        let first = db.collection("c0").unwrap();
        let batch = one(999).batch(&first.view().schema).unwrap();
        first.apply(batch, &Pool::SERIAL).unwrap();
        assert_eq!(first.view().len(), 2, "one whose log was closed takes writes");
        drop((first, db));
        std::fs::remove_dir_all(&dir).unwrap();
    }

    /// All four moments lie within the window; then the clock is ahead for one checkpoint and one vacuum.
    #[test]
    fn one_vacuum_under_a_clock_ahead_does_not_give_the_past_up() {
        let disk = SimDisk::new(1);
        let session = filled(&disk);
        session.perform(&Step::Write(NAME, one(50)), 1_000_000).unwrap();
        session.perform(&Step::Checkpoint(NAME), 1_000_000).unwrap();
        session.perform(&Step::Vacuum(NAME), 1_000_000).unwrap();
        session.perform(&Step::Vacuum(NAME), 7).unwrap();
        let replayed = session.db.replay_to(NAME, Lsn(2), &Pool::SERIAL).unwrap();
        assert_eq!(replayed.points, 2);
    }
}

mod dropped_collections {
    use super::*;

    #[test]
    fn answer_that_they_are_gone() {
        let disk = SimDisk::new(1);
        let session = filled(&disk);
        let collection = session.db.collection(NAME).unwrap();
        session.db.drop_collection(NAME).unwrap();
        let batch = one(9).batch(&collection.view().schema).unwrap();
        let errors = [
            ("upsert", collection.apply(batch, &Pool::SERIAL).err()),
            ("the view a search begins with", collection.refresh().err()),
            ("checkpoint", collection.checkpoint(&Pool::SERIAL).err()),
            ("vacuum", collection.vacuum().err()),
            ("recover", collection.recover().err()),
        ];
        for (what, error) in errors {
            let error = error.unwrap_or_else(|| panic!("{what} succeeds"));
            assert_eq!(error.kind(), ErrorKind::NotFound, "{what}: {error}");
            assert!(error.message().contains("dropped"), "{what}: {error}");
            assert!(!error.message().contains("recover"), "{what}: {error}");
        }
    }
}
