//! Writes rows as an Arrow table with the columns `id`, `vector` and `metadata` (`TableWriter`, `Layout`);
//! `write_arrow_stream` writes a whole view. Used by the route `export`, by imports into a server, and by the Arrow
//! and Parquet files of `rows::write`.
//!
//! | column | type |
//! |---|---|
//! | `id` | `uint64` if all are numbers, `int64` if some of these are negative, else `utf8` |
//! | `id_is_number` | `bool`, only if some ids are numbers and some text, or numbers fit neither type; marked as ours |
//! | `vector` | fixed-size list of `float32` |
//! | `metadata` | `utf8`, the JSON object as it was given; null without one. Its own metadata has the declared fields |
//!
//! Reading such a table gives the same rows again: ids of all kinds, texts and bits.

use std::collections::HashMap;
use std::io::Write;
use std::sync::Arc;

use arrow_array::{
    ArrayRef, BooleanArray, FixedSizeListArray, Float32Array, Int64Array, RecordBatch, StringArray,
    UInt64Array,
};
use arrow_ipc::writer::{FileWriter, StreamWriter};
use arrow_schema::{ArrowError, DataType, Field, Schema as Table, SchemaRef};
use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::{FieldKinds, PointId};

use super::super::row_file::{IdKind, RowFile, Rows};
use super::super::view::ViewRows;
use super::columns::{DECLARED, METADATA_NAME, NUMBERS_NAME, OURS};

/// Rows of a record batch that is written.
pub(crate) const BATCH_ROWS: usize = 1_000;

/// What a table that is written has.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    table: SchemaRef,
    ids: IdKind,
    dim: Option<usize>,
}

impl Layout {
    /// Columns for vectors of `dim` elements, if any, and ids of a kind. `declared` are the declared fields of the
    /// metadata.
    pub(crate) fn new(ids: IdKind, dim: Option<usize>, declared: &FieldKinds) -> Layout {
        let mut fields = Vec::new();
        match ids {
            IdKind::None => {}
            IdKind::Numbers | IdKind::Large => {
                fields.push(Field::new("id", DataType::UInt64, false));
            }
            IdKind::Signed => fields.push(Field::new("id", DataType::Int64, false)),
            IdKind::Text | IdKind::Mixed => fields.push(Field::new("id", DataType::Utf8, false)),
        }
        if ids == IdKind::Mixed {
            let ours = HashMap::from([(OURS.to_owned(), NUMBERS_NAME.to_owned())]);
            let field = Field::new(NUMBERS_NAME, DataType::Boolean, false);
            fields.push(field.with_metadata(ours));
        }
        if let Some(dim) = dim {
            let list = DataType::FixedSizeList(Arc::new(element()), dim as i32);
            fields.push(Field::new("vector", list, false));
        }
        let mut metadata = Field::new(METADATA_NAME, DataType::Utf8, true);
        if !declared.is_empty() {
            let text = serde_json::to_string(declared).expect("texts and names have a JSON form");
            metadata.set_metadata(HashMap::from([(DECLARED.to_owned(), text)]));
        }
        fields.push(metadata);
        Layout { table: Arc::new(Table::new(fields)), ids, dim }
    }

    /// The columns.
    pub(crate) fn table(&self) -> &SchemaRef {
        &self.table
    }

    /// Rows as one record batch. The elements are moved, not copied.
    ///
    /// # Errors
    /// None for rows of this layout; the signature is that of the arrow crates.
    pub(crate) fn batch(&self, rows: Rows) -> Result<RecordBatch> {
        let mut columns: Vec<ArrayRef> = Vec::new();
        let text = |id: &PointId| id.to_string();
        match self.ids {
            IdKind::None => {}
            IdKind::Numbers | IdKind::Large => {
                columns.push(Arc::new(rows.ids.iter().map(unsigned).collect::<UInt64Array>()));
            }
            IdKind::Signed => {
                columns.push(Arc::new(rows.ids.iter().map(signed).collect::<Int64Array>()));
            }
            IdKind::Text | IdKind::Mixed => {
                columns.push(Arc::new(StringArray::from_iter_values(rows.ids.iter().map(text))));
            }
        }
        if self.ids == IdKind::Mixed {
            let is_number = |id: &PointId| Some(matches!(id, PointId::I64(_) | PointId::U64(_)));
            columns.push(Arc::new(rows.ids.iter().map(is_number).collect::<BooleanArray>()));
        }
        if let Some(dim) = self.dim {
            let elements: ArrayRef = Arc::new(Float32Array::from(rows.vectors));
            let lists = FixedSizeListArray::try_new(element().into(), dim as i32, elements, None);
            columns.push(Arc::new(lists.map_err(|error| failed("encode", error))?));
        }
        let mut metadata = rows.metadata;
        metadata.resize(rows.count, None);
        columns.push(Arc::new(StringArray::from(metadata)));
        RecordBatch::try_new(Arc::clone(&self.table), columns).map_err(|e| failed("encode", e))
    }
}

