//! A `.near` file of which some bytes are here: the same questions as to a whole one, answered or not yet.
//!
//! `undefined` means that bytes are missing: `wanted` names them, `supply` brings them, and the same call is
//! made again. Nothing here waits or fetches; `wasm/js/remote.js` does.

use std::ops::Range;
use std::sync::Arc;

use js_sys::{Array, Uint8Array, Uint32Array};
use nearfield_engine::ErrorKind;
use nearfield_engine::partial::{
    PartialAnswer, PartialCollection, PartialExport, PartialSearchParams, REQUESTS_DEFAULT, Stage,
};
use nearfield_segment::storage::{Blob, PIECE_BYTES, RangeBlob};
use nearfield_segment::{Kernel, RowId};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::asked::Asked;
use crate::error::Result;
use crate::object::{set, to_js};
use crate::reading::field_info;
use crate::whole::{Upload, memory_for};
use crate::{answers, ids};

/// A file in part.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Part {
    name: String,
    blob: Arc<RangeBlob>,
    kernel: Kernel,
    export: Option<PartialExport>,
}

/// What a call found, or `None` if bytes are missing.
fn here<T>(result: nearfield_engine::Result<T>) -> Result<Option<T>> {
    match result {
        Err(error) if error.kind() == ErrorKind::NotResident => Ok(None),
        result => Ok(Some(result?)),
    }
}

/// The same for JavaScript.
fn or_undefined(result: nearfield_engine::Result<JsValue>) -> Result<JsValue> {
    Ok(here(result)?.unwrap_or(JsValue::UNDEFINED))
}

fn flat(ranges: impl IntoIterator<Item = Range<u64>>) -> Vec<f64> {
    ranges.into_iter().flat_map(|range| [range.start as f64, range.end as f64]).collect()
}

#[wasm_bindgen]
impl Part {
    /// A file of `len` bytes, called `name` in errors, of which nothing is here.
    #[wasm_bindgen(constructor)]
    pub fn new(name: String, len: f64) -> Part {
        let blob = Arc::new(RangeBlob::new(name.clone(), len as u64));
        Part { name, blob, kernel: Kernel::detect(), export: None }
    }

    /// Brings bytes. They are copied piece by piece: in memory there is never a second copy of all.
    pub fn supply(&self, offset: f64, bytes: &Uint8Array) -> Result<()> {
        let (piece, len) = (PIECE_BYTES as u32, bytes.length());
        let mut buffer = memory_for(f64::from(len.min(piece)))?;
        for start in (0..len).step_by(piece as usize) {
            let end = start.saturating_add(piece).min(len);
            let copy = &mut buffer.as_mut_slice()[..(end - start) as usize];
            bytes.subarray(start, end).copy_to(copy);
            self.blob.supply(offset as u64 + u64::from(start), copy)?;
        }
        Ok(())
    }

    /// What is here: start and end of each range.
    pub fn held(&self) -> Vec<f64> {
        flat(self.blob.held())
    }

    /// The ranges that calls lacked since the last call of this: start and end of each.
    pub fn wanted(&self) -> Vec<f64> {
        flat(self.blob.take_wanted())
    }

    /// Takes bytes out, so that they are wanted again.
    pub fn forget(&self, start: f64, end: f64) {
        self.blob.forget(start as u64..end as u64);
    }

    /// Copies everything that is here.
    pub fn copy_to(&self, upload: &mut Upload) -> Result<()> {
        for held in self.blob.held() {
            for start in held.clone().step_by(PIECE_BYTES as usize) {
                let end = (start + PIECE_BYTES).min(held.end);
                upload.put(start as usize, &self.blob.read(start..end)?)?;
            }
        }
        Ok(())
    }

    /// Blocks of a complete upload that fail their checksum: start and end of each.
    pub fn damaged(&self, upload: &Upload) -> Vec<f64> {
        let export = self.export.iter();
        flat(export.flat_map(|export| export.damaged(upload.bytes())))
    }

