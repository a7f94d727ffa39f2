//! Encodes a batch as bytes, the body of a log frame. Entry: `Batch::encode_into`, called by `Writer::apply_all`.
//!
//! Little-endian. A 16-byte start, then sections; every section starts at a multiple of 8 bytes, so that
//! vectors can be read in place.
//!
//! | at | size | field |
//! |---|---|---|
//! | 0 | 2 | version, 2 |
//! | 2 | 2 | flags: 1 = the ids were assigned |
//! | 4 | 4 | number of sections |
//! | 8 | 8 | time in ms since 1970 |
//!
//! Section: kind u16, flags u16 (1 = may be skipped by a reader that does not know the kind), zero u32,
//! length u64, content, zeros up to a multiple of 8. Kinds in this order, each at most once, vectors once
//! per field in the order of their names:
//!
//! | kind | content |
//! |---|---|
//! | 1 next id | u64 next, u64 1 if exhausted |
//! | 2 deletes | ids, sorted |
//! | 3 upserts | ids, by row |
//! | 4 vectors | u16 length of name, u8 encoding (0 dense f32; others are reserved for sparse and multi-vectors), u8 zero, u32 dim, name, zeros up to a multiple of 8, elements by row |
//! | 5 metadata | by row: u32 length + 1 (0 = none), text |
//! | 6 idempotency key | text |
//! | 7 deadline | u64 ms since 1970 |
//! | 8 row keys (may be skipped) | by row: u16 length (0 = none), text |
//! | 9 declared fields | JSON, path → kind, as in a schema |
//!
//! Ids: u64 count, then each as u8 kind and value: 0 u64; 1 UUID u128; 2 u16 length, text; 3 negative i64. Version 1
//! has no kind 3, and is the same in everything else.

use nearfield_segment::{FieldKinds, PointId};

use super::Batch;

/// Version written; every one from 1 is read.
pub(super) const BATCH_VERSION: u16 = 2;
/// The ids were assigned.
pub(super) const FLAG_ASSIGNED: u16 = 1;
/// A section that a reader may skip.
pub(super) const FLAG_OPTIONAL: u16 = 1;
/// Length of the start.
pub(super) const START_BYTES: usize = 16;
/// Length of a section's start.
pub(super) const SECTION_BYTES: usize = 16;
/// Elements are dense f32.
pub(super) const DENSE_F32: u8 = 0;

/// Kinds of sections.
pub(super) mod kind {
    pub(in super::super) const NEXT_ID: u16 = 1;
    pub(in super::super) const DELETES: u16 = 2;
    pub(in super::super) const UPSERTS: u16 = 3;
    pub(in super::super) const VECTORS: u16 = 4;
    pub(in super::super) const METADATA: u16 = 5;
    pub(in super::super) const IDEMPOTENCY_KEY: u16 = 6;
    pub(in super::super) const DEADLINE: u16 = 7;
    pub(in super::super) const ROW_KEYS: u16 = 8;
    pub(in super::super) const FIELDS: u16 = 9;
}

