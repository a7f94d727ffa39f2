//! Converts cells of Arrow columns to JSON text, one cell at a time (`RowText`). Called by `table` for metadata.
//!
//! Integers and decimals keep every digit; floats are the shortest text that reads back the same. Nulls and NaN
//! (pandas' null) are left out of objects, and `null` in lists. Timestamps and dates are the texts of [`date_text`];
//! with a time zone, in which the column is to be shown, they are moments of UTC and end with `Z`. What has no JSON
//! form (infinity) is an error naming row and column. Times of day and durations were refused by [`super::columns`].

use std::borrow::Cow;

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal128Type, Float16Type, Float32Type, Float64Type, Int8Type,
    Int16Type, Int32Type, Int64Type, TimestampMicrosecondType, TimestampMillisecondType,
    TimestampNanosecondType, TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, StructArray};
use arrow_schema::{DataType, TimeUnit};
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::payload::ROW_JSON_BYTES_MAX;
use nearfield_segment::shown;
use serde_json::Value;

use super::super::date::{Unit, date_text};

/// The JSON of one row while it is written: never longer than the engine takes.
#[derive(Debug, Default)]
pub(super) struct RowText(String);

impl RowText {
    /// A text that is there already.
    ///
    /// # Errors
    /// As [`RowText::push`].
    pub(super) fn of(text: &str) -> Result<String> {
        let mut row = RowText::default();
        row.push(text)?;
        Ok(row.0)
    }

    /// # Errors
    /// `InvalidInput(Metadata)` if the row would be too long.
    fn push(&mut self, text: &str) -> Result<()> {
        if text.len() > ROW_JSON_BYTES_MAX - self.0.len() {
            let expected = format!("at most {ROW_JSON_BYTES_MAX} bytes of JSON in a row");
            return Err(refused(&expected, "more"));
        }
        self.0.push_str(text);
        Ok(())
    }

    pub(super) fn into_string(self) -> String {
        self.0
    }
}

/// Appends the object of a row: a key for each of `columns` that has a value there.
///
/// # Errors
/// `InvalidInput(Metadata)` naming the key.
pub(super) fn write_object(
    out: &mut RowText,
    columns: &mut dyn Iterator<Item = (&str, &ArrayRef)>,
    row: usize,
) -> Result<()> {
    out.push("{")?;
    let mut before = "";
    for (name, column) in columns {
        if is_missing(column, row) {
            continue;
        }
        out.push(before)?;
        before = ",";
        write_text(out, name)?;
        out.push(":")?;
        write(out, column, row).map_err(|error| error.context(shown(name)))?;
    }
    out.push("}")
}