fn element() -> Field {
    Field::new("item", DataType::Float32, true)
}

/// A number of [`IdKind::Numbers`] or [`IdKind::Large`].
fn unsigned(id: &PointId) -> Option<u64> {
    match id {
        PointId::U64(number) => Some(*number),
        PointId::I64(_) | PointId::Uuid(_) | PointId::Str(_) => None,
    }
}

/// A number of [`IdKind::Signed`].
fn signed(id: &PointId) -> Option<i64> {
    match id {
        PointId::I64(number) => Some(*number),
        PointId::U64(number) => i64::try_from(*number).ok(),
        PointId::Uuid(_) | PointId::Str(_) => None,
    }
}

/// A table that is being written as an IPC stream or file.
pub(crate) struct TableWriter<W: Write> {
    layout: Layout,
    sink: Sink<W>,
}

enum Sink<W: Write> {
    Stream(StreamWriter<W>),
    File(FileWriter<W>),
}

impl<W: Write> TableWriter<W> {
    /// Begins a stream with its schema.
    ///
    /// # Errors
    /// `Io`, `StorageFull` from `out`.
    pub(crate) fn stream(layout: Layout, out: W) -> Result<Self> {
        let stream = StreamWriter::try_new(out, &layout.table).map_err(|e| failed("write", e))?;
        Ok(TableWriter { layout, sink: Sink::Stream(stream) })
    }

    /// Begins a file with its schema.
    ///
    /// # Errors
    /// As [`TableWriter::stream`].
    pub(crate) fn file(layout: Layout, out: W) -> Result<Self> {
        let file = FileWriter::try_new(out, &layout.table).map_err(|e| failed("write", e))?;
        Ok(TableWriter { layout, sink: Sink::File(file) })
    }

    /// Writes rows as one record batch.
    ///
    /// # Errors
    /// As [`TableWriter::stream`].
    pub(crate) fn write(&mut self, rows: Rows) -> Result<()> {
        let batch = self.layout.batch(rows)?;
        let written = match &mut self.sink {
            Sink::Stream(stream) => stream.write(&batch),
            Sink::File(file) => file.write(&batch),
        };
        written.map_err(|error| failed("write", error))
    }

    /// Writes the end mark.
    ///
    /// # Errors
    /// As [`TableWriter::stream`].
    pub(crate) fn finish(&mut self) -> Result<()> {
        let finished = match &mut self.sink {
            Sink::Stream(stream) => stream.finish(),
            Sink::File(file) => file.finish(),
        };
        finished.map_err(|error| failed("write", error))
    }

    /// Where it is written to.
    pub(crate) fn get_mut(&mut self) -> &mut W {
        match &mut self.sink {
            Sink::Stream(stream) => stream.get_mut(),
            Sink::File(file) => file.get_mut(),
        }
    }
}

/// Writes rows of a view as an IPC stream, in record batches of about 1,000 rows. Returns how many rows that
/// were. Takes the memory of one batch.
///
/// # Errors
/// `Corrupt` for a damaged segment; what `out` returns.
pub(crate) fn write_arrow_stream(
    mut source: ViewRows,
    include_vector: bool,
    out: &mut dyn Write,
) -> Result<u64> {
    let dim = include_vector.then_some(source.dim());
    let layout = Layout::new(source.id_kind()?, dim, &source.fields());
    if !include_vector {
        source = source.without_vectors();
    }
    let (mut writer, mut count) = (TableWriter::stream(layout, out)?, 0);
    loop {
        let rows = source.next_rows(BATCH_ROWS)?;
        if rows.count == 0 {
            break;
        }
        count += rows.count as u64;
        writer.write(rows)?;
    }
    writer.finish()?;
    Ok(count)
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "foreign kinds; only those of the system differ"
)]
fn failed(action: &str, error: ArrowError) -> Error {
    match error {
        ArrowError::IoError(_, error) => Error::io(action, "an Arrow table", error),
        other => Error::new(ErrorKind::Io, format!("{action} an Arrow table: {other}")),
    }
}
