//! Ids given to points that came without one: growing numbers, never used twice.
//!
//! The mark stands above every number id the collection has ever seen, given or assigned. It is part of
//! each batch and of each manifest, so that neither a crash nor a replay to an earlier LSN can hand out
//! an id a second time.

use nearfield_segment::{Error, Fault, PointId, Result};
use serde::{Deserialize, Serialize};

/// The next number to assign, or `None` once 2⁶⁴ − 1 has been used. JSON: a number or `null`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct NextId(Option<u64>);

impl NextId {
    /// A collection that has seen no number id.
    pub const FIRST: NextId = NextId(Some(0));
    /// A collection that has seen 2⁶⁴ − 1: nothing can be assigned any more.
    pub const EXHAUSTED: NextId = NextId(None);

    /// A mark that assigns `next` first.
    pub fn starting_at(next: u64) -> Self {
        NextId(Some(next))
    }

    /// The id the next assignment begins with.
    pub fn get(self) -> Option<u64> {
        self.0
    }

    /// Raises the mark above `id`. UUIDs and strings do not move it.
    pub fn note(&mut self, id: &PointId) {
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

    /// The higher of two marks.
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
        next.note(&PointId::U64(41));
        next.note(&PointId::U64(7));
        next.note(&PointId::Uuid(u128::MAX));
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
        given.note(&PointId::U64(u64::MAX));
        assert_eq!(given.max(NextId::FIRST), NextId::EXHAUSTED);
    }
}
