//! `export`: collections in one `.near` file.

use std::io::Write;
use std::path::PathBuf;

use clap::Args;
use nearfield_engine::write_export;
use nearfield_segment::storage::open_directory;

use super::exit::Result;
use super::store::{self, Readable};

/// Write collections to one .near file that opens anywhere
#[derive(Debug, Args)]
pub struct Export {
    /// Directory of the database
    dir: PathBuf,
    /// File to write
    file: PathBuf,
    /// Collections [default: all]
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
}

impl Export {
    /// Writes the file whole or not at all.
    ///
    /// # Errors
    /// `NotFound`, `StorageFull`, `Io`, `Corrupt` if what is to be copied is damaged.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let source = Readable::open(&self.dir)?;
        let names = if self.collections.is_empty() { source.names() } else { self.collections };
        let mut views = Vec::with_capacity(names.len());
        for name in names {
            let view = source.view(&name)?;
            views.push((name, view));
        }
        let (directory, name) = store::place(&self.file)?;
        let report = write_export(&open_directory(&directory)?, &name, &views)?;
        let (points, bytes, file) = (report.points, report.bytes, self.file.display());
        Ok(writeln!(out, "{points} points, {bytes} bytes in {file}")?)
    }
}
