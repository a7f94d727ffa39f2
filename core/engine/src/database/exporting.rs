//! `Database::export`: writes the newest views of named collections to one file. Called by Python; the
//! command line and the server call the functions of `export` directly.

use nearfield_segment::cancel::GoOn;
use nearfield_segment::storage::Storage;
use nearfield_segment::{Pool, Result};

use crate::database::Database;
use crate::export::{ExportReport, write_export};

impl Database {
    /// Writes collections (all, if none are named) to one file called `name` in `target`, on the threads of `pool`.
    ///
    /// # Errors
    /// `NotFound` for an unknown name, else as [`write_export`].
    pub fn export(
        &self,
        target: &dyn Storage,
        name: &str,
        collections: &[String],
        pool: &Pool,
        go_on: GoOn<'_>,
    ) -> Result<ExportReport> {
        let all = self.names();
        let names = if collections.is_empty() { &all } else { collections };
        let view = |name: &String| Ok((name.clone(), self.collection(name)?.view()));
        let views: Vec<_> = names.iter().map(view).collect::<Result<_>>()?;
        write_export(target, name, &views, self.options.segment.kernel, pool, go_on)
    }
}
