//! Failures that the sweeps of `durability.rs` do not make: a disk that stays full, also for names and directories;
//! page cache that is dropped after a failed sync; files that are gone; rot after a crash; a clock that goes back;
//! two writers.
//!
//! `NEARFIELD_MODEL_STRIDE` says how many operations lie between two that fail (default 5; a night takes 1).

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use nearfield_engine::ErrorKind;
use nearfield_segment::Rng;
use nearfield_segment::storage::{Disk, Failure, SimDisk};
use nearfield_tests::fixture::{Fixture, holds};
use nearfield_tests::oracle::Oracle;
use nearfield_tests::sim::{
    Files, Outcome, Session, Step, World, check_store, describe, open, random_step, run,
    same_content, script, storage, tree,
};

const A: &str = "a";

fn stride() -> usize {
    let stride = std::env::var("NEARFIELD_MODEL_STRIDE").map_or(Ok(5), |text| text.parse());
    stride.expect("NEARFIELD_MODEL_STRIDE is a number")
}

fn ops_of(steps: &[Step]) -> u64 {
    let disk = SimDisk::new(1);
    let outcome = run(storage(&disk), World::default(), steps, 1);
    assert_eq!(outcome.error, None, "without failures everything works");
    disk.op_count()
}

fn certain(world: World) -> Outcome {
    Outcome { acknowledged: world, pending: None, failed: None, error: None }
}

/// The content of every collection is that before a step or after it.
fn either(session: &Session, before: &World, after: &World) -> Result<World, String> {
    let now = same_content(&session.db, &after.collections).map(|()| after);
    let now = now.or_else(|_| same_content(&session.db, &before.collections).map(|()| before))?;
    Ok(World { steps: after.steps, ..now.clone() }.settled())
}

/// Before step `full_at` the disk fills up to the last block, and stays so for a while: steps fail, reads go on.
/// Then there is space: the rest succeeds, and a power cut loses nothing.
fn fill_up(steps: &[Step], full_at: usize, full_for: usize) -> Result<(), String> {
    let disk = SimDisk::new(full_at as u64);
    let session = open(storage(&disk), 0, 1).map_err(|error| error.to_string())?;
    let mut world = World::default();
    for (index, step) in steps.iter().enumerate() {
        disk.set_full((full_at..full_at + full_for).contains(&index));
        let context = |wrong: String| format!("step {index}, {step:?}: {wrong}");
        // What an earlier failure left out cannot be dropped, restored or written.
        let known = |name: &str| world.collections.contains_key(name);
        let fits = match step {
            Step::Create(name) => !known(name),
            Step::Drop(name)
            | Step::Write(name, _)
            | Step::DeleteBelow(name, _)
            | Step::Checkpoint(name)
            | Step::Compact(name)
            | Step::Maintain(name)
            | Step::Vacuum(name)
            | Step::Replay(name, _) => known(name),
            Step::Snapshot | Step::Restore | Step::Export => true,
        };
        if !fits {
            world = World { steps: world.steps + 1, ..world };
            continue;
        }
        let after = world.after(step);
        world = match session.perform_in(step, &world) {
            Ok(()) => after,
            Err(error) if error.kind() == ErrorKind::StorageFull => {
                let still = either(&session, &world, &after).map_err(context)?;
                World { snapshots: world.snapshots, exports: world.exports, ..still }
            }
            Err(error) => return Err(context(format!("{:?}: {error}", error.kind()))),
        };
        same_content(&session.db, &world.collections).map_err(context)?;
    }
    drop(session);
    check_store(&disk.restart(7), &certain(world.settled()), 8).map(drop)
}

#[test]
fn a_disk_that_stays_full_also_for_names_loses_nothing() {
    let steps = script();
    for full_at in 1..steps.len() - 1 {
        for full_for in [1, 3] {
            fill_up(&steps, full_at, full_for)
                .unwrap_or_else(|wrong| panic!("full at step {full_at} for {full_for}: {wrong}"));
        }
    }
}

