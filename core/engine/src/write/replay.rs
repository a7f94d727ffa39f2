//! `Replay`: applies the batches of a log to a `State` and gathers the rows of many into one segment in memory. Used
//! by recovery, `Follower` and `rebuild`.
//!
//! A batch that is written becomes a segment at once, because a query may come next, and merges build its rows again
//! for each size class. Nothing queries a state while it is replayed, so most rows are built once here. An id is in a
//! segment once: a batch that writes one again begins the next segment.

use std::collections::HashMap;
use std::sync::Arc;

use nearfield_segment::segment::SegmentBuilder;
use nearfield_segment::{FileId, Lsn, PointId, Result, RowId, Schema};

use crate::write::batch::{self, Batch};
use crate::write::state::{MERGED_ROWS_MAX, State, push_rows};

/// Most bytes of batches that are gathered: vectors and metadata of the segment that is being built.
const GATHERED_BYTES_MAX: usize = 8 << 20;

/// Gathered rows that are not in the state yet: [`finish`](Replay::finish) must follow the last batch.
#[derive(Debug, Default)]
pub(crate) struct Replay {
    gathered: Option<Gathered>,
}

#[derive(Debug)]
struct Gathered {
    builder: SegmentBuilder,
    /// The row of each id; `None` once it was deleted.
    rows: HashMap<PointId, Option<RowId>>,
    /// Rows that were deleted since, in LSN order.
    deletes: Vec<(RowId, Lsn)>,
    bytes: usize,
}

impl Replay {
    /// Applies the batch with this body, as a log has it. O(rows of the batch × log ids of the segments).
    ///
    /// # Errors
    /// `Corrupt` if the body is no batch; as [`State::prepare`]. The state is of no more use then.
    pub(crate) fn add(&mut self, state: &mut State, lsn: Lsn, body: &[u8]) -> Result<()> {
        let schema = Arc::clone(&state.schema);
        let batch = batch::decode(body, &schema)
            .map_err(|error| error.context(format!("batch at LSN {lsn}")))?;
        let capacity = capacity(&schema);
        // The rows of a segment have the fields that were declared when it was begun.
        let is_alone = batch.rows() > capacity || !batch.fields().is_empty();
        let fits = |gathered: &Gathered| {
            gathered.builder.rows() + batch.rows() <= capacity
                && gathered.bytes + body.len() <= GATHERED_BYTES_MAX
                && !batch.ids().iter().any(|id| gathered.rows.contains_key(id))
        };
        if is_alone || !self.gathered.as_ref().is_some_and(fits) {
            self.finish(state)?;
        }
        if is_alone {
            return state.apply(lsn, &batch).map(drop);
        }
        let start = || Gathered::new(state.rng.file_id(), &schema, capacity);
        let gathered = self.gathered.get_or_insert_with(start);
        gathered.bytes += body.len();
        gathered.add(state, lsn, &batch)
    }

    /// Adds what was gathered to the state.
    ///
    /// # Errors
    /// As [`State::prepare`].
    pub(crate) fn finish(&mut self, state: &mut State) -> Result<()> {
        let Some(Gathered { builder, deletes, .. }) = self.gathered.take() else { return Ok(()) };
        if builder.rows() == 0 {
            return Ok(());
        }
        let segment = state.in_memory(builder)?;
        state.add_segment(segment, deletes)
    }
}

impl Gathered {
    fn new(id: FileId, schema: &Schema, capacity: usize) -> Gathered {
        let builder = SegmentBuilder::new(id, schema, capacity);
        Gathered { builder, rows: HashMap::new(), deletes: Vec::new(), bytes: 0 }
    }

    fn add(&mut self, state: &mut State, lsn: Lsn, batch: &Batch<'_>) -> Result<()> {
        state.account(lsn, batch, &mut |state, ids| {
            let mut killed = state.delete_points(ids, lsn)?;
            for (id, killed) in ids.iter().zip(&mut killed) {
                if let Some(row) = self.rows.get_mut(id).and_then(Option::take) {
                    self.deletes.push((row, lsn));
                    *killed = true;
                }
            }
            Ok(killed)
        })?;
        if batch.rows() == 0 {
            return Ok(());
        }
        let rows = (self.builder.rows() as u32..).map(|row| Some(RowId(row)));
        self.rows.extend(batch.ids().iter().cloned().zip(rows));
        push_rows(&mut self.builder, &state.schema, batch)
    }
}

/// Rows of a segment that is gathered.
fn capacity(schema: &Schema) -> usize {
    let row_bytes: usize = schema.vectors.values().map(|spec| spec.dim as usize * 4).sum();
    (GATHERED_BYTES_MAX / row_bytes.max(1)).clamp(1, MERGED_ROWS_MAX as usize)
}