    /// Bytes of a stage (`header`, `centroids`, `codes`, `rows`) that earlier ones lack: start and end of each
    /// range. Empty until `info` was answered.
    pub fn stage_ranges(&self, stage: &str) -> Vec<f64> {
        let stage = match stage {
            "header" => Stage::Header,
            "centroids" => Stage::CellTables,
            "codes" => Stage::Codes,
            _ => Stage::Rows,
        };
        flat(self.export.iter().flat_map(|export| export.stage_ranges(stage)))
    }

    /// Collections and length.
    pub fn info(&mut self) -> Result<JsValue> {
        let len = self.blob.len();
        or_undefined(self.export().map(|export| {
            let collections: Vec<Value> = export.collections().iter().map(info).collect();
            to_js(&json!({ "bytes": len, "collections": collections }))
        }))
    }

    /// The nearest points to each row of `queries` among those in the cells searched.
    pub fn search(&mut self, collection: &str, queries: &[f32], asked: &str) -> Result<JsValue> {
        or_undefined(self.export().and_then(|export| {
            let collection = export.collection(collection)?;
            let asked = Asked::read(asked)?;
            let answers = search(export, collection, queries, &asked)?;
            hits(collection, &asked, &answers)
        }))
    }

    /// Points by id in the order asked for, with the positions of those that are `missing`.
    pub fn get(&mut self, collection: &str, wanted: &Array, asked: &str) -> Result<JsValue> {
        let wanted = ids::from_js(wanted)?;
        or_undefined(self.export().and_then(|export| {
            let collection = export.collection(collection)?;
            let asked = Asked::read(asked)?;
            let fields = [asked.field()];
            let columns = asked.columns(&fields);
            Ok(answers::looked_up(collection.get(&wanted, columns)?, columns))
        }))
    }

    /// Up to `count` points from a place on, and the place after them as `next` (none at the end).
    pub fn scan(
        &mut self,
        collection: &str,
        segment: usize,
        row: u32,
        count: usize,
        asked: &str,
    ) -> Result<JsValue> {
        or_undefined(self.export().and_then(|export| {
            let collection = export.collection(collection)?;
            let asked = Asked::read(asked)?;
            let after = row.checked_sub(1).map(|before| (segment, RowId(before)));
            let found = collection.scan(after, count, asked.filter()?.as_ref())?;
            let last = found.get(count - 1).map(|(place, _)| *place);
            let fields = [asked.field()];
            let columns = asked.columns(&fields);
            let object = answers::points(&collection.points(found, columns)?, columns);
            if let Some((segment, row)) = last {
                set(&object, "next", &Uint32Array::from(&[segment as u32, row.0 + 1][..]));
            }
            Ok(object.into())
        }))
    }

    /// How many points there are, or pass the filter.
    pub fn count(&mut self, collection: &str, asked: &str) -> Result<Option<f64>> {
        here(self.export().and_then(|export| {
            let filter = Asked::read(asked)?.filter()?;
            Ok(export.collection(collection)?.count(filter.as_ref())? as f64)
        }))
    }

    /// What a search reads and finds.
    pub fn explain(&mut self, collection: &str, query: &[f32], asked: &str) -> Result<JsValue> {
        or_undefined(self.export().and_then(|export| {
            let asked = Asked::read(asked)?;
            let answers = search(export, export.collection(collection)?, query, &asked)?;
            let found: usize = answers.iter().map(|answer| answer.hits.len()).sum();
            Ok(to_js(&json!({ "found": found, "partial": cost(&answers) })))
        }))
    }

    /// What the collection is made of.
    pub fn stats(&mut self, collection: &str) -> Result<JsValue> {
        let (resident, used) = (self.blob.resident_bytes(), self.kernel.set());
        or_undefined(self.export().and_then(|export| {
            let collection = export.collection(collection)?;
            Ok(to_js(&json!({
                "points": collection.live(),
                "rows": collection.rows(),
                "hasCells": collection.has_cells(),
                "residentBytes": resident,
                "instructionSet": used.name(),
            })))
        }))
    }
}