/// A store that was closed opens on a disk that is full for good, for reading at least, with everything in it.
#[test]
fn a_full_disk_keeps_no_collection_closed() {
    let steps = script();
    for op in (0..ops_of(&steps)).step_by(stride()) {
        let disk = SimDisk::new(op);
        disk.fail_at(op, Failure::Crash);
        let outcome = run(storage(&disk), World::default(), &steps, 1);
        let after = disk.restart(op);
        let Ok((session, world)) = check_store(&after.kill(1), &outcome, 3) else { continue };
        drop(session);
        if world.collections.is_empty() {
            continue;
        }
        let after = after.kill(2);
        after.set_full(true);
        let session = open(storage(&after), world.steps, 4)
            .unwrap_or_else(|error| panic!("crash at {op}: {error}\n{}", describe(&after)));
        for name in world.collections.keys() {
            let opened = session.db.collection(name);
            opened.unwrap_or_else(|error| panic!("crash at {op}: {error}\n{}", describe(&after)));
        }
        after.set_full(false);
        for name in world.collections.keys() {
            session.db.collection(name).unwrap().recover().unwrap();
        }
        same_content(&session.db, &world.collections)
            .unwrap_or_else(|wrong| panic!("crash at {op}: {wrong}"));
    }
}

/// The sync of a log fails, the page cache drops the pages, the process goes on, dies, and another one takes over.
#[test]
fn pages_dropped_after_a_failed_sync_are_not_missed() {
    let steps = script();
    let probe = SimDisk::new(1);
    run(storage(&probe), World::default(), &steps, 1);
    let syncs =
        probe.op_log().into_iter().enumerate().filter(|(_, op)| op.starts_with("sync_file"));
    for (op, what) in syncs.step_by(2) {
        let disk = SimDisk::new(1);
        disk.fail_at(op as u64, Failure::Io);
        let outcome = run(storage(&disk), World::default(), &steps, 1);
        disk.evict();
        let killed = disk.kill(1);
        killed.evict();
        let context = |wrong| format!("{what}: {wrong}\n{}", describe(&killed));
        let (session, world) = check_store(&killed, &outcome, 5).map_err(context).unwrap();
        drop(session);
        check_store(&killed.restart(2), &certain(world), 6).map_err(context).unwrap();
    }
}

/// Any one file is gone: the store refuses by name or holds what it held, and removes nothing else.
#[test]
fn a_missing_file_is_named_or_not_needed() {
    let fixture = Fixture::build().unwrap();
    for name in fixture.files.keys().filter(|name| !name.starts_with("snapshots/")) {
        let disk = SimDisk::new(1);
        for (name, bytes) in fixture.files.iter().filter(|(other, _)| *other != name) {
            storage_put(&disk, name, bytes);
        }
        let before = tree(&disk, "").unwrap();
        let opened = open(storage(&disk), 1_000_000, 77);
        let held = opened.as_ref().map(|session| holds(&session.db, fixture.newest()));
        match held {
            Ok(Ok(true)) => {}
            Ok(Ok(false)) => assert!(
                name.contains("/wal/"),
                "{name} is missing, and no error says that the content is another"
            ),
            Ok(Err(error)) => assert!(!error.message().is_empty(), "{name}: {error}"),
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::Corrupt, "{name}: {error}");
                assert_eq!(tree(&disk, "").unwrap(), before, "{name}: something was changed");
            }
        }
        drop(opened);
        storage_put(&disk, name, &fixture.files[name]);
        let whole = tree(&disk, "").unwrap();
        assert!(whole.keys().any(|there| there.ends_with(".seg")), "{name}: segments were removed");
    }
}

fn storage_put(disk: &SimDisk, name: &str, bytes: &[u8]) {
    let put = storage(disk).put(name, &mut |out| {
        out.write_all(bytes).unwrap();
        Ok(())
    });
    put.unwrap();
}

