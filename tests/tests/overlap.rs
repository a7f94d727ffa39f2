//! Merges that are under way while groups of changes are written, vacuumed and reopened: crashes and failing media
//! at every single operation.
//!
//! The other sweeps run each merge to its end within a step. Here it is begun, stepped, and ended as an operation
//! each, so that every other operation falls between. Up to three are under way at a time, two of them over files.
//! A group is several changes with one sync: a failure leaves any number of its first changes.
//!
//! Two of three scripts are random. The third brings two merges over different files under way, with random
//! operations between their steps; each sweep counts how often a vacuum met such merges, and how often it met a file
//! that no manifest names yet.
//!
//! `NEARFIELD_OVERLAP_SEEDS` says how many scripts each sweep tries (default 5; a night takes 200).

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::sync::Arc;

use nearfield_engine::batch::Change as EngineChange;
use nearfield_engine::task::{MergeOutput, MergeScope, Step as TaskStep, Task};
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
/// Merges under way at a time.
const MERGES_MAX: usize = 3;
/// Operations that a store must take after a failure.
const GO_ON_LEN: usize = 6;

type Wrong = String;

/// One operation on the collection.
#[derive(Debug, Clone)]
enum Op {
    /// Changes with one sync.
    Group(Vec<Change>),
    DeleteBelow(u64),
    /// Plans a merge, unless enough are under way.
    Begin(MergeScope),
    /// One step of a merge under way; they are numbered in the order in which they were begun.
    Advance(usize),
    /// Carries a merge under way to its end and commits it.
    End(usize),
    Vacuum,
    /// Another process takes over.
    Reopen,
}

fn random_op(rng: &mut Rng) -> Op {
    let efforts =
        [MergeScope::Due, MergeScope::Worthwhile, MergeScope::Checkpoint, MergeScope::Everything];
    match rng.below(24) {
        0..4 => Op::Begin(efforts[rng.below(4) as usize]),
        4..9 => Op::Advance(rng.below(MERGES_MAX as u64) as usize),
        9..13 => Op::End(rng.below(MERGES_MAX as u64) as usize),
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
    if seed % 3 == 1 {
        return script_of_two_merges(&mut rng);
    }
    (0..SCRIPT_LEN).map(|_| random_op(&mut rng)).collect()
}

/// Two merges over two files each, and a checkpoint, are under way at once. Between any two of these operations
/// may come a random one that neither begins nor ends a merge.
fn script_of_two_merges(rng: &mut Rng) -> Vec<Op> {
    // A checkpoint draws in flat files that have no more rows than it, so the second one is the smaller one.
    let write = |rng: &mut Rng, rows| {
        Op::Group(vec![keyed_change(rng.below(12)), random_change(rng, rows, 0)])
    };
    let mut ops = Vec::new();
    for under_way in [0, 1] {
        for rows in [20, 3] {
            ops.extend([write(rng, rows), Op::Begin(MergeScope::Checkpoint), Op::End(under_way)]);
        }
        ops.push(Op::Begin(MergeScope::Worthwhile));
    }
    ops.extend([write(rng, 3), Op::Begin(MergeScope::Checkpoint)]);
    for merge in 0..MERGES_MAX {
        // As many steps as a merge of so few rows can have.
        ops.extend([Op::Advance(merge), Op::Advance(merge), Op::Advance(merge)]);
        ops.push(Op::Vacuum);
    }
    let mut last: Vec<Op> =
        (0..MERGES_MAX).map(|left| Op::End(rng.below(left as u64 + 1) as usize)).collect();
    last.reverse();
    ops.extend(last.into_iter().flat_map(|end| [end, Op::Vacuum]));
    let mut all = Vec::new();
    for op in ops {
        all.push(op);
        match rng.below(12) {
            0 => all.push(Op::Vacuum),
            1 => all.push(Op::DeleteBelow(rng.below(300))),
            2 => all.push(Op::Group(vec![random_change(rng, 2, 5), random_change(rng, 1, 2)])),
            3 => all.push(Op::Advance(rng.below(2) as usize)),
            _ => {}
        }
    }
    all
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
        Op::Begin(_) | Op::Advance(_) | Op::End(_) | Op::Vacuum | Op::Reopen => {}
    }
    all
}

fn last_of(worlds: &[Oracle]) -> Oracle {
    worlds.last().expect("there is always the content before").clone()
}

/// A merge under way.
struct Merge {
    is_checkpoint: bool,
    phase: Phase,
}

enum Phase {
    Running(Box<Task>),
    /// Its file is written, and no manifest names it yet.
    Written(Box<MergeOutput>),
}

impl Merge {
    fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Running(_))
    }
}

/// What the vacuums of a sweep met.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Met {
    /// Two merges over files under way.
    two_merges: u64,
    /// A file that is written and that no manifest names.
    unnamed_file: u64,
}

