//! Both encodings against the ids they were made of: every id, ids that are not there, damage, size, chosen ids.

use super::*;
use crate::rng::Rng;
use crate::storage::AlignedBuffer;

const FILE: FileId = FileId(0x1234_5678_9abc_4def_8123_4567_89ab_cdef);

/// The section as format 1 has it. Negative numbers have no form there.
fn encode_fixed(ids: &[PointId]) -> Vec<u8> {
    let (mut values, mut kinds) = (Vec::new(), Vec::new());
    let (mut uuids, mut starts, mut text) = (Vec::new(), vec![0u64], Vec::new());
    for id in ids {
        let (kind, value) = match id {
            PointId::I64(value) => panic!("{value} is no id of format 1"),
            PointId::U64(value) => (KIND_U64, *value),
            PointId::Uuid(value) => {
                uuids.push(*value);
                (KIND_UUID, uuids.len() as u64 - 1)
            }
            PointId::Str(string) => {
                text.extend_from_slice(string.as_bytes());
                starts.push(text.len() as u64);
                (KIND_STR, starts.len() as u64 - 2)
            }
        };
        kinds.push(kind);
        values.push(value);
    }
    let slots = (ids.len() + ids.len() / 2 + 1).next_power_of_two();
    let mut bytes = Vec::new();
    for count in [ids.len(), uuids.len(), starts.len() - 1, 0] {
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }
    for size in [text.len(), slots] {
        bytes.extend_from_slice(&(size as u64).to_le_bytes());
    }
    values.iter().for_each(|value| bytes.extend_from_slice(&value.to_le_bytes()));
    if kinds.iter().any(|kind| *kind != KIND_U64) {
        bytes.extend_from_slice(&kinds);
    }
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    uuids.iter().for_each(|uuid| bytes.extend_from_slice(&uuid.to_le_bytes()));
    starts.iter().for_each(|start| bytes.extend_from_slice(&start.to_le_bytes()));
    bytes.extend_from_slice(&text);
    bytes.resize(bytes.len().next_multiple_of(8), 0);
    let mut table = vec![EMPTY; slots];
    for (row, id) in ids.iter().enumerate() {
        let mut slot = id.hash64() as usize & (slots - 1);
        while table[slot] != EMPTY {
            slot = (slot + 1) & (slots - 1);
        }
        table[slot] = row as u32;
    }
    table.iter().for_each(|slot| bytes.extend_from_slice(&slot.to_le_bytes()));
    bytes
}

fn encode_seeded(ids: &[PointId]) -> Vec<u8> {
    let hash = IdHash::of_file(FILE);
    encode(ids, &ids.iter().map(|id| hash.hash(id)).collect::<Vec<_>>())
}

fn open(bytes: &[u8], rows: usize, encoding: u16) -> Result<IdTable> {
    let hash = hash_of(Some(encoding), FILE);
    IdTable::open("test", AlignedBuffer::copy_of(bytes).into(), rows as u32, hash)
}

/// Finds an id in a table of either encoding.
fn find(table: &IdTable, encoding: u16, id: &PointId) -> Option<RowId> {
    table.find(id, hash_of(Some(encoding), FILE).hash(id))
}

/// Distinct ids of some of the kinds: bit n of `kinds` for kind n.
fn mixed(count: u64, kinds: u8, seed: u64) -> Vec<PointId> {
    let mut rng = Rng::new(seed);
    let mut ids: Vec<PointId> = Vec::new();
    while ids.len() < count as usize {
        let id = match rng.below(4) as u8 {
            kind if kinds >> kind & 1 == 0 => continue,
            KIND_U64 => PointId::U64(rng.next_u64() >> rng.below(64)),
            KIND_UUID => PointId::Uuid(rng.file_id().0),
            KIND_STR => PointId::from_text(&format!("naïve-{}", rng.next_u64())).expect("short"),
            _ => PointId::I64(-1 - (rng.next_u64() >> (1 + rng.below(63))) as i64),
        };
        if !ids.contains(&id) {
            ids.push(id);
        }
    }
    ids
}

