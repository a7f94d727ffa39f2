//! A disk that is really full: a file system of 16 MiB in memory, if this process may mount one.
//!
//! The same on a simulated disk, always, is in `durability.rs`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use nearfield_engine::task::MergeScope;
use nearfield_engine::{Collection, Database, Error, ErrorKind, ManualClock, Mode, Options};
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{Encoding, Metric, PointId, Pool, Rng, Schema};
use nearfield_tests::oracle::{Change, Oracle, Point};

const DIM: usize = 256;
const BALLAST_BYTES: usize = 4 << 20;
const SPARE_BYTES: usize = 2 << 20;

/// A mounted file system that goes away when dropped.
struct Mount(PathBuf);

impl Mount {
    fn try_new() -> Result<Mount, String> {
        let dir = std::env::temp_dir().join(format!("nearfield-full-{}", std::process::id()));
        std::fs::create_dir_all(&dir).map_err(|error| error.to_string())?;
        let output = Command::new("mount")
            .args(["-t", "tmpfs", "-o", "size=16m", "nearfield-test"])
            .arg(&dir)
            .output()
            .map_err(|error| error.to_string())?;
        if output.status.success() {
            return Ok(Mount(dir));
        }
        let _empty = std::fs::remove_dir(&dir);
        Err(String::from_utf8_lossy(&output.stderr).trim().to_owned())
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _unmounted = Command::new("umount").arg(&self.0).status();
        let _removed = std::fs::remove_dir(&self.0);
    }
}

fn open(root: &Path) -> Database {
    let storage: Arc<dyn Storage> = Arc::new(open_directory(root).unwrap());
    // Recovery copies the newest log file, so that one must fit into what is freed.
    let mut options =
        Options { memtable_bytes_max: 2 << 20, log_file_bytes_max: 1 << 20, ..Options::default() };
    // No graphs: work that is tried again and again on a full disk should be quick.
    options.segment.graph_rows_min = u32::MAX;
    let clock = Arc::new(ManualClock::new(1));
    Database::open(storage, Mode::Write, options, clock, 1, "a full disk").unwrap()
}

fn change(rng: &mut Rng) -> Change {
    let ids = (0..100).map(|_| rng.below(1 << 40)).map(PointId::U64).collect();
    let point = |_| Point { vector: (0..DIM).map(|_| rng.unit_f32()).collect(), n: Some(1) };
    Change { ids: Some(ids), points: (0..100).map(point).collect(), ..Change::default() }
}

fn apply(collection: &Collection, oracle: &mut Oracle, rng: &mut Rng) -> Result<(), Error> {
    let change = change(rng);
    let batch = change.batch(&collection.view().schema)?;
    collection.apply(batch, &Pool::SERIAL)?;
    oracle.apply(&change);
    Ok(())
}

/// Writes until the disk is full, with background work beside it.
fn fill(collection: &Collection, oracle: &mut Oracle, rng: &mut Rng) -> usize {
    for written in 0..10_000 {
        if let Err(error) = apply(collection, oracle, rng) {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
            return written;
        }
        let mut go_on = |_| std::ops::ControlFlow::Continue(());
        if let Err(error) = collection.maintain(MergeScope::Due, &Pool::SERIAL, &mut go_on) {
            assert_eq!(error.kind(), ErrorKind::StorageFull, "{error}");
        }
    }
    panic!("the disk is never full");
}

#[test]
fn a_full_file_system_stops_writes_cleanly_and_loses_nothing() {
    let mount = match Mount::try_new() {
        Ok(mount) => mount,
        Err(reason) => {
            println!("skipped: no file system can be mounted here: {reason}");
            return;
        }
    };
    let ballast = mount.0.join("ballast");
    let spare = mount.0.join("spare");
    std::fs::write(&ballast, vec![1u8; BALLAST_BYTES]).unwrap();
    std::fs::write(&spare, vec![1u8; SPARE_BYTES]).unwrap();
    let store = mount.0.join("store");
    let (mut rng, mut oracle) = (Rng::new(5), Oracle::default());
    let db = open(&store);
    let schema = Schema::dense(DIM, Metric::L2, Encoding::F32).unwrap();
    let collection = db.create("c", &schema).unwrap();
    assert!(fill(&collection, &mut oracle, &mut rng) > 10);
    assert_eq!(oracle.difference(&collection.view()), None, "reads go on");
    std::fs::remove_file(&ballast).unwrap();
    let more = fill(&collection, &mut oracle, &mut rng);
    assert!(more > 10, "writes go on once there is space, without reopening: {more}");
    assert_eq!(oracle.difference(&collection.view()), None);
    drop((collection, db));
    let db = open(&store);
    let collection = db.collection("c").unwrap();
    let lsn = collection.view().lsn;
    println!("reopened at LSN {lsn}, poisoned: {:?}", collection.with_writer(|w| Ok(w.poisoned())));
    std::fs::remove_file(&spare).unwrap();
    collection.recover().unwrap();
    assert_eq!(oracle.difference(&collection.view()), None, "nothing is lost");
    apply(&collection, &mut oracle, &mut rng).unwrap();
    assert_eq!(oracle.difference(&collection.view()), None);
}
