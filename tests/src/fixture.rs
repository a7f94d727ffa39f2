//! A small store with every kind of file in it, as bytes: what is damaged, forged, and kept for later
//! versions.

use std::path::Path;
use std::sync::Arc;

use nearfield_engine::{Columns, Database, Export, ManualClock, Mode, Result, RowOutcome, Scan};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{Hit, ListParams, SearchParams};
use nearfield_segment::storage::{Blob, SimDisk};
use nearfield_segment::{Kernel, Metric, Pool, Rng};

use crate::oracle::{Change, Oracle};
use crate::rule::distance;
use crate::sim::{
    DIM, Files, Step, World, keyed_change, memory, open, random_change, row_keyed_change,
    small_options, storage, tree,
};

/// The collection in the store.
pub const NAME: &str = "a";
/// Number of the key of a batch that was written before the checkpoint, and of the first of three rows.
pub const KEY: u64 = 3;

/// The store, and what it holds.
#[derive(Debug, Clone)]
pub struct Fixture {
    /// Everything in the directory.
    pub files: Files,
    /// Content of the collection, after the checkpoint and after each batch that is in the log only.
    pub history: Vec<Oracle>,
}

impl Fixture {
    /// Two segments, the older with a delete list, keys of a batch and of rows, three batches in the log, a snapshot and an export.
    ///
    /// # Errors
    /// None on an honest disk.
    pub fn build() -> Result<Fixture> {
        let disk = SimDisk::new(1);
        let session = open(storage(&disk), 0, 1)?;
        let mut rng = Rng::new(21);
        let mut write = |rows, deletes| Step::Write(NAME, random_change(&mut rng, rows, deletes));
        let mut steps = vec![Step::Create(NAME), write(30, 0), Step::Checkpoint(NAME)];
        steps.push(write(14, 4));
        steps.push(Step::Write(NAME, keyed_change(KEY)));
        steps.push(Step::Write(NAME, row_keyed_change(&mut Rng::new(22), KEY, 3)));
        steps.extend([Step::Checkpoint(NAME), Step::Snapshot]);
        let (mut world, mut history) = (World::default(), Vec::new());
        let perform = |step: &Step, world: &mut World| -> Result<()> {
            session.perform(step, world.steps)?;
            *world = world.after(step);
            Ok(())
        };
        for step in &steps {
            perform(step, &mut world)?;
        }
        history.push(world.collections[NAME].clone());
        for _ in 0..3 {
            perform(&write(3, 2), &mut world)?;
            history.push(world.collections[NAME].clone());
        }
        perform(&Step::Export, &mut world)?;
        Ok(Fixture { files: tree(&disk, "").expect("the disk is up"), history })
    }

    /// The newest content.
    ///
    /// # Panics
    /// Never: there is always one.
    pub fn newest(&self) -> &Oracle {
        self.history.last().expect("built with content")
    }

    /// The name of the only file whose name contains `part`, outside snapshots.
    ///
    /// # Panics
    /// If there are several or none.
    pub fn named(&self, part: &str) -> String {
        let live = |name: &&String| name.contains(part) && !name.starts_with("snapshots/");
        let mut names = self.files.keys().filter(live);
        let name = names.next_back().unwrap_or_else(|| panic!("no file is called {part}"));
        name.clone()
    }
}

/// The files below a directory of the operating system.
///
/// # Errors
/// Those of the system.
pub fn read_directory(root: &Path) -> std::io::Result<Files> {
    let mut files = Files::new();
    let mut waiting = vec![String::new()];
    while let Some(dir) = waiting.pop() {
        for entry in std::fs::read_dir(root.join(&dir))? {
            let entry = entry?;
            let part = entry.file_name().into_string().unwrap_or_default();
            let name = if dir.is_empty() { part } else { format!("{dir}/{part}") };
            if entry.file_type()?.is_dir() {
                waiting.push(name);
            } else {
                files.insert(name, std::fs::read(entry.path())?);
            }
        }
    }
    Ok(files)
}

