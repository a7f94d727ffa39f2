//! Evaluates one test of a filter (`Test`) by reading the JSON texts of rows, for values that have no column: correct
//! and slow. Called by `eval`.

use super::wanted::Wanted;
use crate::cancel::{self, GoOn};
use crate::error::{Error, Result};
use crate::ids::RowId;
use crate::payload::{Comparison, FieldPath, Number, Payload, Scalar, Sink, parse_instant, walk};
use crate::rowset::RowSet;

/// Texts read between two checks whether to go on: about a millisecond.
const CHECKED_ROWS: usize = 1024;

/// A test of the values at a path.
#[derive(Debug)]
pub(super) enum Test<'a> {
    Compare(Comparison, &'a Wanted<'a>),
    In(&'a [Wanted<'a>]),
    Exists,
    IsEmpty,
}

/// The rows of `candidates` whose text has something at `path` that passes `test`.
///
/// # Errors
/// `Corrupt` if a text is damaged; `NotFound` if the texts were not opened; `Cancelled`.
pub(super) fn scan(
    payload: &Payload,
    path: &FieldPath,
    test: &Test<'_>,
    candidates: &RowSet,
    go_on: GoOn<'_>,
) -> Result<RowSet> {
    let lists = match test {
        Test::In(wanted) => Lists::of(wanted),
        Test::Compare(_, _) | Test::Exists | Test::IsEmpty => Lists::default(),
    };
    if !candidates.is_empty() {
        payload.load_texts()?;
    }
    let mut found = RowSet::empty(payload.rows());
    let mut probe = Probe { keys: path.keys(), test, lists, matches: false };
    for (index, row) in candidates.iter().enumerate() {
        if index.is_multiple_of(CHECKED_ROWS) {
            cancel::check(go_on)?;
        }
        let Some(json) = payload.json(row)? else { continue };
        probe.matches = false;
        walk(&json, row.index(), &mut probe).map_err(|error| damaged(row, &error))?;
        if probe.matches {
            found.insert(row);
        }
    }
    Ok(found)
}

/// A text that was checked when it was written and no longer passes.
fn damaged(row: RowId, error: &Error) -> Error {
    Error::corrupt("metadata texts", format!("text of row {}", row.0), error)
}

/// Follows one path only: node `n` is the place reached by the first `n` keys.
struct Probe<'a> {
    keys: Vec<String>,
    test: &'a Test<'a>,
    lists: Lists<'a>,
    matches: bool,
}

/// The operands of an `in`, sorted by type for searching.
#[derive(Default)]
struct Lists<'a> {
    numbers: Vec<Number>,
    texts: Vec<&'a str>,
    instants: Vec<i64>,
}

impl<'a> Lists<'a> {
    fn of(wanted: &'a [Wanted<'a>]) -> Self {
        let mut lists = Lists::default();
        for wanted in wanted {
            match wanted {
                Wanted::Number(number) => lists.numbers.push(*number),
                Wanted::Text(text) => lists.texts.push(text),
                Wanted::Datetime(instant) => lists.instants.push(*instant),
                Wanted::Null | Wanted::Bool(_) => {}
            }
        }
        lists.numbers.sort_unstable();
        lists.texts.sort_unstable();
        lists.instants.sort_unstable();
        lists
    }
}

impl Probe<'_> {
    fn is_target(&self, node: u32) -> bool {
        node as usize == self.keys.len()
    }

    fn accepts(&self, value: Scalar<'_>) -> bool {
        match self.test {
            Test::Compare(comparison, wanted) => match (value, wanted) {
                (Scalar::Number(value), Wanted::Number(wanted)) => {
                    comparison.accepts(value.cmp(wanted))
                }
                (Scalar::Text(value), Wanted::Text(wanted)) => {
                    comparison.accepts(value.as_bytes().cmp(wanted.as_bytes()))
                }
                (Scalar::Text(value), Wanted::Datetime(wanted)) => {
                    parse_instant(value).is_some_and(|value| comparison.accepts(value.cmp(wanted)))
                }
                (Scalar::Bool(value), Wanted::Bool(wanted)) => {
                    *comparison == Comparison::Eq && value == *wanted
                }
                (Scalar::Number(_) | Scalar::Text(_) | Scalar::Bool(_), _) => false,
            },
            Test::In(wanted) => match value {
                Scalar::Number(value) => self.lists.numbers.binary_search(&value).is_ok(),
                Scalar::Text(value) => {
                    let is_wanted = |value| self.lists.instants.binary_search(&value).is_ok();
                    self.lists.texts.binary_search(&value).is_ok()
                        || !self.lists.instants.is_empty()
                            && parse_instant(value).is_some_and(is_wanted)
                }
                Scalar::Bool(value) => wanted.contains(&Wanted::Bool(value)),
            },
            Test::Exists | Test::IsEmpty => false,
        }
    }
}

impl Sink for Probe<'_> {
    fn child(&mut self, parent: u32, key: &str) -> Option<u32> {
        let is_next = self.keys.get(parent as usize).is_some_and(|next| next == key);
        is_next.then_some(parent + 1)
    }

    fn exists(&mut self, node: u32) {
        self.matches |= self.is_target(node) && matches!(self.test, Test::Exists);
    }

    fn null(&mut self, node: u32) {
        let is_wanted = match self.test {
            Test::Compare(comparison, wanted) => {
                *comparison == Comparison::Eq && **wanted == Wanted::Null
            }
            Test::In(wanted) => wanted.contains(&Wanted::Null),
            Test::Exists | Test::IsEmpty => false,
        };
        self.matches |= is_wanted && self.is_target(node);
    }

    fn empty(&mut self, node: u32) {
        self.matches |= self.is_target(node) && matches!(self.test, Test::IsEmpty);
    }

    fn value(&mut self, node: u32, value: Scalar<'_>) {
        self.matches |= self.is_target(node) && self.accepts(value);
    }
}
