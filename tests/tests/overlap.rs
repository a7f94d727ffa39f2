//! Merges that are under way while groups of changes are written, vacuumed and reopened: crashes and failing media
//! at every single operation.
//!
//! The other sweeps run each merge to its end within a step. Here it is begun, stepped, and ended as an operation
//! each, so that every other operation falls between. A group is several changes with one sync: a failure leaves
//! any number of its first changes.
//!
//! `NEARFIELD_OVERLAP_SEEDS` says how many random scripts each sweep tries (default 4; a night takes 200).

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;

use nearfield_engine::batch::Change as EngineChange;
use nearfield_engine::task::{Effort, MergeOutput, Step as TaskStep, Task};
use nearfield_engine::{Begun, Collection, ErrorKind, Result, verify};
use nearfield_segment::filter::Filter;
use nearfield_segment::storage::{Failure, SimDisk};
use nearfield_segment::{Pool, Rng};
use nearfield_tests::oracle::{Change, Oracle};
use nearfield_tests::sim::{
    Session, Step, describe, keyed_change, open, random_change, row_keyed_change, storage,
};

const NAME: &str = "a";
/// Operations of a script.
const SCRIPT_LEN: usize = 26;
/// Operations that a store must take after a failure.
const GO_ON_LEN: usize = 6;

type Wrong = String;

/// One operation on the collection.
#[derive(Debug, Clone)]
enum Op {
    /// Changes with one sync.
    Group(Vec<Change>),
    DeleteBelow(u64),
    /// Plans a merge, if none is under way.
    Begin(Effort),
    /// One step of the merge under way.
    Advance,
    /// Carries the merge under way to its end and commits it.
    End,
    Vacuum,
    /// Another process takes over.
    Reopen,
}

fn random_op(rng: &mut Rng) -> Op {
    let efforts = [Effort::Due, Effort::Worthwhile, Effort::Checkpoint, Effort::Everything];
    match rng.below(24) {
        0..4 => Op::Begin(efforts[rng.below(4) as usize]),
        4..9 => Op::Advance,
        9..13 => Op::End,
        13 => Op::Vacuum,
        14 => Op::DeleteBelow(rng.below(300)),
        15 => Op::Reopen,
        16 => {
            let mut keyed = || keyed_change(rng.below(12));
            let (first, last) = (keyed(), keyed());
            Op::Group(vec![first, random_change(rng, 3, 3), last])
        }
        17 => {
            let start = rng.below(8);
            Op::Group(vec![row_keyed_change(rng, start, 3)])
        }
        _ => {
            let mut change = || {
                let (rows, deletes) = (rng.below(9) as usize, rng.below(7) as usize);
                random_change(rng, rows, deletes)
            };
            let mut changes = vec![change()];
            let more = changes[0].points.len() % 4;
            changes.extend((0..more).map(|_| change()));
            Op::Group(changes)
        }
    }
}

fn script(seed: u64) -> Vec<Op> {
    let mut rng = Rng::new(seed);
    (0..SCRIPT_LEN).map(|_| random_op(&mut rng)).collect()
}

/// Every content that is right if `op` fails: before it, after its first change, and so on; the last is that of
/// success.
fn worlds(op: &Op, oracle: &Oracle) -> Vec<Oracle> {
    let mut all = vec![oracle.clone()];
    let mut next = oracle.clone();
    match op {
        Op::Group(changes) => {
            for change in changes {
                next.apply(change);
                all.push(next.clone());
            }
        }
        Op::DeleteBelow(bound) => {
            next.delete_below(*bound);
            all.push(next);
        }
        Op::Begin(_) | Op::Advance | Op::End | Op::Vacuum | Op::Reopen => {}
    }
    all
}

fn last_of(worlds: &[Oracle]) -> Oracle {
    worlds.last().expect("there is always the content before").clone()
}

/// An open collection and the merge under way.
struct Live {
    _session: Session,
    collection: Arc<Collection>,
    task: Option<Task>,
    output: Option<MergeOutput>,
}

fn live(disk: &SimDisk, now: u64, seed: u64) -> Result<Live> {
    let session = open(storage(disk), now, seed)?;
    let collection = session.db.collection(NAME)?;
    Ok(Live { _session: session, collection, task: None, output: None })
}

impl Live {
    fn perform(&mut self, op: &Op) -> Result<()> {
        match op {
            Op::Group(changes) => self.write(changes),
            Op::DeleteBelow(bound) => {
                let filter = Filter::from_json(&serde_json::json!({"n": {"lt": bound}}))?;
                match self.collection.delete_where(&filter) {
                    // No point has the field: nothing to delete, which the oracle sees too.
                    Err(error) if matches!(error.kind(), ErrorKind::InvalidInput(_)) => Ok(()),
                    other => other.map(drop),
                }
            }
            Op::Begin(effort) => {
                if self.task.is_none()
                    && self.output.is_none()
                    && let Begun::Task(task) = self.collection.begin(*effort)?
                {
                    self.task = Some(*task);
                }
                Ok(())
            }
            Op::Advance => self.advance(),
            Op::End => {
                while self.task.is_some() {
                    self.advance()?;
                }
                self.output.take().map_or(Ok(()), |output| self.collection.end(Ok(output)))
            }
            Op::Vacuum => self.collection.with_writer(|writer| writer.vacuum()).map(drop),
            Op::Reopen => Ok(()),
        }
    }

