//! Going back: every LSN of the window gives the state of its moment, in place and elsewhere.
//!
//! Crashes in the middle of it are in `durability.rs`.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_engine::{Database, Error, ErrorKind, Fault, ManualClock, Mode, Options};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::SearchParams;
use nearfield_segment::storage::{Disk, MemoryStorage, SimDisk, Storage};
use nearfield_segment::{Kernel, Lsn, Metric, Pool, Rng};
use nearfield_tests::oracle::{Change, Oracle};
use nearfield_tests::rule::distance;
use nearfield_tests::sim::{
    HISTORY_STEPS, Session, Step, World, open, random_change, small_options, storage,
};

const NAME: &str = "a";
const SEEDS: u64 = 4;

/// What the collection held at each LSN.
type Moments = BTreeMap<u64, Oracle>;

/// A collection with checkpoints, compactions and vacuums between its batches.
fn filled(disk: &SimDisk, seed: u64) -> (Session, Moments) {
    let session = open(storage(disk), 1, 1).unwrap();
    let mut world = World::default().after(&Step::Create(NAME));
    session.perform(&Step::Create(NAME), 1).unwrap();
    let mut moments = Moments::from([(0, world.collections[NAME].clone())]);
    let mut rng = Rng::new(seed);
    for number in 1..11 {
        // So slowly that all of it stays within the window.
        let now = 1 + number / 2;
        let (rows, deletes) = (rng.below(9) as usize, rng.below(5) as usize);
        let write = Step::Write(NAME, random_change(&mut rng, rows, deletes));
        session.perform(&write, now).unwrap();
        world = world.after(&write);
        moments.insert(lsn(&session.db), world.collections[NAME].clone());
        let upkeep = [Step::Checkpoint(NAME), Step::Compact(NAME), Step::Vacuum(NAME)];
        if let Some(step) = upkeep.get(rng.below(4) as usize) {
            session.perform(step, now).unwrap();
        }
    }
    (session, moments)
}

fn lsn(db: &Database) -> u64 {
    db.collection(NAME).unwrap().view().lsn.0
}

/// Live points and the exact answer to a search are those of `oracle`.
fn check(db: &Database, oracle: &Oracle, what: &str) {
    let view = db.collection(NAME).unwrap().view();
    assert_eq!(oracle.difference(&view), None, "{what}");
    let query = [0.3, -0.2, 0.9, 0.1];
    let params = SearchParams { field: "", k: 5, ef: None, exact: true, filter: None };
    let prepared = view.prepare(params, Kernel::detect()).unwrap();
    let found = view.search_many(&prepared, &query, &Pool::SERIAL, &never_cancelled).unwrap();
    let bits = |distance: f32| distance.to_bits();
    let hits = found[0].0.iter().map(|hit| (bits(hit.distance), hit.id.clone()));
    let scored = oracle
        .points
        .iter()
        .map(|(id, point)| (bits(distance(Metric::L2, &query, &point.vector)), id.clone()));
    // Distances are not negative, so their bits are in their order.
    let mut expected: Vec<_> = scored.collect();
    expected.sort();
    expected.truncate(5);
    assert_eq!(hits.collect::<Vec<_>>(), expected, "{what}");
}

fn write_assigned(session: &Session, oracle: &mut Oracle, now: u64) {
    let points = random_change(&mut Rng::new(now), 3, 0).points;
    let change = Change { points, ..Change::default() };
    oracle.apply(&change);
    session.perform(&Step::Write(NAME, change), now).unwrap();
}

fn expect_out_of_reach(error: &Error, range: &str) {
    assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{error}");
    assert!(error.message().contains(range), "no {range:?} in {error}");
}

