//! Limits how fast background work writes or reads files: a token bucket. [`Pacer`] is the limit, shared by
//! all background threads (`upkeep`, `scrub`); [`PacedStorage`] is the storage of the database, made by
//! `opening`, and applies the limit to segment files.
//!
//! A segment file is written in pieces, each synced before the next is written, so that neither the write nor its sync
//! crowds out the log. Everything else (log, manifests, delete lists: small, and callers wait for them) is not
//! limited. The limit is lifted while memory is tight and during shutdown.

use std::sync::{Arc, Condvar, Mutex};
use std::time::Duration;

use nearfield_engine::{Error, ErrorKind, Result};
use nearfield_segment::storage::{Appender, Blob, Fill, Lock, LockMode, Storage};

use crate::host::{Stopwatch, lock};

/// Bytes written between two waits. 4 MiB are some ten syncs a second at the usual limit, and
/// what a write of the log has to wait behind at most.
const PIECE_BYTES: usize = 4 << 20;

/// Tokens are bytes. May go into debt by one piece, so that pieces larger than the bucket pass too.
#[derive(Debug)]
struct Bucket {
    bytes_per_second: u64,
    tokens: f64,
    filled_at: Duration,
}

impl Bucket {
    /// Takes `bytes` at `now`; returns how long to wait.
    fn take(&mut self, bytes: u64, now: Duration) -> Duration {
        let rate = self.bytes_per_second as f64;
        let earned = rate * now.saturating_sub(self.filled_at).as_secs_f64();
        self.filled_at = self.filled_at.max(now);
        self.tokens = (self.tokens + earned).min(PIECE_BYTES as f64) - bytes as f64;
        Duration::from_secs_f64((-self.tokens).max(0.0) / rate)
    }
}

/// The limit, shared by all threads it applies to.
#[derive(Debug)]
pub struct Pacer {
    state: Mutex<State>,
    lifted: Condvar,
    time: Stopwatch,
}

#[derive(Debug)]
struct State {
    /// None: no limit.
    bucket: Option<Bucket>,
    lifted: bool,
}

impl Pacer {
    /// A limit in bytes a second; 0 for none.
    pub fn new(bytes_per_second: u64) -> Pacer {
        let full = |bytes_per_second| {
            let tokens = PIECE_BYTES as f64;
            Bucket { bytes_per_second, tokens, filled_at: Duration::ZERO }
        };
        let bucket = (bytes_per_second > 0).then(|| full(bytes_per_second));
        let state = Mutex::new(State { bucket, lifted: false });
        Pacer { state, lifted: Condvar::new(), time: Stopwatch::start() }
    }

    /// Lifts the limit or puts it back; when it is lifted, waiting threads go on at once.
    pub fn lift(&self, lifted: bool) {
        lock(&self.state).lifted = lifted;
        self.lifted.notify_all();
    }

    /// Waits until `bytes` may be written or read. False if there is no limit.
    pub(crate) fn wait_for(&self, bytes: u64) -> bool {
        let mut state = lock(&self.state);
        if state.lifted {
            return false;
        }
        let Some(bucket) = &mut state.bucket else { return false };
        let wait = bucket.take(bytes, self.time.elapsed());
        let _woken = self.lifted.wait_timeout_while(state, wait, |state| !state.lifted);
        true
    }
}

/// A storage whose segment files are written at the pace of a [`Pacer`].
#[derive(Debug)]
pub struct PacedStorage {
    inner: Arc<dyn Storage>,
    pacer: Arc<Pacer>,
}

impl PacedStorage {
    /// Puts the limit before `inner`.
    pub fn new(inner: Arc<dyn Storage>, pacer: Arc<Pacer>) -> PacedStorage {
        PacedStorage { inner, pacer }
    }

