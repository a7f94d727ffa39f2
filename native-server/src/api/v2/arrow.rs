//! `ingest` and `export`: Arrow IPC streams, a record batch at a time, never held whole.
//!
//! Each record batch is one atomic batch. Several are under way at once, in their order, so that a stream is
//! not as slow as one sync after the other.
//!
//! What a stream has sent counts against the memory budget as it arrives, and what a compressed batch becomes before it
//! is decoded, until the batch is in the queue, which counts it from then on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::{BufWriter, Write};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::Schema;
use nearfield_segment::cancel::GoOn;
use tokio::runtime::Handle;
use tokio::sync::mpsc;
use tracing::warn;

use super::answer;
use super::call::{Call, at_length};
use super::cursor::Cursor;
use super::describe::Ingested;
use super::error::{ApiError, Result};
use super::exports::Export;
use super::server::Counted;
use crate::host::Stopwatch;
use crate::rows::ViewRows;
use crate::rows::arrow::{
    ArrowRows, ColumnNames, MESSAGE_MEMORY_FACTOR, TableRows, write_arrow_stream,
};
use crate::workers::{Change, Cost, Reservation, Served, Store, StoreResult, Written};

/// Content type of an Arrow IPC stream.
pub(super) const ARROW_TYPE: &str = "application/vnd.apache.arrow.stream";
/// Batches of one stream under way at once.
const UNDER_WAY_MAX: usize = 16;
/// Bytes of an export sent at once, and pieces made ahead of a slow reader.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_AHEAD: usize = 4;
/// Most time a reader of an export may take for one piece.
const PIECE_TIME: Duration = Duration::from_secs(60);
/// The memory that a stream holds grows in steps of so many bytes.
const PAID_BYTES: u64 = 4 << 10;
/// How fast a stream has to come once `--request-timeout-secs` are over.
const BYTES_PER_SECOND_MIN: u64 = 1_000;
const EXPORT_KEYS: [&str; 2] = ["filter", "include_vector"];

/// Answers `POST ingest`.
pub(super) async fn ingest(mut call: Call) -> Result<Response<Body>> {
    call.store()?.metrics().ingest_requests.inc();
    let served = call.served()?;
    call.accept(ARROW_TYPE)?;
    let wait = call.waits(None)?;
    let store = Arc::clone(call.store()?);
    let _counted = Counted::new(&store.metrics().active_streams);
    let held = store.reserve(call.key, 0)?;
    let (queue, done) = (VecDeque::new(), Ingested::default());
    let mut stream = Ingest { store, served, wait, held, queue, done };
    let read = stream.read(&mut call).await;
    // Batches under way are waited for also after an error: what is answered about them is what happened.
    let settled = stream.settle(0).await;
    match read.and(settled) {
        Ok(()) => Ok(answer::data(StatusCode::CREATED, stream.done)),
        Err(error) => Err(error.with("batches_written", stream.done.batches).closing()),
    }
}

/// How fast a stream comes: as slowly as it likes at first, later at [`BYTES_PER_SECOND_MIN`] on the whole. Time
/// in which the stream waits for the server does not count.
struct StreamPace {
    limit: Duration,
    waited: Duration,
}

impl StreamPace {
    fn new(limit_secs: u64) -> StreamPace {
        StreamPace { limit: Duration::from_secs(limit_secs), waited: Duration::ZERO }
    }

    /// The next piece of a stream.
    async fn piece(&mut self, call: &mut Call) -> Result<Option<Bytes>> {
        let watch = Stopwatch::start();
        let piece = call.piece().await?;
        self.waited += watch.elapsed();
        if self.waited > self.limit {
            let message =
                format!("the stream comes at less than {BYTES_PER_SECOND_MIN} bytes a second");
            let error = ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
            return Err(error.with("expected", BYTES_PER_SECOND_MIN).closing());
        }
        let bytes = piece.as_ref().map_or(0, Bytes::len) as u64;
        self.limit += Duration::from_millis(bytes * 1_000 / BYTES_PER_SECOND_MIN);
        Ok(piece)
    }
}

/// A batch on its way to the disk, and its rows.
type UnderWay = (u64, Pin<Box<dyn Future<Output = StoreResult<Written>> + Send>>);

/// A stream that is being written.
struct Ingest {
    store: Arc<Store>,
    served: Arc<Served>,
    wait: bool,
    /// Memory for what has arrived and is not the writer's yet.
    held: Reservation,
    queue: VecDeque<UnderWay>,
    done: Ingested,
}

