//! Files that only their owner may read. The mode is set before there is anything to read.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::path::Path;

use nearfield_engine::{Error, Result};

/// Makes an empty file of mode 0600; fails if there is one.
pub(super) fn create_new(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.write(true).create_new(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// Takes the rights of group and others away, without opening the file.
#[cfg(unix)]
pub(super) fn restrict(path: &Path) -> io::Result<()> {
    use std::os::unix::fs::PermissionsExt;

    let mut permissions = fs::metadata(path)?.permissions();
    if permissions.mode() & 0o077 == 0 {
        return Ok(());
    }
    permissions.set_mode(0o600);
    fs::set_permissions(path, permissions)
}

/// Other systems keep such rights elsewhere.
#[cfg(not(unix))]
pub(super) fn restrict(path: &Path) -> io::Result<()> {
    fs::metadata(path).map(drop)
}

/// Makes the names in `dir` durable.
///
/// # Errors
/// `StorageFull`, `Io`.
#[cfg(unix)]
pub(super) fn sync_directory(dir: &Path) -> Result<()> {
    let synced = File::open(dir).and_then(|directory| directory.sync_all());
    synced.map_err(|error| Error::io("sync directory", &dir.display().to_string(), error))
}

/// Other systems cannot open a directory as a file; their renames are journalled.
#[cfg(not(unix))]
pub(super) fn sync_directory(_dir: &Path) -> Result<()> {
    Ok(())
}
