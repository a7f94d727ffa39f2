//! Evaluates a filter over the metadata of one segment, column by column.
//!
//! Entry: `eval_within`, called by `search::prepare` and by `View` (count, delete by filter). The result is a
//! `RowSet`. Also here: `reads_texts`, by which the server estimates the cost of a filter.
//!
//! Each test is one pass over one column of each type its operand can equal. What has no column (paths
//! beyond the limit, long strings) is looked up in the texts, and only in rows that are still candidates:
//! inside an `and` the tests that need texts come last.

use std::borrow::Cow;

use super::ast::{Filter, Operand};
use super::probe::{self, Test};
use crate::cancel::{self, GoOn, never_cancelled};
use crate::error::Result;
use crate::payload::{
    ColumnKind, Comparison, Field, FieldPath, KEY_BYTES_MAX, Number, Payload, TAGS, normalize_tag,
};
use crate::rowset::RowSet;

/// The rows `filter` keeps. O(rows) a test, a few nanoseconds per 64 rows for small integers.
///
/// # Errors
/// `InvalidInput(Filter)` above the limits of [`Filter::check_limits`]; `Corrupt` if the metadata is
/// damaged; `NotFound` if a text is needed that was not opened.
pub fn eval(filter: &Filter, payload: &Payload) -> Result<RowSet> {
    eval_within(filter, payload, &RowSet::full(payload.rows()), &never_cancelled)
}

/// The rows of `candidates` that `filter` keeps: cheaper than [`eval`] where texts must be read. `go_on` is
/// checked before each test, and while texts are read every thousand rows.
///
/// # Errors
/// As [`eval`]; `Cancelled` if `go_on` ends it.
///
/// # Panics
/// If `candidates` is over another number of rows.
pub fn eval_within(
    filter: &Filter,
    payload: &Payload,
    candidates: &RowSet,
    go_on: GoOn<'_>,
) -> Result<RowSet> {
    assert_eq!(candidates.len(), payload.rows(), "a set over the rows of the segment");
    filter.check_limits()?;
    let mut rows = Evaluation { payload, go_on }.node(filter, candidates)?;
    rows.and_with(candidates);
    Ok(rows)
}

/// One evaluation. Its results are right for the rows of `within`; of other rows they say nothing.
struct Evaluation<'a> {
    payload: &'a Payload,
    go_on: GoOn<'a>,
}

impl Evaluation<'_> {
    fn node(&self, filter: &Filter, within: &RowSet) -> Result<RowSet> {
        match filter {
            Filter::MatchAll => Ok(RowSet::full(self.payload.rows())),
            Filter::And(filters) => self.and(filters, within),
            Filter::Or(filters) => self.or(filters, within),
            Filter::Not(filter) => {
                let mut rows = self.node(filter, within)?;
                rows.not();
                Ok(rows)
            }
            Filter::Compare(path, comparison, operand) => {
                let operand = normalized(path, operand);
                self.leaf(path, &Test::Compare(*comparison, &operand), within)
            }
            Filter::In(path, operands) => {
                let operands: Vec<Operand> =
                    operands.iter().map(|operand| normalized(path, operand).into_owned()).collect();
                self.leaf(path, &Test::In(&operands), within)
            }
            Filter::Exists(path) => self.leaf(path, &Test::Exists, within),
            Filter::IsEmpty(path) => self.leaf(path, &Test::IsEmpty, within),
        }
    }

    /// Tests that read texts come last and see only the rows that are still candidates.
    fn and(&self, filters: &[Filter], within: &RowSet) -> Result<RowSet> {
        let (slow, fast): (Vec<&Filter>, Vec<&Filter>) =
            filters.iter().partition(|filter| reads_texts(filter, self.payload));
        let mut rows = within.clone();
        for filter in fast.into_iter().chain(slow) {
            rows.and_with(&self.node(filter, &rows)?);
            if rows.is_empty() {
                break;
            }
        }
        Ok(rows)
    }

    /// Each filter sees only the rows that no filter before it has kept.
    fn or(&self, filters: &[Filter], within: &RowSet) -> Result<RowSet> {
        let mut rows = RowSet::empty(self.payload.rows());
        let mut left = within.clone();
        for filter in filters {
            rows.or_with(&self.node(filter, &left)?);
            left.and_not(&rows);
            if left.is_empty() {
                break;
            }
        }
        Ok(rows)
    }

    fn leaf(&self, path: &FieldPath, test: &Test<'_>, within: &RowSet) -> Result<RowSet> {
        cancel::check(self.go_on)?;
        let payload = self.payload;
        let Some(field) = payload.field(path) else {
            return if payload.is_complete() {
                Ok(RowSet::empty(payload.rows()))
            } else {
                probe::scan(payload, path, test, within, self.go_on)
            };
        };
        let mut rows = match test {
            Test::Compare(comparison, operand) => {
                compare(&field, *comparison, operand, payload.rows())?
            }
            Test::In(operands) => one_of(&field, operands, payload.rows())?,
            Test::Exists => field.exists()?,
            Test::IsEmpty => field.empty()?,
        };
        if field.has_long() && may_match_long(test) {
            let mut long = field.long()?;
            long.and_with(within);
            rows.or_with(&probe::scan(payload, path, test, &long, self.go_on)?);
        }
        Ok(rows)
    }
}

