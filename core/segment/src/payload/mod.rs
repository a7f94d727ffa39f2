//! The metadata of a segment (`Payload`): the JSON object of each row as given, and typed columns for filters. Opened
//! by `Segment`, built by `SegmentBuilder`; `filter::eval` reads it, and `validate` checks metadata for `Batch::new`.
//!
//! Two sections, so that a reader fetches what filters need first: the columns (`layout`) and the texts
//! (`raw`). For each [`FieldPath`] a row may have nothing, null, values, an empty list or an object there:
//! missing, null and empty are three states. Values inside lists, also inside objects in lists and lists in
//! lists, are values of the path itself; a path may have values of several kinds. Strings above 256 bytes
//! and paths beyond the first 1,024 have no columns; those rows are marked, and filters read their texts.
//!
//! Invariant: columns say of every row and path what its text says ([`validate`] has the rules of texts).
//! Not here: what a filter means (`filter`), changing a row (rows are immutable), full-text search.

mod block;
mod build;
mod checks;
mod column;
mod columns;
mod instant;
mod layout;
mod path;
mod raw;
mod scalar;
mod select;
#[cfg(test)]
mod tests;
mod values;
mod walk;

pub use build::{PATHS_MAX, PayloadBuilder, PayloadBytes};
pub use checks::validate;
pub use instant::parse_instant;
pub use layout::ColumnKind;
pub use path::FieldPath;
pub use scalar::{Comparison, Number};
pub use walk::{DEPTH_MAX, KEY_BYTES_MAX, ROW_JSON_BYTES_MAX};

pub(crate) use checks::DATE_EXPECTED;
pub(crate) use column::Column;
pub(crate) use raw::Texts;
pub(crate) use scalar::Scalar;
pub(crate) use walk::{Refusal, Sink, TAGS, normalize_tag, walk};

use checks::misfit;
use columns::{Columns, PathEntry};
use layout::Part;

use std::borrow::Cow;
use std::sync::Arc;

use crate::error::Result;
use crate::format::Section;
use crate::ids::RowId;
use crate::kinds::FieldKinds;
use crate::rowset::RowSet;
use crate::storage::{AlignedBuffer, Bytes};

/// The opened metadata of a segment.
#[derive(Debug)]
pub struct Payload {
    rows: u32,
    columns: Columns,
    texts: Arc<Texts>,
}

impl Payload {
    /// Opens both sections. Reads the directory of the columns and the header of the texts only; the rest
    /// is checked when it is used. `columns` must start at a multiple of 8 in memory.
    ///
    /// # Errors
    /// `Corrupt` if the sections are not those of `rows` rows.
    pub fn open(columns: Bytes, raw: Bytes, rows: u32) -> Result<Self> {
        Payload::with_texts(columns, Arc::new(Texts::open(raw, rows)?), rows)
    }

    /// Opens the columns only. What needs a text is `NotFound`.
    ///
    /// # Errors
    /// As [`open`](Payload::open).
    pub fn open_columns(columns: Bytes, rows: u32) -> Result<Self> {
        Payload::with_texts(columns, Arc::new(Texts::on_demand(None, rows)), rows)
    }

    pub(crate) fn with_texts(columns: Bytes, texts: Arc<Texts>, rows: u32) -> Result<Self> {
        Ok(Payload { rows, columns: Columns::open(columns, rows)?, texts })
    }

    /// Opens the columns of a mapped file; their bytes are verified when they are used.
    ///
    /// # Errors
    /// As [`open`](Payload::open); what the blob returns.
    pub(crate) fn open_mapped(
        section: &Arc<Section>,
        texts: Arc<Texts>,
        rows: u32,
    ) -> Result<Self> {
        Ok(Payload { rows, columns: Columns::open_mapped(section, rows)?, texts })
    }

    /// Columns made again from the texts, for a segment whose columns are damaged. `kinds` are the fields that are
    /// declared in it. O(bytes of the texts).
    ///
    /// # Errors
    /// `Corrupt` if the texts are damaged too.
    pub(crate) fn rebuild(texts: Arc<Texts>, rows: u32, kinds: &FieldKinds) -> Result<Self> {
        let mut builder = PayloadBuilder::new(kinds);
        for row in (0..rows).map(RowId) {
            builder.push(texts.get(row)?.as_deref())?;
        }
        let columns = AlignedBuffer::copy_of(&builder.finish()?.columns);
        Payload::with_texts(columns.into(), texts, rows)
    }

