//! The engine in a pool of open files: acknowledged means durable there as well.
//!
//! The scripts of `durability.rs` on a simulated pool: power cuts and kills at every primitive, a failing and
//! a full medium at every primitive with work going on in the same session.

use std::sync::Arc;

use nearfield_engine::{ErrorKind, Result};
use nearfield_segment::Rng;
use nearfield_segment::storage::{Failure, SimSlots, SlotStorage, Storage};
use nearfield_tests::sim::{
    Outcome, Session, Step, World, open, open_and_compare, random_step, run, same_content, script,
    script_of_the_past,
};

const SEED: u64 = 1;
/// Enough for the scripts, with their snapshots and quarantine.
const SLOTS: usize = 160;

fn storage(slots: &SimSlots) -> Result<Arc<dyn Storage>> {
    Ok(Arc::new(SlotStorage::open(Arc::new(slots.clone()))?))
}

/// Runs a script until a step fails; a pool that does not open is a first step that failed.
fn run_on(slots: &SimSlots, world: World, script: &[Step]) -> Outcome {
    match storage(slots) {
        Ok(storage) => run(storage, world, script, SEED),
        Err(error) => {
            let pending = Some(world.clone());
            Outcome { acknowledged: world, pending, failed: None, error: Some(error.to_string()) }
        }
    }
}

fn ops_of(script: &[Step]) -> u64 {
    let slots = SimSlots::new(SEED, SLOTS);
    let outcome = run_on(&slots, World::default(), script);
    assert_eq!(outcome.error, None, "without failures everything works");
    slots.op_count()
}

/// Opens the pool, compares, and goes on with a few random steps.
fn check(
    slots: &SimSlots,
    outcome: &Outcome,
    seed: u64,
) -> std::result::Result<(Session, World), String> {
    let storage = storage(slots).map_err(|error| format!("the pool does not open: {error}"))?;
    let (session, found) = open_and_compare(storage, outcome, seed)?;
    let (mut rng, mut world) = (Rng::new(seed), found);
    for _ in 0..3 {
        let step = random_step(&mut rng, &world);
        let after = world.after(&step);
        session.perform_in(&step, &world).map_err(|error| format!("{step:?}: {error}"))?;
        world = after;
        same_content(&session.db, &world.collections)
            .map_err(|wrong| format!("after {step:?}: {wrong}"))?;
    }
    Ok((session, world))
}

fn last_ops(slots: &SimSlots) -> String {
    let log = slots.op_log();
    log[log.len().saturating_sub(12)..].join("\n")
}

#[test]
fn nothing_acknowledged_is_lost_by_a_crash_at_any_primitive() {
    for script in [script(), script_of_the_past()] {
        for op in 0..ops_of(&script) {
            let slots = SimSlots::new(SEED ^ op, SLOTS);
            slots.fail_at(op, Failure::Crash);
            let outcome = run_on(&slots, World::default(), &script);
            for restart in 0..2 {
                // Power cuts, and every third time a killed process.
                let kill = (op + restart) % 3 == 0;
                let seed = 2 * op + restart;
                let after = if kill { slots.kill(seed) } else { slots.restart(seed) };
                if let Err(wrong) = check(&after, &outcome, seed) {
                    panic!("crash at {op}, kill {kill}: {wrong}\n{}", last_ops(&slots));
                }
            }
        }
    }
}

/// After a failed primitive reads go on, the store recovers in the same session and takes the rest of the
/// script, and a power cut at the end finds what was acknowledged.
fn fail_and_go_on(script: &[Step], op: u64, failure: Failure) -> std::result::Result<(), String> {
    let slots = SimSlots::new(SEED ^ op, SLOTS);
    slots.fail_at(op, failure);
    let message = |error: nearfield_engine::Error| error.to_string();
    let session = match storage(&slots).and_then(|files| open(files, 0, SEED)) {
        Ok(session) => session,
        Err(_) => storage(&slots).and_then(|files| open(files, 0, SEED + 1)).map_err(message)?,
    };
    let mut world = World::default();
    for step in script {
        let after = world.after(step);
        let Err(error) = session.perform_in(step, &world) else {
            world = after;
            continue;
        };
        let full = error.kind() == ErrorKind::StorageFull;
        if full != (failure == Failure::Full) {
            return Err(format!("{step:?} failed with {:?}: {error}", error.kind()));
        }
        let context = |wrong| format!("{step:?}: {wrong}");
        let asked = session.db.collection("unknown").expect_err("there is none of that name");
        if asked.kind() != ErrorKind::NotFound {
            return Err(format!("the names are not found out: {asked}"));
        }
        for name in session.db.names() {
            match session.db.collection(&name) {
                Ok(collection) => collection.recover().map_err(message).map_err(context)?,
                Err(error) if error.kind() == ErrorKind::NotFound => {}
                Err(error) => return Err(context(error.to_string())),
            }
        }
        let happened = same_content(&session.db, &world.collections).is_err();
        let content = if happened { &after } else { &world };
        same_content(&session.db, &content.collections).map_err(context)?;
        let collections = content.collections.clone();
        world = World { collections, steps: after.steps, ..world.clone() }.settled();
        if world.collections != after.collections || step.is_keyed() {
            let again = world.after(step);
            session.perform_in(step, &world).map_err(message).map_err(context)?;
            world = again;
        }
    }
    drop(session);
    let outcome = Outcome { acknowledged: world, pending: None, failed: None, error: None };
    check(&slots.restart(op), &outcome, op).map(drop)
}

#[test]
fn a_failing_or_full_medium_loses_nothing_and_work_goes_on() {
    let script = script();
    for op in 0..ops_of(&script) {
        let failure = if op % 2 == 0 { Failure::Io } else { Failure::Full };
        if let Err(wrong) = fail_and_go_on(&script, op, failure) {
            panic!("{failure:?} at primitive {op}: {wrong}");
        }
    }
}
