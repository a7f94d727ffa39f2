//! Converts Arrow record batches to rows (`TableReader`, `TableRows`): vectors to f32, ids, metadata as JSON text.
//! Used by `ArrowRows` and `Parquet`.
//!
//! Errors name column and row, counted from the first batch on. A batch whose metadata would fill more than the engine
//! takes at once is refused while it is written, however small its columns are.

use std::collections::BTreeMap;

use arrow_array::cast::AsArray;
use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_schema::Schema as Table;
use nearfield_engine::batch::IDEMPOTENCY_KEY_BYTES_MAX;
use nearfield_engine::log::BODY_BYTES_MAX;
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::{FieldKinds, PointId, Schema, shown};

use super::cells::{self, RowText};
use super::columns::{ColumnNames, Columns, Metadata};
use super::meter::Meter;
use super::vectors::{self, RowFault};

/// The rows of one record batch.
#[derive(Debug)]
pub(crate) struct TableRows {
    /// Number of rows.
    pub(crate) count: usize,
    /// Elements by vector field, row-major.
    pub(crate) vectors: BTreeMap<String, Vec<f32>>,
    /// Ids by row, if there is a column of them.
    pub(crate) ids: Option<Vec<PointId>>,
    /// JSON objects by row; empty if no column is metadata.
    pub(crate) metadata: Vec<Option<String>>,
    /// Metadata fields that are dates by the types of the columns.
    pub(crate) fields: FieldKinds,
    /// Idempotency keys by row; empty if there is no column of them.
    pub(crate) keys: Vec<Option<String>>,
}

/// How to read the batches of one table.
#[derive(Debug)]
pub(crate) struct TableReader {
    columns: Columns,
    /// Elements a row, by vector field; learned from the first row where the schema does not say.
    dims: BTreeMap<String, usize>,
    rows: u64,
}

impl TableReader {
    /// Decides what the columns of `table` are; `schema` is the collection's, if it is known.
    ///
    /// # Errors
    /// As [`Columns::find`].
    pub(crate) fn new(table: &Table, names: &ColumnNames, schema: Option<&Schema>) -> Result<Self> {
        let columns = Columns::find(table, names, schema)?;
        let specs = schema.into_iter().flat_map(|schema| &schema.vectors);
        let dims = specs.map(|(name, spec)| (name.clone(), spec.dim as usize)).collect();
        Ok(TableReader { columns, dims, rows: 0 })
    }

    /// The rows of the next batch; `meter` is called for each part before it is copied.
    ///
    /// # Errors
    /// `InvalidInput` naming the column, and the row counted from the first batch on; what `meter` returns.
    pub(crate) fn rows(&mut self, batch: &RecordBatch, meter: &mut Meter<'_>) -> Result<TableRows> {
        let (first, count) = (self.rows, batch.num_rows());
        let mut by_field = BTreeMap::new();
        for (field, &position) in &self.columns.vectors {
            let mut dim = self.dims.get(field).copied();
            meter.take(vectors::count(batch.column(position)) * size_of::<f32>())?;
            let elements = vectors::elements(batch.column(position), &mut dim);
            let elements = elements.map_err(|fault| located(fault, batch, position, first))?;
            by_field.insert(field.clone(), elements);
            self.dims.extend(dim.map(|dim| (field.clone(), dim)));
        }
        let rows = TableRows {
            count,
            vectors: by_field,
            ids: self.ids(batch, meter)?,
            metadata: self.metadata(batch, meter)?,
            fields: self.columns.fields.clone(),
            keys: self.keys(batch, meter)?,
        };
        self.rows += count as u64;
        Ok(rows)
    }

