//! Converts ids from and to Python: integers, UUIDs and strings, mixed freely. Used by `upsert`, `collection`, `rows`
//! and `hits`.
//!
//! In: arrays of 64-bit integers are read directly, everything else item by item. What is no id (a float,
//! a bool, an empty or over-long string) is refused with its position. Out: an int64 array if
//! all ids fit, else an array of `int` and `str` objects. A UUID comes back as its text, as in JSON: it is known only
//! by its form whether a text was given or a `uuid.UUID`.

use std::collections::HashSet;

use nearfield_engine::{Error, Fault};
use nearfield_segment::PointId;
use numpy::{PyArray1, PyArrayMethods, PyUntypedArrayMethods};
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyBool, PyFloat, PyInt, PyList, PyString};

use crate::error::{Result, expected_got};
use crate::json::describe;

const EXPECTED: &str =
    "an integer from -2**63 to 2**64-1, a uuid.UUID or a string of 1 to 256 bytes";
/// Ids that are read one by one without a pause: about a millisecond.
const IDS_BETWEEN_PAUSES: usize = 16_384;
/// How many ids an error names.
const NAMED_MAX: usize = 10;

/// Reads ids in order; a single id counts as a list of one.
pub(crate) fn read(ids: &Bound<'_, PyAny>) -> Result<Vec<PointId>> {
    if let Ok(array) = ids.cast_exact::<PyArray1<i64>>() {
        let read = |items: Vec<i64>| Ok(items.into_iter().map(PointId::from).collect());
        return array.to_vec().map_or_else(|_| read_items(ids), read);
    }
    if let Ok(array) = ids.cast_exact::<PyArray1<u64>>()
        && array.is_c_contiguous()
        && let Ok(items) = array.to_vec()
    {
        return Ok(items.into_iter().map(PointId::U64).collect());
    }
    if ids.is_instance_of::<PyString>() || ids.is_instance_of::<PyInt>() || is_uuid(ids)? {
        return Ok(vec![read_one(ids, 0)?]);
    }
    read_items(ids)
}

fn read_items(ids: &Bound<'_, PyAny>) -> Result<Vec<PointId>> {
    static LIST: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let list = LIST.import(ids.py(), "nearfield._convert", "id_list")?.call1((ids,))?;
    let list = list.cast_into::<PyList>().map_err(PyErr::from)?;
    let read = |(position, item): (usize, Bound<'_, PyAny>)| {
        if position % IDS_BETWEEN_PAUSES == IDS_BETWEEN_PAUSES - 1 {
            // Other threads have their turn, and Ctrl-C is seen.
            item.py().check_signals()?;
            item.py().detach(|| ());
        }
        read_one(&item, position)
    };
    list.iter().enumerate().map(read).collect()
}

/// Reads one id; `position` is where it stands, for errors.
pub(crate) fn read_one(item: &Bound<'_, PyAny>, position: usize) -> Result<PointId> {
    if let Ok(text) = item.cast::<PyString>() {
        let text = text.to_str().map_err(|_| refuse(position, &describe(item)))?;
        let id = PointId::from_text(text);
        return Ok(id.map_err(|error| error.context(format!("ids[{position}]")))?);
    }
    if item.is_instance_of::<PyBool>() || item.is_instance_of::<PyFloat>() {
        return Err(refuse(position, &describe(item)).into());
    }
    if is_uuid(item)? {
        return Ok(PointId::Uuid(item.getattr("int")?.extract()?));
    }
    // Through __index__: Python's and NumPy's integers, and nothing else.
    let number = item.extract().ok().and_then(PointId::from_integer);
    number.ok_or_else(|| refuse(position, &describe(item)).into())
}

fn refuse(position: usize, got: &str) -> Error {
    expected_got(Fault::Id, &format!("ids[{position}]"), EXPECTED, got).with("row", position)
}

fn uuid_class(py: Python<'_>) -> PyResult<&Bound<'_, PyAny>> {
    static CLASS: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    CLASS.import(py, "uuid", "UUID")
}

fn is_uuid(item: &Bound<'_, PyAny>) -> PyResult<bool> {
    item.is_instance(uuid_class(item.py())?)
}

/// Refuses ids that occur twice in one call, naming them.
pub(crate) fn check_distinct(ids: &[PointId]) -> Result<()> {
    if ids.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut seen = HashSet::with_capacity(ids.len());
    let twice: Vec<String> = ids
        .iter()
        .filter(|id| !seen.insert(*id))
        .take(NAMED_MAX)
        .map(ToString::to_string)
        .collect();
    if twice.is_empty() {
        return Ok(());
    }
    let message = format!("ids: expected each once, got twice: {}", twice.join(", "));
    Err(Error::invalid(Fault::DuplicateId, message)
        .with("expected", "each id once")
        .with("got", twice.join(", "))
        .with("ids", twice)
        .into())
}

/// An id as a signed integer, if it fits.
pub(crate) fn as_i64(id: &PointId) -> Option<i64> {
    match id {
        PointId::I64(number) => Some(*number),
        PointId::U64(number) => i64::try_from(*number).ok(),
        PointId::Uuid(_) | PointId::Str(_) => None,
    }
}

/// One id as a Python object.
pub(crate) fn to_object<'py>(py: Python<'py>, id: &PointId) -> PyResult<Bound<'py, PyAny>> {
    match id {
        PointId::I64(number) => Ok(number.into_pyobject(py)?.into_any()),
        PointId::U64(number) => Ok(number.into_pyobject(py)?.into_any()),
        PointId::Uuid(_) => Ok(PyString::new(py, &id.to_string()).into_any()),
        PointId::Str(text) => Ok(PyString::new(py, text).into_any()),
    }
}

/// Ids as an array of one dimension.
pub(crate) fn to_array<'py>(py: Python<'py>, ids: &[PointId]) -> PyResult<Bound<'py, PyAny>> {
    if let Some(numbers) = ids.iter().map(as_i64).collect::<Option<Vec<i64>>>() {
        return Ok(PyArray1::from_vec(py, numbers).into_any());
    }
    let objects: PyResult<Vec<Py<PyAny>>> =
        ids.iter().map(|id| Ok(to_object(py, id)?.unbind())).collect();
    Ok(PyArray1::from_vec(py, objects?).into_any())
}
