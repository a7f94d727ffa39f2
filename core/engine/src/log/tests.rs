//! The log against its promise: what was synced comes back, damage to it is refused, and everything
//! else is cut off. Damage is made by editing the bytes of files between two openings.

use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_segment::{ErrorKind, FileId, Lsn, Result, Rng};

use super::test_storage::TestStorage;
use super::*;

type Batches = Vec<(Lsn, Vec<u8>)>;

const COLLECTION: FileId = FileId(0xC0FFEE);

fn place(storage: &TestStorage) -> LogDirectory {
    LogDirectory::new(Arc::new(storage.clone()), "c/x", COLLECTION)
}

fn read(storage: &TestStorage, from: u64, mode: Mode) -> Result<(ReplayReport, Batches)> {
    let mut batches = Vec::new();
    let report = replay(&place(storage), Lsn(from), mode, &mut |lsn, body| {
        batches.push((lsn, body.to_vec()));
        Ok(())
    })?;
    Ok((report, batches))
}

fn open(storage: &TestStorage, file_bytes_max: u64) -> FileLog {
    let (report, _) = read(storage, 0, Mode::Recover).expect("recovers");
    FileLog::open(place(storage), &report, FileLogOptions { file_bytes_max, epoch: 1 })
}

fn body(lsn: u64) -> Vec<u8> {
    (0..lsn * 7 % 50).map(|i| (lsn * 31 + i) as u8).collect()
}

fn bodies(lsns: impl IntoIterator<Item = u64>) -> Batches {
    lsns.into_iter().map(|lsn| (Lsn(lsn), body(lsn))).collect()
}

/// Appends batches up to `last`, syncing after each LSN in `syncs`.
fn write(log: &mut FileLog, last: u64, syncs: &[u64]) {
    while log.last() < Lsn(last) {
        let lsn = log.append(&body(log.last().0 + 1)).expect("appends");
        if syncs.contains(&lsn.0) {
            assert_eq!(log.sync().expect("syncs"), lsn);
        }
    }
}

fn sole_file(storage: &TestStorage) -> (String, Vec<u8>) {
    let files = storage.files();
    assert_eq!(files.len(), 1, "{:?}", files.keys());
    files.into_iter().next().expect("one")
}

fn with_file(name: &str, bytes: Vec<u8>) -> TestStorage {
    TestStorage::with_files(BTreeMap::from([(name.to_owned(), bytes)]))
}

#[test]
fn batches_come_back_in_order_over_many_files_and_openings() {
    let storage = TestStorage::new();
    for last in [3, 3, 20, 21, 40] {
        let mut log = open(&storage, 300);
        assert_eq!(log.durable(), log.last());
        write(&mut log, last, &[2, 3, 11, 20, 21, 40]);
    }
    assert!(storage.files().len() > 5, "rotated");
    let (report, batches) = read(&storage, 0, Mode::Recover).expect("whole");
    assert_eq!(batches, bodies(1..=40));
    assert_eq!((report.last, report.durable, report.torn), (Lsn(40), Lsn(40), None));
    for from in 0..=40 {
        for mode in [Mode::Recover, Mode::ReadOnly, Mode::Through(Lsn(30))] {
            let last = if mode == Mode::Through(Lsn(30)) { 30 } else { 40 };
            let (_, batches) = read(&storage, from, mode).expect("whole");
            assert_eq!(batches, bodies(from + 1..=last), "{mode:?} from {from}");
        }
    }
}

#[test]
fn one_sync_makes_all_appended_batches_durable() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 1 << 20);
    write(&mut log, 5, &[]);
    assert_eq!((log.last(), log.durable()), (Lsn(5), Lsn(0)));
    storage.fail_after(1);
    assert_eq!(log.sync().expect("one fsync is all it takes"), Lsn(5));
    assert_eq!(log.durable(), Lsn(5));
}

