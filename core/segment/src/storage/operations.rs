//! What both crash sweeps (tests of the simulated disk and of the simulated slots) do to a storage that holds
//! a few files, and what it then should hold: `model`, by [`MemoryStorage`], which cannot crash.

use std::collections::BTreeMap;

use crate::error::{Error, Result};
use crate::storage::{MemoryStorage, Storage, name};

/// All directories that operations touch.
const DIRS: [&str; 5] = ["", "a", "b", "a/new", "a/new/deep"];

/// Content by name.
pub(super) type Files = BTreeMap<String, Vec<u8>>;

/// An operation on a storage that holds `a/1`, `a/2` and `b/1`.
pub(super) type Act = fn(&dyn Storage) -> Result<()>;

/// Bytes that are all different from zero.
pub(super) fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 251) as u8 + 1).collect()
}

pub(super) fn put(storage: &dyn Storage, name: &str, len: usize) -> Result<()> {
    storage
        .put(name, &mut |out| out.write_all(&pattern(len)).map_err(|e| Error::io("write", name, e)))
}

/// Writes the log `a/3`.
pub(super) fn append(storage: &dyn Storage) -> Result<()> {
    let mut log = storage.append_new("a/3")?;
    log.write(&pattern(2400))?;
    log.sync()
}

/// The log alone differs, and is no longer than what was written.
pub(super) fn is_torn_log(left: &Files, old: &Files, new: &Files) -> bool {
    let mut others = left.clone();
    let torn = others.remove("a/3");
    others == *old && torn.is_some_and(|log| log.len() <= new["a/3"].len())
}

pub(super) fn set_up(storage: &dyn Storage) {
    for (name, bytes) in [("a/1", vec![91; 600]), ("a/2", vec![92; 3]), ("b/1", vec![93; 4])] {
        storage.put_new(name, &bytes).expect("memory and fresh media take it");
    }
}

pub(super) fn files(storage: &dyn Storage) -> Files {
    let mut files = Files::new();
    for dir in DIRS {
        for part in storage.list(dir).expect("a directory") {
            let name = name::join(dir, &part);
            let blob = storage.open(&name).expect("listed");
            let bytes = blob.read(0..blob.len()).expect("its whole length").to_vec();
            files.insert(name, bytes);
        }
    }
    files
}

/// Files before and after the operation.
pub(super) fn model(act: Act) -> (Files, Files) {
    let memory = MemoryStorage::new();
    set_up(&memory);
    let old = files(&memory);
    act(&memory).expect("memory does not fail");
    (old, files(&memory))
}
