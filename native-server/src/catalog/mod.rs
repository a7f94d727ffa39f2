//! Keys in memory, until the catalog is here: only the bootstrap key.

use std::path::Path;
use std::sync::{Arc, Mutex};

use nearfield_engine::{Clock, Result};

/// What a key may do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a stand-in")]
pub enum Role {
    Query,
    Ingest,
    Admin,
}

impl Role {
    /// Its word.
    pub fn name(self) -> &'static str {
        match self {
            Role::Query => "query",
            Role::Ingest => "ingest",
            Role::Admin => "admin",
        }
    }
}

/// Why a key is refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "a stand-in")]
pub enum Refusal {
    Malformed,
    Unknown,
    Revoked,
    Expired,
}

/// Whose key it is.
#[derive(Debug)]
#[expect(missing_docs, reason = "a stand-in")]
pub struct Identity {
    pub key_id: String,
    roles: Vec<Role>,
}

impl Identity {
    /// Whether the key may do what `role` may.
    pub fn allows(&self, role: Role) -> bool {
        self.roles.contains(&Role::Admin) || self.roles.contains(&role)
    }
}

/// One line of the audit.
#[derive(Debug)]
#[expect(missing_docs, reason = "a stand-in")]
pub struct AuditRow {
    pub time_ms: u64,
    pub key_id: Option<String>,
    pub action: &'static str,
    pub collection: Option<String>,
    pub status: u16,
    pub latency_us: u64,
    pub request_id: String,
}

/// A new key.
#[derive(Debug)]
#[expect(missing_docs, reason = "a stand-in")]
pub struct NewKey {
    pub token: String,
}

/// Keys.
#[derive(Debug)]
pub struct Catalog(Mutex<Vec<(String, Vec<Role>)>>);

#[expect(missing_docs, reason = "a stand-in")]
impl Catalog {
    pub fn open(_dir: &Path, _clock: Arc<dyn Clock>) -> Result<Arc<Catalog>> {
        Ok(Arc::new(Catalog(Mutex::default())))
    }

    pub fn create_key(&self, _name: &str, roles: &[Role], _expires: Option<u64>) -> Result<NewKey> {
        let seed = crate::host::seed;
        let token = format!("nfk_{:016x}.{}", seed(), format!("{:016x}", seed()).repeat(4));
        self.0.lock().expect("unpoisoned").push((token.clone(), roles.to_vec()));
        Ok(NewKey { token })
    }

    pub fn has_usable_key(&self) -> bool {
        !self.0.lock().expect("unpoisoned").is_empty()
    }

    pub fn authenticate(&self, token: &str) -> std::result::Result<Identity, Refusal> {
        if !token.starts_with("nfk_") {
            return Err(Refusal::Malformed);
        }
        let keys = self.0.lock().expect("unpoisoned");
        let found = keys.iter().find(|(there, _)| there == token).ok_or(Refusal::Unknown)?;
        Ok(Identity { key_id: token[..20].to_owned(), roles: found.1.clone() })
    }

    pub fn audit(&self, _row: AuditRow) {}
}