#[test]
fn the_memory_log_numbers_batches_like_the_file_log() {
    let storage = TestStorage::new();
    let mut logs: [Box<dyn Log>; 2] =
        [Box::new(open(&storage, 200)), Box::new(MemoryLog::new(Lsn(0)))];
    for log in &mut logs {
        assert_eq!(log.append(b"a").expect("appends"), Lsn(1));
        assert_eq!(log.append(b"").expect("an empty body is a body"), Lsn(2));
        assert_eq!((log.last(), log.durable()), (Lsn(2), Lsn(0)));
        assert_eq!(log.sync().expect("syncs"), Lsn(2));
        log.rotate().expect("rotates");
        assert_eq!(log.append(b"b").expect("appends"), Lsn(3));
        log.archive_through(Lsn(2)).expect("archives");
        assert_eq!(log.durable(), Lsn(2));
    }
}

/// The state after power is cut at any byte: everything synced before that byte, and nothing invented.
#[test]
fn every_truncation_recovers_a_prefix_that_holds_all_durable_batches() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 1 << 20);
    let mut durable_at = vec![(sole_or_empty(&storage), 0)];
    for lsn in 1..=9 {
        log.append(&body(lsn)).expect("appends");
        if lsn % 3 == 0 {
            log.sync().expect("syncs");
            durable_at.push((sole_or_empty(&storage) - MARK_BYTES, lsn));
        }
    }
    let (name, bytes) = sole_file(&storage);
    for len in 0..=bytes.len() {
        let cut = with_file(&name, bytes[..len].to_vec());
        let durable = durable_at.iter().rev().find(|(at, _)| *at <= len).map_or(0, |(_, lsn)| *lsn);
        let (report, batches) = read(&cut, 0, Mode::ReadOnly).expect("a cut is no corruption");
        assert!(report.last.0 <= durable, "readers see only what is durable; length {len}");
        assert_eq!(batches, bodies(1..=report.last.0));
        let (report, batches) = read(&cut, 0, Mode::Recover).expect("a cut is no corruption");
        assert!(report.last.0 >= durable, "length {len}: {report:?}");
        assert_eq!(batches, bodies(1..=report.last.0), "length {len}");
        let (again, _) = read(&cut, 0, Mode::Recover).expect("repaired");
        assert_eq!((again.last, again.torn), (report.last, None), "length {len}");
        let mut log = open(&cut, 1 << 20);
        write(&mut log, 12, &[12]);
        assert_eq!(
            read(&cut, 0, Mode::Recover).expect("goes on").1,
            bodies(1..=12),
            "length {len}"
        );
    }
}

const MARK_BYTES: usize = 40;

fn sole_or_empty(storage: &TestStorage) -> usize {
    storage.files().values().map(Vec::len).sum()
}

/// A flipped bit in what later frames call durable is refused; elsewhere it cuts the tail. Wrong bytes
/// are never delivered.
#[test]
fn every_flipped_byte_is_refused_or_cut_off() {
    for file_bytes_max in [1 << 20, 250] {
        let storage = TestStorage::new();
        let mut log = open(&storage, file_bytes_max);
        write(&mut log, 9, &[2, 4, 8]);
        let files = storage.files();
        for (name, bytes) in &files {
            for at in 0..bytes.len() {
                let mut damaged = files.clone();
                damaged.get_mut(name).expect("there")[at] ^= 1 << (at % 8);
                let storage = TestStorage::with_files(damaged);
                for mode in [Mode::ReadOnly, Mode::Recover] {
                    check_damaged(&storage, mode, &format!("{name} byte {at} {mode:?}"));
                }
            }
        }
    }
}

fn check_damaged(storage: &TestStorage, mode: Mode, place: &str) {
    match read(storage, 0, mode) {
        Err(error) => {
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{place}: {error}");
            assert!(error.detail("file").is_some() && error.detail("offset").is_some(), "{error}");
        }
        Ok((report, batches)) => {
            assert_eq!(batches, bodies(1..=report.last.0), "{place}");
            // Batch 9 names LSN 8 as durable, and damage to batch 9 leaves the mark behind batch 8.
            assert!(report.last >= Lsn(8), "{place}: {report:?}");
        }
    }
}

