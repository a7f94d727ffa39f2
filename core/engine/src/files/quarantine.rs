//! The quarantine of a collection: files that no manifest names, kept for a while in case they are needed.
//! `put` is called by recovery, by the opening of a database and for damaged manifests; `clean` removes the
//! oldest, `stats` is for metrics.
//!
//! `quarantine/<when put here, ms, 14 digits>.<reason>.<own name>`: the name says all there is to know, so
//! that a crash cannot part a file from its reason. Nothing depends on these files. The oldest go first: when
//! they are too old, too many or too much, and all of them when a disk is full.

use nearfield_segment::Result;
use nearfield_segment::storage::{Storage, join};

use crate::options::Options;

/// The directory, below that of a collection or in the root of a database.
const DIR: &str = "quarantine";
/// Own names are cut to this, so that the longer name is still one.
const NAME_BYTES_MAX: usize = 200;

/// Why a file is here; the second part of its name.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Reason {
    /// Unfinished work: no manifest names it.
    Orphan,
    /// A manifest of the past that cannot be read.
    Damaged,
    /// A collection without rows that no database document names.
    Unnamed,
}

impl Reason {
    fn word(self) -> &'static str {
        match self {
            Reason::Orphan => "orphan",
            Reason::Damaged => "damaged",
            Reason::Unnamed => "unnamed",
        }
    }
}

/// What is in quarantine.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct QuarantineStats {
    /// Files.
    pub files: u64,
    /// Their length together.
    pub bytes: u64,
}

/// Moves `file` (a name below the collection's directory `dir`, or below the root if that is empty) to quarantine.
///
/// # Errors
/// Those of the storage; the file is then in one of the two places.
pub(crate) fn put(
    storage: &dyn Storage,
    dir: &str,
    file: &str,
    reason: Reason,
    now_ms: u64,
) -> Result<()> {
    let place = join(dir, DIR);
    // Below the root the directories tell what the file was.
    let own = if dir.is_empty() { file } else { file.rsplit('/').next().unwrap_or(file) };
    let own = own[own.len().saturating_sub(NAME_BYTES_MAX)..].replace('/', ".");
    let target = |now_ms| format!("{place}/{now_ms:014}.{}.{own}", reason.word());
    let there = storage.list(&place)?;
    let taken = |now_ms: &u64| there.iter().any(|name| target(*now_ms).ends_with(name.as_str()));
    // Ends: as many names are taken as there are files.
    let free_ms = (now_ms..).find(|now_ms| !taken(now_ms)).unwrap_or(now_ms);
    storage.rename(&join(dir, file), &target(free_ms))
}

/// Count and size of what is there. O(files).
///
/// # Errors
/// Those of the storage.
pub(crate) fn stats(storage: &dyn Storage, dir: &str) -> Result<QuarantineStats> {
    let mut stats = QuarantineStats::default();
    let place = join(dir, DIR);
    for name in storage.list(&place)? {
        stats.files += 1;
        stats.bytes += storage.open(&format!("{place}/{name}"))?.len();
    }
    Ok(stats)
}

/// Removes what the bounds of `options` no longer allow, oldest first; returns how many files.
///
/// # Errors
/// Those of the storage; what was removed stays removed.
pub(crate) fn clean(
    storage: &dyn Storage,
    dir: &str,
    options: &Options,
    now_ms: u64,
) -> Result<u64> {
    let mut kept = stats(storage, dir)?;
    let mut removed = 0;
    let place = join(dir, DIR);
    let mut names = storage.list(&place)?;
    names.sort_by_key(|name| put_ms(name));
    for name in names {
        let too_old = now_ms.saturating_sub(put_ms(&name)) > options.quarantine_ms;
        let too_much = kept.bytes > options.quarantine_bytes_max;
        if !too_old && !too_much && kept.files <= options.quarantine_files_max {
            continue;
        }
        let path = format!("{place}/{name}");
        let bytes = storage.open(&path)?.len();
        storage.remove(&path)?;
        kept = QuarantineStats { files: kept.files - 1, bytes: kept.bytes - bytes };
        removed += 1;
    }
    Ok(removed)
}

