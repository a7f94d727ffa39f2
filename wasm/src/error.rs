//! `Thrown`: one table from the engine's errors to the codes of the package, and the plain object that is
//! thrown. Returned by every call of the module.

use js_sys::Object;
use nearfield_engine::{Error, ErrorKind, Fault};
use wasm_bindgen::JsValue;

use crate::object::{set, to_js};

/// Result of the exported functions.
pub type Result<T> = std::result::Result<T, Thrown>;

/// An error on its way to JavaScript: `{code, message, expected?, got?, position?, …}`.
#[derive(Debug)]
pub struct Thrown(Error);

impl From<Error> for Thrown {
    fn from(error: Error) -> Thrown {
        Thrown(error)
    }
}

impl From<Thrown> for JsValue {
    fn from(Thrown(error): Thrown) -> JsValue {
        let object = Object::new();
        for (name, value) in error.details() {
            set(&object, name, &to_js(value));
        }
        set(&object, "code", &JsValue::from_str(code(&error)));
        set(&object, "message", &JsValue::from_str(error.message()));
        object.into()
    }
}

/// The table.
fn code(error: &Error) -> &'static str {
    match error.kind() {
        ErrorKind::InvalidInput(fault) => match fault {
            Fault::Dimension => "DIMENSION",
            Fault::NonFinite => "NON_FINITE",
            Fault::DuplicateId => "DUPLICATE_ID",
            Fault::Id => "ID",
            Fault::Filter => "FILTER",
            Fault::Metadata => "METADATA",
            Fault::Parameter => "PARAMETER",
        },
        ErrorKind::NotFound => "NOT_FOUND",
        ErrorKind::Conflict => "CONFLICT",
        ErrorKind::Corrupt if error.detail("checksum").is_some() => "CHECKSUM",
        ErrorKind::Corrupt => "FORMAT",
        ErrorKind::Version => "VERSION",
        ErrorKind::Locked => "LOCKED",
        ErrorKind::ReadOnly => "READ_ONLY",
        ErrorKind::StorageFull => "QUOTA",
        ErrorKind::Io | ErrorKind::NotResident => "IO",
        ErrorKind::Cancelled => "ABORTED",
    }
}