#[test]
fn damage_below_the_durable_lsn_is_corruption_and_not_a_torn_tail() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 1 << 20);
    write(&mut log, 6, &[3, 6]);
    let (name, bytes) = sole_file(&storage);
    let first_frame = 64;
    let damaged = with_file(&name, flipped(&bytes, first_frame + 45));
    let error = read(&damaged, 0, Mode::Recover).expect_err("LSN 1 was durable");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    assert_eq!(error.detail("offset"), Some(&first_frame.into()), "{error}");
    assert_eq!(damaged.files()[&name], flipped(&bytes, first_frame + 45), "nothing was repaired");
    // By the cut of a manifest, too, even without a frame.
    let unsynced = TestStorage::new();
    write(&mut open(&unsynced, 1 << 20), 6, &[]);
    let (name, bytes) = sole_file(&unsynced);
    let cut = with_file(&name, bytes[..bytes.len() - 8].to_vec());
    assert_eq!(read(&cut, 6, Mode::Recover).expect_err("durable").kind(), ErrorKind::Corrupt);
    assert_eq!(read(&cut, 5, Mode::Recover).expect("torn").0.last, Lsn(5));
}

fn flipped(bytes: &[u8], at: usize) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes[at] ^= 0x10;
    bytes
}

/// Power loss may keep any subset of the sectors written since the last sync, in any order, as zeros or
/// not at all.
#[test]
fn missing_and_reordered_sectors_of_the_tail_never_look_like_corruption() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 1 << 20);
    write(&mut log, 7, &[7]);
    let synced = sole_file(&storage).1.len() - MARK_BYTES;
    for _ in 8..=40 {
        log.append(&[log.last().0 as u8; 100]).expect("appends");
    }
    let (name, bytes) = sole_file(&storage);
    for seed in 0..2_000 {
        let mut rng = Rng::new(seed);
        let mut torn = bytes.clone();
        for start in (0..bytes.len()).step_by(512) {
            let sector = start.max(synced)..(start + 512).min(bytes.len()).max(synced);
            if sector.start < sector.end && rng.below(2) == 0 {
                torn[sector].fill(0);
            }
        }
        torn.truncate(synced + rng.below((bytes.len() - synced) as u64 + 1) as usize);
        let torn = with_file(&name, torn);
        let (report, batches) =
            read(&torn, 0, Mode::Recover).unwrap_or_else(|error| panic!("seed {seed}: {error}"));
        assert!(report.last >= Lsn(7), "seed {seed}");
        assert_eq!(batches[..7], bodies(1..=7), "seed {seed}");
        assert!(batches[7..].iter().all(|(lsn, body)| body == &vec![lsn.0 as u8 - 1; 100]));
    }
}

#[test]
fn a_failed_write_or_sync_poisons_the_log_and_reopening_recovers() {
    for budget in 0..14 {
        let storage = TestStorage::new();
        let mut log = open(&storage, 300);
        storage.fail_after(budget);
        let mut acknowledged = 0;
        let error = loop {
            let result = log.append(&body(log.last().0 + 1)).and_then(|_| log.sync());
            match result {
                Ok(lsn) => acknowledged = lsn.0,
                Err(error) => break error,
            }
        };
        assert_eq!(error.kind(), ErrorKind::Io, "budget {budget}");
        let bytes = storage.files();
        for again in [log.append(b"x"), log.sync()] {
            let message = again.expect_err("poisoned").to_string();
            assert!(message.contains("poisoned") && message.contains("injected"), "{message}");
        }
        assert_eq!(storage.files(), bytes, "nothing is written after a failure");
        let (report, batches) = read(&storage, 0, Mode::Recover).expect("recovers");
        assert!(report.last.0 >= acknowledged, "budget {budget}");
        assert_eq!(batches, bodies(1..=report.last.0), "budget {budget}");
    }
}

#[test]
fn recovery_rewrites_a_tail_that_no_mark_calls_durable() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 1 << 20), 3, &[]);
    let (name, before) = sole_file(&storage);
    assert_eq!(read(&storage, 0, Mode::ReadOnly).expect("reads").1, Batches::new());
    read(&storage, 0, Mode::Recover).expect("recovers");
    let (_, after) = sole_file(&storage);
    assert_eq!((after.len(), &after[..before.len()]), (before.len() + MARK_BYTES, &before[..]));
    assert_eq!(read(&storage, 0, Mode::ReadOnly).expect("reads").1, bodies(1..=3), "{name}");
    read(&storage, 0, Mode::Recover).expect("recovers");
    assert_eq!(sole_file(&storage).1, after, "a durable tail is left as it is");
}

