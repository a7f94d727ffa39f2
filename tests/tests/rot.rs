//! Files that rot under a store that is open: what is read from a map then, and what must not become of it.
//!
//! Files of a simulated disk do not change under an open handle, so these tests use a directory of the system. A
//! segment file there is mapped, and its metadata texts are read in the map for as long as the collection is open.

#![cfg(unix)]
#![expect(clippy::unwrap_used, reason = "a test that meets an error has failed")]

use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Collection, Columns, Database, ErrorKind, ManualClock, Mode, Options};
use nearfield_engine::{VerifyReport, verify_present};
use nearfield_segment::format::SectionKind;
use nearfield_segment::storage::{LockMode, Storage, open_directory};
use nearfield_segment::{Encoding, Metric, PointId, Pool, Result, Schema};

/// Rows of a file: their texts take more than one block of a checksum, and the file is long enough to be mapped.
const ROWS: u64 = 200;

/// A store in a directory of the system.
struct Bench {
    dir: PathBuf,
    storage: Arc<dyn Storage>,
    _db: Database,
    collection: Arc<Collection>,
}

impl Bench {
    /// With a file of rows from 0 on.
    fn new(name: &str) -> Bench {
        let dir = std::env::temp_dir().join(format!("nearfield-{name}-{}", std::process::id()));
        let _absent = std::fs::remove_dir_all(&dir);
        let storage: Arc<dyn Storage> = Arc::new(open_directory(&dir).unwrap());
        let (files, clock) = (Arc::clone(&storage), Arc::new(ManualClock::new(1)));
        let options = Options { history_ms: Some(0), ..Options::default() };
        let db = Database::open(files, Mode::Write, options, clock, 1, "test").unwrap();
        let schema = Schema::dense(1, Metric::L2, Encoding::F32).unwrap();
        let collection = db.create("a", &schema).unwrap();
        let bench = Bench { dir, storage, _db: db, collection };
        bench.write(0).unwrap();
        bench.collection.checkpoint(&Pool::SERIAL).unwrap();
        bench
    }

    fn write(&self, first: u64) -> Result<()> {
        let ids = (first..first + ROWS).map(PointId::U64).collect();
        let texts = (first..first + ROWS).map(|id| Some(text(id).into())).collect();
        let vectors = (0..ROWS).map(|n| n as f32).collect::<Vec<f32>>();
        let vectors = BTreeMap::from([(String::new(), vectors.into())]);
        let rows = ROWS as usize;
        let draft = Draft { ids: Some(ids), rows, vectors, metadata: texts, ..Draft::default() };
        let schema = Arc::clone(&self.collection.view().schema);
        self.collection.apply(Batch::new(draft, &schema)?, &Pool::SERIAL)?;
        Ok(())
    }

    /// Names of the segment files, from the root of the store.
    fn files(&self) -> Vec<String> {
        let view = self.collection.view();
        let files = view.segments.iter().filter(|live| live.file.is_some());
        files.map(|live| live.segment.name().to_owned()).collect()
    }

    fn compact(&self) -> Result<()> {
        self.collection.compact(&Pool::SERIAL, &mut |_| ControlFlow::Continue(()))
    }

    fn text_of(&self, id: u64) -> String {
        let view = self.collection.view();
        let columns = Columns { vectors: &[], metadata: true };
        let (found, _) = view.get(&[PointId::U64(id)], columns).unwrap();
        found.metadata[0].clone().unwrap().into_owned()
    }

    fn verify_present(&self, pause: &(dyn Fn() + Sync)) -> VerifyReport {
        verify_present(&self.storage, "a", pause, &|| true).unwrap()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        let _left = std::fs::remove_dir_all(&self.dir);
    }
}

fn text(id: u64) -> String {
    format!("{{\"n\":{id},\"text\":\"{}\"}}", "x".repeat(1000))
}

/// Turns the first letter of the text of row 0 into another one, in the very file that is mapped.
fn rot(path: &Path) {
    let bytes = std::fs::read(path).unwrap();
    let text = b"\"text\":\"xxx";
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    let file = std::fs::OpenOptions::new().write(true).open(path).unwrap();
    file.write_all_at(b"y", (at + text.len() - 3) as u64).unwrap();
}

