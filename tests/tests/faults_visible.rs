//! State that is visible: space that is freed counts as freed, a snapshot is whole and noticed when it is not, and
//! one that fails leaves nothing behind.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::ops::ControlFlow;
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};
use nearfield_engine::task::MergeScope;
use nearfield_engine::{Begun, Collection, ErrorKind, restore};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{Disk, Failure, MemoryStorage, SimDisk, Storage};
use nearfield_segment::{Pool, Rng};
use nearfield_tests::sim::{Files, Session, Step, memory, open, random_change, storage, tree};

const NAME: &str = "a";
/// Bytes of a log file without a batch, at most.
const EMPTY_LOG_BYTES: u64 = 128;

fn created(disk: &SimDisk) -> Session {
    let session = open(storage(disk), 0, 1).unwrap();
    session.perform(&Step::Create(NAME), 1).unwrap();
    session
}

fn write(session: &Session, seed: u64) {
    let change = random_change(&mut Rng::new(seed), 10, 0);
    session.perform(&Step::Write(NAME, change), seed).unwrap();
}

fn log_bytes(collection: &Collection) -> u64 {
    collection.stats().log.bytes
}

fn points(session: &Session) -> u64 {
    session.db.collection(NAME).unwrap().view().len()
}

/// Names of files below `dir`, which may be missing.
fn names(disk: &SimDisk, dir: &str) -> Vec<String> {
    tree(disk, dir).unwrap_or_default().into_keys().collect()
}

#[test]
fn a_checkpoint_frees_the_log_that_it_covers() {
    let disk = SimDisk::new(1);
    let session = created(&disk);
    let collection = session.db.collection(NAME).unwrap();
    for round in 0..4 {
        write(&session, 2 + round);
        assert!(log_bytes(&collection) > EMPTY_LOG_BYTES);
        session.perform(&Step::Checkpoint(NAME), 10 + round).unwrap();
        assert!(log_bytes(&collection) <= EMPTY_LOG_BYTES, "{}", log_bytes(&collection));
    }
    drop((collection, session));
    // The same after a restart, for a log that was covered before it.
    let session = open(storage(&disk.restart(3)), 20, 2).unwrap();
    let collection = session.db.collection(NAME).unwrap();
    write(&session, 21);
    collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(())).unwrap();
    assert!(log_bytes(&collection) <= EMPTY_LOG_BYTES, "{}", log_bytes(&collection));
}

#[test]
fn a_checkpoint_frees_the_log_it_covers_also_when_batches_come_meanwhile() {
    let disk = SimDisk::new(1);
    let session = created(&disk);
    let collection = session.db.collection(NAME).unwrap();
    for round in 0..5 {
        (0..6).for_each(|batch| write(&session, 10 * round + batch + 2));
        let before = log_bytes(&collection);
        let Begun::Task(task) = collection.begin(MergeScope::Checkpoint).unwrap() else {
            panic!("there is something to write")
        };
        write(&session, 10 * round + 9);
        let output = task.run(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()));
        collection.end(output).unwrap();
        let after = log_bytes(&collection);
        assert!(after > EMPTY_LOG_BYTES && after < before / 2, "{before} to {after}");
    }
}

#[test]
fn a_snapshot_copies_no_log_that_segments_contain() {
    let disk = SimDisk::new(1);
    let session = created(&disk);
    write(&session, 2);
    session.perform(&Step::Checkpoint(NAME), 3).unwrap();
    let snapshot = session.db.snapshot(&[], &|| true).unwrap();
    let files = tree(&disk, &snapshot.dir).unwrap();
    let log = files.iter().filter(|(name, _)| name.contains("/wal/"));
    let bytes: u64 = log.map(|(_, bytes)| bytes.len() as u64).sum();
    assert!(bytes <= EMPTY_LOG_BYTES, "{bytes}");
    let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    restore(&memory(&files), &target, &never_cancelled).unwrap();
    let restored = open(target, 9, 2).unwrap();
    assert_eq!(points(&restored), points(&session));
}

/// A snapshot with one batch in a segment and one in the log, and the number of its points.
fn snapshot_with_log() -> (Files, u64) {
    let disk = SimDisk::new(1);
    let session = created(&disk);
    write(&session, 2);
    session.perform(&Step::Checkpoint(NAME), 3).unwrap();
    write(&session, 4);
    let snapshot = session.db.snapshot(&[], &|| true).unwrap();
    (tree(&disk, &snapshot.dir).unwrap(), points(&session))
}

fn refused(files: &Files) -> nearfield_engine::Error {
    let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    match restore(&memory(files), &target, &never_cancelled) {
        Err(error) => error,
        Ok(_) => panic!("a damaged snapshot was restored"),
    }
}

