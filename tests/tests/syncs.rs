//! Every sync is needed: a disk that leaves out one class of syncs must be caught by the crash sweep.
//!
//! Each mutation is a line of the table in `docs/internals/durability.md`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::{Arc, Mutex};

use nearfield_segment::storage::{Failure, SimDisk, Storage, SyncKind};
use nearfield_tests::sim::{
    Outcome, Step, Watched, World, check_store, open_and_compare, run, script, script_of_the_past,
    storage,
};

/// A sync about to happen.
struct Sync<'a> {
    kind: SyncKind,
    /// What is synced, for a file perhaps its temporary name.
    path: &'a str,
    /// The operation of the storage it is part of.
    op: &'static str,
    /// What that is about.
    name: &'a str,
}

impl Sync<'_> {
    fn file(&self) -> bool {
        self.kind == SyncKind::File
    }

    /// Of a directory whose path ends so; `-` stands for that of a collection.
    fn dir(&self, end: &str) -> bool {
        let fits = if end == "-" { self.path.len() > 36 } else { self.path.ends_with(end) };
        self.kind == SyncKind::Dir && fits
    }

    fn root(&self) -> bool {
        self.kind == SyncKind::Dir && self.path.is_empty()
    }

    /// Not about a snapshot or a backup.
    fn live(&self) -> bool {
        !self.name.starts_with("snapshots/") && !self.backup()
    }

    /// About a backup.
    fn backup(&self) -> bool {
        self.name.starts_with("tmp/")
    }

    fn is(&self, op: &str, part: &str) -> bool {
        self.op == op && self.name.contains(part)
    }
}

