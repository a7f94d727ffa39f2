//! `Paced`: a socket that disconnects clients that read their answers too slowly. Used by `Listener` for each
//! connection; `Pulse` tells `ConnectionSlots` whether bytes are unsent. A client has a fixed time for an
//! answer, and time in proportion to its length.
//!
//! A client that requests much and reads little loses the connection, and the memory of the answer is freed. The time
//! left while a write waits is the *patience*; bytes that are taken add to it, up to its initial value, so that a
//! client cannot read fast to read slowly later. The next answer of a kept connection begins with all of it, once
//! everything before was taken: answers that pile up unread share one. Reading passes through.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Instant, Sleep};

/// What a connection and its socket tell each other.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    answer_begins: AtomicBool,
    unsent: AtomicBool,
}

impl Pulse {
    /// Called before the first byte of each answer.
    pub(super) fn answer_begins(&self) {
        self.answer_begins.store(true, Ordering::Relaxed);
    }

    /// Whether something was written that the system has not taken yet.
    pub(super) fn has_unsent(&self) -> bool {
        self.unsent.load(Ordering::Relaxed)
    }

    pub(super) fn set_unsent(&self, unsent: bool) {
        self.unsent.store(unsent, Ordering::Relaxed);
    }
}

/// A stream that fails with `TimedOut` once what is written to it is read too slowly.
#[derive(Debug)]
pub(super) struct Paced<S> {
    stream: S,
    patience_max: Duration,
    bytes_per_second: u32,
    patience: Duration,
    waiting: Option<Waiting>,
    pulse: Arc<Pulse>,
    /// Nothing was written since the last flush, by which all that was written before is taken.
    flushed: bool,
}

/// A write that waits.
#[derive(Debug)]
struct Waiting {
    since: Instant,
    /// Ends with the patience.
    end: Pin<Box<Sleep>>,
}

impl<S> Paced<S> {
    /// Waits `patience_max` in all, and a second more for each `bytes_per_second` that are read.
    /// The pulse says when an answer begins, and is set while some of it is not taken.
    pub(super) fn new(
        stream: S,
        patience_max: Duration,
        bytes_per_second: u32,
        pulse: Arc<Pulse>,
    ) -> Paced<S> {
        let (patience, bytes_per_second) = (patience_max, bytes_per_second.max(1));
        let (waiting, flushed) = (None, true);
        Paced { stream, patience_max, bytes_per_second, patience, waiting, pulse, flushed }
    }

    /// Before each write: a new answer has all the patience, unless part of an older one is still to be taken.
    fn begin(&mut self) {
        if mem::take(&mut self.flushed) {
            self.pulse.set_unsent(true);
            if self.pulse.answer_begins.swap(false, Ordering::Relaxed) {
                self.patience = self.patience_max;
            }
        }
    }

