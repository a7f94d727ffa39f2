//! The history of a collection: which manifests are kept beside the newest one, and which files and logs they
//! need. `Past::read` finds what there is, for recovery, rebuild, replay and verify; `vacuum` removes what is
//! no longer wanted, for `Writer`.
//!
//! A moment is reached from the newest manifest at or before it and the log after its checkpoint LSN. So what is kept
//! is one manifest from before the window, all log after its checkpoint LSN, and a few manifests between, so that
//! replay is short and disk use does not grow with the number of checkpoints.
//!
//! **Invariant.** A manifest that is there names only files that are there, and the log after the lowest checkpoint LSN
//! is whole. Vacuum therefore removes manifests durably before anything they need: a removal that a power
//! cut undoes brings back files, never a manifest without them.
//!
//! Decides and removes; replaying is `rebuild`'s.

use std::collections::{BTreeMap, HashSet};

use nearfield_segment::storage::Storage;
use nearfield_segment::{ErrorKind, Lsn, Result};

use crate::files::quarantine;
use crate::log::LogDirectory;
use crate::manifest::{Manifest, document_name, list_numbers, load};
use crate::options::Options;

/// The window is cut into so many parts, and the first manifest of each is kept.
const PARTS: u64 = 3;
/// Manifests kept between the one before the window and the newest: a jumping clock makes no more.
const BETWEEN_MAX: usize = 4;

/// The manifests before the newest one, oldest first.
#[derive(Debug, Default)]
pub(crate) struct Past {
    pub(crate) manifests: Vec<Manifest>,
    /// Numbers of those that cannot be read.
    pub(crate) damaged: Vec<u64>,
}

impl Past {
    /// Reads every manifest in `dir` with a number below `newest`.
    ///
    /// # Errors
    /// `Io`; manifests that are damaged, or of another version, are listed separately and are no error.
    pub(crate) fn read(storage: &dyn Storage, dir: &str, newest: u64) -> Result<Past> {
        let mut past = Past::default();
        let numbers = list_numbers::<Manifest>(storage, dir)?;
        for number in numbers.into_iter().filter(|&number| number < newest) {
            match load::<Manifest>(storage, dir, number) {
                Ok(stored) => past.manifests.push(stored.document),
                Err(error) if matches!(error.kind(), ErrorKind::Corrupt | ErrorKind::Version) => {
                    past.damaged.push(number);
                }
                Err(error) => return Err(error),
            }
        }
        Ok(past)
    }

    /// Moves manifests that cannot be read to quarantine, where the files that only they name will follow
    /// as orphans. Returns the names moved.
    ///
    /// # Errors
    /// Those of the storage.
    pub(crate) fn set_damaged_aside(
        &self,
        storage: &dyn Storage,
        dir: &str,
        now_ms: u64,
    ) -> Result<Vec<String>> {
        let names = self.damaged.iter().map(|&number| document_name::<Manifest>("", number));
        let names: Vec<String> = names.collect();
        for name in &names {
            quarantine::put(storage, dir, name, quarantine::Reason::Damaged, now_ms)?;
        }
        Ok(names)
    }

    /// The newest manifest, of these and `newest`, from which `target` can be reached by going forward.
    pub(crate) fn base<'a>(&'a self, newest: &'a Manifest, target: Lsn) -> Option<&'a Manifest> {
        let all = self.manifests.iter().chain([newest]);
        all.filter(|manifest| manifest.checkpoint_lsn <= target)
            .max_by_key(|m| (m.checkpoint_lsn, m.number))
    }

    /// The lowest LSN that can be reached.
    pub(crate) fn oldest(&self, newest: &Manifest) -> Lsn {
        let cuts = self.manifests.iter().map(|manifest| manifest.checkpoint_lsn);
        cuts.min().map_or(newest.checkpoint_lsn, |checkpoint_lsn| {
            checkpoint_lsn.min(newest.checkpoint_lsn)
        })
    }
}

/// What of the past is to be kept.
///
/// A clock that is ahead of the past by more than the window makes all of it look old. It may be wrong, so the past
/// is given up only if the clock says the same again, a part of the window later; until then time counts as what
/// the newest manifest of the past says.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Window {
    /// As [`Options::history_ms`], once it is decided.
    pub(crate) history_ms: u64,
    /// As [`Options::history_bytes_max`].
    pub(crate) bytes_max: u64,
    /// When the clock was first seen so far ahead.
    ahead_ms: Option<u64>,
}

