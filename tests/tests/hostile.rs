//! Damaged, truncated, forged and future files of every kind.
//!
//! A store with one of them either refuses, naming the file, or answers exactly right. Never a panic, never
//! a wrong answer.

#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::Arc;

use nearfield_engine::{Database, Error, ErrorKind, Export, ManualClock, Mode, Result, restore};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::format::Residence;
use nearfield_segment::search::{SearchParams, Source, prepare};
use nearfield_segment::segment::Segment;
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob, MemoryStorage, Storage};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{DeadRows, FieldKinds, Kernel, Rng};
use nearfield_tests::fixture::{
    Fixture, NAME, holds, holds_in_part, open_database, read_directory,
};
use nearfield_tests::sim::{Files, memory, small_options};

const FLIPS: usize = 500;
const TRUNCATIONS_MAX: usize = 700;

#[derive(Debug, Clone, Copy, PartialEq)]
enum Damage {
    Truncated(usize),
    Flipped(usize, u8),
    Zeroed(usize, usize),
}

impl Damage {
    /// Every truncation of a short file, many of a long one; flipped bits and zeroed ranges.
    fn all(len: usize, rng: &mut Rng) -> Vec<Damage> {
        let mut all: Vec<Damage> = if len <= TRUNCATIONS_MAX {
            (0..len).map(Damage::Truncated).collect()
        } else {
            (0..TRUNCATIONS_MAX)
                .map(|_| Damage::Truncated(rng.below(len as u64) as usize))
                .collect()
        };
        let mut at = |len| rng.below(len as u64) as usize;
        all.extend((0..FLIPS).map(|_| Damage::Flipped(at(len), 1 << at(8))));
        all.extend((0..FLIPS / 8).map(|_| Damage::Zeroed(at(len), 1 + at(64))));
        all
    }

    fn apply(self, bytes: &mut Vec<u8>) {
        match self {
            Damage::Truncated(len) => bytes.truncate(len),
            Damage::Flipped(at, mask) => bytes[at] ^= mask,
            Damage::Zeroed(at, count) => {
                let end = bytes.len().min(at + count);
                bytes[at..end].fill(0);
            }
        }
    }
}

/// Runs `open` without letting a panic through.
fn guarded<T>(what: &str, open: impl FnOnce() -> T) -> T {
    catch_unwind(AssertUnwindSafe(open)).unwrap_or_else(|_| panic!("{what}: it panicked"))
}

/// A refusal says what kind of trouble it is and names the file.
fn check_refusal(error: &Error, file: &str, what: &str) {
    let kinds = [ErrorKind::Corrupt, ErrorKind::Version, ErrorKind::NotFound];
    assert!(kinds.contains(&error.kind()), "{what}: {:?}: {error}", error.kind());
    let named = error.detail("file").and_then(|name| name.as_str()).unwrap_or_default();
    let names_it = error.message().contains(file) || file.ends_with(named) && !named.is_empty();
    assert!(names_it, "{what}: the file is not named: {error}");
}

/// Damages one file of the store in every way and opens it as writer and as reader.
fn sweep(part: &str, right: &dyn Fn(&Fixture, &Database, Damage) -> Result<bool>) {
    let fixture = Fixture::build().unwrap();
    let name = fixture.named(part);
    let (mut refused, mut answered) = (0, 0);
    for damage in Damage::all(fixture.files[&name].len(), &mut Rng::new(31)) {
        let mut files = fixture.files.clone();
        damage.apply(files.get_mut(&name).unwrap());
        if files[&name] == fixture.files[&name] {
            continue;
        }
        for mode in [Mode::Read, Mode::Write] {
            let what = format!("{name} {damage:?} {mode:?}");
            let result = guarded(&what, || {
                open_database(&files, mode).and_then(|db| right(&fixture, &db, damage))
            });
            match result {
                Ok(true) => answered += 1,
                Ok(false) => panic!("{what}: wrong answers"),
                Err(error) => {
                    check_refusal(&error, &name, &what);
                    refused += 1;
                }
            }
        }
    }
    assert!(refused > 100, "{name}: {refused} refused, {answered} answered right");
}

fn newest(fixture: &Fixture, db: &Database, _: Damage) -> Result<bool> {
    holds(db, fixture.newest())
}

#[test]
fn damaged_segments_are_refused_or_done_without_what_is_derived() {
    sweep(".seg", &newest);
}

