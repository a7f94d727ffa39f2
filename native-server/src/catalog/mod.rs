//! `Catalog`: keys, audit rows and job history, in one SQLite file beside the vectors. Opened by `nearfield serve` and
//! `key-create`; `http::gate` authenticates and audits with it, `workers` records jobs.
//!
//! What may be lost here is never a vector: the engine knows nothing of this file, snapshots and restores
//! leave it alone (revoked stays revoked), and no fault of it stops a read or a write of vectors. Other
//! processes open it at the same time; a change of keys is in effect from the next request on.
//!
//! | module | is |
//! |---|---|
//! | `role` `token` `pepper` | words, secrets, digests |
//! | `private` `sqlite` `schema` | files that only their owner reads; a connection; the tables |
//! | `ledger` | the file made and opened: also on a full disk, and with the pepper it belongs to |
//! | `keys` `key_ring` | the table of keys; the decision about a token |
//! | `audit` `jobs` | the two histories |

mod audit;
mod jobs;
mod key_ring;
mod keys;
mod ledger;
mod pepper;
mod private;
mod retention;
mod role;
mod schema;
mod sqlite;
mod token;

#[cfg(test)]
mod tests;

pub use audit::{AuditEntry, AuditRow};
pub use jobs::{Job, JobId, JobKind, JobState};
pub use key_ring::{Identity, Refusal};
pub use keys::{KeyInfo, NewKey};
pub use ledger::{CATALOG, Ledger};
pub use pepper::{PEPPER_VARIABLE, Pepper};
pub use role::{Role, Roles};
pub use token::{KeyId, Token};

use std::path::Path;
use std::sync::{Arc, Mutex};

use nearfield_engine::{Clock, Result};
use serde_json::Value;

use self::audit::Recorder;
use self::jobs::JobBook;
use self::key_ring::KeyRing;
use self::keys::Credential;
use self::sqlite::{Purpose, Sqlite};
use self::token::Secret;
use crate::host;

/// Audit rows kept by default.
const AUDIT_ROWS_MAX: u64 = 1_000_000;

/// What can be chosen about a catalog.
#[derive(Debug, Clone)]
pub struct CatalogOptions {
    /// Pepper of the environment; without it, that of the file `pepper`, which is made if missing.
    pub pepper: Option<Pepper>,
    /// Audit rows kept; the oldest go first.
    pub audit_rows_max: u64,
}

impl CatalogOptions {
    /// The usual ones, with the pepper of [`PEPPER_VARIABLE`] if it is set.
    ///
    /// # Errors
    /// `InvalidInput` if that is too short to be one.
    pub fn from_environment() -> Result<CatalogOptions> {
        let pepper = Pepper::from_environment()?;
        Ok(CatalogOptions { pepper, audit_rows_max: AUDIT_ROWS_MAX })
    }
}

/// An open catalog. Any number may be open at a time, in any number of processes.
#[derive(Debug)]
pub struct Catalog {
    clock: Arc<dyn Clock>,
    pepper: Pepper,
    // In the order in which they are closed: the last connection tidies the file up.
    recorder: Recorder,
    ring: Arc<KeyRing>,
    main: Mutex<Main>,
}

#[derive(Debug)]
struct Main {
    ledger: Ledger,
    jobs: JobBook,
}

impl Catalog {
    /// Opens the catalog in the data directory `dir` with the usual options; makes what is missing.
    ///
    /// # Errors
    /// As [`Catalog::open_with`] and [`CatalogOptions::from_environment`].
    pub fn open(dir: &Path, clock: Arc<dyn Clock>) -> Result<Arc<Catalog>> {
        Catalog::open_with(dir, clock, CatalogOptions::from_environment()?)
    }

    /// Opens the catalog in the data directory `dir`; makes directory, file, tables and pepper where they
    /// are missing, durably.
    ///
    /// # Errors
    /// As [`Ledger::open`]; `Conflict` if it belongs to another pepper.
    pub fn open_with(
        dir: &Path,
        clock: Arc<dyn Clock>,
        options: CatalogOptions,
    ) -> Result<Arc<Catalog>> {
        let mut ledger = Ledger::open(dir, Arc::clone(&clock))?;
        let pepper = ledger::settle_pepper(&mut ledger.file, dir, options.pepper)?;
        let ring = Arc::new(KeyRing::new(Sqlite::open(&ledger.path, Purpose::Ring)?)?);
        let audit = Sqlite::open(&ledger.path, Purpose::Audit)?;
        let (shared, time) = (Arc::clone(&ring), Arc::clone(&clock));
        let recorder = Recorder::start(audit, shared, time, options.audit_rows_max)?;
        let main = Mutex::new(Main { ledger, jobs: JobBook::new() });
        Ok(Arc::new(Catalog { clock, pepper, recorder, ring, main }))
    }