    fn ids(&self, batch: &RecordBatch, meter: &mut Meter<'_>) -> Result<Option<Vec<PointId>>> {
        let Some(position) = self.columns.id else { return Ok(None) };
        let column = batch.column(position);
        let numbers = self.columns.id_is_number.map(|position| batch.column(position));
        let numbers = numbers.and_then(|column| column.as_boolean_opt());
        let is_number = |row: usize| numbers.is_some_and(|marks| marks.value(row));
        let located = |row, error| located(RowFault { row, error }, batch, position, self.rows);
        meter.take(batch.num_rows() * size_of::<PointId>())?;
        let mut ids = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let id = id_at(column, row, is_number(row)).map_err(|error| located(row, error))?;
            if let PointId::Str(text) = &id {
                meter.take(text.len())?;
            }
            ids.push(id);
        }
        Ok(Some(ids))
    }

    fn keys(&self, batch: &RecordBatch, meter: &mut Meter<'_>) -> Result<Vec<Option<String>>> {
        let Some(position) = self.columns.keys else { return Ok(Vec::new()) };
        let column = batch.column(position);
        meter.take(batch.num_rows() * size_of::<Option<String>>())?;
        let mut keys = Vec::with_capacity(batch.num_rows());
        for row in 0..batch.num_rows() {
            let key = cells::text(column, row);
            let len = key.map_or(0, str::len);
            if len > IDEMPOTENCY_KEY_BYTES_MAX {
                let expected = format!("a key of at most {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
                let message = format!("expected {expected}, got {len}");
                let error = Error::invalid(Fault::Parameter, message);
                let error = error.with("expected", expected).with("got", len);
                return Err(located(RowFault { row, error }, batch, position, self.rows));
            }
            meter.take(len)?;
            keys.push(key.map(str::to_owned));
        }
        Ok(keys)
    }

    fn metadata(&self, batch: &RecordBatch, meter: &mut Meter<'_>) -> Result<Vec<Option<String>>> {
        let positions: &[usize] = match &self.columns.metadata {
            Metadata::None => return Ok(Vec::new()),
            Metadata::Whole(position) => std::slice::from_ref(position),
            Metadata::Columns(positions) => positions,
        };
        let whole = matches!(self.columns.metadata, Metadata::Whole(_));
        let table = batch.schema();
        let columns: Vec<(&str, &ArrayRef)> = positions
            .iter()
            .map(|&position| (table.field(position).name().as_str(), batch.column(position)))
            .collect();
        meter.take(batch.num_rows() * size_of::<Option<String>>())?;
        let (mut rows, mut bytes) = (Vec::with_capacity(batch.num_rows()), 0);
        for row in 0..batch.num_rows() {
            let text = if whole { object(columns[0].1, row) } else { fields(&columns, row) };
            let text = text.map_err(|error| {
                let row = self.rows + row as u64;
                error.context(format!("row {row}")).with("row", row)
            })?;
            meter.take(text.as_ref().map_or(0, String::capacity))?;
            bytes += text.as_ref().map_or(0, String::len);
            if bytes > BODY_BYTES_MAX {
                let message =
                    format!("metadata of one batch: expected at most {BODY_BYTES_MAX} bytes");
                return Err(Error::invalid(Fault::Metadata, message));
            }
            rows.push(text);
        }
        Ok(rows)
    }
}

/// The object in a column of whole objects.
fn object(column: &ArrayRef, row: usize) -> Result<Option<String>> {
    if column.is_null(row) {
        return Ok(None);
    }
    if let Some(column) = column.as_struct_opt() {
        let mut text = RowText::default();
        cells::write_struct(&mut text, column, row)?;
        return Ok(Some(text.into_string()));
    }
    cells::text(column, row).map(RowText::of).transpose()
}

/// The object made of one row of several columns; none if all are null there.
fn fields(columns: &[(&str, &ArrayRef)], row: usize) -> Result<Option<String>> {
    let mut text = RowText::default();
    cells::write_object(&mut text, &mut columns.iter().copied(), row)?;
    let text = text.into_string();
    Ok((text != "{}").then_some(text))
}

fn id_at(column: &ArrayRef, row: usize, is_number: bool) -> Result<PointId> {
    if column.is_null(row) {
        return Err(bad_id("null"));
    }
    if let Some(number) = cells::whole(column, row) {
        return PointId::from_integer(number).ok_or_else(|| bad_id(number));
    }
    if let Some(bytes) = column.as_fixed_size_binary_opt() {
        let bytes: std::result::Result<[u8; 16], _> = bytes.value(row).try_into();
        let mut bytes = bytes.map_err(|_| bad_id("bytes that are no UUID"))?;
        bytes.reverse();
        return Ok(PointId::Uuid(u128::from_le_bytes(bytes)));
    }
    match cells::text(column, row) {
        Some(text) if is_number => PointId::from_digits(text).ok_or_else(|| bad_id(shown(text))),
        Some(text) => PointId::from_text(text),
        None => Err(bad_id("null")),
    }
}

fn bad_id(found: impl std::fmt::Display) -> Error {
    let expected = "-2^63 to 2^64 - 1 or a text";
    let message = format!("id: expected {expected}, found {found}");
    Error::invalid(Fault::Id, message).with("expected", expected).with("got", found.to_string())
}

/// Names the column, and the row as counted from the first batch on.
fn located(fault: RowFault, batch: &RecordBatch, position: usize, first: u64) -> Error {
    let (table, row) = (batch.schema(), first + fault.row as u64);
    let column = table.field(position).name();
    let column = shown(column);
    fault.error.context(format!("row {row}, column {column:?}")).with("row", row)
}