#[test]
fn a_snapshot_whose_log_is_gone_or_cut_is_refused_by_name() {
    let (whole, count) = snapshot_with_log();
    let log = whole.keys().find(|name| name.contains("/wal/")).unwrap().clone();
    let mut gone = whole.clone();
    gone.remove(&log);
    let mut cuts = vec![gone];
    // The end of the newest frame may be missing after a crash, so the log alone does not tell.
    for cut in [1, 50, whole[&log].len() - 8, whole[&log].len()] {
        let mut shorter = whole.clone();
        let len = whole[&log].len() - cut;
        shorter.get_mut(&log).unwrap().truncate(len);
        cuts.push(shorter);
    }
    for files in cuts {
        let error = refused(&files);
        assert_eq!(error.kind(), ErrorKind::Corrupt);
        assert!(error.message().contains(&log), "{error}");
    }
    let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    restore(&memory(&whole), &target, &never_cancelled).unwrap();
    let restored = open(target, 9, 2).unwrap();
    assert_eq!(points(&restored), count);
}

/// The document with `content` in place of what it had, with the checksum that belongs to it.
fn document(bytes: &[u8], content: &serde_json::Value) -> Vec<u8> {
    let end = bytes.iter().position(|&byte| byte == b'\n').unwrap();
    let line = std::str::from_utf8(&bytes[..end]).unwrap();
    let kind: Vec<&str> = line.split(' ').collect();
    let json = serde_json::to_vec(content).unwrap();
    let start = format!("{} {} {}", kind[0], kind[1], json.len());
    let crc = crc32c_append(crc32c(start.as_bytes()), &json);
    let mut bytes = format!("{start} {crc:08x}\n").into_bytes();
    bytes.extend_from_slice(&json);
    bytes
}

#[test]
fn a_manifest_that_names_another_length_or_row_count_is_refused_before_a_restore() {
    let (whole, _) = snapshot_with_log();
    let manifest = whole.keys().find(|name| name.contains("/manifest-")).unwrap().clone();
    let bytes = &whole[&manifest];
    let start = bytes.iter().position(|&byte| byte == b'\n').unwrap() + 1;
    for (field, value) in [("len", 1_u64 << 63), ("rows", u64::from(u32::MAX))] {
        let mut content: serde_json::Value = serde_json::from_slice(&bytes[start..]).unwrap();
        let segment = content["segments"][0]["file"].as_str().unwrap().to_owned();
        content["segments"][0][field] = value.into();
        let mut files = whole.clone();
        files.insert(manifest.clone(), document(bytes, &content));
        let error = refused(&files);
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert!(error.message().contains(&segment), "{error}");
    }
}

#[test]
fn a_snapshot_that_is_opened_for_writing_can_be_restored_with_what_was_written_since() {
    let store = memory(&snapshot_with_log().0);
    let session = open(Arc::clone(&store), 5, 3).unwrap();
    write(&session, 6);
    let count = points(&session);
    drop(session);
    let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    restore(&store, &target, &never_cancelled).unwrap();
    assert_eq!(points(&open(target, 9, 2).unwrap()), count);
}

#[test]
fn a_snapshot_that_fails_or_is_cut_short_leaves_nothing() {
    let prepared = |seed| {
        let disk = SimDisk::new(seed);
        let session = created(&disk);
        write(&session, 2);
        session.perform(&Step::Checkpoint(NAME), 3).unwrap();
        write(&session, 4);
        (disk, session)
    };
    let (disk, session) = prepared(0);
    let start = disk.op_count();
    session.db.snapshot(&[], &|| true).unwrap();
    let ops = disk.op_count() - start;
    for failure in [Failure::Full, Failure::Io, Failure::Crash] {
        for op in 0..ops {
            let (disk, session) = prepared(op);
            disk.fail_at(disk.op_count() + op, failure);
            let made = session.db.snapshot(&[], &|| true);
            drop(session);
            let disk = if failure == Failure::Crash { disk.restart(op) } else { disk };
            if failure == Failure::Crash {
                // Opening removes what is left.
                drop(open(storage(&disk), 9, 2).unwrap());
            }
            let left = names(&disk, "snapshots");
            let finished = left.iter().any(|name| name.contains("/database-"));
            if failure != Failure::Crash {
                assert_eq!(finished, made.is_ok(), "{failure:?} at {op} of {ops}: {left:?}");
            }
            assert!(finished || left.is_empty(), "{failure:?} at {op} of {ops}: {left:?}");
        }
    }
}

/// Not every directory without a document is an unfinished snapshot: it may be a copy in the making.
#[test]
fn opening_leaves_directories_among_the_snapshots_alone_that_it_did_not_begin() {
    let disk = SimDisk::new(1);
    let session = created(&disk);
    write(&session, 2);
    drop(session);
    let id = disk.list("c").unwrap()[0].name.clone();
    let file = format!("snapshots/copy/c/{id}/segments/x.seg");
    storage(&disk).put_new(&file, b"bytes").unwrap();
    drop(open(storage(&disk), 9, 2).unwrap());
    assert_eq!(names(&disk, "snapshots"), [file.strip_prefix("snapshots/").unwrap()]);
}
