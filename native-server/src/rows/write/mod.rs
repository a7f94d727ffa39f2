//! `write`: writes rows to a file in one of the formats that `super::open` reads (`Format`). Called by
//! `nearfield export`.
//!
//! Reading what was written gives the same rows: bits of elements, ids of all kinds, metadata as given.
//! What a format has no place for is counted, for the caller to say. Rows are passed over twice where a
//! format wants to know at its start what comes: how many, how long the longest text is.

mod numpy;
mod passes;
mod plain;
mod table;

use std::io::Write;
use std::path::Path;

use nearfield_engine::{Error, Fault, Result};

use super::arrow::{Layout, TableWriter};
use passes::Reported;
pub(crate) use passes::{Census, Pass, Passes, census};

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
    let layout = Layout::new(census.ids, Some(rows.dim()), &rows.fields());
    match format {
        Format::Npy => numpy::write_array(census, &mut rows, out),
        Format::Fvecs => plain::write_fvecs(&mut rows, out),
        Format::JsonLines => plain::write_json_lines(&mut rows, out),
        Format::Parquet => table::write_parquet(&layout, &mut rows, out),
        Format::Arrow => table::write_table(TableWriter::file(layout, out)?, &mut rows),
        Format::ArrowStream => table::write_table(TableWriter::stream(layout, out)?, &mut rows),
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

#[cfg(test)]
mod tests;
