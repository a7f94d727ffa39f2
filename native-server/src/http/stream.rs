//! `streamed`: a streamed answer. Runs a function on a thread that may wait for the client, and sends the
//! bytes while they are made. Called by the exports of `api::v2` (`arrow`, `near`).

use std::io::{BufWriter, Write};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use hyper::body::Frame;
use nearfield_engine::{Error, ErrorKind};
use nearfield_segment::cancel::GoOn;
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::answer;
use super::error::Result;
use super::exports::ExportSlot;

/// Bytes of an export sent at once, and pieces made ahead of a slow reader.
const PIECE_BYTES: usize = 256 << 10;
const PIECES_AHEAD: usize = 4;
/// Most time a reader of an export may take for one piece.
const PIECE_TIME: Duration = Duration::from_secs(60);

/// An answer whose body `fill` writes, on a thread of its own, which holds `slot` until it ends. The check given to
/// `fill` returns false once the client has disconnected.
///
/// # Errors
/// What `fill` returns before it has written anything.
pub(crate) async fn streamed(
    slot: ExportSlot,
    content_type: &'static str,
    fill: impl FnOnce(&mut dyn Write, GoOn<'_>) -> nearfield_engine::Result<()> + Send + 'static,
) -> Result<Response<Body>> {
    let (sender, mut pieces) = mpsc::channel(PIECES_AHEAD);
    let out = Pieces { sender, handle: Handle::current() };
    tokio::task::spawn_blocking(move || {
        write(fill, out);
        drop(slot);
    });
    let first = pieces.recv().await.ok_or_else(broke_off)??;
    let body = Body::new(Stream { first: Some(first), pieces });
    Ok(answer::typed(StatusCode::OK, content_type, body))
}

/// The error of an export whose thread ended without an end mark: it failed while nothing more could be sent, or it
/// panicked.
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
        sent.map_err(|_| {
            std::io::Error::new(std::io::ErrorKind::BrokenPipe, "the client does not read")
        })?;
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
