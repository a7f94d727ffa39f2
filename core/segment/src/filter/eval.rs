//! Evaluates a filter over the metadata of one segment, column by column. Entry: `eval_within` (filter,
//! payload, candidate rows → `RowSet`), called by `search::prepare` and by `View` (count, delete by filter).
//! Also here: `reads_texts`, by which the server estimates the cost of a filter.
//!
//! Each test is one pass over one column of each type its operand can equal. What has no column (paths
//! beyond the limit, long strings) is looked up in the texts, and only in rows that are still candidates:
//! inside an `and` the tests that need texts come last.

use super::ast::Filter;
use super::probe::{self, Test};
use super::wanted::Wanted;
use crate::cancel::{self, GoOn, never_cancelled};
use crate::error::Result;
use crate::kinds::FieldKinds;
use crate::payload::{ColumnKind, Comparison, Field, FieldPath, Number, Payload};
use crate::rowset::RowSet;

/// The rows `filter` keeps. `kinds` are the declared fields of the collection. O(rows) a test, a few nanoseconds per 64
/// rows for small integers.
///
/// # Errors
/// `InvalidInput(Filter)` above the limits of [`Filter::check_limits`]; `Corrupt` if the metadata is
/// damaged; `NotFound` if a text is needed that was not opened.
pub fn eval(filter: &Filter, payload: &Payload, kinds: &FieldKinds) -> Result<RowSet> {
    eval_within(filter, payload, kinds, &RowSet::full(payload.rows()), &never_cancelled)
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
    kinds: &FieldKinds,
    candidates: &RowSet,
    go_on: GoOn<'_>,
) -> Result<RowSet> {
    assert_eq!(candidates.len(), payload.rows(), "a set over the rows of the segment");
    filter.check_limits()?;
    let mut rows = Evaluation { payload, kinds, go_on }.node(filter, candidates)?;
    rows.and_with(candidates);
    Ok(rows)
}

/// One evaluation. Its results are right for the rows of `within`; of other rows they say nothing.
struct Evaluation<'a> {
    payload: &'a Payload,
    kinds: &'a FieldKinds,
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
                let wanted = Wanted::of(path, operand, self.kinds);
                self.leaf(path, &Test::Compare(*comparison, &wanted), within)
            }
            Filter::In(path, operands) => {
                let wanted: Vec<Wanted<'_>> =
                    operands.iter().map(|operand| Wanted::of(path, operand, self.kinds)).collect();
                self.leaf(path, &Test::In(&wanted), within)
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
            Test::Compare(comparison, wanted) => {
                compare(&field, *comparison, wanted, payload.rows())?
            }
            Test::In(wanted) => one_of(&field, wanted, payload.rows())?,
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

fn compare(
    field: &Field<'_>,
    comparison: Comparison,
    wanted: &Wanted<'_>,
    rows: u32,
) -> Result<RowSet> {
    let mut found = RowSet::empty(rows);
    match wanted {
        Wanted::Null if comparison == Comparison::Eq => return field.null(),
        Wanted::Bool(value) if comparison == Comparison::Eq => {
            if let Some(column) = field.column(ColumnKind::Bool)? {
                column.select_bool(*value, &mut found);
            }
        }
        Wanted::Null | Wanted::Bool(_) => {}
        Wanted::Number(number) => {
            for kind in [ColumnKind::Int, ColumnKind::Uint, ColumnKind::Float] {
                if let Some(column) = field.column(kind)? {
                    column.select_numbers(comparison, *number, &mut found);
                }
            }
        }
        Wanted::Text(text) => {
            if let Some(column) = field.column(ColumnKind::Keyword)? {
                column.select_texts(comparison, text, &mut found);
            }
        }
        Wanted::Datetime(instant) => {
            if let Some(column) = field.column(ColumnKind::Datetime)? {
                column.select_numbers(comparison, Number::Int(*instant), &mut found);
            }
            // Dates are strings in segments that were built before the field was declared.
            if let Some(column) = field.column(ColumnKind::Keyword)? {
                column.select_dates(|value| comparison.accepts(value.cmp(instant)), &mut found);
            }
        }
    }
    Ok(found)
}

fn one_of(field: &Field<'_>, wanted: &[Wanted<'_>], rows: u32) -> Result<RowSet> {
    let mut found = RowSet::empty(rows);
    let mut numbers: Vec<Number> = Vec::new();
    let mut texts: Vec<&str> = Vec::new();
    let mut instants: Vec<i64> = Vec::new();
    for wanted in wanted {
        match wanted {
            Wanted::Number(number) => numbers.push(*number),
            Wanted::Text(text) => texts.push(text),
            Wanted::Datetime(instant) => instants.push(*instant),
            Wanted::Null | Wanted::Bool(_) => {}
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
    if !instants.is_empty() {
        select_any_instant(field, instants, &mut found)?;
    }
    for wanted_once in [Wanted::Null, Wanted::Bool(false), Wanted::Bool(true)] {
        if wanted.contains(&wanted_once) {
            found.or_with(&compare(field, Comparison::Eq, &wanted_once, rows)?);
        }
    }
    Ok(found)
}

fn select_any_instant(field: &Field<'_>, mut instants: Vec<i64>, out: &mut RowSet) -> Result<()> {
    instants.sort_unstable();
    if let Some(column) = field.column(ColumnKind::Datetime)? {
        let numbers: Vec<Number> = instants.iter().copied().map(Number::Int).collect();
        column.select_any_number(&numbers, out);
    }
    if let Some(column) = field.column(ColumnKind::Keyword)? {
        column.select_dates(|value| instants.binary_search(&value).is_ok(), out);
    }
    Ok(())
}

/// True if evaluating may read the texts of rows, which takes a thousand times longer than a column. Dates of declared
/// fields count as the strings they are.
pub fn reads_texts(filter: &Filter, payload: &Payload) -> bool {
    let none = FieldKinds::NONE;
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
            let wanted = Wanted::of(path, operand, &none);
            reads(path, &Test::Compare(*comparison, &wanted))
        }
        Filter::In(path, operands) => {
            let wanted: Vec<Wanted<'_>> =
                operands.iter().map(|operand| Wanted::of(path, operand, &none)).collect();
            reads(path, &Test::In(&wanted))
        }
        Filter::Exists(path) => reads(path, &Test::Exists),
        Filter::IsEmpty(path) => reads(path, &Test::IsEmpty),
    }
}

fn may_match_long(test: &Test<'_>) -> bool {
    match test {
        Test::Compare(comparison, wanted) => wanted.may_match_long(*comparison),
        Test::In(wanted) => wanted.iter().any(|wanted| wanted.may_match_long(Comparison::Eq)),
        Test::Exists | Test::IsEmpty => false,
    }
}
