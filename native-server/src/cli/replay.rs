//! `nearfield replay-to-lsn`: a collection as it was at an earlier LSN, in place or as a database of its own,
//! by `Database::replay_to` and `replay_into`. Entry: `ReplayToLsn::run`, called by `cli::run`.

use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;

use clap::Args;
use nearfield_engine::Replayed;
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{Lsn, Pool};
use serde_json::json;

use super::exit::Result;
use super::store;
use crate::host;
use crate::workers::warn_of_recovery;

#[derive(Debug, Args)]
pub struct ReplayToLsn {
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Collection
    #[arg(long, value_name = "NAME")]
    collection: String,
    /// The last LSN that shall count
    #[arg(long, value_name = "LSN")]
    target_lsn: u64,
    /// Write a new database there instead, and leave this one as it is
    #[arg(long, value_name = "DIR")]
    into: Option<PathBuf>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl ReplayToLsn {
    /// Builds the earlier state, checks that it opens, then puts it in place.
    ///
    /// # Errors
    /// `InvalidInput` naming the LSNs that can be reached, `NotFound`, `Locked`, `Corrupt`, `StorageFull`,
    /// `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (target, pool) = (Lsn(self.target_lsn), host::pool(None));
        let replayed = match &self.into {
            None => self.in_place(target, &pool)?,
            Some(into) => {
                let database = store::open_for_reading(&self.data_dir)?;
                let into: Arc<dyn Storage> = Arc::new(open_directory(into)?);
                database.replay_into(&self.collection, target, &into, &pool)?
            }
        };
        let backup = replayed.backup.map(|dir| self.data_dir.join(dir).display().to_string());
        let (lsn, points) = (replayed.lsn, replayed.points);
        let dir = self.into.as_ref().unwrap_or(&self.data_dir).display().to_string();
        if self.json {
            let report = json!({
                "collection": self.collection, "lsn": lsn, "points": points, "data_dir": dir,
                "backup_dir": backup,
            });
            return Ok(writeln!(out, "{report}")?);
        }
        writeln!(out, "{} in {dir} is what it was at LSN {lsn}: {points} points", self.collection)?;
        store::say_backup(out, backup.as_deref())
    }

    fn in_place(&self, target: Lsn, pool: &Pool) -> nearfield_engine::Result<Replayed> {
        let database = store::open_for_writing(&self.data_dir, "replay-to-lsn", false)?;
        warn_of_recovery(&*database.collection(&self.collection)?);
        database.replay_to(&self.collection, target, pool)
    }
}
