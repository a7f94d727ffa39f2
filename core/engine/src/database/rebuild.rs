//! Rebuilds a collection as of an earlier LSN, in a directory of its own. Entry: `rebuild`, called by `replay`;
//! `base_for` picks the manifest to start from.
//!
//! Starts from the newest manifest at or below the LSN, applies the log up to it, and writes what that adds
//! to files, as a checkpoint would and as often: what is in memory stays within `memtable_bytes_max` and a batch. The
//! source is only read; the result stands on files alone and needs no log.

use std::ops::ControlFlow;

use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::{Error, ErrorKind, Fault, Lsn, Pool, Result};

use crate::files::CollectionPath;
use crate::files::history::Past;
use crate::files::transfer::bring;
use crate::log::{Mode, ReplayReport, replay};
use crate::manifest::{Manifest, commit};
use crate::write::recovery;
use crate::write::replay::Replay;
use crate::write::task::MergeScope;
use crate::write::writer::{Ground, Writer};

/// How often the log is listed again because its writer archived a file that was about to be opened.
const ATTEMPTS_MAX: usize = 16;

/// The manifest to start from to reach `target`. Reads the log up to there, so that nothing is begun in vain.
///
/// # Errors
/// `InvalidInput(Parameter)` naming the range that can be reached; `Corrupt` if what is needed is damaged.
pub(crate) fn base_for(
    location: &CollectionPath,
    newest: &Manifest,
    last: Lsn,
    target: Lsn,
) -> Result<Manifest> {
    let past = Past::read(&*location.storage, &location.dir, newest.number)?;
    let oldest = past.oldest(newest);
    let refused = |why: &str| {
        let message = format!("LSN: expected {oldest} to {last}, got {target}{why}");
        let expected = format!("{oldest} to {last}");
        Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", target.0)
    };
    let earlier = "; what was before a restore or replay is in its backup below tmp/";
    let why = if target < oldest { earlier } else { "" };
    let base = past.base(newest, target).filter(|_| target <= last).ok_or_else(|| refused(why))?;
    let report = read_log(location, base, target, &mut |_, _| Ok(()))?;
    if report.last != target {
        return Err(refused(", which an earlier replay left behind"));
    }
    Ok(base.clone())
}

fn read_log(
    location: &CollectionPath,
    base: &Manifest,
    through: Lsn,
    apply: &mut dyn FnMut(Lsn, &[u8]) -> Result<()>,
) -> Result<ReplayReport> {
    let log = location.log(base.collection);
    let mut attempt = 1;
    loop {
        let mut begun = false;
        let mut note = |lsn, body: &[u8]| {
            begun = true;
            apply(lsn, body)
        };
        match replay(&log, base.checkpoint_lsn, Mode::Through(through), &mut note) {
            Err(error)
                if error.kind() == ErrorKind::NotFound && !begun && attempt < ATTEMPTS_MAX =>
            {
                attempt += 1;
            }
            other => return other,
        }
    }
}

/// Builds on `ground` the state of `source` at `through`, from `base`; its first manifest is `first`, which
/// names the files of `base`. Returns the manifest that holds everything.
///
/// # Errors
/// `Corrupt`, `StorageFull`, `Io`; what was written so far is left.
pub(crate) fn rebuild(
    source: &CollectionPath,
    base: &Manifest,
    first: Manifest,
    through: Lsn,
    ground: Ground,
    pool: &Pool,
) -> Result<(Manifest, u64)> {
    let location = ground.location.clone();
    for (file, _, _) in first.files() {
        bring(source, file, &location, file, &never_cancelled)?;
    }
    commit(&*location.storage, &location.dir, first)?;
    let mut writer = recovery::open_without_log(ground)?;
    let mut gathering = Replay::default();
    read_log(source, base, through, &mut |lsn, body| {
        gathering.add(&mut writer.state, lsn, body)?;
        if writer.memory_bytes() + gathering.memory_bytes() >= writer.options.memtable_bytes_max {
            gathering.finish(&mut writer.state)?;
            checkpoint(&mut writer, pool)?;
        }
        Ok(())
    })?;
    gathering.finish(&mut writer.state)?;
    checkpoint(&mut writer, pool)?;
    // Manifests of the way here name moments whose log is elsewhere.
    writer.vacuum()?;
    let points = writer.state.view(0).len();
    Ok((writer.manifest().clone(), points))
}

fn checkpoint(writer: &mut Writer, pool: &Pool) -> Result<()> {
    let Some(task) = writer.plan(MergeScope::Checkpoint) else { return Ok(()) };
    let output = task.run(pool, &mut |_| ControlFlow::Continue(()))?;
    writer.finish(output)
}
