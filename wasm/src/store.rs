//! `Store`: a collection that is written in the browser, the engine's own database in memory or in a pool of files.
//! Called by `wasm/js/store.js`.
//!
//! The host brings time, chance and files, makes room for new files before each change, and takes the steps
//! of background work between its other calls, because there is one thread. A change that returns is durable.
//! Whether a second page writes is the host's to prevent.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::task::{MergeScope, Step, Task};
use nearfield_engine::{
    Begun, Collection, Database, Error, ErrorKind, Fault, ManualClock, Mode, Options, View,
};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{MemoryStorage, SlotStorage, Storage};
use nearfield_segment::{DEFAULT_FIELD, PointId, Pool, Schema};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::ids;
use crate::object::to_js;
use crate::reading::Reading;
use crate::slots::{JsSlots, SlotPool};

/// Temporary name of an export; it is not visible outside.
const EXPORT: &str = "export.near";

/// Smaller pieces than a server's: a tab has one thread and less memory.
fn options() -> Options {
    Options {
        memtable_bytes_max: 8 << 20,
        memtable_bytes_hard: 128 << 20,
        log_file_bytes_max: 8 << 20,
        quarantine_files_max: 4,
        quarantine_bytes_max: 32 << 20,
        ..Options::default()
    }
}

/// An open, writable collection.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Store {
    database: Database,
    collection: Arc<Collection>,
    slots: Option<Arc<SlotStorage>>,
    clock: Arc<ManualClock>,
    /// Background work that was begun.
    task: Option<Box<Task>>,
    /// What scans that are under way go through, by the numbers their callers gave them.
    scans: BTreeMap<u32, Arc<View>>,
}

impl Store {
    /// Calls `ask` with the newest view of the collection, which must be called `name`.
    fn read(
        &self,
        name: &str,
        ask: impl FnOnce(Reading<'_>) -> nearfield_engine::Result<JsValue>,
    ) -> Result<JsValue> {
        if name != self.collection.name() {
            let message = format!("no collection {name:?}");
            return Err(Error::new(ErrorKind::NotFound, message).into());
        }
        Ok(ask(self.reading(&self.collection.view()))?)
    }

    fn reading<'a>(&'a self, view: &'a View) -> Reading<'a> {
        Reading { name: self.collection.name(), view, kernel: self.collection.kernel() }
    }

    /// Carries begun work to its end: what follows must not find it under way.
    fn finish_task(&mut self) -> nearfield_engine::Result<()> {
        while self.task.is_some() {
            self.step_task()?;
        }
        Ok(())
    }

    fn step_task(&mut self) -> nearfield_engine::Result<()> {
        let Some(mut task) = self.task.take() else { return Ok(()) };
        match task.step(&Pool::SERIAL) {
            Ok(Step::More(_)) => self.task = Some(task),
            Ok(Step::Done(output)) => self.collection.end(Ok(*output))?,
            Err(error) => self.collection.end(Err(error))?,
        }
        Ok(())
    }

    /// Before a change: no task is under way that the change would need out of its way: any, if the writer has to
    /// recover, and a checkpoint, if there is much in memory.
    fn settle_task(&mut self) -> nearfield_engine::Result<()> {
        let hard = options().memtable_bytes_hard;
        let starts_work = |writer: &mut nearfield_engine::Writer| {
            let full = writer.memory_bytes() >= hard && writer.is_checkpointing();
            Ok(writer.poisoned().is_some() || full)
        };
        if self.task.is_some() && self.collection.with_writer(starts_work)? {
            // Its failure is no reason not to write.
            let _failed = self.finish_task();
        }
        Ok(())
    }

    fn report(&self, applied: &nearfield_engine::Applied) -> JsValue {
        to_js(&json!({
            "lsn": applied.lsn.0,
            "inserted": applied.inserted,
            "replaced": applied.replaced,
            "deleted": applied.deleted,
            "firstAssigned": applied.first_assigned,
            "size": self.collection.view().len(),
        }))
    }
}

#[wasm_bindgen]
impl Store {
    /// Opens the collection in a pool of files, or a new one in memory. One that is there must have this
    /// dimension, metric and encoding, and these declared fields, a JSON object.
    #[expect(clippy::too_many_arguments, reason = "the arguments of the JavaScript method")]
    pub fn open(
        pool: Option<SlotPool>,
        name: &str,
        dim: usize,
        metric: &str,
        store: &str,
        fields: &str,
        now_ms: f64,
        seed: u32,
    ) -> Result<Store> {
        let fields = serde_json::from_str(fields)
            .map_err(|error| Error::invalid(Fault::Parameter, format!("fields: {error}")))?;
        let schema = Schema { fields, ..Schema::dense(dim, metric.parse()?, store.parse()?)? };
        let slots = match pool {
            Some(pool) => Some(Arc::new(SlotStorage::open(Arc::new(JsSlots::new(pool)))?)),
            None => None,
        };
        let clock = Arc::new(ManualClock::new(now_ms as u64));
        let time = Arc::clone(&clock);
        let database = match &slots {
            Some(slots) => {
                let files: Arc<dyn Storage> = Arc::clone(slots) as _;
                Database::open(files, Mode::Write, options(), time, u64::from(seed), "this page")?
            }
            None => Database::in_memory(options(), time, u64::from(seed))?,
        };
        let collection = if database.names().iter().any(|there| there == name) {
            database.collection(name)?
        } else {
            database.create(name, &schema)?
        };
        let there = collection.view().schema.clone();
        if *there != schema {
            let (expected, got) = (described(&there), described(&schema));
            let message = format!("the store {name:?} is there with {expected}, not {got}");
            let error = Error::new(ErrorKind::Conflict, message);
            return Err(error.with("expected", expected).with("got", got).into());
        }
        Ok(Store { database, collection, slots, clock, task: None, scans: BTreeMap::new() })
    }

