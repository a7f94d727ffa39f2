//! `Keys`: the idempotency keys that were used, and the results of their writes, so that a repeated write is answered
//! and not done again. Part of `State`; `Writer::apply_all` looks keys up before it logs.
//!
//! Part of the state at an LSN: a function of the batches up to it, because a batch that would repeat is
//! settled before it is logged. The newest keys of each kind are remembered, a stated number of them; the
//! oldest are forgotten first. A checkpoint writes them to a file (see `file`); the log says the rest.
//!
//! What is not here: leaving rows out of a batch (`batch`), deciding when (the writer).

mod file;
#[cfg(test)]
mod tests;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use nearfield_segment::{Error, Fault, Lsn, PointId, Result, shown};

use crate::write::batch::{Applied, Batch, RowOutcome};

pub(crate) use file::{open, write};

/// The keys of one collection.
#[derive(Debug, PartialEq)]
pub(crate) struct Keys {
    max: usize,
    batches: Remembered<Done>,
    rows: Remembered<PointId>,
    /// The newest batch that brought a key.
    changed: Lsn,
}

/// How many keys a collection remembers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct KeyCounts {
    /// Keys of whole batches.
    pub batches: usize,
    /// Keys of rows.
    pub rows: usize,
    /// The most there can be of each.
    pub max: usize,
}

/// What a batch with a key asked for and came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Done {
    lsn: Lsn,
    /// Rows it upserted.
    rows: u32,
    /// Ids it named to be deleted.
    deletes: u32,
    /// Which points it was about.
    points_crc: u32,
    replaced: u32,
    deleted: u32,
    first_assigned: Option<u64>,
}

impl Keys {
    /// None yet; at most `max` of each kind will be remembered.
    pub(crate) fn new(max: usize) -> Keys {
        let (batches, rows) = (Remembered::default(), Remembered::default());
        Keys { max, batches, rows, changed: Lsn(0) }
    }

    /// The newest batch that brought a key; 0 if none did.
    pub(crate) fn changed(&self) -> Lsn {
        self.changed
    }

    pub(crate) fn counts(&self) -> KeyCounts {
        let (batches, rows) = (self.batches.order.len(), self.rows.order.len());
        KeyCounts { batches, rows, max: self.max }
    }

    /// The answer to a batch whose key is known.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` if the key was used for another batch, or there are more keys in this one
    /// than can be remembered.
    pub(crate) fn answer(&self, batch: &Batch<'_>) -> Result<Option<Applied>> {
        let count = batch.key_count();
        if count > self.max {
            let message = format!(
                "idempotency keys in one batch: expected at most {}, which is how many are remembered, \
                 got {count}",
                self.max
            );
            return Err(Error::invalid(Fault::Parameter, message)
                .with("expected", self.max)
                .with("got", count));
        }
        let Some((key, done)) =
            batch.idempotency_key().and_then(|key| Some((key, self.batches.get(key)?)))
        else {
            return Ok(None);
        };
        let asked = (batch.rows() as u32, batch.deletes().len() as u32, batch.points_crc());
        if asked != (done.rows, done.deletes, done.points_crc) {
            let key = shown(key);
            return Err(Error::invalid(
                Fault::Parameter,
                format!(
                    "idempotency key {key:?} was used at LSN {} for another batch, of {} upserts and {} \
                     deletes; this one has {} and {}",
                    done.lsn, done.rows, done.deletes, asked.0, asked.1
                ),
            )
            .with("expected", format!("a new key, or the same ids as at LSN {}", done.lsn))
            .with("got", key.as_ref()));
        }
        Ok(Some(done.answer()))
    }

    /// The id that each row with a known key got, by row; empty if none is known.
    pub(crate) fn known_rows(&self, batch: &Batch<'_>) -> Vec<(usize, PointId)> {
        let known = |(row, key): (usize, &str)| Some((row, self.rows.get(key)?.clone()));
        batch.row_keys().filter_map(known).collect()
    }

    /// Remembers the keys of a batch that was applied.
    pub(crate) fn note(&mut self, batch: &Batch<'_>, applied: &Applied) {
        if self.max == 0 || batch.key_count() == 0 {
            return;
        }
        if let Some(key) = batch.idempotency_key() {
            self.batches.push(key.into(), Done::of(batch, applied), self.max);
        }
        for (row, key) in batch.row_keys() {
            self.rows.push(key.into(), batch.ids()[row].clone(), self.max);
        }
        self.changed = applied.lsn;
    }
}

impl Done {
    fn of(batch: &Batch<'_>, applied: &Applied) -> Done {
        Done {
            lsn: applied.lsn,
            rows: batch.rows() as u32,
            deletes: batch.deletes().len() as u32,
            points_crc: batch.points_crc(),
            replaced: applied.replaced as u32,
            deleted: applied.deleted as u32,
            first_assigned: applied.first_assigned,
        }
    }

    fn answer(&self) -> Applied {
        Applied {
            lsn: self.lsn,
            inserted: u64::from(self.rows - self.replaced),
            replaced: u64::from(self.replaced),
            deleted: u64::from(self.deleted),
            first_assigned: self.first_assigned,
            rows: vec![RowOutcome::Repeated; self.rows as usize],
            known_ids: Vec::new(),
            repeated: true,
        }
    }
}

/// The newest keys of one kind and what is known of each.
#[derive(Debug)]
struct Remembered<V> {
    /// How many keys came before each.
    by_key: HashMap<Arc<str>, u64>,
    /// Oldest first.
    order: VecDeque<(Arc<str>, V)>,
    forgotten: u64,
}

impl<V> Default for Remembered<V> {
    fn default() -> Self {
        Remembered { by_key: HashMap::new(), order: VecDeque::new(), forgotten: 0 }
    }
}

impl<V: PartialEq> PartialEq for Remembered<V> {
    fn eq(&self, other: &Self) -> bool {
        self.order == other.order
    }
}

impl<V> Remembered<V> {
    fn get(&self, key: &str) -> Option<&V> {
        let before = self.by_key.get(key)? - self.forgotten;
        self.order.get(before as usize).map(|(_, value)| value)
    }

    /// Remembers a key and forgets the oldest ones above `max`. Of a key that is known already the first
    /// value stays.
    fn push(&mut self, key: Arc<str>, value: V, max: usize) {
        if self.by_key.contains_key(&key) {
            return;
        }
        self.by_key.insert(Arc::clone(&key), self.forgotten + self.order.len() as u64);
        self.order.push_back((key, value));
        while self.order.len() > max {
            let (oldest, _) = self.order.pop_front().expect("there are more than none");
            self.by_key.remove(&oldest);
            self.forgotten += 1;
        }
    }

    /// Keys and values, oldest first.
    fn iter(&self) -> impl Iterator<Item = (&str, &V)> {
        self.order.iter().map(|(key, value)| (&**key, value))
    }
}
