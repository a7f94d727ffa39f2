//! Handlers of `ingest` and `export`: Arrow IPC streams in and out, one record batch at a time, never held whole.
//! Called by the routes of `v2`; `rows::arrow` converts between Arrow and batches.
//!
//! Each record batch is one atomic batch. Several are under way at once, in their order, so that a stream is
//! not as slow as one sync after the other.
//!
//! What a stream has sent counts against the memory budget as it arrives, and what a compressed batch becomes before it
//! is decoded, until the batch is in the queue, which counts it from then on.

use std::borrow::Cow;
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::io::Write;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::Schema;
use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use serde::Serialize;
use tracing::warn;
use utoipa::ToSchema;

use crate::host::Stopwatch;
use crate::http::{self, ApiError, Call, Result, at_length, request, streamed};
use crate::metrics::GaugeGuard;
use crate::rows::ViewRows;
use crate::rows::arrow::{
    ArrowRows, ColumnNames, MESSAGE_MEMORY_FACTOR, TableRows, write_arrow_stream,
};
use crate::workers::{Change, CollectionService, Cost, Reservation, Store, StoreResult, Written};

/// Content type of an Arrow IPC stream.
pub(super) const ARROW_TYPE: &str = "application/vnd.apache.arrow.stream";
/// Batches of one stream under way at once.
const UNDER_WAY_MAX: usize = 16;
/// The memory that a stream holds grows in steps of so many bytes.
const PAID_BYTES: u64 = 4 << 10;
/// How fast a stream has to come once `--request-timeout-secs` are over.
const BYTES_PER_SECOND_MIN: u64 = 1_000;

request! {
    /// What is exported
    pub(super) struct Export {
        #[schema(value_type = Option<Map<String, Value>>)]
        filter: Filter,
        /// true if left out
        include_vector: bool,
    }
}

/// What an Arrow stream wrote.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct Ingested {
    rows: u64,
    /// Record batches, each one atomic
    batches: u64,
    inserted: u64,
    replaced: u64,
    /// Of the last batch
    lsn: u64,
}

/// Answers `POST ingest`.
pub(super) async fn ingest(mut call: Call) -> Result<Response<Body>> {
    call.store()?.metrics().ingest_requests.inc();
    let served = call.served()?;
    call.accept(ARROW_TYPE)?;
    let wait = call.waits(None)?;
    let store = Arc::clone(call.store()?);
    let _counted = GaugeGuard::new(&store.metrics().active_streams);
    let held = store.reserve(call.key, 0)?;
    let (queue, done) = (VecDeque::new(), Ingested::default());
    let mut stream = Ingest { store, served, wait, held, queue, done };
    let read = stream.read(&mut call).await;
    // Batches under way are waited for also after an error: what is answered about them is what happened.
    let settled = stream.settle(0).await;
    match read.and(settled) {
        Ok(()) => Ok(http::data(StatusCode::CREATED, stream.done)),
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
    served: Arc<CollectionService>,
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
                    self.begin(table, &schema, call.server.now_ms()).await?;
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
        fields: table.fields,
        time_ms,
        row_keys: table.keys.into_iter().map(|key| key.map(Cow::Owned)).collect(),
        ..Draft::default()
    };
    Ok(Batch::new(draft, schema)?)
}

/// Answers `POST export`.
pub(super) async fn export(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let Export { filter, include_vector } = call.request().await?;
    let slot = call.server.exports.begin(call.key)?;
    let counted = GaugeGuard::new(&call.store()?.metrics().active_streams);
    let view = served.view();
    let cost = Cost::of_filter(&view, filter.as_ref());
    let rows = move |go_on: GoOn<'_>| Ok(ViewRows::new(view, filter.as_ref(), go_on)?);
    let rows = call.store()?.search(call.key, cost, rows).await?;
    // The rows are ready: the next piece that cannot be sent ends the export.
    let fill = move |out: &mut dyn Write, _: GoOn<'_>| {
        let _counted = counted;
        write_arrow_stream(rows, include_vector.unwrap_or(true), out).map(drop)
    };
    streamed(slot, ARROW_TYPE, fill).await
}