impl Ingest {
    async fn read(&mut self, call: &mut Call) -> Result<()> {
        let schema = self.served.schema();
        let batch_bytes_max = call.server.config.body_bytes_max as usize;
        let known = Some(Schema::clone(&schema));
        let mut rows = ArrowRows::new(ColumnNames::default(), known, batch_bytes_max);
        let mut pace = StreamPace::new(call.server.config.request_timeout_secs);
        while let Some(piece) = pace.piece(call).await? {
            let mut bytes = &piece[..];
            let gathered = rows.gathered_bytes() + bytes.len() as u64;
            self.pay(gathered * MESSAGE_MEMORY_FACTOR + rows.kept_bytes())?;
            loop {
                let watch = Stopwatch::start();
                let kept = rows.kept_bytes();
                let mut refusal = None;
                let pay = &mut |bytes| {
                    // The decoder ends at any error; this one is not its own.
                    self.pay(bytes + kept).map_err(|refused| {
                        refusal = Some(refused);
                        Error::new(ErrorKind::Cancelled, "there is no memory for the batch")
                    })
                };
                let table = at_length(gathered as usize, || rows.next(&mut bytes, pay));
                self.store.metrics().arrow_decode_us.inc_by(microseconds(watch));
                self.note_panics(rows.take_panics());
                if let Some(refused) = refusal {
                    return Err(refused.into());
                }
                let Some(table) = table? else { break };
                if table.count > 0 {
                    self.begin(table, &schema, call.now_ms()).await?;
                }
                // The writer holds what it needs for the batch.
                self.held.clear();
            }
        }
        Ok(rows.finish()?)
    }

    /// Holds at least so many bytes of the memory budget.
    fn pay(&mut self, bytes: u64) -> StoreResult<()> {
        self.held.grow_to(bytes.next_multiple_of(PAID_BYTES))
    }

    /// Hands a batch to the writer; waits for the oldest one if too many are under way.
    async fn begin(&mut self, table: TableRows, schema: &Schema, now_ms: u64) -> Result<()> {
        self.settle(UNDER_WAY_MAX - 1).await?;
        let count = table.count as u64;
        let bytes = 4 * table.vectors.values().map(Vec::len).sum::<usize>();
        let change = Change::Batch(at_length(bytes, || batch(table, schema, now_ms))?);
        let (served, wait) = (Arc::clone(&self.served), self.wait);
        let mut write: UnderWay =
            (count, Box::pin(async move { served.write(change, wait).await }));
        // The first poll puts it into the queue: batches are written in the order of the stream.
        match poll_fn(|context| Poll::Ready(write.1.as_mut().poll(context))).await {
            Poll::Ready(written) => self.note(count, written?),
            Poll::Pending => self.queue.push_back(write),
        }
        Ok(())
    }

    /// Waits until at most `left` batches are under way; the first error is returned after all of those.
    async fn settle(&mut self, left: usize) -> Result<()> {
        let mut failed = None;
        while self.queue.len() > left {
            let Some((count, write)) = self.queue.pop_front() else { break };
            let watch = Stopwatch::start();
            let ended = write.await;
            self.store.metrics().arrow_commit_us.inc_by(microseconds(watch));
            match ended {
                Ok(written) => self.note(count, written),
                Err(error) => failed = failed.or(Some(error)),
            }
        }
        failed.map_or(Ok(()), |error| Err(error.into()))
    }

    /// Panics that the stream caused in its decoder.
    fn note_panics(&self, count: u64) {
        if count > 0 {
            warn!("an Arrow stream made its decoder panic; the stream is refused");
            self.store.metrics().panics.inc_by(count);
        }
    }

    fn note(&mut self, count: u64, written: Written) {
        self.done.rows += count;
        self.done.batches += 1;
        self.store.metrics().arrow_rows.inc_by(count);
        self.store.metrics().arrow_batches.inc();
        if let Written::Durable(applied) = written {
            self.done.inserted += applied.inserted;
            self.done.replaced += applied.replaced;
            self.done.lsn = self.done.lsn.max(applied.lsn.0);
        }
    }
}

fn microseconds(watch: Stopwatch) -> u64 {
    (watch.seconds() * 1e6) as u64
}

fn batch(table: TableRows, schema: &Schema, time_ms: u64) -> Result<Batch<'static>> {
    let own = |(name, elements)| (name, Cow::Owned(elements));
    let draft = Draft {
        ids: table.ids,
        rows: table.count,
        vectors: table.vectors.into_iter().map(own).collect(),
        metadata: table.metadata.into_iter().map(|text| text.map(Cow::Owned)).collect(),
        time_ms,
        row_keys: table.keys.into_iter().map(|key| key.map(Cow::Owned)).collect(),
        ..Draft::default()
    };
    Ok(Batch::new(draft, schema)?)
}

