//! Which pepper the keys were made with, so that another one is refused instead of every key.

use std::path::Path;

use nearfield_engine::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension};

use super::keys;
use super::pepper::{Digest, PEPPER_VARIABLE, Pepper};
use super::sqlite::{Done, Sqlite};

/// The pepper that fits the catalog: the given one, else that of the file, which is made with the catalog.
/// A given one may replace another while there are no keys. Takes the write lock only to set the mark.
///
/// # Errors
/// `Conflict` if it does not fit; `Locked`, `StorageFull`, `Io`.
pub(super) fn settle(catalog: &mut Sqlite, dir: &Path, given: Option<Pepper>) -> Result<Pepper> {
    let marked = catalog.read("read the pepper's mark", mark)?;
    let there = load(dir, given.clone())?;
    if let (Some(pepper), Some(mark)) = (&there, marked)
        && pepper.fingerprint().matches(&mark)
    {
        return Ok(pepper.clone());
    }
    catalog.change("mark the pepper", |change| {
        // Again, now that nobody else can do it at the same time.
        let (marked, there) = (mark(change)?, load(dir, given.clone())?);
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

fn load(dir: &Path, given: Option<Pepper>) -> Result<Option<Pepper>> {
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
