//! The audit: records requests with key, action, time and outcome; never a body, never a secret. `Recorder` is the
//! queue and its thread, `AuditRow` one record. Filled by `http::gate` through `Catalog::audit` and `audit_refusal`;
//! the thread also stores when keys were last used. `retention` decides which old rows are dropped.
//!
//! Requests put rows into a bounded queue and go on; one thread writes them, at the latest a quarter of a
//! second later, up to 500 in a transaction. What finds no room or cannot be written is counted, and the count
//! becomes a row as soon as one can be written. A power cut may take the last rows with it.
//!
//! A client without a key cannot flood the audit or push out the rows of others: the first refusal of each action
//! becomes a row, and those of the minute after it together one more, with their number.

use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use nearfield_engine::{Clock, Error, Result};
use rusqlite::{Connection, Transaction, params};
use tracing::warn;

use super::key_ring::KeyRing;
use super::keys;
use super::retention::Retention;
use super::sqlite::{Done, Sqlite};
use super::token::KeyId;
use crate::host::lock;

/// Rows that may wait.
const QUEUE_ROWS_MAX: usize = 4096;
/// Rows of one key that may wait even if the queue is full of those of others.
const QUEUE_KEY_ROWS_MIN: usize = 64;
/// Rows of a transaction.
const BATCH_ROWS_MAX: usize = 500;
/// Longest wait of a row for others.
const BATCH_WAIT: Duration = Duration::from_millis(250);
/// Old rows removed per transaction: more than are added, so that a lowered limit is reached.
const PRUNED_ROWS_MAX: u64 = 2 * BATCH_ROWS_MAX as u64;
/// Refusals without a key that come within this time after one that was written share a row.
const REFUSALS_TOGETHER: Duration = Duration::from_secs(60);
/// Most characters kept of a text that a client chose.
const TEXT_CHARS_MAX: usize = 256;
/// The action of a row that stands for lost ones.
const LOST: &str = "audit_lost";

/// What a request did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditRow {
    /// When it ended, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whose it was; `None` without a valid key.
    pub key_id: Option<KeyId>,
    /// The action of the route.
    pub action: &'static str,
    /// Of which collection.
    pub collection: Option<String>,
    /// Where the request came from; `None` for the control socket and the command line.
    pub address: Option<IpAddr>,
    /// HTTP status of the answer.
    pub status: u16,
    /// How long it took, in microseconds.
    pub latency_us: u64,
    /// Its id in log and answer.
    pub request_id: String,
}

/// A row as it was written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AuditEntry {
    /// When, in milliseconds since 1970.
    pub time_ms: u64,
    /// Whose request.
    pub key_id: Option<KeyId>,
    /// The action of the route; `audit_lost` for a row that stands for others.
    pub action: String,
    /// Of which collection.
    pub collection: Option<String>,
    /// Where the request came from.
    pub address: Option<String>,
    /// HTTP status of the answer.
    pub status: u16,
    /// In microseconds.
    pub latency_us: u64,
    /// Id of the request.
    pub request_id: String,
    /// Of `audit_lost`: rows that could not be written before this one. Else of a refusal: those like it before
    /// that have no row of their own.
    pub rows_lost: u64,
}

/// The queue and its thread.
#[derive(Debug)]
pub(super) struct Recorder {
    shared: Arc<Shared>,
    thread: Mutex<Option<JoinHandle<()>>>,
}

#[derive(Debug, Default)]
struct Shared {
    queue: Mutex<Queue>,
    /// Something to do for the thread.
    wanted: Condvar,
    /// Something was done by the thread.
    settled: Condvar,
    lost_total: AtomicU64,
}

#[derive(Debug, Default)]
struct Queue {
    /// Each with the number of others that it stands for.
    rows: Vec<(AuditRow, u64)>,
    /// How many of them each key has.
    by_key: HashMap<Option<KeyId>, usize>,
    /// By action: refusals without a key that have no row yet. As many as there are actions.
    refusals: BTreeMap<&'static str, Refusals>,
    /// Rows ever put in, and of those the written or lost.
    accepted: u64,
    settled: u64,
    /// Lost rows that no row speaks of yet.
    unreported: u64,
    is_hurried: bool,
    is_closing: bool,
    is_ended: bool,
}

