//! `Sqlite`: one connection to the catalog's file, its transactions and its errors. Used by `Ledger`, `KeyRing`,
//! `audit` and `jobs`; `Purpose` selects the settings of the connection.
//!
//! Every change is one transaction that takes the write lock at its beginning, so it never finds halfway
//! that it read something old. Errors name the file and what was being done; damage says what to do.

use std::path::Path;
use std::time::Duration;

use nearfield_engine::{Error, ErrorKind, Result};
use rusqlite::ffi::{self, ErrorCode};
use rusqlite::{Connection, OpenFlags, Transaction, TransactionBehavior};

/// What to do about a damaged catalog.
const ADVICE: &str = "It holds keys, audit rows and job history, no vectors. Put a copy of it back, or move \
                      it and its -wal and -shm files away and create new keys";

/// How long to wait for another process. A change of ours takes milliseconds.
const WAIT: Duration = Duration::from_secs(2);
/// Attempts to turn a new file into WAL mode beside other processes that do the same.
const WAL_ATTEMPTS: usize = 50;

/// What a connection is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    /// Changes that are durable when they return; waits for other processes.
    Keys,
    /// Changes that a power cut may take back; waits for other processes.
    Audit,
    /// Reads on the path of every request.
    Ring,
}

impl Purpose {
    fn pragmas(self) -> &'static str {
        match self {
            Purpose::Keys => "PRAGMA synchronous = FULL",
            Purpose::Audit => "PRAGMA synchronous = NORMAL",
            Purpose::Ring => "PRAGMA query_only = ON",
        }
    }
}

/// A connection.
#[derive(Debug)]
pub(super) struct Sqlite {
    file: String,
    connection: Connection,
}

/// Why a closure of [`Sqlite::read`] or [`Sqlite::change`] gave up.
#[derive(Debug)]
pub(super) enum Failure {
    /// The database did not do it.
    Sqlite(rusqlite::Error),
    /// We did not want it.
    Refused(Error),
}

impl From<rusqlite::Error> for Failure {
    fn from(error: rusqlite::Error) -> Self {
        Failure::Sqlite(error)
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Failure::Refused(error)
    }
}

/// What a closure of [`Sqlite::read`] or [`Sqlite::change`] returns.
pub(super) type Done<T> = std::result::Result<T, Failure>;

impl Sqlite {
    /// Opens the file, which exists. A new (empty) file becomes a database in WAL mode.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `StorageFull`, `Io`.
    pub(super) fn open(path: &Path, purpose: Purpose) -> Result<Sqlite> {
        let file = path.display().to_string();
        let connect = || {
            let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
            let connection = Connection::open_with_flags(path, flags)?;
            connection.busy_timeout(WAIT)?;
            // Damaged cells are found when their page is read; a schema from elsewhere runs no functions.
            connection.execute_batch("PRAGMA cell_size_check = ON; PRAGMA trusted_schema = OFF")?;
            use_wal(&connection)?;
            connection.execute_batch(purpose.pragmas())?;
            Ok(connection)
        };
        match connect() {
            Ok(connection) => Ok(Sqlite { file, connection }),
            Err(error) => Err(translated(&file, "open", &error)),
        }
    }

    /// Reads.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`, or what `query` refused.
    pub(super) fn read<T>(
        &self,
        action: &str,
        query: impl FnOnce(&Connection) -> Done<T>,
    ) -> Result<T> {
        query(&self.connection).map_err(|failure| self.error(action, failure))
    }

    /// Changes everything that `change` does, or nothing.
    ///
    /// # Errors
    /// `Locked` after two seconds, `StorageFull`, `Corrupt`, `Io`, or what `change` refused.
    pub(super) fn change<T>(
        &mut self,
        action: &str,
        change: impl FnOnce(&Transaction<'_>) -> Done<T>,
    ) -> Result<T> {
        let begin = |connection| Transaction::new(connection, TransactionBehavior::Immediate);
        let done = begin(&mut self.connection).map_err(Failure::from).and_then(|transaction| {
            let value = change(&transaction)?;
            transaction.commit()?;
            Ok(value)
        });
        done.map_err(|failure| self.error(action, failure))
    }

    fn error(&self, action: &str, failure: Failure) -> Error {
        match failure {
            Failure::Sqlite(error) => translated(&self.file, action, &error),
            Failure::Refused(error) => error,
        }
    }
}

/// Turns a new file into WAL mode; nothing happens to one that has it. SQLite does not wait for other processes here,
/// because two readers that both wait for exclusive access would deadlock; so waiting is a step of its own.
fn use_wal(connection: &Connection) -> rusqlite::Result<()> {
    for _ in 1..WAL_ATTEMPTS {
        match connection.pragma_update(None, "journal_mode", "WAL") {
            Err(error) if error.sqlite_error_code() == Some(ErrorCode::DatabaseBusy) => {
                connection.execute_batch("BEGIN EXCLUSIVE; COMMIT")?;
            }
            done => return done,
        }
    }
    connection.pragma_update(None, "journal_mode", "WAL")
}

#[expect(clippy::wildcard_enum_match_arm, reason = "foreign errors; ours are those that differ")]
fn translated(file: &str, action: &str, error: &rusqlite::Error) -> Error {
    use rusqlite::Error as E;

    let about = |kind, text: String| Error::new(kind, format!("{action}: {file}: {text}"));
    let error = match error {
        E::SqliteFailure(code, text) => {
            let said = text.clone().unwrap_or_else(|| code.to_string());
            match kind(*code) {
                ErrorKind::Corrupt => about(ErrorKind::Corrupt, format!("{said}. {ADVICE}")),
                ErrorKind::Locked => {
                    let text = "another process is changing the catalog; try again";
                    about(ErrorKind::Locked, text.to_owned())
                }
                ErrorKind::StorageFull => {
                    let text = format!("{said}: no space left on the disk");
                    about(ErrorKind::StorageFull, text)
                }
                kind => about(kind, said),
            }
        }
        // A value that we would never have written.
        E::FromSqlConversionFailure(..)
        | E::IntegralValueOutOfRange(..)
        | E::InvalidColumnType(..) => about(ErrorKind::Corrupt, format!("{error}. {ADVICE}")),
        other => about(ErrorKind::Io, other.to_string()),
    };
    error.with("file", file)
}

#[expect(clippy::wildcard_enum_match_arm, reason = "foreign codes; ours are those that differ")]
fn kind(code: ffi::Error) -> ErrorKind {
    match code.code {
        ErrorCode::DiskFull => ErrorKind::StorageFull,
        // The index of the WAL could not grow.
        _ if code.extended_code == ffi::SQLITE_IOERR_SHMSIZE => ErrorKind::StorageFull,
        ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase => ErrorKind::Corrupt,
        ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked => ErrorKind::Locked,
        _ => ErrorKind::Io,
    }
}
