//! Points on their way out (`hits`, `points`, `looked_up`): ids in an array, numbers in typed arrays,
//! metadata as the texts that were given. Called by `Reading`.
//!
//! One object for a whole answer, not one for each point: the JavaScript makes those, on its own thread.

use js_sys::{Array, Float32Array, Object, Uint32Array};
use nearfield_engine::{Columns, Points};
use wasm_bindgen::JsValue;

use crate::ids;
use crate::object::set;

/// `{ids, metadata?, vectors?}`.
pub(crate) fn points(points: &Points<'_>, columns: Columns<'_>) -> Object {
    let object = Object::new();
    set(&object, "ids", &points.ids.iter().map(ids::to_js).collect::<Array>());
    if columns.metadata {
        let text = |text: &Option<_>| text.as_deref().map_or(JsValue::UNDEFINED, JsValue::from_str);
        set(&object, "metadata", &points.metadata.iter().map(text).collect::<Array>());
    }
    if let Some(elements) = points.vectors.first() {
        set(&object, "vectors", &Float32Array::from(&elements[..]));
    }
    object
}

/// The points of a look-up, with the positions of the ids that are `missing`.
pub(crate) fn looked_up(
    (found, missing): (Points<'_>, Vec<usize>),
    columns: Columns<'_>,
) -> JsValue {
    let object = points(&found, columns);
    let missing: Vec<u32> = missing.into_iter().map(|position| position as u32).collect();
    set(&object, "missing", &Uint32Array::from(&missing[..]));
    object.into()
}

/// The hits of all queries after each other, with their `scores` and the `counts` of each query.
pub(crate) fn hits(
    found: &Points<'_>,
    columns: Columns<'_>,
    scores: impl Iterator<Item = f32>,
    counts: impl Iterator<Item = usize>,
) -> Object {
    let object = points(found, columns);
    set(&object, "scores", &Float32Array::from(&scores.collect::<Vec<_>>()[..]));
    let counts: Vec<u32> = counts.map(|count| count as u32).collect();
    set(&object, "counts", &Uint32Array::from(&counts[..]));
    object
}
