//! `Values` and `Owners`: the borrowed arrays of one `Column`: its values in their stored width, and the row
//! of each. Made by `Column::new`, scanned by `select`. Integers, booleans and string codes are stored as
//! offsets from the column's smallest value (`Column::base`); floats as they are.

use crate::rowset::RowSet;

/// The values in their stored width.
#[derive(Debug, Clone, Copy)]
pub(super) enum Values<'a> {
    One(&'a [u8]),
    Two(&'a [u16]),
    Four(&'a [u32]),
    Eight(&'a [u64]),
    Floats(&'a [f64]),
}

/// Which row each value belongs to.
#[derive(Debug, Clone)]
pub(super) enum Owners<'a> {
    /// One value a row; the set says which rows have it.
    Dense(RowSet),
    /// The row of each value, ascending.
    Listed(&'a [u32]),
}

impl Values<'_> {
    pub(super) fn len(&self) -> usize {
        match self {
            Values::One(values) => values.len(),
            Values::Two(values) => values.len(),
            Values::Four(values) => values.len(),
            Values::Eight(values) => values.len(),
            Values::Floats(values) => values.len(),
        }
    }

    pub(super) fn are_finite(&self) -> bool {
        match self {
            Values::Floats(values) => values.iter().all(|value| value.is_finite()),
            Values::One(_) | Values::Two(_) | Values::Four(_) | Values::Eight(_) => true,
        }
    }

    /// The greatest distance; 0 of floats and of nothing.
    pub(super) fn greatest(&self) -> u64 {
        match self {
            Values::One(values) => values.iter().copied().max().map_or(0, u64::from),
            Values::Two(values) => values.iter().copied().max().map_or(0, u64::from),
            Values::Four(values) => values.iter().copied().max().map_or(0, u64::from),
            Values::Eight(values) => values.iter().copied().max().unwrap_or(0),
            Values::Floats(_) => 0,
        }
    }
}
