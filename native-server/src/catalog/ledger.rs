//! The file without the power to decide: what lists and revokes, and needs no pepper and no thread.
//!
//! Whoever has to revoke a key in a hurry may not have the pepper at hand.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::{Clock, Error, ErrorKind, Result, check_place};
use nearfield_segment::storage::open_directory;

use super::audit::{self, AuditEntry, AuditRow};
use super::keys::{self, KeyInfo};
use super::sqlite::{Purpose, Sqlite};
use super::{private, reserve, schema};

/// Name of the file in the data directory.
pub const CATALOG: &str = "catalog.sqlite3";

/// The catalog for commands that list and revoke. A server opens a [`Catalog`](super::Catalog).
#[derive(Debug)]
pub struct Ledger {
    pub(super) path: PathBuf,
    pub(super) file: Sqlite,
    clock: Arc<dyn Clock>,
}

impl Ledger {
    /// Opens the catalog in the data directory `dir`; makes directory, file and tables where they are
    /// missing, durably.
    ///
    /// # Errors
    /// `Corrupt` naming the file and what to do; `Version` for a later one; `Locked`, `StorageFull`, `Io`.
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Ledger> {
        // Nothing is written into a directory that is not a database and may not become one.
        check_place(&open_directory(dir)?).map_err(|error| error.context(dir.display()))?;
        let path = made(dir)?;
        let mut file = match Sqlite::open(&path, Purpose::Keys) {
            Err(error) if error.kind() == ErrorKind::StorageFull && reserve::give_up(dir) => {
                Sqlite::open(&path, Purpose::Keys)?
            }
            opened => opened?,
        };
        schema::migrate(&mut file)?;
        reserve::keep(dir);
        Ok(Ledger { path, file, clock })
    }

    /// Revokes the key `id`, for good; durable and obeyed by a running server when this returns. A whole
    /// token names its key too, since whoever revokes may hold nothing else.
    ///
    /// # Errors
    /// `NotFound` with near ids; `Locked`, `StorageFull`, `Io`: then it still opens.
    pub fn revoke_key(&mut self, id: &str) -> Result<KeyInfo> {
        let (id, now_ms) = (id.split('.').next().unwrap_or_default(), self.clock.now_ms());
        self.file.change("revoke a key", |change| {
            let info = keys::revoke(change, id, now_ms)?;
            let row = AuditRow::local(now_ms, Some(info.id), "key_revoke", 200);
            audit::record(change, &row).map(|()| info)
        })
    }

    /// All keys, also those that open nothing any more; oldest first.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub fn list_keys(&self) -> Result<Vec<KeyInfo>> {
        self.file.read("read the keys", keys::list)
    }

    /// The newest `limit` audit rows that are written, oldest of them first.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub fn audit_tail(&self, limit: u64) -> Result<Vec<AuditEntry>> {
        self.file.read("read audit rows", |connection| audit::tail(connection, limit))
    }
}

/// The path of the catalog's file, which is there and of no use to others than its owner. An existing file
/// is not opened: closing it would drop the locks that SQLite holds on it in this process.
fn made(dir: &Path) -> Result<PathBuf> {
    let path = dir.join(CATALOG);
    let name = path.display().to_string();
    match private::create_new(&path) {
        Ok(file) => {
            drop(file);
            private::sync_directory(dir)?;
        }
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(error) => return Err(Error::io("create", &name, error)),
    }
    private::restrict(&path).map_err(|error| Error::io("restrict", &name, error))?;
    Ok(path)
}
