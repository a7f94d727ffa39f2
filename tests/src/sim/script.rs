//! Steps: a script that does everything once, and steps drawn at random.
//!
//! Keys come from a few, so that they are repeated, forgotten and used anew. A batch is a function of its
//! key: to use one for another batch would be refused.

use nearfield_segment::{PointId, Rng};

use super::{DIM, Step, World};
use crate::oracle::{Change, KEYS_MAX, Point};

/// Distinct ids of each kind that random batches draw from: few, so that points are replaced often.
const IDS: u64 = 24;

const A: &str = "a";
const B: &str = "b";

/// Everything a user does, in an order that meets every kind of file: log files that end, checkpoints
/// with and without deletes, delete lists that grow and are folded, compactions, snapshots, exports, a
/// collection dropped and one created in its place. The past is kept all the while.
pub fn script() -> Vec<Step> {
    let mut rng = Rng::new(42);
    let mut write = |rows, deletes| Step::Write(A, random_change(&mut rng, rows, deletes));
    let mut steps = vec![Step::Create(A), write(14, 0), write(3, 2), Step::Checkpoint(A)];
    steps.extend([write(0, 5), write(2, 1), Step::DeleteBelow(A, 150), Step::Checkpoint(A)]);
    steps.extend([write(20, 0), Step::Snapshot, write(4, 4), Step::Compact(A), Step::Export]);
    for _ in 0..6 {
        steps.extend([write(0, 4), write(1, 0), Step::Checkpoint(A)]);
    }
    steps.extend([write(16, 3), Step::Maintain(A), Step::Create(B)]);
    let mut other = Rng::new(7);
    steps.push(Step::Write(B, random_change(&mut other, 9, 0)));
    steps.extend([Step::Checkpoint(B), Step::Snapshot, Step::Drop(A), Step::Create(A)]);
    steps.push(Step::Write(A, random_change(&mut other, 5, 0)));
    steps.extend([Step::Checkpoint(A), Step::Vacuum(B), Step::Compact(B)]);
    let rows = |start: u64| Step::Write(A, row_keyed_change(&mut Rng::new(start), start, 3));
    let keyed = |number| Step::Write(A, keyed_change(number));
    steps.extend([keyed(1), rows(0), Step::Checkpoint(A), keyed(1), rows(2), keyed(2)]);
    steps.extend([Step::Checkpoint(A), rows(1), keyed(2), keyed(1)]);
    // New points alone: no delete list is written beside the keys.
    let fresh = random_change(&mut Rng::new(9), 2, 0);
    let fresh = Change { ids: None, key: Some("fresh".to_owned()), ..fresh };
    steps.extend([Step::Checkpoint(A), Step::Write(A, fresh.clone()), Step::Checkpoint(A)]);
    steps.push(Step::Write(A, fresh));
    steps.push(Step::Write(B, random_change(&mut other, 2, 2)));
    steps
}

/// Everything that goes back: replays to before and after checkpoints, twice over and onto a timeline's
/// beginning, restores with and without anything to replace, and work after each.
pub fn script_of_the_past() -> Vec<Step> {
    let mut rng = Rng::new(43);
    let mut write = |rows, deletes| Step::Write(A, random_change(&mut rng, rows, deletes));
    let mut steps =
        vec![Step::Create(A), write(9, 0), write(5, 2), Step::Checkpoint(A), write(6, 1)];
    steps.extend([write(0, 3), Step::Compact(A), write(3, 0), Step::Replay(A, 3), write(2, 0)]);
    steps.extend([write(1, 1), Step::Replay(A, 2), write(4, 1), Step::Snapshot, write(3, 3)]);
    steps.extend([Step::Checkpoint(A), write(1, 0), Step::Restore, write(2, 1), Step::Vacuum(A)]);
    steps.extend([Step::Drop(A), Step::Restore, write(1, 2), Step::Checkpoint(A)]);
    steps
}

/// A step that fits `world`.
pub fn random_step(rng: &mut Rng, world: &World) -> Step {
    let name = if rng.below(4) == 0 { B } else { A };
    if !world.collections.contains_key(name) {
        return Step::Create(name);
    }
    match rng.below(40) {
        0 => Step::Drop(name),
        1 => Step::Snapshot,
        2 => Step::Export,
        3 => Step::Vacuum(name),
        4 | 5 => Step::Compact(name),
        6..10 => Step::Checkpoint(name),
        10..18 => Step::Maintain(name),
        18..20 => Step::DeleteBelow(name, rng.below(300)),
        20..25 => Step::Write(name, keyed_change(rng.below(2 * KEYS_MAX as u64))),
        25..29 => {
            let start = rng.below(2 * KEYS_MAX as u64);
            let rows = 1 + rng.below(KEYS_MAX as u64);
            Step::Write(name, row_keyed_change(rng, start, rows))
        }
        29 if !world.snapshots.is_empty() => Step::Restore,
        30..32 if world.undoable(name) > 0 => {
            Step::Replay(name, 1 + rng.below(world.undoable(name)))
        }
        _ => {
            let (rows, deletes) = (rng.below(12) as usize, rng.below(4) as usize);
            Step::Write(name, random_change(rng, rows, deletes))
        }
    }
}

/// A batch of `rows` upserts, with ids given or assigned, and `deletes` deletes.
pub fn random_change(rng: &mut Rng, rows: usize, deletes: usize) -> Change {
    let declares = (rows % 5 == 3).then(|| format!("at{deletes}"));
    let deletes = (0..deletes).map(|_| random_id(rng)).collect();
    let points = (0..rows).map(|_| random_point(rng)).collect();
    let ids = (rng.below(4) > 0).then(|| {
        let mut ids = Vec::with_capacity(rows);
        while ids.len() < rows {
            let id = random_id(rng);
            if !ids.contains(&id) {
                ids.push(id);
            }
        }
        ids
    });
    Change { deletes, ids, points, declares, ..Change::default() }
}

/// The batch with this key, with a point to insert or a few, and deletes.
pub fn keyed_change(number: u64) -> Change {
    let mut rng = Rng::new(number);
    let (rows, deletes) = (1 + rng.below(5) as usize, rng.below(3) as usize);
    Change { key: Some(format!("key {number}")), ..random_change(&mut rng, rows, deletes) }
}

/// A batch of rows whose keys are numbered from `start`, and one row without a key.
pub fn row_keyed_change(rng: &mut Rng, start: u64, rows: u64) -> Change {
    let change = random_change(rng, rows as usize + 1, 0);
    let keys = (start..start + rows).map(|number| Some(format!("row {number}")));
    Change { row_keys: keys.chain([None]).collect(), ..change }
}

/// An id of any of the three kinds.
pub fn random_id(rng: &mut Rng) -> PointId {
    let number = rng.below(IDS);
    match rng.below(3) {
        0 => PointId::U64(number),
        1 => PointId::Uuid(u128::from(number) << 64 | 0x8000_0000_0000_0001),
        _ => PointId::Str(format!("point {number}").into()),
    }
}

fn random_point(rng: &mut Rng) -> Point {
    let vector = (0..DIM).map(|_| rng.unit_f32() * 2.0 - 1.0).collect();
    Point { vector, n: (rng.below(8) > 0).then(|| rng.below(1000)) }
}
