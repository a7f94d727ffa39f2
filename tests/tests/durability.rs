//! Acknowledged means durable: crashes, failing media and full disks at every single operation.
//!
//! `NEARFIELD_SIM_SEEDS` says how many random workloads are tried (default 2000).

use nearfield_segment::storage::{Failure, SimDisk};
use nearfield_segment::{ErrorKind, Rng};
use nearfield_tests::sim::{
    Outcome, Session, Step, World, check_store, describe, open, random_step, run, same_content,
    script, script_of_the_past, storage,
};

const DISK_SEED: u64 = 1;

fn ops_of(script: &[Step]) -> u64 {
    let disk = SimDisk::new(DISK_SEED);
    let outcome = run(storage(&disk), World::default(), script, DISK_SEED);
    assert_eq!(outcome.error, None, "without failures everything works");
    disk.op_count()
}

/// Runs the script on a disk whose operation `op` fails.
fn run_with_failure(script: &[Step], op: u64, failure: Failure) -> (SimDisk, Outcome) {
    let disk = SimDisk::new(DISK_SEED ^ op);
    disk.fail_at(op, failure);
    let outcome = run(storage(&disk), World::default(), script, DISK_SEED);
    (disk, outcome)
}

/// Goes on with a few random steps; the store must take them.
fn go_on(session: &Session, mut world: World, rng: &mut Rng, count: usize) -> Result<(), String> {
    for _ in 0..count {
        let step = random_step(rng, &world);
        let after = world.after(&step);
        session.perform_in(&step, &world).map_err(|error| format!("{step:?}: {error}"))?;
        world = after;
        same_content(&session.db, &world.collections)
            .map_err(|wrong| format!("after {step:?}: {wrong}"))?;
    }
    Ok(())
}

/// Tries a write with keys again that failed: whether it happened before or not, it has then happened once.
fn retry(session: &Session, world: World, outcome: &Outcome) -> Result<World, String> {
    let Some(step) = outcome.failed.as_ref().filter(|step| step.is_keyed()) else {
        return Ok(world);
    };
    let again = world.after(step);
    let context = |wrong| format!("{step:?} again: {wrong}");
    session.perform(step, world.steps).map_err(|error| context(error.to_string()))?;
    same_content(&session.db, &again.collections).map_err(context)?;
    Ok(again)
}

