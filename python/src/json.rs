//! Converts Python values to JSON text and back: metadata, filters, reports. Used by `metadata`, `arguments`, `hits`,
//! `rows` and `collection`.
//!
//! Writing is strict, because the text is kept for good: NaN, infinities, integers beyond 64 bits and
//! objects without a JSON form are refused by name. Reading is Python's own `json`, once per list.

use std::borrow::Cow;

use nearfield_segment::shown;
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde_json::Value;

/// Values may be nested this deep; the engine's own limits are lower.
const DEPTH_MAX: usize = 200;

/// What could not be written.
#[derive(Debug)]
pub(crate) struct Unwritable {
    /// What would do.
    pub(crate) expected: Cow<'static, str>,
    /// What was found.
    pub(crate) got: String,
}

impl Unwritable {
    fn new(expected: &'static str, got: impl Into<String>) -> Unwritable {
        Unwritable { expected: Cow::Borrowed(expected), got: got.into() }
    }
}

/// The places of dates: of each the keys that lead to it, the innermost first. A date in a list is at the place of the
/// list.
pub(crate) type Places = Vec<Vec<String>>;

/// Appends `value` to `out` as JSON. Returns where it has dates, which are written as texts.
pub(crate) fn write(value: &Bound<'_, PyAny>, out: &mut String) -> Result<Places, Unwritable> {
    let mut writer = Writer { out, dates: Places::new() };
    writer.write(value, 0)?;
    Ok(writer.dates)
}

struct Writer<'o> {
    out: &'o mut String,
    dates: Places,
}

impl Writer<'_> {
    fn write(&mut self, value: &Bound<'_, PyAny>, depth: usize) -> Result<(), Unwritable> {
        let out = &mut *self.out;
        if depth > DEPTH_MAX {
            return Err(Unwritable::new("at most 200 levels", "more"));
        }
        if let Ok(text) = value.cast::<PyString>() {
            if is_date(text) {
                self.dates.push(Vec::new());
            }
            let text = text
                .to_str()
                .map_err(|_| Unwritable::new("Unicode text", "a string with lone surrogates"))?;
            write_str(text, out);
        } else if value.is_none() {
            out.push_str("null");
        } else if let Ok(flag) = value.cast::<PyBool>() {
            out.push_str(if flag.is_true() { "true" } else { "false" });
        } else if let Ok(number) = value.cast::<PyInt>() {
            write_integer(number, out)?;
        } else if let Ok(number) = value.cast::<PyFloat>() {
            write_f64(number.value(), out)?;
        } else if let Ok(object) = value.cast::<PyDict>() {
            self.write_object(object, depth)?;
        } else if let Ok(list) = value.cast::<PyList>() {
            self.write_list(list.iter(), depth)?;
        } else if let Ok(tuple) = value.cast::<PyTuple>() {
            self.write_list(tuple.iter(), depth)?;
        } else {
            self.write(&plain(value)?, depth + 1)?;
        }
        Ok(())
    }

    fn write_object(&mut self, object: &Bound<'_, PyDict>, depth: usize) -> Result<(), Unwritable> {
        self.out.push('{');
        for (index, (key, value)) in object.iter().enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            let Ok(key) = key.cast::<PyString>() else {
                return Err(Unwritable::new("keys that are strings", describe(&key)));
            };
            self.write(key, depth + 1)?;
            self.out.push(':');
            let before = self.dates.len();
            self.write(&value, depth + 1)?;
            for place in &mut self.dates[before..] {
                place.push(key.to_string_lossy().into_owned());
            }
        }
        self.out.push('}');
        Ok(())
    }

    fn write_list<'py>(
        &mut self,
        items: impl Iterator<Item = Bound<'py, PyAny>>,
        depth: usize,
    ) -> Result<(), Unwritable> {
        self.out.push('[');
        for (index, item) in items.enumerate() {
            if index > 0 {
                self.out.push(',');
            }
            self.write(&item, depth + 1)?;
        }
        self.out.push(']');
        Ok(())
    }
}