    /// Of the rows that `is_live` lets pass, the first with something that `kinds` do not take, and what it is. Reads
    /// the dictionaries of the declared paths, and the texts of rows only where those say that one may not fit.
    ///
    /// # Errors
    /// `Corrupt` if the metadata is damaged; what the blob returns.
    pub(crate) fn first_misfit(
        &self,
        kinds: &FieldKinds,
        is_live: impl Fn(RowId) -> bool,
    ) -> Result<Option<(RowId, Refusal)>> {
        for path in kinds.paths() {
            for row in self.in_doubt(&FieldPath::parse(path)?)?.iter().filter(|row| is_live(*row)) {
                let Some(text) = self.json(row)? else { continue };
                if let Some(misfit) = misfit(&text, row.index(), kinds)? {
                    return Ok(Some((row, misfit)));
                }
            }
        }
        Ok(None)
    }

    /// Rows among which are all that have something other than dates, null and lists of them at a path.
    fn in_doubt(&self, path: &FieldPath) -> Result<RowSet> {
        let Some(field) = self.field(path) else {
            let rows = if self.is_complete() { RowSet::empty } else { RowSet::full };
            return Ok(rows(self.rows));
        };
        let is_below = |(other, _): (&FieldPath, _)| {
            other.as_str().strip_prefix(path.as_str()).is_some_and(|rest| rest.starts_with('.'))
        };
        let others = [ColumnKind::Int, ColumnKind::Uint, ColumnKind::Float, ColumnKind::Bool];
        let is_clean = self.is_complete()
            && !field.has_long()
            && !others.iter().any(|kind| field.entry.has_column(*kind))
            && !self.paths().any(is_below);
        let texts = field.column(ColumnKind::Keyword)?;
        if is_clean
            && texts.is_none_or(|texts| texts.texts().all(|text| parse_instant(text).is_some()))
        {
            return Ok(RowSet::empty(self.rows));
        }
        field.exists()
    }

    /// Number of rows.
    pub fn rows(&self) -> u32 {
        self.rows
    }

    /// The JSON object of a row as it was given; `None` if it has none.
    ///
    /// # Errors
    /// `Corrupt` if its bytes are damaged; what the blob returns.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn json(&self, row: RowId) -> Result<Option<Cow<'_, str>>> {
        self.texts.get(row)
    }

    /// Reads all texts at once, for a caller that needs many of them.
    ///
    /// # Errors
    /// `Corrupt` if they are not those of the rows; what the blob returns.
    pub(crate) fn load_texts(&self) -> Result<()> {
        self.texts.load()
    }

    /// Paths with columns and the kinds of their values, sorted by path. A path without a kind has only
    /// nulls, empty lists, objects or long strings.
    pub fn paths(&self) -> impl Iterator<Item = (&FieldPath, Vec<ColumnKind>)> {
        self.columns.paths().iter().map(|entry| {
            let kinds = ColumnKind::ALL.into_iter().filter(|kind| entry.has_column(*kind));
            (&entry.path, kinds.collect())
        })
    }

    /// Bytes of memory beside the two sections: where the columns of each path are.
    pub(crate) fn directory_bytes(&self) -> u64 {
        self.columns.directory_bytes()
    }

    /// True if some row may have something at the path. O(log paths).
    pub fn may_have(&self, path: &FieldPath) -> bool {
        self.field(path).is_some() || !self.is_complete()
    }

    /// True if [`paths`](Payload::paths) is all there is; else a path not listed may be in some text.
    pub fn is_complete(&self) -> bool {
        self.columns.is_complete()
    }

    /// What is known of a path; `None` if it has no columns.
    pub(crate) fn field(&self, path: &FieldPath) -> Option<Field<'_>> {
        self.columns.path(path).map(|entry| Field { columns: &self.columns, entry })
    }
}

/// One path of a payload.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Field<'a> {
    columns: &'a Columns,
    entry: &'a PathEntry,
}

impl<'a> Field<'a> {
    /// Rows with anything at the path.
    pub(crate) fn exists(&self) -> Result<RowSet> {
        self.columns.set(self.entry, Part::Exists)
    }

    /// Rows with a null at the path, or in a list there.
    pub(crate) fn null(&self) -> Result<RowSet> {
        self.columns.set(self.entry, Part::Null)
    }

    /// Rows with an empty list at the path, or in a list there.
    pub(crate) fn empty(&self) -> Result<RowSet> {
        self.columns.set(self.entry, Part::Empty)
    }

    /// Rows with a string at the path that is not in the column: longer than [`KEY_BYTES_MAX`].
    pub(crate) fn long(&self) -> Result<RowSet> {
        self.columns.set(self.entry, Part::Long)
    }

    /// True if some row has such a string. O(1).
    pub(crate) fn has_long(&self) -> bool {
        !self.entry.is_set_empty(Part::Long)
    }

    /// The values of one kind; `None` if there are none.
    pub(crate) fn column(&self, kind: ColumnKind) -> Result<Option<Column<'a>>> {
        self.columns.column(self.entry, kind)
    }
}
