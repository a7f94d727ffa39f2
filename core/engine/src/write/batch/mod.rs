//! `Batch`: one atomic change to a collection, checked once, then trusted. Made of a [`Draft`] by
//! `Batch::new`, which the write handlers of the server, Python, `wasm` and the import commands call;
//! `Collection::apply` applies it. `check`, `encode`, `decode` and `keys` are its parts.
//!
//! [`Batch::new`] checks everything about a draft that does not depend on the collection's state, and
//! [`Batch::assign_ids`] settles the ids left out. A batch is applied whole or not at all: **deletes first,
//! then upserts**, so that an id in both is replaced.
//!
//! What is not here: whether an id exists, whether a key was used before (the writer's), the meaning of metadata.

mod applied;
mod change;
mod check;
mod decode;
mod encode;
mod input;
mod keys;

pub use applied::{Applied, RowOutcome};
pub use change::Change;
pub use check::IDEMPOTENCY_KEY_BYTES_MAX;
pub use decode::decode;
pub(crate) use encode::split_ids;

use std::borrow::Cow;
use std::collections::BTreeMap;

use nearfield_segment::{FieldKinds, PointId, Result, Schema};

use crate::log::BODY_BYTES_MAX;
use crate::manifest::NextId;
use check::Rules;

/// Most points upserted by one batch.
pub const BATCH_ROWS_MAX: usize = 1_000_000;

/// A change as asked for, unchecked. Vectors and metadata may be borrowed.
#[derive(Debug, Clone, Default)]
pub struct Draft<'a> {
    /// Points to delete; repeated and unknown ids are no error.
    pub deletes: Vec<PointId>,
    /// Points to insert or replace; `None` asks for assigned ids.
    pub ids: Option<Vec<PointId>>,
    /// How many points are upserted.
    pub rows: usize,
    /// The number that errors give to the first row: callers that split their rows count on.
    pub first_row: usize,
    /// Elements by field name, row-major, `rows × dim` each; every field of the schema if `rows > 0`.
    pub vectors: BTreeMap<String, Cow<'a, [f32]>>,
    /// JSON object text by row; empty means none for all rows.
    pub metadata: Vec<Option<Cow<'a, str>>>,
    /// Metadata fields that are declared from this batch on; those that the schema has already change nothing.
    pub fields: FieldKinds,
    /// When the writer accepted it, milliseconds since 1970.
    pub time_ms: u64,
    /// Names the whole batch: a later one with this key is not written but answered as this one was.
    pub idempotency_key: Option<String>,
    /// Names rows: a later row with the key of an earlier one is left out and answered with the id that one
    /// got. Empty or one for each row; no two alike; not beside deletes or a key of the whole batch.
    pub row_keys: Vec<Option<Cow<'a, str>>>,
    /// When the caller gives up; kept in the log, and for the host's queue to look at.
    pub deadline_ms: Option<u64>,
}

/// A checked change.
#[derive(Debug, Clone, PartialEq)]
pub struct Batch<'a> {
    deletes: Vec<PointId>,
    ids: Vec<PointId>,
    rows: usize,
    vectors: BTreeMap<String, Cow<'a, [f32]>>,
    metadata: Vec<Option<Cow<'a, str>>>,
    fields: FieldKinds,
    /// How many declared fields of the collection its metadata was checked against: there are only ever more.
    fields_checked: usize,
    time_ms: u64,
    idempotency_key: Option<String>,
    row_keys: Vec<Option<Cow<'a, str>>>,
    deadline_ms: Option<u64>,
    next_id: Option<NextId>,
    ids_assigned: bool,
}

impl<'a> Batch<'a> {
    /// Checks a draft. O(elements + ids).
    ///
    /// # Errors
    /// `InvalidInput` with `Dimension`, `NonFinite`, `DuplicateId` (with `ids`), `Id`, `Metadata` or
    /// `Parameter` (counts that disagree, unknown or missing fields, limits).
    pub fn new(draft: Draft<'a>, schema: &Schema) -> Result<Self> {
        Batch::checked(draft, schema, Rules::New)
    }

    /// Checks a draft that was accepted before, by the rules of the time.
    ///
    /// # Errors
    /// As [`new`](Batch::new).
    fn logged(draft: Draft<'a>, schema: &Schema) -> Result<Self> {
        Batch::checked(draft, schema, Rules::Logged)
    }

