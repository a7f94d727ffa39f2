//! Assigns ids to points that were upserted without one: growing numbers, never used twice. [`NextId::take`] is called
//! by `Batch::assign_ids`.
//!
//! `NextId` is larger than every number id the collection has ever held, given or assigned. It is part of each batch
//! and of each manifest, so that neither a crash nor a replay to an earlier LSN can assign an id a second time.

use nearfield_segment::{Error, Fault, PointId, Result};
use serde::{Deserialize, Serialize};

/// The next number to assign; `None` if no id is left, because 2⁶⁴ − 1 has been used. JSON: a number or `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NextId(Option<u64>);

impl NextId {
    /// A collection that has seen no number id.
    pub const FIRST: NextId = NextId(Some(0));
    /// A collection that has seen 2⁶⁴ − 1: no id is left to assign.
    pub const EXHAUSTED: NextId = NextId(None);

    /// The state that assigns `next` first.
    pub fn starting_at(next: u64) -> Self {
        NextId(Some(next))
    }

    /// The id the next assignment begins with.
    pub fn get(self) -> Option<u64> {
        self.0
    }

    /// Raises the next number above `id`. Negative numbers, UUIDs and strings do not change it.
    pub fn raise_above(&mut self, id: &PointId) {
        if let (PointId::U64(used), Some(next)) = (id, self.0)
            && *used >= next
        {
            self.0 = used.checked_add(1);
        }
    }

    /// Takes `count` consecutive ids and returns the first of them.
    ///
    /// # Errors
    /// `InvalidInput(Id)` if fewer than `count` numbers are left; nothing is taken then.
    pub fn take(&mut self, count: u64) -> Result<u64> {
        let first = self.0.unwrap_or(u64::MAX);
        let left = self.0.map_or(0, |next| u128::from(u64::MAX - next) + 1);
        if u128::from(count) > left {
            return Err(Error::invalid(
                Fault::Id,
                format!(
                    "cannot assign {count} ids: only {left} numbers above the highest id are left \
                     below 2^64; give the ids explicitly"
                ),
            )
            .with("expected", "explicit ids")
            .with("got", count));
        }
        self.0 = first.checked_add(count);
        Ok(first)
    }

    /// The higher of two states.
    #[must_use]
    pub fn max(self, other: NextId) -> NextId {
        match (self.0, other.0) {
            (Some(a), Some(b)) => NextId(Some(a.max(b))),
            (None, _) | (_, None) => NextId::EXHAUSTED,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn assigned_ids_stand_above_every_number_seen() {
        let mut next = NextId::FIRST;
        next.raise_above(&PointId::U64(41));
        next.raise_above(&PointId::U64(7));
        next.raise_above(&PointId::Uuid(u128::MAX));
        assert_eq!(next.take(3).expect("there are enough"), 42);
        assert_eq!(next.get(), Some(45));
    }

    #[test]
    fn the_largest_number_is_legal_and_ends_assignment() {
        let mut next = NextId::starting_at(u64::MAX - 1);
        assert!(next.take(3).is_err());
        assert_eq!(next.take(2).expect("exactly two are left"), u64::MAX - 1);
        assert_eq!(next, NextId::EXHAUSTED);
        assert!(next.take(1).is_err());
        assert!(next.take(0).is_ok());
        let mut given = NextId::FIRST;
        given.raise_above(&PointId::U64(u64::MAX));
        assert_eq!(given.max(NextId::FIRST), NextId::EXHAUSTED);
    }
}
