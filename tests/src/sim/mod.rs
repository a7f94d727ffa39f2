//! Workloads on a simulated disk, and what must be there afterwards.
//!
//! A [`World`] is the content that was acknowledged; a step that fails leaves two worlds that are both
//! right: the one before it and the one after it ([`Outcome`]). Everything is a function of seeds.
//!
//! * `script`: steps, written out or drawn at random · `check`: comparing a disk with what is right.

mod check;
mod script;
mod watched;

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_engine::task::MergeScope;
use nearfield_engine::{Database, Error, ErrorKind, ManualClock, Mode, Options, Result, SNAPSHOTS};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::segment::SegmentOptions;
use nearfield_segment::storage::{Directory, SimDisk, Storage};
use nearfield_segment::vector::graph::GraphParams;
use nearfield_segment::{Encoding, InstructionSet, Kernel, Lsn, Metric, Pool, Schema};

use crate::oracle::{Change, KEYS_MAX, Oracle};

pub use check::{Files, check_store, describe, memory, open_and_compare, same_content, tree};
pub use script::{
    keyed_change, random_change, random_id, random_step, row_keyed_change, script,
    script_of_the_past,
};
pub use watched::{Watched, Watcher};

/// Dimension of every vector here.
pub const DIM: usize = 4;

/// Pieces of background work that must suffice for the little that is ever due here.
const MAINTENANCE_MAX: usize = 10;

/// How far back every moment can be reached; a step takes a millisecond.
pub const HISTORY_STEPS: u64 = 15;