    /// What a write came to, or an error if that took too long.
    fn judge(
        &mut self,
        context: &mut Context<'_>,
        written: Poll<io::Result<usize>>,
    ) -> Poll<io::Result<usize>> {
        if let Poll::Ready(done) = &written {
            let waited = self.waiting.take().map_or(Duration::ZERO, |write| write.since.elapsed());
            let bytes = done.as_ref().map_or(0, |bytes| *bytes);
            let earned = Duration::from_secs_f64(bytes as f64 / f64::from(self.bytes_per_second));
            self.patience = (self.patience.saturating_sub(waited) + earned).min(self.patience_max);
            return written;
        }
        let patience = self.patience;
        let waiting = self.waiting.get_or_insert_with(|| {
            let since = Instant::now();
            Waiting { since, end: Box::pin(tokio::time::sleep_until(since + patience)) }
        });
        let too_slow = || io::Error::new(io::ErrorKind::TimedOut, "the answer is read too slowly");
        waiting.end.as_mut().poll(context).map(|()| Err(too_slow()))
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Paced<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(context, into)
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Paced<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        self.judge(context, written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let written = Pin::new(&mut self.stream).poll_write_vectored(context, slices);
        self.judge(context, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(context);
        if matches!(flushed, Poll::Ready(Ok(()))) {
            self.flushed = true;
            self.pulse.set_unsent(false);
        }
        flushed
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);
    const SECOND: Duration = Duration::from_secs(1);
    /// Bytes of an answer that the system buffers for the reader.
    const KEPT_BYTES: usize = 1_000;

    /// A stream worth 1,000 bytes a second, and what says that an answer begins.
    fn paced(ours: DuplexStream) -> (Paced<DuplexStream>, Arc<Pulse>) {
        let begins = Arc::new(Pulse::default());
        (Paced::new(ours, PATIENCE, 1_000, Arc::clone(&begins)), begins)
    }

    /// Writes `len` bytes for a reader that takes `piece` of them after each `pause`. The clock is tokio's; it
    /// advances only when all tasks wait for it.
    async fn write(len: usize, piece: usize, pause: Duration) -> io::Result<()> {
        let (ours, theirs) = duplex(KEPT_BYTES);
        let reads = tokio::spawn(read(theirs, piece, pause));
        let mut paced = paced(ours).0;
        let written = paced.write_all(&vec![7; len]).await;
        reads.abort();
        written
    }

    async fn read(mut theirs: DuplexStream, piece: usize, pause: Duration) {
        let mut taken = vec![0; piece];
        loop {
            tokio::time::sleep(pause).await;
            let _ended = theirs.read(&mut taken).await;
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_byte_now_and_then_is_not_reading() {
        let begun = Instant::now();
        let ended = write(100_000, 1, 29 * SECOND).await;
        assert_eq!(ended.expect_err("too slow").kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= PATIENCE + SECOND, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn who_keeps_the_pace_reads_as_long_as_it_takes() {
        write(1_000_000, 1_000, SECOND).await.expect("a thousand seconds of reading");
    }

    #[tokio::test(start_paused = true)]
    async fn patience_is_not_saved_up() {
        let (ours, mut theirs) = duplex(KEPT_BYTES);
        let fast = tokio::spawn(async move {
            let mut taken = vec![0; 1_000_000];
            theirs.read_exact(&mut taken).await.map(|_| theirs)
        });
        let mut paced = paced(ours).0;
        paced.write_all(&vec![7; 1_000_000]).await.expect("at once");
        let _theirs = fast.await.expect("no panic").expect("all of it");
        let begun = Instant::now();
        let ended = paced.write_all(&[7; 2 * KEPT_BYTES]).await;
        assert_eq!(ended.expect_err("no reader").kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= PATIENCE + SECOND, "{:?}", begun.elapsed());
    }

    #[tokio::test(start_paused = true)]
    async fn each_answer_has_its_own_patience() {
        let (ours, theirs) = duplex(KEPT_BYTES);
        let reads = tokio::spawn(read(theirs, 900, SECOND));
        let (mut paced, begins) = paced(ours);
        for answer in 0..5 {
            begins.answer_begins();
            let written = paced.write_all(&[7; 200_000]).await;
            written.unwrap_or_else(|error| panic!("answer {answer}: {error}"));
            paced.flush().await.expect("nothing left");
        }
        reads.abort();
    }

    #[tokio::test(start_paused = true)]
    async fn answers_that_pile_up_unread_share_one_patience() {
        let (ours, theirs) = duplex(KEPT_BYTES);
        let reads = tokio::spawn(read(theirs, 1, 10 * SECOND));
        let (mut paced, begins) = paced(ours);
        let begun = Instant::now();
        let ended = tokio::select! {
            ended = paced.write_all(&[7; 2 * KEPT_BYTES]) => ended,
            () = async {
                for _ in 0..100 {
                    tokio::time::sleep(SECOND).await;
                    begins.answer_begins();
                }
            } => Ok(()),
        };
        reads.abort();
        assert_eq!(ended.expect_err("next to nothing is read").kind(), io::ErrorKind::TimedOut);
        assert!(begun.elapsed() <= PATIENCE + SECOND, "{:?}", begun.elapsed());
    }
}
