//! Apache Arrow IPC. [`ArrowRows`] turns the bytes of an IPC stream, in pieces of any size, into rows;
//! [`write_arrow_stream`] goes the other way. Called by the routes `ingest` and `export`, and by `nearfield
//! import` and `export`.
//!
//! Bytes are checked by [`frames`] before the arrow crates see them, so that what they allocate is bounded by
//! what has arrived; columns by [`columns`], before the first row. Nothing here waits.

mod cells;
mod columns;
mod file;
mod frames;
mod meter;
mod table;
mod vectors;
mod write;

use std::cell::Cell;
use std::collections::HashMap;
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, RecordBatch};
use arrow_ipc::convert::try_fb_to_schema;
use arrow_ipc::reader::{read_dictionary, read_record_batch};
use arrow_ipc::{Message, MessageHeader};
use arrow_schema::{ArrowError, SchemaRef};
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::Schema;

use frames::{Frame, Frames};

use super::caught::caught;

pub(crate) use columns::ColumnNames;
pub(super) use file::ArrowFile;
pub(crate) use meter::{Meter, Reserve};
pub(crate) use table::{TableReader, TableRows};
pub(crate) use write::{Layout, TableWriter, write_arrow_stream};

/// Memory that a message takes while it is gathered or decoded, in lengths of the message, as it comes and
/// decompressed. Its rows come on top.
pub(crate) const MESSAGE_MEMORY_FACTOR: u64 = 2;

/// A decoder of one IPC stream: bytes in, rows out, a record batch at a time.
#[derive(Debug)]
pub(crate) struct ArrowRows {
    frames: Frames,
    names: ColumnNames,
    /// Of the collection, if it is known.
    schema: Option<Schema>,
    table: Option<(SchemaRef, TableReader)>,
    dictionaries: HashMap<i64, ArrayRef>,
    /// Most bytes of a message, and of all dictionaries.
    batch_bytes_max: usize,
    /// Panics of the arrow crates since they were last asked for.
    panics: Cell<u64>,
}

impl ArrowRows {
    /// For a stream into a collection of `schema`; without one, all rows must be like the first. A record
    /// batch above `batch_bytes_max`, as it comes or decompressed, is refused.
    pub(crate) fn new(names: ColumnNames, schema: Option<Schema>, batch_bytes_max: usize) -> Self {
        ArrowRows {
            frames: Frames::new(batch_bytes_max),
            names,
            schema,
            table: None,
            dictionaries: HashMap::new(),
            batch_bytes_max,
            panics: Cell::new(0),
        }
    }

    /// Takes bytes from the front of `bytes` up to the end of a record batch, and returns its rows; `None`
    /// once all bytes are taken. To be called until then. `reserve` hears how much memory the message in hand
    /// takes, before it is decoded, and again before its rows take more; dictionaries come on top
    /// ([`kept_bytes`](ArrowRows::kept_bytes)).
    ///
    /// # Errors
    /// `InvalidInput` with `offset`, or with `row` and the column in the message; what `reserve` returns. After one
    /// the decoder must not be used again.
    pub(crate) fn next(
        &mut self,
        bytes: &mut &[u8],
        reserve: Reserve<'_>,
    ) -> Result<Option<TableRows>> {
        while let Some(frame) = self.frames.take(bytes)? {
            let message = (frame.body.len() + frame.decompressed_bytes) as u64;
            reserve(message * MESSAGE_MEMORY_FACTOR)?;
            if let Some(batch) = self.decode(&frame)? {
                let (_, reader) = self.table.as_mut().expect("a batch was decoded by its schema");
                let mut meter = Meter::new(reserve, message * MESSAGE_MEMORY_FACTOR);
                return reader.rows(&batch, &mut meter).map(Some);
            }
        }
        Ok(None)
    }

    /// Panics of the arrow crates since the last call.
    pub(crate) fn take_panics(&self) -> u64 {
        self.panics.take()
    }