/// Something a user does.
#[derive(Debug, Clone, PartialEq)]
pub enum Step {
    /// Creates a collection.
    Create(&'static str),
    /// Drops one.
    Drop(&'static str),
    /// Applies a batch.
    Write(&'static str, Change),
    /// Deletes the points whose `n` is below.
    DeleteBelow(&'static str, u64),
    /// Writes memory to a file.
    Checkpoint(&'static str),
    /// Merges everything into one segment.
    Compact(&'static str),
    /// Does background work until none is due.
    Maintain(&'static str),
    /// Removes files that are no longer needed.
    Vacuum(&'static str),
    /// Takes a snapshot.
    Snapshot,
    /// Puts the collections of the newest snapshot in place of those there are.
    Restore,
    /// Goes back to before the last so many writes.
    Replay(&'static str, u64),
    /// Writes every collection to one file.
    Export,
}

impl Step {
    /// True for a write with keys: it may be tried again without knowing whether it happened.
    pub fn is_keyed(&self) -> bool {
        matches!(self, Step::Write(_, change) if change.key.is_some() || !change.row_keys.is_empty())
    }
}

/// Collections by name.
pub type Content = BTreeMap<String, Oracle>;

/// What a store should hold.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct World {
    /// The collections.
    pub collections: Content,
    /// Content of each snapshot, by its directory.
    pub snapshots: BTreeMap<String, Content>,
    /// Content of each export, by its file.
    pub exports: BTreeMap<String, Content>,
    /// Content of each backup that a replay or restore made, by its directory.
    pub backups: BTreeMap<String, Content>,
    /// Content before each of the latest writes, with their time: where a replay can go back to.
    pub undo: BTreeMap<String, Vec<(u64, Oracle)>>,
    /// Steps tried so far; also the time, so that names of snapshots can be foretold.
    pub steps: u64,
}

impl World {
    /// The world once `step` is done.
    #[must_use]
    pub fn after(&self, step: &Step) -> World {
        let mut world = World { steps: self.steps + 1, ..self.clone() };
        match step {
            Step::Create(name) => {
                let created = Oracle { born: self.steps, ..Oracle::default() };
                world.collections.insert((*name).to_owned(), created);
                world.undo.remove(*name);
            }
            Step::Drop(name) => {
                world.collections.remove(*name);
            }
            Step::Write(name, change) => {
                let before = (self.steps, world.oracle(name).clone());
                world.undo.entry((*name).to_owned()).or_default().push(before);
                if step.is_keyed() {
                    // One that was written before takes no LSN.
                    world.undo.remove(*name);
                }
                world.oracle(name).apply(change);
            }
            Step::DeleteBelow(name, bound) => {
                world.oracle(name).delete_below(*bound);
                world.undo.remove(*name);
            }
            Step::Restore => self.restored(&mut world),
            Step::Replay(name, back) => self.replayed(&mut world, name, *back),
            Step::Checkpoint(_) | Step::Compact(_) | Step::Maintain(_) | Step::Vacuum(_) => {}
            Step::Snapshot => {
                world.snapshots.insert(self.snapshot_dir(), self.collections.clone());
            }
            Step::Export => {
                world.exports.insert(self.export_name(), self.collections.clone());
            }
        }
        world
    }

    /// The world after a failure: how many writes there were is not known.
    #[must_use]
    pub fn settled(self) -> World {
        World { undo: BTreeMap::new(), ..self }
    }

    /// Before how many of the latest writes a replay can go.
    pub fn undoable(&self, name: &str) -> u64 {
        let Some(writes) = self.undo.get(name) else { return 0 };
        let within = |(step, _): &&(u64, Oracle)| step + HISTORY_STEPS > self.steps;
        writes.iter().rev().take_while(within).count() as u64
    }

    fn restored(&self, world: &mut World) {
        // After a failure there may be none.
        let Some((_, snapshot)) = self.snapshots.last_key_value() else { return };
        let mut replaced = Content::new();
        for (name, oracle) in snapshot {
            let old = self.collections.get(name);
            replaced.extend(old.map(|old| (name.clone(), old.clone())));
            // A collection created since has ids of its own.
            let same = old.filter(|old| old.born == oracle.born);
            let new = same.map_or_else(|| oracle.clone(), |old| oracle.in_place_of(old));
            world.collections.insert(name.clone(), new);
            world.undo.remove(name);
        }
        if !replaced.is_empty() {
            world.backups.insert(format!("tmp/restore_backup_{:014}", self.steps), replaced);
        }
    }

    /// How far back a replay of `back` writes goes: after a failure less is known than a script foresaw.
    fn back(&self, name: &str, back: u64) -> u64 {
        back.min(self.undo.get(name).map_or(0, |writes| writes.len() as u64))
    }

    fn replayed(&self, world: &mut World, name: &str, back: u64) {
        let current = &self.collections[name];
        let then = match self.back(name, back) as usize {
            0 => current,
            back => &self.undo[name][self.undo[name].len() - back].1,
        };
        world.collections.insert(name.to_owned(), then.in_place_of(current));
        let kept = Content::from([(name.to_owned(), current.clone())]);
        world.backups.insert(format!("tmp/replay_backup_{:014}", self.steps), kept);
        world.undo.remove(name);
    }

    fn oracle(&mut self, name: &str) -> &mut Oracle {
        self.collections.get_mut(name).expect("the step names a collection that is there")
    }

    fn snapshot_dir(&self) -> String {
        format!("{SNAPSHOTS}/snap-{:014}", self.steps)
    }

    fn export_name(&self) -> String {
        format!("exports/{}.near", self.steps)
    }
}

/// What came of some steps.
#[derive(Debug, Clone)]
pub struct Outcome {
    /// What was acknowledged.
    pub acknowledged: World,
    /// What would be, had the failed step been done; `None` if none failed.
    pub pending: Option<World>,
    /// The step that failed, unless opening did.
    pub failed: Option<Step>,
    /// Error of the step that failed.
    pub error: Option<String>,
}

/// Settings under which a few points are many: small files, early checkpoints and graphs.
pub fn small_options() -> Options {
    let kernel = Kernel::forced(InstructionSet::Scalar).expect("there is always scalar");
    let graph = GraphParams::default();
    Options {
        memtable_bytes_max: 6 << 10,
        memtable_bytes_hard: 64 << 10,
        level0_rows_max: 40,
        merge_bytes_max: u64::MAX,
        one_merge_bytes_max: u64::MAX,
        dead_share_max: 0.3,
        log_file_bytes_max: 1 << 10,
        open_logs_max: 1,
        idempotency_keys_max: KEYS_MAX,
        history_ms: Some(HISTORY_STEPS),
        history_bytes_max: 0,
        quarantine_ms: 30,
        quarantine_files_max: 3,
        quarantine_bytes_max: 1 << 20,
        segment: SegmentOptions { kernel, graph_rows_min: 12, graph },
    }
}

/// Vectors of every collection here.
pub fn schema() -> Schema {
    Schema::dense(DIM, Metric::L2, Encoding::F32).expect("a legal dimension")
}

/// Storage over a simulated disk, as a process of its own would have it.
pub fn storage(disk: &SimDisk) -> Arc<dyn Storage> {
    Arc::new(Directory::new(disk.clone()))
}

/// Opens the store as its writer.
///
/// # Errors
/// Those of the engine.
pub fn open(storage: Arc<dyn Storage>, now: u64, seed: u64) -> Result<Session> {
    let clock = Arc::new(ManualClock::new(now));
    let (files, time) = (Arc::clone(&storage), Arc::clone(&clock));
    let db = Database::open(files, Mode::Write, small_options(), time, seed, "pid 1 test")?;
    Ok(Session { db, storage, clock })
}

/// Opens the store and does `steps` until one fails. A store that cannot be opened is a failed step that
/// changes nothing.
pub fn run(storage: Arc<dyn Storage>, world: World, steps: &[Step], seed: u64) -> Outcome {
    let mut outcome = Outcome { acknowledged: world, pending: None, failed: None, error: None };
    let world = &mut outcome.acknowledged;
    match open(storage, world.steps, seed) {
        Err(error) => {
            (outcome.pending, outcome.error) = (Some(world.clone()), Some(error.to_string()));
        }
        Ok(session) => {
            for step in steps {
                let after = world.after(step);
                if let Err(error) = session.perform_in(step, world) {
                    (outcome.pending, outcome.failed) = (Some(after), Some(step.clone()));
                    outcome.error = Some(error.to_string());
                    break;
                }
                *world = after;
            }
        }
    }
    outcome
}

/// An open store.
#[derive(Debug)]
pub struct Session {
    /// The store.
    pub db: Database,
    storage: Arc<dyn Storage>,
    clock: Arc<ManualClock>,
}

impl Session {
    /// Does one step, which is the `now`-th.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn perform(&self, step: &Step, now: u64) -> Result<()> {
        self.perform_in(step, &World { steps: now, ..World::default() })
    }

    /// Does one step in a world, whose newest snapshot is the one to restore.
    ///
    /// # Errors
    /// Those of the engine.
    pub fn perform_in(&self, step: &Step, world: &World) -> Result<()> {
        let now = world.steps;
        self.clock.set(now);
        let (db, pool) = (&self.db, Pool::SERIAL);
        match step {
            Step::Create(name) => db.create(name, &schema()).map(drop),
            Step::Drop(name) => db.drop_collection(name),
            Step::Write(name, change) => {
                let collection = db.collection(name)?;
                let batch = change.batch(&collection.view().schema)?;
                collection.apply(batch, &pool).map(drop)
            }
            Step::DeleteBelow(name, bound) => {
                let filter = Filter::from_json(&serde_json::json!({"n": {"lt": bound}}))?;
                match db.collection(name)?.delete_where(&filter) {
                    // No point has the field: nothing to delete, which the oracle sees too.
                    Err(error) if matches!(error.kind(), ErrorKind::InvalidInput(_)) => Ok(()),
                    other => other.map(drop),
                }
            }
            Step::Checkpoint(name) => db.collection(name)?.checkpoint(&pool),
            Step::Compact(name) => {
                db.collection(name)?.compact(&pool, &mut |_| ControlFlow::Continue(()))
            }
            Step::Maintain(name) => {
                let collection = db.collection(name)?;
                for _ in 0..MAINTENANCE_MAX {
                    if !collection
                        .maintain(MergeScope::Due, &pool, &mut |_| ControlFlow::Continue(()))?
                    {
                        return Ok(());
                    }
                }
                Err(Error::new(ErrorKind::Conflict, "background work does not come to an end"))
            }
            Step::Vacuum(name) => db.collection(name)?.with_writer(|w| w.vacuum()).map(drop),
            Step::Snapshot => db.snapshot(&[], &|| true).map(drop),
            Step::Restore => match world.snapshots.last_key_value() {
                Some((dir, _)) => db.restore_snapshot(dir).map(drop),
                None => Ok(()),
            },
            Step::Replay(name, back) => {
                let target = Lsn(db.collection(name)?.view().lsn.0 - world.back(name, *back));
                db.replay_to(name, target, &pool).map(drop)
            }
            Step::Export => {
                let name = format!("exports/{now}.near");
                db.export(&*self.storage, &name, &[], &Pool::SERIAL, &never_cancelled).map(drop)
            }
        }
    }
}