/// Whether a text was given as a date.
fn is_date(text: &Bound<'_, PyString>) -> bool {
    static DATE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let is_date = || text.is_instance(DATE.import(text.py(), "nearfield._metadata", "Date")?);
    !text.is_exact_instance_of::<PyString>() && is_date().unwrap_or(false)
}

/// NumPy scalars and arrays, nulls of pandas, UUIDs and dates in terms of Python's own values.
fn plain<'py>(value: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, Unwritable> {
    static PLAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let plain = PLAIN.import(value.py(), "nearfield._metadata", "plain");
    plain.and_then(|plain| plain.call1((value,))).map_err(|error| {
        // A `ValueError` says what would do instead.
        let expected = match error.is_instance_of::<PyValueError>(value.py()) {
            true => Cow::Owned(error.value(value.py()).to_string()),
            false => Cow::Borrowed("a string, number, bool, None, list or dict"),
        };
        Unwritable { expected, got: describe(value) }
    })
}

fn write_integer(number: &Bound<'_, PyInt>, out: &mut String) -> Result<(), Unwritable> {
    if let Ok(value) = number.extract::<i64>() {
        write_number(value, out);
    } else if let Ok(value) = number.extract::<u64>() {
        write_number(value, out);
    } else {
        return Err(Unwritable::new("an integer within 64 bits", describe(number)));
    }
    Ok(())
}

/// A number other than NaN or an infinity, in its shortest form that reads back the same.
pub(crate) fn write_f64(value: f64, out: &mut String) -> Result<(), Unwritable> {
    if !value.is_finite() {
        return Err(not_finite(value));
    }
    write_number(value, out);
    Ok(())
}

/// As [`write_f64`] for 32 bits: .1 is written as 0.1, not as the double next to it.
pub(crate) fn write_f32(value: f32, out: &mut String) -> Result<(), Unwritable> {
    use std::fmt::Write;
    if !value.is_finite() {
        return Err(not_finite(value.into()));
    }
    write!(out, "{value:?}").expect("writing to a string cannot fail");
    Ok(())
}

fn not_finite(value: f64) -> Unwritable {
    Unwritable::new("a finite number (or None for no value)", value.to_string())
}

/// An integer, a finite float or a bool.
pub(crate) fn write_number(value: impl Into<Value>, out: &mut String) {
    use std::fmt::Write;
    write!(out, "{}", value.into()).expect("writing to a string cannot fail");
}

/// A string with its quotes.
pub(crate) fn write_str(text: &str, out: &mut String) {
    out.push_str(&serde_json::to_string(text).expect("a string has a JSON form"));
}

/// The value (shortened) and its type, for messages.
pub(crate) fn describe(value: &Bound<'_, PyAny>) -> String {
    let kind = value.get_type().name().map_or_else(|_| "object".to_owned(), |n| n.to_string());
    let text = value.repr().map_or_else(|_| "?".to_owned(), |text| text.to_string());
    format!("{} ({kind})", shown(&text))
}

/// Python's value of a JSON text.
pub(crate) fn load<'py>(py: Python<'py>, text: &str) -> PyResult<Bound<'py, PyAny>> {
    static LOADS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    LOADS.import(py, "json", "loads")?.call1((text,))
}

/// Python's value of a JSON value.
pub(crate) fn load_value<'py>(py: Python<'py>, value: &Value) -> PyResult<Bound<'py, PyAny>> {
    load(py, &value.to_string())
}

/// A list with the value of each text; `None` where there is none. One call of `json` for all.
pub(crate) fn load_list<'py, 'a>(
    py: Python<'py>,
    texts: impl Iterator<Item = Option<&'a str>>,
) -> PyResult<Bound<'py, PyAny>> {
    let mut joined = String::from("[");
    for (index, text) in texts.enumerate() {
        if index > 0 {
            joined.push(',');
        }
        joined.push_str(text.unwrap_or("null"));
    }
    joined.push(']');
    load(py, &joined)
}