#[test]
fn frames_inside_a_body_are_not_taken_for_frames() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 1 << 20);
    write(&mut log, 4, &[4]);
    let foreign = sole_file(&storage).1;
    // The bytes of another collection's log as a batch, torn: its marks must not count as evidence.
    let victim = TestStorage::new();
    let mut log = FileLog::open(
        LogDirectory::new(Arc::new(victim.clone()), "", FileId(7)),
        &read(&victim, 0, Mode::Recover).expect("empty").0,
        FileLogOptions { file_bytes_max: 64 << 20, epoch: 0 },
    );
    log.append(&foreign[64..]).expect("appends");
    let (name, bytes) = sole_file(&victim);
    let torn = with_file(&name, flipped(&bytes, 64 + 9));
    let place = LogDirectory::new(Arc::new(torn), "", FileId(7));
    let report = replay(&place, Lsn(0), Mode::Recover, &mut |_, _| Ok(())).expect("a torn tail");
    assert_eq!(report.last, Lsn(0));
    assert!(report.torn.is_some());
}

#[test]
fn archived_files_move_and_the_newest_stays() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 250);
    write(&mut log, 20, &[20]);
    let size = log.size_bytes();
    assert_eq!(size, sole_or_empty(&storage) as u64);
    let moved = log.archive_through(Lsn(10)).expect("archives");
    assert!(moved > 0);
    assert!(log.size_bytes() < size);
    assert!(log.sealed.iter().all(|file| file.last > Lsn(10)));
    log.rotate().expect("rotates");
    log.archive_through(Lsn(20)).expect("archives");
    let live = storage.files().keys().filter(|name| name.contains("/wal/")).count();
    assert_eq!(live, 1, "the newest file stays, so that LSNs and links go on");
    let (_, batches) = read(&storage, 15, Mode::Recover).expect("recovers");
    assert_eq!(batches, bodies(16..=20));
    assert_eq!(read(&storage, 3, Mode::Through(Lsn(9))).expect("history").1, bodies(4..=9));
    let mut log = open(&storage, 250);
    assert_eq!(log.append(b"").expect("appends"), Lsn(21));
}

#[test]
fn a_file_left_in_both_places_by_a_power_cut_is_archived_once() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 250), 20, &[20]);
    let files = storage.files();
    let oldest = files.keys().next().expect("there are files");
    for (same, moved) in [(true, Ok(())), (false, Err(ErrorKind::Conflict))] {
        let mut both = files.clone();
        let copy = if same { files[oldest].clone() } else { vec![1; files[oldest].len()] };
        both.insert(oldest.replace("/wal/", "/archive/"), copy);
        let both = TestStorage::with_files(both);
        let result = open(&both, 250).archive_through(Lsn(20));
        assert_eq!(result.map(drop).map_err(|error| error.kind()), moved);
        assert_eq!(both.files().contains_key(oldest), !same);
        assert_eq!(read(&both, 0, Mode::Recover).expect("whole").1, bodies(1..=20));
    }
}

#[test]
fn a_missing_file_is_corruption_unless_it_lies_below_the_cut() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 250), 20, &[20]);
    let files = storage.files();
    let last = files.keys().next_back().expect("there are files");
    let firsts: Vec<u64> = files.keys().map(|name| first_of(name)).collect();
    for (index, name) in files.keys().enumerate().filter(|(_, name)| *name != last) {
        let mut fewer = files.clone();
        fewer.remove(name);
        let fewer = TestStorage::with_files(fewer);
        let error = read(&fewer, 0, Mode::Recover).expect_err("batches are missing");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        let cut = firsts[index + 1] - 1;
        assert_eq!(read(&fewer, cut, Mode::Recover).expect("below").1, bodies(cut + 1..=20));
    }
}

fn first_of(name: &str) -> u64 {
    name[name.len() - 24..name.len() - 4].parse().expect("20 digits")
}