    fn write(&self, changes: &[Change]) -> Result<()> {
        let schema = Arc::clone(&self.collection.view().schema);
        let batch = |change: &Change| Ok(EngineChange::from(change.batch(&schema)?));
        let changes = changes.iter().map(batch).collect::<Result<Vec<_>>>()?;
        self.collection.apply_all(changes, &Pool::SERIAL).into_iter().try_for_each(|a| a.map(drop))
    }

    fn advance(&mut self) -> Result<()> {
        let Some(mut task) = self.task.take() else { return Ok(()) };
        match task.step(&Pool::SERIAL) {
            Ok(TaskStep::More(_)) => self.task = Some(task),
            Ok(TaskStep::Done(output)) => self.output = Some(*output),
            Err(error) => {
                // The host says what became of its task, and the caller sees the same error.
                let _said = self.collection.end(Err(error.again()));
                return Err(error);
            }
        }
        Ok(())
    }

    fn is(&self, oracle: &Oracle) -> std::result::Result<(), Wrong> {
        oracle.difference(&self.collection.view()).map_or(Ok(()), Err)
    }

    /// The one of `right` that the collection holds.
    fn which(&self, right: &[Oracle]) -> std::result::Result<Oracle, Wrong> {
        let found = right.iter().rev().find(|oracle| self.is(oracle).is_ok());
        found.cloned().ok_or_else(|| {
            let wrong: Vec<Wrong> = right.iter().filter_map(|o| self.is(o).err()).collect();
            format!("it holds nothing that is right: {}", wrong.join("; or else: "))
        })
    }
}

fn created(seed: u64) -> SimDisk {
    let disk = SimDisk::new(seed);
    let session = open(storage(&disk), 0, 1).unwrap();
    session.perform(&Step::Create(NAME), 1).unwrap();
    drop(session);
    disk.kill(seed)
}

/// Performs operations until one fails; returns what is right then.
fn run(disk: &SimDisk, ops: &[Op]) -> (Vec<Oracle>, Option<Live>) {
    let mut oracle = Oracle::default();
    let Ok(mut open) = live(disk, 2, 3) else { return (vec![oracle], None) };
    for (now, op) in (50..).zip(ops) {
        let after = worlds(op, &oracle);
        if matches!(op, Op::Reopen) {
            drop(open);
            match live(disk, 500, now) {
                Ok(again) => open = again,
                Err(_) => return (vec![oracle], None),
            }
            continue;
        }
        if open.perform(op).is_err() {
            return (after, Some(open));
        }
        oracle = last_of(&after);
        open.is(&oracle).unwrap_or_else(|wrong| panic!("without any failure: {op:?}: {wrong}"));
    }
    (vec![oracle], Some(open))
}

fn verified(disk: &SimDisk, when: &str) -> std::result::Result<(), Wrong> {
    let report =
        verify(&storage(disk), None, &|| true).map_err(|error| format!("{when}: {error}"))?;
    if report.is_clean() { Ok(()) } else { Err(format!("{when}: {:?}", report.findings)) }
}

/// Opens the store after a restart, and says which of the right contents it has.
fn reopened(
    disk: &SimDisk,
    right: &[Oracle],
    seed: u64,
) -> std::result::Result<(Live, Oracle), Wrong> {
    verified(disk, "before recovery")?;
    let open = live(disk, 1_000, seed).map_err(|error| format!("does not open: {error}"))?;
    verified(disk, "after recovery")?;
    let oracle = open.which(right)?;
    Ok((open, oracle))
}

fn go_on(mut open: Live, mut oracle: Oracle, seed: u64) -> std::result::Result<(), Wrong> {
    let mut rng = Rng::new(seed);
    for _ in 0..GO_ON_LEN {
        let op = random_op(&mut rng);
        open.perform(&op).map_err(|error| format!("going on with {op:?}: {error}"))?;
        oracle = last_of(&worlds(&op, &oracle));
        open.is(&oracle).map_err(|wrong| format!("going on with {op:?}: {wrong}"))?;
    }
    Ok(())
}

fn seeds() -> u64 {
    let count = std::env::var("NEARFIELD_OVERLAP_SEEDS").map_or(Ok(4), |text| text.parse());
    count.expect("NEARFIELD_OVERLAP_SEEDS is a number")
}