#[test]
fn damaged_delete_lists_are_refused() {
    sweep(".del", &newest);
}

/// A reader does without them.
#[test]
fn damaged_keys_are_refused_by_the_writer() {
    sweep(".keys", &|fixture, db, _| Ok(holds(db, fixture.newest())? && db.mode() == Mode::Read));
}

#[test]
fn damaged_manifests_are_refused() {
    sweep("/manifest-", &newest);
}

#[test]
fn damaged_database_manifests_are_refused() {
    sweep("database-", &newest);
}

/// Damage inside is refused; what may be a torn end is cut off at a whole batch. Truncation is a torn end
/// wherever it is; anything else can only take away the last batch, whose mark nothing vouches for.
#[test]
fn damaged_logs_are_refused_or_cut_off_at_a_batch() {
    sweep(".log", &|fixture, db, damage| {
        let lost_max =
            if matches!(damage, Damage::Truncated(_)) { fixture.history.len() } else { 2 };
        for oracle in fixture.history.iter().rev().take(lost_max) {
            if holds(db, oracle)? {
                return Ok(true);
            }
        }
        Ok(false)
    });
}

#[test]
fn damaged_exports_are_refused_or_done_without_what_is_derived() {
    let fixture = Fixture::build().unwrap();
    let name = fixture.named(".near");
    for damage in Damage::all(fixture.files[&name].len(), &mut Rng::new(32)) {
        let mut bytes = fixture.files[&name].clone();
        damage.apply(&mut bytes);
        let what = format!("{name} {damage:?}");
        let result = guarded(&what, || {
            open_export(&name, &bytes).and_then(|db| holds(&db, fixture.newest()))
        });
        let in_part = guarded(&format!("{what} in part"), || {
            let blob: Arc<dyn Blob> = blob(&name, &bytes);
            holds_in_part(&name, &blob, fixture.newest())
        });
        for result in [result, in_part] {
            match result {
                Ok(right) => assert!(right, "{what}: wrong answers"),
                Err(error) => check_refusal(&error, &name, &what),
            }
        }
    }
}

fn open_export(name: &str, bytes: &[u8]) -> Result<Database> {
    let blob: Arc<dyn Blob> = blob(name, bytes);
    Database::from_export(name, &blob, small_options(), Arc::new(ManualClock::default()))
}

fn blob(name: &str, bytes: &[u8]) -> Arc<BytesBlob> {
    Arc::new(BytesBlob::new(name, AlignedBuffer::copy_of(bytes).into()))
}

#[test]
fn damaged_snapshots_are_not_restored() {
    let fixture = Fixture::build().unwrap();
    let below =
        |name: &String| Some(name.strip_prefix("snapshots/")?.split_once('/')?.1.to_owned());
    let snapshot: Files = fixture
        .files
        .iter()
        .filter_map(|(name, bytes)| Some((below(name)?, bytes.clone())))
        .collect();
    assert!(snapshot.len() >= 6, "{:?}", snapshot.keys());
    let mut rng = Rng::new(33);
    for name in snapshot.keys() {
        for damage in Damage::all(snapshot[name].len(), &mut rng).into_iter().step_by(7) {
            let mut files = snapshot.clone();
            damage.apply(files.get_mut(name).unwrap());
            let what = format!("snapshot {name} {damage:?}");
            let target: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
            let result = guarded(&what, || {
                restore(&memory(&files), &target, &never_cancelled)?;
                let clock = Arc::new(ManualClock::new(1));
                let db = Database::open(target, Mode::Write, small_options(), clock, 3, "x")?;
                holds(&db, &fixture.history[0])
            });
            match result {
                Ok(right) => assert!(right || name.ends_with(".log"), "{what}: wrong answers"),
                Err(error) => check_refusal(&error, name, &what),
            }
        }
    }
}

/// A segment and an export of a format.
struct Pair {
    segment: Vec<u8>,
    export: Vec<u8>,
}

/// Those of format 1, which were kept, and those of this build.
fn both_formats(fixture: &Fixture) -> [Pair; 2] {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("fixtures/v4");
    let mut store = read_directory(&kept.join("store")).unwrap();
    store.retain(|name, _| name.ends_with(".seg"));
    let old = Pair {
        segment: store.pop_first().unwrap().1,
        export: std::fs::read(kept.join("export.near")).unwrap(),
    };
    let bytes = |part| fixture.files[&fixture.named(part)].clone();
    let new = Pair { segment: bytes(".seg"), export: bytes(".near") };
    assert_eq!((old.segment[8], new.segment[8]), (1, 2), "formats");
    [old, new]
}