/// Answers `POST export`.
pub(super) async fn export(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let (mut filter, mut include_vector) = (None, true);
    let body = call.json().await?;
    at_length(body.len(), || {
        Cursor::whole(&body, |cursor| {
            cursor.object(&EXPORT_KEYS, |key, cursor| {
                match key {
                    "filter" => filter = Some(call.filter(cursor.raw()?)?),
                    _ => include_vector = cursor.read("true or false")?,
                }
                Ok(())
            })
        })
    })?;
    let place = call.server.exports.begin(call.key)?;
    let counted = Counted::new(&call.store()?.metrics().active_streams);
    let view = served.view();
    let cost = Cost::of_filter(&view, filter.as_ref());
    let rows = move |go_on: GoOn<'_>| Ok(ViewRows::new_while(view, filter.as_ref(), go_on)?);
    let rows = call.store()?.search(call.key, cost, rows).await?;
    // The rows are ready: the next piece that cannot be sent ends the export.
    let fill = move |out: &mut dyn Write, _: GoOn<'_>| {
        let _counted = counted;
        write_arrow_stream(rows, include_vector, out).map(drop)
    };
    streamed(place, ARROW_TYPE, fill).await
}

/// An answer whose body `fill` writes, on a thread of its own, which holds `place` until it ends. The check given to
/// `fill` returns false once the client has disconnected.
///
/// # Errors
/// What `fill` returns before it has written anything.
pub(super) async fn streamed(
    place: Export,
    content_type: &'static str,
    fill: impl FnOnce(&mut dyn Write, GoOn<'_>) -> nearfield_engine::Result<()> + Send + 'static,
) -> Result<Response<Body>> {
    let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let out = Pieces { sender, handle: Handle::current() };
    tokio::task::spawn_blocking(move || {
        write(fill, out);
        drop(place);
    });
    let first = pieces.recv().await.ok_or_else(broke_off)??;
    let body = Body::new(Stream { first: Some(first), pieces });
    Ok(answer::typed(StatusCode::OK, content_type, body))
}

/// An export whose thread went away without a word: it failed while nothing more could be sent, or panicked.
fn broke_off() -> Error {
    Error::new(ErrorKind::Io, "the export broke off")
}

/// Writes the whole stream, and an empty piece as its end; or an error as the last thing sent.
fn write(fill: impl FnOnce(&mut dyn Write, GoOn<'_>) -> nearfield_engine::Result<()>, out: Pieces) {
    let (sender, handle) = (out.sender.clone(), out.handle.clone());
    let mut out = BufWriter::with_capacity(PIECE_BYTES, out);
    let written = fill(&mut out, &|| !sender.is_closed());
    let flushed = out.flush().map_err(|error| Error::io("send", "an export", error));
    let last = written.and(flushed).map(|()| Bytes::new());
    // A client that has disconnected, or is too slow, does not get the last piece: its answer ends early.
    drop(handle.block_on(sender.send_timeout(last, PIECE_TIME)));
}

/// The writing end of an export, on a thread that may wait.
struct Pieces {
    sender: mpsc::Sender<nearfield_engine::Result<Bytes>>,
    handle: Handle,
}

impl Write for Pieces {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let send = self.sender.send_timeout(Ok(Bytes::copy_from_slice(bytes)), PIECE_TIME);
        let sent = self.handle.block_on(send);
        sent.map_err(|_| std::io::Error::new(std::io::ErrorKind::BrokenPipe, "nobody reads"))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

/// The reading end, as a body. It ends well only with the empty piece: HTTP would otherwise close a stream that
/// was cut short like a whole one.
struct Stream {
    first: Option<Bytes>,
    pieces: mpsc::Receiver<nearfield_engine::Result<Bytes>>,
}

impl hyper::body::Body for Stream {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<std::result::Result<Frame<Bytes>, Error>>> {
        let first = self.first.take().map(|first| Poll::Ready(Some(Ok(first))));
        first.unwrap_or_else(|| self.pieces.poll_recv(context)).map(|piece| match piece {
            Some(Ok(piece)) if piece.is_empty() => None,
            Some(piece) => Some(piece.map(Frame::data)),
            None => Some(Err(broke_off())),
        })
    }
}

#[cfg(test)]
mod tests {
    use http_body_util::BodyExt;

    use super::*;

    /// The pieces that were sent, then nothing: as after a panic of the thread that sends.
    async fn read(sent: Vec<nearfield_engine::Result<Bytes>>) -> Option<Vec<u8>> {
        let (sender, pieces) = mpsc::channel(PIECES_AHEAD);
        for piece in sent {
            sender.send(piece).await.expect("there is room");
        }
        drop(sender);
        let body = Stream { first: Some(Bytes::from_static(b"a")), pieces };
        body.collect().await.ok().map(|whole| whole.to_bytes().to_vec())
    }

    #[tokio::test]
    async fn an_export_that_breaks_off_is_no_whole_one() {
        let piece = || Ok(Bytes::from_static(b"b"));
        assert_eq!(read(vec![piece(), Ok(Bytes::new())]).await.as_deref(), Some(&b"ab"[..]));
        assert_eq!(read(vec![piece()]).await, None);
        assert_eq!(read(vec![piece(), Err(broke_off())]).await, None);
    }
}
