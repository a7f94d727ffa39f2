//! Passes over the rows that are written: `census` counts the rows and finds the longest texts in a first pass, the
//! formats write in a second one (`Passes`). Used by `rows::write`; `Reported` reports progress.

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{FieldKinds, PointId};

use super::super::row_file::{IdKind, RowFile, Rows};

/// Rows read at a time.
pub(super) const PART_ROWS: usize = 1_000;

/// What a pass over the rows is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pass {
    /// To count; elements may be left out.
    Census,
    /// To write.
    Rows,
}

/// Begins a pass over the same rows.
pub(crate) type Passes<'a> = &'a mut dyn FnMut(Pass) -> Result<Box<dyn RowFile>>;

/// What the rows of a pass have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Census {
    /// Number of rows.
    pub(crate) rows: u64,
    /// Kinds of ids.
    pub(crate) ids: IdKind,
    /// Rows with metadata.
    pub(crate) with_metadata: u64,
    /// Characters of the longest id as text, and of the longest metadata.
    pub(super) id_chars: usize,
    pub(super) metadata_chars: usize,
}

/// Counts the rows.
///
/// # Errors
/// As [`RowFile::next_rows`].
pub(crate) fn census(passes: Passes<'_>) -> Result<Census> {
    let mut source = passes(Pass::Census)?;
    let mut census =
        Census { rows: 0, ids: IdKind::None, with_metadata: 0, id_chars: 0, metadata_chars: 0 };
    loop {
        let rows = source.next_rows(PART_ROWS)?;
        if rows.count == 0 {
            return Ok(census);
        }
        census.rows += rows.count as u64;
        for id in &rows.ids {
            census.ids = census.ids.with(id);
            census.id_chars = census.id_chars.max(id.to_string().chars().count());
        }
        for text in rows.metadata.iter().flatten() {
            census.with_metadata += 1;
            census.metadata_chars = census.metadata_chars.max(text.chars().count());
        }
    }
}

/// Rows on their way to a file.
pub(super) struct Reported<'a> {
    pub(super) rows: Box<dyn RowFile>,
    pub(super) show: &'a mut dyn FnMut(u64, u64),
}

impl Reported<'_> {
    /// The next rows; `None` at the end.
    pub(super) fn next(&mut self) -> Result<Option<Rows>> {
        let rows = self.rows.next_rows(PART_ROWS)?;
        let (done, total) = self.rows.progress();
        (self.show)(done, total);
        Ok((rows.count > 0).then_some(rows))
    }

    pub(super) fn dim(&self) -> usize {
        self.rows.dim()
    }

    pub(super) fn fields(&self) -> FieldKinds {
        self.rows.fields()
    }
}

pub(super) fn unfit(id: &PointId, why: &str) -> Error {
    Error::invalid(Fault::Id, format!("id {id}: {why}")).with("got", id.to_string())
}

pub(super) fn failed(error: std::io::Error) -> Error {
    Error::io("write", "the file", error)
}
