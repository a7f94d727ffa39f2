//! Manifests, database documents and delete lists: round trips, damage, hostile content.

use nearfield_segment::storage::{MemoryStorage, Storage};
use nearfield_segment::{Encoding, ErrorKind, Fault, Metric, Rng, RowId};

use super::*;

fn schema() -> Schema {
    Schema::dense(8, Metric::Dot, Encoding::F32).expect("valid")
}

fn segment(rng: &mut Rng, checkpoint_lsn: u64) -> SegmentEntry {
    let id = rng.file_id();
    let deletes = (1..=rng.below(3)).map(|index| DeletesEntry {
        file: delete_list_name(id, Lsn(checkpoint_lsn + index)),
        len: rng.next_u64(),
        crc: rng.next_u64() as u32,
        count: rng.below(5) as u32,
        checkpoint_lsn: Lsn(checkpoint_lsn + index),
        unknown: BTreeMap::new(),
    });
    let deletes = deletes.collect();
    SegmentEntry {
        id,
        file: format!("segments/{id}.seg"),
        len: rng.next_u64(),
        crc: rng.next_u64() as u32,
        rows: 20,
        level: 0,
        deletes,
        unknown: BTreeMap::new(),
    }
}

fn manifest(seed: u64) -> Manifest {
    let mut rng = Rng::new(seed);
    let mut manifest = Manifest::first(rng.file_id(), schema(), 1, rng.next_u64());
    manifest.checkpoint_lsn = Lsn(100);
    manifest.next_assigned_id = if seed.is_multiple_of(3) {
        NextId::EXHAUSTED
    } else {
        NextId::starting_at(rng.next_u64())
    };
    manifest.segments = (0..rng.below(5)).map(|_| segment(&mut rng, 90)).collect();
    manifest.note = seed.is_multiple_of(2).then(|| "näher \"dran\"\n".to_owned());
    manifest
}

#[test]
fn the_newest_manifest_comes_back_with_its_chain_of_parents() {
    let storage = MemoryStorage::new();
    assert_eq!(load_newest::<Manifest>(&storage, "c/x").expect("empty"), None);
    let mut stored = commit(&storage, "c/x", manifest(1)).expect("commits");
    for number in 2..=12 {
        let mut next = stored.successor();
        next.created_ms = number;
        let next = commit(&storage, "c/x", next).expect("commits");
        let parent = Parent { number: stored.document.number, crc: stored.crc };
        assert_eq!(next.document.parent, Some(parent));
        stored = next;
        let newest = load_newest::<Manifest>(&storage, "c/x").expect("whole").expect("some");
        assert_eq!(newest, stored);
    }
    assert_eq!(list_numbers::<Manifest>(&storage, "c/x").expect("lists"), Vec::from_iter(1..=12));
}

#[test]
fn of_two_commits_of_one_number_the_second_is_a_conflict() {
    let storage = MemoryStorage::new();
    commit(&storage, "", manifest(1)).expect("first");
    let error = commit(&storage, "", manifest(2)).expect_err("second");
    assert_eq!(error.kind(), ErrorKind::Conflict);
    assert_eq!(load::<Manifest>(&storage, "", 1).expect("whole").document, manifest(1));
}

#[test]
fn a_damaged_newest_manifest_is_an_error_and_no_step_back() {
    let storage = MemoryStorage::new();
    let stored = commit(&storage, "", manifest(1)).expect("commits");
    let name = document_name::<Manifest>("", 2);
    let mut next = stored.successor();
    next.note = None;
    let (bytes, _) = document::encode(&next);
    for at in 0..bytes.len() {
        for bit in [0, 3, 7] {
            let mut damaged = bytes.clone();
            damaged[at] ^= 1 << bit;
            let storage = MemoryStorage::new();
            commit(&storage, "", manifest(1)).expect("commits");
            storage.put_new(&name, &damaged).expect("writes");
            let error = load_newest::<Manifest>(&storage, "").expect_err("damaged");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "byte {at}: {error}");
            assert_eq!(error.detail("file"), Some(&Value::from(name.as_str())));
        }
    }
    for len in 0..bytes.len() {
        assert!(document::decode::<Manifest>(&bytes[..len], "m").is_err(), "length {len}");
    }
}

#[test]
fn a_newer_version_is_told_apart_from_damage() {
    let json = b"{\"new\":true}";
    let start = format!("nearfield-manifest {} {}", MANIFEST_VERSION + 1, json.len());
    let crc = crc32c::crc32c_append(crc32c::crc32c(start.as_bytes()), json);
    let bytes = [format!("{start} {crc:08x}\n").as_bytes(), json].concat();
    let error = document::decode::<Manifest>(&bytes, "m").expect_err("newer");
    assert_eq!(error.kind(), ErrorKind::Version);
}

#[test]
fn unknown_fields_survive_a_rewrite() {
    let mut json = serde_json::to_value(manifest(4)).expect("serializes");
    json["segments"] = serde_json::to_value([segment(&mut Rng::new(1), 90)]).expect("serializes");
    json["later"] = serde_json::json!({"deep": [1, 18_446_744_073_709_551_615_u64]});
    json["segments"][0]["zone"] = 5.into();
    let read: Manifest = serde_json::from_value(json.clone()).expect("reads");
    assert_eq!(read.unknown.len(), 1);
    let (bytes, _) = document::encode(&read);
    let again = document::decode::<Manifest>(&bytes, "m").expect("whole").document;
    assert_eq!(serde_json::to_value(again).expect("serializes"), json);
}

