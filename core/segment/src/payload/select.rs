//! Passes over the values of a column: 64 compares become one word of a row set.
//!
//! The compare loops have a fixed length and no branch, so that the compiler turns them into vector
//! instructions; flags of one byte are then gathered into bits by a multiplication.

use super::column::{Owners, Values};
use crate::rowset::RowSet;

/// Lists of at most this many wanted values are scanned for one by one.
const PASSES_MAX: usize = 4;

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
        Values::One(values) => matching(values, owners, out, |v| is_wanted(v.into())),
        Values::Two(values) => matching(values, owners, out, |v| is_wanted(v.into())),
        Values::Four(values) => matching(values, owners, out, |v| is_wanted(v.into())),
        Values::Eight(values) => matching(values, owners, out, is_wanted),
        Values::Floats(_) => {}
    }
}

/// Adds the owners of the values that pass `test`.
pub(super) fn matching<T: Copy>(
    values: &[T],
    owners: &Owners<'_>,
    out: &mut RowSet,
    test: impl Fn(T) -> bool,
) {
    match owners {
        Owners::Listed(rows) => Owners::add_listed(rows, |index| test(values[index]), out),
        Owners::Dense(present) => {
            let (chunks, rest) = values.as_chunks::<64>();
            let words = out.words_mut().iter_mut().zip(present.words());
            let mut last = [0; 64];
            let mut ends = words;
            for (chunk, (word, present)) in chunks.iter().zip(&mut ends) {
                let mut flags = [0; 64];
                for (flag, value) in flags.iter_mut().zip(chunk) {
                    *flag = u8::from(test(*value));
                }
                *word |= gather(&flags) & present;
            }
            for (flag, value) in last.iter_mut().zip(rest) {
                *flag = u8::from(test(*value));
            }
            if let Some((word, present)) = ends.next() {
                *word |= gather(&last) & present;
            }
        }
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