#[test]
fn every_lsn_gives_the_state_of_its_moment_as_a_database_of_its_own() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let (session, moments) = filled(&disk, seed);
        for (&target, oracle) in &moments {
            let into: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
            let made = session.db.replay_into(NAME, Lsn(target), &into, &Pool::SERIAL).unwrap();
            assert_eq!((made.lsn.0, made.points), (target, oracle.points.len() as u64));
            let copy = open(Arc::clone(&into), 20, 2).unwrap();
            check(&copy.db, oracle, &format!("seed {seed}, LSN {target}"));
            // It is a store like any other.
            let mut oracle = oracle.clone();
            oracle.next_id = oracle.next_id.max(moments.values().last().unwrap().next_id);
            copy.perform(&Step::Compact(NAME), 21).unwrap();
            drop(copy);
            check(&open(into, 22, 3).unwrap().db, &oracle, "compacted and opened again");
        }
        check(&session.db, moments.values().last().unwrap(), "the source is as it was");
    }
}

#[test]
fn every_lsn_gives_the_state_of_its_moment_in_place_and_numbers_go_on_above_the_old_ones() {
    for seed in 0..SEEDS {
        let last = *filled(&SimDisk::new(seed), seed).1.keys().last().unwrap();
        for target in 0..=last {
            let disk = SimDisk::new(seed);
            let (session, moments) = filled(&disk, seed);
            let what = format!("seed {seed}, LSN {target}");
            let newest = &moments[&last];
            let number = session.db.collection(NAME).unwrap().view().manifest;
            let done = session.db.replay_to(NAME, Lsn(target), &Pool::SERIAL).unwrap();
            assert!(done.backup.unwrap().starts_with("tmp/replay_backup_"));
            let mut oracle = moments[&target].in_place_of(newest);
            check(&session.db, &oracle, &what);
            write_assigned(&session, &mut oracle, 8);
            check(&session.db, &oracle, &what);
            assert!(lsn(&session.db) > last, "{what}: LSN {}", lsn(&session.db));
            assert!(session.db.collection(NAME).unwrap().view().manifest > number, "{what}");
            drop(session);
            let disk = disk.restart(seed);
            check(&open(storage(&disk), 9, 3).unwrap().db, &oracle, &format!("{what}, reopened"));
        }
    }
}

#[test]
fn one_can_go_further_back_but_not_to_what_was_left_behind() {
    for seed in 0..SEEDS {
        let disk = SimDisk::new(seed);
        let (session, moments) = filled(&disk, seed);
        let mut oracle = moments[&10].clone();
        for target in [7, 4, 2, 0] {
            session.db.replay_to(NAME, Lsn(target), &Pool::SERIAL).unwrap();
            oracle = moments[&target].in_place_of(&oracle);
            check(&session.db, &oracle, &format!("seed {seed}, LSN {target}"));
            let forth = session.db.replay_to(NAME, Lsn(target + 1), &Pool::SERIAL);
            expect_out_of_reach(&forth.unwrap_err(), "left behind");
            // The refusal changed nothing, and the collection takes writes.
            write_assigned(&session, &mut oracle, 20 - target);
            check(&session.db, &oracle, "after a refused replay");
        }
    }
}

#[test]
fn targets_out_of_reach_are_refused_with_the_range_and_change_nothing() {
    let disk = SimDisk::new(1);
    let (session, moments) = filled(&disk, 1);
    let mut oracle = moments[&10].clone();
    let too_new = session.db.replay_to(NAME, Lsn(11), &Pool::SERIAL).unwrap_err();
    expect_out_of_reach(&too_new, "expected 0 to 10, got 11");
    // Long afterwards only the present is left of it, once the clock has said so twice.
    let now = 10 + 3 * HISTORY_STEPS;
    session.perform(&Step::Checkpoint(NAME), now).unwrap();
    session.perform(&Step::Vacuum(NAME), now).unwrap();
    session.perform(&Step::Vacuum(NAME), now + HISTORY_STEPS).unwrap();
    let too_old = session.db.replay_to(NAME, Lsn(0), &Pool::SERIAL).unwrap_err();
    expect_out_of_reach(&too_old, "to 10, got 0");
    let into: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
    let elsewhere = session.db.replay_into(NAME, Lsn(0), &into, &Pool::SERIAL).unwrap_err();
    expect_out_of_reach(&elsewhere, "to 10, got 0");
    assert_eq!(into.list("").unwrap(), [""; 0], "nothing is begun");
    check(&session.db, &oracle, "unchanged");
    write_assigned(&session, &mut oracle, now + 20);
    check(&session.db, &oracle, "and goes on");
    assert_eq!(disk.list("tmp").unwrap_or_default().len(), 0, "no backup was made");
}

