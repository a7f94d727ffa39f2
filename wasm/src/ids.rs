//! Point ids in both directions (`to_js`, `from_js`): a number, a BigInt where a number would not be exact,
//! or a string. Called by `Reading`, `Store` and `answers`.

use js_sys::{Array, BigInt};
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;
use wasm_bindgen::{JsCast, JsValue};

use crate::object::SAFE_INTEGER_MAX;

/// As JavaScript has it.
pub(crate) fn to_js(id: &PointId) -> JsValue {
    match id {
        PointId::I64(value) if value.unsigned_abs() <= SAFE_INTEGER_MAX => {
            JsValue::from_f64(*value as f64)
        }
        PointId::I64(value) => JsValue::from(*value),
        PointId::U64(value) if *value <= SAFE_INTEGER_MAX => JsValue::from_f64(*value as f64),
        PointId::U64(value) => JsValue::from(*value),
        PointId::Uuid(_) | PointId::Str(_) => JsValue::from_str(&id.to_string()),
    }
}

/// Reads a list.
///
/// # Errors
/// `InvalidInput(Id)` with the position of the first that is none.
pub(crate) fn from_js(ids: &Array) -> Result<Vec<PointId>> {
    let read = |(position, id): (usize, JsValue)| match from_value(&id) {
        Some(id) => id.map_err(|error| error.with("position", position)),
        None => {
            let expected = "an integer within ±(2^53−1), a BigInt from −2^63 to 2^64−1 or a string";
            Err(Error::invalid(Fault::Id, format!("ids[{position}]: expected {expected}"))
                .with("expected", expected)
                .with("position", position))
        }
    };
    ids.iter().enumerate().map(read).collect()
}

fn from_value(id: &JsValue) -> Option<Result<PointId>> {
    if let Some(text) = id.as_string() {
        return Some(PointId::from_text(&text));
    }
    if let Some(number) = id.as_f64() {
        let exact = number.fract() == 0.0 && number.abs() <= SAFE_INTEGER_MAX as f64;
        return exact.then_some(Ok(PointId::from(number as i64)));
    }
    let value = id.dyn_ref::<BigInt>()?;
    match u64::try_from(value.clone()) {
        Ok(value) => Some(Ok(PointId::U64(value))),
        Err(_) => i64::try_from(value.clone()).ok().map(|value| Ok(PointId::from(value))),
    }
}
