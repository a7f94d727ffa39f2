//! A `.near` file whose bytes are all in memory: written in pieces into one aligned buffer, then opened.
//!
//! The buffer the pieces are written to is the one that is searched: the file is in memory once.

use std::sync::Arc;

use js_sys::{Array, Uint8Array};
use nearfield_engine::{Error, ErrorKind, Fault, View, open_export};
use nearfield_segment::Kernel;
use nearfield_segment::format::Residence;
use nearfield_segment::storage::{AlignedBuffer, Blob, BytesBlob};
use serde_json::json;
use wasm_bindgen::prelude::*;

use crate::error::{Result, Thrown};
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
    pub fn finish(self, name: &str) -> Result<Whole> {
        let len = self.buffer.len();
        let blob: Arc<dyn Blob> = Arc::new(BytesBlob::new(name, self.buffer.into()));
        let collections = open_export(name, &blob, Residence::InPlace)?;
        Ok(Whole { len, collections, kernel: Kernel::detect() })
    }
}

impl Upload {
    fn place(&mut self, start: usize, len: usize) -> nearfield_engine::Result<&mut [u8]> {
        let rest = self.buffer.as_mut_slice().get_mut(start..);
        rest.and_then(|rest| rest.get_mut(..len)).ok_or_else(|| outside(start, len))
    }

    /// Copies a piece to its place.
    pub(crate) fn put(&mut self, offset: usize, bytes: &[u8]) -> nearfield_engine::Result<()> {
        self.place(offset, bytes.len())?.copy_from_slice(bytes);
        Ok(())
    }

    /// What was written, zeros where nothing was.
    pub(crate) fn bytes(&self) -> &[u8] {
        &self.buffer
    }
}

/// `len` zero bytes.
pub(crate) fn memory_for(len: f64) -> nearfield_engine::Result<AlignedBuffer> {
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

/// A file that is open.
#[wasm_bindgen]
#[derive(Debug)]
pub struct Whole {
    len: usize,
    collections: Vec<(String, View)>,
    kernel: Kernel,
}

impl Whole {
    fn reading<'a>(&'a self, (name, view): &'a (String, View)) -> Reading<'a> {
        Reading { name, view, kernel: self.kernel }
    }

    fn of(&self, name: &str) -> Result<Reading<'_>> {
        let found = self.collections.iter().find(|(other, _)| other == name);
        let missing =
            || Thrown::from(Error::new(ErrorKind::NotFound, format!("no collection {name:?}")));
        found.map(|collection| self.reading(collection)).ok_or_else(missing)
    }
}

#[wasm_bindgen]
impl Whole {
    /// Collections and length.
    pub fn info(&self) -> JsValue {
        let collections = self.collections.iter().map(|entry| self.reading(entry).info());
        to_js(&json!({ "bytes": self.len, "collections": collections.collect::<Vec<_>>() }))
    }

    /// See `Reading::search`.
    pub fn search(&self, collection: &str, queries: &[f32], asked: &str) -> Result<JsValue> {
        self.of(collection)?.search(queries, asked)
    }

    /// See `Reading::get`.
    pub fn get(&self, collection: &str, ids: &Array, asked: &str) -> Result<JsValue> {
        self.of(collection)?.get(ids, asked)
    }

    /// See `Reading::scan`.
    pub fn scan(
        &self,
        collection: &str,
        segment: usize,
        row: u32,
        count: usize,
        asked: &str,
    ) -> Result<JsValue> {
        self.of(collection)?.scan((segment, row), count, asked)
    }

    /// See `Reading::count`.
    pub fn count(&self, collection: &str, asked: &str) -> Result<f64> {
        self.of(collection)?.count(asked)
    }

    /// See `Reading::recall`.
    pub fn recall(
        &self,
        collection: &str,
        queries: Option<Vec<f32>>,
        asked: &str,
    ) -> Result<JsValue> {
        self.of(collection)?.recall(queries.as_deref(), asked)
    }

    /// See `Reading::explain`.
    pub fn explain(&self, collection: &str, query: &[f32], asked: &str) -> Result<JsValue> {
        self.of(collection)?.explain(query, asked)
    }

    /// See `Reading::stats`.
    pub fn stats(&self, collection: &str) -> Result<JsValue> {
        Ok(to_js(&self.of(collection)?.stats()))
    }
}