#[test]
fn manifests_of_any_content_round_trip() {
    for seed in 0..200 {
        let given = manifest(seed);
        let (bytes, crc) = document::encode(&given);
        let read = document::decode::<Manifest>(&bytes, "m").expect("whole");
        assert_eq!((read.document, read.crc), (given, crc), "seed {seed}");
    }
}

#[test]
fn broken_invariants_are_refused_when_read() {
    let with = |edit: fn(&mut Manifest)| {
        let mut rng = Rng::new(5);
        let mut given = manifest(5);
        given.segments = (0..2).map(|_| segment(&mut rng, 90)).collect();
        given.check().expect("valid before the edit");
        edit(&mut given);
        let (bytes, _) = document::encode(&given);
        document::decode::<Manifest>(&bytes, "m")
    };
    let broken: [fn(&mut Manifest); 13] = [
        |m| m.segments[0].file = "segments/../../etc/passwd".to_owned(),
        |m| m.segments[0].file = "/segments/a".to_owned(),
        |m| m.segments[0].file = "segments/.hidden".to_owned(),
        |m| m.segments[0].file = "segments/a\\b".to_owned(),
        |m| m.segments[0].file = "wal/1.log".to_owned(),
        |m| m.segments[1].id = m.segments[0].id,
        |m| m.segments[1].file = m.segments[0].file.clone(),
        |m| m.number = 2,
        |m| m.parent = Some(Parent { number: 1, crc: 0 }),
        |m| m.timeline = 0,
        |m| m.schema.vectors.values_mut().for_each(|spec| spec.dim = 0),
        |m| m.checkpoint_lsn = Lsn(1),
        |m| m.segments.iter_mut().for_each(|segment| segment.rows = 0),
    ];
    assert!(with(|_| ()).is_ok());
    for (index, edit) in broken.into_iter().enumerate() {
        let error = with(edit).expect_err("broken");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "edit {index}");
    }
}

#[test]
fn hostile_json_is_refused_without_panic() {
    let deep = "[".repeat(100_000);
    let texts =
        [deep.as_str(), "", "null", "[]", "{}", "{\"number\":1e999}", "{\"number\":-1}", "\u{0}"];
    for json in texts {
        let start = format!("nearfield-manifest 1 {}", json.len());
        let crc = crc32c::crc32c_append(crc32c::crc32c(start.as_bytes()), json.as_bytes());
        let bytes = format!("{start} {crc:08x}\n{json}").into_bytes();
        let error = document::decode::<Manifest>(&bytes, "m").expect_err("hostile");
        assert_eq!(error.kind(), ErrorKind::Corrupt);
    }
}

#[test]
fn names_are_created_aliased_and_dropped() {
    let mut database = DatabaseManifest::first();
    let kind = |result: Result<()>| result.expect_err("refused").kind();
    database.create("songs", FileId(1)).expect("free");
    assert_eq!(kind(database.create("songs", FileId(2))), ErrorKind::Conflict);
    database.aliases.insert("live".to_owned(), "songs".to_owned());
    assert_eq!(kind(database.create("live", FileId(2))), ErrorKind::Conflict);
    assert_eq!(database.resolve("live").expect("there"), FileId(1));
    assert_eq!(database.resolve("nothing").expect_err("no name").kind(), ErrorKind::NotFound);
    database.check().expect("consistent");
    let (bytes, _) = document::encode(&database);
    let read = document::decode::<DatabaseManifest>(&bytes, "d").expect("whole");
    assert_eq!(read.document, database);
    assert_eq!(database.drop_collection("songs").expect("there"), FileId(1));
    assert!(database.aliases.is_empty());
    database.check().expect("consistent");
}

#[test]
fn only_plain_names_are_names() {
    for name in ["a", "A-b_c.9", "-", &"x".repeat(255)] {
        check_collection_name(name).unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    for name in ["", ".", "..", ".a", "a/b", "a b", "ä", "a\0", &"x".repeat(256)] {
        let error = check_collection_name(name).expect_err("no name");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{name:?}");
    }
}

fn list(count: u32) -> DeleteList {
    DeleteList {
        segment: FileId(77),
        segment_rows: 3 * count + 1,
        checkpoint_lsn: Lsn(50),
        entries: (0..count).map(|i| (RowId(3 * i), Lsn(u64::from(i) % 50 + 1))).collect(),
    }
}

#[test]
fn delete_lists_round_trip_and_every_flip_and_cut_is_seen() {
    for count in [0, 1, 15, 16, 17, 1000] {
        let (bytes, crc) = list(count).encode();
        assert_eq!(DeleteList::decode(&bytes, "l").expect("whole"), (list(count), crc));
    }
    let (bytes, _) = list(9).encode();
    for at in 0..bytes.len() {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1 << (at % 8);
        assert!(DeleteList::decode(&damaged, "l").is_err(), "byte {at}");
        assert!(DeleteList::decode(&bytes[..at], "l").is_err(), "length {at}");
    }
}

#[test]
fn delete_lists_that_cannot_be_are_refused() {
    let edits: [fn(&mut [u8]); 5] = [
        |bytes| bytes[40..44].fill(0),
        |bytes| bytes[44..48].fill(0xFF),
        |bytes| bytes[32..40].fill(0),
        |bytes| bytes.copy_within(68..72, 64),
        |bytes| bytes.iter_mut().rev().take(8).for_each(|byte| *byte = 0),
    ];
    for (index, edit) in edits.into_iter().enumerate() {
        let (mut bytes, _) = list(9).encode();
        edit(&mut bytes);
        let crc = crc32c::crc32c_append(crc32c::crc32c(&bytes[..12]), &bytes[16..]);
        bytes[12..16].copy_from_slice(&crc.to_le_bytes());
        let error = DeleteList::decode(&bytes, "l").expect_err("impossible");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "edit {index}");
    }
}
