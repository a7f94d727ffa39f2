//! `Reader`: what the writer publishes, the newest view and the statistics for metrics (`CollectionStats`,
//! `LogStats`). Written by `Writer::publish`, read by `Collection`.
//!
//! Both are replaced whole, after the state they describe is durable. Reading them takes no lock that is held during
//! IO, so neither a search nor a scrape of metrics ever waits for an fsync.

use std::sync::{Arc, RwLock};

use nearfield_segment::Lsn;

use crate::read::view::View;
use crate::write::keys::KeyCounts;

/// A reader's handle of a collection: taking the newest view clones one pointer.
#[derive(Debug, Clone)]
pub struct Reader {
    published: Arc<RwLock<Published>>,
}

#[derive(Debug)]
struct Published {
    view: Arc<View>,
    stats: CollectionStats,
}

/// Statistics of a writer, as of its newest view. Zeros for a reader.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct CollectionStats {
    /// The log.
    pub log: LogStats,
    /// Bytes of rows that are in memory and log only.
    pub memory_bytes: u64,
    /// Bytes of memory that a checkpoint takes to write them to a file, beside `memory_bytes`; an estimate. While one
    /// is under way: of it or of the next one, whichever is larger.
    pub checkpoint_bytes: u64,
    /// Idempotency keys.
    pub keys: KeyCounts,
}

/// What there is to watch about a log. It is truncated by each checkpoint: what lies behind the checkpoint LSN is no
/// longer replayed, and whole files of it are archived.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct LogStats {
    /// Bytes of the live files, those of the newest file behind the checkpoint LSN included.
    pub bytes: u64,
    /// Bytes written since the last truncation; after opening, also those that were replayed.
    pub bytes_since_truncation: u64,
    /// When it was last truncated, milliseconds since 1970; before the first time of this opening, when the
    /// newest manifest was written. `None` if there was no checkpoint yet.
    pub truncated_ms: Option<u64>,
    /// The newest batch.
    pub last: Lsn,
    /// The newest durable batch.
    pub durable: Lsn,
    /// Every batch up to this one is in files.
    pub cut: Lsn,
    /// Syncs since the collection was opened; only grows until it is opened or recovered again.
    pub syncs: u64,
}

/// A moment in the life of a log: its last truncation, or its opening.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct LogMark {
    pub(crate) time_ms: Option<u64>,
    /// What the log had written by then.
    pub(crate) written_bytes: u64,
    /// Bytes that were in the log behind the checkpoint LSN already.
    pub(crate) bytes_before: u64,
}

impl Reader {
    pub(crate) fn new(view: View) -> Reader {
        let stats = CollectionStats::default();
        Reader { published: Arc::new(RwLock::new(Published { view: Arc::new(view), stats })) }
    }

    /// The newest view. Holding it keeps its rows readable, whatever happens meanwhile.
    pub fn view(&self) -> Arc<View> {
        Arc::clone(&self.published.read().expect("publishing does not panic").view)
    }

    /// Numbers as of the newest view.
    pub fn stats(&self) -> CollectionStats {
        self.published.read().expect("publishing does not panic").stats
    }

    pub(crate) fn publish(&self, view: View, stats: CollectionStats) {
        let published = Published { view: Arc::new(view), stats };
        *self.published.write().expect("publishing does not panic") = published;
    }
}
