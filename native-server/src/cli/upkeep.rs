//! `snapshot`, `restore`, `compact`: one call of the engine each.

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nearfield_engine::restore;
use nearfield_segment::storage::{Storage, open_directory};

use super::exit::Result;
use super::store;
use crate::host::{self, ProgressLine, Stopwatch};

/// Write a backup below the database's own directory
#[derive(Debug, Args)]
pub struct Snapshot {
    /// Directory of the database
    dir: PathBuf,
}

impl Snapshot {
    /// Links or copies what is there now.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `StorageFull`, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let database = store::open_for_writing(&self.dir, "snapshot", false)?;
        let snapshot = database.snapshot()?;
        let (collections, files) = (snapshot.collections, snapshot.files);
        let place = self.dir.join(&snapshot.dir);
        Ok(writeln!(out, "{collections} collections, {files} files in {}", place.display())?)
    }
}

/// Copy a snapshot to an empty directory, after checking it
#[derive(Debug, Args)]
pub struct Restore {
    /// Directory of the snapshot
    snapshot: PathBuf,
    /// Where to; made if missing, must hold no database
    dir: PathBuf,
}

impl Restore {
    /// Verifies, then copies.
    ///
    /// # Errors
    /// `Conflict` if there is a database already, `Corrupt` naming the first damage, `NotFound`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (source, manifest) = store::existing(&self.snapshot)?;
        let target: Arc<dyn Storage> = Arc::new(open_directory(&self.dir)?);
        restore(&source, &target)?;
        let count = manifest.collections.len();
        Ok(writeln!(out, "{count} collections restored to {}", self.dir.display())?)
    }
}

/// Merge a collection into one segment in its final form
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
        store::warn_of_recovery(&collection);
        let before = collection.view().segments.len();
        {
            let mut line = ProgressLine::new("indexing");
            collection.compact(&host::pool(self.threads), &mut |progress| {
                line.show(progress.done, progress.total);
                ControlFlow::Continue(())
            })?;
        }
        let (view, seconds) = (collection.view(), clock.seconds());
        let (after, rows) = (view.segments.len(), view.len());
        Ok(writeln!(out, "{rows} rows, {before} segments into {after}, {seconds:.2} s")?)
    }
}