    /// Makes a key; durable when this returns. Takes a sync of the disk.
    ///
    /// # Errors
    /// `InvalidInput` for a name that spoils a line or an expiry in the past; `Locked`, `StorageFull`, `Io`.
    pub fn create_key(&self, name: &str, roles: Roles, expires_ms: Option<u64>) -> Result<NewKey> {
        let created_ms = self.clock.now_ms();
        keys::check_name(name)?;
        keys::check_expiry(expires_ms, created_ms)?;
        let (id, secret) = (KeyId::random()?, Secret::random()?);
        let (digest, name) = (self.pepper.digest(&secret), name.to_owned());
        let (last_used_ms, revoked_ms) = (None, None);
        let info = KeyInfo { id, name, roles, created_ms, expires_ms, last_used_ms, revoked_ms };
        let file = &mut host::lock(&self.main).ledger.file;
        let row = AuditRow::local(created_ms, Some(id), "key_create", 201);
        file.change("store a key", |change| {
            keys::insert(change, &info, &digest)?;
            audit::write(change, &row, 0)
        })?;
        self.ring.put(Credential { id, digest, roles, expires_ms, is_revoked: false });
        Ok(NewKey { info, token: Token::new(id, &secret) })
    }

    /// As [`Ledger::revoke_key`].
    ///
    /// # Errors
    /// `NotFound` with near ids; `Locked`, `StorageFull`, `Io`: then it still opens.
    pub fn revoke_key(&self, id: &str) -> Result<KeyInfo> {
        let info = host::lock(&self.main).ledger.revoke_key(id)?;
        self.ring.revoke(info.id);
        Ok(info)
    }

    /// Whether any key is neither revoked nor expired.
    pub fn has_usable_key(&self) -> bool {
        self.ring.has_usable(None, self.clock.now_ms())
    }

    /// Whether any such key allows `role`.
    pub fn has_usable_key_for(&self, role: Role) -> bool {
        self.ring.has_usable(Some(role), self.clock.now_ms())
    }

    /// The key that `token` belongs to. A few microseconds without I/O, unless keys were changed by another process;
    /// a change is in effect here once that process has its answer.
    ///
    /// # Errors
    /// Why it opens nothing.
    pub fn authenticate(&self, token: &str) -> std::result::Result<Identity, Refusal> {
        self.ring.authenticate(&self.pepper, token, self.clock.now_ms())
    }

    /// Takes an audit row. Never waits and never fails; what cannot be kept is counted.
    pub fn audit(&self, row: AuditRow) {
        self.recorder.push(row);
    }

    /// As [`Catalog::audit`], of a request that was refused for want of a good key. Such rows are few however
    /// many such requests there are: one stands for many.
    pub fn audit_refusal(&self, row: AuditRow) {
        self.recorder.push_refusal(row);
    }

    /// Audit rows that were lost since the catalog was opened.
    pub fn audit_failures_total(&self) -> u64 {
        self.recorder.lost_total()
    }

    /// Decisions about tokens made from memory because the file could not be read.
    pub fn stale_decisions_total(&self) -> u64 {
        self.ring.stale_total()
    }

    /// The newest `limit` audit rows, oldest of them first; waits for those on their way.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub fn audit_tail(&self, limit: u64) -> Result<Vec<AuditEntry>> {
        self.recorder.flush();
        host::lock(&self.main).ledger.audit_tail(limit)
    }

    /// Notes that a job begins. Never fails: a row that cannot be written now is written later.
    pub fn begin_job(&self, kind: JobKind, collection: Option<&str>) -> JobId {
        let (id, started_ms) = (JobId(host::seed()), self.clock.now_ms());
        let (collection, details) =
            (collection.map(str::to_owned), Value::Object(Default::default()));
        let (state, finished_ms) = (JobState::Running, None);
        let job = Job { id, kind, collection, state, started_ms, finished_ms, details };
        let Main { ledger, jobs } = &mut *host::lock(&self.main);
        jobs.begin(&mut ledger.file, job);
        id
    }

    /// Notes how a job of this process ended. Never fails, as [`Catalog::begin_job`].
    pub fn finish_job(&self, id: JobId, state: JobState, details: Value) {
        let Main { ledger, jobs } = &mut *host::lock(&self.main);
        jobs.finish(&mut ledger.file, id, state, details, self.clock.now_ms());
    }

    /// The newest `limit` jobs, newest first.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub fn jobs(&self, limit: usize) -> Result<Vec<Job>> {
        let main = host::lock(&self.main);
        main.jobs.newest(&main.ledger.file, limit)
    }

    /// One job, if it is among those kept.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub fn job(&self, id: JobId) -> Result<Option<Job>> {
        let main = host::lock(&self.main);
        main.jobs.job(&main.ledger.file, id)
    }

    /// Marks jobs left running as interrupted and returns their number. Only for the holder of the database's
    /// lock, before it begins a job: the process that ran them has ended then.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `StorageFull`, `Io`.
    pub fn interrupt_left_jobs(&self) -> Result<u64> {
        let now_ms = self.clock.now_ms();
        let file = &mut host::lock(&self.main).ledger.file;
        file.change("reconcile jobs", |change| jobs::interrupt(change, now_ms))
    }

    /// Writes what waits and takes no more audit rows. Dropping the catalog does the same.
    pub fn close(&self) {
        self.recorder.close();
    }
}