/// Opens a store, in either mode, whose locks are its own.
///
/// # Errors
/// Those of the engine.
pub fn open_database(files: &Files, mode: Mode) -> Result<Database> {
    let clock = Arc::new(ManualClock::new(1_000_000));
    Database::open(memory(files), mode, small_options(), clock, 77, "fixture")
}

/// Writes the batch and the rows of [`KEY`] once more. `Ok(true)` if they are known.
///
/// # Errors
/// Those of the engine.
pub fn knows_keys(db: &Database) -> Result<bool> {
    let collection = db.collection(NAME)?;
    let rows = Change { ids: None, ..row_keyed_change(&mut Rng::new(23), KEY, 3) };
    let mut known = true;
    for (change, count) in [(keyed_change(KEY), None), (rows, Some(3))] {
        let applied = collection.apply(change.batch(&collection.view().schema)?, &Pool::SERIAL)?;
        let repeated = applied.rows.iter().filter(|row| **row == RowOutcome::Repeated).count();
        known &= repeated == count.unwrap_or(change.points.len());
    }
    Ok(known)
}

/// Reads and searches an export in part, from inverted lists and by original vectors. `Ok(true)` if the answer is that
/// of the oracle.
///
/// # Errors
/// Those of the engine.
pub fn holds_in_part(name: &str, blob: &Arc<dyn Blob>, oracle: &Oracle) -> Result<bool> {
    let export = Export::open(name, blob, Residence::OnDemand)?;
    let view = export.collection(NAME)?;
    let query = [0.3; DIM];
    let params = SearchParams { field: "", k: 5, ef: None, exact: false, filter: None };
    let lists = ListParams { lists: Some(1_000), runs_max: 8, rerank: 1_000 };
    let prepared = view.prepare(params, Kernel::detect())?.with_lists(lists)?;
    let (hits, _) = view.search_many(&prepared, &query, &Pool::SERIAL, &never_cancelled)?.remove(0);
    let columns = Columns { vectors: &[""], metadata: true };
    let found = hits.iter().map(|hit| (hit.id.clone(), (hit.source, hit.row)));
    view.points(found, columns)?;
    Scan::new(view, None, &never_cancelled)?.next(view, columns, 10, usize::MAX)?;
    let mut all: Vec<f32> =
        oracle.points.values().map(|point| distance(Metric::L2, &query, &point.vector)).collect();
    all.sort_by(f32::total_cmp);
    let is_right = |hit: &Hit| {
        let point = oracle.points.get(&hit.id);
        point.is_some_and(|point| distance(Metric::L2, &query, &point.vector) == hit.distance)
    };
    let found: Vec<f32> = hits.iter().map(|hit| hit.distance).collect();
    Ok(hits.iter().all(is_right) && all.starts_with(&found) && found.len() == 5)
}

/// Reads and searches the collection in every way. `Ok(true)` if it holds what the oracle does.
///
/// # Errors
/// Those of the engine.
pub fn holds(db: &Database, oracle: &Oracle) -> Result<bool> {
    let collection = db.collection(NAME)?;
    let view = collection.view();
    Oracle::read(&view)?;
    if oracle.difference(&view).is_some() {
        return Ok(false);
    }
    let query = [0.3; DIM];
    for (exact, ef) in [(true, None), (false, Some(4))] {
        let params = SearchParams { field: "", k: 5, ef, exact, filter: None };
        let prepared = view.prepare(params, collection.kernel())?;
        let found = view.search_many(&prepared, &query, &Pool::SERIAL, &never_cancelled)?;
        let right = found[0].0.iter().all(|hit| {
            let expected = distance(Metric::L2, &query, &oracle.points[&hit.id].vector);
            expected.to_bits() == hit.distance.to_bits()
        });
        let mut all: Vec<f32> = oracle
            .points
            .values()
            .map(|point| distance(Metric::L2, &query, &point.vector))
            .collect();
        all.sort_by(f32::total_cmp);
        let farthest = found[0].0.last().map(|hit| hit.distance);
        let complete = !exact || farthest == all.get(4).copied();
        if !right || !complete || found[0].0.len() != 5 {
            return Ok(false);
        }
    }
    Ok(true)
}
