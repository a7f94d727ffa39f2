//! `battery`: checks what every [`Storage`] must do; a new one passes it before it is used. Called by the
//! tests of each `Storage`: memory, directory, simulated disk, slots, and the paced storage of the server.
//!
//! Covers behaviour that can be seen while the power is on. What survives a power cut is tested on the
//! simulated disk, where power can be cut.

use std::sync::Arc;

use super::{LockMode, Storage};
use crate::error::{Error, ErrorKind, Fault, Result};

/// Larger than the bound above which files are mapped.
const LARGE_BYTES: usize = 300_000;

/// Runs every check, each on a fresh, empty storage from `make`.
///
/// # Panics
/// At the first broken promise.
pub fn battery(make: &dyn Fn() -> Arc<dyn Storage>) {
    let checks: [fn(&dyn Storage); 14] = [
        a_put_blob_reads_back_in_any_range,
        put_replaces_and_open_handles_keep_the_old_bytes,
        a_failing_fill_leaves_the_old_blob,
        put_new_never_replaces,
        appended_bytes_show_to_later_opens,
        list_is_sorted_flat_and_hides_the_rest,
        rename_moves_within_and_between_directories,
        link_makes_a_second_independent_name,
        remove_frees_the_name_and_forgives_a_missing_one,
        removing_durably_takes_the_named_files_only,
        bad_names_are_rejected_everywhere,
        a_name_is_a_file_or_a_directory_but_not_both,
        locks_exclude_and_name_their_holder,
        settle_keeps_what_is_there,
    ];
    for check in checks {
        check(&*make());
    }
}

fn a_put_blob_reads_back_in_any_range(storage: &dyn Storage) {
    for len in [0, 1, 63, 64, 4096, LARGE_BYTES] {
        let bytes = pattern(len);
        put(storage, "dir/blob", &bytes).expect("put");
        let blob = storage.open("dir/blob").expect("open");
        assert_eq!((blob.len(), blob.is_empty()), (len as u64, len == 0));
        for (start, end) in [(0, len), (len / 2, len), (len.min(64), len), (len, len), (0, 0)] {
            let read = blob.read(start as u64..end as u64).expect("within");
            assert!(read[..] == bytes[start..end], "{start}..{end} of {len}");
            let aligned = read.as_ptr().addr().is_multiple_of(64);
            assert!(aligned || !start.is_multiple_of(64), "range from {start} is not aligned");
        }
        let len = len as u64;
        #[expect(clippy::reversed_empty_ranges, reason = "one of the ranges that must be refused")]
        for range in [0..len + 1, len + 1..len + 1, u64::MAX - 1..u64::MAX, 1..0] {
            let error = blob.read(range.clone()).expect_err("outside");
            assert_eq!(error.kind(), ErrorKind::Corrupt, "{range:?} of {len}");
        }
    }
}

fn put_replaces_and_open_handles_keep_the_old_bytes(storage: &dyn Storage) {
    let (old, new) = (pattern(LARGE_BYTES), vec![7; LARGE_BYTES + 1]);
    put(storage, "blob", &old).expect("put");
    let before = storage.open("blob").expect("open");
    put(storage, "blob", &new).expect("replace");
    assert!(content(storage, "blob").expect("the new one") == new);
    storage.remove("blob").expect("remove");
    assert!(before.read(0..before.len()).expect("still readable")[..] == old);
}

fn a_failing_fill_leaves_the_old_blob(storage: &dyn Storage) {
    let fail = |name: &str| {
        storage.put(name, &mut |out| {
            out.write_all(&pattern(LARGE_BYTES)).map_err(|e| Error::io("write", name, e))?;
            Err(Error::invalid(Fault::Metadata, "changed my mind"))
        })
    };
    put(storage, "blob", b"old").expect("put");
    for name in ["blob", "none"] {
        let error = fail(name).expect_err("fill failed");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Metadata), "the fill's own error");
    }
    assert_eq!(content(storage, "blob").expect("the old one"), b"old");
    assert_eq!(kind(storage.open("none")), Some(ErrorKind::NotFound));
    assert_eq!(storage.list("").expect("list"), ["blob"], "no leftovers");
}

fn put_new_never_replaces(storage: &dyn Storage) {
    storage.put_new("m/manifest-1", b"first").expect("free");
    assert_eq!(kind(storage.put_new("m/manifest-1", b"second")), Some(ErrorKind::Conflict));
    assert_eq!(content(storage, "m/manifest-1").expect("open"), b"first");
    assert_eq!(storage.list("m").expect("list"), ["manifest-1"], "no leftovers");
}

