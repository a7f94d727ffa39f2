//! `Allowed`: which rows a search may return: all, all but the dead, or those of a set. Made by `search` for
//! each source; the exact scan and the graph search test rows with `contains`.

use crate::ids::RowId;
use crate::rowset::{DeadRows, RowSet};

/// A test of rows, cheap enough for the inner loop.
#[derive(Debug, Clone, Copy)]
pub enum Allowed<'a> {
    /// Every row.
    All,
    /// Every row that is not dead.
    Except(&'a DeadRows),
    /// The rows of the set.
    Only(&'a RowSet),
}

impl Allowed<'_> {
    /// Whether a search may return the row.
    #[inline]
    pub fn contains(self, row: RowId) -> bool {
        match self {
            Allowed::All => true,
            Allowed::Except(dead) => !dead.contains(row),
            Allowed::Only(rows) => rows.contains(row),
        }
    }
}
