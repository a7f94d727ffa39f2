//! Reads the `metadata` argument of `upsert`: columns or rows of Python values become one JSON text for each row. Used
//! by `upsert::Input`.
//!
//! Columns of NumPy numbers and bools are written here; other values go through `json`. A `None` row has no
//! metadata; a `None` value is an explicit null. NaN is refused by row and field: JSON has none. Tables of other
//! libraries, with their nulls, are read in Python (`nearfield/_metadata.py`). A field with a value that is a date by
//! its type, or whose column is of such a type, is declared by the batches of the call.

use std::borrow::Cow;
use std::ops::Range;

use nearfield_engine::Fault;
use nearfield_segment::payload::FieldPath;
use nearfield_segment::{FieldKind, FieldKinds};
use numpy::{PyArray1, PyArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyDict, PyList, PyString};

use crate::error::{Failure, Result, expected_got};
use crate::json::{self, Places, Unwritable};

/// The text of each row, if it has one.
pub(crate) type Texts = Vec<Option<Cow<'static, str>>>;

/// Metadata of one call, before it is written.
pub(crate) enum Metadata<'py> {
    /// No row has any.
    Absent,
    /// A dict or `None` for each row.
    Rows(Bound<'py, PyList>),
    /// The same fields for every row.
    Columns(Vec<Column<'py>>),
}

/// One field of every row.
pub(crate) struct Column<'py> {
    name: String,
    /// The name as a JSON key with its colon.
    key: String,
    values: Values<'py>,
}

enum Values<'py> {
    Bools(Vec<bool>),
    Signed(Vec<i64>),
    Unsigned(Vec<u64>),
    Singles(Vec<f32>),
    Floats(Vec<f64>),
    /// Texts of dates.
    Dates(Vec<Option<String>>),
    Objects(Bound<'py, PyList>),
}