fn appended_bytes_show_to_later_opens(storage: &dyn Storage) {
    let mut log = storage.append_new("wal/1").expect("free");
    assert_eq!(content(storage, "wal/1").expect("created at once"), b"");
    assert_eq!(kind(storage.append_new("wal/1").map(drop)), Some(ErrorKind::Conflict));
    log.write(b"one").expect("write");
    let early = storage.open("wal/1").expect("open");
    log.write(b"two").expect("write");
    log.sync().expect("sync");
    assert_eq!(content(storage, "wal/1").expect("open"), b"onetwo");
    assert_eq!(early.len(), 3, "a handle keeps the length it was opened with");
    storage.rename("wal/1", "archive/1").expect("rename");
    log.write(b"three").expect("the writer follows the file");
    assert_eq!(content(storage, "archive/1").expect("open"), b"onetwothree");
}

fn list_is_sorted_flat_and_hides_the_rest(storage: &dyn Storage) {
    assert_eq!(storage.list("missing").expect("empty"), [""; 0]);
    for name in ["b", "a-2", "a/x", "a/sub/deep", "B", "a-10", "a.b"] {
        storage.put_new(name, b"").expect("free");
    }
    assert_eq!(storage.list("").expect("list"), ["B", "a-10", "a-2", "a.b", "b"]);
    assert_eq!(storage.list("a").expect("list"), ["x"]);
    assert_eq!(storage.list("a/sub").expect("list"), ["deep"]);
    assert_eq!(storage.list("b").expect("a file holds nothing"), [""; 0]);
    assert_eq!(storage.directories("").expect("list"), ["a"]);
    assert_eq!(storage.directories("a").expect("list"), ["sub"]);
    for none in ["a/sub", "missing", "b"] {
        assert_eq!(storage.directories(none).expect("list"), [""; 0], "{none}");
    }
}

fn rename_moves_within_and_between_directories(storage: &dyn Storage) {
    for name in ["a/1", "a/2"] {
        storage.put_new(name, name.as_bytes()).expect("free");
    }
    assert_eq!(kind(storage.rename("a/none", "a/3")), Some(ErrorKind::NotFound));
    assert_eq!(kind(storage.rename("a/1", "a/2")), Some(ErrorKind::Conflict));
    assert_eq!(kind(storage.rename("a/1", "a/1")), Some(ErrorKind::Conflict));
    storage.rename("a/1", "a/3").expect("within");
    storage.rename("a/3", "new/place/1").expect("between, into a new directory");
    assert_eq!(content(storage, "new/place/1").expect("moved"), b"a/1");
    assert_eq!(storage.list("a").expect("list"), ["2"]);
}

fn link_makes_a_second_independent_name(storage: &dyn Storage) {
    storage.put_new("a/1", b"one").expect("free");
    assert_eq!(kind(storage.link("a/none", "b/2")), Some(ErrorKind::NotFound));
    storage.link("a/1", "b/c/1").expect("link");
    assert_eq!(kind(storage.link("a/1", "b/c/1")), Some(ErrorKind::Conflict));
    put(storage, "a/1", b"two").expect("replaces the name, not the bytes");
    assert_eq!(content(storage, "b/c/1").expect("open"), b"one");
    storage.remove("a/1").expect("remove");
    assert_eq!(content(storage, "b/c/1").expect("open"), b"one");
}

fn remove_frees_the_name_and_forgives_a_missing_one(storage: &dyn Storage) {
    storage.put_new("a/1", b"one").expect("free");
    storage.remove("a/1").expect("remove");
    assert_eq!(kind(storage.open("a/1")), Some(ErrorKind::NotFound));
    for missing in ["a/1", "none", "none/1"] {
        storage.remove(missing).expect("nothing to do");
    }
    storage.put_new("a/1", b"two").expect("free again");
    storage.remove("a/1/x").expect("a file holds nothing");
    assert_eq!(content(storage, "a/1").expect("open"), b"two");
}

fn removing_durably_takes_the_named_files_only(storage: &dyn Storage) {
    for name in ["d/a", "d/b", "d/c", "a"] {
        storage.put_new(name, b"").expect("free");
    }
    storage.remove_durably("d", &["a", "missing", "c"].map(str::to_owned)).expect("removed");
    storage.remove_durably("nowhere", &[]).expect("nothing to do");
    assert_eq!(storage.list("d").expect("list"), ["b"]);
    assert_eq!(storage.list("").expect("list"), ["a"]);
}

fn bad_names_are_rejected_everywhere(storage: &dyn Storage) {
    storage.put_new("good", b"").expect("free");
    for bad in ["", "/etc/x", "../x", "a/../../x", "a//b", "a/", ".tmp-1", "a b", "a\\b", "c:x"] {
        let outcomes = [
            storage.open(bad).map(drop),
            put(storage, bad, b""),
            storage.put_new(bad, b""),
            storage.append_new(bad).map(drop),
            storage.rename(bad, "x"),
            storage.rename("good", bad),
            storage.link(bad, "x"),
            storage.link("good", bad),
            storage.remove(bad),
            storage.lock(bad, LockMode::Shared, "").map(drop),
            if bad.is_empty() { storage.open(bad).map(drop) } else { storage.list(bad).map(drop) },
        ];
        for (number, outcome) in outcomes.into_iter().enumerate() {
            let expected = Some(ErrorKind::InvalidInput(Fault::Parameter));
            assert_eq!(kind(outcome), expected, "{bad:?}, call {number}");
        }
    }
    assert_eq!(storage.list("").expect("list"), ["good"]);
}