/// A crash, and a bit that has turned in any file: refused by name, or right.
#[test]
fn rot_beside_a_crash_is_refused_or_harmless() {
    let steps = script();
    let mut rng = Rng::new(4);
    for op in (0..ops_of(&steps)).step_by(stride() * 2) {
        let disk = SimDisk::new(op);
        disk.fail_at(op, Failure::Crash);
        let outcome = run(storage(&disk), World::default(), &steps, 1);
        let after = disk.restart(op);
        let files = tree(&after, "").unwrap();
        // For the newest file of each log other rules hold; see the tests below.
        let rotten = files.iter().filter(|(name, bytes)| {
            name.starts_with("c/") && !bytes.is_empty() && !is_newest_log(name, &files)
        });
        let rotten: Vec<_> = rotten.collect();
        if rotten.is_empty() {
            continue;
        }
        let (name, bytes) = rotten[rng.below(rotten.len() as u64) as usize];
        let at = rng.below(bytes.len() as u64) as usize;
        after.edit(name, |bytes| bytes[at] ^= 1 << (op % 8));
        let Ok(session) = open(storage(&after), 900, 3) else { continue };
        let right = [Some(&outcome.acknowledged), outcome.pending.as_ref()];
        let opened = session.db.names();
        let read = |there| Oracle::read(&session.db.collection(there)?.view());
        let one_is_refused = opened.iter().any(|there| read(there).is_err());
        let is_right = right
            .into_iter()
            .flatten()
            .any(|world| same_content(&session.db, &world.collections).is_ok());
        assert!(is_right || one_is_refused, "crash at {op}, bit {at} of {name}: a wrong answer");
    }
}

fn is_newest_log(name: &str, files: &Files) -> bool {
    let Some((dir, _)) = name.split_once("/wal/") else { return false };
    let of_the_log = |(other, _): &(&String, _)| other.starts_with(dir);
    let last = files.range(format!("{dir}/wal/")..).take_while(of_the_log).last();
    last.is_some_and(|(newest, _)| newest == name)
}

/// Turns one bit of the newest file of a log, if there is one that is not empty.
fn turn_a_bit_of_the_log(disk: &SimDisk, rng: &mut Rng) -> bool {
    let files = tree(disk, "").unwrap();
    let newest = |(name, bytes): &(&String, &Vec<u8>)| {
        name.starts_with("c/") && !bytes.is_empty() && is_newest_log(name, &files)
    };
    let logs: Vec<_> = files.iter().filter(newest).collect();
    if logs.is_empty() {
        return false;
    }
    let (name, bytes) = logs[rng.below(logs.len() as u64) as usize];
    let (at, bit) = (rng.below(bytes.len() as u64) as usize, rng.below(8));
    disk.edit(name, |bytes| bytes[at] ^= 1 << bit);
    true
}

/// What became of a store in whose newest log file a bit has turned.
#[derive(Debug, Default)]
struct AfterRot {
    right: u64,
    refused: u64,
    /// Without its newest batch, which recovery has reported as a torn end.
    cut: u64,
}

impl AfterRot {
    /// Compares each collection: it is refused as damaged, or holds one of `right`, or the one in `cut` with a report.
    fn add(&mut self, disk: &SimDisk, right: &[&World], cut: Option<&World>) -> Result<(), String> {
        let session = open(storage(disk), 900, 3).map_err(|error| error.to_string())?;
        for name in session.db.names() {
            let collection = match session.db.collection(&name) {
                Err(error) if error.kind() == ErrorKind::Corrupt => {
                    self.refused += 1;
                    continue;
                }
                opened => opened.map_err(|error| error.to_string())?,
            };
            let holds = |world: &World| {
                let oracle = world.collections.get(&name);
                oracle.is_some_and(|oracle| oracle.difference(&collection.view()).is_none())
            };
            if right.iter().any(|world| holds(world)) {
                self.right += 1;
            } else if cut.is_some_and(holds) && collection.recovery().torn.is_some() {
                self.cut += 1;
            } else {
                return Err(format!("{name} is open, and neither right nor cut"));
            }
        }
        Ok(())
    }
}

/// A process is killed between two steps: behind every acknowledged batch there is its mark. A bit that turns in the
/// newest log file is refused by name, or harms nothing.
#[test]
fn rot_in_the_log_of_a_killed_process_is_refused_or_harmless() {
    let (steps, mut rng, mut after) = (script(), Rng::new(11), AfterRot::default());
    for done in (1..steps.len()).step_by(2) {
        let disk = SimDisk::new(done as u64);
        let outcome = run(storage(&disk), World::default(), &steps[..done], 1);
        for number in 0..40 / stride() as u64 {
            let killed = disk.kill(number);
            if turn_a_bit_of_the_log(&killed, &mut rng) {
                let compared = after.add(&killed, &[&outcome.acknowledged], None);
                compared.unwrap_or_else(|wrong| panic!("after {done} steps: {wrong}"));
            }
        }
    }
    println!("{after:?}");
    assert!(after.right > 0 && after.refused > 0, "{after:?}");
}

