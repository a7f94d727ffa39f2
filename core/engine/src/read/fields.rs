//! `KnownFields`: the metadata fields that a collection knows, a function of its batches up to an LSN, never
//! of its files. `View` checks filters against it; `State` extends it with each batch.
//!
//! A filter on the values of a field that no point ever had is most likely a misspelled name, and is refused. A field is
//! known from the first batch that has it. It stays known when its rows are deleted, replaced or merged, in
//! snapshots and in exports: so a filter has the same answer before and after all of these.
//!
//! Bounded: with more than [`FIELD_NAMES_MAX`] names or [`FIELD_NAMES_BYTES_MAX`] bytes of names, or a batch whose
//! paths do not all have columns, the set is *open*: from that LSN on every name counts as known. Names that were
//! remembered before still serve as suggestions.

use std::collections::BTreeMap;

use nearfield_segment::filter::Filter;
use nearfield_segment::format::all;
use nearfield_segment::payload::{FieldPath, PATHS_MAX, Payload};
use nearfield_segment::segment::Segment;
use nearfield_segment::{FieldKinds, Lsn, Result};

use crate::manifest::{FieldsEntry, Manifest};

/// Names that are remembered: as many as one segment has columns for.
pub const FIELD_NAMES_MAX: usize = PATHS_MAX;
/// Bytes of all names that are remembered: they are part of every manifest.
pub const FIELD_NAMES_BYTES_MAX: usize = 64 << 10;

/// One segment after the other.
type Segments<'a, 's> = &'a mut dyn Iterator<Item = &'s Segment>;

/// The metadata fields that a collection knows at one LSN.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct KnownFields {
    /// Each path, with the LSN of the first batch that had it.
    names: BTreeMap<FieldPath, Lsn>,
    name_bytes: usize,
    /// Every name counts as known from this LSN on.
    open_since: Option<Lsn>,
}

impl KnownFields {
    /// What files alone say: the fields of all their rows, dead ones included. For files without a record of it.
    pub(crate) fn of_segments(lsn: Lsn, segments: Segments<'_, '_>) -> Result<KnownFields> {
        let mut known = KnownFields::default();
        known.note_segments(lsn, segments)?;
        Ok(known)
    }

    fn note_segments(&mut self, lsn: Lsn, segments: Segments<'_, '_>) -> Result<()> {
        let payloads = all(segments.map(Segment::payload))?;
        payloads.into_iter().for_each(|payload| self.note(lsn, payload));
        Ok(())
    }

    /// The fields known at the manifest's checkpoint LSN. A manifest whose record is absent or older than its checkpoint LSN was written by a
    /// version that does not keep the record: the fields of the segments are added.
    pub(crate) fn of_manifest(
        manifest: &Manifest,
        segments: Segments<'_, '_>,
    ) -> Result<KnownFields> {
        let recorded = manifest.fields.as_ref();
        let mut known = recorded.map_or_else(KnownFields::default, KnownFields::of_entry);
        if recorded.is_none_or(|entry| entry.checkpoint_lsn < manifest.checkpoint_lsn) {
            known.note_segments(manifest.checkpoint_lsn, segments)?;
        }
        Ok(known)
    }

    /// What a manifest or an export recorded. Names beyond the limits make the set open.
    pub(crate) fn of_entry(entry: &FieldsEntry) -> KnownFields {
        let mut known = KnownFields::default();
        // Their syntax was checked when the document was read.
        let paths = entry.names.iter().filter_map(|name| FieldPath::parse(name).ok());
        paths.into_iter().for_each(|path| known.add(entry.checkpoint_lsn, &path));
        if entry.open {
            known.open(entry.checkpoint_lsn);
        }
        known
    }

    /// The record of the fields known at `checkpoint_lsn`; `None` if there are none.
    pub(crate) fn entry(&self, checkpoint_lsn: Lsn) -> Option<FieldsEntry> {
        let known = self.names.iter().filter(|(_, lsn)| **lsn <= checkpoint_lsn);
        let names: Vec<String> = known.map(|(path, _)| path.as_str().to_owned()).collect();
        let open = self.open_since.is_some_and(|lsn| lsn <= checkpoint_lsn);
        let unknown = BTreeMap::new();
        (open || !names.is_empty()).then_some(FieldsEntry { checkpoint_lsn, names, open, unknown })
    }

    /// True if a batch with this metadata adds something. O(paths of the batch × log names).
    pub(crate) fn lacks(&self, payload: &Payload) -> bool {
        let is_new = |path: &FieldPath| !self.names.contains_key(path);
        self.open_since.is_none()
            && (!payload.is_complete() || payload.paths().any(|(path, _)| is_new(path)))
    }

    /// Adds the fields of a batch.
    pub(crate) fn note(&mut self, lsn: Lsn, payload: &Payload) {
        payload.paths().for_each(|(path, _)| self.add(lsn, path));
        if !payload.is_complete() {
            self.open(lsn);
        }
    }