#[test]
fn a_merge_gives_damaged_texts_no_new_checksum_and_further_work_goes_on_without_their_file() {
    let bench = Bench::new("rot-merge");
    let damaged = bench.files().pop().unwrap();
    assert_eq!(bench.text_of(0), text(0), "its block was verified");
    rot(&bench.dir.join(&damaged));
    assert!(bench.text_of(0).contains("\"yxx"), "it is read in the map");
    bench.write(ROWS).unwrap();
    let error = bench.compact().expect_err("an input is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.detail("file").unwrap().as_str(), Some(damaged.as_str()));
    for round in 2..5 {
        bench.write(round * ROWS).unwrap();
        bench.collection.checkpoint(&Pool::SERIAL).unwrap();
        bench.compact().unwrap();
        let files = bench.files();
        assert!(files.len() == 2 && files.contains(&damaged), "{files:?}");
    }
    let findings = bench.verify_present(&|| {}).findings;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!(findings[0].file, damaged);
    assert!(findings[0].offset.is_some() && !findings[0].derived && !findings[0].past);
    assert_eq!(bench.text_of(ROWS + 1), text(ROWS + 1));
}

#[test]
fn a_merge_gives_damaged_vectors_no_new_checksum() {
    let bench = Bench::new("rot-vectors");
    let view = bench.collection.view();
    let segment = &view.segments[0].segment;
    segment.field("").unwrap().rows().unwrap();
    let mut sections = segment.sections().iter().map(|section| section.entry());
    let at = sections.find(|entry| entry.kind == SectionKind::Vectors).unwrap().offset;
    let file = std::fs::OpenOptions::new().write(true).open(bench.dir.join(segment.name()));
    file.unwrap().write_all_at(b"rot", at + 64).unwrap();
    bench.write(ROWS).unwrap();
    let error = bench.compact().expect_err("an input is damaged");
    assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
    assert_eq!(error.detail("file").unwrap().as_str(), Some(segment.name()));
}

#[test]
fn a_write_that_needs_damaged_ids_is_refused_before_it_is_logged() {
    let bench = Bench::new("rot-ids");
    let view = bench.collection.view();
    let segment = &view.segments[0].segment;
    let mut sections = segment.sections().iter().map(|section| section.entry());
    let at = sections.find(|entry| entry.kind == SectionKind::Ids).unwrap().offset + 4;
    let path = bench.dir.join(segment.name());
    let file = std::fs::OpenOptions::new().read(true).write(true).open(path).unwrap();
    let mut byte = [0];
    file.read_exact_at(&mut byte, at).unwrap();
    file.write_all_at(&[byte[0] ^ 1], at).unwrap();
    let lsn = view.lsn;
    for _ in 0..2 {
        let error = bench.write(ROWS).expect_err("it looks ids up");
        assert_eq!(error.kind(), ErrorKind::Corrupt, "{error}");
        assert_eq!(error.detail("file").unwrap().as_str(), Some(segment.name()));
        assert_eq!(bench.collection.view().lsn, lsn);
    }
    file.write_all_at(&byte, at).unwrap();
    bench.write(ROWS).unwrap();
    assert_eq!(bench.text_of(1), text(1));
}

#[test]
fn a_check_in_the_background_finds_any_damaged_block_and_a_missing_file() {
    let bench = Bench::new("rot-check");
    assert!(bench.verify_present(&|| {}).is_clean());
    let name = bench.files().pop().unwrap();
    let path = bench.dir.join(&name);
    let len = std::fs::metadata(&path).unwrap().len();
    let file = std::fs::OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut found = 0;
    for at in (0..len).step_by(4_999) {
        let mut byte = [0];
        file.read_exact_at(&mut byte, at).unwrap();
        file.write_all_at(&[byte[0] ^ 1], at).unwrap();
        found += usize::from(!bench.verify_present(&|| {}).is_clean());
        file.write_all_at(&byte, at).unwrap();
    }
    // Some of these bytes may be between two sections, which nothing reads.
    let tried = len.div_ceil(4_999) as usize;
    assert!(found + 2 >= tried, "{found} of {tried} found");
    assert!(bench.verify_present(&|| {}).is_clean());
    std::fs::remove_file(&path).unwrap();
    let findings = bench.verify_present(&|| {}).findings;
    assert_eq!(findings.iter().map(|finding| &*finding.file).collect::<Vec<_>>(), [&*name]);
}

/// Between two blocks of a check the file it reads is merged away and removed: nothing waits for the check, and it
/// takes the removal for no damage. It never pauses while it holds the pin, which keeps files from being removed.
#[test]
fn a_check_in_the_background_keeps_no_file_from_being_removed() {
    let bench = Bench::new("rot-beside");
    bench.write(ROWS).unwrap();
    bench.collection.checkpoint(&Pool::SERIAL).unwrap();
    for round in 2..6 {
        bench.write(round * ROWS).unwrap();
    }
    let before = bench.files();
    let pin = before[0].split("/segments").next().unwrap().to_owned() + "/pin";
    let is_free = || drop(bench.storage.lock(&pin, LockMode::Exclusive, "test").unwrap());
    let pauses = AtomicU64::new(0);
    let report = bench.verify_present(&|| {
        is_free();
        if pauses.fetch_add(1, Ordering::Relaxed) == 3 {
            bench.compact().unwrap();
            bench.collection.vacuum().unwrap();
            let left: Vec<&String> =
                before.iter().filter(|name| bench.dir.join(name).exists()).collect();
            assert!(left.is_empty(), "{left:?}");
        }
    });
    assert!(pauses.load(Ordering::Relaxed) > 4 && report.is_clean(), "{:?}", report.findings);
    bench.write(6 * ROWS).unwrap();
    bench.write(7 * ROWS).unwrap();
    let report = bench.verify_present(&is_free);
    assert!(report.log_batches == 2 && report.is_clean(), "{report:?}");
}
