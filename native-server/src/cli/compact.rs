//! `nearfield compact` and `nearfield vacuum`: upkeep that a running server does by itself, on a directory
//! that none has open. Entry: `Compact::run`, called by `cli::run`.

use std::io::Write;
use std::num::NonZeroUsize;
use std::path::PathBuf;

use clap::Args;
use serde_json::json;

use super::exit::Result;
use super::store;
use crate::host::{self, Stopwatch};
use crate::workers::warn_of_recovery;

#[derive(Debug, Args)]
pub struct Compact {
    /// Directory of the database
    dir: PathBuf,
    /// Collection
    name: String,
    /// Threads to use [default: all processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

impl Compact {
    /// Rebuilds all indexes and drops dead rows.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `Corrupt`, `StorageFull`, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let clock = Stopwatch::start();
        let database = store::open_for_writing(&self.dir, "compact", false)?;
        let collection = database.collection(&self.name)?;
        warn_of_recovery(&collection);
        let before = collection.view().segments.len();
        store::compact(&collection, &host::pool(self.threads), "indexing")?;
        let (view, seconds) = (collection.view(), clock.seconds());
        let (after, rows) = (view.segments.len(), view.len());
        Ok(writeln!(out, "{rows} rows, {before} segments into {after}, {seconds:.2} s")?)
    }
}

#[derive(Debug, Args)]
pub struct Vacuum {
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Hours of the past that stay within reach of replay-to-lsn
    #[arg(long, value_name = "HOURS", default_value_t = store::HISTORY_HOURS)]
    history_hours: u64,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl Vacuum {
    /// Goes through all collections.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `Corrupt` if a collection does not open, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let history_ms = Some(self.history_hours.saturating_mul(store::HOUR_MS));
        let options = nearfield_engine::Options { history_ms, ..store::options()? };
        let database = store::open_with_options(&self.data_dir, options, "vacuum")?;
        let (mut removed, mut evicted) = (0, 0);
        for name in database.names() {
            let collection = database.collection(&name)?;
            warn_of_recovery(&collection);
            let vacuumed = collection.vacuum()?;
            removed += vacuumed.removed;
            evicted += vacuumed.evicted;
        }
        if self.json {
            return Ok(writeln!(out, "{}", json!({ "removed": removed, "evicted": evicted }))?);
        }
        Ok(writeln!(out, "{removed} files removed, {evicted} of them from quarantine")?)
    }
}
