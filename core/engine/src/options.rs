//! `Options`: the settings of an engine, with units in the names. Given to `Database::open`; read by
//! `Writer`, `plan`, recovery and history.

use nearfield_segment::Kernel;
use nearfield_segment::segment::SegmentOptions;
use nearfield_segment::vector::graph::GraphParams;

/// When work is done and how; the defaults suit a laptop and a small server.
#[derive(Debug, Clone)]
pub struct Options {
    /// Bytes of rows in memory from which a checkpoint is due.
    pub memtable_bytes_max: u64,
    /// Bytes of rows in memory from which writes wait for a checkpoint.
    pub memtable_bytes_hard: u64,
    /// Rows in level-0 files from which they are linked into a graph: until then they are scanned. Also the
    /// most rows of the file that a checkpoint writes, unless more are in memory.
    pub level0_rows_max: u64,
    /// Memory that running merges of a collection may hold together, in bytes. A merge that needs more runs alone, beside
    /// merges that need less than a sixteenth of it.
    pub merge_bytes_max: u64,
    /// Memory that one merge may hold, in bytes; no merge of files is planned that needs more. Files with graphs that
    /// take more than half of it are no longer merged with others, and a file that takes more than all of it is not
    /// merged at all. `u64::MAX`: no bound.
    pub one_merge_bytes_max: u64,
    /// Share of dead rows from which a segment is rewritten.
    pub dead_share_max: f32,
    /// Bytes of a log file from which the next one is begun.
    pub log_file_bytes_max: u64,
    /// Log files of a database that stay open for the next write; each takes a file handle.
    pub open_logs_max: usize,
    /// How far back every moment stays reachable by replay, in milliseconds; 0 keeps the present only. `None`: the
    /// setting of the collection's last writer, if it had one; else the present only.
    pub history_ms: Option<u64>,
    /// Bytes that files kept for the history alone may have; above, the oldest history is removed first. 0: no
    /// bound, the whole of `history_ms` is kept.
    pub history_bytes_max: u64,
    /// How long a file that no manifest names stays in quarantine, in milliseconds.
    pub quarantine_ms: u64,
    /// Files in the quarantine of a collection.
    pub quarantine_files_max: u64,
    /// Bytes in the quarantine of a collection.
    pub quarantine_bytes_max: u64,
    /// Idempotency keys that are remembered: the newest so many of batches, and of rows. Each takes about
    /// 100 bytes of memory and its own length; with 0, batches with keys are refused.
    pub idempotency_keys_max: usize,
    /// How segments are built.
    pub segment: SegmentOptions,
}

impl Default for Options {
    fn default() -> Self {
        let graph = GraphParams::default();
        Options {
            memtable_bytes_max: 32 << 20,
            memtable_bytes_hard: 1 << 30,
            level0_rows_max: 16_384,
            merge_bytes_max: 2 << 30,
            one_merge_bytes_max: u64::MAX,
            dead_share_max: 0.2,
            log_file_bytes_max: 64 << 20,
            open_logs_max: 128,
            history_ms: None,
            history_bytes_max: 0,
            quarantine_ms: 168 * 3_600_000,
            quarantine_files_max: 50,
            quarantine_bytes_max: 5 << 30,
            idempotency_keys_max: 100_000,
            segment: SegmentOptions { kernel: Kernel::detect(), graph_rows_min: 4_096, graph },
        }
    }
}
