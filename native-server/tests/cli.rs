//! The binary as a person or a script meets it: what it prints, where, and the code it ends with.
//!
//! Each test runs the built program in a directory of its own.

#![expect(clippy::unwrap_used, reason = "helpers of tests fail as tests do")]

use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::Arc;

use nearfield_engine::{Database, Mode, Options, SystemClock};
use nearfield_segment::format::Front;
use nearfield_segment::storage::open_existing_directory;
use serde_json::Value;
use tempfile::TempDir;

/// Rows of four elements: row `i` is `[i, i + 1, 0, 1]`.
const DIM: usize = 4;

struct Ended {
    code: i32,
    out: String,
    err: String,
}

impl Ended {
    #[track_caller]
    fn expect(self, code: i32) -> Ended {
        assert_eq!(self.code, code, "stdout:\n{}\nstderr:\n{}", self.out, self.err);
        self
    }

    #[track_caller]
    fn json(&self) -> Value {
        serde_json::from_str(&self.out).unwrap_or_else(|e| panic!("{e} in {}", self.out))
    }

    #[track_caller]
    fn says(self, parts: &[&str]) -> Ended {
        for part in parts {
            let said = self.out.contains(part) || self.err.contains(part);
            assert!(said, "no {part:?} in stdout:\n{}\nstderr:\n{}", self.out, self.err);
        }
        self
    }
}

/// A directory of its own for a test.
struct Place(TempDir);

impl Place {
    fn new() -> Place {
        Place(TempDir::new().unwrap())
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    /// Runs the program there with arguments separated by spaces.
    fn run(&self, arguments: &str) -> Ended {
        self.run_list(&arguments.split(' ').collect::<Vec<_>>())
    }

    fn run_list(&self, arguments: &[&str]) -> Ended {
        self.run_with(arguments, &[])
    }

    fn run_with(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Ended {
        let mut command = Command::new(env!("CARGO_BIN_EXE_nearfield"));
        command.args(arguments).current_dir(self.0.path());
        command.env_remove("NEARFIELD_KERNEL").env_remove("RUST_LOG");
        command.envs(environment.iter().copied());
        let Output { status, stdout, stderr } = command.output().unwrap();
        let text = |bytes| String::from_utf8(bytes).unwrap();
        Ended { code: status.code().unwrap_or(-1), out: text(stdout), err: text(stderr) }
    }

    fn write(&self, name: &str, bytes: impl AsRef<[u8]>) {
        std::fs::write(self.path(name), bytes).unwrap();
    }

    /// Files below `dir` whose paths contain `part`, sorted; at least one.
    fn find_all(&self, dir: &str, part: &str) -> Vec<PathBuf> {
        let mut found = Vec::new();
        collect(&self.path(dir), part, &mut found);
        found.sort();
        assert!(!found.is_empty(), "no {part} below {dir}");
        found
    }

    fn flip(&self, file: &Path, at: usize) {
        let mut bytes = std::fs::read(file).unwrap();
        bytes[at] ^= 0x20;
        std::fs::write(file, bytes).unwrap();
    }
}

fn collect(dir: &Path, part: &str, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, part, found);
        } else if path.to_string_lossy().contains(part) {
            found.push(path);
        }
    }
}

fn row(index: usize) -> [f32; DIM] {
    [index as f32, index as f32 + 1.0, 0.0, 1.0]
}

fn npy(rows: usize) -> Vec<u8> {
    let text = format!("{{'descr': '<f4', 'fortran_order': False, 'shape': ({rows}, {DIM}), }}\n");
    let mut bytes = b"\x93NUMPY\x01\x00".to_vec();
    bytes.extend((text.len() as u16).to_le_bytes());
    bytes.extend(text.as_bytes());
    bytes.extend((0..rows).flat_map(row).flat_map(f32::to_le_bytes));
    bytes
}

fn jsonl(rows: usize) -> String {
    let line = |i| format!("{{\"id\":\"p{i}\",\"vector\":{:?},\"n\":{i}}}\n", row(i));
    (0..rows).map(line).collect()
}

/// A database `db` with a compacted collection `points` of 100 rows.
fn filled() -> Place {
    let place = Place::new();
    place.write("v.npy", npy(100));
    place.run("import db points v.npy --metric l2").expect(0);
    place
}

fn hit_ids(answer: &Value) -> Vec<Value> {
    let hits = answer["results"][0]["hits"].as_array().expect("hits");
    hits.iter().map(|hit| hit["id"].clone()).collect()
}