/// Says yes to a sync that is to be left out.
type Lie = fn(&Sync<'_>) -> bool;

const SEED: u64 = 1;
const RESTARTS: u64 = 3;
/// For losses that hang on one operation and on which of two names it makes durable.
const MANY_RESTARTS: u64 = 60;

/// Storage over a disk that leaves out the syncs for which `lie` returns true; `lie` sees the current operation.
fn lying(disk: &SimDisk, lie: Lie) -> Arc<dyn Storage> {
    let current = Arc::new(Mutex::new(("", String::new())));
    let seen = Arc::clone(&current);
    disk.ignore_sync(move |kind, path| {
        let (op, name) = &*seen.lock().unwrap();
        lie(&Sync { kind, path, op, name })
    });
    let watcher = Arc::new(move |operation, name: &str| {
        *current.lock().unwrap() = (operation, name.to_owned());
    });
    Arc::new(Watched::new(storage(disk), watcher))
}

/// The first loss that leaving out these syncs leads to, if any does, with one disk for each operation.
fn first_loss(steps: &[Step], restarts: u64, lie: Lie) -> Option<String> {
    first_loss_of(1, steps, restarts, lie)
}

/// As [`first_loss`], on `disks` for each operation. The seed of a disk says whether the operation at which the
/// power fails took effect. No number of restarts finds a loss that needs the other answer.
fn first_loss_of(disks: u64, steps: &[Step], restarts: u64, lie: Lie) -> Option<String> {
    let disk = SimDisk::new(SEED);
    let outcome = run(lying(&disk, lie), World::default(), steps, SEED);
    assert_eq!(outcome.error, None);
    for (op, number) in (0..disk.op_count()).flat_map(|op| (0..disks).map(move |n| (op, n))) {
        let disk = SimDisk::new((SEED ^ op) + (number << 32));
        disk.fail_at(op, Failure::Crash);
        let outcome = run(lying(&disk, lie), World::default(), steps, SEED);
        let found = loss_in_power_cut(&disk, &outcome, op, restarts)
            .and_then(|()| loss_after_kill(&disk, lie, &outcome, op));
        if let Err(wrong) = found {
            return Some(format!("crash at operation {op}: {wrong}"));
        }
    }
    None
}

fn loss_in_power_cut(
    disk: &SimDisk,
    outcome: &Outcome,
    op: u64,
    restarts: u64,
) -> Result<(), String> {
    (0..restarts).try_for_each(|restart| {
        let after = disk.restart(restart * 7919 + op);
        check_store(&after, outcome, 1000 + restart).map(drop)
    })
}

/// The process is killed, the next one recovers on the same lying disk and serves what it finds; that
/// must survive a power cut.
fn loss_after_kill(disk: &SimDisk, lie: Lie, outcome: &Outcome, op: u64) -> Result<(), String> {
    let killed = disk.kill(op);
    let files = lying(&killed, lie);
    let (session, world) = open_and_compare(Arc::clone(&files), outcome, 2000)?;
    let served = Outcome { acknowledged: world, pending: None, failed: None, error: None };
    drop(session);
    loss_in_power_cut(&killed, &served, op, RESTARTS)
}

#[test]
fn an_honest_disk_loses_nothing() {
    assert_eq!(first_loss(&script(), RESTARTS, |_| false), None);
}

macro_rules! losses {
    ($disks:expr, $steps:expr, $restarts:expr; $($name:ident: $lie:expr,)*) => { $(
        #[test]
        fn $name() {
            let wrong = first_loss_of($disks, &$steps, $restarts, $lie);
            println!("{wrong:?}");
            assert!(wrong.is_some(), "no loss was found: this sync is not needed, or not tested");
        }
    )* };
}

losses! {
    1, script(), RESTARTS;
    without_syncing_log_files: |s| s.file() && s.live() && s.path.ends_with(".log"),
    without_syncing_names_of_log_files: |s| s.dir("/wal") && s.is("append_new", "/wal/"),
    without_syncing_the_name_of_wal: |s| !s.file() && !s.dir("/wal") && s.is("append_new", "/wal/"),
    without_syncing_segment_files: |s| s.file() && s.live() && s.is("put_new", ".seg"),
    without_syncing_names_of_segment_files: |s| s.dir("/segments") && s.live() && s.is("put_new", ".seg"),
    without_syncing_delete_lists: |s| s.file() && s.live() && s.is("put", ".del"),
    without_syncing_names_of_delete_lists: |s| !s.file() && s.live() && s.is("put", ".del"),
    without_syncing_files_of_keys: |s| s.file() && s.live() && s.is("put", ".keys"),
    without_syncing_names_of_files_of_keys: |s| !s.file() && s.live() && s.is("put", ".keys"),
    without_syncing_manifests: |s| s.file() && s.live() && s.is("put_new", "/manifest-"),
    without_syncing_names_of_manifests: |s| s.dir("-") && s.live() && s.is("put_new", "/manifest-"),
    without_syncing_the_name_of_a_collection: |s| !s.file() && s.path == "c",
    without_syncing_database_manifests: |s| s.file() && s.live() && s.is("put_new", "database-"),
    without_syncing_names_of_database_manifests: |s| s.dir("") && s.live() && s.is("put_new", "database-"),
    without_syncing_names_of_links_in_snapshots: |s| s.dir("/segments") && s.is("link", "snapshots/"),
    without_syncing_logs_in_snapshots: |s| s.file() && !s.live() && s.is("put", ".log"),
    without_syncing_names_of_logs_in_snapshots: |s| s.dir("/wal") && !s.live() && s.is("put", ".log"),
    without_syncing_manifests_in_snapshots: |s| s.file() && !s.live() && s.is("put_new", "/manifest-"),
    without_syncing_names_of_manifests_in_snapshots: |s| s.dir("") && !s.live() && s.is("put_new", "/manifest-"),
    without_syncing_database_manifests_in_snapshots: |s| s.file() && !s.live() && s.is("put_new", "/database-"),
    without_syncing_names_of_database_manifests_in_snapshots: |s| s.dir("") && !s.live() && s.is("put_new", "/database-"),
    without_syncing_names_of_directories_in_snapshots: |s| s.dir("") && !s.dir("/segments") && s.path.contains("snapshots") && s.is("link", ""),
    without_syncing_the_name_of_snapshots: |s| s.root() && !s.live(),
    without_syncing_exports: |s| s.file() && s.is("put", ".near"),
    without_syncing_names_of_exports: |s| s.dir("exports") && s.is("put", ".near"),
    without_syncing_the_name_of_exports: |s| s.root() && s.is("put", ".near"),
    without_settling_what_a_killed_process_left: |s| s.op == "settle",
}

losses! {
    1, script_of_the_past(), RESTARTS;
    without_syncing_names_of_archived_log_files: |s| s.is("rename", "/archive/"),
    without_syncing_the_removal_of_manifests: |s| s.op == "remove_durably",
    without_syncing_names_of_links_in_place: |s| !s.file() && s.live() && s.op == "link",
    without_syncing_the_file_of_a_timeline: |s| s.file() && s.is("put_new", "/wal/"),
    without_syncing_names_of_links_in_backups: |s| s.dir("/segments") && s.backup() && s.op == "link",
    without_syncing_names_of_logs_in_backups: |s| s.dir("/wal") && s.backup() && s.op == "link",
    without_syncing_names_of_manifests_in_backups: |s| s.dir("-") && s.backup() && s.op == "link",
    without_syncing_the_documents_of_backups: |s| s.file() && s.backup(),
    without_syncing_names_of_documents_of_backups: |s| s.dir("") && s.backup() && s.op == "put_new",
}

/// The beginning of the past: the first file of every kind.
fn beginning() -> Vec<Step> {
    let mut steps = script_of_the_past();
    steps.truncate(9);
    steps
}

losses! {
    4, beginning(), MANY_RESTARTS;
    without_syncing_the_name_of_segments: |s| !s.file() && !s.dir("/segments") && s.live() && s.is("put_new", ".seg"),
    without_syncing_the_name_of_c: |s| s.root() && s.live() && s.is("put_new", "/manifest-"),
    without_syncing_the_name_of_tmp: |s| s.root() && s.backup(),
}

macro_rules! covered {
    ($steps:expr; $($name:ident: $lie:expr,)*) => { $(
        #[test]
        fn $name() {
            assert_eq!(first_loss(&$steps, RESTARTS, $lie), None);
        }
    )* };
}

// Syncs on which nothing acknowledged rests: the same directory is synced again before anything does, or
// the file is one that recovery does not need.
covered! {
    script();
    quarantined_files_are_not_needed: |s| s.is("rename", "/quarantine/"),
}

covered! {
    script_of_the_past();
    the_name_of_the_file_of_a_timeline_is_covered_by_the_proof: |s| !s.file() && s.is("put_new", "/wal/"),
}
