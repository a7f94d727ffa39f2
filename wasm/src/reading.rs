//! `Reading`: all read calls on one view (search, get, scan, count, recall, explain), of a store, a whole file, or a
//! file of which bytes may be missing; then a call fails with `NotResident`. Used by `NearFile` and the store.
//!
//! Arguments that are lists of numbers come as arrays, all others as one JSON text, written by `wasm/js`. A
//! scan keeps no state here: the caller brings the place at which it goes on, so that it survives a restart.

#[cfg(not(feature = "store"))]
use js_sys::Object;
use js_sys::{Array, Uint32Array};
use nearfield_engine::{Result, Scan, View, recall};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{AccessPath, Prepared, SearchStats};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{Kernel, Pool, RowId, VectorSpec, unknown_field};
use serde_json::{Value, json};
use wasm_bindgen::JsValue;

use crate::object::{set, to_js};
use crate::options::CallOptions;
use crate::{answers, ids};

/// One collection for reading; borrowed for the time of one call.
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
        known.get(field).ok_or_else(missing)
    }

    /// Plans a search, after all that can be wrong with it was checked: nothing is fetched for one that is refused.
    fn prepare<'b>(
        &'b self,
        options: &'b CallOptions,
        filter: Option<&'b Filter>,
        queries: &[f32],
    ) -> Result<Prepared<'b>> {
        let params = options.params(filter)?;
        let spec = self.spec(options.field())?;
        for (row, query) in queries.chunks(spec.dim as usize).enumerate() {
            spec.check_query(query, row)?;
        }
        #[cfg(feature = "store")]
        return self.view.prepare(params, self.kernel);
        #[cfg(not(feature = "store"))]
        {
            let lists = options.lists()?;
            lists.check()?;
            self.view.prepare(params, self.kernel)?.with_lists(lists)
        }
    }

    /// The nearest points to each row of `queries`.
    pub(crate) fn search(&self, queries: &[f32], options: &str) -> Result<JsValue> {
        let options = CallOptions::read(options)?;
        let filter = options.filter()?;
        let metric = self.spec(options.field())?.metric;
        let prepared = self.prepare(&options, filter.as_ref(), queries)?;
        let answers = self.view.search_many(&prepared, queries, &Pool::SERIAL, &never_cancelled)?;
        let fields = [options.field()];
        let columns = options.columns(&fields);
        let all = || answers.iter().flat_map(|(hits, _)| hits);
        let found = all().map(|hit| (hit.id.clone(), (hit.source, hit.row)));
        let points = self.view.points(found, columns)?;
        let scores = all().map(|hit| metric.score(hit.distance));
        let counts = answers.iter().map(|(hits, _)| hits.len());
        let object = answers::hits(&points, columns, scores, counts);
        let mut total = SearchStats::default();
        answers.iter().for_each(|(_, stats)| total += *stats);
        let approx = prepared.plans().any(|plan| match plan.path {
            AccessPath::Nothing | AccessPath::Exact => false,
            AccessPath::Graph { .. } | AccessPath::Lists { .. } => true,
        });
        set(&object, "scored", &JsValue::from_f64(total.vectors_scored as f64));
        set(&object, "approx", &JsValue::from_bool(approx));
        #[cfg(not(feature = "store"))]
        set_coverage(&object, &prepared, total, answers.iter().map(|(_, stats)| stats))?;
        Ok(object.into())
    }

    /// Points by id in the order of `wanted`, with the positions of those that are `missing`.
    pub(crate) fn get(&self, wanted: &Array, options: &str) -> Result<JsValue> {
        let options = CallOptions::read(options)?;
        let fields = [options.field()];
        let columns = options.columns(&fields);
        Ok(answers::looked_up(self.view.get(&ids::from_js(wanted)?, columns)?, columns))
    }

    /// Up to `count` points from a place on, and the place after them as `next` (none at the end).
    pub(crate) fn scan(&self, place: (usize, u32), count: usize, options: &str) -> Result<JsValue> {
        let options = CallOptions::read(options)?;
        let (segment, row) = place;
        let scan = Scan::new(self.view, options.filter()?.as_ref(), &never_cancelled)?;
        let mut scan = scan.at((segment, RowId(row)));
        let fields = [options.field()];
        let columns = options.columns(&fields);
        let points = scan.next(self.view, columns, count, usize::MAX)?;
        let object = answers::points(&points, columns);
        if let Some((segment, row)) = scan.place() {
            set(&object, "next", &Uint32Array::from(&[segment as u32, row.0][..]));
        }
        Ok(object.into())
    }

    /// How many points there are, or pass the filter.
    pub(crate) fn count(&self, options: &str) -> Result<JsValue> {
        let filter = CallOptions::read(options)?.filter()?;
        Ok(JsValue::from_f64(self.view.count(filter.as_ref(), &never_cancelled)? as f64))
    }

    /// Recall of a search against exact answers, over given queries or `sample` stored vectors.
    pub(crate) fn recall(&self, queries: Option<&[f32]>, options: &str) -> Result<JsValue> {
        let options = CallOptions::read(options)?;
        let filter = options.filter()?;
        let drawn;
        let queries = if let Some(queries) = queries {
            queries
        } else {
            let count = options.count("sample")?.unwrap_or(200);
            let seed = options.count("seed")?.unwrap_or(0) as u64;
            drawn = recall::sample(self.view, options.field(), filter.as_ref(), count, seed)?;
            &drawn
        };
        let params = options.params(filter.as_ref())?;
        let report =
            recall::measure(self.view, params, queries, self.kernel, &Pool::SERIAL, &|| true)?;
        Ok(to_js(&json!({
            "recall": report.recall,
            "low": report.low,
            "high": report.high,
            "n": report.queries,
            "k": report.k,
        })))
    }

    /// How a search is carried out and what it cost.
    pub(crate) fn explain(&self, query: &[f32], options: &str) -> Result<JsValue> {
        let options = CallOptions::read(options)?;
        let filter = options.filter()?;
        let prepared = self.prepare(&options, filter.as_ref(), query)?;
        let (hits, stats) = prepared.search(query, &mut Scratch::default(), &never_cancelled)?;
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

/// What a search of inverted lists left out, and what it read. Collections of a store have no lists.
#[cfg(not(feature = "store"))]
fn set_coverage<'a>(
    object: &Object,
    prepared: &Prepared<'_>,
    total: SearchStats,
    each: impl Iterator<Item = &'a SearchStats>,
) -> Result<()> {
    let lists = prepared.lists_total()?;
    if lists > 0 {
        let coverage = each.map(|stats| prepared.coverage(stats)).fold(1.0, f64::min);
        set(object, "coverage", &JsValue::from_f64(coverage));
        let stats = Object::new();
        set(&stats, "cellsSearched", &total.lists_read.into());
        set(&stats, "cellsTotal", &lists.into());
        set(&stats, "reranked", &total.reranked.into());
        set(object, "stats", &stats);
    }
    Ok(())
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