#[test]
fn the_demo_keeps_its_promises_and_its_directory_if_one_is_named() {
    let place = Place::new();
    let lines = ["lost: 0", "recall@10", "queries/s", "What to try next", "batches replayed"];
    let ended = place.run("demo --dir kept --rows 3000").expect(0).says(&lines);
    assert!(ended.err.is_empty(), "{}", ended.err);
    place.run("verify kept").expect(0).says(&["3 collections"]);
    place.run("demo --dir kept").expect(2).says(&["new or empty"]);
}

#[test]
fn the_sample_of_the_demo_page_is_the_same_file_each_time() {
    let place = Place::new();
    for name in ["one.near", "two.near"] {
        place.run(&format!("demo --sample {name}")).expect(0).says(&["1797 images", name]);
    }
    let read = |name| std::fs::read(place.path(name)).unwrap();
    assert!(read("one.near") == read("two.near"));
    let found = place.run("search one.near digits --id 3 -k 3 --json").expect(0).json();
    assert_eq!(hit_ids(&found).len(), 3, "{found}");
    place.run("demo --sample x.near --rows 100").expect(2);
}

#[test]
fn every_format_gives_the_rows_that_were_written() {
    let place = Place::new();
    place.write("v.npy", npy(50));
    place.write("v.jsonl", jsonl(50));
    let fvec =
        |i| [&(DIM as u32).to_le_bytes()[..], &row(i).map(f32::to_le_bytes).concat()].concat();
    place.write("v.fvecs", (0..50).map(fvec).collect::<Vec<_>>().concat());
    place.write("ids.txt", (0..50).map(|i| format!("p{i}\n")).collect::<String>());
    for (name, more) in
        [("v.npy", "--ids ids.txt"), ("v.fvecs", "--ids ids.txt"), ("v.jsonl", "--json")]
    {
        let collection = name.replace('.', "-");
        place.run(&format!("import db {collection} {name} --metric l2 {more}")).expect(0);
        let search = format!("search db {collection} --vector [7,8,0,1] -k 3 --json");
        let answer = place.run(&search).expect(0).json();
        assert_eq!(hit_ids(&answer), ["p7", "p6", "p8"], "{name}");
        assert_eq!(answer["results"][0]["hits"][0]["score"], 0.0);
    }
    let only = ["search", "db", "v-jsonl", "--id", "p7", "-k", "2", "--json", "--where"];
    let ended = place.run_list(&[&only[..], &["{\"n\": {\"gt\": 20}}"]].concat()).expect(0);
    assert_eq!(hit_ids(&ended.json()), ["p21", "p22"]);
    assert_eq!(ended.json()["results"][0]["hits"][0]["metadata"]["n"], 21);
}

#[test]
fn several_queries_come_from_a_file_and_a_point_is_no_neighbour_of_itself() {
    let place = filled();
    place.write("q.npy", npy(3));
    let answer = place.run("search db points --vector @q.npy -k 1 --json").expect(0).json();
    let best: Vec<_> =
        answer["results"].as_array().unwrap().iter().map(|r| r["hits"][0]["id"].clone()).collect();
    let answer = place.run("search db points --id 5 -k 2 --json --exact").expect(0).json();
    assert_eq!(
        (best, hit_ids(&answer)),
        (vec![0.into(), 1.into(), 2.into()], vec![4.into(), 6.into()])
    );
}

#[test]
fn importing_the_same_ids_again_replaces_and_other_dimensions_are_refused() {
    let place = Place::new();
    place.write("v.jsonl", jsonl(10));
    place.run("import db c v.jsonl").expect(0).says(&["10 new, 0 replaced"]);
    place.run("import db c v.jsonl").expect(0).says(&["0 new, 10 replaced", "10 in all"]);
    place.write("w.jsonl", "{\"vector\":[1,2]}\n");
    place.run("import db c w.jsonl").expect(2).says(&["dim 4", "dim 2", "w.jsonl"]);
    place.run("import db c v.jsonl --metric dot").expect(2).says(&["cosine", "dot"]);
    place.run("import db c v.jsonl --metric manhattan").expect(2).says(&["cosine", "l2"]);
    place.write("ids.txt", "1\n2\n");
    place.write("v.npy", npy(3));
    place.run("import db c v.npy --ids ids.txt").expect(2).says(&["2 ids for 3 rows"]);
}

