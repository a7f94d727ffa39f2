//! `check_place`: whether a directory is a database or may become one. Called when a database is opened for
//! writing, and by restore and replay for their target.
//!
//! A database is created in an empty directory only. What is in any other directory belongs to other programs,
//! or to a database whose document was lost; neither is written to. Everything here only reads.

use nearfield_segment::storage::Storage;
use nearfield_segment::{Error, Fault, Result};

use crate::files::leftovers::{self, listed};
use crate::manifest::{DatabaseManifest, list_numbers};

/// File whose exclusive lock makes a process the writer.
pub(crate) const LOCK: &str = "lock";
/// Directory of the collections.
pub(crate) const COLLECTIONS: &str = "c";
/// What a file system, an earlier opening that was cut short, or a server puts into a directory before there is
/// a database in it. A `*` at the end stands for anything.
const HARMLESS: [&str; 5] = [LOCK, "lost+found", "catalog.*", "pepper", "pepper.new"];

/// Checks that the root of `storage` holds a database or may become one.
///
/// # Errors
/// `Corrupt` if there are collections without a database document; `InvalidInput(Parameter)` if there is
/// anything else; those of the storage.
pub fn check_place(storage: &dyn Storage) -> Result<()> {
    if !list_numbers::<DatabaseManifest>(storage, "")?.is_empty() {
        return Ok(());
    }
    let collections = leftovers::with_files(storage, COLLECTIONS)?;
    if !collections.is_empty() {
        let found = format!(
            "there is none, but the directory holds {}: the document was lost, or a restore was cut short; \
             nothing was changed. Put the file database-… back from a snapshot or backup, or restore into an \
             empty directory",
            listed(&collections)
        );
        return Err(Error::corrupt("database document", "directory", found));
    }
    let is_foreign = |name: &String| name != COLLECTIONS && !HARMLESS.iter().any(|h| fits(name, h));
    let foreign: Vec<String> = storage.names("")?.into_iter().filter(is_foreign).collect();
    if foreign.is_empty() {
        return Ok(());
    }
    let expected = "an empty directory, or one with a database";
    let message = format!("expected {expected}, found {}; nothing was changed", listed(&foreign));
    Err(Error::invalid(Fault::Parameter, message).with("expected", expected))
}

fn fits(name: &str, harmless: &str) -> bool {
    harmless.strip_suffix('*').map_or(name == harmless, |start| name.starts_with(start))
}

#[cfg(test)]
mod tests {
    use nearfield_segment::ErrorKind;
    use nearfield_segment::storage::MemoryStorage;

    use super::*;

    #[test]
    fn only_an_empty_directory_or_a_database_will_do() {
        let id = "0a000000-0000-4000-8000-000000000001";
        let manifest = format!("c/{id}/manifest-00000000000000000001");
        let table = [
            (vec![], None),
            (vec!["lock", "catalog.sqlite3", "catalog.sqlite3-wal", "pepper"], None),
            (vec!["notes.txt"], Some(ErrorKind::InvalidInput(Fault::Parameter))),
            (vec!["photos/a.jpg"], Some(ErrorKind::InvalidInput(Fault::Parameter))),
            (vec!["catalogue"], Some(ErrorKind::InvalidInput(Fault::Parameter))),
            (vec![manifest.as_str()], Some(ErrorKind::Corrupt)),
            (vec![manifest.as_str(), "database-00000000000000000007", "notes.txt"], None),
        ];
        for (files, expected) in table {
            let storage = MemoryStorage::default();
            files.iter().for_each(|file| storage.put_new(file, b"x").expect("free"));
            let got = check_place(&storage).err().map(|error| error.kind());
            assert_eq!(got, expected, "{files:?}");
        }
    }
}
