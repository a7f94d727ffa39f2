//! The file of idempotency keys that a checkpoint writes: the keys remembered at a manifest's checkpoint LSN.
//! Immutable. Written by `Task`, read by recovery.
//!
//! `segments/keys-<cut, 20 digits>.keys`. Little-endian.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 8 | magic `NEARKEY\n` |
//! | 8 | 4 | version, 1 |
//! | 12 | 4 | CRC32C of bytes 0..12 and 16..end |
//! | 16 | 16 | collection id |
//! | 32 | 8 | cut: no key is newer |
//! | 40 | 8 | newest LSN that brought a key |
//! | 48 | 4 | keys of batches |
//! | 52 | 4 | keys of rows |
//! | 56 | 8 | zero |
//! | 64 | … | keys of batches, then keys of rows, each oldest first |
//!
//! A key: u16 length, text; then, for a batch: u64 LSN, u32 rows, u32 deletes asked for, u32 CRC32C of the
//! ids (see `Batch::points_crc`), u32 rows that replaced a point, u32 points deleted, u8 1 if ids were
//! assigned, u64 the first of them or 0; for a row: its id, as in a batch.

use std::collections::BTreeMap;
use std::sync::Arc;

use crc32c::{crc32c, crc32c_append};
use nearfield_segment::storage::Storage;
use nearfield_segment::{ByteReader, Error, ErrorKind, FileId, Lsn, PointId, Result};

use super::{Done, Keys, Remembered};
use crate::manifest::{KEYS_VERSION, KeysEntry};
use crate::write::batch::BATCH_ROWS_MAX;

const MAGIC: [u8; 8] = *b"NEARKEY\n";
const HEADER_BYTES: usize = 64;

/// The bytes of the file, and its entry in the manifest. O(keys).
pub(crate) fn write(keys: &Keys, collection: FileId, checkpoint_lsn: Lsn) -> (Vec<u8>, KeysEntry) {
    assert!(keys.changed <= checkpoint_lsn, "a cut holds every batch that brought a key");
    let mut bytes = Vec::new();
    bytes.extend_from_slice(&MAGIC);
    bytes.extend_from_slice(&KEYS_VERSION.to_le_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&collection.0.to_le_bytes());
    bytes.extend_from_slice(&checkpoint_lsn.0.to_le_bytes());
    bytes.extend_from_slice(&keys.changed.0.to_le_bytes());
    for count in [keys.batches.order.len(), keys.rows.order.len()] {
        bytes.extend_from_slice(&(count as u32).to_le_bytes());
    }
    bytes.resize(HEADER_BYTES, 0);
    for (key, done) in keys.batches.iter() {
        write_text(&mut bytes, key);
        bytes.extend_from_slice(&done.lsn.0.to_le_bytes());
        for count in [done.rows, done.deletes, done.points_crc, done.replaced, done.deleted] {
            bytes.extend_from_slice(&count.to_le_bytes());
        }
        bytes.push(u8::from(done.first_assigned.is_some()));
        bytes.extend_from_slice(&done.first_assigned.unwrap_or(0).to_le_bytes());
    }
    for (key, id) in keys.rows.iter() {
        write_text(&mut bytes, key);
        id.encode(&mut bytes);
    }
    let crc = checksum(&bytes);
    bytes[12..16].copy_from_slice(&crc.to_le_bytes());
    let file = format!("segments/keys-{:020}.keys", checkpoint_lsn.0);
    let entry =
        KeysEntry { file, len: bytes.len() as u64, crc, checkpoint_lsn, unknown: BTreeMap::new() };
    (bytes, entry)
}

fn write_text(bytes: &mut Vec<u8>, text: &str) {
    bytes.extend_from_slice(&(text.len() as u16).to_le_bytes());
    bytes.extend_from_slice(text.as_bytes());
}

/// Reads the file that `entry` names, below `dir`. See [`read`].
///
/// # Errors
/// As [`read`], and `NotFound` or `Io`.
pub(crate) fn open(
    storage: &dyn Storage,
    dir: &str,
    collection: FileId,
    entry: &KeysEntry,
    max: usize,
) -> Result<Keys> {
    let path = format!("{dir}/{}", entry.file);
    let blob = storage.open(&path)?;
    read(&blob.read(0..blob.len())?, &path, collection, entry, max)
}

