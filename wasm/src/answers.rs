//! Points on their way out: ids in an array, numbers in typed arrays, metadata as the texts that were given.
//!
//! One object for a whole answer, not one for each point: the JavaScript makes those, on its own thread.

use js_sys::{Array, Float32Array, Object, Uint32Array};
use nearfield_engine::View;
use nearfield_segment::search::{Hit, SearchStats};
use nearfield_segment::{Metric, RowId};
use wasm_bindgen::JsValue;

use crate::error::Result;
use crate::ids;
use crate::object::set;

/// Which parts of a point are wanted.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Parts {
    /// The texts of the metadata.
    pub(crate) metadata: bool,
    /// The stored vectors.
    pub(crate) vectors: bool,
}

/// Points of a view, gathered one by one.
#[derive(Debug)]
pub(crate) struct Gathered<'a> {
    view: &'a View,
    field: &'a str,
    parts: Parts,
    ids: Array,
    texts: Array,
    vectors: Vec<f32>,
}

impl<'a> Gathered<'a> {
    pub(crate) fn new(view: &'a View, field: &'a str, parts: Parts) -> Gathered<'a> {
        let (ids, texts, vectors) = (Array::new(), Array::new(), Vec::new());
        Gathered { view, field, parts, ids, texts, vectors }
    }

    /// Adds a row of one of the view's segments.
    pub(crate) fn push(&mut self, segment: usize, row: RowId) -> Result<()> {
        let segment = &self.view.segments[segment].segment;
        self.ids.push(&ids::to_js(&segment.id_of(row)));
        if self.parts.metadata {
            let text = segment.payload().json(row)?;
            self.texts.push(&text.map_or(JsValue::UNDEFINED, JsValue::from_str));
        }
        if self.parts.vectors {
            let rows = segment.field(self.field)?.rows();
            let start = self.vectors.len();
            self.vectors.resize(start + rows.dim(), 0.0);
            rows.decode(row, &mut self.vectors[start..]);
        }
        Ok(())
    }

    /// Points so far.
    pub(crate) fn len(&self) -> usize {
        self.ids.length() as usize
    }

    /// `{ids, metadata?, vectors?}`.
    pub(crate) fn into_object(self) -> Object {
        let object = Object::new();
        set(&object, "ids", &self.ids);
        if self.parts.metadata {
            set(&object, "metadata", &self.texts);
        }
        if self.parts.vectors {
            set(&object, "vectors", &Float32Array::from(&self.vectors[..]));
        }
        object
    }
}

/// The hits of all queries after each other, with `counts` of each, `scores`, and what it cost.
pub(crate) fn hits(
    mut gathered: Gathered<'_>,
    metric: Metric,
    answers: &[(Vec<Hit>, SearchStats)],
) -> Result<Object> {
    let (mut scores, mut counts, mut scored) = (Vec::new(), Vec::new(), 0);
    for (hits, stats) in answers {
        for hit in hits {
            gathered.push(hit.source, hit.row)?;
            scores.push(metric.score(hit.distance));
        }
        counts.push(hits.len() as u32);
        scored += stats.vectors_scored;
    }
    let object = gathered.into_object();
    set(&object, "scores", &Float32Array::from(&scores[..]));
    set(&object, "counts", &Uint32Array::from(&counts[..]));
    set(&object, "scored", &JsValue::from_f64(scored as f64));
    Ok(object)
}