fn a_name_is_a_file_or_a_directory_but_not_both(storage: &dyn Storage) {
    storage.put_new("file", b"1").expect("free");
    storage.put_new("dir/x", b"2").expect("free");
    for (what, outcome) in [
        ("put below a file", put(storage, "file/x", b"")),
        ("put_new below a file", storage.put_new("file/x", b"")),
        ("append_new below a file", storage.append_new("file/x").map(drop)),
        ("link below a file", storage.link("dir/x", "file/x")),
        ("put over a directory", put(storage, "dir", b"")),
        ("put_new over a directory", storage.put_new("dir", b"")),
        ("rename over a directory", storage.rename("file", "dir")),
    ] {
        assert!(outcome.is_err(), "{what} must fail");
    }
    assert_eq!(kind(storage.open("file/x")), Some(ErrorKind::NotFound));
    assert_eq!(kind(storage.open("dir")), Some(ErrorKind::NotFound));
    assert_eq!(content(storage, "file").expect("open"), b"1");
    assert_eq!(content(storage, "dir/x").expect("open"), b"2");
}

fn locks_exclude_and_name_their_holder(storage: &dyn Storage) {
    let attempt = |name: &str, mode| storage.lock(name, mode, "serve-v2 pid 4711\nsecond line");
    let writer = attempt("locks/w", LockMode::Exclusive).expect("free");
    for mode in [LockMode::Exclusive, LockMode::Shared] {
        let error = attempt("locks/w", mode).expect_err("held");
        assert_eq!(error.kind(), ErrorKind::Locked);
        assert!(error.message().contains("serve-v2"), "{error}");
        assert!(!error.message().contains("second line"), "{error}");
        assert_eq!(error.detail("pid").and_then(serde_json::Value::as_u64), Some(4711), "{error}");
    }
    let _other_name = attempt("locks/other", LockMode::Exclusive).expect("free");
    drop(writer);
    let readers = [LockMode::Shared; 2].map(|mode| attempt("locks/w", mode).expect("shared"));
    for reader in readers {
        assert_eq!(kind(attempt("locks/w", LockMode::Exclusive)), Some(ErrorKind::Locked));
        drop(reader);
    }
    attempt("locks/w", LockMode::Exclusive).expect("all readers are gone");
}

fn settle_keeps_what_is_there(storage: &dyn Storage) {
    storage.put_new("a/b/1", b"one").expect("free");
    for dir in ["", "a", "missing"] {
        assert_eq!(storage.settle(dir).expect("settle"), 0, "nothing is left over in {dir:?}");
    }
    assert_eq!(content(storage, "a/b/1").expect("open"), b"one");
}

fn put(storage: &dyn Storage, name: &str, bytes: &[u8]) -> Result<()> {
    storage.put(name, &mut |out| {
        // In pieces, as real writers do.
        bytes
            .chunks(1000)
            .try_for_each(|chunk| out.write_all(chunk))
            .map_err(|e| Error::io("write", name, e))
    })
}

fn content(storage: &dyn Storage, name: &str) -> Result<Vec<u8>> {
    let blob = storage.open(name)?;
    Ok(blob.read(0..blob.len())?.to_vec())
}

fn kind<T>(outcome: Result<T>) -> Option<ErrorKind> {
    outcome.err().map(|error| error.kind())
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i ^ (i >> 8)) as u8).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::{Directory, MemoryStorage, SimDisk};

    #[test]
    fn memory_passes_the_battery() {
        battery(&|| Arc::new(MemoryStorage::new()));
    }

    #[test]
    fn a_directory_on_a_simulated_disk_passes_the_battery() {
        battery(&|| Arc::new(Directory::new(SimDisk::new(1))));
    }

    #[test]
    fn a_directory_on_a_disk_without_hard_links_passes_the_battery() {
        battery(&|| {
            let disk = SimDisk::new(1);
            disk.refuse_hard_links();
            Arc::new(Directory::new(disk))
        });
    }

    #[cfg(feature = "fs")]
    #[test]
    fn a_directory_of_the_system_passes_the_battery() {
        let root = tempfile::tempdir().unwrap();
        let made = std::cell::Cell::new(0);
        battery(&|| {
            made.set(made.get() + 1);
            let path = root.path().join(made.get().to_string());
            Arc::new(crate::storage::open_directory(path).unwrap())
        });
    }
}