impl Part {
    /// The export, opened at the first call that finds its front here.
    fn export(&mut self) -> nearfield_engine::Result<&PartialExport> {
        if self.export.is_none() {
            let blob: Arc<dyn Blob> = self.blob.clone();
            self.export = Some(PartialExport::open(&self.name, blob, self.kernel)?);
        }
        Ok(self.export.as_ref().expect("it was just opened"))
    }
}

fn info(collection: &PartialCollection) -> Value {
    let fields: Vec<Value> = collection.schema().vectors.iter().map(field_info).collect();
    json!({
        "name": collection.name(),
        "size": collection.live(),
        "lsn": collection.lsn().0,
        "fields": fields,
        "hasCells": collection.has_cells(),
    })
}

/// One answer for each row of `queries`. All of them say what they lack before this fails.
fn search(
    export: &PartialExport,
    collection: &PartialCollection,
    queries: &[f32],
    asked: &Asked,
) -> nearfield_engine::Result<Vec<PartialAnswer>> {
    let filter = asked.filter()?;
    let spec = collection.schema().vectors.get(asked.field());
    let dim = spec.map_or(queries.len(), |spec| spec.dim as usize).max(1);
    let (mut answers, mut missing) = (Vec::new(), None);
    for vector in queries.chunks(dim) {
        let params = PartialSearchParams {
            field: asked.field(),
            vector,
            k: asked.count("k")?.unwrap_or(10),
            cells: asked.count("cells")?,
            requests_max: REQUESTS_DEFAULT,
            filter: filter.as_ref(),
            rerank: asked.count("rerank")?.unwrap_or(0),
        };
        match export.search(collection, &params) {
            Err(error) if error.kind() == ErrorKind::NotResident => missing = Some(error),
            answer => answers.push(answer?),
        }
    }
    missing.map_or(Ok(answers), Err)
}

/// What it took; for several queries the sum, and the least coverage.
fn cost(answers: &[PartialAnswer]) -> Value {
    let sum = |of: fn(&PartialAnswer) -> usize| answers.iter().map(of).sum::<usize>();
    json!({
        "cellsSearched": sum(|answer| answer.cells_searched),
        "cellsTotal": answers.iter().map(|answer| answer.cells_total).max(),
        "reranked": sum(|answer| answer.reranked),
        "scored": answers.iter().map(|answer| answer.rows_scored).sum::<u64>(),
        "coverage": answers.iter().map(|answer| answer.coverage).fold(1.0, f64::min),
    })
}

fn hits(
    collection: &PartialCollection,
    asked: &Asked,
    answers: &[PartialAnswer],
) -> nearfield_engine::Result<JsValue> {
    let metric = collection.schema().vectors[asked.field()].metric;
    let all = || answers.iter().flat_map(|answer| &answer.hits);
    let found: Vec<_> = all().map(|hit| ((hit.segment, hit.row), hit.id.clone())).collect();
    let scores = all().map(|hit| metric.score(hit.distance));
    let counts = answers.iter().map(|answer| answer.hits.len());
    let fields = [asked.field()];
    let columns = asked.columns(&fields);
    let object = answers::hits(&collection.points(found, columns)?, columns, scores, counts);
    // Without cells every row was compared by its original.
    let approx = answers.iter().any(|answer| answer.cells_total > 0 || answer.coverage < 1.0);
    set(&object, "approx", &JsValue::from_bool(approx));
    let cost = cost(answers);
    for name in ["scored", "coverage"] {
        set(&object, name, &JsValue::from_f64(cost[name].as_f64().unwrap_or_default()));
    }
    let names = ["cellsSearched", "cellsTotal", "reranked"];
    let stats: Value = names.iter().map(|&name| (name, cost[name].clone())).collect();
    set(&object, "stats", &to_js(&stats));
    Ok(object.into())
}
