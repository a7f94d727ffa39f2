//! The writer through its collection, on a simulated disk.

mod group;
mod keys;
mod replay;
mod upkeep;

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

use nearfield_segment::filter::Filter;
use nearfield_segment::storage::{Directory, Disk, Failure, SimDisk};
use nearfield_segment::{Encoding, ErrorKind, Fault, Metric, PointId, Pool, Result, Schema};
use serde_json::json;

use crate::clock::ManualClock;
use crate::database::{Database, Mode};
use crate::write::batch::{Applied, Batch, Change, Draft};
use crate::{Collection, Options};

/// A disk and the only collection on it.
struct Bench {
    disk: SimDisk,
    db: Database,
    collection: Arc<Collection>,
}

impl Bench {
    fn new() -> Bench {
        let disk = SimDisk::new(1);
        let db = open(&disk, Options::default());
        let collection = db.create("points", &schema()).expect("creates");
        Bench { disk, db, collection }
    }

    /// File syncs since operation `start`.
    fn syncs_since(&self, start: u64) -> usize {
        let log = self.disk.op_log();
        log[start as usize..].iter().filter(|op| op.starts_with("sync_file")).count()
    }
}

fn open(disk: &SimDisk, options: Options) -> Database {
    open_seeded(disk, options, 7)
}

/// With chance of its own: files written by two openings have different names.
fn open_seeded(disk: &SimDisk, options: Options, seed: u64) -> Database {
    let (storage, clock) =
        (Arc::new(Directory::new(disk.clone())), Arc::new(ManualClock::new(1_000)));
    Database::open(storage, Mode::Write, options, clock, seed, "test").expect("opens")
}

fn schema() -> Schema {
    Schema::dense(2, Metric::L2, Encoding::F32).expect("a good schema")
}

fn draft(rows: usize) -> Draft<'static> {
    let vectors = BTreeMap::from([(String::new(), Cow::Owned(vec![1.0; 2 * rows]))]);
    Draft { rows, vectors, ..Draft::default() }
}

fn change(draft: Draft<'static>) -> Change<'static> {
    Batch::new(draft, &schema()).expect("a good batch").into()
}

fn numbers(ids: impl IntoIterator<Item = u64>) -> Vec<PointId> {
    ids.into_iter().map(PointId::U64).collect()
}

fn lsns(answers: Vec<Result<Applied>>) -> Vec<u64> {
    answers.into_iter().map(|answer| answer.expect("written").lsn.0).collect()
}

fn one(collection: &Collection, change: Change<'static>) -> Applied {
    collection.apply_all(vec![change], &Pool::SERIAL).pop().expect("one").expect("written")
}