/// Reads a file that may be anything and is called `name` in messages; of each kind the newest `max` keys
/// are kept. O(bytes).
///
/// # Errors
/// `Corrupt`, also if it is not the file of `entry`, or `Version`.
pub(super) fn read(
    bytes: &[u8],
    name: &str,
    collection: FileId,
    entry: &KeysEntry,
    max: usize,
) -> Result<Keys> {
    let corrupt = |place: &str, found: String| Error::corrupt(name, place, found);
    let mut input = ByteReader::new(name, "content", bytes);
    if bytes.len() < HEADER_BYTES || input.array()? != MAGIC {
        return Err(corrupt("header", "not a file of idempotency keys".to_owned()));
    }
    let (version, stored, crc) = (input.u32()?, input.u32()?, checksum(bytes));
    if stored != crc {
        return Err(corrupt("checksum", format!("expected {stored:08x}, found {crc:08x}")));
    }
    if !(1..=KEYS_VERSION).contains(&version) {
        let message = format!("{name}: version {version}; this build reads 1 to {KEYS_VERSION}");
        return Err(Error::new(ErrorKind::Version, message).with("file", name));
    }
    let (owner, checkpoint_lsn) = (FileId(input.u128()?), Lsn(input.u64()?));
    if owner != collection || crc != entry.crc || checkpoint_lsn != entry.checkpoint_lsn {
        let found =
            format!("of collection {owner} at cut {checkpoint_lsn} with checksum {crc:08x}");
        return Err(corrupt("header", format!("{found}, not the one named")));
    }
    let changed = Lsn(input.u64()?);
    let counts = [input.u32()?, input.u32()?];
    if changed > checkpoint_lsn || input.u64()? != 0 {
        return Err(corrupt(
            "header",
            format!("changed at LSN {changed}, the cut is {checkpoint_lsn}"),
        ));
    }
    let batches = read_all(&mut input, counts[0], max, |input| read_done(input, checkpoint_lsn))?;
    let rows = read_all(&mut input, counts[1], max, PointId::decode)?;
    if input.at() != bytes.len() {
        return Err(corrupt("length", format!("{} bytes, expected {}", bytes.len(), input.at())));
    }
    Ok(Keys { max, batches, rows, changed })
}

fn read_all<V>(
    input: &mut ByteReader<'_>,
    count: u32,
    max: usize,
    read_value: impl Fn(&mut ByteReader<'_>) -> Result<V>,
) -> Result<Remembered<V>> {
    let mut remembered = Remembered::default();
    // Each key is read before anything is kept, so a count that lies ends with the bytes.
    for _ in 0..count {
        let len = usize::from(input.u16()?);
        let key: Arc<str> = input.text(len)?.into();
        let value = read_value(input)?;
        remembered.push(key, value, max);
    }
    Ok(remembered)
}

fn read_done(input: &mut ByteReader<'_>, checkpoint_lsn: Lsn) -> Result<Done> {
    let at = input.at();
    let done = Done {
        lsn: Lsn(input.u64()?),
        rows: input.u32()?,
        deletes: input.u32()?,
        points_crc: input.u32()?,
        replaced: input.u32()?,
        deleted: input.u32()?,
        first_assigned: match (input.array()?, input.u64()?) {
            ([0], 0) => None,
            ([1], first) => Some(first),
            ([kind], first) => {
                return Err(input.corrupt_at(at, format!("first id {first} of kind {kind}")));
            }
        },
    };
    let rows_max = done.rows as usize <= BATCH_ROWS_MAX;
    if done.lsn > checkpoint_lsn
        || done.replaced > done.rows
        || done.deleted > done.deletes
        || !rows_max
    {
        let Done { lsn, rows, replaced, deletes, deleted, .. } = done;
        let found = format!("{replaced} of {rows} rows replaced, {deleted} of {deletes} deleted");
        return Err(input.corrupt_at(at, format!("LSN {lsn}: {found}")));
    }
    Ok(done)
}

pub(super) fn checksum(bytes: &[u8]) -> u32 {
    crc32c_append(crc32c(&bytes[..12]), &bytes[16..])
}