/// A checksum shows accidents, not intent: with the checksums made right again there must be no panic and
/// no endless loop, whatever the answer. The same rounds each time; `NEARFIELD_FORGED_ROUNDS` says how many.
#[test]
fn forged_files_with_right_checksums_do_no_harm() {
    let rounds = std::env::var("NEARFIELD_FORGED_ROUNDS").ok().and_then(|text| text.parse().ok());
    let fixture = Fixture::build().unwrap();
    let formats = both_formats(&fixture);
    let mut rng = Rng::new(34);
    for round in 0..rounds.unwrap_or(8_000) {
        let Pair { segment, export } = &formats[round % 2];
        let mut bytes = segment.clone();
        let front = front_len(&bytes, 16);
        let bound = if round % 4 < 2 { front } else { bytes.len() };
        scribble(&mut bytes, bound, &mut rng);
        reseal_blocks(&mut bytes);
        reseal(&mut bytes, front);
        guarded(&format!("segment, round {round}"), || {
            let blob: Arc<dyn Blob> = blob("forged", &bytes);
            if let Ok(segment) = Segment::open("forged", blob, Residence::Mapped) {
                let _may_be_anything = read_all(&segment);
            }
        });
        let mut bytes = export.clone();
        let front = front_len(&bytes, 16);
        scribble(&mut bytes, front, &mut rng);
        reseal(&mut bytes, front);
        guarded(&format!("export, round {round}"), || {
            open_export("forged", &bytes).and_then(|db| holds(&db, fixture.newest())).is_ok()
        });
        guarded(&format!("export in part, round {round}"), || {
            let blob: Arc<dyn Blob> = blob("forged", &bytes);
            holds_in_part("forged", &blob, fixture.newest()).is_ok()
        });
    }
}

/// Sections begin at multiples of 64.
#[test]
fn files_cut_where_a_section_begins_are_refused() {
    let fixture = Fixture::build().unwrap();
    for Pair { segment, export } in both_formats(&fixture) {
        for len in (0..segment.len()).step_by(64) {
            for residence in [Residence::InPlace, Residence::Mapped] {
                let cut: Arc<dyn Blob> = blob("cut", &segment[..len]);
                let error = Segment::open("cut", cut, residence).unwrap_err();
                check_refusal(&error, "cut", &format!("segment of {len} bytes"));
            }
        }
        for len in (0..export.len()).step_by(64) {
            for residence in [Residence::InPlace, Residence::OnDemand] {
                let cut: Arc<dyn Blob> = blob("cut", &export[..len]);
                let error = Export::open("cut", &cut, residence).unwrap_err();
                check_refusal(&error, "cut", &format!("export of {len} bytes"));
            }
        }
    }
}

fn read_all(segment: &Segment) -> Result<()> {
    search_all(segment)?;
    for row in (0..segment.rows()).map(nearfield_segment::RowId) {
        let id = segment.ids()?.id(row);
        segment.find(&id)?;
        segment.text(row)?;
    }
    Ok(())
}

/// Searches every field, through its graph and exactly.
fn search_all(segment: &Segment) -> Result<()> {
    let (dead, fields) = (DeadRows::new(segment.rows()), FieldKinds::NONE);
    for field in segment.fields() {
        for exact in [false, true] {
            let source = Source { segment, dead: &dead, fields: &fields, skipped: false };
            let (name, k, ef) = (field.name(), 3, Some(8));
            let params = SearchParams { field: name, k, ef, exact, filter: None };
            let query = vec![0.5; field.spec().dim as usize];
            let prepared = prepare([source], params, Kernel::detect(), &never_cancelled)?;
            prepared.search(&query, &mut Scratch::default(), &never_cancelled)?;
        }
    }
    Ok(())
}

/// Changes one to three bytes below `bound`, behind the fields that say how long the front is.
fn scribble(bytes: &mut [u8], bound: usize, rng: &mut Rng) {
    for _ in 0..1 + rng.below(3) {
        let at = 48 + rng.below(bound as u64 - 48) as usize;
        bytes[at] = [0, 1, 0x7F, 0x80, 0xFF, rng.below(256) as u8][rng.below(6) as usize];
    }
}

fn u64_at(bytes: &[u8], at: usize) -> usize {
    u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap()) as usize
}