#[test]
fn bad_files_are_refused_by_name_and_place_and_leave_nothing() {
    let place = Place::new();
    let mut broken = npy(3);
    broken.truncate(100);
    place.write("short.npy", broken);
    place.write("none.npy", "hello, no array");
    place.write("text.csv", "1,2\n");
    let row = |dim: u32, len: usize| [&dim.to_le_bytes()[..], &vec![0; 4 * len]].concat();
    place.write("part.fvecs", &row(2, 2)[..11]);
    place.write("mixed.fvecs", [row(2, 2), row(3, 2)].concat());
    place.write("huge.fvecs", row(u32::MAX, 2));
    place.write("bad.jsonl", "{\"vector\":[1,2]}\n{\"vector\":[1,null]}\n");
    place.write("nan.npy", {
        let mut bytes = npy(3);
        let len = bytes.len();
        bytes[len - 4..].copy_from_slice(&f32::NAN.to_le_bytes());
        bytes
    });
    place.run("import db c short.npy").expect(5).says(&["short.npy", "offset"]);
    place.run("import db c none.npy").expect(5).says(&["none.npy", "wrong magic"]);
    place.run("import db c part.fvecs").expect(5).says(&["part.fvecs", "11 bytes"]);
    place.run("import db c huge.fvecs").expect(2).says(&["huge.fvecs", "4294967295"]);
    place
        .run("import db c text.csv")
        .expect(2)
        .says(&[".npy, .npz, .fvecs, .jsonl, .parquet, .arrow"]);
    place.run("import db c gone.npy").expect(3).says(&["gone.npy"]);
    assert!(!place.path("db").exists(), "nothing is made before the file can be read");
    place.run("import db e mixed.fvecs").expect(5).says(&["mixed.fvecs", "offset 12"]);
    place.run("import db c bad.jsonl").expect(2).says(&["bad.jsonl: line 2"]);
    place.run("import db d nan.npy").expect(2).says(&["row 2, column 3", "finite"]);
    let info = place.run("info db --json").expect(0).json();
    let rows = info["collections"].as_array().unwrap().iter().map(|c| c["rows"].clone());
    assert!(rows.clone().all(|rows| rows == 0) && rows.count() == 3, "{info}");
}

#[test]
fn what_is_not_there_ends_with_3_and_near_names() {
    let place = filled();
    place.run("search db point --id 1").expect(3).says(&["\"point\"", "points"]);
    place.run("search db points --id 1000").expect(3).says(&["1000"]);
    place.run("compact db pointz").expect(3).says(&["points"]);
    std::fs::create_dir(place.path("empty")).unwrap();
    for command in ["info", "verify", "snapshot-create --data-dir", "vacuum --data-dir"] {
        place.run(&format!("{command} empty")).expect(3).says(&["no database in"]);
        place.run(&format!("{command} missing")).expect(3).says(&["missing"]);
    }
    let left = std::fs::read_dir(place.path("empty")).unwrap().count();
    assert_eq!(left, 0, "asking leaves no traces");
    assert!(!place.path("missing").exists());
}

#[test]
fn wrong_calls_end_with_2_and_say_what_is_expected() {
    let place = filled();
    place.run("search db points --vector [1,2]").expect(2).says(&["expected 4", "got 2"]);
    place.run("search db points --vector nonsense").expect(2).says(&["expected '[number"]);
    place.run("search db points --id 1 --k 0").expect(2).says(&["k: expected"]);
    place.run("search db points").expect(2).says(&["--vector"]);
    place.run("search db points --id 1 --where {").expect(2);
    let forced = [("NEARFIELD_KERNEL", "mmx")];
    place.run_with(&["info", "db"], &forced).expect(2).says(&["scalar", "mmx"]);
    let forced = [("NEARFIELD_KERNEL", "scalar")];
    let info = place.run_with(&["info", "db", "--json"], &forced).expect(0).json();
    assert_eq!(info["instruction_set"], "scalar");
}

#[test]
fn a_locked_directory_names_its_holder_and_can_still_be_read() {
    let place = filled();
    let storage = Arc::new(open_existing_directory(place.path("db")).unwrap());
    let owner = format!("pid {}", std::process::id());
    let options = Options::default();
    let held = Database::open(storage, Mode::Write, options, Arc::new(SystemClock), 1, &owner);
    let held = held.unwrap();
    for command in [
        "compact db points",
        "migrate db",
        "snapshot-create --data-dir db",
        "import db points v.npy",
    ] {
        place.run(command).expect(4).says(&["locked", &owner]);
    }
    place.run("search db points --id 5").expect(0);
    place.run("info db").expect(0);
    place.run("verify db").expect(0);
    drop(held);
    place.run("compact db points").expect(0);
}