#[test]
fn a_file_whose_creation_was_cut_short_is_removed() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 1 << 20), 3, &[3]);
    for len in [0, 1, 63, 64] {
        let mut files = storage.files();
        files.insert(format!("c/x/wal/{:020}.log", 4), vec![0; len]);
        let cut = TestStorage::with_files(files);
        for from in 0..=3 {
            assert_eq!(read(&cut, from, Mode::ReadOnly).expect("fine").0.last, Lsn(3));
        }
        let mut log = open(&cut, 1 << 20);
        write(&mut log, 6, &[6]);
        assert_eq!(read(&cut, 0, Mode::Recover).expect("goes on").1, bodies(1..=6), "length {len}");
    }
}

#[test]
fn the_name_of_a_next_file_shows_that_everything_before_it_was_durable() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 1 << 20), 3, &[]);
    let (name, bytes) = sole_file(&storage);
    let next = (format!("c/x/wal/{:020}.log", 4), Vec::new());
    let torn = (name, bytes[..bytes.len() - 8].to_vec());
    let alone = TestStorage::with_files(BTreeMap::from([torn.clone()]));
    assert_eq!(read(&alone, 0, Mode::Recover).expect("torn").0.last, Lsn(2));
    let followed = TestStorage::with_files(BTreeMap::from([torn, next]));
    let error = read(&followed, 0, Mode::Recover).expect_err("LSN 3 was durable");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

/// Both logs have the same file header, lengths and LSNs; only the link tells their frames apart.
#[test]
fn a_frame_of_another_history_does_not_fit_in() {
    let logs = [b"history A", b"history B"].map(|first| {
        let storage = TestStorage::new();
        let mut log = open(&storage, 1 << 20);
        log.append(first).expect("appends");
        log.append(b"second").expect("appends");
        sole_file(&storage)
    });
    let second_frame = 64 + 40 + 16;
    let mut spliced = logs[0].1.clone();
    spliced[second_frame..].copy_from_slice(&logs[1].1[second_frame..]);
    let spliced = with_file(&logs[0].0, spliced);
    let error = read(&spliced, 0, Mode::Recover).expect_err("not what was written");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
}

#[test]
fn readers_see_what_was_synced_and_nothing_else() {
    let storage = TestStorage::new();
    let mut log = open(&storage, 400);
    for lsn in 1..=30 {
        log.append(&body(lsn)).expect("appends");
        let before = read(&storage, 0, Mode::ReadOnly).expect("reads beside the writer");
        assert_eq!(before.1, bodies(1..=log.durable().0));
        if lsn % 4 == 0 {
            log.sync().expect("syncs");
            assert_eq!(read(&storage, 0, Mode::ReadOnly).expect("reads").1, bodies(1..=lsn));
        }
    }
}

#[test]
fn a_new_timeline_leaves_later_batches_behind_and_uses_no_lsn_twice() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 300), 20, &[20]);
    for branch in 0..=20 {
        let storage = TestStorage::with_files(storage.files());
        let (report, _) = read(&storage, 0, Mode::Recover).expect("recovers");
        let record = start_timeline(&place(&storage), &report, Lsn(branch), 2, 5).expect("starts");
        assert_eq!(record, Lsn(21));
        let mut log = open(&storage, 300);
        assert_eq!(log.last(), Lsn(21));
        write(&mut log, 30, &[30]);
        let expected: Batches = [bodies(1..=branch), bodies(22..=30)].concat();
        let (report, batches) = read(&storage, 0, Mode::Recover).expect("recovers");
        assert_eq!((report.timeline, report.last), (2, Lsn(30)));
        assert_eq!(batches, expected, "branch {branch}");
        assert_eq!(
            read(&storage, branch, Mode::Recover).expect("from the branch").1,
            bodies(22..=30)
        );
        if branch < 20 {
            let left = read(&storage, branch + 1, Mode::Recover).expect_err("left behind");
            assert!(matches!(left.kind(), ErrorKind::Conflict | ErrorKind::Corrupt), "{left}");
        }
        let (report, _) = read(&storage, 0, Mode::Recover).expect("recovers");
        start_timeline(&place(&storage), &report, Lsn(branch / 2), 3, 6).expect("again");
        let (report, batches) = read(&storage, 0, Mode::Recover).expect("recovers");
        assert_eq!((report.timeline, report.last), (3, Lsn(31)));
        assert_eq!(batches, bodies(1..=branch / 2));
    }
}

