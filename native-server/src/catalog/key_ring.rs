//! The API keys in memory (`KeyRing`): authenticates tokens, and keeps when each key was last used. Used by
//! `Catalog::authenticate`; the audit thread stores the uses (`last used` of a key is stored at most once a minute).
//!
//! Every decision first asks SQLite whether a connection of any process has changed the file (`PRAGMA data_version`),
//! and reads the keys again if their generation (a counter in the catalog that grows with each change of keys) has
//! changed. So a revocation that was confirmed is obeyed by the next request. If SQLite cannot be read, the keys in
//! memory decide, also those that this process has created or revoked: a damaged, full or locked catalog does not stop
//! the server. The cost: docs/internals/decisions/0055-sqlite-is-asked-at-each-decision.md.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, MutexGuard};
use std::time::Duration;

use nearfield_engine::Result;
use tracing::warn;

use super::keys::{self, Credential};
use super::pepper::{Digest, Pepper};
use super::role::{Role, Roles};
use super::sqlite::Sqlite;
use super::token::{KeyId, Token};
use crate::host::lock;

/// `last used` of a key is stored at most this often.
const USED_STEP_MS: u64 = 60_000;

/// The key of a token, with its roles.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Identity {
    /// The key.
    pub key_id: KeyId,
    /// What it may do.
    pub roles: Roles,
}

impl Identity {
    /// Whether the key has `role`, or is an admin's.
    pub fn allows(&self, role: Role) -> bool {
        self.roles.allows(role)
    }
}

/// Why a token is refused. Only a client with the right secret gets the last two.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It is not of the form `nfk_<16 hex>.<64 hex>`.
    Malformed,
    /// There is no such key, or the secret is wrong.
    Unknown,
    /// The key was revoked.
    Revoked,
    /// The key's time is over.
    Expired,
}

/// The keys in memory, refreshed from SQLite before each decision.
#[derive(Debug)]
pub(super) struct KeyRing {
    inner: Mutex<Inner>,
    stale_total: AtomicU64,
}

#[derive(Debug)]
struct Inner {
    catalog: Sqlite,
    data_version: i64,
    /// A counter in the catalog that grows with each change of keys.
    generation: i64,
    keys: HashMap<KeyId, Held>,
    /// The last look at the file failed.
    is_stale: bool,
}

#[derive(Debug)]
struct Held {
    credential: Credential,
    used_ms: u64,
    noted_ms: u64,
}

impl KeyRing {
    /// Reads all keys.
    ///
    /// # Errors
    /// `Corrupt`, `Locked`, `Io`.
    pub(super) fn new(catalog: Sqlite) -> Result<KeyRing> {
        let (data_version, generation) = (-1, -1);
        let keys = HashMap::new();
        let mut inner = Inner { catalog, data_version, generation, keys, is_stale: false };
        inner.refresh()?;
        // From now on a locked file is an error at once.
        inner.catalog.read("set up", |connection| Ok(connection.busy_timeout(Duration::ZERO)?))?;
        Ok(KeyRing { inner: Mutex::new(inner), stale_total: AtomicU64::new(0) })
    }

    /// Decides about a token. An unknown id takes as long as a wrong secret.
    pub(super) fn authenticate(
        &self,
        pepper: &Pepper,
        token: &str,
        now_ms: u64,
    ) -> std::result::Result<Identity, Refusal> {
        let (id, secret) = Token::parse(token).ok_or(Refusal::Malformed)?;
        let digest = pepper.digest(&secret);
        let mut inner = self.current();
        let held = inner.keys.get_mut(&id);
        let stored = held.as_ref().map_or(Digest::OF_NOTHING, |held| held.credential.digest);
        let is_right = stored.matches(&digest);
        let held = held.filter(|_| is_right).ok_or(Refusal::Unknown)?;
        let Credential { roles, expires_ms, is_revoked, .. } = held.credential;
        if is_revoked {
            return Err(Refusal::Revoked);
        }
        if expires_ms.is_some_and(|end| now_ms >= end) {
            return Err(Refusal::Expired);
        }
        held.used_ms = held.used_ms.max(now_ms);
        Ok(Identity { key_id: id, roles })
    }

    /// Whether some key opens something that `role` names, or anything.
    pub(super) fn has_usable(&self, role: Option<Role>, now_ms: u64) -> bool {
        self.current().keys.values().any(|held| {
            let Credential { roles, expires_ms, is_revoked, .. } = held.credential;
            let is_usable = !is_revoked && expires_ms.is_none_or(|end| now_ms < end);
            is_usable && role.is_none_or(|role| roles.allows(role))
        })
    }

    /// A key this process has stored.
    pub(super) fn put(&self, credential: Credential) {
        lock(&self.inner).put(credential);
    }

    /// A key this process has revoked.
    pub(super) fn revoke(&self, id: KeyId) {
        if let Some(held) = lock(&self.inner).keys.get_mut(&id) {
            held.credential.is_revoked = true;
        }
    }

    /// Uses that are not stored: those a minute later than the last stored one, or `all`.
    pub(super) fn unnoted(&self, all: bool) -> Vec<(KeyId, u64)> {
        let step_ms = if all { 1 } else { USED_STEP_MS };
        let inner = lock(&self.inner);
        let due = inner.keys.iter().filter(|(_, held)| held.used_ms - held.noted_ms >= step_ms);
        due.map(|(&id, held)| (id, held.used_ms)).collect()
    }

    /// Records that these uses are stored.
    pub(super) fn noted(&self, used: &[(KeyId, u64)]) {
        let mut inner = lock(&self.inner);
        for (id, used_ms) in used {
            if let Some(held) = inner.keys.get_mut(id) {
                held.noted_ms = *used_ms;
            }
        }
    }

    /// Decisions made from memory because the file could not be read.
    pub(super) fn stale_total(&self) -> u64 {
        self.stale_total.load(Ordering::Relaxed)
    }

    /// The keys as they are now. The lock is held while SQLite is asked: a request that comes later must not be
    /// decided by an earlier answer.
    fn current(&self) -> MutexGuard<'_, Inner> {
        let mut inner = lock(&self.inner);
        match inner.refresh() {
            Ok(()) => inner.is_stale = false,
            Err(error) => {
                self.stale_total.fetch_add(1, Ordering::Relaxed);
                if !std::mem::replace(&mut inner.is_stale, true) {
                    warn!(%error, "the catalog cannot be read; the keys in memory decide");
                }
            }
        }
        inner
    }
}

impl Inner {
    /// Reads the keys if they have changed. Each step reads what is at least as new as the number it compares, so a
    /// change in between is seen by the next call.
    fn refresh(&mut self) -> Result<()> {
        let data_version = self.catalog.read("look for changes", |connection| {
            let mut statement = connection.prepare_cached("PRAGMA data_version")?;
            Ok(statement.query_row([], |row| row.get(0))?)
        })?;
        if data_version == self.data_version {
            return Ok(());
        }
        let generation = self.catalog.read("look for changes", keys::generation)?;
        if generation != self.generation {
            let credentials = self.catalog.read("read the keys", keys::credentials)?;
            let before = std::mem::take(&mut self.keys);
            credentials.into_iter().for_each(|credential| self.put(credential));
            for (id, held) in before {
                if let Some(now) = self.keys.get_mut(&id) {
                    (now.used_ms, now.noted_ms) = (held.used_ms, held.noted_ms);
                }
            }
            self.generation = generation;
        }
        self.data_version = data_version;
        Ok(())
    }

    fn put(&mut self, credential: Credential) {
        let id = credential.id;
        self.keys.insert(id, Held { credential, used_ms: 0, noted_ms: 0 });
    }
}