impl Met {
    fn add(&mut self, (_, live): &(Vec<Oracle>, Option<Live>)) {
        let met = live.as_ref().map_or(Met::default(), |live| live.met);
        self.two_merges += met.two_merges;
        self.unnamed_file += met.unnamed_file;
    }

    /// A sweep that meets neither would find no vacuum that takes too much.
    fn check(self) {
        assert!(self.two_merges > 0 && self.unnamed_file > 0, "{self:?}");
    }
}

/// An open collection and the merges under way.
struct Live {
    _session: Session,
    collection: Arc<Collection>,
    merges: Vec<Merge>,
    met: Met,
}

fn live(disk: &SimDisk, now: u64, seed: u64) -> Result<Live> {
    let session = open(storage(disk), now, seed)?;
    let collection = session.db.collection(NAME)?;
    Ok(Live { _session: session, collection, merges: Vec::new(), met: Met::default() })
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
            Op::Begin(scope) => {
                if self.merges.len() < MERGES_MAX
                    && let Begun::Task(task) = self.collection.begin(*scope)?
                {
                    let is_checkpoint = task.is_checkpoint();
                    self.merges.push(Merge { is_checkpoint, phase: Phase::Running(task) });
                }
                Ok(())
            }
            Op::Advance(merge) => self.advance(*merge),
            Op::End(merge) => {
                while self.merges.get(*merge).is_some_and(Merge::is_running) {
                    self.advance(*merge)?;
                }
                if *merge >= self.merges.len() {
                    return Ok(());
                }
                match self.merges.remove(*merge).phase {
                    Phase::Written(output) => self.collection.end(Ok(*output)),
                    Phase::Running(_) => unreachable!("it was carried to its end"),
                }
            }
            Op::Vacuum => {
                let over_files = self.merges.iter().filter(|merge| !merge.is_checkpoint).count();
                let written = self.merges.iter().any(|merge| !merge.is_running());
                self.met.two_merges += u64::from(over_files > 1);
                self.met.unnamed_file += u64::from(written);
                self.collection.with_writer(|writer| writer.vacuum()).map(drop)
            }
            Op::Reopen => Ok(()),
        }
    }

    fn write(&self, changes: &[Change]) -> Result<()> {
        let schema = Arc::clone(&self.collection.view().schema);
        let batch = |change: &Change| Ok(EngineChange::from(change.batch(&schema)?));
        let changes = changes.iter().map(batch).collect::<Result<Vec<_>>>()?;
        self.collection.apply_all(changes, &Pool::SERIAL).into_iter().try_for_each(|a| a.map(drop))
    }

    fn advance(&mut self, merge: usize) -> Result<()> {
        let Some(Merge { phase, .. }) = self.merges.get_mut(merge) else { return Ok(()) };
        let Phase::Running(task) = phase else { return Ok(()) };
        match task.step(&Pool::SERIAL) {
            Ok(TaskStep::More(_)) => {}
            Ok(TaskStep::Done(output)) => *phase = Phase::Written(output),
            Err(error) => {
                self.merges.remove(merge);
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
    let count = std::env::var("NEARFIELD_OVERLAP_SEEDS").map_or(Ok(5), |text| text.parse());
    count.expect("NEARFIELD_OVERLAP_SEEDS is a number")
}

#[test]
fn a_crash_beside_a_merge_under_way_loses_nothing() {
    let (mut runs, mut met) = (0, Met::default());
    for seed in 0..seeds() {
        let (ops, start) = (script(seed), created(seed));
        let probe = start.kill(seed);
        met.add(&run(&probe, &ops));
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
    println!("{runs} crashes, {met:?}");
    met.check();
}

/// Whether operation `at` was the sync of a directory: if that fails, the disk is read-only, and only a power cut
/// tells what is there.
fn was_a_sync_of_names(disk: &SimDisk, at: u64) -> bool {
    disk.op_log().get(at as usize).is_some_and(|op| op.starts_with("sync_dir"))
}

#[test]
fn a_failing_medium_beside_a_merge_under_way_loses_nothing() {
    let (mut runs, mut met) = (0, Met::default());
    for seed in 1000..1000 + seeds() {
        let (ops, start) = (script(seed), created(seed));
        let probe = start.kill(seed);
        met.add(&run(&probe, &ops));
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
    println!("{runs} failures, {met:?}");
    met.check();
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
        open.merges.clear();
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
    let ops = [write, Op::Begin(MergeScope::Checkpoint)];
    for op in &ops {
        open.perform(op).unwrap();
        oracle = last_of(&worlds(op, &oracle));
    }
    while open.merges[0].is_running() {
        open.advance(0).unwrap();
    }
    open.perform(&Op::Vacuum).unwrap();
    open.perform(&Op::End(0)).unwrap();
    drop(open);
    reopened(&disk.kill(1), std::slice::from_ref(&oracle), 9).unwrap();
    for restart in 0..8 {
        reopened(&disk.restart(restart), std::slice::from_ref(&oracle), 9).unwrap();
    }
}