#[test]
fn an_export_answers_like_its_database_and_its_damage_is_found() {
    let place = filled();
    place.run("export db all.near").expect(0).says(&["100 points"]);
    let search = "points --vector [3.2,4,0,1] --json";
    let database = place.run(&format!("search db {search}")).expect(0).json();
    let export = place.run(&format!("search all.near {search}")).expect(0).json();
    assert_eq!(export, database);
    place.run("info all.near").expect(0).says(&["points", "100", "export"]);
    place.run("verify all.near").expect(0);
    place.run("search all.near point --id 1").expect(3).says(&["points"]);
    let len = std::fs::metadata(place.path("all.near")).unwrap().len() as usize;
    place.flip(&place.path("all.near"), 70);
    place.run("verify all.near").expect(5).says(&["all.near", "checksum"]);
    place.run("search all.near points --id 1").expect(5).says(&["all.near"]);
    place.flip(&place.path("all.near"), 70);
    let cut = std::fs::read(place.path("all.near")).unwrap();
    place.write("all.near", &cut[..len - 1]);
    place.run("verify all.near").expect(5).says(&["truncated"]);
}

#[test]
fn a_damaged_segment_is_named_with_its_offset() {
    let place = filled();
    let file = place.find_all("db", "segments/").swap_remove(0);
    let bytes = std::fs::read(&file).unwrap();
    let row = row(50).map(f32::to_le_bytes).concat();
    let at = bytes.windows(row.len()).position(|window| window == row).expect("f32 rows");
    place.flip(&file, at + 2);
    let name = file.file_name().unwrap().to_string_lossy().into_owned();
    let report = place.run("verify db --json").expect(5).json();
    assert_eq!(report["clean"], false);
    let finding = &report["findings"][0];
    assert!(finding["file"].as_str().unwrap().ends_with(&name), "{finding}");
    assert!(finding["message"].as_str().unwrap().contains("offset"), "{finding}");
    place.run("search db points --id 1").expect(5).says(&[&name, "offset"]);
    let info = place.run("info db --json").expect(0).json();
    assert_eq!(info["collections"][0]["rows"], 100, "{info}");
    place.flip(&file, at + 2);
    place.run("verify db").expect(0);
}

/// Flips a byte of each section that can be rebuilt, one at a time.
#[test]
fn damage_that_can_be_rebuilt_is_reported_survived_and_repaired() {
    let place = Place::new();
    place.write("v.jsonl", jsonl(50));
    place.run("import db c v.jsonl --metric l2").expect(0);
    let search = ["search", "db", "c", "--id", "p7", "-k", "2", "--json", "--where"];
    let search = [&search[..], &["{\"n\": {\"gt\": 20}}"]].concat();
    let expected = place.run_list(&search).expect(0).json();
    let derived = |file: &Path| {
        let bytes = std::fs::read(file).unwrap();
        let len = Front::len_from_prefix("f", &bytes, bytes.len() as u64).unwrap();
        let front = Front::decode("f", &bytes[..len as usize], bytes.len() as u64).unwrap();
        let sections = front.sections.into_iter();
        sections.filter(|section| section.kind.is_derived() && section.len > 0).collect::<Vec<_>>()
    };
    let file = place.find_all("db", "segments/").swap_remove(0);
    for section in derived(&file) {
        let file = place.find_all("db", "segments/").swap_remove(0);
        let now = derived(&file).into_iter().find(|now| now.kind == section.kind).unwrap();
        place.flip(&file, now.offset as usize + now.len as usize / 2);
        let kind = format!("{:?}", section.kind);
        place.run("verify db").expect(1).says(&[&kind, "can be rebuilt"]);
        let ended = place.run_list(&search).expect(0).says(&["WARN", &kind]);
        assert_eq!(ended.json(), expected, "{kind}");
        place.run("compact db c").expect(0);
        place.run("verify db").expect(0);
    }
}

