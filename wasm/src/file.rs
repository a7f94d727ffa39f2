//! `NearFile`: a `.near` file in the module, whole or in part, with its queries; `Upload` is the buffer in which a
//! whole file is gathered. Used by `wasm/js` (`session.js`, `remote.js`, `resident.js`).
//!
//! The buffer the pieces are written to is the one that is searched: the file is in memory once. Not here: the bytes of
//! a file in part (`ranges`).

use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use nearfield_engine::{Error, ErrorKind, Export, Fault, Result as EngineResult, View};
use nearfield_segment::Kernel;
use nearfield_segment::format::Residence;
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob, RangeBlob};
use serde_json::{Value, json};
use wasm_bindgen::prelude::*;

use crate::error::Result;
use crate::object::to_js;
use crate::reading::Reading;

/// A file on its way into memory.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Upload {
    buffer: AlignedBuffer,
}

#[wasm_bindgen]
impl Upload {
    /// Memory for a file of `len` bytes.
    #[wasm_bindgen(constructor)]
    pub fn new(len: f64) -> Result<Upload> {
        Ok(Upload { buffer: memory_for(len)? })
    }

    /// Copies a piece to its place.
    pub fn write(&mut self, offset: f64, bytes: &Uint8Array) -> Result<()> {
        bytes.copy_to(self.place(offset as usize, bytes.length() as usize)?);
        Ok(())
    }

    /// A copy of what was written.
    pub fn read(&self, start: f64, end: f64) -> Result<Vec<u8>> {
        let bytes = self.buffer.get(start as usize..end as usize);
        Ok(bytes.ok_or_else(|| outside(start as usize, (end - start) as usize))?.to_vec())
    }

    /// Opens what was written; `name` is used in errors.
    pub fn finish(self, name: &str) -> Result<NearFile> {
        let blob = Arc::new(BytesBlob::new(name, self.buffer.into()));
        let mut file = NearFile::new(name, blob, None);
        file.export()?;
        Ok(file)
    }
}

impl Upload {
    fn place(&mut self, start: usize, len: usize) -> EngineResult<&mut [u8]> {
        let rest = self.buffer.as_mut_slice().get_mut(start..);
        rest.and_then(|rest| rest.get_mut(..len)).ok_or_else(|| outside(start, len))
    }

    /// Copies a piece to its place.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) -> EngineResult<()> {
        self.place(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// What was written, zeros where nothing was.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

/// `len` zero bytes.
pub(crate) fn memory_for(len: f64) -> EngineResult<AlignedBuffer> {
    let len = len as u64;
    let usable = usize::try_from(len).ok();
    usable
        .and_then(AlignedBuffer::try_zeroed)
        .ok_or_else(|| Error::new(ErrorKind::StorageFull, format!("no memory for {len} bytes")))
}

fn outside(start: usize, len: usize) -> Error {
    let message = format!("bytes {start} + {len} are outside the file");
    Error::invalid(Fault::Parameter, message)
}

/// A `.near` file: all of it, or what has arrived so far.
///
/// Questions return `undefined` while bytes are missing: `wanted` names them, `supply` brings them, and the same call
/// is made again. Nothing here waits or fetches; `wasm/js/remote.js` does.
#[wasm_bindgen]
#[derive(Debug)]
pub struct NearFile {
    name: String,
    blob: Arc<dyn Blob>,
    /// The same, while bytes of it may be missing.
    pub(crate) ranges: Option<Arc<RangeBlob>>,
    /// What is in it, from the first call on that finds its front here.
    pub(crate) export: Option<Export>,
    kernel: Kernel,
}

impl NearFile {
    pub(crate) fn new(name: &str, blob: Arc<dyn Blob>, ranges: Option<Arc<RangeBlob>>) -> NearFile {
        NearFile { name: name.to_owned(), blob, ranges, export: None, kernel: Kernel::detect() }
    }

    fn export(&mut self) -> EngineResult<&Export> {
        if self.export.is_none() {
            let residence =
                if self.ranges.is_some() { Residence::OnDemand } else { Residence::InPlace };
            self.export = Some(Export::open(&self.name, &self.blob, residence)?);
        }
        Ok(self.export.as_ref().expect("it was just opened"))
    }

    /// The answer to a question to one collection; `undefined` if bytes are missing.
    fn ask(
        &mut self,
        name: &str,
        question: impl FnOnce(Reading<'_>) -> EngineResult<JsValue>,
    ) -> Result<JsValue> {
        let kernel = self.kernel;
        or_undefined(self.export().and_then(|export| {
            let view = export.collection(name)?;
            question(Reading { name, view, kernel })
        }))
    }
}

fn or_undefined(answer: EngineResult<JsValue>) -> Result<JsValue> {
    match answer {
        Err(error) if error.kind() == ErrorKind::NotResident => Ok(JsValue::UNDEFINED),
        answer => Ok(answer?),
    }
}

#[wasm_bindgen]
impl NearFile {
    /// Collections and length.
    pub fn info(&mut self) -> Result<JsValue> {
        let (len, kernel, in_part) = (self.blob.len(), self.kernel, self.ranges.is_some());
        or_undefined(self.export().map(|export| {
            let info = |(name, view): &(String, View)| {
                let mut info = Reading { name, view, kernel }.info();
                if in_part {
                    info["hasCells"] = view.has_lists().into();
                }
                info
            };
            let collections: Vec<Value> = export.collections.iter().map(info).collect();
            to_js(&json!({ "bytes": len, "collections": collections }))
        }))
    }

    /// See `Reading::search`.
    pub fn search(&mut self, collection: &str, queries: &[f32], options: &str) -> Result<JsValue> {
        self.ask(collection, |reading| reading.search(queries, options))
    }

    /// See `Reading::get`.
    pub fn get(&mut self, collection: &str, ids: &Array, options: &str) -> Result<JsValue> {
        self.ask(collection, |reading| reading.get(ids, options))
    }

    /// See `Reading::scan`.
    pub fn scan(
        &mut self,
        collection: &str,
        segment: usize,
        row: u32,
        count: usize,
        options: &str,
    ) -> Result<JsValue> {
        self.ask(collection, |reading| reading.scan((segment, row), count, options))
    }

    /// See `Reading::count`.
    pub fn count(&mut self, collection: &str, options: &str) -> Result<JsValue> {
        self.ask(collection, |reading| reading.count(options))
    }

    /// See `Reading::recall`.
    pub fn recall(
        &mut self,
        collection: &str,
        queries: Option<Vec<f32>>,
        options: &str,
    ) -> Result<JsValue> {
        self.ask(collection, |reading| reading.recall(queries.as_deref(), options))
    }

    /// See `Reading::explain`.
    pub fn explain(&mut self, collection: &str, query: &[f32], options: &str) -> Result<JsValue> {
        self.ask(collection, |reading| reading.explain(query, options))
    }

    /// See `Reading::stats`.
    pub fn stats(&mut self, collection: &str) -> Result<JsValue> {
        self.ask(collection, |reading| Ok(to_js(&reading.stats())))
    }
}