#[test]
fn every_id_finds_its_row_and_every_row_its_id_in_both_encodings() {
    let mut cases: Vec<Vec<PointId>> = (1..16).map(|kinds| mixed(300, kinds, 7)).collect();
    cases.extend([
        vec![],
        vec![PointId::U64(u64::MAX)],
        vec![PointId::I64(i64::MIN)],
        vec![PointId::I64(i64::MIN), PointId::U64(u64::MAX), PointId::U64(0), PointId::I64(-1)],
        (0..777).map(PointId::U64).collect(),
        (0..777).rev().map(PointId::U64).collect(),
        (u64::MAX - 99..=u64::MAX).map(PointId::U64).collect(),
        (i64::MIN..i64::MIN + 100).map(PointId::I64).collect(),
        (-100..0).map(PointId::I64).collect(),
        (-50..50).map(PointId::from).collect(),
        (0..100).map(|n| PointId::U64(n << 33)).collect(),
        vec![PointId::U64(5), PointId::U64(5 + (1 << 32))],
    ]);
    for ids in cases {
        let has_negative = ids.iter().any(|id| matches!(id, PointId::I64(_)));
        for encoding in [FIXED, SEEDED] {
            let bytes = match encoding {
                FIXED if has_negative => continue,
                FIXED => encode_fixed(&ids),
                _ => encode_seeded(&ids),
            };
            let table = open(&bytes, ids.len(), encoding).expect("just encoded");
            for (row, id) in ids.iter().enumerate() {
                assert_eq!(find(&table, encoding, id), Some(RowId(row as u32)), "{id}");
                assert_eq!(table.id(RowId(row as u32)), *id);
            }
            let mut others = mixed(100, 15, 8);
            others.extend([0, 1, u64::MAX].map(PointId::U64));
            others.extend([i64::MIN, -1].map(PointId::I64));
            for id in others {
                let row = ids.iter().position(|other| *other == id);
                assert_eq!(find(&table, encoding, &id), row.map(|row| RowId(row as u32)), "{id}");
            }
        }
    }
}

#[test]
fn flipped_bytes_and_cut_sections_never_panic_a_lookup() {
    for (kinds, encoding) in [(15, SEEDED), (1, SEEDED), (2, SEEDED), (4, SEEDED), (7, FIXED)] {
        let ids = mixed(40, kinds, 5);
        let good = if encoding == FIXED { encode_fixed(&ids) } else { encode_seeded(&ids) };
        let look = |bad: &[u8], encoding: u16| {
            let Ok(table) = open(bad, ids.len(), encoding) else { return };
            for (row, id) in ids.iter().enumerate() {
                let _ = (find(&table, encoding, id), table.id(RowId(row as u32)));
            }
        };
        for at in 0..good.len() {
            for flip in [0x55, 0xFF, 0x01, 0x80] {
                let mut bad = good.clone();
                bad[at] ^= flip;
                look(&bad, encoding);
            }
            look(&good[..at], encoding);
        }
        look(&good, SEEDED - encoding);
    }
}

#[test]
fn a_run_that_leaves_its_kind_is_refused() {
    let ids: Vec<PointId> = (0..100).map(PointId::U64).collect();
    let good = encode_seeded(&ids);
    assert_eq!(good.len(), 40, "no values and no slots");
    let with_base = |kind: u8, base: u64| {
        let mut bytes = good.clone();
        bytes[12] = kind;
        bytes[16..24].copy_from_slice(&base.to_le_bytes());
        open(&bytes, 100, SEEDED)
    };
    assert!(with_base(KIND_U64, u64::MAX - 99).is_ok());
    assert!(with_base(KIND_U64, u64::MAX - 98).is_err());
    assert!(with_base(KIND_I64, i64::MIN as u64).is_ok());
    assert!(with_base(KIND_I64, 0).is_err());
    assert!(with_base(KIND_I64, u64::MAX - 98).is_err());
    assert!(with_base(KIND_UUID, 0).is_err());
    assert!(with_base(KIND_STR, 0).is_err());
}