#[test]
fn what_recovery_did_is_said_on_standard_error() {
    let place = Place::new();
    place.write("v.npy", npy(10));
    place.run("import db c v.npy --no-compact").expect(0);
    let log = place.find_all("db", "/wal/").pop().unwrap();
    let mut bytes = std::fs::read(&log).unwrap();
    bytes.extend([7; 100]);
    std::fs::write(&log, bytes).unwrap();
    let collection = log.parent().unwrap().parent().unwrap().to_owned();
    std::fs::create_dir_all(collection.join("segments")).unwrap();
    std::fs::write(collection.join("segments/left-over.seg"), "unfinished").unwrap();
    place.run("verify db").expect(0);
    let ended = place.run("compact db c").expect(0);
    for part in ["WARN", "end of the log was cut off", "left-over.seg", "quarantine"] {
        assert!(ended.err.contains(part), "no {part:?} in {}", ended.err);
    }
    assert!(ended.out.starts_with("10 rows"), "{}", ended.out);
    assert_eq!(place.run("compact db c").expect(0).err, "");
}

#[test]
fn a_reader_that_has_seen_enough_is_no_error() {
    let place = filled();
    let mut command = Command::new(env!("CARGO_BIN_EXE_nearfield"));
    command.args(["search", "db", "points", "--id", "1", "-k", "99"]);
    command.current_dir(place.0.path()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    drop(child.stdout.take());
    let ended = child.wait_with_output().unwrap();
    assert_eq!((ended.status.code(), ended.stderr), (Some(0), Vec::new()));
}

#[test]
fn a_damaged_log_and_damaged_manifests_are_named() {
    let place = filled();
    for _ in 0..3 {
        place.run("import db points v.npy --no-compact").expect(0);
    }
    // The first log file holds what is in the segment; damage there would cost nothing.
    let log = place.find_all("db", "/wal/").swap_remove(1);
    let count = std::fs::read(&log).unwrap().len();
    let newest = |part| place.find_all("db", part).pop().expect("at least one");
    for (file, at) in [(log, count / 2), (newest("/manifest-"), 90), (newest("/database-"), 90)] {
        place.run("verify db").expect(0);
        place.flip(&file, at);
        let name = file.file_name().unwrap().to_string_lossy().into_owned();
        place.run("verify db").expect(5).says(&["DAMAGED", &name]);
        place.run("search db points --id 1").expect(5).says(&[&name]);
        place.flip(&file, at);
    }
}

fn rows_of(place: &Place, db: &str) -> (u64, u64) {
    let info = place.run(&format!("info {db} --json")).expect(0).json();
    let points = &info["collections"][0];
    (points["rows"].as_u64().unwrap(), points["lsn"].as_u64().unwrap())
}

#[test]
fn a_snapshot_is_put_in_place_of_what_came_after_it_and_opens_in_an_empty_directory() {
    let place = filled();
    let made = place.run("snapshot-create --data-dir db --collection points --json").expect(0);
    let made = made.json();
    assert_eq!((&made["collections"], &made["segments"]), (&1.into(), &1.into()));
    let dir = made["snapshot_dir"].as_str().unwrap().to_owned();
    assert_eq!(dir, format!("db/snapshots/{}", made["snapshot_id"].as_str().unwrap()));
    place.run("import db points v.npy").expect(0);
    place.run("import db other v.npy --metric l2").expect(0);
    assert_eq!(rows_of(&place, "db").0, 100, "the first by name is \"other\"");
    let restore = format!("snapshot-restore --snapshot-dir {dir}");
    let done = place.run(&format!("{restore} --data-dir db --json")).expect(0).json();
    assert_eq!(done["collections"], serde_json::json!(["points"]));
    let backup = done["backup_dir"].as_str().unwrap();
    assert!(backup.starts_with("db/tmp/restore_backup_"), "{backup}");
    assert_eq!(rows_of(&place, backup).0, 200);
    let search = "points --vector [9,10,0,1] --json";
    let there = place.run(&format!("search db {search}")).expect(0).json();
    // Elsewhere, beside a database that is there, and where there is none.
    for _ in 0..2 {
        place.run(&format!("{restore} --data-dir elsewhere")).expect(0).says(&["points"]);
        let copied = place.run(&format!("search elsewhere {search}")).expect(0).json();
        assert_eq!(copied, there);
    }
    place.run("verify db").expect(0).says(&["2 collections"]);
    place.run("snapshot-restore --data-dir db --snapshot-dir nowhere").expect(3);
    place.run("snapshot-create --data-dir db --collection point").expect(3).says(&["points"]);
    let file = place.find_all(&dir, "segments/").swap_remove(0);
    place.flip(&file, 70);
    place.run(&format!("{restore} --data-dir db")).expect(5).says(&["verification"]);
}

#[test]
fn replay_takes_a_collection_back_in_place_or_elsewhere_and_says_what_is_in_reach() {
    let place = filled();
    let (_, cut) = rows_of(&place, "db");
    place.run("import db points v.npy --no-compact").expect(0);
    let (rows, middle) = rows_of(&place, "db");
    assert_eq!(rows, 200);
    place.run("import db points v.npy --no-compact").expect(0);
    let (_, last) = rows_of(&place, "db");
    let replay = |lsn: u64, more: &str| {
        place.run(&format!(
            "replay-to-lsn --data-dir db --collection points --target-lsn {lsn}{more}"
        ))
    };
    let range = format!("expected {cut} to {last}, got {}", last + 1);
    replay(last + 1, "").expect(2).says(&[&range]);
    assert_eq!(rows_of(&place, "db"), (300, last));
    replay(middle, " --into copy").expect(0).says(&["200 points", "copy"]);
    replay(middle, " --into copy").expect(2).says(&["already"]);
    assert_eq!((rows_of(&place, "db").0, rows_of(&place, "copy").0), (300, 200));
    let done = replay(middle, " --json").expect(0).json();
    assert_eq!((&done["points"], &done["lsn"]), (&200.into(), &middle.into()));
    let backup = done["backup_dir"].as_str().unwrap();
    assert_eq!((rows_of(&place, "db").0, rows_of(&place, backup).0), (200, 300));
    place.run("verify db").expect(0);
    replay(cut, "").expect(0).says(&["100 points", "is kept in"]);
}

#[test]
fn vacuum_gives_up_the_past_that_is_not_asked_for() {
    let place = filled();
    for _ in 0..2 {
        let options = Options { history_ms: Some(u64::MAX), ..Options::default() };
        let storage = Arc::new(open_existing_directory(place.path("db")).unwrap());
        let clock = Arc::new(SystemClock);
        let db = Database::open(storage, Mode::Write, options, clock, 1, "test").unwrap();
        let collection = db.collection("points").unwrap();
        let nothing =
            &nearfield_segment::filter::Filter::from_json(&serde_json::json!({"and": []}));
        collection.delete_where(nothing.as_ref().unwrap()).unwrap();
        collection.checkpoint(&nearfield_segment::Pool::SERIAL).unwrap();
    }
    let manifests = || place.find_all("db", "/manifest-").len();
    let before = manifests();
    assert!(before > 1, "there is a past");
    place.run("import db points v.npy").expect(0);
    place.run("vacuum --data-dir db").expect(0);
    assert!(manifests() >= before, "a command for a moment keeps the past that is there");
    let done = place.run("vacuum --data-dir db --history-hours 0 --json").expect(0).json();
    assert!(done["removed"].as_u64().unwrap() > 0, "{done}");
    assert_eq!(manifests(), 1);
    place.run("verify db").expect(0);
}

/// Copies the files below a directory.
fn copy(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.path().is_dir() {
            copy(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}

#[test]
fn migrate_writes_the_files_of_format_1_anew_and_says_what_became_of_them() {
    let place = Place::new();
    let fixture = Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/fixtures/v4/store");
    copy(&fixture, &place.path("db"));
    let files = ["/segments/", "/manifest-"].map(|part| place.find_all("db", part));
    let found = place.run("search db a --vector [0.5,0.5,0.5,0.5] --json").expect(0).json();
    let listed = place.run("migrate db --dry-run").expect(0);
    listed.says(&["a: c/", ".seg (format 1, ", "2 segments to write: "]);
    let unchanged = ["/segments/", "/manifest-"].map(|part| place.find_all("db", part));
    assert_eq!(unchanged, files);
    let done = place.run("migrate db").expect(0);
    done.says(&["(format 1, ", " -> c/", "(format 2, ", "2 segments: ", " bytes became "]);
    place.run("migrate db").expect(0).says(&["0 segments: 0 rows"]);
    place.run("migrate db --dry-run").expect(0).says(&["0 segments to write"]);
    place.run("verify db").expect(0);
    let after = place.run("search db a --vector [0.5,0.5,0.5,0.5] --json").expect(0).json();
    assert_eq!(after["results"], found["results"]);
    place.run("migrate nothing").expect(3);
}