/// The text of a cell whose column is text; `None` for null.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
pub(super) fn text(column: &dyn Array, row: usize) -> Option<&str> {
    if row >= column.len() || column.is_null(row) {
        return None;
    }
    match column.data_type() {
        DataType::Utf8 => Some(column.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => Some(column.as_string::<i64>().value(row)),
        DataType::Utf8View => Some(column.as_string_view().value(row)),
        DataType::Dictionary(..) => {
            let dictionary = column.as_any_dictionary();
            let key = usize::try_from(whole(dictionary.keys(), row)?).ok()?;
            text(dictionary.values(), key)
        }
        _ => None,
    }
}

/// Null, or NaN.
fn is_missing(column: &dyn Array, row: usize) -> bool {
    column.is_null(row)
        || *column.data_type() == DataType::Null
        || float(column, row).is_some_and(f64::is_nan)
        || matches!(column.data_type(), DataType::Dictionary(..)) && text(column, row).is_none()
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
fn float(column: &dyn Array, row: usize) -> Option<f64> {
    match column.data_type() {
        DataType::Float16 => Some(column.as_primitive::<Float16Type>().value(row).to_f64()),
        DataType::Float32 => Some(column.as_primitive::<Float32Type>().value(row).into()),
        DataType::Float64 => Some(column.as_primitive::<Float64Type>().value(row)),
        _ => None,
    }
}

/// Appends one value; the column's type was checked by [`super::columns`].
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
fn write(out: &mut RowText, column: &dyn Array, row: usize) -> Result<()> {
    use DataType as T;
    if is_missing(column, row) {
        return out.push("null");
    }
    match column.data_type() {
        T::Boolean => out.push(if column.as_boolean().value(row) { "true" } else { "false" })?,
        // As f32, so that 0.1 does not become 0.10000000149011612.
        T::Float32 => write_float(out, column.as_primitive::<Float32Type>().value(row))?,
        T::Float16 => write_float(out, column.as_primitive::<Float16Type>().value(row).to_f32())?,
        T::Float64 => write_float(out, column.as_primitive::<Float64Type>().value(row))?,
        T::Decimal128(..) => {
            out.push(&column.as_primitive::<Decimal128Type>().value_as_string(row))?;
        }
        T::Timestamp(..) | T::Date32 | T::Date64 => write_date(out, column, row)?,
        T::List(_) => write_list(out, &column.as_list::<i32>().value(row))?,
        T::LargeList(_) => write_list(out, &column.as_list::<i64>().value(row))?,
        T::FixedSizeList(..) => write_list(out, &column.as_fixed_size_list().value(row))?,
        T::Struct(_) => write_struct(out, column.as_struct(), row)?,
        _ => match (whole(column, row), text(column, row)) {
            (Some(number), _) => out.push(&number.to_string())?,
            (None, Some(text)) => write_text(out, text)?,
            (None, None) => return Err(refused("a value that JSON has", column.data_type())),
        },
    }
    Ok(())
}

/// Appends the object of a struct's row.
///
/// # Errors
/// As [`write_object`].
pub(super) fn write_struct(out: &mut RowText, column: &StructArray, row: usize) -> Result<()> {
    let names = column.fields().iter().map(|field| field.name().as_str());
    write_object(out, &mut names.zip(column.columns()), row)
}

/// Appends a timestamp or a date.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "the last of the dates; callers have no other type"
)]
fn write_date(out: &mut RowText, column: &dyn Array, row: usize) -> Result<()> {
    let (value, unit) = match column.data_type() {
        DataType::Date32 => (column.as_primitive::<Date32Type>().value(row).into(), Unit::Days),
        DataType::Timestamp(TimeUnit::Second, _) => {
            (column.as_primitive::<TimestampSecondType>().value(row), Unit::Seconds)
        }
        DataType::Timestamp(TimeUnit::Microsecond, _) => {
            (column.as_primitive::<TimestampMicrosecondType>().value(row), Unit::Microseconds)
        }
        DataType::Timestamp(TimeUnit::Nanosecond, _) => {
            (column.as_primitive::<TimestampNanosecondType>().value(row), Unit::Nanoseconds)
        }
        DataType::Timestamp(TimeUnit::Millisecond, _) => {
            (column.as_primitive::<TimestampMillisecondType>().value(row), Unit::Milliseconds)
        }
        _ => (column.as_primitive::<Date64Type>().value(row), Unit::Milliseconds),
    };
    let text = date_text(value, unit)
        .ok_or_else(|| refused("a date of the years 0000 to 9999", format!("{value} {unit:?}")))?;
    let zone = if matches!(column.data_type(), DataType::Timestamp(_, Some(_))) { "Z" } else { "" };
    out.push(&format!("\"{text}{zone}\""))
}

fn write_list(out: &mut RowText, items: &ArrayRef) -> Result<()> {
    out.push("[")?;
    for item in 0..items.len() {
        out.push(if item > 0 { "," } else { "" })?;
        write(out, items, item)?;
    }
    out.push("]")
}

fn write_text(out: &mut RowText, text: &str) -> Result<()> {
    // Escaped it is longer still: what cannot fit is not copied.
    let text = if text.len() > ROW_JSON_BYTES_MAX { Cow::from(text) } else { escaped(text) };
    out.push(&text)
}

fn escaped(text: &str) -> Cow<'_, str> {
    Value::from(text).to_string().into()
}

/// The shortest text that reads back as the same number; `{:?}` writes nothing that JSON has not.
fn write_float(out: &mut RowText, number: impl Into<f64> + Copy + std::fmt::Debug) -> Result<()> {
    if !number.into().is_finite() {
        return Err(refused("a finite number", format!("{number:?}")));
    }
    out.push(&format!("{number:?}"))
}

/// A whole number; `None` for other types.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
pub(super) fn whole(column: &dyn Array, row: usize) -> Option<i128> {
    use DataType as T;
    Some(match column.data_type() {
        T::Int8 => column.as_primitive::<Int8Type>().value(row).into(),
        T::Int16 => column.as_primitive::<Int16Type>().value(row).into(),
        T::Int32 => column.as_primitive::<Int32Type>().value(row).into(),
        T::Int64 => column.as_primitive::<Int64Type>().value(row).into(),
        T::UInt8 => column.as_primitive::<UInt8Type>().value(row).into(),
        T::UInt16 => column.as_primitive::<UInt16Type>().value(row).into(),
        T::UInt32 => column.as_primitive::<UInt32Type>().value(row).into(),
        T::UInt64 => column.as_primitive::<UInt64Type>().value(row).into(),
        _ => return None,
    })
}

fn refused(expected: &str, found: impl std::fmt::Display) -> Error {
    let message = format!("expected {expected}, found {found}");
    Error::invalid(Fault::Metadata, message)
        .with("expected", expected)
        .with("got", found.to_string())
}
