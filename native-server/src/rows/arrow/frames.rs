//! `Frames`: cuts an Arrow IPC stream into messages (`Frame`), and refuses messages that misstate their size.
//! Used by `ArrowRows`.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 4 | `FF FF FF FF` |
//! | 4 | 4 | length of the description, a flatbuffer; 0 ends the stream |
//! | 8 | … | description: kind, length of the body, places of buffers in it |
//! | … | … | body |
//!
//! Bytes come in pieces of any size. Memory grows with what has arrived, never with what is announced.
//! What the columns mean is for [`super::columns`].

use arrow_buffer::Buffer;
use arrow_ipc::{CompressionType, Message, MessageHeader, RecordBatch, root_as_message};
use nearfield_engine::batch::BATCH_ROWS_MAX;
use nearfield_engine::{Error, Fault, Result};

const PREFIX_BYTES: usize = 8;
const CONTINUATION: [u8; 4] = [0xFF; 4];
/// Longest description: a schema of a hundred thousand columns fits.
const DESCRIPTION_BYTES_MAX: usize = 16 << 20;
/// Elements of a batch that need no bytes: so many in all, and so many more for each row.
const UNBACKED_ELEMENTS_MAX: i64 = 16 << 20;
const UNBACKED_ELEMENTS_PER_ROW: i64 = 64;
/// Memory taken for a part of a message before its bytes arrive.
const RESERVED_BYTES_MAX: usize = 1 << 20;

/// A whole message; its description was verified, and its buffers lie within the body.
#[derive(Debug)]
pub(super) struct Frame {
    description: Vec<u8>,
    /// Values of the columns.
    pub(super) body: Buffer,
    /// What compressed buffers say they become: the decoder allocates that much, and refuses more.
    pub(super) decompressed_bytes: usize,
}

impl Frame {
    /// The description.
    ///
    /// # Errors
    /// None for frames of [`Frames`], which verified it.
    pub(super) fn message(&self) -> Result<Message<'_>> {
        root_as_message(&self.description).map_err(|error| refused("description", error))
    }
}

#[derive(Debug)]
enum State {
    Prefix,
    Description { len: usize },
    Body { description: Vec<u8>, len: usize },
    Ended,
}

/// The cutter: bytes in, messages out.
#[derive(Debug)]
pub(super) struct Frames {
    state: State,
    /// The part of a message that is being gathered.
    part: Vec<u8>,
    body_bytes_max: usize,
    /// Bytes taken so far.
    offset: u64,
}

impl Frames {
    /// For bodies of at most `body_bytes_max`, as they come and decompressed.
    pub(super) fn new(body_bytes_max: usize) -> Self {
        Frames { state: State::Prefix, part: Vec::new(), body_bytes_max, offset: 0 }
    }