impl<'py> Metadata<'py> {
    /// Reads what was given as `metadata=` for `rows` rows.
    pub(crate) fn read(value: Option<&Bound<'py, PyAny>>, rows: usize) -> Result<Metadata<'py>> {
        let Some(value) = value else { return Ok(Metadata::Absent) };
        static NORMALIZE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let normalize = NORMALIZE.import(value.py(), "nearfield._metadata", "metadata")?;
        let normal = normalize.call1((value,))?;
        if let Ok(list) = normal.cast::<PyList>() {
            check_count("metadata", list.len(), rows)?;
            return Ok(Metadata::Rows(list.clone()));
        }
        let columns = normal.cast::<PyDict>().map_err(PyErr::from)?;
        let columns: Result<Vec<Column<'py>>> =
            columns.iter().map(|(name, values)| Column::read(&name, &values, rows)).collect();
        Ok(Metadata::Columns(columns?))
    }

    /// Texts of some rows. What was given as dates is declared in `fields`.
    pub(crate) fn texts(&self, rows: Range<usize>, fields: &mut FieldKinds) -> Result<Texts> {
        match self {
            Metadata::Absent => Ok(Vec::new()),
            Metadata::Rows(list) => rows
                .map(|row| {
                    let value = list.get_item(row)?;
                    if value.is_none() {
                        return Ok(None);
                    }
                    if !value.is_instance_of::<PyDict>() {
                        return Err(refuse(row, "", "a dict or None", &json::describe(&value)));
                    }
                    let mut text = String::with_capacity(64);
                    let dates = json::write(&value, &mut text);
                    declare(dates.map_err(|error| unwritable(row, "", error))?, fields);
                    Ok(Some(Cow::Owned(text)))
                })
                .collect(),
            Metadata::Columns(columns) => {
                let of_dates = |column: &&Column<'_>| matches!(column.values, Values::Dates(_));
                let of_dates = columns.iter().filter(of_dates);
                declare(of_dates.map(|column| vec![column.name.clone()]).collect(), fields);
                rows.map(|row| Ok(Some(Cow::Owned(write_row(columns, row, fields)?)))).collect()
            }
        }
    }
}

fn declare(dates: json::Places, fields: &mut FieldKinds) {
    for keys in dates {
        let path = FieldPath::from_keys(keys.iter().rev().map(String::as_str));
        fields.insert(path.as_str().to_owned(), FieldKind::Datetime);
    }
}

fn write_row(columns: &[Column<'_>], row: usize, fields: &mut FieldKinds) -> Result<String> {
    let mut text = String::with_capacity(24 * columns.len() + 2);
    text.push('{');
    for (index, column) in columns.iter().enumerate() {
        if index > 0 {
            text.push(',');
        }
        text.push_str(&column.key);
        let dates = column.write(row, &mut text);
        declare(dates.map_err(|error| unwritable(row, &column.name, error))?, fields);
    }
    text.push('}');
    Ok(text)
}

impl<'py> Column<'py> {
    fn read(name: &Bound<'py, PyAny>, values: &Bound<'py, PyAny>, rows: usize) -> Result<Self> {
        let Ok(text) = name.cast::<PyString>() else {
            return Err(Failure::fault(
                Fault::Metadata,
                "metadata: names of columns",
                "strings",
                &json::describe(name),
            ));
        };
        let name = text.to_string_lossy().into_owned();
        let mut key = String::new();
        json::write_str(&name, &mut key);
        key.push(':');
        let values = Values::read(values)?;
        check_count(&format!("metadata column {name:?}"), values.len(), rows)?;
        Ok(Column { name, key, values })
    }

    /// Appends the value of a row; returns where it has dates, unless the whole column is of dates.
    fn write(&self, row: usize, out: &mut String) -> std::result::Result<Places, Unwritable> {
        let mut dates = Places::new();
        match &self.values {
            Values::Bools(values) => json::write_number(values[row], out),
            Values::Signed(values) => json::write_number(values[row], out),
            Values::Unsigned(values) => json::write_number(values[row], out),
            Values::Singles(values) => json::write_f32(values[row], out)?,
            Values::Floats(values) => json::write_f64(values[row], out)?,
            Values::Dates(values) => match &values[row] {
                Some(text) => json::write_str(text, out),
                None => out.push_str("null"),
            },
            Values::Objects(values) => {
                let value = values.get_item(row).map_err(|_| Unwritable {
                    expected: "as many values as before".into(),
                    got: "a list that became shorter".to_owned(),
                })?;
                dates = json::write(&value, out)?;
                dates.iter_mut().for_each(|place| place.push(self.name.clone()));
            }
        }
        Ok(dates)
    }
}

impl<'py> Values<'py> {
    /// From a contiguous array of float32 or a 64-bit type, or a list, perhaps of dates: what `_metadata.metadata`
    /// returns.
    fn read(values: &Bound<'py, PyAny>) -> Result<Values<'py>> {
        static DATES: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        if values.is_instance(DATES.import(values.py(), "nearfield._metadata", "Dates")?)? {
            return Ok(Values::Dates(values.extract()?));
        }
        array(values, Values::Signed)
            .or_else(|| array(values, Values::Floats))
            .or_else(|| array(values, Values::Singles))
            .or_else(|| array(values, Values::Unsigned))
            .or_else(|| array(values, Values::Bools))
            .unwrap_or_else(|| {
                Ok(Values::Objects(values.cast::<PyList>().map_err(PyErr::from)?.clone()))
            })
    }

    fn len(&self) -> usize {
        match self {
            Values::Bools(values) => values.len(),
            Values::Signed(values) => values.len(),
            Values::Unsigned(values) => values.len(),
            Values::Singles(values) => values.len(),
            Values::Floats(values) => values.len(),
            Values::Dates(values) => values.len(),
            Values::Objects(values) => values.len(),
        }
    }
}

/// The elements of an array, if it is one of `T`.
fn array<'py, T: numpy::Element>(
    values: &Bound<'py, PyAny>,
    wrap: fn(Vec<T>) -> Values<'py>,
) -> Option<Result<Values<'py>>> {
    let copied = |_| Failure::wrong_type("metadata", "a contiguous column", "another layout");
    Some(values.cast::<PyArray1<T>>().ok()?.to_vec().map(wrap).map_err(copied))
}

fn check_count(what: &str, got: usize, rows: usize) -> Result<()> {
    if got == rows {
        return Ok(());
    }
    let expected = format!("one value for each of the {rows} vectors");
    Err(Failure::fault(Fault::Metadata, what, &expected, &got.to_string()))
}

fn unwritable(row: usize, field: &str, error: Unwritable) -> Failure {
    refuse(row, field, &error.expected, &error.got)
}

fn refuse(row: usize, field: &str, expected: &str, got: &str) -> Failure {
    let place = if field.is_empty() {
        format!("metadata of row {row}")
    } else {
        format!("metadata of row {row}, field {field:?}")
    };
    let error = expected_got(Fault::Metadata, &place, expected, got).with("row", row);
    Failure::Engine(if field.is_empty() { error } else { error.with("column", field) })
}