#[test]
fn a_reader_beside_the_writer_makes_a_copy_of_an_earlier_moment() {
    let disk = SimDisk::new(2);
    let (session, moments) = filled(&disk, 2);
    let clock = Arc::new(ManualClock::new(7));
    let beside =
        Database::open(storage(&disk), Mode::Read, small_options(), clock, 3, "reader").unwrap();
    let mut oracle = moments[&10].clone();
    write_assigned(&session, &mut oracle, 7);
    for target in [3, 10, 11] {
        let into: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
        beside.replay_into(NAME, Lsn(target), &into, &Pool::SERIAL).unwrap();
        let expected = moments.get(&target).unwrap_or(&oracle);
        check(&open(into, 20, 2).unwrap().db, expected, &format!("LSN {target}"));
    }
    assert_eq!(
        beside.replay_to(NAME, Lsn(3), &Pool::SERIAL).unwrap_err().kind(),
        ErrorKind::ReadOnly
    );
    write_assigned(&session, &mut oracle, 8);
    check(&session.db, &oracle, "the writer goes on");
}

/// Bytes below the collection's directory in files kept for the past alone.
fn past_bytes(disk: &SimDisk, session: &Session) -> u64 {
    let view = session.db.collection(NAME).unwrap().view();
    let entries = view.segments.iter().filter_map(|live| live.file.as_ref());
    let named = entries.flat_map(|entry| {
        std::iter::once(&entry.file).chain(entry.deletes.iter().map(|list| &list.file))
    });
    let present: Vec<String> = named.cloned().collect();
    let id = disk.list("c").unwrap()[0].name.clone();
    let mut bytes = 0;
    for dir in ["segments", "archive"] {
        for entry in disk.list(&format!("c/{id}/{dir}")).unwrap_or_default() {
            let file = format!("{dir}/{}", entry.name);
            if !present.contains(&file) {
                bytes += disk.read(&format!("c/{id}/{file}")).unwrap().len() as u64;
            }
        }
    }
    bytes
}

fn newest_archived_bytes(disk: &SimDisk) -> u64 {
    let archive = format!("c/{}/archive", disk.list("c").unwrap()[0].name);
    let newest = disk.list(&archive).unwrap_or_default().into_iter().map(|entry| entry.name).max();
    newest.map_or(0, |name| disk.read(&format!("{archive}/{name}")).unwrap().len() as u64)
}

#[test]
fn the_oldest_past_is_given_up_when_it_takes_too_much_space() {
    let disk = SimDisk::new(3);
    let (session, _) = filled(&disk, 3);
    session.perform(&Step::Compact(NAME), 7).unwrap();
    let whole = past_bytes(&disk, &session);
    assert!(whole > 2_000, "{whole} bytes of past");
    drop(session);
    for bytes_max in [whole, whole / 2, 1] {
        let options = Options { history_bytes_max: bytes_max, ..small_options() };
        let clock = Arc::new(ManualClock::new(8));
        let db = Database::open(storage(&disk), Mode::Write, options, clock, 3, "test").unwrap();
        db.collection(NAME).unwrap().vacuum().unwrap();
        drop(db);
        let session = open(storage(&disk), 8, 1).unwrap();
        let left = past_bytes(&disk, &session);
        // The newest log file says how far the log went, and stays.
        let given_up = left - newest_archived_bytes(&disk);
        assert!(given_up <= bytes_max, "{given_up} bytes, at most {bytes_max}");
        assert!(bytes_max < whole || left == whole, "nothing was to be given up");
    }
}