/// Removes everything: a full disk needs the space. Returns how many files.
///
/// # Errors
/// As [`clean`].
pub(crate) fn empty(storage: &dyn Storage, dir: &str) -> Result<u64> {
    let place = join(dir, DIR);
    let names = storage.list(&place)?;
    names.iter().try_for_each(|name| storage.remove(&format!("{place}/{name}")))?;
    Ok(names.len() as u64)
}

/// When a file was put here; 0, so long ago, for names of other versions.
fn put_ms(name: &str) -> u64 {
    let time = name.split('.').next().filter(|time| time.len() == 14);
    time.and_then(|time| time.parse().ok()).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use nearfield_segment::storage::MemoryStorage;

    use super::*;

    /// Ten files of ten bytes, put there in the milliseconds 1000 to 1009, and one of an earlier version.
    fn filled() -> MemoryStorage {
        let storage = MemoryStorage::default();
        for n in 0..10_u64 {
            storage.put_new(&format!("d/segments/s{n}.seg"), &[7; 10]).expect("free");
            let file = format!("segments/s{n}.seg");
            put(&storage, "d", &file, Reason::Orphan, 1000 + n).expect("moves");
        }
        storage.put_new("d/quarantine/old.seg", &[7; 10]).expect("free");
        storage
    }

    fn left(storage: &dyn Storage) -> Vec<String> {
        storage.list("d/quarantine").expect("lists")
    }

    #[test]
    fn a_file_keeps_its_name_behind_time_and_reason() {
        let storage = filled();
        assert_eq!(left(&storage)[3], "00000000001003.orphan.s3.seg");
        assert_eq!(storage.list("d/segments").expect("lists"), [""; 0]);
        let stats = stats(&storage, "d").expect("counts");
        assert_eq!((stats.files, stats.bytes), (11, 110));
    }

    #[test]
    fn two_files_of_one_name_and_millisecond_are_both_kept() {
        let storage = filled();
        storage.put_new("d/segments/s0.seg", b"other").expect("free");
        put(&storage, "d", "segments/s0.seg", Reason::Orphan, 1000).expect("moves");
        assert_eq!(left(&storage).len(), 12);
    }

    #[test]
    fn names_too_long_for_another_directory_are_cut_in_front() {
        let (storage, long) = (MemoryStorage::default(), "x".repeat(251) + ".seg");
        storage.put_new(&format!("d/segments/{long}"), b"").expect("free");
        put(&storage, "d", &format!("segments/{long}"), Reason::Orphan, 5).expect("moves");
        assert!(left(&storage)[0].ends_with("xx.seg"));
    }

    #[test]
    fn the_oldest_go_when_they_are_too_old_too_many_or_too_much() {
        let bounds = |ms, files_max, bytes_max| Options {
            quarantine_ms: ms,
            quarantine_files_max: files_max,
            quarantine_bytes_max: bytes_max,
            ..Options::default()
        };
        let table = [
            (bounds(1000, 99, 999), 1010, 10, "00000000001000.orphan.s0.seg"),
            (bounds(5, 99, 999), 1010, 5, "00000000001005.orphan.s5.seg"),
            (bounds(1000, 3, 999), 1010, 3, "00000000001007.orphan.s7.seg"),
            (bounds(1000, 99, 45), 1010, 4, "00000000001006.orphan.s6.seg"),
            // The clock went back: nothing is too old.
            (bounds(5, 99, 999), 7, 10, "00000000001000.orphan.s0.seg"),
        ];
        for (options, now_ms, count, first) in table {
            let storage = filled();
            let removed = clean(&storage, "d", &options, now_ms).expect("removes");
            let kept = left(&storage);
            assert_eq!((kept.len(), removed), (count, 11 - count as u64), "{first}");
            assert!(count == 11 || kept[0] == first, "{kept:?}");
        }
    }
}
