//! Comparing a store after a crash with the worlds that are right.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_engine::{Database, ErrorKind, ManualClock, restore, verify};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{Disk, MemoryStorage, SimDisk, Storage};

use super::{Content, Outcome, Session, World, open, small_options, storage};

/// Files by name.
pub type Files = BTreeMap<String, Vec<u8>>;

/// What is wrong, in a sentence.
type Wrong = String;

/// Opens the store on a restarted disk and checks that it holds what was acknowledged, or that and the
/// whole of the step that was under way; that nothing is damaged; and that snapshots and exports are what
/// they were. Returns the open store and which world it is.
///
/// # Errors
/// What is wrong.
pub fn check_store(
    disk: &SimDisk,
    outcome: &Outcome,
    seed: u64,
) -> std::result::Result<(Session, World), Wrong> {
    verified(&storage(disk)).map_err(|wrong| format!("before recovery: {wrong}"))?;
    let (session, world) = open_and_compare(storage(disk), outcome, seed)?;
    verified(&storage(disk)).map_err(|wrong| format!("after recovery: {wrong}"))?;
    check_copies(disk, outcome, &world)?;
    Ok((session, world))
}

/// Opens the store and says which of the two worlds it is. Copies are not looked at.
///
/// # Errors
/// What is wrong.
pub fn open_and_compare(
    storage: Arc<dyn Storage>,
    outcome: &Outcome,
    seed: u64,
) -> std::result::Result<(Session, World), Wrong> {
    let steps = outcome.pending.as_ref().unwrap_or(&outcome.acknowledged).steps;
    let session =
        open(storage, steps, seed).map_err(|error| format!("the store does not open: {error}"))?;
    let right = [Some(&outcome.acknowledged), outcome.pending.as_ref()];
    let mut reasons = Vec::new();
    let mut found = None;
    for world in right.into_iter().flatten() {
        match same_content(&session.db, &world.collections) {
            Ok(()) => found = found.or(Some(world)),
            Err(wrong) => reasons.push(wrong),
        }
    }
    let world = found.ok_or_else(|| reasons.join("; or else: "))?;
    let happened = world.collections != outcome.acknowledged.collections;
    let mut world = World { steps, ..world.clone() }.settled();
    world.snapshots.clone_from(&outcome.acknowledged.snapshots);
    world.exports.clone_from(&outcome.acknowledged.exports);
    if !happened {
        world.backups.clone_from(&outcome.acknowledged.backups);
    }
    Ok((session, world))
}

/// Compares every collection of a database.
///
/// # Errors
/// The first difference.
pub fn same_content(db: &Database, content: &Content) -> std::result::Result<(), Wrong> {
    let expected: Vec<&String> = content.keys().collect();
    let names = db.names();
    if names.iter().ne(expected.iter().copied()) {
        return Err(format!("collections {names:?}, expected {expected:?}"));
    }
    for (name, oracle) in content {
        let collection = db.collection(name).map_err(|error| error.to_string())?;
        if let Some(difference) = oracle.difference(&collection.view()) {
            return Err(format!("{name}: {difference}"));
        }
    }
    Ok(())
}

fn verified(storage: &Arc<dyn Storage>) -> std::result::Result<(), Wrong> {
    let report = match verify(storage, None, &|| true) {
        // Whether there should be one is seen when it is opened.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        other => other.map_err(|error| format!("verify: {error}"))?,
    };
    if report.is_clean() { Ok(()) } else { Err(format!("verify: {:?}", report.findings)) }
}

