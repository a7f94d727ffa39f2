//! Acknowledged means durable: crashes, failing media and full disks at every single operation.
//!
//! `NEARFIELD_SIM_SEEDS` says how many random workloads are tried (default 2000).

use nearfield_segment::Rng;
use nearfield_segment::storage::{Failure, SimDisk};
use nearfield_tests::sim::{
    Outcome, Session, World, check_store, describe, random_step, run, same_content, script, storage,
};

const DISK_SEED: u64 = 1;

fn ops_of_script() -> u64 {
    let disk = SimDisk::new(DISK_SEED);
    let outcome = run(storage(&disk), World::default(), &script(), DISK_SEED);
    assert_eq!(outcome.error, None, "without failures everything works");
    disk.op_count()
}

/// Runs the script on a disk whose operation `op` fails.
fn run_with_failure(op: u64, failure: Failure) -> (SimDisk, Outcome) {
    let disk = SimDisk::new(DISK_SEED ^ op);
    disk.fail_at(op, failure);
    let outcome = run(storage(&disk), World::default(), &script(), DISK_SEED);
    (disk, outcome)
}

/// Goes on with a few random steps; the store must take them.
fn go_on(session: &Session, mut world: World, rng: &mut Rng, count: usize) -> Result<(), String> {
    for _ in 0..count {
        let step = random_step(rng, &world);
        let after = world.after(&step);
        session.perform(&step, world.steps).map_err(|error| format!("{step:?}: {error}"))?;
        world = after;
        same_content(&session.db, &world.collections)
            .map_err(|wrong| format!("after {step:?}: {wrong}"))?;
    }
    Ok(())
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_operation() {
    let ops = ops_of_script();
    println!("{ops} operations");
    for op in 0..ops {
        let (disk, outcome) = run_with_failure(op, Failure::Crash);
        for restart in 0..4 {
            let after =
                if restart == 3 { disk.kill(op) } else { disk.restart(restart * 7919 + op) };
            let seed = 1000 + op * 4 + restart;
            let checked = check_store(&after, &outcome, seed)
                .and_then(|(session, world)| go_on(&session, world, &mut Rng::new(seed), 3));
            if let Err(wrong) = checked {
                panic!(
                    "crash at operation {op}, restart {restart}: {wrong}\nerror: {:?}\n{}\nafter restart\n{}",
                    outcome.error,
                    describe(&disk),
                    describe(&after)
                );
            }
        }
    }
}
