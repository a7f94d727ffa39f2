//! The Python `upsert` and delete-by-ids: reads the arguments, checks all of them, and writes batches that are each
//! atomic and durable. Entry: `Input::read`, then `upsert`; `delete_ids` deletes. Called by the Python class
//! `Collection`.
//!
//! Everything a caller can get wrong is checked before the first batch is written, so that an error changes nothing.
//! One exception: assigned ids can run out in a later batch. Between batches Ctrl-C and progress are handled. A
//! `Draft` is the unchecked input of a `Batch`.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::ops::Range;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Clock, Fault, SystemClock};
use nearfield_segment::{DEFAULT_FIELD, FieldKinds, PointId, Pool, Schema, VectorSpec};
use pyo3::prelude::*;

use crate::arrays::Vectors;
use crate::error::{Failure, Result};
use crate::handle::Handle;
use crate::ids;
use crate::metadata::Metadata;
use crate::progress::Progress;

/// Most rows of a batch.
const BATCH_ROWS: usize = 8_192;
/// Most bytes of vectors in a batch, if it has more than one row.
const BATCH_BYTES: usize = 64 << 20;
/// After so many batches of one call the upkeep thread is woken.
const BATCHES_BEFORE_UPKEEP: usize = 32;

/// The arguments of `upsert`, read and counted.
pub(crate) struct Input<'py> {
    pub(crate) vectors: Vectors<'py>,
    pub(crate) ids: Option<Vec<PointId>>,
    pub(crate) metadata: Metadata<'py>,
}

/// What a call did.
#[derive(Debug, Default)]
pub(crate) struct Outcome {
    /// Rows of the call, and how many of them, from the first, are written.
    pub(crate) rows: u64,
    pub(crate) written: u64,
    pub(crate) inserted: u64,
    pub(crate) replaced: u64,
    /// Ranges of assigned ids, end exclusive; adjacent ones joined.
    pub(crate) assigned: Vec<Range<u64>>,
}

impl<'py> Input<'py> {
    /// Reads the arguments and checks that they have the same number of rows.
    pub(crate) fn read(
        spec: &VectorSpec,
        vectors: &Bound<'py, PyAny>,
        ids: Option<&Bound<'py, PyAny>>,
        metadata: Option<&Bound<'py, PyAny>>,
    ) -> Result<Input<'py>> {
        let vectors = Vectors::read(vectors, spec.dim as usize)?;
        let ids = ids.map(ids::read).transpose()?;
        if let Some(ids) = &ids {
            if ids.len() != vectors.rows {
                let expected = format!("one for each of the {} vectors", vectors.rows);
                return Err(Failure::parameter("ids", &expected, &ids.len().to_string()));
            }
            ids::check_distinct(ids)?;
        }
        let metadata = Metadata::read(metadata, vectors.rows)?;
        Ok(Input { vectors, ids, metadata })
    }

    /// All rows as batches, each checked, so that none is written if a later one is refused. Each declares what any row
    /// of the call does: rows are refused or not whichever batch they are in.
    fn batches(
        &self,
        py: Python<'_>,
        schema: &Schema,
        spec: &VectorSpec,
    ) -> Result<Vec<Batch<'_>>> {
        let dim = spec.dim as usize;
        let rows_max = (BATCH_BYTES / (4 * dim)).clamp(1, BATCH_ROWS);
        let mut drafts = Vec::with_capacity(self.vectors.rows.div_ceil(rows_max));
        let mut fields = FieldKinds::NONE;
        for start in (0..self.vectors.rows).step_by(rows_max) {
            py.check_signals()?;
            let rows = start..(start + rows_max).min(self.vectors.rows);
            let elements = &self.vectors.elements()[rows.start * dim..rows.end * dim];
            drafts.push(Draft {
                ids: self.ids.as_ref().map(|ids| ids[rows.clone()].to_vec()),
                rows: rows.len(),
                first_row: start,
                vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Borrowed(elements))]),
                metadata: self.metadata.texts(rows, &mut fields)?,
                ..Draft::default()
            });
        }
        let drafts = drafts.into_iter().map(|draft| Draft { fields: fields.clone(), ..draft });
        let checked = drafts.map(|draft| {
            py.check_signals()?;
            Ok(py.detach(|| Batch::new(draft, schema))?)
        });
        checked.collect()
    }
}

/// Writes all rows of `input`, batch after batch. `outcome` says what is written, also after an error.
pub(crate) fn upsert(
    py: Python<'_>,
    handle: &Handle,
    input: &Input<'_>,
    pool: &Pool,
    progress: &Progress,
    outcome: &mut Outcome,
) -> Result<()> {
    let schema = handle.engine.view().schema.clone();
    outcome.rows = input.vectors.rows as u64;
    let batches = input.batches(py, &schema, &handle.spec())?;
    for (index, batch) in batches.into_iter().enumerate() {
        progress.report(py, outcome.written, outcome.rows)?;
        let rows = batch.rows() as u64;
        let batch = batch.accepted_at(SystemClock.now_ms());
        let applied = handle.change(py, |engine| engine.apply(batch, pool))?;
        outcome.add(&applied, rows);
        if (index + 1) % BATCHES_BEFORE_UPKEEP == 0 {
            handle.store.background().wake();
        }
    }
    Ok(progress.report(py, outcome.rows, outcome.rows)?)
}

impl Outcome {
    fn add(&mut self, applied: &Applied, rows: u64) {
        self.written += rows;
        self.inserted += applied.inserted;
        self.replaced += applied.replaced;
        let Some(first) = applied.first_assigned else { return };
        match self.assigned.last_mut() {
            Some(range) if range.end == first => range.end = first + rows,
            _ => self.assigned.push(first..first + rows),
        }
    }
}

/// The part of [`Input`] that names points to delete.
pub(crate) fn delete_ids(
    py: Python<'_>,
    handle: &Handle,
    ids: &Bound<'_, PyAny>,
    pool: &Pool,
) -> Result<u64> {
    let deletes = ids::read(ids)?;
    if deletes.is_empty() {
        return Ok(0);
    }
    let schema = handle.engine.view().schema.clone();
    let draft = Draft { deletes, time_ms: SystemClock.now_ms(), ..Draft::default() };
    let applied = handle.change(py, |engine| engine.apply(Batch::new(draft, &schema)?, pool))?;
    Ok(applied.deleted)
}

/// Refuses anything but exactly one of `ids` and `where`.
pub(crate) fn one_of_ids_and_where(ids: bool, filter: bool) -> Result<()> {
    let got = match (ids, filter) {
        (true, false) | (false, true) => return Ok(()),
        (true, true) => "both",
        (false, false) => "neither",
    };
    Err(Failure::fault(Fault::Parameter, "delete", "either ids or where", got))
}