/// A power cut may take the mark behind the newest acknowledged batch, which is not synced. Then nothing tells a bit
/// that has turned in this batch from a torn write, and it is cut off with a report. Batches before it are never cut
/// off: the newest one names them as durable.
#[test]
fn rot_in_the_log_after_a_power_cut_costs_at_most_the_newest_batch() {
    let (steps, mut rng, mut after) = (script(), Rng::new(12), AfterRot::default());
    for op in (0..ops_of(&steps)).step_by(stride()) {
        let disk = SimDisk::new(op);
        disk.fail_at(op, Failure::Crash);
        let outcome = run(storage(&disk), World::default(), &steps, 1);
        let right = [Some(&outcome.acknowledged), outcome.pending.as_ref()];
        let right: Vec<&World> = right.into_iter().flatten().collect();
        let before = before_the_newest_batches(&steps, &outcome.acknowledged);
        for restart in 0..4 {
            let cut = disk.restart(restart * 7919 + op);
            if turn_a_bit_of_the_log(&cut, &mut rng) {
                let compared = after.add(&cut, &right, Some(&before));
                compared.unwrap_or_else(|wrong| panic!("crash at {op}: {wrong}"));
            }
        }
    }
    println!("{after:?}");
    assert!(after.right > 0 && after.refused > 0 && after.cut > 0, "{after:?}");
}

/// Each collection of `now` as it was before the newest batch that changed it.
fn before_the_newest_batches(steps: &[Step], now: &World) -> World {
    let mut worlds = vec![World::default()];
    for step in &steps[..now.steps as usize] {
        worlds.push(worlds[worlds.len() - 1].after(step));
    }
    let mut before = World::default();
    for (name, oracle) in &now.collections {
        let earlier = worlds.iter().rev().filter_map(|world| world.collections.get(name));
        let mut earlier = earlier.take_while(|other| other.born == oracle.born);
        if let Some(other) = earlier.find(|other| *other != oracle) {
            before.collections.insert(name.clone(), other.clone());
        }
    }
    before
}

/// The clock jumps back and forth; names that are made of times are left out.
#[test]
fn a_clock_that_goes_back_changes_no_content() {
    for seed in 0..20 {
        let disk = SimDisk::new(seed);
        let session = open(storage(&disk), 500, seed).unwrap();
        let (mut rng, mut world) = (Rng::new(seed), World::default());
        for _ in 0..40 {
            let step = random_step(&mut rng, &world);
            if matches!(step, Step::Snapshot | Step::Restore | Step::Replay(..) | Step::Export) {
                continue;
            }
            let after = world.after(&step);
            session.perform(&step, rng.below(1_000)).unwrap();
            world = after;
            same_content(&session.db, &world.collections)
                .unwrap_or_else(|wrong| panic!("seed {seed}, {step:?}: {wrong}"));
        }
        drop(session);
        let (session, _) = check_store(&disk.restart(seed), &certain(world.settled()), 3)
            .unwrap_or_else(|wrong| panic!("seed {seed}: {wrong}"));
        drop(session);
    }
}

/// The lock file is removed between two steps and another writer opens: the first one is refused from then on, and
/// what was acknowledged to either is there.
#[test]
fn of_two_writers_the_first_is_refused() {
    let steps = script();
    for at in (2..20).step_by(3) {
        let disk = SimDisk::new(at as u64);
        let first = open(storage(&disk), 0, 1).unwrap();
        let mut world = World::default();
        for step in &steps[..at] {
            let after = world.after(step);
            first.perform_in(step, &world).unwrap();
            world = after;
        }
        disk.unlink("lock").unwrap();
        let second = open(storage(&disk), world.steps, 2).unwrap();
        same_content(&second.db, &world.collections).unwrap();
        let mut rng = Rng::new(at as u64);
        for n in 0..4 {
            let step = Step::Write(A, nearfield_tests::sim::random_change(&mut rng, 3, 1));
            let error = first.perform_in(&step, &world).expect_err("it is not the only writer");
            assert_eq!(error.kind(), ErrorKind::Locked, "after {at} steps: {error}");
            let after = world.after(&step);
            second.perform_in(&step, &world).unwrap();
            if n == 2 {
                second.perform_in(&Step::Checkpoint(A), &after).unwrap();
            }
            world = after;
        }
        drop((first, second));
        check_store(&disk.restart(3), &certain(world.settled()), 4).map(drop).unwrap();
    }
}
