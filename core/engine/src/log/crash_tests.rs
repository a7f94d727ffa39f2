//! The log on a disk that loses power: every primitive of a workload is made to crash or fail in turn,
//! the machine is restarted (or only the process), and what was served or acknowledged must be there,
//! then and after the next power cut.

use std::collections::BTreeSet;
use std::sync::Arc;

use nearfield_segment::storage::{Directory, Failure, SimDisk, SyncKind};
use nearfield_segment::{ErrorKind, FileId, Lsn, Rng};

use super::*;

const COLLECTION: FileId = FileId(9);

/// What was tried and promised since the last recovery.
#[derive(Debug, Default, Clone)]
struct Promise {
    /// Bodies by LSN, from 1, in the order they were appended.
    appended: Vec<Vec<u8>>,
    /// How many of them were acknowledged.
    acknowledged: usize,
    /// The cut of the manifest that would have been committed.
    cut: Lsn,
}

fn place(disk: &SimDisk) -> LogDirectory {
    LogDirectory::new(Arc::new(Directory::new(disk.clone())), "c", COLLECTION)
}

/// Opens, appends in groups with rotation, archives; stops at the first error.
fn work(disk: &SimDisk, generation: u8, promise: &mut Promise) -> Result<()> {
    let place = place(disk);
    let report = replay(&place, promise.cut, Mode::Recover, &mut |_, _| Ok(()))?;
    let options = FileLogOptions { file_bytes_max: 700, epoch: u64::from(generation) };
    let mut log = FileLog::open(place, &report, options);
    for group in [1, 3, 2] {
        for _ in 0..group {
            let len = 30 * (promise.appended.len() % 5);
            let body = vec![generation ^ promise.appended.len() as u8; len];
            promise.appended.push(body.clone());
            let lsn = log.append(&body)?;
            assert_eq!(lsn.0, promise.appended.len() as u64);
        }
        promise.acknowledged = log.sync()?.0 as usize;
    }
    let cut = Lsn(log.durable().0 - 2);
    promise.cut = cut;
    log.rotate()?;
    log.archive_through(cut)?;
    Ok(())
}

/// Recovers and compares with the promise, which becomes what was found.
fn settle(disk: &SimDisk, promise: &mut Promise) -> std::result::Result<(), String> {
    let mut found = promise.appended[..promise.cut.0 as usize].to_vec();
    let report = replay(&place(disk), promise.cut, Mode::Recover, &mut |_, body| {
        found.push(body.to_vec());
        Ok(())
    });
    let report = report.map_err(|error| format!("does not open: {error}"))?;
    if found.len() < promise.acknowledged {
        return Err(format!("{} of {} acknowledged", found.len(), promise.acknowledged));
    }
    if report.last.0 as usize != found.len() || promise.appended[..found.len()] != found {
        return Err("other batches than were appended".to_owned());
    }
    promise.acknowledged = found.len();
    promise.appended = found;
    Ok(())
}

/// One life: work until the failure, restart, recover, lose power, recover, work on.
fn live(seed: u64, disk: SimDisk) -> std::result::Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut promise = Promise::default();
    let mut disk = disk;
    for generation in 1..=2 {
        // An error is expected here: it is what was injected.
        let _ = work(&disk, generation, &mut promise);
        let power_stays = rng.below(2) == 0;
        disk = if power_stays { disk.kill(rng.next_u64()) } else { disk.restart(rng.next_u64()) };
        settle(&disk, &mut promise)?;
        disk = disk.restart(rng.next_u64());
        settle(&disk, &mut promise).map_err(|error| format!("after recovery: {error}"))?;
    }
    Ok(())
}

fn op_count() -> u64 {
    let disk = SimDisk::new(0);
    work(&disk, 1, &mut Promise::default()).expect("nothing fails");
    disk.op_count()
}

#[test]
fn acknowledged_batches_survive_a_failure_at_every_primitive() {
    for op in 0..op_count() {
        for failure in [Failure::Crash, Failure::Io, Failure::Full] {
            for seed in 0..12 {
                let disk = SimDisk::new(seed);
                disk.fail_at(op, failure);
                live(seed, disk)
                    .unwrap_or_else(|error| panic!("op {op} {failure:?} seed {seed}: {error}"));
            }
        }
    }
}

/// A failure during recovery itself: the next recovery still finds everything.
#[test]
fn recovery_can_fail_at_every_primitive_and_be_repeated() {
    for crash in 0..op_count() {
        for seed in 0..4 {
            let disk = SimDisk::new(seed);
            disk.fail_at(crash, Failure::Crash);
            let mut promise = Promise::default();
            let _ = work(&disk, 1, &mut promise);
            for op in 0..8 {
                let disk = disk.kill(seed);
                disk.fail_at(op, if seed % 2 == 0 { Failure::Crash } else { Failure::Io });
                let _ = replay(&place(&disk), promise.cut, Mode::Recover, &mut |_, _| Ok(()));
                settle(&disk.restart(seed + 100), &mut promise.clone())
                    .unwrap_or_else(|error| panic!("crash {crash} op {op} seed {seed}: {error}"));
            }
        }
    }
}

/// The sweep must notice a missing sync: each kind is left out once, and the promise must break.
#[test]
fn leaving_out_a_sync_of_the_log_breaks_the_promise() {
    let survives = |lie: fn(SyncKind, &str) -> bool| {
        (0..op_count()).all(|op| {
            (0..12).all(|seed| {
                let disk = SimDisk::new(seed);
                disk.fail_at(op, Failure::Crash);
                disk.ignore_sync(lie);
                live(seed, disk).is_ok()
            })
        })
    };
    assert!(survives(|_, _| false), "an honest disk keeps the promise");
    assert!(!survives(|kind, path| kind == SyncKind::File && path.ends_with(".log")));
    assert!(!survives(|kind, path| kind == SyncKind::Dir && path.ends_with("wal")));
}

/// One bit of a durable log rots: the answer is a refusal, or everything.
#[test]
fn rot_in_a_durable_log_is_refused_or_harmless() {
    let mut promise = Promise::default();
    let disk = SimDisk::new(1);
    work(&disk, 1, &mut promise).expect("nothing fails");
    work(&disk, 2, &mut promise).expect("nothing fails");
    let storage = Directory::new(disk.clone());
    let names = nearfield_segment::storage::Storage::list(&storage, "c/wal").expect("lists");
    let mut refused = BTreeSet::new();
    for seed in 0..400 {
        let mut rng = Rng::new(seed);
        let name = format!("c/wal/{}", names[rng.below(names.len() as u64) as usize]);
        let rotten = disk.kill(seed);
        rotten.edit(&name, |bytes| {
            let at = rng.below(bytes.len() as u64) as usize;
            bytes[at] ^= 1 << rng.below(8);
        });
        let result = replay(&place(&rotten), promise.cut, Mode::Recover, &mut |_, _| Ok(()));
        match result {
            Ok(report) => assert_eq!(report.last.0 as usize, promise.acknowledged, "seed {seed}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "seed {seed}: {error}");
                refused.insert(name);
            }
        }
    }
    assert!(!refused.is_empty(), "some of it must matter");
}
