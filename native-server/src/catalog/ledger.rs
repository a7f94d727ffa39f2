//! `Ledger`: the catalog's SQLite file, created, opened, and changed by the commands that list and revoke keys. Used
//! by `Catalog` and by `nearfield key-list`, `key-revoke`, `audit`.
//!
//! Such commands need no pepper and no thread: an operator that has to revoke a key in a hurry may not have the pepper
//! at hand. A server decides about tokens and needs the pepper with which the keys were made ([`settle_pepper`]), so
//! that another pepper is refused instead of every key.
//!
//! A reserve of disk space lies beside the file. SQLite needs 32 KiB for an index of its log even to read, and without
//! keys no request is admitted, so without the reserve no vector could be read on a full disk. It is given up when
//! opening finds no space, and made again by an opening that finds some.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use nearfield_engine::{Clock, Error, ErrorKind, Result, check_place};
use nearfield_segment::storage::open_directory;
use rusqlite::{Connection, OptionalExtension};

use super::audit::{self, AuditEntry, AuditRow};
use super::keys::{self, KeyInfo};
use super::pepper::{Digest, PEPPER_VARIABLE, Pepper};
use super::sqlite::{Done, Purpose, Sqlite};
use super::{private, schema};

/// Name of the file in the data directory.
pub const CATALOG: &str = "catalog.sqlite3";
/// Name of the reserve in the data directory.
const RESERVE: &str = "catalog.reserve";
/// The index, and room for a log.
const RESERVE_BYTES: usize = 64 << 10;

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
            Err(error) if error.kind() == ErrorKind::StorageFull && give_up_reserve(dir) => {
                Sqlite::open(&path, Purpose::Keys)?
            }
            opened => opened?,
        };
        schema::migrate(&mut file)?;
        make_reserve(dir);
        Ok(Ledger { path, file, clock })
    }

    /// Revokes the key `id`, for good; durable and in effect in a running server when this returns. A whole
    /// token names its key too, since an operator may have nothing else.
    ///
    /// # Errors
    /// `NotFound` with near ids; `Locked`, `StorageFull`, `Io`: then it still opens.
    pub fn revoke_key(&mut self, id: &str) -> Result<KeyInfo> {
        let (id, now_ms) = (id.split('.').next().unwrap_or_default(), self.clock.now_ms());
        self.file.change("revoke a key", |change| {
            let info = keys::revoke(change, id, now_ms)?;
            let row = AuditRow::local(now_ms, Some(info.id), "key_revoke", 200);
            audit::write(change, &row, 0).map(|()| info)
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

/// Makes the reserve, if it is not there already. Failing to is no error: it is for another day.
fn make_reserve(dir: &Path) {
    let path = dir.join(RESERVE);
    let Ok(mut file) = private::create_new(&path) else { return };
    // Written, since a file that is only long takes no space.
    if file.write_all(&[0; RESERVE_BYTES]).and_then(|()| file.sync_all()).is_err() {
        drop(fs::remove_file(path));
    }
}

/// Gives the reserve up. False if there was none.
fn give_up_reserve(dir: &Path) -> bool {
    fs::remove_file(dir.join(RESERVE)).is_ok()
}

/// The pepper that fits the catalog: the given one, else that of the file, which is made with the catalog.
/// A given one may replace another while there are no keys. Takes the write lock only to set the mark.
///
/// # Errors
/// `Conflict` if it does not fit; `Locked`, `StorageFull`, `Io`.
pub(super) fn settle_pepper(
    catalog: &mut Sqlite,
    dir: &Path,
    given: Option<Pepper>,
) -> Result<Pepper> {
    let marked = catalog.read("read the mark of the pepper", mark)?;
    let there = load_pepper(dir, given.clone())?;
    if let (Some(pepper), Some(mark)) = (&there, marked)
        && pepper.fingerprint().matches(&mark)
    {
        return Ok(pepper.clone());
    }
    catalog.change("mark the pepper", |change| {
        // Again, now that no other process can do it at the same time.
        let (marked, there) = (mark(change)?, load_pepper(dir, given.clone())?);
        let pepper = match (there, marked) {
            (Some(pepper), Some(mark)) if pepper.fingerprint().matches(&mark) => return Ok(pepper),
            (Some(pepper), None) => pepper,
            (Some(pepper), Some(_)) if given.is_some() && keys::list(change)?.is_empty() => pepper,
            (None, None) => Pepper::generate(dir)?,
            (Some(_) | None, Some(_)) => return Err(unfit(dir).into()),
        };
        let text = "INSERT OR REPLACE INTO facts VALUES ('pepper', ?1)";
        change.execute(text, [pepper.fingerprint().0])?;
        Ok(pepper)
    })
}

fn load_pepper(dir: &Path, given: Option<Pepper>) -> Result<Option<Pepper>> {
    given.map_or_else(|| Pepper::load(dir), |pepper| Ok(Some(pepper)))
}

fn mark(connection: &Connection) -> Done<Option<Digest>> {
    let text = "SELECT value FROM facts WHERE name = 'pepper'";
    Ok(connection.query_row(text, [], |row| row.get(0).map(Digest)).optional()?)
}

fn unfit(dir: &Path) -> Error {
    let message = format!(
        "{}: the catalog belongs to another pepper: set {PEPPER_VARIABLE} or put the file `pepper` back as it was, \
         or move catalog.sqlite3 and its -wal and -shm files away and create new keys",
        dir.display(),
    );
    Error::new(ErrorKind::Conflict, message)
}