/// Refusals of one action after one that has a row.
#[derive(Debug)]
struct Refusals {
    /// From then on the next one has a row again.
    until_ms: u64,
    /// The newest, and how many came before it.
    newest: Option<(AuditRow, u64)>,
}

impl Recorder {
    /// Starts the thread, which keeps the newest `rows_max` rows and writes down when keys were used.
    ///
    /// # Errors
    /// `Io` if there can be no thread.
    pub(super) fn start(
        catalog: Sqlite,
        ring: Arc<KeyRing>,
        clock: Arc<dyn Clock>,
        rows_max: u64,
    ) -> Result<Recorder> {
        let shared = Arc::new(Shared::default());
        let (writes_to, retention) = (Arc::clone(&shared), None);
        let writer = Writer { shared: writes_to, catalog, ring, clock, rows_max, retention };
        let named = std::thread::Builder::new().name("nearfield-audit".to_owned());
        let thread = named.spawn(|| writer.run());
        let thread = thread.map_err(|error| Error::io("start", "the audit thread", error))?;
        Ok(Recorder { shared, thread: Mutex::new(Some(thread)) })
    }

    /// Takes a row, or counts it as lost. Never waits for the thread.
    pub(super) fn push(&self, row: AuditRow) {
        let queue = lock(&self.shared.queue);
        let sleeps = queue.rows.is_empty();
        self.put(queue, row, sleeps);
    }

    /// As [`push`](Recorder::push), of a request that was refused for want of a good key: a row now or later,
    /// of its own or together with others.
    pub(super) fn push_refusal(&self, row: AuditRow) {
        let mut queue = lock(&self.shared.queue);
        let ends = queue.is_closing || queue.is_ended;
        match queue.refusals.get_mut(row.action) {
            Some(refusals) if row.time_ms < refusals.until_ms && !ends => {
                let before = refusals.newest.take().map_or(0, |(_, before)| before + 1);
                refusals.newest = Some((row, before));
            }
            Some(_) | None => {
                let sleeps = queue.rows.is_empty();
                queue.release(Some(row.time_ms));
                let until_ms = row.time_ms + REFUSALS_TOGETHER.as_millis() as u64;
                queue.refusals.insert(row.action, Refusals { until_ms, newest: None });
                self.put(queue, row, sleeps);
            }
        }
    }

    /// `sleeps`: there was no row before, so the thread waits for one.
    fn put(&self, mut queue: MutexGuard<'_, Queue>, row: AuditRow, sleeps: bool) {
        let of_key = queue.by_key.get(&row.key_id).copied().unwrap_or_default();
        let is_full = queue.rows.len() >= QUEUE_ROWS_MAX && of_key >= QUEUE_KEY_ROWS_MIN;
        if queue.is_closing || queue.is_ended || is_full {
            queue.unreported += 1;
            self.shared.lost_total.fetch_add(1, Ordering::Relaxed);
            return;
        }
        queue.by_key.insert(row.key_id, of_key + 1);
        queue.rows.push((row, 0));
        queue.accepted += 1;
        // Awake for the first of a batch and the last, not for those in between.
        let wakes = sleeps || queue.rows.len() == BATCH_ROWS_MAX;
        drop(queue);
        if wakes {
            self.shared.wanted.notify_one();
        }
    }

    /// Waits until every row taken so far is written or lost.
    pub(super) fn flush(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.release(None);
        let until = queue.accepted;
        queue.is_hurried = true;
        self.shared.wanted.notify_one();
        let waits = |queue: &mut Queue| queue.settled < until && !queue.is_ended;
        drop(self.shared.settled.wait_while(queue, waits));
    }

