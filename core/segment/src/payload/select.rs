//! Scans the values of a column and returns the matching rows as a `RowSet`: 64 comparisons become one word of the
//! set. Called by `Column`.
//!
//! The compare loops have a fixed length and no branch, so that the compiler turns them into vector
//! instructions; flags of one byte are then gathered into bits by a multiplication.

use super::values::{Owners, Values};
use crate::rowset::RowSet;

/// Up to this many wanted values are looked for one by one: a pass of vector compares costs about a tenth of
/// one with a look-up per value.
const PASSES_MAX: usize = 8;

/// Adds the owners of values from `low` to `high`, both included. Integers only.
pub(super) fn distances(
    values: Values<'_>,
    owners: &Owners<'_>,
    low: u64,
    high: u64,
    out: &mut RowSet,
) {
    match values {
        Values::One(values) => {
            let Ok(low) = u8::try_from(low) else { return };
            let span = u8::try_from(high).unwrap_or(u8::MAX) - low;
            matching(values, owners, out, |v| v.wrapping_sub(low) <= span);
        }
        Values::Two(values) => {
            let Ok(low) = u16::try_from(low) else { return };
            let span = u16::try_from(high).unwrap_or(u16::MAX) - low;
            matching(values, owners, out, |v| v.wrapping_sub(low) <= span);
        }
        Values::Four(values) => {
            let Ok(low) = u32::try_from(low) else { return };
            let span = u32::try_from(high).unwrap_or(u32::MAX) - low;
            matching(values, owners, out, |v| v.wrapping_sub(low) <= span);
        }
        Values::Eight(values) => {
            let span = high - low;
            matching(values, owners, out, |v| v.wrapping_sub(low) <= span);
        }
        Values::Floats(_) => {}
    }
}

/// Adds the owners of values that are in `wanted`, which is sorted. Integers only.
pub(super) fn any_distance(
    values: Values<'_>,
    owners: &Owners<'_>,
    wanted: &[u64],
    out: &mut RowSet,
) {
    if wanted.len() <= PASSES_MAX {
        for value in wanted {
            distances(values, owners, *value, *value, out);
        }
        return;
    }
    let is_wanted = |value: u64| wanted.binary_search(&value).is_ok();
    match values {
        Values::One(values) => {
            let table = table_of(wanted, usize::from(u8::MAX));
            matching(values, owners, out, |v| table[usize::from(v)]);
        }
        Values::Two(values) => {
            let table = table_of(wanted, usize::from(u16::MAX));
            matching(values, owners, out, |v| table[usize::from(v)]);
        }
        Values::Four(values) => matching(values, owners, out, |v| is_wanted(v.into())),
        Values::Eight(values) => matching(values, owners, out, is_wanted),
        Values::Floats(_) => {}
    }
}

/// For each value up to `greatest` whether it is wanted.
fn table_of(wanted: &[u64], greatest: usize) -> Vec<bool> {
    let mut table = vec![false; greatest + 1];
    for value in wanted.iter().filter_map(|value| usize::try_from(*value).ok()) {
        if let Some(slot) = table.get_mut(value) {
            *slot = true;
        }
    }
    table
}

/// Adds the owners of the values that pass `test`.
pub(super) fn matching<T: Copy>(
    values: &[T],
    owners: &Owners<'_>,
    out: &mut RowSet,
    test: impl Fn(T) -> bool,
) {
    match owners {
        Owners::Listed(rows) => matching_listed(values, rows, out, test),
        Owners::Dense(present) => matching_dense(values, present, out, test),
    }
}

fn matching_dense<T: Copy>(
    values: &[T],
    present: &RowSet,
    out: &mut RowSet,
    test: impl Fn(T) -> bool,
) {
    let (chunks, rest) = values.as_chunks::<64>();
    let mut words = out.words_mut().iter_mut().zip(present.words());
    for (chunk, (word, present)) in chunks.iter().zip(&mut words) {
        let mut flags = [0; 64];
        for (flag, value) in flags.iter_mut().zip(chunk) {
            *flag = u8::from(test(*value));
        }
        *word |= gather(&flags) & present;
    }
    if let Some((word, present)) = words.next() {
        let mut flags = [0; 64];
        for (flag, value) in flags.iter_mut().zip(rest) {
            *flag = u8::from(test(*value));
        }
        *word |= gather(&flags) & present;
    }
}

/// `rows` is ascending, so the bits of a word are gathered before it is written, without a branch on the
/// test: its outcome cannot be predicted.
fn matching_listed<T: Copy>(
    values: &[T],
    rows: &[u32],
    out: &mut RowSet,
    test: impl Fn(T) -> bool,
) {
    let words = out.words_mut();
    let mut index = 0;
    let mut bits = 0;
    for (value, row) in values.iter().zip(rows) {
        let row = *row as usize;
        if row / 64 != index {
            add(words, index, bits);
            (index, bits) = (row / 64, 0);
        }
        bits |= u64::from(test(*value)) << (row % 64);
    }
    add(words, index, bits);
}

/// Adds rows. Their number was checked; a page of a map may have rotted since.
fn add(words: &mut [u64], index: usize, bits: u64) {
    if let Some(word) = words.get_mut(index) {
        *word |= bits;
    }
}

/// Bit `i` of the result is `flags[i]`, each 0 or 1.
fn gather(flags: &[u8; 64]) -> u64 {
    let (eights, _) = flags.as_chunks::<8>();
    eights.iter().enumerate().fold(0, |word, (index, eight)| {
        // Each flag is moved to its own bit of the highest byte; no two products meet below it.
        let bits = u64::from_le_bytes(*eight).wrapping_mul(0x0102_0408_1020_4080) >> 56;
        word | bits << (8 * index)
    })
}
