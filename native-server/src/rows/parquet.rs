//! `Parquet`: reads `.parquet` files as rows, a part of a row group at a time. Opened by `rows::open`.
//!
//! The footer is checked before memory is taken by its numbers. Pages are decoded by the parquet crate; a
//! panic of its on a malformed page is turned into an error.

use std::fs::File;

use nearfield_engine::{Error, Result};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::file::metadata::ParquetMetaData;

use super::arrow::{ColumnNames, Meter, TableReader, TableRows};
use super::caught::caught;
use super::input::file_len;
use super::tables::Tables;

/// Bytes of values from which a part is not made larger.
const PART_BYTES_MAX: u64 = 32 << 20;
const PART_ROWS_MAX: u64 = 8_192;
/// A column of a row group that says it is larger cannot be decoded in memory.
const COLUMN_BYTES_MAX: i64 = 16 << 30;

/// An open file.
pub(super) struct Parquet {
    name: String,
    batches: ParquetRecordBatchReader,
    reader: TableReader,
    rows: u64,
    done: u64,
}

impl Parquet {
    /// Reads the footer, and decides what the columns are.
    ///
    /// # Errors
    /// `Corrupt` for a footer that cannot be; `InvalidInput` for columns that cannot be used.
    pub(super) fn open(name: String, file: File, names: &ColumnNames) -> Result<Self> {
        let len = file_len(&file, &name)?;
        let opened = guarded(&name, || ParquetRecordBatchReaderBuilder::try_new(file))?;
        let builder = opened.map_err(|error| corrupt(&name, error))?;
        let part_rows = check(&name, builder.metadata(), len)?;
        let rows = builder.metadata().file_metadata().num_rows().cast_unsigned();
        let reader = TableReader::new(builder.schema(), names, None);
        let reader = reader.map_err(|error| error.context(&name))?;
        let built = guarded(&name, || builder.with_batch_size(part_rows).build())?;
        let batches = built.map_err(|error| corrupt(&name, error))?;
        Ok(Parquet { name, batches, reader, rows, done: 0 })
    }
}

/// How many rows to read at a time, if the numbers of the footer agree.
fn check(name: &str, metadata: &ParquetMetaData, len: u64) -> Result<usize> {
    let (mut rows, mut bytes) = (0i64, 0u64);
    for group in metadata.row_groups() {
        let refused = |found: String| Err(Error::corrupt(name, "footer", found));
        if group.num_rows() < 0 {
            return refused(format!("a row group of {} rows", group.num_rows()));
        }
        for column in group.columns() {
            let (stored, decoded) = (column.compressed_size(), column.uncompressed_size());
            let stored = u64::try_from(stored).ok().filter(|stored| *stored <= len);
            if stored.is_none() || !(0..=COLUMN_BYTES_MAX).contains(&decoded) {
                return refused(format!("a column of {} bytes in {len}", column.compressed_size()));
            }
            bytes = bytes.saturating_add(decoded.cast_unsigned());
        }
        rows = rows.saturating_add(group.num_rows());
    }
    let announced = metadata.file_metadata().num_rows();
    if announced != rows {
        let found = format!("{announced} rows, its row groups have {rows}");
        return Err(Error::corrupt(name, "footer", found));
    }
    let row_bytes = bytes.checked_div(rows.cast_unsigned()).unwrap_or(0).max(1);
    Ok((PART_BYTES_MAX / row_bytes).clamp(1, PART_ROWS_MAX) as usize)
}

impl Tables for Parquet {
    fn next_table(&mut self) -> Result<Option<TableRows>> {
        let Some(batch) = guarded(&self.name, || self.batches.next())? else {
            return match self.done == self.rows {
                true => Ok(None),
                false => Err(corrupt(&self.name, format!("{} of {} rows", self.done, self.rows))),
            };
        };
        let batch = batch.map_err(|error| corrupt(&self.name, error))?;
        let mut unlimited = |_: u64| Ok(());
        let mut meter = Meter::new(&mut unlimited, 0);
        let rows =
            self.reader.rows(&batch, &mut meter).map_err(|error| error.context(&self.name))?;
        self.done += rows.count as u64;
        Ok(Some(rows))
    }

    fn rows(&self) -> Option<u64> {
        Some(self.rows)
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.rows)
    }
}

/// Runs a step of the parquet crate. Pages are only known once they are read, so their contents cannot be
/// checked before; the crate indexes and asserts there. After a panic the reader is not used again.
fn guarded<T>(name: &str, step: impl FnOnce() -> T) -> Result<T> {
    caught(step).ok_or_else(|| corrupt(name, "pages or footer that contradict each other"))
}

fn corrupt(name: &str, found: impl std::fmt::Display) -> Error {
    Error::corrupt(name, "Parquet", found)
}