/// Acknowledged snapshots and exports are there; one under way is whole or not there. What was replaced is
/// in a backup, whether or not that was acknowledged.
fn check_copies(
    disk: &SimDisk,
    outcome: &Outcome,
    found: &World,
) -> std::result::Result<(), Wrong> {
    let all = outcome.pending.as_ref().unwrap_or(&outcome.acknowledged);
    for (dir, content) in &all.snapshots {
        let required = outcome.acknowledged.snapshots.contains_key(dir);
        check_snapshot(disk, dir, content, required).map_err(|wrong| format!("{dir}: {wrong}"))?;
    }
    for (name, content) in &all.exports {
        let required = outcome.acknowledged.exports.contains_key(name);
        check_export(disk, name, content, required).map_err(|wrong| format!("{name}: {wrong}"))?;
    }
    for (dir, content) in &all.backups {
        let required = found.backups.contains_key(dir);
        check_backup(disk, dir, content, required).map_err(|wrong| format!("{dir}: {wrong}"))?;
    }
    Ok(())
}

/// A backup is a database that opens as it is.
fn check_backup(
    disk: &SimDisk,
    dir: &str,
    content: &Content,
    required: bool,
) -> std::result::Result<(), Wrong> {
    let files = tree(disk, dir).unwrap_or_default();
    if !required && !files.keys().any(|name| name.starts_with("database-")) {
        return Ok(());
    }
    let backup = memory(&files);
    verified(&backup)?;
    same_content(&open(backup, 0, 1).map_err(|error| error.to_string())?.db, content)
}

fn check_snapshot(
    disk: &SimDisk,
    dir: &str,
    content: &Content,
    required: bool,
) -> std::result::Result<(), Wrong> {
    let listed = storage(disk).list(dir).map_err(|error| error.to_string())?;
    if !required && !listed.iter().any(|name| name.starts_with("database-")) {
        return Ok(());
    }
    let source = tree(disk, dir).map_err(|error| format!("cannot be read: {error}"))?;
    let source = memory(&source);
    let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    restore(&source, &target, &never_cancelled)
        .map_err(|error| format!("does not restore: {error}"))?;
    let restored = open(target, 0, 1).map_err(|error| format!("restored: {error}"))?;
    same_content(&restored.db, content)
}

fn check_export(
    disk: &SimDisk,
    name: &str,
    content: &Content,
    required: bool,
) -> std::result::Result<(), Wrong> {
    let storage = storage(disk);
    let (dir, file) = name.rsplit_once('/').expect("exports have a directory here");
    let listed = storage.list(dir).map_err(|error| error.to_string())?;
    if !required && !listed.iter().any(|listed| listed == file) {
        return Ok(());
    }
    let blob = storage.open(name).map_err(|error| error.to_string())?;
    let clock = Arc::new(ManualClock::default());
    let db = Database::from_export(name, &blob, small_options(), clock)
        .map_err(|error| error.to_string())?;
    same_content(&db, content)
}

/// Every file below a directory, by name.
///
/// # Errors
/// Those of the disk, `NotFound` if there is no such directory.
pub fn tree(disk: &SimDisk, dir: &str) -> std::io::Result<Files> {
    let mut files = Files::new();
    let mut waiting = vec![String::new()];
    while let Some(inner) = waiting.pop() {
        for entry in disk.list(&join(dir, &inner))? {
            let name = join(&inner, &entry.name);
            if entry.is_dir {
                waiting.push(name);
            } else {
                files.insert(name.clone(), disk.read(&join(dir, &name))?.to_vec());
            }
        }
    }
    Ok(files)
}

/// A storage with these files, without unfinished writes.
///
/// # Panics
/// If a name is no name.
pub fn memory(files: &Files) -> Arc<dyn Storage> {
    let storage = MemoryStorage::default();
    for (name, bytes) in files.iter().filter(|(name, _)| !name.contains(".tmp-")) {
        storage.put_new(name, bytes).expect("names are legal and distinct");
    }
    Arc::new(storage)
}

fn join(dir: &str, name: &str) -> String {
    let slash = if dir.is_empty() || name.is_empty() { "" } else { "/" };
    format!("{dir}{slash}{name}")
}

/// The last operations of a disk, for messages.
pub fn describe(disk: &SimDisk) -> String {
    let log = disk.op_log();
    let start = log.len().saturating_sub(14);
    let lines = (start..).zip(&log[start..]).map(|(number, op)| format!("  {number} {op}"));
    lines.collect::<Vec<_>>().join("\n")
}