/// Power cut or, for the last of four, killed process; then the check, then a few steps more.
fn restart_and_check(disk: &SimDisk, outcome: &Outcome, op: u64, restart: u64) {
    let after = if restart == 3 { disk.kill(op) } else { disk.restart(restart * 7919 + op) };
    let seed = 1000 + op * 4 + restart;
    let checked = check_store(&after, outcome, seed).and_then(|(session, world)| {
        let world = retry(&session, world, outcome)?;
        go_on(&session, world, &mut Rng::new(seed), 3)
    });
    if let Err(wrong) = checked {
        let (before, after) = (describe(disk), describe(&after));
        let error = &outcome.error;
        panic!(
            "failure at {op}, restart {restart}: {wrong}\nerror: {error:?}\n{before}\nthen\n{after}"
        );
    }
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_operation() {
    for script in [script(), script_of_the_past()] {
        let ops = ops_of(&script);
        println!("{ops} operations");
        for op in 0..ops {
            let (disk, outcome) = run_with_failure(&script, op, Failure::Crash);
            (0..4).for_each(|restart| restart_and_check(&disk, &outcome, op, restart));
        }
    }
}

/// Whether operation `op` was the sync of a directory. If that fails, the journal of a file system aborts, and
/// so does this disk: only a power cut tells what is there.
fn was_a_sync_of_names(disk: &SimDisk, op: u64) -> bool {
    disk.op_log().get(op as usize).is_some_and(|op| op.starts_with("sync_dir"))
}

/// After a failed operation: reads go on as before it, the store recovers without reopening, takes the
/// rest of the script, and loses nothing in a power cut at the end.
fn fail_and_go_on(script: &[Step], op: u64, failure: Failure) -> Result<(), String> {
    let disk = SimDisk::new(DISK_SEED ^ op);
    disk.abort_on_failed_sync_of_names();
    disk.fail_at(op, failure);
    let mut world = World::default();
    let session = match open(storage(&disk), 0, DISK_SEED) {
        Ok(session) => session,
        Err(_) if was_a_sync_of_names(&disk, op) => return Ok(()),
        Err(_) => open(storage(&disk), 0, DISK_SEED + 1).map_err(|e| format!("reopening: {e}"))?,
    };
    for step in script {
        let after = world.after(step);
        let Err(error) = session.perform_in(step, &world) else {
            world = after;
            // A merge is done before its log is archived, so it does not report that this failed.
            if was_a_sync_of_names(&disk, op) {
                let outcome =
                    Outcome { acknowledged: world, pending: None, failed: None, error: None };
                (0..3).for_each(|restart| restart_and_check(&disk, &outcome, op, restart));
                return Ok(());
            }
            continue;
        };
        if was_a_sync_of_names(&disk, op) {
            let (failed, pending) = (Some(step.clone()), Some(after));
            let outcome = Outcome { acknowledged: world, pending, failed, error: None };
            (0..3).for_each(|restart| restart_and_check(&disk, &outcome, op, restart));
            return Ok(());
        }
        let expected =
            if failure == Failure::Full { ErrorKind::StorageFull } else { ErrorKind::Io };
        if error.kind() != expected {
            return Err(format!("{step:?} failed with {:?}: {error}", error.kind()));
        }
        let context = |wrong| format!("{step:?}: {wrong}");
        still_readable(&session, &world, &after).map_err(context)?;
        world = recovered(&session, &world, &after).map_err(context)?;
        // What is already done is not done again; what is not, is. A write with keys sees to that itself.
        let undone =
            (&world.collections, &world.snapshots) != (&after.collections, &after.snapshots);
        if step.is_keyed() || undone {
            let again = world.after(step);
            session.perform_in(step, &world).map_err(|e| format!("{step:?} again: {e}"))?;
            world = again;
            same_content(&session.db, &world.collections).map_err(context)?;
        }
    }
    let outcome = Outcome { acknowledged: world, pending: None, failed: None, error: None };
    drop(session);
    (0..4).for_each(|restart| restart_and_check(&disk, &outcome, op, restart));
    Ok(())
}

fn still_readable(session: &Session, before: &World, after: &World) -> Result<(), String> {
    same_content(&session.db, &before.collections).or_else(|wrong| {
        same_content(&session.db, &after.collections)
            .map_err(|other| format!("reads do not go on: {wrong}; or else: {other}"))
    })
}

/// Recovers every writer in place; the world is the one before or the one after the failed step.
fn recovered(session: &Session, before: &World, after: &World) -> Result<World, String> {
    // Asking for any name finds out what a failed change of the names has come to.
    let asked = session.db.collection("unknown").expect_err("there is none of that name");
    if asked.kind() != ErrorKind::NotFound {
        return Err(format!("the names are not found out: {asked}"));
    }
    for name in session.db.names() {
        let collection = match session.db.collection(&name) {
            Ok(collection) => collection,
            // Finding out whether it was dropped showed that it was.
            Err(error) if error.kind() == ErrorKind::NotFound => continue,
            Err(error) => return Err(format!("{name}: {error}")),
        };
        collection.recover().map_err(|error| format!("{name} does not recover: {error}"))?;
    }
    still_readable(session, before, after)?;
    let happened = same_content(&session.db, &before.collections).is_err();
    let content = if happened { after } else { before };
    let collections = content.collections.clone();
    Ok(World { collections, steps: after.steps, ..before.clone() }.settled())
}

#[test]
fn a_failing_medium_loses_nothing_and_work_goes_on() {
    for script in [script(), script_of_the_past()] {
        for op in 0..ops_of(&script) {
            if let Err(wrong) = fail_and_go_on(&script, op, Failure::Io) {
                panic!("input/output error at operation {op} of {}: {wrong}", script.len());
            }
        }
    }
}

#[test]
fn a_full_disk_loses_nothing_and_work_goes_on_once_there_is_space() {
    for script in [script(), script_of_the_past()] {
        for op in 0..ops_of(&script) {
            if let Err(wrong) = fail_and_go_on(&script, op, Failure::Full) {
                panic!("full disk at operation {op} of {}: {wrong}", script.len());
            }
        }
    }
}

/// One random workload: some steps, a failure of a random kind at a random operation, a restart of a
/// random kind, and so on, three times over.
fn random_workload(seed: u64) -> Result<(), String> {
    let mut rng = Rng::new(seed);
    let mut disk = SimDisk::new(rng.next_u64());
    let mut world = World::default();
    for _ in 0..3 {
        let failure =
            [Failure::Crash, Failure::Crash, Failure::Io, Failure::Full][rng.below(4) as usize];
        let horizon = if rng.below(2) == 0 { 60 } else { 600 };
        let op = rng.below(horizon);
        disk.abort_on_failed_sync_of_names();
        disk.fail_at(op, failure);
        let (mut planned, mut steps) = (world.clone(), Vec::new());
        for _ in 0..1 + rng.below(40) {
            let step = random_step(&mut rng, &planned);
            planned = planned.after(&step);
            steps.push(step);
        }
        let outcome = run(storage(&disk), world, &steps, rng.next_u64());
        let restart = rng.next_u64();
        let killed = rng.below(4) == 0 && !was_a_sync_of_names(&disk, op);
        let after = if killed { disk.kill(restart) } else { disk.restart(restart) };
        // Recovery itself may be cut short too, and is then begun again.
        let after = if rng.below(3) == 0 { cut_short(&after, &outcome, &mut rng) } else { after };
        let (session, found) = check_store(&after, &outcome, rng.next_u64()).map_err(|wrong| {
            let (error, before) = (&outcome.error, describe(&disk));
            format!("{wrong}\nerror: {error:?}\n{before}\nthen\n{}", describe(&after))
        })?;
        world = retry(&session, found, &outcome)?;
        drop(session);
        disk = after;
    }
    Ok(())
}

/// Opens the store on a disk that loses power on the way, and restarts it.
fn cut_short(disk: &SimDisk, outcome: &Outcome, rng: &mut Rng) -> SimDisk {
    disk.fail_at(rng.below(40), Failure::Crash);
    drop(check_store(disk, outcome, rng.next_u64()));
    disk.restart(rng.next_u64())
}

#[test]
fn random_workloads_lose_nothing_in_random_failures() {
    let seeds = std::env::var("NEARFIELD_SIM_SEEDS").map_or(Ok(2000), |text| text.parse());
    for seed in 0..seeds.expect("NEARFIELD_SIM_SEEDS is a number") {
        if let Err(wrong) = random_workload(seed) {
            panic!("seed {seed}: {wrong}");
        }
    }
}