    /// Files that a change can still make; none in memory, where it needs none.
    pub fn free_slots(&self) -> Result<Option<u32>> {
        let free = self.slots.as_ref().map(|slots| slots.free_slots()).transpose()?;
        Ok(free.map(|free| free as u32))
    }

    /// Inserts or replaces points, as one atomic and durable batch: what it did.
    pub fn upsert(
        &mut self,
        point_ids: Option<Array>,
        vectors: &[f32],
        metadata: Option<Array>,
        now_ms: f64,
    ) -> Result<JsValue> {
        self.clock.set(now_ms as u64);
        self.settle_task()?;
        let schema = Arc::clone(&self.collection.view().schema);
        let dim = schema.vectors[DEFAULT_FIELD].dim as usize;
        let texts = metadata.unwrap_or_default();
        let draft = Draft {
            ids: point_ids.as_ref().map(ids::from_js).transpose()?,
            rows: vectors.len() / dim,
            vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Borrowed(vectors))]),
            metadata: texts.iter().map(|text| text.as_string().map(Cow::Owned)).collect(),
            time_ms: now_ms as u64,
            ..Draft::default()
        };
        let batch = Batch::new(draft, &schema)?;
        Ok(self.report(&self.collection.apply(batch, &Pool::SERIAL)?))
    }

    /// Removes points by id, as one atomic and durable batch: what it did.
    pub fn delete(&mut self, point_ids: &Array, now_ms: f64) -> Result<JsValue> {
        self.clock.set(now_ms as u64);
        self.settle_task()?;
        let deletes: Vec<PointId> = ids::from_js(point_ids)?;
        let draft = Draft { deletes, time_ms: now_ms as u64, ..Draft::default() };
        let schema = Arc::clone(&self.collection.view().schema);
        let batch = Batch::new(draft, &schema)?;
        Ok(self.report(&self.collection.apply(batch, &Pool::SERIAL)?))
    }

    /// Writes what is in memory and log to a segment file, so that opening has less to replay.
    pub fn flush(&mut self, now_ms: f64) -> Result<()> {
        self.clock.set(now_ms as u64);
        let poisoned = self.collection.with_writer(|writer| Ok(writer.poisoned().is_some()))?;
        if poisoned {
            self.task = None;
            self.collection.recover()?;
        }
        self.finish_task()?;
        Ok(self.collection.checkpoint(&Pool::SERIAL)?)
    }

    /// Takes one step of background work; whether there is more to do.
    pub fn step(&mut self, now_ms: f64) -> Result<bool> {
        self.clock.set(now_ms as u64);
        if self.task.is_some() {
            self.step_task()?;
            return Ok(true);
        }
        match self.collection.begin(MergeScope::Due)? {
            Begun::Task(task) => {
                self.task = Some(task);
                Ok(true)
            }
            Begun::Tidied(_) => Ok(false),
        }
    }

    /// The collection as a `.near` file.
    pub fn export(&self) -> Result<Uint8Array> {
        let storage = MemoryStorage::new();
        self.database.export(&storage, EXPORT, &[], &Pool::SERIAL, &never_cancelled)?;
        let blob = storage.open(EXPORT)?;
        Ok(Uint8Array::from(&blob.read(0..blob.len())?[..]))
    }

    /// Name, size and fields.
    pub fn info(&self) -> Result<JsValue> {
        self.read(self.collection.name(), |reading| Ok(to_js(&reading.info())))
    }

    /// What it is made of, what its log holds, and for how many scans something is kept.
    pub fn stats(&self, collection: &str) -> Result<JsValue> {
        let log = self.collection.stats();
        self.read(collection, |reading| {
            let mut stats = reading.stats();
            if let Value::Object(fields) = &mut stats {
                fields.insert("engine".to_owned(), json!(log));
                fields.insert("scans".to_owned(), json!(self.scans.len()));
            }
            Ok(to_js(&stats))
        })
    }

    /// See `Reading::search`.
    pub fn search(&self, collection: &str, queries: &[f32], options: &str) -> Result<JsValue> {
        self.read(collection, |reading| reading.search(queries, options))
    }

    /// See `Reading::get`.
    pub fn get(&self, collection: &str, point_ids: &Array, options: &str) -> Result<JsValue> {
        self.read(collection, |reading| reading.get(point_ids, options))
    }

    /// See `Reading::scan`. The first page of a scan, at segment 0 and row 0, settles for all others what there
    /// is to see, which is kept until `end_scan`; `undefined` if nothing is kept for this number.
    pub fn scan(
        &mut self,
        scan: u32,
        segment: usize,
        row: u32,
        count: usize,
        options: &str,
    ) -> Result<JsValue> {
        if (segment, row) == (0, 0) {
            self.scans.insert(scan, self.collection.view());
        }
        let Some(view) = self.scans.get(&scan) else { return Ok(JsValue::UNDEFINED) };
        Ok(self.reading(view).scan((segment, row), count, options)?)
    }

    /// Gives up what is kept for a scan.
    pub fn end_scan(&mut self, scan: u32) {
        self.scans.remove(&scan);
    }

    /// See `Reading::count`.
    pub fn count(&self, collection: &str, options: &str) -> Result<JsValue> {
        self.read(collection, |reading| reading.count(options))
    }

    /// See `Reading::recall`.
    pub fn recall(
        &self,
        collection: &str,
        queries: Option<Vec<f32>>,
        options: &str,
    ) -> Result<JsValue> {
        self.read(collection, |reading| reading.recall(queries.as_deref(), options))
    }

    /// See `Reading::explain`.
    pub fn explain(&self, collection: &str, query: &[f32], options: &str) -> Result<JsValue> {
        self.read(collection, |reading| reading.explain(query, options))
    }
}

/// A schema in a few words.
fn described(schema: &Schema) -> String {
    let field = |spec: &nearfield_segment::VectorSpec| {
        format!("dim {}, metric {}, store {}", spec.dim, spec.metric, spec.store)
    };
    let declared = schema.fields.paths().map(|path| format!("{path:?} declared"));
    schema.vectors.values().map(field).chain(declared).collect::<Vec<_>>().join("; ")
}
