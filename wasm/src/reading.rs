//! All questions to one view, whatever it came from.
//!
//! Arguments that are lists of numbers come as arrays, all others as one JSON text, written by `wasm/js`. A
//! scan keeps no state here: the caller brings the place at which it goes on, so that it survives a restart.

use js_sys::{Array, Uint32Array};
use nearfield_engine::{View, recall};
use nearfield_segment::search::Rung;
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{Kernel, Pool, RowId, RowSet, VectorSpec, unknown_field};
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use crate::answers::{Gathered, hits};
use crate::asked::Asked;
use crate::error::Result;
use crate::ids;
use crate::object::{set, to_js};

/// One collection as it can be asked; borrows for the time of one call.
#[derive(Debug)]
pub(crate) struct Reading<'a> {
    pub(crate) name: &'a str,
    pub(crate) view: &'a View,
    pub(crate) kernel: Kernel,
}

impl Reading<'_> {
    fn spec(&self, field: &str) -> Result<&VectorSpec> {
        let known = &self.view.schema.vectors;
        let missing = || unknown_field(field, known.keys().map(String::as_str));
        Ok(known.get(field).ok_or_else(missing)?)
    }

    /// The nearest points to each row of `queries`.
    pub(crate) fn search(&self, queries: &[f32], asked: &str) -> Result<JsValue> {
        let asked = Asked::read(asked)?;
        let filter = asked.filter()?;
        let metric = self.spec(asked.field())?.metric;
        let prepared = self.view.prepare(asked.question(filter.as_ref())?, self.kernel)?;
        let answers = self.view.search_many(&prepared, queries, &Pool::SERIAL)?;
        let gathered = Gathered::new(self.view, asked.field(), asked.parts());
        let object = hits(gathered, metric, &answers)?;
        let approx = prepared.plans().any(|plan| matches!(plan.rung, Rung::Graph { .. }));
        set(&object, "approx", &JsValue::from_bool(approx));
        Ok(object.into())
    }

    /// Points by id in the order asked for, with the positions of those that are `missing`.
    pub(crate) fn get(&self, wanted: &Array, asked: &str) -> Result<JsValue> {
        let asked = Asked::read(asked)?;
        let mut gathered = Gathered::new(self.view, asked.field(), asked.parts());
        let mut missing = Vec::new();
        for (position, id) in ids::from_js(wanted)?.iter().enumerate() {
            match self.view.place_of(id) {
                Some((segment, row)) => gathered.push(segment, row)?,
                None => missing.push(position as u32),
            }
        }
        let object = gathered.into_object();
        set(&object, "missing", &Uint32Array::from(&missing[..]));
        Ok(object.into())
    }

    /// Up to `count` points from a place on, and the place after them as `next` (none at the end).
    pub(crate) fn scan(&self, place: (usize, u32), count: usize, asked: &str) -> Result<JsValue> {
        let asked = Asked::read(asked)?;
        let sets: Vec<RowSet> = match asked.filter()? {
            Some(filter) => self.view.matching(&filter)?,
            None => self.view.live_rows(),
        };
        let (mut segment, mut from) = place;
        let mut gathered = Gathered::new(self.view, asked.field(), asked.parts());
        let mut next = None;
        while let Some(set) = sets.get(segment) {
            let rows = (from..set.len()).map(RowId).filter(|&row| set.contains(row));
            for row in rows.take(count - gathered.len()) {
                gathered.push(segment, row)?;
                from = row.0 + 1;
            }
            if gathered.len() == count {
                next = Some([segment as u32, from]);
                break;
            }
            (segment, from) = (segment + 1, 0);
        }
        let object = gathered.into_object();
        if let Some(next) = next {
            set(&object, "next", &Uint32Array::from(&next[..]));
        }
        Ok(object.into())
    }

    /// How many points there are, or pass the filter.
    pub(crate) fn count(&self, asked: &str) -> Result<f64> {
        let filter = Asked::read(asked)?.filter()?;
        Ok(self.view.count(filter.as_ref())? as f64)
    }

    /// Recall of what is asked against exact answers, over given queries or `sample` stored vectors.
    pub(crate) fn recall(&self, queries: Option<&[f32]>, asked: &str) -> Result<JsValue> {
        let asked = Asked::read(asked)?;
        let filter = asked.filter()?;
        let drawn;
        let queries = if let Some(queries) = queries {
            queries
        } else {
            let count = asked.count("sample")?.unwrap_or(200);
            let seed = asked.count("seed")?.unwrap_or(0) as u64;
            drawn = recall::sample(self.view, asked.field(), filter.as_ref(), count, seed)?;
            &drawn
        };
        let question = asked.question(filter.as_ref())?;
        let report =
            recall::measure(self.view, question, queries, self.kernel, &Pool::SERIAL, &|| true)?;
        Ok(to_js(&json!({
            "recall": report.recall,
            "low": report.low,
            "high": report.high,
            "n": report.queries,
            "k": report.k,
        })))
    }

    /// How a search is carried out and what it cost.
    pub(crate) fn explain(&self, query: &[f32], asked: &str) -> Result<JsValue> {
        let asked = Asked::read(asked)?;
        let filter = asked.filter()?;
        self.spec(asked.field())?.check_query(query, 0)?;
        let prepared = self.view.prepare(asked.question(filter.as_ref())?, self.kernel)?;
        let (hits, stats) = prepared.search(query, &mut Scratch::default());
        let plans: Vec<_> = prepared.plans().collect();
        Ok(to_js(&json!({ "found": hits.len(), "segments": plans, "stats": stats })))
    }

    /// Name, size and fields.
    pub(crate) fn info(&self) -> Value {
        let fields: Vec<Value> = self.view.schema.vectors.iter().map(field_info).collect();
        json!({ "name": self.name, "size": self.view.len(), "lsn": self.view.lsn.0, "fields": fields })
    }

    /// What it is made of.
    pub(crate) fn stats(&self) -> Value {
        let segment = |live: &nearfield_engine::LiveSegment| {
            json!({
                "name": live.segment.name(),
                "rows": live.segment.rows(),
                "live": live.live_rows(),
                "graph": live.segment.fields().iter().any(|field| field.graph().is_some()),
                "degraded": live.segment.degraded().len(),
            })
        };
        let segments: Vec<Value> = self.view.segments.iter().map(segment).collect();
        json!({
            "points": self.view.len(),
            "instructionSet": self.kernel.set().name(),
            "segments": segments,
        })
    }
}

/// A vector field and what its scores are.
pub(crate) fn field_info((name, spec): (&String, &VectorSpec)) -> Value {
    json!({
        "name": name,
        "dim": spec.dim,
        "metric": spec.metric.name(),
        "scoreKind": spec.metric.score_kind().name(),
        "store": spec.store.name(),
    })
}
