//! `Call`: a request that passed `gate`, from which handlers read parameters, headers and the body. It
//! reserves memory for the body and ends slow uploads. Made by `gate`, passed to every handler.
//!
//! The body is unread until a handler asks for it, and then bounded in length, in memory and in time.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use axum::body::{Body, HttpBody as _};
use axum::http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use axum::http::request::Parts;
use axum::http::{HeaderMap, StatusCode};
use bytes::{Bytes, BytesMut};
use http_body_util::BodyExt;
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::shown;

use super::conventions::Conventions;
use super::cursor::Cursor;
use super::error::{ApiError, Result};
use super::request::FromJson;
use super::server::Server;
use crate::catalog::KeyId;
use crate::workers::{CollectionService, Reservation, Store, StoreError};

/// Most time between two pieces of a body.
const BODY_IDLE: Duration = Duration::from_secs(10);
/// Memory that a JSON body and what is read from it take, in lengths of the body: a number is at least two
/// characters, and four bytes once read.
const JSON_MEMORY_FACTOR: u64 = 3;
/// How many times a write checks whether memory is tight before it reads its body, and the time between two checks.
const ROOM_PATIENCE: (u32, Duration) = (100, Duration::from_millis(50));
/// A body of so many bytes is read within about a millisecond.
const SHORT_BODY_BYTES: usize = 64 << 10;

/// A request that may be answered.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) server: Arc<Server>,
    /// Of the API that the path belongs to.
    pub(super) conventions: &'static Conventions,
    pub(crate) head: Parts,
    pub(crate) body: Body,
    /// The key of the request; none on public routes and on the control socket.
    pub(crate) key: Option<KeyId>,
    /// Whether the answer may say more than how the process is: names, sizes, reasons.
    pub(crate) may_name: bool,
    /// The `{name}` of the path, if it has one.
    pub(crate) collection: Option<String>,
    /// The `{id}` of the path, if it has one.
    pub(crate) id: Option<String>,
    /// It writes no points: the budget has more room for it, also for the checkpoint that empties it.
    reads: bool,
    /// Memory held until the answer is made, or until it is released.
    held: Option<Reservation>,
    /// Whether some of the body was not read; outlives the call.
    pub(crate) pending: Arc<AtomicBool>,
}

impl Call {
    pub(super) fn new(
        server: Arc<Server>,
        conventions: &'static Conventions,
        head: Parts,
        body: Body,
        reads: bool,
    ) -> Call {
        let pending = Arc::new(AtomicBool::new(!body.is_end_stream()));
        let (key, collection, id, held) = (None, None, None, None);
        let may_name = true;
        Call {
            server,
            conventions,
            head,
            body,
            key,
            may_name,
            collection,
            id,
            reads,
            held,
            pending,
        }
    }

    /// The store, if it serves.
    pub(crate) fn store(&self) -> Result<&Arc<Store>> {
        self.server.store()
    }

    /// The collection that the path names, or the default one. Which others there are is said to callers only that
    /// may list them.
    pub(crate) fn served(&self) -> Result<Arc<CollectionService>> {
        let name = self.collection.as_deref();
        self.store()?.collection(name).map_err(|error| match (name, error) {
            (Some(name), StoreError::Engine(error))
                if error.kind() == ErrorKind::NotFound && !self.may_name =>
            {
                let message = format!("there is no collection {:?}", shown(name));
                Error::new(ErrorKind::NotFound, message).into()
            }
            (_, error) => error.into(),
        })
    }

