//! `TableFile`: a file of tables as a row file, made by `rows::open`; the trait `Tables`, implemented by
//! `ArrowFile` and `Parquet`, yields the rows of one record batch after the other.
//!
//! Record batches have the size their writer chose; here they are cut to what the reader asks for. One
//! batch is in memory at a time.

use nearfield_engine::{Error, Result};
use nearfield_segment::{DEFAULT_FIELD, FieldKinds, PointId};

use super::arrow::TableRows;
use super::row_file::{RowFile, Rows};

/// A source of record batches.
pub(super) trait Tables {
    /// Rows of the next batch, `None` at the end.
    ///
    /// # Errors
    /// As [`RowFile::next_rows`].
    fn next_table(&mut self) -> Result<Option<TableRows>>;

    /// As [`RowFile::rows`].
    fn rows(&self) -> Option<u64>;

    /// As [`RowFile::progress`].
    fn progress(&self) -> (u64, u64);
}

/// A file of record batches, open at its next row.
#[derive(Debug)]
pub(super) struct TableFile<T> {
    source: T,
    dim: usize,
    fields: FieldKinds,
    batch: Batch,
}

/// What is left of a batch.
#[derive(Debug, Default)]
struct Batch {
    left: usize,
    vectors: std::vec::IntoIter<f32>,
    ids: std::vec::IntoIter<PointId>,
    metadata: std::vec::IntoIter<Option<String>>,
}

impl<T: Tables> TableFile<T> {
    /// Reads the first batch that has rows, which says the dimension.
    ///
    /// # Errors
    /// As [`RowFile::next_rows`]; `Corrupt` without any row.
    pub(super) fn open(name: &str, source: T) -> Result<Self> {
        let mut file =
            TableFile { source, dim: 0, fields: FieldKinds::NONE, batch: Batch::default() };
        file.next_batch()?;
        if file.batch.left == 0 {
            return Err(Error::corrupt(name, "rows", "expected at least one row, found none"));
        }
        file.dim = file.batch.vectors.len() / file.batch.left;
        Ok(file)
    }

    /// Takes the next batch that has rows, if there is one.
    fn next_batch(&mut self) -> Result<()> {
        while self.batch.left == 0 {
            let Some(mut table) = self.source.next_table()? else { break };
            self.fields = table.fields;
            let vectors = table.vectors.remove(DEFAULT_FIELD).unwrap_or_default();
            self.batch = Batch {
                left: table.count,
                vectors: vectors.into_iter(),
                ids: table.ids.unwrap_or_default().into_iter(),
                metadata: table.metadata.into_iter(),
            };
        }
        Ok(())
    }
}

impl<T: Tables> RowFile for TableFile<T> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn fields(&self) -> FieldKinds {
        self.fields.clone()
    }

    fn rows(&self) -> Option<u64> {
        self.source.rows()
    }

    fn progress(&self) -> (u64, u64) {
        self.source.progress()
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        self.next_batch()?;
        let count = count_max.min(self.batch.left);
        self.batch.left -= count;
        Ok(Rows {
            count,
            vectors: self.batch.vectors.by_ref().take(count * self.dim).collect(),
            ids: self.batch.ids.by_ref().take(count).collect(),
            metadata: self.batch.metadata.by_ref().take(count).collect(),
        })
    }
}