#[test]
fn a_crash_before_the_old_timeline_is_moved_aside_changes_nothing() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 300), 20, &[20]);
    let before = storage.files();
    let (report, _) = read(&storage, 0, Mode::Recover).expect("recovers");
    start_timeline(&place(&storage), &report, Lsn(4), 2, 5).expect("starts");
    let mut files = before.clone();
    files.extend(storage.files().into_iter().filter(|(name, _)| name.contains("/wal/")));
    assert_eq!(files.len(), before.len() + 1);
    let crashed = TestStorage::with_files(files);
    write(&mut open(&crashed, 300), 25, &[25]);
    let (report, batches) = read(&crashed, 0, Mode::Recover).expect("recovers");
    assert_eq!((report.timeline, batches), (2, [bodies(1..=4), bodies(22..=25)].concat()));
    let mut log = open(&crashed, 300);
    log.archive_through(Lsn(21)).expect("archives what was left behind, too");
    assert_eq!(read(&crashed, 21, Mode::Recover).expect("recovers").1, bodies(22..=25));
}

/// Or the batches that were left behind would come back.
#[test]
fn damage_to_a_timeline_record_is_corruption() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 300), 20, &[20]);
    let (report, _) = read(&storage, 0, Mode::Recover).expect("recovers");
    start_timeline(&place(&storage), &report, Lsn(4), 2, 5).expect("starts");
    let files = storage.files();
    let (name, bytes) = files.iter().find(|(name, _)| first_of(name) == 21).expect("written");
    for at in 0..bytes.len() {
        let mut damaged = files.clone();
        damaged.insert(name.clone(), flipped(bytes, at));
        let damaged = TestStorage::with_files(damaged);
        let error = read(&damaged, 0, Mode::Recover).expect_err("damaged");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
    }
}

#[test]
fn a_log_of_another_collection_or_version_is_refused() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 300), 2, &[2]);
    let other = LogDirectory::new(Arc::new(storage.clone()), "c/x", FileId(1));
    let error = replay(&other, Lsn(0), Mode::Recover, &mut |_, _| Ok(())).expect_err("foreign");
    assert_eq!(error.kind(), ErrorKind::Corrupt);
    let refused = read(&storage, 0, Mode::Recover).expect("its own").0.last;
    assert_eq!(refused, Lsn(2));
}

#[test]
fn an_error_of_the_caller_stops_the_replay_and_repairs_nothing() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 1 << 20), 3, &[]);
    let before = storage.files();
    let error = replay(&place(&storage), Lsn(0), Mode::Recover, &mut |lsn, _| {
        if lsn == Lsn(2) { Err(crate::Error::corrupt("batch", "byte 0", "no")) } else { Ok(()) }
    })
    .expect_err("the caller's");
    assert!(error.message().contains("offset"), "{error}");
    assert_eq!(storage.files(), before);
}

/// Any bytes as a log file: an answer, in bounded time and memory, and no panic.
#[test]
fn hostile_files_are_answered_without_panic() {
    let storage = TestStorage::new();
    write(&mut open(&storage, 1 << 20), 6, &[3]);
    let (name, bytes) = sole_file(&storage);
    for seed in 0..3_000 {
        let mut rng = Rng::new(seed);
        let mut hostile = bytes.clone();
        for _ in 0..=rng.below(4) {
            let at = rng.below(hostile.len() as u64) as usize;
            let len = (rng.below(16) as usize).min(hostile.len() - at);
            hostile[at..at + len]
                .fill_with(|| if seed % 2 == 0 { 0xFF } else { rng.next_u64() as u8 });
        }
        for mode in [Mode::ReadOnly, Mode::Through(Lsn(4)), Mode::Recover] {
            if let Ok((report, batches)) = read(&with_file(&name, hostile.clone()), 0, mode) {
                assert_eq!(batches, bodies(1..=report.last.0), "seed {seed}");
            }
        }
    }
}