    /// A parameter behind the `?`; the values we know need no decoding.
    pub(crate) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.head.uri.query()?.split('&');
        let mut values = pairs.filter_map(|pair| pair.split_once('='));
        values.find(|(key, _)| *key == name).map(|(_, value)| value)
    }

    /// `?wait=true|false`.
    pub(crate) fn wait(&self) -> Result<Option<bool>> {
        match self.parameter("wait") {
            None => Ok(None),
            Some("true") => Ok(Some(true)),
            Some("false") => Ok(Some(false)),
            Some(other) => Err(ApiError::parameter("wait", "true or false", shown(other))),
        }
    }

    /// Whether a write is answered once it is durable: what path or body (`asked`) say, else `--fsync`.
    pub(crate) fn waits(&self, asked: Option<bool>) -> Result<bool> {
        Ok(self.wait()?.or(asked).unwrap_or(self.store()?.waits_by_default()))
    }

    /// Memory for the answer or for what was read, beside what is held; until the answer is made.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<()> {
        match &mut self.held {
            Some(held) => held.grow_to(held.bytes() + bytes)?,
            None => {
                let (store, key) = (self.store()?, self.key);
                let held = match self.reads {
                    true => store.reserve_for_reading(key, bytes)?,
                    false => store.reserve(key, bytes)?,
                };
                self.held = Some(held);
            }
        }
        Ok(())
    }

    /// Releases the memory reserved so far. The caller sees to it that what was read from the body is counted
    /// elsewhere.
    pub(crate) fn release(&mut self) {
        self.held = None;
    }

    /// The request that the body holds as JSON; an empty body is `{}`.
    ///
    /// # Errors
    /// `unsupported_media_type`, `payload_too_large`, `request_timeout`, `resource_exhausted`; those of `T`.
    pub(crate) async fn request<T: FromJson>(&mut self) -> Result<T> {
        self.request_into(&mut ()).await
    }

    /// As [`Call::request`], for a request whose values share `shared` while they are read.
    ///
    /// # Errors
    /// As [`Call::request`].
    pub(crate) async fn request_into<S, T: FromJson<S>>(&mut self, shared: &mut S) -> Result<T> {
        let body = self.json().await?;
        at_length(body.len(), || {
            let mut reserve = |bytes| self.reserve(bytes);
            Cursor::whole(&body, &mut reserve, |cursor| T::read(cursor, shared))
        })
    }

    /// The whole body, which must be JSON; `{}` if there is none.
    async fn json(&mut self) -> Result<Bytes> {
        self.accept("application/json")?;
        let bytes_max = self.server.config.body_bytes_max;
        let declared = length(&self.head.headers);
        if declared.is_some_and(|declared| declared > bytes_max) {
            return Err(too_large(bytes_max, declared));
        }
        let is_long = declared.is_none_or(|len| len > SHORT_BODY_BYTES as u64);
        if is_long && !self.reads {
            // Before the time of the body begins: the client does not make the server wait.
            wait_for_room(Arc::clone(self.store()?)).await;
        }
        let limit = Duration::from_secs(self.server.config.request_timeout_secs);
        let whole = self.whole(bytes_max);
        tokio::time::timeout(limit, whole).await.unwrap_or_else(|_| Err(too_slow(limit)))
    }

    /// Reserves memory for what has arrived, whatever length was declared.
    async fn whole(&mut self, bytes_max: u64) -> Result<Bytes> {
        let Some(first) = self.piece().await? else { return Ok(Bytes::from_static(b"{}")) };
        if first.len() as u64 > bytes_max {
            return Err(too_large(bytes_max, None));
        }
        self.reserve(first.len() as u64 * JSON_MEMORY_FACTOR)?;
        let Some(second) = self.piece().await? else { return Ok(first) };
        let mut whole = BytesMut::new();
        whole.extend_from_slice(&first);
        let mut next = Some(second);
        while let Some(piece) = next {
            whole.extend_from_slice(&piece);
            if whole.len() as u64 > bytes_max {
                return Err(too_large(bytes_max, None));
            }
            self.reserve(piece.len() as u64 * JSON_MEMORY_FACTOR)?;
            next = self.piece().await?;
        }
        Ok(whole.freeze())
    }

    /// The next piece of the body; `None` at its end.
    ///
    /// # Errors
    /// `request_timeout`; `bad_request` if the connection breaks.
    pub(crate) async fn piece(&mut self) -> Result<Option<Bytes>> {
        loop {
            let frame = tokio::time::timeout(BODY_IDLE, self.body.frame()).await;
            match frame.map_err(|_| too_slow(BODY_IDLE))? {
                None => {
                    self.pending.store(false, Ordering::Relaxed);
                    return Ok(None);
                }
                Some(Ok(frame)) => {
                    if let Ok(piece) = frame.into_data()
                        && !piece.is_empty()
                    {
                        return Ok(Some(piece));
                    }
                }
                Some(Err(error)) => {
                    let message = format!("the body broke off: {error}");
                    let error = ApiError::new(StatusCode::BAD_REQUEST, "bad_request", message);
                    return Err(error.closing());
                }
            }
        }
    }

    /// Refuses a body that says it is something else.
    ///
    /// # Errors
    /// `unsupported_media_type`.
    pub(crate) fn accept(&self, expected: &str) -> Result<()> {
        let Some(found) = self.head.headers.get(CONTENT_TYPE) else { return Ok(()) };
        let found = String::from_utf8_lossy(found.as_bytes()).to_ascii_lowercase();
        let kind = found.split(';').next().unwrap_or_default().trim();
        // The default of clients without a setting.
        let unsaid = kind.is_empty() || kind == "application/x-www-form-urlencoded";
        if kind == expected || unsaid {
            return Ok(());
        }
        let kind = shown(kind);
        let message = format!("content-type: expected {expected}, got {kind:?}");
        let status = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        let error = ApiError::new(status, "unsupported_media_type", message);
        Err(error.with("expected", expected).with("got", kind.as_ref()).closing())
    }
}

/// Does work on `len` bytes that came with a request. Where that takes longer than a millisecond, other requests
/// of this thread are moved to another one first.
pub(crate) fn at_length<T>(len: usize, work: impl FnOnce() -> T) -> T {
    if len <= SHORT_BODY_BYTES { work() } else { tokio::task::block_in_place(work) }
}

/// Waits while memory is tight, for [`ROOM_PATIENCE`] at most, so that a write with a long body is slowed down before
/// it is refused. The write goes on then, and is refused if there is still no room.
async fn wait_for_room(store: Arc<Store>) {
    let (looks, pause) = ROOM_PATIENCE;
    for _ in 0..looks {
        if !store.is_tight() {
            return;
        }
        tokio::time::sleep(pause).await;
    }
}

/// The declared length of a body.
fn length(headers: &HeaderMap) -> Option<u64> {
    headers.get(CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_large(bytes_max: u64, got: Option<u64>) -> ApiError {
    let found = got.map_or_else(|| "more".to_owned(), |got| got.to_string());
    let message = format!("body: expected at most {bytes_max} bytes, got {found}");
    let error = ApiError::new(StatusCode::PAYLOAD_TOO_LARGE, "payload_too_large", message);
    error.with("expected", bytes_max).with("got", got).closing()
}

fn too_slow(limit: Duration) -> ApiError {
    let seconds = limit.as_secs();
    let message = format!("the body did not come within {seconds} s");
    let error = ApiError::new(StatusCode::REQUEST_TIMEOUT, "request_timeout", message);
    error.with("expected", format!("{seconds} s")).closing()
}