    fn add(&mut self, lsn: Lsn, path: &FieldPath) {
        if self.open_since.is_some() || self.names.contains_key(path) {
            return;
        }
        let name_bytes = self.name_bytes + path.as_str().len();
        if self.names.len() == FIELD_NAMES_MAX || name_bytes > FIELD_NAMES_BYTES_MAX {
            return self.open(lsn);
        }
        self.name_bytes = name_bytes;
        self.names.insert(path.clone(), lsn);
    }

    fn open(&mut self, lsn: Lsn) {
        self.open_since = self.open_since.or(Some(lsn));
    }

    /// Refuses a filter on the values of a field that is neither known nor declared, and operands that a declared field
    /// does not take.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` with `got` (the field) and `near`, or as [`Filter::check_kinds`].
    pub(crate) fn check(&self, filter: &Filter, kinds: &FieldKinds) -> Result<()> {
        filter.check_kinds(kinds)?;
        if self.open_since.is_some() {
            return Ok(());
        }
        let names = self.names.keys().map(FieldPath::as_str).chain(kinds.paths());
        let is_known =
            |path: &FieldPath| self.names.contains_key(path) || kinds.get(path.as_str()).is_some();
        filter.check_fields(is_known, names)
    }
}

#[cfg(test)]
mod tests {
    use nearfield_segment::payload::PayloadBuilder;
    use nearfield_segment::storage::AlignedBuffer;
    use serde_json::json;

    use super::*;

    fn payload(row: &serde_json::Value) -> Payload {
        let mut builder = PayloadBuilder::new(&FieldKinds::NONE);
        builder.push(Some(&row.to_string())).expect("legal");
        let bytes = builder.finish().expect("within limits");
        let [columns, raw] =
            [bytes.columns, bytes.raw.concat()].map(|part| AlignedBuffer::copy_of(&part));
        Payload::open(columns.into(), raw.into(), 1).expect("just written")
    }

    fn refuses(known: &KnownFields, field: &str) -> bool {
        let filter = Filter::from_json(&json!({ field: 1 })).expect("legal");
        known.check(&filter, &FieldKinds::NONE).is_err()
    }

    #[test]
    fn a_record_holds_what_was_known_at_its_cut() {
        let mut known = KnownFields::default();
        assert_eq!(known.entry(Lsn(9)), None);
        known.note(Lsn(3), &payload(&json!({"a": {"b": null}})));
        known.note(Lsn(5), &payload(&json!({"a": 1, "c": []})));
        assert_eq!(known.entry(Lsn(2)), None);
        let names = |checkpoint_lsn| known.entry(Lsn(checkpoint_lsn)).expect("some").names;
        assert_eq!(names(4), ["a", "a.b"]);
        assert_eq!(names(5), ["a", "a.b", "c"]);
        let again = KnownFields::of_entry(&known.entry(Lsn(5)).expect("some"));
        assert_eq!(again.entry(Lsn(5)), known.entry(Lsn(5)));
        assert!(refuses(&again, "d") && !refuses(&again, "c"));
    }

    #[test]
    fn beyond_the_limits_every_name_is_known() {
        let row = |range: std::ops::Range<usize>, len: usize| {
            let fields = range.map(|index| (format!("{index:0len$}"), json!(1)));
            serde_json::Value::Object(fields.collect())
        };
        let mut known = KnownFields::default();
        known.note(Lsn(1), &payload(&row(0..FIELD_NAMES_MAX - 1, 4)));
        known.note(Lsn(2), &payload(&row(0..FIELD_NAMES_MAX, 4)));
        assert!(!known.lacks(&payload(&row(0..FIELD_NAMES_MAX, 4))));
        assert!(refuses(&known, "x"));
        known.note(Lsn(3), &payload(&json!({"one": 1})));
        assert!(!refuses(&known, "x"), "open");
        assert!(!known.lacks(&payload(&json!({"y": 1}))));
        let entry = known.entry(Lsn(3)).expect("some");
        assert!(entry.open && entry.names.len() == FIELD_NAMES_MAX);
        assert!(!refuses(&KnownFields::of_entry(&entry), "x"));
        assert!(!known.entry(Lsn(2)).expect("some").open, "an earlier moment was not");

        let mut long = KnownFields::default();
        long.note(Lsn(1), &payload(&row(0..FIELD_NAMES_BYTES_MAX / 200, 200)));
        long.note(Lsn(1), &payload(&row(0..200, 250)));
        assert!(!refuses(&long, "x"), "more bytes than are remembered");
        let mut wide = KnownFields::default();
        wide.note(Lsn(1), &payload(&row(0..PATHS_MAX + 1, 5)));
        assert!(!refuses(&wide, "x"));
    }
}