    /// Bytes of the message that is being gathered.
    pub(crate) fn gathered_bytes(&self) -> u64 {
        self.frames.gathered_bytes() as u64
    }

    /// Memory that dictionaries keep until the end of the stream.
    pub(crate) fn kept_bytes(&self) -> u64 {
        self.dictionaries.values().map(|values| values.get_array_memory_size() as u64).sum()
    }

    /// To be called after the last byte.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` if the stream is cut off, or never began.
    pub(crate) fn finish(&self) -> Result<()> {
        let found = match (self.frames.is_complete(), &self.table) {
            (true, Some(_)) => return Ok(()),
            (true, None) => "one without a schema",
            (false, _) => "one without its end mark (cut off, or its writer was not closed)",
        };
        Err(Error::invalid(
            Fault::Parameter,
            format!("expected a whole Arrow IPC stream, found {found}"),
        ))
    }

    fn decode(&mut self, frame: &Frame) -> Result<Option<RecordBatch>> {
        let message = frame.message()?;
        match message.header_type() {
            MessageHeader::Schema => self.take_schema(&message).map(|()| None),
            MessageHeader::DictionaryBatch => self.take_dictionary(frame, &message).map(|()| None),
            MessageHeader::RecordBatch => self.record_batch(frame, &message).map(Some),
            other => Err(refused(format!("a message of kind {other:?}"))),
        }
    }

    fn take_schema(&mut self, message: &Message<'_>) -> Result<()> {
        if self.table.is_some() {
            return Err(refused("a second schema"));
        }
        let schema =
            message.header_as_schema().ok_or_else(|| refused("a schema without content"))?;
        let little = arrow_ipc::Endianness::Little;
        if schema.endianness() != little {
            return Err(refused("big-endian columns"));
        }
        let table = Arc::new(self.guarded(|| try_fb_to_schema(schema))?);
        let reader = TableReader::new(&table, &self.names, self.schema.as_ref())?;
        self.table = Some((table, reader));
        Ok(())
    }

    fn take_dictionary(&mut self, frame: &Frame, message: &Message<'_>) -> Result<()> {
        let batch = message.header_as_dictionary_batch();
        let (Some(batch), Some((table, _))) = (batch, &self.table) else {
            return Err(refused("a dictionary before the schema"));
        };
        let (table, version) = (Arc::clone(table), message.version());
        let mut dictionaries = std::mem::take(&mut self.dictionaries);
        self.guarded(|| read_dictionary(&frame.body, batch, &table, &mut dictionaries, &version))?;
        self.dictionaries = dictionaries;
        // Dictionaries can grow with each message, so that no one message is too large.
        let bytes: usize = self.dictionaries.values().map(|d| d.get_array_memory_size()).sum();
        if bytes > self.batch_bytes_max.saturating_mul(2) {
            return Err(refused(format!("dictionaries of {bytes} bytes in all")));
        }
        Ok(())
    }

    fn record_batch(&self, frame: &Frame, message: &Message<'_>) -> Result<RecordBatch> {
        let batch = message.header_as_record_batch();
        let (Some(batch), Some((table, _))) = (batch, &self.table) else {
            return Err(refused("rows before the schema"));
        };
        let (table, version) = (Arc::clone(table), message.version());
        let dictionaries = &self.dictionaries;
        self.guarded(|| read_record_batch(&frame.body, batch, table, dictionaries, None, &version))
    }

    /// Runs a decoder of the arrow crates. Bytes are checked before, but a panic is still possible; after it, as
    /// after any error, this decoder is not used again.
    fn guarded<T>(&self, decode: impl FnOnce() -> std::result::Result<T, ArrowError>) -> Result<T> {
        match caught(decode) {
            Some(decoded) => decoded.map_err(refused),
            None => {
                self.panics.set(self.panics.get() + 1);
                Err(refused("columns that contradict each other"))
            }
        }
    }
}

fn refused(found: impl std::fmt::Display) -> Error {
    Error::invalid(Fault::Parameter, format!("Arrow IPC stream: {found}"))
}

#[cfg(test)]
mod tests;