impl Batch<'_> {
    /// Replaces the content of `out` by the encoded batch; its capacity is reused.
    ///
    /// # Panics
    /// Before [`assign_ids`](Batch::assign_ids).
    pub fn encode_into(&self, out: &mut Vec<u8>) {
        let next_id = self.next_id.expect("ids are assigned before a batch is logged");
        assert_eq!(self.ids.len(), self.rows, "every row has an id");
        out.clear();
        out.reserve(self.encoded_bytes_max());
        out.extend_from_slice(&BATCH_VERSION.to_le_bytes());
        let flags = if self.ids_assigned { FLAG_ASSIGNED } else { 0 };
        out.extend_from_slice(&flags.to_le_bytes());
        out.extend_from_slice(&[0; 4]);
        out.extend_from_slice(&self.time_ms.to_le_bytes());
        let mut sections = Sections { out, count: 0 };
        sections.write(kind::NEXT_ID, |out| {
            out.extend_from_slice(&next_id.get().unwrap_or(0).to_le_bytes());
            out.extend_from_slice(&u64::from(next_id.get().is_none()).to_le_bytes());
        });
        if !self.deletes.is_empty() {
            sections.write(kind::DELETES, |out| write_ids(out, &self.deletes));
        }
        if self.rows > 0 {
            self.encode_upserts(&mut sections);
        }
        if let Some(key) = &self.idempotency_key {
            sections.write(kind::IDEMPOTENCY_KEY, |out| out.extend_from_slice(key.as_bytes()));
        }
        if let Some(deadline_ms) = self.deadline_ms {
            let bytes = deadline_ms.to_le_bytes();
            sections.write(kind::DEADLINE, |out| out.extend_from_slice(&bytes));
        }
        if !self.row_keys.is_empty() {
            // A build that skips them has every row, and misses only that a key was used.
            sections.write_flagged(kind::ROW_KEYS, FLAG_OPTIONAL, |out| {
                for key in &self.row_keys {
                    let key = key.as_deref().unwrap_or_default();
                    out.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    out.extend_from_slice(key.as_bytes());
                }
            });
        }
        if !self.fields.is_empty() {
            sections.write(kind::FIELDS, |out| out.extend_from_slice(&fields_json(&self.fields)));
        }
        let count = sections.count.to_le_bytes();
        out[4..8].copy_from_slice(&count);
    }

    fn encode_upserts(&self, sections: &mut Sections<'_>) {
        sections.write(kind::UPSERTS, |out| write_ids(out, &self.ids));
        for (name, elements) in &self.vectors {
            let dim = (elements.len() / self.rows) as u32;
            sections.write(kind::VECTORS, |out| {
                out.extend_from_slice(&(name.len() as u16).to_le_bytes());
                out.extend_from_slice(&[DENSE_F32, 0]);
                out.extend_from_slice(&dim.to_le_bytes());
                out.extend_from_slice(name.as_bytes());
                out.resize(out.len().next_multiple_of(8), 0);
                out.extend_from_slice(bytemuck::cast_slice(elements));
            });
        }
        if self.metadata.iter().any(Option::is_some) {
            sections.write(kind::METADATA, |out| {
                for json in &self.metadata {
                    let json = json.as_deref();
                    let len = json.map_or(0, |json| json.len() as u32 + 1);
                    out.extend_from_slice(&len.to_le_bytes());
                    out.extend_from_slice(json.unwrap_or_default().as_bytes());
                }
            });
        }
    }

    /// An upper bound of the encoded length, close to it: what the batch takes in the log, and about what it
    /// takes in memory. O(rows).
    pub fn encoded_bytes_max(&self) -> usize {
        let section = SECTION_BYTES + 8;
        let vectors = self.vectors.iter().map(|(name, e)| section + 16 + name.len() + 4 * e.len());
        let metadata = self.metadata.iter().map(|json| 4 + json.as_deref().map_or(0, str::len));
        let row_keys = self.row_keys.iter().map(|key| 2 + key.as_deref().map_or(0, str::len));
        let ids = if self.ids_assigned { 9 * self.rows } else { ids_bytes(&self.ids) };
        START_BYTES
            + 8 * (section + 16)
            + ids_bytes(&self.deletes)
            + ids
            + vectors.sum::<usize>()
            + metadata.sum::<usize>()
            + self.idempotency_key.as_deref().map_or(0, str::len)
            + row_keys.sum::<usize>()
            + if self.fields.is_empty() { 0 } else { fields_json(&self.fields).len() }
    }
}

struct Sections<'a> {
    out: &'a mut Vec<u8>,
    count: u32,
}

impl Sections<'_> {
    fn write(&mut self, kind: u16, content: impl FnOnce(&mut Vec<u8>)) {
        self.write_flagged(kind, 0, content);
    }

    fn write_flagged(&mut self, kind: u16, flags: u16, content: impl FnOnce(&mut Vec<u8>)) {
        self.out.extend_from_slice(&kind.to_le_bytes());
        self.out.extend_from_slice(&flags.to_le_bytes());
        self.out.extend_from_slice(&[0; 12]);
        let start = self.out.len();
        content(self.out);
        let len = (self.out.len() - start) as u64;
        self.out[start - 8..start].copy_from_slice(&len.to_le_bytes());
        self.out.resize(self.out.len().next_multiple_of(8), 0);
        self.count += 1;
    }
}

pub(super) fn write_ids(out: &mut Vec<u8>, ids: &[PointId]) {
    out.extend_from_slice(&(ids.len() as u64).to_le_bytes());
    ids.iter().for_each(|id| id.encode(out));
}

/// Cuts ids into parts of at most `bytes_max` encoded bytes, or one id; there is at least one part.
pub(crate) fn split_ids(ids: impl Iterator<Item = PointId>, bytes_max: usize) -> Vec<Vec<PointId>> {
    let (mut parts, mut bytes) = (vec![Vec::new()], 0);
    for id in ids {
        let len = ids_bytes(std::slice::from_ref(&id));
        if bytes + len > bytes_max && bytes > 0 {
            parts.push(Vec::new());
            bytes = 0;
        }
        bytes += len;
        parts.last_mut().expect("there is a first part").push(id);
    }
    parts
}

fn fields_json(fields: &FieldKinds) -> Vec<u8> {
    serde_json::to_vec(fields).expect("texts and names have a JSON form")
}

fn ids_bytes(ids: &[PointId]) -> usize {
    8 + ids.iter().map(PointId::encoded_bytes).sum::<usize>()
}
