//! Point-in-time recovery: `Database::replay_to` takes a collection back to an earlier LSN in place,
//! `replay_into` writes that state to another database. Called by `nearfield replay`.
//!
//! In place, the batches after the target no longer count, and a new timeline begins; the state before is
//! kept below `tmp/`. What could be reached before the target can still be reached afterwards. Elsewhere, the
//! collection itself is only read, so that works beside its writer.

use std::sync::Arc;

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::storage::{LockMode, Storage};
use nearfield_segment::{Error, ErrorKind, Fault, Lsn, Pool, Result};

use crate::database::place::{LOCK, check_place};
use crate::database::rebuild::{base_for, rebuild};
use crate::database::succession::HighWaterMarks;
use crate::database::{Database, Mode, id_of};
use crate::files::CollectionPath;
use crate::files::history::Past;
use crate::files::pin;
use crate::files::transfer::bring;
use crate::log::{Mode as LogMode, replay};
use crate::manifest::{DatabaseManifest, Manifest, Reason, commit, document_name, load_newest};

/// The cause in the errors of older handles of the collection.
const CAUSE: &str = "the collection went back to an earlier LSN, or should have";

/// A collection that is what it was.
#[derive(Debug, Clone, PartialEq, Eq, serde::Serialize)]
pub struct Replayed {
    /// The LSN asked for.
    pub lsn: Lsn,
    /// Points at that moment.
    pub points: u64,
    /// Where the state before was kept, from the root of the store; none if it was not touched.
    pub backup: Option<String>,
}

impl Database {
    /// Makes a collection what it was at `target`. The state before is kept as a database below `tmp/`.
    /// Handles to the collection refuse changes from then on; ask for it again. A crash leaves the old state
    /// or the new one. O(rows after the manifest it starts from), plus the log's length.
    ///
    /// # Errors
    /// `NotFound`, `ReadOnly`; `InvalidInput(Parameter)` naming the LSNs that can be reached; `Corrupt` if
    /// what is needed is damaged; `StorageFull`, `Io`. Nothing has changed then, unless the message says that
    /// it is unknown.
    pub fn replay_to(&self, name: &str, target: Lsn, pool: &Pool) -> Result<Replayed> {
        self.check_in_directory()?;
        let collection = self.collection(name)?;
        let (base, newest) = collection.with_writer(|writer| {
            let last = writer.log.last().max(writer.state.lsn);
            let base = base_for(&writer.location, writer.manifest(), last, target)?;
            Ok((base, writer.manifest().number))
        })?;
        let mut inner = self.inner();
        self.resolve_uncertain_commit(&mut inner)?;
        let id = id_of(&inner.manifest.document, name)?;
        let marks = collection.with_writer(|writer| {
            if let Some(kind) = writer.poisoned() {
                return Err(Error::new(kind, "the collection has to be recovered first"));
            }
            if writer.location.dir != self.location(id).dir || writer.manifest().number != newest {
                let message = format!("collection {name:?} changed meanwhile; try again");
                return Err(Error::new(ErrorKind::Conflict, message));
            }
            // From here on nothing is acknowledged that the change would take away.
            writer.close(CAUSE);
            Ok(HighWaterMarks::by(writer))
        })?;
        inner.retire(id, CAUSE)?;
        let replacements = [self.replacement(name)];
        self.announce(&mut inner, &replacements)?;
        let location = self.location(replacements[0].id);
        let points = self
            .rebuild_in_place(&self.location(id), &base, &marks, target, location, pool)
            .map_err(|error| self.give_up(&mut inner, &replacements, error))?;
        let backup = self.put_in_place(&mut inner, &replacements, "replay")?;
        Ok(Replayed { lsn: target, points, backup })
    }

    fn rebuild_in_place(
        &self,
        source: &CollectionPath,
        base: &Manifest,
        marks: &HighWaterMarks,
        target: Lsn,
        location: CollectionPath,
        pool: &Pool,
    ) -> Result<u64> {
        let now_ms = self.clock.now_ms();
        let first = marks.successor(base, Reason::Replay, now_ms);
        let (built, points) =
            rebuild(source, base, first, target, self.ground(location.clone()), pool)?;
        bring_past(source, base, built.checkpoint_lsn, &location)?;
        let place = location.log(built.collection);
        let log = replay(
            &place,
            built.checkpoint_lsn,
            LogMode::Through(built.checkpoint_lsn),
            &mut |_, _| Ok(()),
        )?;
        marks.begin_timeline(&place, &log, built.checkpoint_lsn, now_ms)?;
        Ok(points)
    }

    /// Writes a database with one collection, as it was at `target`, to the empty `into`. This database may
    /// be open for reading beside its writer; vacuum waits meanwhile.
    ///
    /// # Errors
    /// As [`Database::replay_to`]; `Conflict` if there is a database in `into`. A database that was not
    /// finished has no document and is none.
    pub fn replay_into(
        &self,
        name: &str,
        target: Lsn,
        into: &Arc<dyn Storage>,
        pool: &Pool,
    ) -> Result<Replayed> {
        let collection = self.collection(name)?;
        let source = self.location(id_of(&self.manifest(), name)?);
        let _pin = pin::shared(&*source.storage, &source.dir)?;
        let last = collection.refresh()?.lsn;
        let newest = load_newest::<Manifest>(&*source.storage, &source.dir)?.ok_or_else(|| {
            let message = format!("collection {name:?} has no files: it cannot be replayed");
            Error::invalid(Fault::Parameter, message)
        })?;
        let base = base_for(&source, &newest.document, last, target)?;
        check_place(&**into)?;
        let _alone = into.lock(LOCK, LockMode::Exclusive, "replay")?;
        if load_newest::<DatabaseManifest>(&**into, "")?.is_some() {
            let message = "the target holds a database already; replay into an empty directory";
            return Err(Error::new(ErrorKind::Conflict, message));
        }
        let replacement = self.replacement(name);
        let location =
            CollectionPath { storage: Arc::clone(into), ..self.location(replacement.id) };
        let marks = HighWaterMarks::named(&newest.document, newest.crc);
        let first = marks.successor(&base, Reason::Replay, self.clock.now_ms());
        let (_, points) = rebuild(&source, &base, first, target, self.ground(location), pool)?;
        let mut database = DatabaseManifest::first();
        database.create(name, replacement.id)?;
        commit(&**into, "", database)?;
        Ok(Replayed { lsn: target, points, backup: None })
    }

    pub(crate) fn check_in_directory(&self) -> Result<()> {
        self.check_writable()?;
        if self.mode() == Mode::Memory {
            let message = "a database in memory has no past and no snapshots";
            return Err(Error::invalid(Fault::Parameter, message));
        }
        Ok(())
    }
}

/// Brings what reaches the moments before `branch`: the manifests up to `base`, their files, and the log.
fn bring_past(
    source: &CollectionPath,
    base: &Manifest,
    branch: Lsn,
    target: &CollectionPath,
) -> Result<()> {
    let storage = &*source.storage;
    let past = Past::read(storage, &source.dir, base.number + 1)?;
    for manifest in &past.manifests {
        for (file, _, _) in manifest.files() {
            bring(source, file, target, file, &never_cancelled)?;
        }
        let name = document_name::<Manifest>("", manifest.number);
        bring(source, &name, target, &name, &never_cancelled)?;
    }
    let log = source.log(base.collection);
    for (from, to) in log.files_from_before(branch)? {
        bring(source, &from, target, &to, &never_cancelled)?;
    }
    Ok(())
}