impl Window {
    /// The window of a writer of `newest`: from its options, or else from the manifest.
    pub(crate) fn of(options: &Options, newest: &Manifest) -> Window {
        let history_ms = options.history_ms.or(newest.history_ms).unwrap_or(0);
        Window { history_ms, bytes_max: options.history_bytes_max, ahead_ms: None }
    }

    /// The time by which `past` is judged when the clock says `now_ms`.
    fn trusted(&mut self, past: &[Manifest], now_ms: u64) -> u64 {
        let Some(known_ms) = past.iter().map(|manifest| manifest.created_ms).max() else {
            return now_ms;
        };
        if now_ms <= known_ms.saturating_add(self.history_ms) {
            self.ahead_ms = None;
            return now_ms;
        }
        let first_ms = *self.ahead_ms.get_or_insert(now_ms);
        if now_ms < first_ms {
            self.ahead_ms = Some(now_ms);
        }
        let confirmed = now_ms >= first_ms.saturating_add((self.history_ms / PARTS).max(1));
        if confirmed { now_ms } else { known_ms }
    }
}

/// Removes what neither the newest manifest nor the past in `window` needs: manifests, then segments and delete
/// lists, then archived log. Files of running tasks are `spared`. Returns the number of files. The caller holds
/// the pin alone.
///
/// # Errors
/// `Io`; what was removed stays removed.
pub(crate) fn vacuum(
    log: &LogDirectory,
    dir: &str,
    newest: &Manifest,
    window: &mut Window,
    now_ms: u64,
    spared: &[String],
) -> Result<u64> {
    let storage = log.storage();
    let mut kept = Vec::new();
    if window.history_ms > 0 {
        let past = Past::read(storage, dir, newest.number)?;
        past.set_damaged_aside(storage, dir, now_ms)?;
        let trusted_ms = window.trusted(&past.manifests, now_ms);
        kept = wanted(past.manifests, trusted_ms, window.history_ms);
        give_up(&mut kept, newest, log, window.bytes_max)?;
    }
    let gone = list_numbers::<Manifest>(storage, dir)?.into_iter().filter(|&number| {
        number < newest.number && !kept.iter().any(|manifest| manifest.number == number)
    });
    let gone: Vec<String> = gone.map(|number| document_name::<Manifest>("", number)).collect();
    let mut unneeded = log.archived_through(oldest_checkpoint_lsn(&kept, newest))?;
    let manifests = kept.iter().chain([newest]);
    let needed: HashSet<&str> = manifests.flat_map(Manifest::files).map(|(f, _, _)| f).collect();
    for name in storage.list(&format!("{dir}/segments"))? {
        let file = format!("segments/{name}");
        if !needed.contains(file.as_str()) && !spared.contains(&file) {
            unneeded.push(format!("{dir}/{file}"));
        }
    }
    if !gone.is_empty() || !unneeded.is_empty() {
        // Also if none goes now: an earlier call may have removed some without getting to the sync.
        storage.remove_durably(dir, &gone)?;
    }
    unneeded.iter().try_for_each(|file| storage.remove(file))?;
    Ok((gone.len() + unneeded.len()) as u64)
}

/// All log after this is needed.
fn oldest_checkpoint_lsn(kept: &[Manifest], newest: &Manifest) -> Lsn {
    kept.iter().map(|manifest| manifest.checkpoint_lsn).min().unwrap_or(newest.checkpoint_lsn)
}

/// Of the past, oldest first, what a window of `history_ms` up to now needs.
fn wanted(mut past: Vec<Manifest>, now_ms: u64, history_ms: u64) -> Vec<Manifest> {
    let start_ms = now_ms.saturating_sub(history_ms);
    let part_ms = (history_ms / PARTS).max(1);
    // Everything in its files had happened when it was made, so it lies before the window.
    let base = past.iter().rposition(|manifest| manifest.created_ms <= start_ms).unwrap_or(0);
    past.drain(..base);
    // Parts are counted from 1970, so the first of its part remains that until it is given up.
    past.dedup_by_key(|manifest| manifest.created_ms / part_ms);
    if past.len() > 1 + BETWEEN_MAX {
        past.drain(1..past.len() - BETWEEN_MAX);
    }
    past
}

