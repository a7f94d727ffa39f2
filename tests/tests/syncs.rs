//! Every sync is needed: a disk that leaves out one class of syncs must be caught by the crash sweep.
//!
//! Each mutation is a line of the table in `docs/durability.md`.

use std::sync::{Arc, Mutex};

use nearfield_segment::storage::{Failure, SimDisk, Storage, SyncKind};
use nearfield_tests::sim::{Outcome, Watched, World, check_store, run, script, storage};

/// Says yes to a sync that is to be left out: kind, path synced, operation under way and what it is about.
type Lie = fn(SyncKind, &str, &str, &str) -> bool;

const SEED: u64 = 1;
const RESTARTS: u64 = 3;

/// A disk that leaves out the syncs `lie` says yes to, and storage over it that tells the lie what is
/// being done.
fn lying(lie: Lie, seed: u64) -> (SimDisk, Arc<dyn Storage>) {
    let disk = SimDisk::new(seed);
    let current = Arc::new(Mutex::new(("", String::new())));
    let seen = Arc::clone(&current);
    disk.ignore_sync(move |kind, path| {
        let (operation, name) = &*seen.lock().unwrap();
        lie(kind, path, operation, name)
    });
    let watcher = Arc::new(move |operation, name: &str| {
        *current.lock().unwrap() = (operation, name.to_owned());
    });
    let watched = Arc::new(Watched::new(storage(&disk), watcher));
    (disk, watched)
}

/// The first loss that leaving out these syncs leads to, if any does.
fn first_loss(lie: Lie) -> Option<String> {
    let (disk, files) = lying(lie, SEED);
    let outcome = run(files, World::default(), &script(), SEED);
    assert_eq!(outcome.error, None);
    for op in 0..disk.op_count() {
        let (disk, files) = lying(lie, SEED ^ op);
        disk.fail_at(op, Failure::Crash);
        let outcome = run(files, World::default(), &script(), SEED);
        if let Some(wrong) = (0..RESTARTS).find_map(|restart| loss(&disk, &outcome, op, restart)) {
            return Some(format!("crash at operation {op}: {wrong}"));
        }
    }
    None
}

fn loss(disk: &SimDisk, outcome: &Outcome, op: u64, restart: u64) -> Option<String> {
    let after = disk.restart(restart * 7919 + op);
    check_store(&after, outcome, 1000 + restart).err()
}

fn in_store(name: &str) -> bool {
    !name.starts_with("snapshots/")
}

macro_rules! mutations {
    ($($name:ident: $lie:expr,)*) => { $(
        #[test]
        fn $name() {
            let wrong = first_loss($lie);
            println!("{wrong:?}");
            assert!(wrong.is_some(), "no loss was found: this sync is not needed, or not tested");
        }
    )* };
}

mutations! {
    without_syncing_log_files: |kind, path, _, _| kind == SyncKind::File && in_store(path) && path.ends_with(".log"),
    without_syncing_new_log_files_into_their_directory: |kind, path, op, _| kind == SyncKind::Dir && in_store(path) && path.ends_with("/wal") && op == "append_new",
    without_syncing_the_collection_after_making_wal: |kind, path, op, name| kind == SyncKind::Dir && in_store(path) && op == "append_new" && name.contains("/wal/") && !path.ends_with("/wal"),
    without_syncing_segment_files: |kind, _, op, name| kind == SyncKind::File && in_store(name) && op == "put" && name.ends_with(".seg"),
    without_syncing_the_directory_of_segments: |kind, path, op, name| kind == SyncKind::Dir && in_store(path) && path.ends_with("/segments") && op == "put" && name.ends_with(".seg"),
    without_syncing_the_collection_after_making_segments: |kind, path, op, name| kind == SyncKind::Dir && in_store(path) && op == "put" && name.ends_with(".seg") && !path.ends_with("/segments"),
    without_syncing_delete_lists: |kind, _, op, name| kind == SyncKind::File && in_store(name) && op == "put" && name.ends_with(".del"),
    without_syncing_the_directory_of_delete_lists: |kind, path, op, name| kind == SyncKind::Dir && in_store(path) && op == "put" && name.ends_with(".del"),
    without_syncing_manifests: |kind, _, op, name| kind == SyncKind::File && in_store(name) && op == "put_new" && name.contains("/manifest-"),
    without_syncing_the_directory_of_manifests: |kind, path, op, name| kind == SyncKind::Dir && in_store(name) && op == "put_new" && name.contains("/manifest-") && path.len() > 2,
    without_syncing_the_root_after_making_c: |kind, path, op, name| kind == SyncKind::Dir && path.is_empty() && op == "put_new" && name.contains("/manifest-"),
    without_syncing_c_after_making_a_collection: |kind, path, _, _| kind == SyncKind::Dir && path == "c",
    without_syncing_database_manifests: |kind, _, op, name| kind == SyncKind::File && op == "put_new" && name.starts_with("database-"),
    without_syncing_the_directory_of_database_manifests: |kind, path, op, name| kind == SyncKind::Dir && path.is_empty() && op == "put_new" && name.starts_with("database-"),
    without_syncing_links_of_snapshots: |kind, path, op, name| kind == SyncKind::Dir && op == "link" && name.starts_with("snapshots/") && path.ends_with("/segments"),
    without_syncing_logs_copied_into_snapshots: |kind, _, op, name| kind == SyncKind::File && op == "put" && name.starts_with("snapshots/") && name.ends_with(".log"),
    without_syncing_the_directories_of_logs_in_snapshots: |kind, path, op, _| kind == SyncKind::Dir && op == "put" && path.starts_with("snapshots/") && path.ends_with("/wal"),
    without_syncing_manifests_of_snapshots: |kind, _, op, name| kind == SyncKind::File && op == "put_new" && name.starts_with("snapshots/") && name.contains("/manifest-"),
    without_syncing_database_manifests_of_snapshots: |kind, _, op, name| kind == SyncKind::File && op == "put_new" && name.starts_with("snapshots/") && name.contains("/database-"),
    without_syncing_the_directory_of_a_snapshot: |kind, path, op, name| kind == SyncKind::Dir && op == "put_new" && name.starts_with("snapshots/") && path.matches('/').count() == 1,
    without_syncing_new_directories_of_snapshots: |kind, path, op, _| kind == SyncKind::Dir && op == "link" && (path.starts_with("snapshots") && !path.ends_with("/segments")),
    without_syncing_the_root_after_making_snapshots: |kind, path, op, name| kind == SyncKind::Dir && path.is_empty() && name.starts_with("snapshots/") && (op == "link" || op == "put" || op == "put_new"),
    without_syncing_exports: |kind, _, op, name| kind == SyncKind::File && op == "put" && name.ends_with(".near"),
    without_syncing_the_directory_of_exports: |kind, path, op, name| kind == SyncKind::Dir && op == "put" && name.ends_with(".near") && path == "exports",
    without_syncing_the_root_after_making_exports: |kind, path, op, name| kind == SyncKind::Dir && op == "put" && name.ends_with(".near") && path.is_empty(),
    without_syncing_archived_files: |kind, _, op, name| kind == SyncKind::Dir && op == "rename" && name.contains("/archive/"),
    without_syncing_quarantined_files: |kind, _, op, name| kind == SyncKind::Dir && op == "rename" && name.contains("/quarantine/"),
    without_settling: |_, _, op, _| op == "settle",
}
