//! Space put by for a start on a full disk: SQLite wants 32 KiB for an index of its log even to read.
//!
//! Without keys nobody is let in, so without this no vector could be read before there is space. The file is
//! given up when opening finds none, and made again by an opening that finds some.

use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};

use super::private;

const FILE: &str = "catalog.reserve";
/// The index, and room for a log.
const BYTES: usize = 64 << 10;

/// Puts the space by, if it is not there already. That it cannot is no error: it is for another day.
pub(super) fn keep(dir: &Path) {
    let path = path(dir);
    let Ok(mut file) = private::create_new(&path) else { return };
    // Written, since a file that is only long takes no space.
    if file.write_all(&[0; BYTES]).and_then(|()| file.sync_all()).is_err() {
        drop(fs::remove_file(path));
    }
}

/// Gives the space up. False if there was none.
pub(super) fn give_up(dir: &Path) -> bool {
    fs::remove_file(path(dir)).is_ok()
}

fn path(dir: &Path) -> PathBuf {
    dir.join(FILE)
}
