//! `CollectionPath`: the storage and the directory of a collection; `log` gives its `LogDirectory`. Made by
//! `Database::location`; used by recovery, `Writer`, snapshot, replay and restore.

use std::sync::Arc;

use nearfield_segment::FileId;
use nearfield_segment::format::Residence;
use nearfield_segment::storage::Storage;

use crate::log::LogDirectory;

/// The storage and directory of a collection.
#[derive(Debug, Clone)]
pub struct CollectionPath {
    /// The store's storage.
    pub storage: Arc<dyn Storage>,
    /// The collection's directory in it.
    pub dir: String,
    /// Where hot bytes of opened files are kept.
    pub residence: Residence,
}

impl CollectionPath {
    /// The root of a storage, for reading or copying whole files.
    pub(crate) fn root(storage: &Arc<dyn Storage>) -> CollectionPath {
        let (storage, residence) = (Arc::clone(storage), Residence::InPlace);
        CollectionPath { storage, dir: String::new(), residence }
    }

    /// The log of `collection`, which is the one in this directory.
    pub(crate) fn log(&self, collection: FileId) -> LogDirectory {
        LogDirectory::new(Arc::clone(&self.storage), &self.dir, collection)
    }

    /// A name inside the collection's directory.
    pub(crate) fn path(&self, name: &str) -> String {
        format!("{}/{name}", self.dir)
    }
}
