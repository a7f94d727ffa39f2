//! `Retention`: decides which audit rows are dropped once there are too many, the oldest ones of the key that has the
//! most. Used by the thread of `audit`.
//!
//! *Invariant.* As long as a key has fewer rows than another key, it loses none. Within a key the same holds for
//! actions: its reads do not displace its writes. Rows without a key count as those of one more key.
//!
//! Sums are kept in memory and read from the table once. Rows are numbered upwards and each unit (a key and an
//! action) is dropped from its oldest end, so the place of that end is kept too, and no index is needed.

use std::cmp::Reverse;
use std::collections::BTreeMap;

use rusqlite::{Connection, Transaction, params};

use super::sqlite::Done;
use super::token::KeyId;

/// Rows dropped at least before it is decided anew which unit has the most.
const ROWS_AT_ONCE: u64 = 10;

/// A key and an action.
type Unit = (Option<KeyId>, String);

/// How many rows there are of each unit.
#[derive(Debug, Clone, Default)]
pub(super) struct Retention {
    units: BTreeMap<Unit, Rows>,
}

#[derive(Debug, Clone, Copy)]
struct Rows {
    count: u64,
    /// No row of the unit has a smaller number.
    oldest: i64,
}

impl Retention {
    /// Counts the rows of the table. O(rows).
    pub(super) fn read(connection: &Connection) -> Done<Retention> {
        let text =
            "SELECT key_id, action, count(*), min(number) FROM audit GROUP BY key_id, action";
        let mut statement = connection.prepare(text)?;
        let units = statement.query_map([], |row| {
            Ok(((row.get(0)?, row.get(1)?), Rows { count: row.get(2)?, oldest: row.get(3)? }))
        })?;
        Ok(Retention { units: units.collect::<rusqlite::Result<_>>()? })
    }

    /// A row was added.
    pub(super) fn added(&mut self, key_id: Option<KeyId>, action: &str, number: i64) {
        let rows = self.units.entry((key_id, action.to_owned()));
        rows.or_insert(Rows { count: 0, oldest: number }).count += 1;
    }

    /// Drops rows until there are `rows_max`, at most `dropped_max` of them.
    pub(super) fn prune(
        &mut self,
        change: &Transaction<'_>,
        rows_max: u64,
        dropped_max: u64,
    ) -> Done<()> {
        let all: u64 = self.units.values().map(|rows| rows.count).sum();
        let mut excess = all.saturating_sub(rows_max).min(dropped_max);
        while excess > 0 {
            let Some((unit, ahead)) = self.largest() else { break };
            let count = excess.min(ahead.max(ROWS_AT_ONCE));
            excess -= count;
            self.drop_oldest(change, unit, count)?;
        }
        Ok(())
    }

    /// Of the key with the most rows the action with the most, and how many it has more than the next one.
    fn largest(&self) -> Option<(Unit, u64)> {
        let mut by_key: BTreeMap<Option<KeyId>, Rows> = BTreeMap::new();
        for ((key_id, _), rows) in &self.units {
            let sum = by_key.entry(*key_id).or_insert(Rows { count: 0, oldest: rows.oldest });
            sum.count += rows.count;
            sum.oldest = sum.oldest.min(rows.oldest);
        }
        let (largest, keys_ahead) = first(by_key.into_iter())?;
        let units = self.units.iter().filter(|((key_id, _), _)| *key_id == largest);
        let (unit, units_ahead) = first(units.map(|(unit, rows)| (unit, *rows)))?;
        Some((unit.clone(), keys_ahead.min(units_ahead)))
    }

    fn drop_oldest(&mut self, change: &Transaction<'_>, unit: Unit, count: u64) -> Done<()> {
        let text = "DELETE FROM audit WHERE number IN (
                        SELECT number FROM audit
                        WHERE number >= ?1 AND key_id IS ?2 AND action = ?3
                        ORDER BY number LIMIT ?4) RETURNING number";
        let Some(rows) = self.units.get_mut(&unit) else { return Ok(()) };
        let mut statement = change.prepare_cached(text)?;
        let dropped =
            statement.query_map(params![rows.oldest, unit.0, unit.1, count], |row| row.get(0))?;
        let dropped: Vec<i64> = dropped.collect::<rusqlite::Result<_>>()?;
        // Rows that another process dropped are missing here and in the table.
        rows.count =
            if (dropped.len() as u64) < count { 0 } else { rows.count.saturating_sub(count) };
        match dropped.into_iter().max() {
            Some(newest) if rows.count > 0 => rows.oldest = newest + 1,
            Some(_) | None => drop(self.units.remove(&unit)),
        }
        Ok(())
    }
}

/// The one with the most rows, of equals the one with the oldest; and how many more it has than the next.
fn first<T>(all: impl Iterator<Item = (T, Rows)>) -> Option<(T, u64)> {
    let mut all: Vec<(T, Rows)> = all.collect();
    all.sort_by_key(|(_, rows)| (Reverse(rows.count), rows.oldest));
    let next = all.get(1).map_or(0, |(_, rows)| rows.count);
    let (first, rows) = all.into_iter().next()?;
    Some((first, rows.count - next))
}
