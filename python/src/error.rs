//! Converts errors of the engine to Python exceptions (`Failure`): the one table of classes, and the details that they
//! carry. Used by every module of the package.
//!
//! The classes are written in Python (`nearfield/errors.py`), with their bases and documentation. An
//! engine error becomes `Class(message, **details)`; a new kind of engine error does not compile until the
//! table has a line for it.

use nearfield_engine::{Error, ErrorKind, Fault};
use pyo3::exceptions::PyKeyboardInterrupt;
use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::json;

/// Result of the binding's own functions.
pub(crate) type Result<T> = std::result::Result<T, Failure>;

/// Why a call failed.
#[derive(Debug)]
pub(crate) enum Failure {
    /// The engine refused or failed.
    Engine(Error),
    /// Python raised: a callback, a conversion, Ctrl-C.
    Python(PyErr),
    /// An argument of a type that means nothing here.
    Type(Error),
    /// The database was closed, or belongs to another process.
    Closed(String),
}

impl Failure {
    /// An argument out of range.
    pub(crate) fn parameter(name: &str, expected: &str, got: &str) -> Failure {
        Failure::fault(Fault::Parameter, name, expected, got)
    }

    /// `what: expected …, got …`, with both as details.
    pub(crate) fn fault(fault: Fault, what: &str, expected: &str, got: &str) -> Failure {
        Failure::Engine(expected_got(fault, what, expected, got))
    }

    /// An argument of the wrong type.
    pub(crate) fn wrong_type(what: &str, expected: &str, got: &str) -> Failure {
        Failure::Type(expected_got(Fault::Parameter, what, expected, got))
    }
}

/// An error whose message and details say what was expected and what was found.
pub(crate) fn expected_got(fault: Fault, what: &str, expected: &str, got: &str) -> Error {
    Error::invalid(fault, format!("{what}: expected {expected}, got {got}"))
        .with("expected", expected)
        .with("got", got)
}

impl Failure {
    /// A failed call that had written some rows before says how many.
    pub(crate) fn after_writing(self, rows: u64) -> Failure {
        match self {
            Failure::Engine(error) => Failure::Engine(error.with("written", rows)),
            other @ (Failure::Python(_) | Failure::Type(_) | Failure::Closed(_)) => other,
        }
    }

    /// True for Ctrl-C.
    pub(crate) fn is_interrupt(&self, py: Python<'_>) -> bool {
        matches!(self, Failure::Python(error) if error.is_instance_of::<PyKeyboardInterrupt>(py))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::Engine(error)
    }
}

impl From<PyErr> for Failure {
    fn from(error: PyErr) -> Failure {
        Failure::Python(error)
    }
}

impl From<Failure> for PyErr {
    fn from(failure: Failure) -> PyErr {
        Python::attach(|py| match failure {
            Failure::Engine(error) => exception(py, class_of(error.kind()), &error),
            Failure::Type(error) => exception(py, "InputTypeError", &error),
            Failure::Python(error) => error,
            Failure::Closed(message) => {
                exception(py, "ClosedError", &Error::new(ErrorKind::Conflict, message))
            }
        })
    }
}

/// The table.
fn class_of(kind: ErrorKind) -> &'static str {
    match kind {
        ErrorKind::InvalidInput(fault) => match fault {
            Fault::Dimension => "DimensionError",
            Fault::NonFinite => "NonFiniteError",
            Fault::DuplicateId => "DuplicateIdError",
            Fault::Id => "IdError",
            Fault::Filter => "FilterError",
            Fault::Metadata => "MetadataError",
            Fault::Parameter => "ParameterError",
        },
        ErrorKind::NotFound => "NotFoundError",
        ErrorKind::Conflict => "ConflictError",
        ErrorKind::Corrupt => "CorruptError",
        ErrorKind::Version => "VersionError",
        ErrorKind::Locked => "LockedError",
        ErrorKind::ReadOnly => "ReadOnlyError",
        ErrorKind::StorageFull => "StorageFullError",
        ErrorKind::Io | ErrorKind::NotResident => "StorageError",
        ErrorKind::Cancelled => "CancelledError",
    }
}

fn exception(py: Python<'_>, class: &str, error: &Error) -> PyErr {
    let build = || {
        let details = PyDict::new(py);
        for (name, value) in error.details() {
            details.set_item(name, json::load_value(py, value)?)?;
        }
        let class = py.import("nearfield.errors")?.getattr(class)?;
        class.call((error.message(),), Some(&details))
    };
    build().map_or_else(|error| error, PyErr::from_value)
}
