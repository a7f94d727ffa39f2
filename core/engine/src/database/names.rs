//! The collection names of an open database (`Inner`): `change` commits a new database document,
//! `resolve_uncertain_commit` finds out whether a failed commit took effect. Called by `Database` (create,
//! drop), replay and restore.
//!
//! **Invariant.** A writer answers from a document that is durable. After a change that failed it is unknown
//! whether it happened until [`Database::resolve_uncertain_commit`] has looked; each call that needs the
//! names does that first.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use nearfield_segment::{ErrorKind, FileId, Result};

use super::{Database, Mode};
use crate::database::collection::Collection;
use crate::database::opening::Opening;
use crate::files::leftovers;
use crate::manifest::{DatabaseManifest, Stored, commit, list_numbers, load_newest};

/// The names, and what is open under them.
#[derive(Debug)]
pub(crate) struct Inner {
    /// The newest that is known to be durable; of a reader, the newest it has seen.
    pub(crate) manifest: Stored<DatabaseManifest>,
    /// Collections that were opened, or are being opened. While this is locked no thread waits for an opening, except
    /// to retire the collection.
    pub(super) open: BTreeMap<FileId, Arc<Opening>>,
    /// The last change failed: whether it happened is not known.
    pub(super) unsure: bool,
    /// Dropped collections whose files are removed, so that the manifest may forget them.
    pub(super) removed: Vec<FileId>,
    /// Dropped collections that a task may still be writing to: only the next opening may forget them.
    pub(super) busy: Vec<FileId>,
    /// Retired collections of which it is not known yet whether they are gone.
    retired: BTreeMap<FileId, Arc<Collection>>,
}

impl Inner {
    pub(super) fn new(
        manifest: Stored<DatabaseManifest>,
        open: BTreeMap<FileId, Arc<Opening>>,
    ) -> Mutex<Inner> {
        let (removed, busy, retired) = (Vec::new(), Vec::new(), BTreeMap::new());
        Mutex::new(Inner { manifest, open, unsure: false, removed, busy, retired })
    }

    /// Closes a collection for all callers: its handles refuse changes from now on because of `cause`, and it is not
    /// opened again. A later look-up of its name finds the collection that has the name then.
    pub(crate) fn retire(&mut self, id: FileId, cause: &str) -> Result<()> {
        let Some(open) = self.open.remove(&id).and_then(|opening| opening.retire()) else {
            return Ok(());
        };
        self.retired.insert(id, Arc::clone(&open));
        let busy = open.with_writer(|writer| {
            writer.close(cause);
            Ok(writer.is_busy())
        })?;
        if busy {
            self.busy.push(id);
        }
        Ok(())
    }

    /// Notes in the handles of a retired collection why it is gone.
    pub(crate) fn mark_gone(&mut self, id: FileId, cause: &str) {
        if let Some(collection) = self.retired.remove(&id) {
            collection.mark_gone(cause);
        }
    }
}

impl Database {
    /// Commits a change of the names.
    pub(crate) fn change(&self, inner: &mut Inner, mut next: DatabaseManifest) -> Result<()> {
        next.dropped.retain(|id| !inner.removed.contains(id));
        match commit(&*self.storage, "", next) {
            Ok(manifest) => {
                inner.manifest = manifest;
                inner.removed.clear();
                let newest = inner.manifest.document.number;
                // Older documents do no harm.
                let _left = leftovers::remove_older_documents(&*self.storage, newest);
                Ok(())
            }
            Err(error) if matches!(error.kind(), ErrorKind::InvalidInput(_)) => Err(error),
            Err(error) => {
                inner.unsure = true;
                Err(error.context("the change may or may not have happened"))
            }
        }
    }

    /// After a failed change: finds out whether it happened. A document that is not visible never got its name: the
    /// change did not happen, the document before it is durable, and nothing is written, so that names are looked up
    /// on a full disk too. A document that is visible may not be durable: its names are committed once more.
    pub(crate) fn resolve_uncertain_commit(&self, inner: &mut Inner) -> Result<()> {
        if !inner.unsure {
            return Ok(());
        }
        if let Some(visible) = load_newest::<DatabaseManifest>(&*self.storage, "")?
            && visible.document.number > inner.manifest.document.number
        {
            self.change(inner, visible.successor())?;
        }
        inner.unsure = false;
        Ok(())
    }

    /// A reader takes over the names its writer has changed meanwhile.
    pub(super) fn follow_names(&self, inner: &mut Inner) -> Result<()> {
        if self.mode != Mode::Read {
            return Ok(());
        }
        let newest = list_numbers::<DatabaseManifest>(&*self.storage, "")?.pop();
        if newest.is_some_and(|number| number > inner.manifest.document.number)
            && let Some(manifest) = load_newest(&*self.storage, "")?
        {
            inner.manifest = manifest;
        }
        Ok(())
    }
}
