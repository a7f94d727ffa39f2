//! `Replay`: applies the batches of a log to a `State` and gathers the rows of many into one segment in memory. Used
//! by recovery, `Follower` and `rebuild`.
//!
//! A batch that is written becomes a segment at once, because a query may come next, and merges build its rows again
//! for each size class. Nothing queries a state while it is replayed, so most rows are built once here. An id is in a
//! segment once: a batch that writes one again begins the next segment.

use std::collections::HashMap;
use std::sync::Arc;

use nearfield_segment::segment::SegmentBuilder;
use nearfield_segment::{Lsn, PointId, Result, RowId, Schema};

use crate::write::batch::{self, Batch, RowOutcome};
use crate::write::state::{MERGED_ROWS_MAX, State, push_rows};

/// The browser's package, whose logs are short, gathers nothing: it is smaller so.
const GATHERS: bool = cfg!(feature = "fs");
/// Most bytes of vectors in a segment that is gathered, and of bodies in it unless the first is longer.
const GATHERED_BYTES_MAX: usize = 8 << 20;
/// A segment has room for so many times the rows of the one before it, or of its first batch: memory follows the log.
const GROWTH: usize = 8;

/// Gathered rows that are not in the state yet: [`finish`](Replay::finish) must follow the last batch.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    gathered: Option<Gathered>,
    /// Rows of the last segment that was full.
    last_rows: usize,
}

#[derive(Debug)]
struct Gathered {
    builder: SegmentBuilder,
    rows_max: usize,
    /// The row of each id; `None` once it was deleted.
    rows: HashMap<PointId, Option<RowId>>,
    /// Rows that were deleted since, in LSN order.
    deletes: Vec<(RowId, Lsn)>,
    bytes: usize,
}

impl Replay {
    /// Applies the batch with this body, as encoded in a log frame. O((rows + deletes) × segments).
    ///
    /// # Errors
    /// `Corrupt` if the body is no batch; as [`State::prepare`]. The caller must discard the state then.
    pub(crate) fn add(&mut self, state: &mut State, lsn: Lsn, body: &[u8]) -> Result<()> {
        let schema = Arc::clone(&state.schema);
        let batch = batch::decode(body, &schema)
            .map_err(|error| error.context(format!("batch at LSN {lsn}")))?;
        if !GATHERS {
            return state.apply(lsn, &batch).map(drop);
        }
        let rows_max = rows_max(&schema);
        let is_repeated =
            |gathered: &Gathered| batch.ids().iter().any(|id| gathered.rows.contains_key(id));
        // The rows of a segment have the fields that were declared when it was begun.
        let is_alone = batch.rows() > rows_max || !batch.fields().is_empty();
        if is_alone || self.gathered.as_ref().is_some_and(is_repeated) {
            self.finish(state)?;
            self.last_rows = 0;
        }
        let is_full = |gathered: &Gathered| {
            gathered.builder.rows() + batch.rows() > gathered.rows_max
                || gathered.bytes + body.len() > GATHERED_BYTES_MAX
        };
        if let Some(full) = self.gathered.as_ref().filter(|gathered| is_full(gathered)) {
            self.last_rows = full.builder.rows();
            self.finish(state)?;
        }
        if is_alone || (batch.rows() == 0 && self.gathered.is_none()) {
            return state.apply(lsn, &batch).map(drop);
        }
        let gathered = self.gathered.get_or_insert_with(|| {
            let rows_max = rows_max.min(GROWTH * self.last_rows.max(batch.rows()));
            let builder = SegmentBuilder::new(state.rng.file_id(), &schema, rows_max);
            let (rows, deletes) = (HashMap::new(), Vec::new());
            Gathered { builder, rows_max, rows, deletes, bytes: 0 }
        });
        gathered.bytes += body.len();
        gathered.add(state, lsn, &batch)
    }

    /// Bytes of the batches that are not in the state yet.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.gathered.as_ref().map_or(0, |gathered| gathered.bytes as u64)
    }

    /// Adds what was gathered to the state.
    ///
    /// # Errors
    /// As [`State::prepare`].
    pub(crate) fn finish(&mut self, state: &mut State) -> Result<()> {
        if !GATHERS {
            return Ok(());
        }
        let Some(Gathered { builder, deletes, .. }) = self.gathered.take() else { return Ok(()) };
        let segment = state.in_memory(builder)?;
        state.add_segment(segment, deletes)
    }
}

impl Gathered {
    fn add(&mut self, state: &mut State, lsn: Lsn, batch: &Batch<'_>) -> Result<()> {
        state.account(lsn, batch, |state, ids| {
            let mut outcomes = state.delete_points(ids, lsn)?;
            for (id, outcome) in ids.iter().zip(&mut outcomes) {
                if let Some(row) = self.rows.get_mut(id).and_then(Option::take) {
                    self.deletes.push((row, lsn));
                    *outcome = RowOutcome::Replaced;
                }
            }
            Ok(outcomes)
        })?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let rows = (self.builder.rows() as u32..).map(|row| Some(RowId(row)));
        self.rows.extend(batch.ids().iter().cloned().zip(rows));
        push_rows(&mut self.builder, &state.schema, batch)
    }
}

/// Most rows of a segment that is gathered.
fn rows_max(schema: &Schema) -> usize {
    let row_bytes: usize = schema.vectors.values().map(|spec| spec.dim as usize * 4).sum();
    (GATHERED_BYTES_MAX / row_bytes.max(1)).clamp(1, MERGED_ROWS_MAX as usize)
}
