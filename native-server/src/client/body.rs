//! `Outgoing`: the body of a request: nothing, a text, or pieces that come through a channel while it is
//! sent. Made and sent by `Client`.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::sync::mpsc;

/// Pieces that wait to be sent.
const PIECES_WAITING_MAX: usize = 2;

/// The body of a request.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// What is left of a body whose length is known.
    Whole(Option<Bytes>),
    /// Pieces to come, of unknown number.
    Fed(mpsc::Receiver<io::Result<Bytes>>),
}

impl Outgoing {
    pub(super) fn nothing() -> Outgoing {
        Outgoing::Whole(None)
    }

    pub(super) fn whole(text: String) -> Outgoing {
        Outgoing::Whole(Some(text.into()))
    }

    /// A body and its other end. An error put in there cuts the connection; dropping it ends the body.
    pub(super) fn fed() -> (mpsc::Sender<io::Result<Bytes>>, Outgoing) {
        let (sender, receiver) = mpsc::channel(PIECES_WAITING_MAX);
        (sender, Outgoing::Fed(receiver))
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        match self.get_mut() {
            Outgoing::Whole(bytes) => Poll::Ready(bytes.take().map(|bytes| Ok(Frame::data(bytes)))),
            Outgoing::Fed(pieces) => {
                pieces.poll_recv(context).map(|piece| piece.map(|piece| piece.map(Frame::data)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        matches!(self, Outgoing::Whole(None))
    }

    fn size_hint(&self) -> SizeHint {
        match self {
            Outgoing::Whole(bytes) => {
                SizeHint::with_exact(bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
            }
            Outgoing::Fed(_) => SizeHint::default(),
        }
    }
}
