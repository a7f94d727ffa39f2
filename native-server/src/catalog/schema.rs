//! The SQL tables of the catalog, and the migrations from older versions. Entry: `migrate`, called by `Ledger` when it
//! opens the file.
//!
//! A migration is a text that is never edited once it is released; a change of the tables is one more.

use nearfield_engine::{Error, ErrorKind, Result};
use rusqlite::{Connection, OptionalExtension};

use super::sqlite::{Done, Sqlite};

/// Each brings a catalog from the version of its place in the list to the next.
const MIGRATIONS: [&str; 2] = [
    "
CREATE TABLE keys (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    name TEXT NOT NULL,
    roles TEXT NOT NULL,
    digest BLOB NOT NULL,
    created_ms INTEGER NOT NULL,
    expires_ms INTEGER,
    last_used_ms INTEGER,
    revoked_ms INTEGER
) STRICT;

CREATE TABLE facts (name TEXT PRIMARY KEY, value ANY NOT NULL) STRICT;
INSERT INTO facts VALUES ('key_generation', 0);

-- A change of what decides about access, also by hand, changes the generation.
CREATE TRIGGER key_inserted AFTER INSERT ON keys BEGIN
    UPDATE facts SET value = value + 1 WHERE name = 'key_generation';
END;
CREATE TRIGGER key_changed AFTER UPDATE OF id, roles, digest, expires_ms, revoked_ms ON keys BEGIN
    UPDATE facts SET value = value + 1 WHERE name = 'key_generation';
END;
CREATE TRIGGER key_deleted AFTER DELETE ON keys BEGIN
    UPDATE facts SET value = value + 1 WHERE name = 'key_generation';
END;

CREATE TABLE audit (
    number INTEGER PRIMARY KEY,
    time_ms INTEGER NOT NULL,
    key_id TEXT,
    action TEXT NOT NULL,
    collection TEXT,
    status INTEGER NOT NULL,
    latency_us INTEGER NOT NULL,
    request_id TEXT NOT NULL,
    rows_lost INTEGER NOT NULL
) STRICT;

CREATE TABLE jobs (
    number INTEGER PRIMARY KEY,
    id TEXT NOT NULL UNIQUE,
    kind TEXT NOT NULL,
    collection TEXT,
    state TEXT NOT NULL,
    started_ms INTEGER NOT NULL,
    finished_ms INTEGER,
    details TEXT NOT NULL
) STRICT;
",
    "ALTER TABLE audit ADD COLUMN address TEXT;",
];

/// Brings the tables to this version. Takes the write lock only if there is something to do.
///
/// # Errors
/// `Version` for a catalog of a later version; `Corrupt`, `Locked`, `StorageFull`, `Io`.
pub(super) fn migrate(catalog: &mut Sqlite) -> Result<()> {
    let found = catalog.read("read the version", version)?;
    if found == MIGRATIONS.len() {
        return Ok(());
    }
    catalog.change("make the tables", |change| {
        // Read again inside the transaction, which excludes other processes.
        let found = version(change)?;
        for migration in &MIGRATIONS[found..] {
            change.execute_batch(migration)?;
        }
        change.execute_batch(
            "CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT;
             DELETE FROM schema_version;",
        )?;
        change.execute("INSERT INTO schema_version VALUES (?1)", [MIGRATIONS.len()])?;
        Ok(())
    })
}

/// The version of the tables; 0 if there are none.
fn version(connection: &Connection) -> Done<usize> {
    let made = "SELECT count(*) FROM sqlite_schema WHERE name = 'schema_version'";
    if connection.query_row(made, [], |row| row.get::<_, u64>(0))? == 0 {
        return Ok(0);
    }
    let version = "SELECT version FROM schema_version";
    let found = connection.query_row(version, [], |row| row.get(0)).optional()?.unwrap_or(0);
    if found > MIGRATIONS.len() {
        let known = MIGRATIONS.len();
        let message = format!(
            "the catalog has version {found}, this program knows up to {known}: use a newer one"
        );
        let error = Error::new(ErrorKind::Version, message);
        return Err(error.with("expected", known).with("got", found).into());
    }
    Ok(found)
}
