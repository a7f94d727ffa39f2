//! `nearfield migrate`: writes every segment file of an older format anew, in a directory that no process has open.
//! Entry: `Migrate::run`, called by `cli::run`.
//!
//! Each file is an ordinary merge of its own: what was done when the command ends early stays done, and the next
//! call goes on. The log, snapshots and exports stay as they are.

use std::io::Write;
use std::num::NonZeroUsize;
use std::ops::ControlFlow;
use std::path::PathBuf;

use clap::Args;
use nearfield_engine::View;
use nearfield_engine::task::{MergeScope, Task};
use nearfield_segment::segment::Segment;

use super::exit::Result;
use super::store;
use crate::host::{self, Stopwatch};
use crate::workers::warn_of_recovery;

#[derive(Debug, Args)]
pub struct Migrate {
    /// Directory of the database
    dir: PathBuf,
    /// Say what would be written, and change nothing
    #[arg(long)]
    dry_run: bool,
    /// Threads to use [default: all processors]
    #[arg(long)]
    threads: Option<NonZeroUsize>,
}

impl Migrate {
    /// Goes through all collections, and prints a line for each file and one for all.
    ///
    /// # Errors
    /// `NotFound`, `Locked`, `Corrupt`, `StorageFull`, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let clock = Stopwatch::start();
        if self.dry_run {
            let database = store::open_for_reading(&self.dir)?;
            let mut total = Total::default();
            for name in database.names() {
                for old in outdated(&database.collection(&name)?.view()) {
                    writeln!(out, "{name}: {}", words(old))?;
                    total.add(old, None);
                }
            }
            let Total { files, rows, bytes_before, .. } = total;
            return Ok(writeln!(
                out,
                "{files} segments to write: {rows} rows, {bytes_before} bytes"
            )?);
        }
        let database = store::open_for_writing(&self.dir, "migrate", false)?;
        let (pool, mut total) = (host::pool(self.threads), Total::default());
        for name in database.names() {
            let collection = database.collection(&name)?;
            warn_of_recovery(&collection);
            let mut carry = |task: Task| task.run(&pool, &mut |_| ControlFlow::Continue(()));
            loop {
                let before = collection.view();
                if !collection.merge_by(MergeScope::Outdated, &mut carry)? {
                    break;
                }
                let after = collection.view();
                // That call only tidied: it removed files and merged none.
                let Some(old) = missing(&before, &after) else { continue };
                let new = missing(&after, &before);
                let became = new.map_or("no live rows".to_owned(), words);
                writeln!(out, "{name}: {} -> {became}", words(old))?;
                total.add(old, new);
            }
        }
        let Total { files, rows, bytes_before, bytes_after } = total;
        let seconds = clock.seconds();
        Ok(writeln!(
            out,
            "{files} segments: {rows} rows, {bytes_before} bytes became {bytes_after}, {seconds:.2} s"
        )?)
    }
}

/// Sums over the files.
#[derive(Default)]
struct Total {
    files: usize,
    rows: u64,
    bytes_before: u64,
    bytes_after: u64,
}

impl Total {
    fn add(&mut self, old: &Segment, new: Option<&Segment>) {
        self.files += 1;
        self.rows += u64::from(old.rows());
        self.bytes_before += old.front().file_len;
        self.bytes_after += new.map_or(0, |new| new.front().file_len);
    }
}

/// The files of older formats.
fn outdated(view: &View) -> impl Iterator<Item = &Segment> {
    files(view).filter(|segment| segment.front().is_outdated())
}

fn files(view: &View) -> impl Iterator<Item = &Segment> {
    view.segments.iter().filter(|live| live.file.is_some()).map(|live| &*live.segment)
}

/// The file that another view does not have.
fn missing<'a>(view: &'a View, other: &View) -> Option<&'a Segment> {
    files(view).find(|segment| files(other).all(|there| there.id() != segment.id()))
}

fn words(segment: &Segment) -> String {
    let (name, front) = (segment.name(), segment.front());
    format!("{name} (format {}, {} rows, {} bytes)", front.version, front.rows, front.file_len)
}
