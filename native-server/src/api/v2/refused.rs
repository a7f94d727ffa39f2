//! `error_body`: an error as JSON (code, message, details → `Refused`). Called by `http::error` for every
//! error that the API answers.

use serde::Serialize;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

/// What went wrong
#[derive(Serialize, ToSchema)]
pub(crate) struct Refused<'a> {
    /// For programs; stable
    code: &'a str,
    /// For people
    message: &'a str,
    /// What the message says, by name
    details: Map<String, Value>,
}

/// The body of an error.
pub(crate) fn error_body(code: &str, message: &str, details: Map<String, Value>) -> String {
    json!(Refused { code, message, details }).to_string()
}
