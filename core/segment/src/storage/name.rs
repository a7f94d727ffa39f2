//! What a blob may be called, the same on every storage, so that a directory copied to another system opens
//! there. Entry: `check` (name → `Ok`, or `InvalidInput`), called by every `Storage` before a name is used.
//!
//! A name is a relative path of parts joined by `/`. Each part has 1 to 255 of the characters `A-Z a-z 0-9 . _ -`,
//! does not end with a dot (so neither `.` nor `..` can occur) and does not start with `.tmp-`, which belongs to
//! unfinished writes. Names never come from users: those are mapped to ids before they get here.

use crate::error::{Error, Fault, Result, shown};

/// Start of the names of unfinished writes.
pub(super) const TEMPORARY_PREFIX: &str = ".tmp-";
const PART_BYTES_MAX: usize = 255;
const NAME_BYTES_MAX: usize = 1024;

/// Checks the name of a file.
///
/// # Errors
/// `InvalidInput(Parameter)` saying what a name may be.
pub(super) fn check(name: &str) -> Result<()> {
    if name.len() <= NAME_BYTES_MAX && name.split('/').all(is_part) {
        return Ok(());
    }
    let start = shown(name);
    let expected = "a relative path of parts made of letters, digits, '.', '_' and '-'";
    Err(Error::invalid(
        Fault::Parameter,
        format!("{start:?} cannot name a file: expected {expected}"),
    )
    .with("expected", expected)
    .with("got", start))
}

/// Checks the name of a directory; the empty name is the root.
///
/// # Errors
/// As [`check`].
pub(super) fn check_directory(name: &str) -> Result<()> {
    if name.is_empty() { Ok(()) } else { check(name) }
}

/// Whether `part` can stand between two slashes.
pub(super) fn is_part(part: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=PART_BYTES_MAX).contains(&part.len())
        && part.bytes().all(allowed)
        && !part.ends_with('.')
        && !part.starts_with(TEMPORARY_PREFIX)
}

/// Whether `part` is the name of an unfinished write of ours: nothing but digits after the prefix.
pub(super) fn is_temporary(part: &str) -> bool {
    let number = part.strip_prefix(TEMPORARY_PREFIX).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|byte| byte.is_ascii_digit())
}

/// The directory of a file or directory; empty for one directly in the root.
pub(super) fn parent(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(directory, _)| directory)
}

/// The name of `part` in `directory`, which is empty for the root.
pub fn join(directory: &str, part: &str) -> String {
    if directory.is_empty() { part.to_owned() } else { format!("{directory}/{part}") }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::ErrorKind;

    #[test]
    fn names_that_leave_the_directory_or_the_alphabet_are_rejected() {
        let long_part = "x".repeat(256);
        let long_name = vec!["abcdefg"; 129].join("/");
        let bad = [
            "", "/", "/a", "a/", "a//b", ".", "..", "../a", "a/../b", "a/.", "a\\b", "c:", "a b",
            "a\0", "é", ".tmp-1", "a/.tmp-x", "dot.", &long_part, &long_name,
        ];
        for name in bad {
            let error = check(name).expect_err(name);
            assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{name:?}");
        }
        for name in ["a", "segments/0a1b.seg", "c/1-2_3/manifest-7", ".hidden", "A..b"] {
            check(name).expect(name);
        }
    }
}
