//! The browser's module: arrays in, one call of the engine, plain objects out. Entries: `NearFile` and
//! `Store`, used by the JavaScript of `wasm/js`.
//!
//! No behaviour lives here: what a search means is the engine's. The JavaScript beside it (`wasm/js`) checks
//! every argument first, so that a call either succeeds or throws one of the plain objects of `error`. A
//! panic is a trap; the JavaScript then gives up the whole instance, which is never used again.
//!
//! | module | |
//! |---|---|
//! | `error` | the table of codes |
//! | `ids` | point ids in both directions |
//! | `object` | plain objects |
//! | `options` | the options of a call |
//! | `answers` | hits and rows on their way out |
//! | `reading` | all questions to one view |
//! | `file` | a `.near` file, whole or in part |
//! | `ranges` | the bytes of a file in part |
//! | `store`, `slots` | a collection that is written here, and the browser's files below it |
//!
//! The crate makes two modules, which a page loads apart: with the feature `store` the one that writes, without `file`
//! and `ranges`; without it the one that opens files.

mod answers;
pub mod error;
#[cfg(not(feature = "store"))]
pub mod file;
mod ids;
mod object;
mod options;
#[cfg(not(feature = "store"))]
pub mod ranges;
mod reading;
#[cfg(feature = "store")]
pub mod slots;
#[cfg(feature = "store")]
pub mod store;

use nearfield_segment::Kernel;
use nearfield_segment::format::{FORMAT_VERSION, OLDEST_READABLE_VERSION};
use wasm_bindgen::prelude::*;

use crate::object::to_js;

/// Version, instructions in use, formats, as an object: what to put into a bug report.
#[wasm_bindgen]
pub fn about() -> JsValue {
    to_js(&serde_json::json!({
        "version": env!("CARGO_PKG_VERSION"),
        "instructionSet": Kernel::detect().set().name(),
        "format": FORMAT_VERSION,
        "oldestReadableFormat": OLDEST_READABLE_VERSION,
        "exportFormat": nearfield_engine::EXPORT_VERSION,
    }))
}
