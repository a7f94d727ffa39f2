//! `Source`: the file that is imported; `next_batch` reads it batch by batch. Used by `local` and `remote`.

use std::path::Path;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{FieldKinds, PointId};

use crate::host::ProgressLine;
use crate::rows::{self, ColumnNames, RowFile, Rows};

/// Most rows of one batch.
const BATCH_ROWS_MAX: usize = 8_192;
/// Bytes of vectors from which a batch is not made larger; a server takes twice that by default.
const BATCH_BYTES_MAX: usize = 32 << 20;

/// The rows of the file, with ids from elsewhere if they were given.
pub(super) struct Source {
    file: Box<dyn RowFile>,
    ids: Option<std::vec::IntoIter<PointId>>,
    line: ProgressLine,
}

impl Source {
    /// Opens `file`; `ids` names a file with one id for each row of it.
    ///
    /// # Errors
    /// What [`rows::open`] returns; `InvalidInput` for ids of another number than the rows.
    pub(super) fn open(file: &Path, names: &ColumnNames, ids: Option<&Path>) -> Result<Source> {
        let file = rows::open(file, names)?;
        let ids = ids.map(|path| ids_for(path, file.rows())).transpose()?;
        let ids = ids.map(Vec::into_iter);
        Ok(Source { file, ids, line: ProgressLine::new("reading") })
    }

    pub(super) fn dim(&self) -> usize {
        self.file.dim()
    }

    /// Metadata fields that are dates by their type.
    pub(super) fn fields(&self) -> FieldKinds {
        self.file.fields()
    }

    /// The next batch; none at the end.
    pub(super) fn next_batch(&mut self) -> Result<Rows> {
        let rows_max = (BATCH_BYTES_MAX / (4 * self.dim())).clamp(1, BATCH_ROWS_MAX);
        let mut rows = self.file.next_rows(rows_max)?;
        if let Some(ids) = &mut self.ids {
            rows.ids = ids.take(rows.count).collect();
        }
        let (done, total) = self.file.progress();
        self.line.show(done, total);
        Ok(rows)
    }
}

/// The ids in the file at `path`, one for each of `rows` rows.
fn ids_for(path: &Path, rows: Option<u64>) -> Result<Vec<PointId>> {
    let refused = |found: String| {
        Error::invalid(Fault::Parameter, format!("--ids: expected one id a row, {found}"))
    };
    let rows = rows.ok_or_else(|| refused("this format has them in its rows".into()))?;
    let ids = read_ids(path)?;
    if ids.len() as u64 != rows {
        return Err(refused(format!("found {} ids for {rows} rows", ids.len())));
    }
    Ok(ids)
}

fn read_ids(path: &Path) -> Result<Vec<PointId>> {
    if path.extension().is_some_and(|ending| ending == "npy") {
        return rows::read_ids(path);
    }
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path).map_err(|error| Error::io("read", &name, error))?;
    let id = |(line, text): (usize, &str)| {
        let number = PointId::from_digits(text).map(Ok);
        let id = number.unwrap_or_else(|| PointId::from_text(text));
        id.map_err(|error| error.context(format!("{name}: line {}", line + 1)))
    };
    text.lines().enumerate().map(id).collect()
}