    fn checked(draft: Draft<'a>, schema: &Schema, rules: Rules) -> Result<Self> {
        let Draft { mut deletes, ids, rows, vectors, metadata, .. } = draft;
        check::count("rows", rows, "at most", BATCH_ROWS_MAX, rows <= BATCH_ROWS_MAX)?;
        let ids_assigned = ids.is_none();
        let ids = ids.unwrap_or_default();
        if !ids_assigned {
            check::count("ids", ids.len(), "one per row:", rows, ids.len() == rows)?;
        }
        let count = metadata.len();
        check::count("metadata", count, "one per row:", rows, count == 0 || count == rows)?;
        ids.iter().chain(&deletes).try_for_each(check::id)?;
        check::distinct(&ids)?;
        check::vectors(&vectors, rows, draft.first_row, schema, rules)?;
        check::fields(&draft.fields)?;
        if rules == Rules::New {
            check::metadata(&metadata, draft.first_row, &schema.fields.with(&draft.fields))?;
        }
        let row_keys =
            check::keys(&deletes, rows, draft.idempotency_key.as_deref(), draft.row_keys)?;
        deletes.sort_unstable();
        deletes.dedup();
        let batch = Batch {
            deletes,
            ids,
            rows,
            vectors,
            metadata: if count == 0 { vec![None; rows] } else { metadata },
            fields: draft.fields,
            fields_checked: schema.fields.len(),
            time_ms: draft.time_ms,
            idempotency_key: draft.idempotency_key,
            row_keys,
            deadline_ms: draft.deadline_ms,
            next_id: None,
            ids_assigned,
        };
        let len = batch.encoded_bytes_max();
        check::count("bytes of the batch", len, "at most", BODY_BYTES_MAX, len <= BODY_BYTES_MAX)?;
        Ok(batch)
    }

    /// Gives ids to the rows that came without, and raises `next` above every number id used. The writer
    /// calls it once, just before the batch is logged.
    ///
    /// # Errors
    /// `InvalidInput(Id)` if not enough numbers are left; `next` is unchanged then.
    pub fn assign_ids(&mut self, next: &mut NextId) -> Result<()> {
        if self.ids_assigned && self.ids.len() < self.rows {
            let first = next.take(self.rows as u64)?;
            self.ids = (first..=u64::MAX).take(self.rows).map(PointId::U64).collect();
        }
        self.ids.iter().for_each(|id| next.raise_above(id));
        self.next_id = Some(*next);
        Ok(())
    }

    /// Settles what it declares against `declared`, the fields of its collection at this moment: what is declared
    /// already is left out, and its metadata is checked again if other batches declared fields since it was made.
    ///
    /// # Errors
    /// `InvalidInput(Metadata)` by row and field, or for too many fields.
    pub(crate) fn settle_fields(&mut self, declared: &FieldKinds) -> Result<()> {
        self.fields.retain(|path| declared.get(path).is_none());
        let all = declared.with(&self.fields);
        check::fields(&all)?;
        if self.fields_checked < declared.len() {
            check::metadata(&self.metadata, 0, &all)?;
            self.fields_checked = declared.len();
        }
        Ok(())
    }

    /// Metadata fields that are declared from this batch on.
    pub fn fields(&self) -> &FieldKinds {
        &self.fields
    }

    /// Points deleted, sorted, before the upserts.
    pub fn deletes(&self) -> &[PointId] {
        &self.deletes
    }

    /// Points upserted, by row; empty until [`assign_ids`](Batch::assign_ids) if they were left out.
    pub fn ids(&self) -> &[PointId] {
        &self.ids
    }

    /// Number of points upserted.
    pub fn rows(&self) -> usize {
        self.rows
    }

    /// Elements of a field, row-major; `None` without upserts.
    pub fn vectors(&self, field: &str) -> Option<&[f32]> {
        self.vectors.get(field).map(|elements| &**elements)
    }

    /// JSON text by row; as many as rows.
    pub fn metadata(&self) -> &[Option<Cow<'a, str>>] {
        &self.metadata
    }

    /// When it was accepted, milliseconds since 1970.
    pub fn time_ms(&self) -> u64 {
        self.time_ms
    }

    /// The same batch, accepted at another time.
    #[must_use]
    pub fn accepted_at(self, time_ms: u64) -> Self {
        Batch { time_ms, ..self }
    }

    /// When the caller gives up, if ever.
    pub fn deadline_ms(&self) -> Option<u64> {
        self.deadline_ms
    }

    /// Whether the ids were left out by the caller.
    pub fn ids_assigned(&self) -> bool {
        self.ids_assigned
    }

    /// The mark for assigned ids after this batch; `None` before [`assign_ids`](Batch::assign_ids).
    pub fn next_id(&self) -> Option<NextId> {
        self.next_id
    }

    /// True if nothing is deleted and nothing upserted.
    pub fn is_empty(&self) -> bool {
        self.rows == 0 && self.deletes.is_empty()
    }

    /// The same batch, owning everything: for queues between threads.
    pub fn into_owned(self) -> Batch<'static> {
        let own =
            |(name, elements): (String, Cow<'_, [f32]>)| (name, Cow::Owned(elements.into_owned()));
        let own_text = |text: Option<Cow<'_, str>>| text.map(|text| Cow::Owned(text.into_owned()));
        Batch {
            deletes: self.deletes,
            ids: self.ids,
            rows: self.rows,
            vectors: self.vectors.into_iter().map(own).collect(),
            metadata: self.metadata.into_iter().map(own_text).collect(),
            fields: self.fields,
            fields_checked: self.fields_checked,
            row_keys: self.row_keys.into_iter().map(own_text).collect(),
            time_ms: self.time_ms,
            idempotency_key: self.idempotency_key,
            deadline_ms: self.deadline_ms,
            next_id: self.next_id,
            ids_assigned: self.ids_assigned,
        }
    }
}

#[cfg(test)]
mod tests;