/// The operand as values of the field are compared: tags are trimmed and in lower case.
pub(crate) fn normalized<'a>(path: &FieldPath, operand: &'a Operand) -> Cow<'a, Operand> {
    match operand {
        Operand::Text(text) if path.as_str() == TAGS => {
            Cow::Owned(Operand::Text(normalize_tag(text)))
        }
        Operand::Null | Operand::Bool(_) | Operand::Number(_) | Operand::Text(_) => {
            Cow::Borrowed(operand)
        }
    }
}

fn compare(
    field: &Field<'_>,
    comparison: Comparison,
    operand: &Operand,
    rows: u32,
) -> Result<RowSet> {
    let mut found = RowSet::empty(rows);
    match operand {
        Operand::Null if comparison == Comparison::Eq => return field.null(),
        Operand::Bool(value) if comparison == Comparison::Eq => {
            if let Some(column) = field.column(ColumnKind::Bool)? {
                column.select_bool(*value, &mut found);
            }
        }
        Operand::Null | Operand::Bool(_) => {}
        Operand::Number(number) => {
            for kind in [ColumnKind::Int, ColumnKind::Uint, ColumnKind::Float] {
                if let Some(column) = field.column(kind)? {
                    column.select_numbers(comparison, *number, &mut found);
                }
            }
        }
        Operand::Text(text) => {
            if let Some(column) = field.column(ColumnKind::Keyword)? {
                column.select_texts(comparison, text, &mut found);
            }
        }
    }
    Ok(found)
}

fn one_of(field: &Field<'_>, operands: &[Operand], rows: u32) -> Result<RowSet> {
    let mut found = RowSet::empty(rows);
    let mut numbers: Vec<Number> = Vec::new();
    let mut texts: Vec<&str> = Vec::new();
    for operand in operands {
        match operand {
            Operand::Number(number) => numbers.push(*number),
            Operand::Text(text) => texts.push(text),
            Operand::Null | Operand::Bool(_) => {}
        }
    }
    for kind in [ColumnKind::Int, ColumnKind::Uint, ColumnKind::Float] {
        if let (false, Some(column)) = (numbers.is_empty(), field.column(kind)?) {
            column.select_any_number(&numbers, &mut found);
        }
    }
    if let (false, Some(column)) = (texts.is_empty(), field.column(ColumnKind::Keyword)?) {
        column.select_any_text(&texts, &mut found);
    }
    for operand in [Operand::Null, Operand::Bool(false), Operand::Bool(true)] {
        if operands.contains(&operand) {
            found.or_with(&compare(field, Comparison::Eq, &operand, rows)?);
        }
    }
    Ok(found)
}

/// True if evaluating may read the texts of rows, which takes a thousand times longer than a column.
pub fn reads_texts(filter: &Filter, payload: &Payload) -> bool {
    let reads = |path: &FieldPath, test: &Test<'_>| match payload.field(path) {
        Some(field) => field.has_long() && may_match_long(test),
        None => !payload.is_complete(),
    };
    match filter {
        Filter::MatchAll => false,
        Filter::And(filters) | Filter::Or(filters) => {
            filters.iter().any(|filter| reads_texts(filter, payload))
        }
        Filter::Not(filter) => reads_texts(filter, payload),
        Filter::Compare(path, comparison, operand) => {
            reads(path, &Test::Compare(*comparison, operand))
        }
        Filter::In(path, operands) => reads(path, &Test::In(operands)),
        Filter::Exists(path) => reads(path, &Test::Exists),
        Filter::IsEmpty(path) => reads(path, &Test::IsEmpty),
    }
}

/// True if a string too long for a column could pass: it equals only operands as long as itself.
fn may_match_long(test: &Test<'_>) -> bool {
    let is_long = |operand: &Operand| match operand {
        Operand::Text(text) => text.len() > KEY_BYTES_MAX,
        Operand::Null | Operand::Bool(_) | Operand::Number(_) => false,
    };
    match test {
        Test::Compare(Comparison::Eq, operand) => is_long(operand),
        Test::Compare(
            Comparison::Lt | Comparison::Lte | Comparison::Gt | Comparison::Gte,
            operand,
        ) => matches!(operand, Operand::Text(_)),
        Test::In(operands) => operands.iter().any(is_long),
        Test::Exists | Test::IsEmpty => false,
    }
}