    /// A segment's name is drawn at random by the one writer of the store, so looking before writing is as
    /// good as a name that is taken and checked in one step.
    fn put_slowly(&self, name: &str, bytes: &[u8]) -> Result<()> {
        match self.inner.open(name) {
            Ok(_) => return Err(Error::new(ErrorKind::Conflict, format!("create {name}: exists"))),
            Err(error) if error.kind() == ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
        self.inner.put(name, &mut |out| {
            for piece in bytes.chunks(PIECE_BYTES) {
                let paced = self.pacer.wait_for(piece.len() as u64);
                let written = out.write_all(piece);
                let written = if paced { written.and_then(|()| out.flush()) } else { written };
                written.map_err(|error| Error::io("write", name, error))?;
            }
            Ok(())
        })
    }
}

/// Methods that the storage behind the limit answers.
macro_rules! passed_on {
    ($($name:ident($($argument:ident: $kind:ty),*) -> $answer:ty;)*) => {$(
        fn $name(&self, $($argument: $kind),*) -> $answer {
            self.inner.$name($($argument),*)
        }
    )*};
}

impl Storage for PacedStorage {
    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        if name.ends_with(".seg") {
            return self.put_slowly(name, bytes);
        }
        self.inner.put_new(name, bytes)
    }

    passed_on! {
        open(name: &str) -> Result<Arc<dyn Blob>>;
        put(name: &str, fill: Fill<'_>) -> Result<()>;
        append_new(name: &str) -> Result<Box<dyn Appender>>;
        list(dir: &str) -> Result<Vec<String>>;
        directories(dir: &str) -> Result<Vec<String>>;
        names(dir: &str) -> Result<Vec<String>>;
        rename(from: &str, to: &str) -> Result<()>;
        link(from: &str, to: &str) -> Result<()>;
        remove(name: &str) -> Result<()>;
        remove_durably(dir: &str, names: &[String]) -> Result<()>;
        remove_directory(dir: &str) -> Result<bool>;
        free_bytes() -> Result<Option<u64>>;
        warnings() -> Vec<String>;
        lock(name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>>;
        settle(dir: &str) -> Result<usize>;
        settle_names(dir: &str) -> Result<usize>;
    }
}

#[cfg(test)]
mod tests {
    use nearfield_segment::storage::{MemoryStorage, conformance};

    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn whoever_writes_more_than_was_earned_waits_for_the_rest() {
        let mut bucket = Bucket { bytes_per_second: MIB, tokens: 0.0, filled_at: Duration::ZERO };
        let at = Duration::from_secs;
        assert_eq!(bucket.take(2 * MIB, at(0)), at(2));
        assert_eq!(bucket.take(MIB, at(2)), at(1), "the debt is paid, nothing is left");
        assert_eq!(bucket.take(MIB, at(1)), at(2), "a clock that stands still earns nothing");
        assert_eq!(bucket.take(MIB, at(1000)), at(0));
        assert_eq!(bucket.take(4 * MIB, at(1000)), at(1), "no more is saved up than one piece");
    }

    #[test]
    fn without_a_limit_or_with_a_lifted_one_nobody_waits() {
        assert!(!Pacer::new(0).wait_for(u64::MAX));
        let pacer = Pacer::new(1);
        pacer.lift(true);
        assert!(!pacer.wait_for(u64::MAX));
    }

    #[test]
    fn lifting_the_limit_wakes_who_waits() {
        let pacer = Pacer::new(1);
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| pacer.wait_for(1 << 40));
            while lock(&pacer.state).bucket.as_ref().is_some_and(|bucket| bucket.tokens > 0.0) {
                std::thread::yield_now();
            }
            pacer.lift(true);
            assert!(waits.join().expect("no panic"));
        });
    }

    #[test]
    fn a_paced_storage_is_a_storage() {
        let make = || -> Arc<dyn Storage> {
            let inner: Arc<dyn Storage> = Arc::new(MemoryStorage::default());
            Arc::new(PacedStorage::new(inner, Arc::new(Pacer::new(MIB << 10))))
        };
        conformance::battery(&make);
    }

    #[test]
    fn a_segment_comes_out_as_it_went_in_and_is_never_replaced() {
        let pacer = Arc::new(Pacer::new(MIB << 20));
        let storage = PacedStorage::new(Arc::new(MemoryStorage::default()), pacer);
        let bytes: Vec<u8> = (0..PIECE_BYTES + 7).map(|i| (i % 251) as u8).collect();
        storage.put_new("a/b.seg", &bytes).expect("writes");
        let blob = storage.open("a/b.seg").expect("there");
        assert_eq!(&blob.read(0..blob.len()).expect("reads")[..], &bytes[..]);
        let error = storage.put_new("a/b.seg", &[1]).expect_err("taken");
        assert_eq!(error.kind(), ErrorKind::Conflict);
    }
}