fn u32_at(bytes: &[u8], at: usize) -> usize {
    u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize
}

fn front_len(bytes: &[u8], at: usize) -> usize {
    u64_at(bytes, at)
}

/// Makes the checksums of all blocks right, as far as the table makes sense.
fn reseal_blocks(bytes: &mut [u8]) {
    let sections = u32_at(bytes, 52).min(64);
    for section in 0..sections {
        let entry = 64 + 64 * section;
        if entry + 64 > bytes.len() {
            return;
        }
        let (offset, len) = (u64_at(bytes, entry + 16), u64_at(bytes, entry + 24));
        let first = 64 + 64 * sections + 4 * u32_at(bytes, entry + 32);
        let end = offset.saturating_add(len);
        if end <= bytes.len() && len <= 65_536 && first + 4 <= bytes.len() {
            let crc = crc32c::crc32c(&bytes[offset..end]);
            bytes[first..first + 4].copy_from_slice(&crc.to_le_bytes());
        }
    }
}

/// Makes the checksum of a front right.
fn reseal(bytes: &mut [u8], front: usize) {
    bytes[12..16].fill(0);
    let crc = crc32c::crc32c(&bytes[..front]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

/// The checksum of all but itself, as log headers and delete lists have it.
fn reseal_without(bytes: &mut [u8], end: usize) {
    let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..end]);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
}

fn reseal_document(text: &str) -> Vec<u8> {
    let (line, json) = text.split_once('\n').unwrap();
    let (start, _) = line.rsplit_once(' ').unwrap();
    let (start, _) = start.rsplit_once(' ').unwrap();
    let start = format!("{start} {}", json.len());
    let crc = crc32c::crc32c_append(crc32c::crc32c(start.as_bytes()), json.as_bytes());
    format!("{start} {crc:08x}\n{json}").into_bytes()
}

#[test]
fn manifests_with_absurd_numbers_do_no_harm() {
    let fixture = Fixture::build().unwrap();
    for part in ["/manifest-", "database-"] {
        let name = fixture.named(part);
        let text = String::from_utf8(fixture.files[&name].clone()).unwrap();
        let (line, json) = text.split_once('\n').unwrap();
        let starts = json.char_indices().filter(|(at, c)| {
            c.is_ascii_digit()
                && !json[..*at].ends_with(|before: char| before.is_ascii_alphanumeric())
        });
        for (at, _) in starts {
            let digits = json[at..].find(|c: char| !c.is_ascii_digit()).unwrap_or(0);
            for number in ["0", "1", "4294967295", "18446744073709551615", "9007199254740993", "-1"]
            {
                let json = format!("{}{number}{}", &json[..at], &json[at + digits..]);
                let mut files = fixture.files.clone();
                files.insert(name.clone(), reseal_document(&format!("{line}\n{json}")));
                guarded(&format!("{name}: {number} at {at}"), || {
                    open_database(&files, Mode::Write)
                        .and_then(|db| db.collection(NAME).map(|c| c.view().len()))
                        .is_ok()
                });
            }
        }
    }
}

#[test]
fn files_of_a_future_version_are_refused_as_such() {
    let fixture = Fixture::build().unwrap();
    for part in [".seg", ".del", ".keys", ".log", "/manifest-", "database-", ".near"] {
        let name = fixture.named(part);
        let mut bytes = fixture.files[&name].clone();
        match part {
            "/manifest-" | "database-" => {
                let text = String::from_utf8(bytes).unwrap();
                let (kind, rest) = text.split_once(' ').unwrap();
                let (_, rest) = rest.split_once(' ').unwrap();
                bytes = reseal_document(&format!("{kind} 9 {rest}"));
            }
            _ => {
                bytes[8..12].copy_from_slice(&9u32.to_le_bytes());
                let end = if part == ".log" { 64 } else { bytes.len() };
                reseal_without(&mut bytes, end);
            }
        }
        let mut files = fixture.files.clone();
        files.insert(name.clone(), bytes.clone());
        let result = if part == ".near" {
            open_export(&name, &bytes).map(drop)
        } else {
            open_database(&files, Mode::Write).and_then(|db| db.collection(NAME).map(drop))
        };
        let error = result.expect_err(&name);
        assert_eq!(error.kind(), ErrorKind::Version, "{name}: {error}");
        check_refusal(&error, &name, &name);
    }
}
