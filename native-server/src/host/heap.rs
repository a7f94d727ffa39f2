//! The heap of this process: freed memory goes back to the system. `set_up` is called once at start, `trim`
//! and `anonymous_bytes` by the thread of `workers::trimming`.
//!
//! The allocator of glibc keeps what was freed for later: it raises the size from which blocks are mapped by
//! themselves up to 32 MiB, and blocks below it stay in the arenas. Here the size is fixed, so that bodies, answers and
//! merges go back as soon as they are freed, and the rest is given back on request.

/// Blocks of this size and more are mapped by themselves, and go back to the system when they are freed.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const MAPPED_BYTES_MIN: i32 = 1 << 20;
/// Arenas: each keeps some free memory, and threads of searches and writes share them well.
#[cfg(all(target_os = "linux", target_env = "gnu"))]
const ARENAS_MAX: i32 = 4;

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod glibc {
    pub(super) const M_TRIM_THRESHOLD: i32 = -1;
    pub(super) const M_MMAP_THRESHOLD: i32 = -3;
    pub(super) const M_ARENA_MAX: i32 = -8;

    // SAFETY: the signatures are those of <malloc.h>. Both take plain numbers and any values of them; they are
    // needed because no safe crate offers them, and 2 GB stay resident without them.
    unsafe extern "C" {
        pub(super) safe fn mallopt(parameter: i32, value: i32) -> i32;
        pub(super) safe fn malloc_trim(kept_bytes: usize) -> i32;
    }
}

/// Sets the allocator up for a server. Call it before threads are started.
pub(crate) fn set_up() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    for (parameter, value) in [
        (glibc::M_MMAP_THRESHOLD, MAPPED_BYTES_MIN),
        (glibc::M_TRIM_THRESHOLD, MAPPED_BYTES_MIN),
        (glibc::M_ARENA_MAX, ARENAS_MAX),
    ] {
        // A refusal leaves the default, which is slower to give memory back and nothing worse.
        let _accepted = glibc::mallopt(parameter, value);
    }
}

/// Gives free memory back to the system. Takes milliseconds for a heap of gigabytes.
pub(crate) fn trim() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    let _some_was_freed = glibc::malloc_trim(0);
}

/// Bytes of memory of this process that no file backs; `None` where the system does not say.
pub(crate) fn anonymous_bytes() -> Option<u64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("RssAnon:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_that_is_taken_is_seen() {
        let before = anonymous_bytes().expect("Linux says it");
        let taken = std::hint::black_box(vec![1_u8; 64 << 20]);
        let after = anonymous_bytes().expect("Linux says it");
        assert!(after >= before + (32 << 20), "{before} and {after} with {}", taken.len());
        drop(taken);
        trim();
    }
}
