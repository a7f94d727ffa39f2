//! Plain objects for JavaScript: `to_js` (a JSON value → an object) and `set`. Called by `Reading`, `Store` and
//! `error`. Values go over one by one: printing them as JSON would bring the printing of floats with its tables.

use js_sys::{Array, Object, Reflect};
use serde_json::Value;
use wasm_bindgen::JsValue;

/// 2^53 − 1, the largest integer below which numbers of JavaScript are exact; others become BigInts.
pub(crate) const SAFE_INTEGER_MAX: u64 = (1 << 53) - 1;

/// Sets a property of an object made here.
pub(crate) fn set(object: &Object, name: &str, value: &JsValue) {
    let is_set = Reflect::set(object, &JsValue::from_str(name), value);
    is_set.expect("a plain object takes every property");
}

/// The value as JavaScript has it; `null` is `null`, numbers are numbers.
pub(crate) fn to_js(value: &Value) -> JsValue {
    match value {
        Value::Null => JsValue::NULL,
        Value::Bool(value) => JsValue::from_bool(*value),
        Value::Number(number) => match number.as_u64().filter(|value| *value > SAFE_INTEGER_MAX) {
            Some(value) => JsValue::from(value),
            None => JsValue::from_f64(number.as_f64().unwrap_or(f64::NAN)),
        },
        Value::String(text) => JsValue::from_str(text),
        Value::Array(items) => items.iter().map(to_js).collect::<Array>().into(),
        Value::Object(fields) => {
            let object = Object::new();
            fields.iter().for_each(|(name, value)| set(&object, name, &to_js(value)));
            object.into()
        }
    }
}