    /// Takes bytes from the front of `bytes`, and returns the first message that they complete.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` with `offset` for what is no message, or one too large.
    pub(super) fn take(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>> {
        let before = bytes.len();
        let taken = self.advance(bytes);
        self.offset += (before - bytes.len()) as u64;
        let offset = self.offset;
        taken.map_err(|error| error.context(format!("byte {offset}")).with("offset", offset))
    }

    fn advance(&mut self, bytes: &mut &[u8]) -> Result<Option<Frame>> {
        loop {
            match std::mem::replace(&mut self.state, State::Ended) {
                State::Prefix => {
                    let Some(prefix) = self.gather(bytes, PREFIX_BYTES) else {
                        self.state = State::Prefix;
                        return Ok(None);
                    };
                    match description_len(&prefix)? {
                        0 => {}
                        len => self.state = State::Description { len },
                    }
                }
                State::Description { len } => {
                    let Some(description) = self.gather(bytes, len) else {
                        self.state = State::Description { len };
                        return Ok(None);
                    };
                    let message = root_as_message(&description)
                        .map_err(|error| refused("a description of a message", error))?;
                    let len = self.body_len(&message)?;
                    self.state = State::Body { description, len };
                }
                State::Body { description, len } => {
                    let Some(body) = self.gather(bytes, len) else {
                        self.state = State::Body { description, len };
                        return Ok(None);
                    };
                    self.state = State::Prefix;
                    let body = Buffer::from_vec(body);
                    let mut frame = Frame { description, body, decompressed_bytes: 0 };
                    frame.decompressed_bytes = check_buffers(&frame, self.body_bytes_max)?;
                    return Ok(Some(frame));
                }
                State::Ended if bytes.is_empty() => return Ok(None),
                State::Ended => return Err(refused("the end of the stream", "more bytes")),
            }
        }
    }

    /// Whether the end mark was there. Arrow lets a stream end without one, but then a stream that was
    /// cut off between two batches would look whole.
    pub(super) fn is_complete(&self) -> bool {
        matches!(self.state, State::Ended)
    }

    /// Bytes of the message that is being gathered.
    pub(super) fn gathered_bytes(&self) -> usize {
        let description = match &self.state {
            State::Body { description, .. } => description.len(),
            State::Prefix | State::Description { .. } | State::Ended => 0,
        };
        description + self.part.len()
    }

    /// The next `len` bytes once they are all there.
    fn gather(&mut self, bytes: &mut &[u8], len: usize) -> Option<Vec<u8>> {
        if self.part.is_empty() {
            self.part.reserve(len.min(RESERVED_BYTES_MAX));
        }
        let (taken, rest) = bytes.split_at((len - self.part.len()).min(bytes.len()));
        self.part.extend_from_slice(taken);
        *bytes = rest;
        (self.part.len() == len).then(|| std::mem::take(&mut self.part))
    }

    fn body_len(&self, message: &Message<'_>) -> Result<usize> {
        let len = message.bodyLength();
        let fits = usize::try_from(len).ok().filter(|len| *len <= self.body_bytes_max);
        fits.ok_or_else(|| {
            let most = self.body_bytes_max;
            refused(&format!("a message of at most {most} bytes"), len).with("expected", most)
        })
    }
}

fn description_len(prefix: &[u8]) -> Result<usize> {
    let (continuation, len) = prefix.split_at(4);
    if continuation != CONTINUATION {
        return Err(refused("an Arrow IPC stream: FF FF FF FF", format!("{continuation:02X?}")));
    }
    let len = u32::from_le_bytes(len.try_into().expect("half of eight bytes")) as usize;
    if len > DESCRIPTION_BYTES_MAX {
        let expected = format!("a description of at most {DESCRIPTION_BYTES_MAX} bytes");
        return Err(refused(&expected, len));
    }
    Ok(len)
}

/// Checks rows, places of buffers, and lengths after decompression; returns the sum of those.
fn check_buffers(frame: &Frame, bytes_max: usize) -> Result<usize> {
    let message = frame.message()?;
    let batch = match message.header_type() {
        MessageHeader::RecordBatch => message.header_as_record_batch(),
        MessageHeader::DictionaryBatch => {
            message.header_as_dictionary_batch().and_then(|d| d.data())
        }
        _ => return Ok(0),
    };
    let Some(batch) = batch else { return Err(refused("a batch", "a description without one")) };
    if !(0..=BATCH_ROWS_MAX as i64).contains(&batch.length()) {
        let expected = format!("a record batch of at most {BATCH_ROWS_MAX} rows");
        return Err(refused(&expected, batch.length()).with("expected", BATCH_ROWS_MAX));
    }
    let compressed = batch.compression().map(|how| how.codec());
    if let Some(codec) = compressed
        && codec != CompressionType::LZ4_FRAME
        && codec != CompressionType::ZSTD
    {
        return Err(refused("LZ4 or Zstandard compression", format!("{codec:?}")));
    }
    let mut decompressed = 0usize;
    for buffer in batch.buffers().into_iter().flatten() {
        let bytes = slice(&frame.body, buffer.offset(), buffer.length())?;
        if compressed.is_some() && !bytes.is_empty() {
            decompressed = decompressed.saturating_add(announced_len(bytes)?);
        }
        if decompressed > bytes_max {
            let expected = format!("columns of at most {bytes_max} bytes decompressed");
            return Err(refused(&expected, decompressed).with("expected", bytes_max));
        }
    }
    let bytes = if compressed.is_some() { decompressed } else { frame.body.len() };
    check_lengths(&batch, bytes as i64)?;
    Ok(decompressed)
}

/// Every array has a possible length, and no more nulls than elements. All together have no more elements than
/// `bytes` can hold as bits, and a bounded number that need no bytes at all: nulls of the type null, structs.
fn check_lengths(batch: &RecordBatch<'_>, bytes: i64) -> Result<()> {
    let unbacked = UNBACKED_ELEMENTS_MAX + UNBACKED_ELEMENTS_PER_ROW * batch.length();
    let mut left = bytes.saturating_mul(8).saturating_add(unbacked);
    for node in batch.nodes().into_iter().flatten() {
        let possible = (0..=left).contains(&node.length());
        if !possible || !(0..=node.length()).contains(&node.null_count()) {
            let found = format!("{} elements, {} of them null", node.length(), node.null_count());
            return Err(refused("columns with possible lengths", found));
        }
        left -= node.length();
    }
    Ok(())
}

fn slice(body: &[u8], offset: i64, len: i64) -> Result<&[u8]> {
    let range = usize::try_from(offset).ok().zip(usize::try_from(len).ok());
    let slice = range.and_then(|(start, len)| body.get(start..start.checked_add(len)?));
    slice.ok_or_else(|| {
        let expected = format!("a buffer within the {} bytes of its message", body.len());
        refused(&expected, format!("offset {offset}, length {len}"))
    })
}

/// What a compressed buffer says it becomes; −1 stands for one kept as it is.
fn announced_len(bytes: &[u8]) -> Result<usize> {
    let Some((len, rest)) = bytes.split_first_chunk::<8>() else {
        return Err(refused("a compressed buffer of 8 bytes or more", bytes.len()));
    };
    match i64::from_le_bytes(*len) {
        -1 => Ok(rest.len()),
        len => usize::try_from(len).map_err(|_| refused("a length", len)),
    }
}

fn refused(expected: &str, found: impl std::fmt::Display) -> Error {
    Error::invalid(Fault::Parameter, format!("expected {expected}, found {found}"))
}
