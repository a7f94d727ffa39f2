//! `encode` (ids and their hashes → bytes) writes the ids of a segment in the fewest bytes that encoding 1 allows.
//! Called by `SegmentBuilder`.

use super::EMPTY;
use super::layout::{Layout, Sizes, slots_for};
use crate::ids::{KIND_I64, KIND_STR, KIND_U64, KIND_UUID, PointId};

/// Encodes the ids of a segment, in row order, with the hash of each. The ids must be distinct.
pub(crate) fn encode(ids: &[PointId], hashes: &[u64]) -> Vec<u8> {
    let Parts { values, kinds, uuids, starts, text } = Parts::of(ids);
    let first = kinds.first().copied().unwrap_or(KIND_U64);
    let kind = kinds.iter().all(|kind| *kind == first).then_some(first);
    // Indexes and numbers of several kinds count from 0, so that one base serves them.
    let base = match kind {
        Some(_) => values.iter().copied().min().unwrap_or(0),
        None => 0,
    };
    let greatest = values.iter().map(|value| value - base).max().unwrap_or(0);
    let mut rows = (0..).zip(&values);
    let is_run = kind.is_some() && rows.all(|(row, value)| value - base == row);
    let value_bytes = match greatest {
        _ if is_run => 0,
        0..=0xFFFF_FFFF => 4,
        _ => 8,
    };
    let sizes = Sizes {
        rows: ids.len() as u32,
        uuids: uuids.len() as u32,
        strings: starts.len().saturating_sub(1) as u32,
        kind,
        value_bytes,
        start_bytes: if u32::try_from(text.len()).is_ok() { 4 } else { 8 },
        base,
        text_len: text.len() as u64,
    };
    let mut bytes = sizes.header();
    let mut put = |value: u64, width: u8| {
        bytes.extend_from_slice(&value.to_le_bytes()[..usize::from(width)]);
    };
    values.iter().for_each(|value| put(value - base, value_bytes));
    if kind.is_none() {
        bytes.extend_from_slice(&kinds);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    uuids.iter().for_each(|uuid| bytes.extend_from_slice(&uuid.to_le_bytes()));
    let start_bytes = usize::from(sizes.start_bytes);
    starts.iter().for_each(|start| bytes.extend_from_slice(&start.to_le_bytes()[..start_bytes]));
    bytes.extend_from_slice(&text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let len = bytes.len() as u64 + 4 * slots_for(&sizes);
    let layout = Layout::new(&sizes, len).expect("the arrays have these sizes");
    let slots = fill_slots(hashes, &layout);
    slots.iter().for_each(|row| bytes.extend_from_slice(&row.to_le_bytes()));
    bytes
}

/// The arrays of a section.
#[derive(Default)]
struct Parts {
    values: Vec<u64>,
    kinds: Vec<u8>,
    uuids: Vec<u128>,
    starts: Vec<u64>,
    text: Vec<u8>,
}

impl Parts {
    fn of(ids: &[PointId]) -> Parts {
        let mut parts = Parts::default();
        parts.values.reserve_exact(ids.len());
        parts.kinds.reserve_exact(ids.len());
        for id in ids {
            let (kind, value) = match id {
                PointId::I64(value) => (KIND_I64, *value as u64),
                PointId::U64(value) => (KIND_U64, *value),
                PointId::Uuid(value) => {
                    parts.uuids.push(*value);
                    (KIND_UUID, parts.uuids.len() as u64 - 1)
                }
                PointId::Str(string) => {
                    if parts.starts.is_empty() {
                        parts.starts.push(0);
                    }
                    parts.text.extend_from_slice(string.as_bytes());
                    parts.starts.push(parts.text.len() as u64);
                    (KIND_STR, parts.starts.len() as u64 - 2)
                }
            };
            parts.kinds.push(kind);
            parts.values.push(value);
        }
        parts
    }
}

fn fill_slots(hashes: &[u64], layout: &Layout) -> Vec<u32> {
    let mut table = vec![EMPTY; layout.slots];
    if layout.is_run() {
        return table;
    }
    for (row, hash) in hashes.iter().enumerate() {
        let mut slot = layout.first_slot(*hash);
        while table[slot] != EMPTY {
            slot = if slot + 1 == table.len() { 0 } else { slot + 1 };
        }
        table[slot] = row as u32;
    }
    table
}