    /// Writes what there is and ends the thread; rows that come later are lost. The second call does nothing.
    pub(super) fn close(&self) {
        let mut queue = lock(&self.shared.queue);
        queue.release(None);
        queue.is_closing = true;
        drop(queue);
        self.shared.wanted.notify_one();
        let thread = lock(&self.thread).take();
        if thread.is_some_and(|thread| thread.join().is_err()) {
            warn!("the audit thread panicked");
        }
    }

    /// Rows that were not written.
    pub(super) fn lost_total(&self) -> u64 {
        self.shared.lost_total.load(Ordering::Relaxed)
    }
}

impl Drop for Recorder {
    fn drop(&mut self) {
        self.close();
    }
}

impl Queue {
    /// Makes rows of refusals that wait for others like them: where their time is over by `now_ms`, or all.
    fn release(&mut self, now_ms: Option<u64>) {
        let is_due = |refusals: &Refusals| now_ms.is_none_or(|now_ms| now_ms >= refusals.until_ms);
        for refusals in self.refusals.values_mut().filter(|refusals| is_due(refusals)) {
            let newest = refusals.newest.take();
            self.accepted += u64::from(newest.is_some());
            self.rows.extend(newest);
        }
        if now_ms.is_some() {
            self.refusals.retain(|_, refusals| !is_due(refusals));
        }
    }
}

impl Shared {
    /// Waits for a batch and swaps it for the empty `rows`; the number is that of lost rows to report.
    /// False if the queue is closed and nothing is left.
    fn next(&self, rows: &mut Vec<(AuditRow, u64)>, clock: &dyn Clock) -> (u64, bool) {
        let idle = |queue: &mut Queue| queue.rows.is_empty() && !queue.is_closing;
        let queue = self.wanted.wait_timeout_while(lock(&self.queue), REFUSALS_TOGETHER, idle);
        let (queue, _) = queue.unwrap_or_else(PoisonError::into_inner);
        let filling = |queue: &mut Queue| {
            queue.rows.len() < BATCH_ROWS_MAX && !queue.is_hurried && !queue.is_closing
        };
        let filled = self.wanted.wait_timeout_while(queue, BATCH_WAIT, filling);
        let (mut queue, _) = filled.unwrap_or_else(PoisonError::into_inner);
        queue.is_hurried = false;
        queue.release(Some(clock.now_ms()));
        std::mem::swap(&mut queue.rows, rows);
        queue.by_key.clear();
        (std::mem::take(&mut queue.unreported), !queue.is_closing)
    }
}

/// What the thread owns.
#[derive(Debug)]
struct Writer {
    shared: Arc<Shared>,
    catalog: Sqlite,
    ring: Arc<KeyRing>,
    clock: Arc<dyn Clock>,
    rows_max: u64,
    /// Read with the first rows that are written.
    retention: Option<Retention>,
}

impl Writer {
    fn run(mut self) {
        let mut rows = Vec::new();
        loop {
            let (unreported, goes_on) = self.shared.next(&mut rows, &*self.clock);
            self.write(&rows, unreported, !goes_on);
            lock(&self.shared.queue).settled += rows.len() as u64;
            self.shared.settled.notify_all();
            rows.clear();
            if !goes_on {
                return;
            }
        }
    }

    /// Writes rows in batches; those of a batch that fails are lost, the others are not.
    fn write(&mut self, rows: &[(AuditRow, u64)], mut unreported: u64, is_last: bool) {
        let used = self.ring.unnoted(is_last);
        let mut unwritten_uses = &used[..];
        let nothing: &[(AuditRow, u64)] = &[];
        let only_news = (rows.is_empty() && unreported + used.len() as u64 > 0).then_some(nothing);
        for batch in rows.chunks(BATCH_ROWS_MAX).chain(only_news) {
            match self.write_batch(batch, unreported, unwritten_uses) {
                Ok(()) => {
                    self.ring.noted(unwritten_uses);
                    (unreported, unwritten_uses) = (0, &[]);
                }
                Err(error) => {
                    let dropped = batch.len() as u64;
                    warn!(%error, dropped, "audit batch failed");
                    unreported += dropped;
                    self.shared.lost_total.fetch_add(dropped, Ordering::Relaxed);
                }
            }
        }
        lock(&self.shared.queue).unreported += unreported;
    }