#[test]
fn tables_are_as_small_as_the_ids_allow() {
    let rows = 3_000;
    let bytes_a_row = |ids: &[PointId]| (encode_seeded(ids).len() - 40) / ids.len();
    let mut rng = Rng::new(3);
    let mut distinct = |mask: u64| {
        let mut numbers: Vec<u64> = (0..rows).map(|_| rng.next_u64() & mask).collect();
        numbers.sort_unstable();
        numbers.dedup();
        numbers.rotate_left(1);
        numbers.into_iter().map(PointId::U64).collect::<Vec<_>>()
    };
    assert_eq!(bytes_a_row(&distinct(u64::from(u32::MAX))), 10);
    assert_eq!(bytes_a_row(&distinct(u64::MAX)), 14);
    assert_eq!(bytes_a_row(&mixed(rows, 1 << KIND_UUID, 4)), 22);
    let ids = mixed(rows, 15, 6);
    let number = |id: &&PointId| matches!(id, PointId::I64(_) | PointId::U64(_));
    let without: Vec<PointId> = ids.iter().filter(|id| !number(id)).cloned().collect();
    assert!(encode_seeded(&without).len() < encode_fixed(&without).len());
}

/// The number whose hash of format 1 is `hash`.
fn with_fixed_hash(hash: u64) -> u64 {
    fn unshifted(mixed: u64, shift: u32) -> u64 {
        (1..64 / shift + 1).fold(mixed, |x, _| mixed ^ x >> shift)
    }
    fn inverse(odd: u64) -> u64 {
        (0..6).fold(odd, |x, _| x.wrapping_mul(2u64.wrapping_sub(odd.wrapping_mul(x))))
    }
    let x = unshifted(hash, 31).wrapping_mul(inverse(0x94D0_49BB_1331_11EB));
    let x = unshifted(x, 27).wrapping_mul(inverse(0xBF58_476D_1CE4_E5B9));
    unshifted(x, 30) ^ 0x9E37_79B9_7F4A_7C15
}

#[test]
fn ids_chosen_against_the_hash_of_format_1_cost_as_much_as_random_ones() {
    const ROWS: u64 = 1_000_000;
    fn chosen(low: u64) -> PointId {
        PointId::U64(with_fixed_hash(low << 32 | 0x1234_5678))
    }
    assert_eq!(chosen(77).hash64(), 77 << 32 | 0x1234_5678);
    let mut rng = Rng::new(11);
    let random: Vec<PointId> = (0..ROWS).map(|_| PointId::U64(rng.next_u64())).collect();
    let chosen_ids: Vec<PointId> = (0..ROWS).map(chosen).collect();
    let costs = [random, chosen_ids].map(|ids| {
        let table = open(&encode_seeded(&ids), ids.len(), SEEDED).expect("just encoded");
        let probes = |id: &PointId| table.probe(id, IdHash::of_file(FILE).hash(id)).1;
        let found: usize = ids.iter().map(probes).sum();
        let missed: usize = (ROWS..2 * ROWS).map(|low| probes(&chosen(low))).sum();
        let longest = ids.iter().map(probes).max().expect("there are ids");
        (found as f64 / ROWS as f64, missed as f64 / ROWS as f64, longest)
    });
    let [of_random, of_chosen] = costs;
    println!("probes (found, missed, longest): random {of_random:?}, chosen {of_chosen:?}");
    assert!(of_chosen.0 < 1.05 * of_random.0 && of_chosen.1 < 1.05 * of_random.1, "{costs:?}");
    assert!(of_chosen.2 < 200, "{costs:?}");
    // The table of format 1 puts such ids into one run.
    let few: Vec<PointId> = (0..2_000).map(chosen).collect();
    let fixed = open(&encode_fixed(&few), few.len(), FIXED).expect("just encoded");
    assert!(few.iter().map(|id| fixed.probe(id, id.hash64()).1).sum::<usize>() > 1_000 * few.len());
}
