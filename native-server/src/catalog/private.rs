//! `create_new` and `restrict`: files that only their owner may read. The mode is set before there is
//! anything to read. Called by `Ledger` and `Pepper`.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::Path;

use nearfield_engine::{Error, Result};

/// Makes an empty file of mode 0600; fails if there is one.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)
}

/// Takes the rights of group and others away, without opening the file.
pub(super) fn restrict(path: &Path) -> io::Result<()> {
    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    permissions.set_mode(0o600);
    fs::set_permissions(path, permissions)
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// `StorageFull`, `Io`.
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::io("sync directory", &dir.display().to_string(), error))
}
