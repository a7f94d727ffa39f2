//! Files of vectors for others to read: the formats of [`super::open`], the other way round.
//!
//! Reading what was written gives the same rows: bits of elements, ids of all kinds, metadata as given.
//! What a format has no place for is counted, for the caller to say. Rows are passed over twice where a
//! format wants to know at its start what comes: how many, how long the longest text is.

mod numpy;
mod plain;
mod table;

use std::io::Write;
use std::path::Path;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;

use super::{IdKind, RowFile};

/// Rows read at a time.
const PART_ROWS: usize = 1_000;

/// What a file is written as.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Format {
    /// NumPy, vectors only.
    Npy,
    /// NumPy, several arrays.
    Npz,
    /// Dimension and elements, row after row.
    Fvecs,
    /// Lines of JSON.
    JsonLines,
    /// Parquet.
    Parquet,
    /// Arrow IPC with a footer.
    Arrow,
    /// An Arrow IPC stream.
    ArrowStream,
}

impl Format {
    /// The format of a file by the ending of its name.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` listing the endings.
    pub(crate) fn of(path: &Path) -> Result<Format> {
        Ok(match path.extension().and_then(|ending| ending.to_str()) {
            Some("npy") => Format::Npy,
            Some("npz") => Format::Npz,
            Some("fvecs") => Format::Fvecs,
            Some("jsonl" | "ndjson") => Format::JsonLines,
            Some("parquet") => Format::Parquet,
            Some("arrow" | "feather") => Format::Arrow,
            Some("arrows") => Format::ArrowStream,
            _ => {
                let expected = ".near, .npy, .npz, .fvecs, .jsonl, .parquet, .arrow or .arrows";
                let name = path.display();
                let message = format!("{name}: expected a name ending in {expected}");
                return Err(Error::invalid(Fault::Parameter, message).with("expected", expected));
            }
        })
    }

    /// Whether it has a place for ids and metadata beside the vectors.
    pub(crate) fn is_complete(self) -> bool {
        match self {
            Format::Npy | Format::Fvecs => false,
            Format::Npz
            | Format::JsonLines
            | Format::Parquet
            | Format::Arrow
            | Format::ArrowStream => true,
        }
    }
}

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
    id_chars: usize,
    metadata_chars: usize,
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

/// Writes rows as a file; `census` is of the same rows. `show` is called after each part with (done, total).
///
/// # Errors
/// What the rows or `out` return; `InvalidInput(Id)` for an id the format cannot hold.
pub(crate) fn write(
    format: Format,
    census: &Census,
    passes: Passes<'_>,
    out: &mut dyn Write,
    show: &mut dyn FnMut(u64, u64),
) -> Result<()> {
    let mut rows = Reported { rows: passes(Pass::Rows)?, show };
    match format {
        Format::Npy => numpy::write_array(census, &mut rows, out),
        Format::Fvecs => plain::write_fvecs(&mut rows, out),
        Format::JsonLines => plain::write_json_lines(&mut rows, out),
        Format::Parquet => table::write_parquet(census, &mut rows, out),
        Format::Arrow => table::write_arrow(census, &mut rows, out),
        Format::ArrowStream => table::write_arrow_stream(census, &mut rows, out),
        Format::Npz => {
            numpy::write_vectors_of_archive(census, &mut rows, out, &mut |pass| passes(pass))
        }
    }
}

/// Writes ids to a file of their own, as `import --ids` reads it: an array if `as_array`, else a line each.
///
/// # Errors
/// `InvalidInput(Id)` for ids that would be read as others: numbers and texts in one array, texts of
/// digits or of several lines in a text file. What the rows or `out` return.
pub(crate) fn write_ids(
    as_array: bool,
    census: &Census,
    passes: Passes<'_>,
    out: &mut dyn Write,
) -> Result<()> {
    let mut rows = passes(Pass::Census)?;
    match as_array {
        true => numpy::write_ids(census, &mut *rows, out),
        false => plain::write_ids(&mut *rows, out),
    }
}

/// Rows on their way to a file.
struct Reported<'a> {
    rows: Box<dyn RowFile>,
    show: &'a mut dyn FnMut(u64, u64),
}

impl Reported<'_> {
    /// The next rows; `None` at the end.
    fn next(&mut self) -> Result<Option<super::Rows>> {
        let rows = self.rows.next_rows(PART_ROWS)?;
        let (done, total) = self.rows.progress();
        (self.show)(done, total);
        Ok((rows.count > 0).then_some(rows))
    }

    fn dim(&self) -> usize {
        self.rows.dim()
    }
}

fn unfit(id: &PointId, why: &str) -> Error {
    Error::invalid(Fault::Id, format!("id {id}: {why}")).with("got", id.to_string())
}

fn failed(error: std::io::Error) -> Error {
    Error::io("write", "the file", error)
}

#[cfg(test)]
mod tests;