/// Gives up the oldest manifests until files kept for the past alone have at most `bytes_max` bytes.
fn give_up(
    kept: &mut Vec<Manifest>,
    newest: &Manifest,
    log: &LogDirectory,
    bytes_max: u64,
) -> Result<()> {
    if bytes_max == 0 {
        return Ok(());
    }
    let present: HashSet<&str> = newest.files().map(|(file, _, _)| file).collect();
    while let Some(oldest) = kept.iter().map(|manifest| manifest.checkpoint_lsn).min() {
        let files = kept.iter().flat_map(Manifest::files);
        let only_past = files.filter(|(file, _, _)| !present.contains(file));
        let lens: BTreeMap<&str, u64> = only_past.map(|(file, len, _)| (file, len)).collect();
        if lens.values().sum::<u64>() + log.archived_bytes_after(oldest)? <= bytes_max {
            break;
        }
        kept.remove(0);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use nearfield_segment::{Encoding, FileId, Metric, Schema};

    use super::*;

    fn made_at(times: &[u64]) -> Vec<Manifest> {
        let schema = Schema::dense(2, Metric::L2, Encoding::F32).expect("a good schema");
        let first = Manifest::first(FileId(7), schema, 1, 0);
        let numbered = times.iter().zip(1..);
        numbered
            .map(|(&created_ms, number)| Manifest { number, created_ms, ..first.clone() })
            .collect()
    }

    #[test]
    fn one_manifest_from_before_the_window_is_kept_and_the_first_of_each_part() {
        // A window of 90, so parts of 30: 0 to 29, 30 to 59, …
        let table: [(&[u64], u64, &[u64]); 7] = [
            (&[], 100, &[]),
            (&[5], 100, &[5]),
            (&[5, 9, 10, 11], 100, &[10]),
            (&[5, 10, 35, 40, 59, 60, 95], 100, &[10, 35, 60, 95]),
            (&[50, 51, 52], 100, &[50]),
            // All of the past before the window: the last of it.
            (&[1, 2, 3], 1_000, &[3]),
            // A clock that jumps to and fro makes no more than the bound.
            (&[5, 900, 10, 900, 20, 900, 30, 900, 40], 90, &[5, 900, 30, 900, 40]),
        ];
        for (times, now_ms, expected) in table {
            let kept = wanted(made_at(times), now_ms, 90);
            let kept: Vec<u64> = kept.iter().map(|manifest| manifest.created_ms).collect();
            assert_eq!(kept, expected, "{times:?} at {now_ms}");
        }
    }

    #[test]
    fn a_clock_far_ahead_is_believed_when_it_says_so_twice() {
        let past = made_at(&[5, 10, 20]);
        let mut window = Window { history_ms: 90, ..Window::default() };
        assert_eq!(window.trusted(&past, 110), 110, "within the window of the past");
        assert_eq!(window.trusted(&past, 5_000), 20);
        assert_eq!(window.trusted(&past, 5_029), 20, "not yet a part of the window later");
        assert_eq!(window.trusted(&past, 30), 30, "it was wrong");
        assert_eq!(window.trusted(&past, 5_030), 20, "so that is the first time again");
        assert_eq!(window.trusted(&past, 4_000), 20, "earlier, and the first time again");
        assert_eq!(window.trusted(&past, 4_030), 4_030);
        assert_eq!(window.trusted(&[], 7_000), 7_000, "there is no past to lose");
    }

    /// However long it goes on, the window stays covered and the number bounded.
    #[test]
    fn thinning_step_by_step_never_uncovers_the_window() {
        for every in [1, 7, 29, 31, 200] {
            let mut past = Vec::new();
            for now_ms in (0..2_000).step_by(every) {
                past.extend(made_at(&[now_ms]));
                past = wanted(past, now_ms, 90);
                assert!(past.len() <= 2 + BETWEEN_MAX, "{} at {now_ms}", past.len());
                let reached = past[0].created_ms <= now_ms.saturating_sub(90);
                assert!(reached || past[0].created_ms == 0, "every {every}, at {now_ms}");
            }
        }
    }
}
