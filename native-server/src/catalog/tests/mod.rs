//! The catalog through its public interface. A second catalog on the same file stands for another process, a
//! bare connection for the `sqlite3` shell.

mod audit;
mod file;
mod jobs;
mod keys;

use std::path::Path;
use std::sync::Arc;

use nearfield_engine::{ErrorKind, ManualClock};
use rusqlite::Connection;
use tempfile::TempDir;

use super::*;

/// The time at which tests begin.
const NOW_MS: u64 = 1_700_000_000_000;

struct Place {
    dir: TempDir,
    clock: Arc<ManualClock>,
}

impl Place {
    fn new() -> Place {
        let dir = TempDir::new().expect("a directory");
        Place { dir, clock: Arc::new(ManualClock::new(NOW_MS)) }
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }

    fn try_open(&self, pepper: Option<&str>, audit_rows_max: u64) -> Result<Arc<Catalog>> {
        open_at(self.path(), &self.clock, pepper, audit_rows_max)
    }

    fn open(&self) -> Arc<Catalog> {
        self.try_open(None, AUDIT_ROWS_MAX).expect("opens")
    }

    fn shell(&self) -> Connection {
        Connection::open(self.path().join(CATALOG)).expect("the file is there")
    }
}

fn open_at(
    dir: &Path,
    clock: &Arc<ManualClock>,
    pepper: Option<&str>,
    audit_rows_max: u64,
) -> Result<Arc<Catalog>> {
    let pepper = pepper.map(|text| Pepper::new(text).expect("long enough"));
    let clock = Arc::clone(clock) as Arc<dyn Clock>;
    Catalog::open_with(dir, clock, CatalogOptions { pepper, audit_rows_max })
}

fn query_key(catalog: &Catalog) -> NewKey {
    catalog.create_key("test", Role::Query.into(), None).expect("created")
}