#[test]
fn a_crash_beside_a_merge_under_way_loses_nothing() {
    let mut runs = 0;
    for seed in 0..seeds() {
        let (ops, start) = (script(seed), created(seed));
        let probe = start.kill(seed);
        run(&probe, &ops);
        for at in 0..probe.op_count() {
            let disk = start.kill(seed ^ at);
            disk.fail_at(at, Failure::Crash);
            let (right, open) = run(&disk, &ops);
            drop(open);
            for restart in 0..3 {
                runs += 1;
                let after =
                    if restart == 2 { disk.kill(at) } else { disk.restart(restart * 7919 + at) };
                let checked = reopened(&after, &right, 900 + at)
                    .and_then(|(open, oracle)| go_on(open, oracle, at * 3 + restart));
                if let Err(wrong) = checked {
                    let ops_of = describe(&disk);
                    panic!("seed {seed}, crash at {at}, restart {restart}: {wrong}\n{ops_of}");
                }
            }
        }
    }
    println!("{runs} crashes");
}

/// Whether operation `at` was the sync of a directory: if that fails, the disk is read-only, and only a power cut
/// tells what is there.
fn was_a_sync_of_names(disk: &SimDisk, at: u64) -> bool {
    disk.op_log().get(at as usize).is_some_and(|op| op.starts_with("sync_dir"))
}

#[test]
fn a_failing_medium_beside_a_merge_under_way_loses_nothing() {
    let mut runs = 0;
    for seed in 1000..1000 + seeds() {
        let (ops, start) = (script(seed), created(seed));
        let probe = start.kill(seed);
        run(&probe, &ops);
        for at in 0..probe.op_count() {
            for failure in [Failure::Io, Failure::Full] {
                runs += 1;
                let disk = start.kill(seed ^ at);
                disk.abort_on_failed_sync_of_names();
                disk.fail_at(at, failure);
                if let Err(wrong) = fail_and_go_on(&disk, &ops, at) {
                    let ops_of = describe(&disk);
                    panic!("seed {seed}, {failure:?} at {at}: {wrong}\n{ops_of}");
                }
            }
        }
    }
    println!("{runs} failures");
}

/// Opens the store; one failure of the medium may keep it closed once. `None` if names could not be synced.
fn open_twice(
    disk: &SimDisk,
    now: u64,
    seed: u64,
    at: u64,
) -> std::result::Result<Option<Live>, Wrong> {
    match live(disk, now, seed) {
        Ok(open) => Ok(Some(open)),
        Err(_) if was_a_sync_of_names(disk, at) => Ok(None),
        Err(_) => {
            live(disk, now, seed + 40).map(Some).map_err(|error| format!("reopening: {error}"))
        }
    }
}

fn fail_and_go_on(disk: &SimDisk, ops: &[Op], at: u64) -> std::result::Result<(), Wrong> {
    let mut oracle = Oracle::default();
    let Some(mut open) = open_twice(disk, 2, 3, at)? else { return Ok(()) };
    for (now, op) in (50..).zip(ops) {
        let after = worlds(op, &oracle);
        if matches!(op, Op::Reopen) {
            drop(open);
            match open_twice(disk, 500, now, at)? {
                Some(again) => open = again,
                None => return power_cut(disk, &[oracle], at),
            }
            continue;
        }
        let done = open.perform(op);
        if was_a_sync_of_names(disk, at) {
            drop(open);
            let right = if done.is_ok() { vec![last_of(&after)] } else { after };
            return power_cut(disk, &right, at);
        }
        let Err(error) = done else {
            oracle = last_of(&after);
            open.is(&oracle).map_err(|wrong| format!("after {op:?}: {wrong}"))?;
            continue;
        };
        open.which(&after).map_err(|wrong| format!("{op:?}: reads do not go on: {wrong}"))?;
        (open.task, open.output) = (None, None);
        open.collection
            .recover()
            .map_err(|again| format!("{op:?}: does not recover: {again} after {error}"))?;
        oracle = open.which(&after).map_err(|wrong| format!("{op:?}, {error}: {wrong}"))?;
    }
    drop(open);
    power_cut(disk, &[oracle], at)
}

fn power_cut(disk: &SimDisk, right: &[Oracle], at: u64) -> std::result::Result<(), Wrong> {
    (0..2).try_for_each(|restart| {
        let after = disk.restart(restart * 31 + at);
        reopened(&after, right, 77 + at)
            .and_then(|(open, oracle)| go_on(open, oracle, at + restart))
            .map_err(|wrong| format!("restart {restart}: {wrong}"))
    })
}

/// A vacuum meets the file of a merge that is written and not committed: no manifest names it yet.
#[test]
fn a_vacuum_leaves_the_file_of_a_merge_under_way() {
    let disk = created(1);
    let mut open = live(&disk, 2, 3).unwrap();
    let mut oracle = Oracle::default();
    let write = Op::Group(vec![random_change(&mut Rng::new(5), 20, 0)]);
    let ops = [write, Op::Begin(Effort::Checkpoint)];
    for op in &ops {
        open.perform(op).unwrap();
        oracle = last_of(&worlds(op, &oracle));
    }
    while open.output.is_none() {
        open.advance().unwrap();
    }
    open.perform(&Op::Vacuum).unwrap();
    open.perform(&Op::End).unwrap();
    drop(open);
    reopened(&disk.restart(1), &[oracle], 9).unwrap();
}
