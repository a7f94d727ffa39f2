//! The catalog through its public door, with a second catalog on the same file as the other process.

use std::path::Path;
use std::sync::Arc;

use nearfield_engine::{Clock, ErrorKind, ManualClock};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

/// The time at which tests begin.
const NOW_MS: u64 = 1_700_000_000_000;

pub(super) struct Place {
    pub(super) dir: TempDir,
    pub(super) clock: Arc<ManualClock>,
}

impl Place {
    pub(super) fn new() -> Place {
        let dir = TempDir::new().expect("a directory");
        Place { dir, clock: Arc::new(ManualClock::new(NOW_MS)) }
    }

    pub(super) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(super) fn try_open(
        &self,
        pepper: Option<&str>,
        audit_rows_max: u64,
    ) -> Result<Arc<Catalog>> {
        let pepper = pepper.map(|text| Pepper::new(text).expect("long enough"));
        let clock = Arc::clone(&self.clock) as Arc<dyn Clock>;
        Catalog::open_with(self.path(), clock, CatalogOptions { pepper, audit_rows_max })
    }

    pub(super) fn open(&self) -> Arc<Catalog> {
        self.try_open(None, AUDIT_ROWS_MAX).expect("opens")
    }

    /// A connection as the `sqlite3` shell has one.
    pub(super) fn shell(&self) -> Connection {
        Connection::open(self.path().join(CATALOG)).expect("the file is there")
    }
}

fn query_key(catalog: &Catalog) -> NewKey {
    catalog.create_key("test", Role::Query.into(), None).expect("created")
}

#[test]
fn a_key_opens_what_its_roles_say_until_it_is_revoked() {
    let place = Place::new();
    let catalog = place.open();
    assert!(!catalog.has_usable_key());
    let key = query_key(&catalog);
    let identity = catalog.authenticate(key.token.reveal()).expect("a good key");
    assert_eq!(identity.key_id, key.info.id);
    assert!(identity.allows(Role::Query) && !identity.allows(Role::Ingest));
    assert!(catalog.has_usable_key() && !catalog.has_usable_key_for(Role::Admin));

    catalog.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(catalog.authenticate(key.token.reveal()), Err(Refusal::Revoked));
    assert!(!catalog.has_usable_key());
}

#[test]
fn a_key_made_or_revoked_by_another_process_counts_at_the_next_call() {
    let place = Place::new();
    let (server, other) = (place.open(), place.open());
    let key = query_key(&other);
    assert!(server.authenticate(key.token.reveal()).is_ok());
    other.revoke_key(&key.info.id.to_string()).expect("revoked");
    assert_eq!(server.authenticate(key.token.reveal()), Err(Refusal::Revoked));
    assert_eq!(server.stale_decisions_total(), 0);
}
