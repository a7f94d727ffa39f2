//! One table from the engine's errors to the codes of the package, and the plain object that is thrown.

use nearfield_engine::{Error, ErrorKind, Fault};
use serde_json::{Map, Value, json};
use wasm_bindgen::JsValue;

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
        let mut fields = Map::new();
        for (name, value) in error.details() {
            fields.insert((*name).to_owned(), value.clone());
        }
        fields.insert("code".to_owned(), json!(code(&error)));
        fields.insert("message".to_owned(), json!(error.message()));
        let text = Value::Object(fields).to_string();
        js_sys::JSON::parse(&text).expect("serde_json writes JSON")
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
        ErrorKind::Io => "IO",
        ErrorKind::Cancelled => "ABORTED",
    }
}
