//! Suggestions for misspelled names: `near_names` returns the known names within a small edit distance, and
//! `check_fields` refuses a filter on an unknown field with such a suggestion. Used by `json`, `View`, the database
//! (collections) and the catalog (keys).

use std::collections::BTreeSet;

use super::ast::Filter;
use crate::error::{Error, Fault, Result, SHOWN_CHARS_MAX, shown};
use crate::payload::FieldPath;

/// Fields that are known before any row has them.
const ALWAYS_KNOWN: [&str; 3] = ["tags", "entity_id", "sequence_ts"];

impl Filter {
    /// Refuses a filter that asks for the values of a field that is not known: most likely a misspelled name, and it
    /// would silently keep no row (or with `ne` every row). `names` are the known ones, for suggestions.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` with `got` (the field) and `near`.
    pub fn check_fields<'a>(
        &self,
        is_known: impl Fn(&FieldPath) -> bool,
        names: impl Iterator<Item = &'a str>,
    ) -> Result<()> {
        let passes = |path: &FieldPath| ALWAYS_KNOWN.contains(&path.as_str()) || is_known(path);
        let Some(field) = self.fields().into_iter().find(|path| !passes(path)) else {
            return Ok(());
        };
        let known: BTreeSet<&str> = names.chain(ALWAYS_KNOWN).collect();
        let near = near_names(field.as_str(), known);
        let field = shown(field.as_str());
        let hint = match near.first() {
            Some(near) => format!("; did you mean {:?}?", shown(near)),
            None => String::new(),
        };
        let message = format!("filter: no row has a field {field:?}{hint}");
        Err(Error::invalid(Fault::Filter, message)
            .with("expected", "a field that some row has")
            .with("got", field.as_ref())
            .with("near", near))
    }
}

/// Up to three of `known` that are near `name`, best first: equal but for case, its start or
/// its continuation, or few edits away (a third of the name's length, at least one, at most three). Only the
/// first [`SHOWN_CHARS_MAX`] characters of `name` count.
pub fn near_names<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let start: String = name.chars().take(SHOWN_CHARS_MAX).collect();
    let wanted = start.to_lowercase();
    let edits_max = (wanted.chars().count() / 3).clamp(1, 3);
    let mut near: Vec<(usize, &str)> = known
        .into_iter()
        .filter(|candidate| *candidate != name)
        .filter_map(|candidate| {
            let lower = candidate.to_lowercase();
            let is_prefix = wanted.len() >= 2 && lower.starts_with(&wanted)
                || lower.len() * 2 >= wanted.len() && wanted.starts_with(&lower);
            // Names whose lengths differ by more are not compared element by element.
            let is_close = wanted.len().abs_diff(lower.len()) <= 4 * edits_max;
            if !is_prefix && !is_close {
                return None;
            }
            let distance = edits(&wanted, &lower);
            (distance <= edits_max || is_prefix).then_some((distance, candidate))
        })
        .collect();
    near.sort_unstable();
    near.dedup();
    near.into_iter().take(3).map(|(_, candidate)| candidate.to_owned()).collect()
}

/// Edit distance where a swap of neighbours counts one (optimal string alignment). O(a × b); both are
/// cut to 64 characters.
fn edits(a: &str, b: &str) -> usize {
    let a: Vec<char> = a.chars().take(64).collect();
    let b: Vec<char> = b.chars().take(64).collect();
    let mut before_last: Vec<usize> = vec![0; b.len() + 1];
    let mut last: Vec<usize> = (0..=b.len()).collect();
    for i in 1..=a.len() {
        let mut row = vec![i; b.len() + 1];
        for j in 1..=b.len() {
            let replaced = last[j - 1] + usize::from(a[i - 1] != b[j - 1]);
            row[j] = replaced.min(last[j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                row[j] = row[j].min(before_last[j - 2] + 1);
            }
        }
        before_last = last;
        last = row;
    }
    last[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_swap_a_slip_another_case_and_a_prefix_are_near() {
        let known = ["price", "category", "tags", "Title", "entity_id"];
        for (name, expected) in [
            ("prcie", "price"),
            ("cat", "category"),
            ("tag", "tags"),
            ("title", "Title"),
            ("entityid", "entity_id"),
        ] {
            assert_eq!(near_names(name, known), [expected], "{name}");
        }
        assert!(near_names("zzz", known).is_empty());
        assert!(near_names("price", known).is_empty(), "the name itself is no suggestion");
    }

    #[test]
    fn edits_count_insertions_deletions_replacements_and_swaps() {
        for (a, b, expected) in
            [("", "", 0), ("", "ab", 2), ("ab", "ba", 1), ("kitten", "sitting", 3), ("a", "a", 0)]
        {
            assert_eq!(edits(a, b), expected, "{a} {b}");
            assert_eq!(edits(b, a), expected, "{b} {a}");
        }
    }
}
