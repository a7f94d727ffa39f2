//! `Applied`: what a batch changed, as a whole and by row (`RowOutcome`). Returned by `Writer::apply_all`;
//! the bindings make their answers of it.

use nearfield_segment::{Lsn, PointId};

/// What a batch changed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Applied {
    /// Its position in the log; of a batch that was not logged because every row was known, a position at
    /// or behind those of its rows.
    pub lsn: Lsn,
    /// Points that are new.
    pub inserted: u64,
    /// Points that replaced one of the same id.
    pub replaced: u64,
    /// Points that were removed.
    pub deleted: u64,
    /// The id given to the first point that was written, if the batch came without; those of the others
    /// count up from it.
    pub first_assigned: Option<u64>,
    /// What became of each row, in row order. One byte each.
    pub rows: Vec<RowOutcome>,
    /// Ids of the rows that were left out because their own keys are known, in row order.
    pub known_ids: Vec<PointId>,
    /// The key of the batch was known: nothing was written, the numbers are those of the first time, and
    /// every row counts as repeated.
    pub repeated: bool,
}

/// What became of a row.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum RowOutcome {
    /// The point is new.
    Inserted,
    /// It replaced one of the same id.
    Replaced,
    /// It was not written: its key, or that of its batch, had been used before.
    Repeated,
}

impl Applied {
    /// The id of each row and what became of it, in row order; `given` are the ids the batch came with.
    ///
    /// # Panics
    /// If `given` are not those: fewer than rows.
    pub fn points<'a>(
        &'a self,
        given: Option<&'a [PointId]>,
    ) -> impl Iterator<Item = (PointId, RowOutcome)> + 'a {
        let mut assigned = self.first_assigned.unwrap_or_default()..=u64::MAX;
        let mut known_ids = self.known_ids.iter();
        self.rows.iter().enumerate().map(move |(row, &outcome)| {
            let known = if outcome == RowOutcome::Repeated { known_ids.next() } else { None };
            let id = match (known, given) {
                (Some(id), _) => id.clone(),
                (None, Some(given)) => given[row].clone(),
                (None, None) => PointId::U64(assigned.next().expect("the last id ends assignment")),
            };
            (id, outcome)
        })
    }
}
