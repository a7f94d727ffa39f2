//! `nearfield snapshot-create` and `snapshot-restore`: make a snapshot below the database's own directory, or
//! through a running server, and restore one. Entry: `SnapshotCreate::run`, called by `cli::run`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::Args;
use nearfield_engine::{Error, ErrorKind, Fault, Restored, restore};
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{Storage, open_directory};
use serde_json::{Value, json};
use tracing::warn;

use super::exit::Result;
use super::store;
use crate::client::Client;

#[derive(Debug, Args)]
pub struct SnapshotCreate {
    /// Directory of the database
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Collections [default: all]
    #[arg(long = "collection", value_name = "NAME")]
    collections: Vec<String>,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl SnapshotCreate {
    /// Links or copies what is there now. A server that holds the directory does it on request.
    ///
    /// # Errors
    /// `NotFound`, `Locked` by another process than a server, `StorageFull`, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let made = match store::open_for_writing(&self.data_dir, "snapshot-create", false) {
            Ok(database) => {
                let made = database.snapshot(&self.collections, &|| true)?;
                json!({
                    "snapshot_id": made.id, "snapshot_dir": made.dir,
                    "collections": made.collections, "segments": made.segments, "files": made.files,
                })
            }
            Err(error) if error.kind() == ErrorKind::Locked => self.ask_the_server(error)?,
            Err(error) => return Err(error.into()),
        };
        self.report(&made, out)
    }

    /// The snapshot that the server of the directory made; `locked` if no server answers on its socket.
    fn ask_the_server(&self, locked: Error) -> nearfield_engine::Result<Value> {
        let Ok(client) = Client::beside(&self.data_dir) else { return Err(locked) };
        let collection = match self.collections.as_slice() {
            [] => Value::Null,
            [name] => name.as_str().into(),
            [_, _, ..] => {
                let expected = "one --collection, or none for all, while a server runs";
                let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
                return Err(error.with("expected", expected).with("got", self.collections.len()));
            }
        };
        let mut job = client.post("/v2/admin/snapshot", &json!({ "collection": collection }))?;
        Ok(job["details"].take())
    }

    fn report(&self, made: &Value, out: &mut dyn Write) -> Result {
        let mut made = made.clone();
        let dir = self.data_dir.join(made["snapshot_dir"].as_str().unwrap_or_default());
        made["snapshot_dir"] = dir.display().to_string().into();
        if self.json {
            return Ok(writeln!(out, "{made}")?);
        }
        for name in ["snapshot_id", "snapshot_dir", "collections", "segments", "files"] {
            let value = made[name].as_str().map_or_else(|| made[name].to_string(), str::to_owned);
            writeln!(out, "{name:13} {value}")?;
        }
        Ok(())
    }
}

#[derive(Debug, Args)]
pub struct SnapshotRestore {
    /// Directory of the database; made if missing
    #[arg(long, value_name = "DIR")]
    data_dir: PathBuf,
    /// Directory of the snapshot, below the database's or anywhere else
    #[arg(long, value_name = "DIR")]
    snapshot_dir: PathBuf,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

impl SnapshotRestore {
    /// Compares every checksum, then changes everything at once.
    ///
    /// # Errors
    /// `Corrupt` naming the first damage in the snapshot, `NotFound`, `Locked`, `StorageFull`, `Io`.
    pub(super) fn run(self, out: &mut dyn Write) -> Result {
        let (snapshot, _) = store::existing(&self.snapshot_dir)?;
        let restored = match store::has_database(&self.data_dir)? {
            true => self.in_place(&snapshot)?,
            false => {
                let target: Arc<dyn Storage> = Arc::new(open_directory(&self.data_dir)?);
                restore(&snapshot, &target, &never_cancelled)?
            }
        };
        for name in &restored.unlisted_logs {
            warn!(
                collection = name,
                "the snapshot does not list its log files, as snapshots of earlier versions: it cannot be checked \
                 whether the end of the log is missing"
            );
        }
        let names = &restored.collections;
        let backup = restored.backup.map(|dir| self.data_dir.join(dir).display().to_string());
        if self.json {
            let report = json!({ "collections": names, "backup_dir": backup });
            return Ok(writeln!(out, "{report}")?);
        }
        let (count, dir) = (names.len(), self.data_dir.display());
        writeln!(out, "{count} collections restored to {dir}: {}", names.join(", "))?;
        store::say_backup(out, backup.as_deref())?;
        if let Some(backup) = backup {
            writeln!(
                out,
                "moments before the restore can be reached from there only: nearfield replay-to-lsn --data-dir \
                 {backup} --collection NAME --target-lsn LSN --into DIR"
            )?;
        }
        Ok(())
    }

    fn in_place(&self, snapshot: &Arc<dyn Storage>) -> nearfield_engine::Result<Restored> {
        let database = store::open_for_writing(&self.data_dir, "snapshot-restore", false)?;
        match within(&self.data_dir, &self.snapshot_dir)? {
            Some(dir) => database.restore_snapshot(&dir),
            None => database.restore_from(snapshot),
        }
    }
}

/// The name of `inner` from the root of `outer`, if it lies below it.
fn within(outer: &Path, inner: &Path) -> nearfield_engine::Result<Option<String>> {
    let real = |path: &Path| {
        path.canonicalize().map_err(|error| Error::io("open", &path.display().to_string(), error))
    };
    let inner = real(inner)?;
    let below = inner.strip_prefix(real(outer)?).ok().and_then(Path::to_str);
    Ok(below.filter(|below| !below.is_empty()).map(str::to_owned))
}