    fn write_batch(
        &mut self,
        rows: &[(AuditRow, u64)],
        unreported: u64,
        used: &[(KeyId, u64)],
    ) -> Result<()> {
        let (now_ms, rows_max) = (self.clock.now_ms(), self.rows_max);
        let known = self.retention.take();
        let retention = self.catalog.change("write audit rows", |change| {
            let mut retention = match &known {
                Some(known) => known.clone(),
                None => Retention::read(change)?,
            };
            if unreported > 0 {
                let lost = AuditRow::local(now_ms, None, LOST, 0);
                insert(change, &lost, unreported, &mut retention)?;
            }
            let mut add = |(row, others): &(_, _)| insert(change, row, *others, &mut retention);
            rows.iter().try_for_each(&mut add)?;
            keys::note_used(change, used)?;
            retention.prune(change, rows_max, PRUNED_ROWS_MAX)?;
            Ok(retention)
        });
        // After a failure the table is as before, and so is what is known about it.
        let (retention, written) = match retention {
            Ok(retention) => (Some(retention), Ok(())),
            Err(error) => (known, Err(error)),
        };
        self.retention = retention;
        written
    }
}

impl Drop for Writer {
    /// Also after a panic: no caller waits for a thread that has ended.
    fn drop(&mut self) {
        lock(&self.shared.queue).is_ended = true;
        self.shared.settled.notify_all();
    }
}

impl AuditRow {
    /// A row without a request: what a command of this machine did, or what the audit says of itself.
    pub(super) fn local(
        time_ms: u64,
        key_id: Option<KeyId>,
        action: &'static str,
        status: u16,
    ) -> AuditRow {
        AuditRow {
            time_ms,
            key_id,
            action,
            collection: None,
            address: None,
            status,
            latency_us: 0,
            request_id: String::new(),
        }
    }
}

fn insert(
    change: &Transaction<'_>,
    row: &AuditRow,
    rows_lost: u64,
    retention: &mut Retention,
) -> Done<()> {
    write(change, row, rows_lost)?;
    retention.added(row.key_id, row.action, change.last_insert_rowid());
    Ok(())
}

/// Writes a row within a change of the catalog.
pub(super) fn write(change: &Transaction<'_>, row: &AuditRow, rows_lost: u64) -> Done<()> {
    let text = "INSERT INTO audit
                (time_ms, key_id, action, collection, status, latency_us, request_id, rows_lost, address)
                VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let AuditRow { time_ms, key_id, action, status, latency_us, .. } = row;
    let (collection, request) = (row.collection.as_deref().map(cut), cut(&row.request_id));
    let address = row.address.map(|address| address.to_string());
    let values = params![
        time_ms, key_id, action, collection, status, latency_us, request, rows_lost, address
    ];
    change.prepare_cached(text)?.execute(values)?;
    Ok(())
}

/// The beginning of a text that may be of any length.
fn cut(text: &str) -> &str {
    text.char_indices().nth(TEXT_CHARS_MAX).map_or(text, |(end, _)| &text[..end])
}

/// The newest `limit` rows, oldest of them first.
pub(super) fn tail(connection: &Connection, limit: u64) -> Done<Vec<AuditEntry>> {
    let text =
        "SELECT time_ms, key_id, action, collection, status, latency_us, request_id, rows_lost, address
                FROM audit ORDER BY number DESC LIMIT ?1";
    let mut statement = connection.prepare(text)?;
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let rows = statement.query_map([limit], |row| {
        Ok(AuditEntry {
            time_ms: row.get(0)?,
            key_id: row.get(1)?,
            action: row.get(2)?,
            collection: row.get(3)?,
            status: row.get(4)?,
            latency_us: row.get(5)?,
            request_id: row.get(6)?,
            rows_lost: row.get(7)?,
            address: row.get(8)?,
        })
    })?;
    let mut entries: Vec<_> = rows.collect::<rusqlite::Result<_>>()?;
    entries.reverse();
    Ok(entries)
}
