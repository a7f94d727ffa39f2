//! `Wanted::of` (path, operand, declared kinds → the value to compare with): tags trimmed and in lower case, dates as
//! instants. Used by `eval`, `probe` and `stats`. `Filter::check_kinds`, called by `KnownFields::check`, refuses
//! operands that a declared field does not take.

use std::borrow::Cow;

use super::ast::{Filter, Operand};
use crate::error::{Error, Fault, Result, shown};
use crate::kinds::{FieldKind, FieldKinds};
use crate::payload::{
    Comparison, DATE_EXPECTED, FieldPath, KEY_BYTES_MAX, Number, Scalar, TAGS, normalize_tag,
    parse_instant,
};

/// What values are compared to.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Wanted<'a> {
    Null,
    Bool(bool),
    Number(Number),
    Text(Cow<'a, str>),
    /// Microseconds since 1970.
    Datetime(i64),
}

impl<'a> Wanted<'a> {
    pub(crate) fn of(path: &FieldPath, operand: &'a Operand, kinds: &FieldKinds) -> Self {
        match operand {
            Operand::Null => Wanted::Null,
            Operand::Bool(value) => Wanted::Bool(*value),
            Operand::Number(number) => Wanted::Number(*number),
            Operand::Text(text) if path.as_str() == TAGS => {
                Wanted::Text(Cow::Owned(normalize_tag(text)))
            }
            Operand::Text(text) => {
                let instant = kinds.get(path.as_str()).and_then(|kind| match kind {
                    FieldKind::Datetime => parse_instant(text),
                });
                instant.map_or(Wanted::Text(Cow::Borrowed(text)), Wanted::Datetime)
            }
        }
    }

    /// True if a string too long for a column could pass: it equals only operands as long as itself.
    pub(super) fn may_match_long(&self, comparison: Comparison) -> bool {
        match (self, comparison) {
            (Wanted::Text(text), Comparison::Eq) => text.len() > KEY_BYTES_MAX,
            (Wanted::Text(_), _) => true,
            (Wanted::Null | Wanted::Bool(_) | Wanted::Number(_) | Wanted::Datetime(_), _) => false,
        }
    }
}

impl Filter {
    /// Refuses operands that no value of their declared field can be compared to: the filter would keep nothing, or
    /// everything.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` with `expected`, `got` and `field`.
    pub fn check_kinds(&self, kinds: &FieldKinds) -> Result<()> {
        if kinds.is_empty() {
            return Ok(());
        }
        let mut rest = vec![self];
        while let Some(filter) = rest.pop() {
            match filter {
                Filter::MatchAll | Filter::Exists(_) | Filter::IsEmpty(_) => {}
                Filter::And(filters) | Filter::Or(filters) => rest.extend(filters),
                Filter::Not(filter) => rest.push(filter),
                Filter::Compare(path, _, operand) => check_kind(path, operand, kinds)?,
                Filter::In(path, operands) => {
                    operands.iter().try_for_each(|operand| check_kind(path, operand, kinds))?;
                }
            }
        }
        Ok(())
    }
}

fn check_kind(path: &FieldPath, operand: &Operand, kinds: &FieldKinds) -> Result<()> {
    let Some(FieldKind::Datetime) = kinds.get(path.as_str()) else { return Ok(()) };
    let value = match operand {
        Operand::Null => return Ok(()),
        Operand::Text(text) if parse_instant(text).is_some() => return Ok(()),
        Operand::Text(text) => Scalar::Text(text),
        Operand::Bool(value) => Scalar::Bool(*value),
        Operand::Number(number) => Scalar::Number(*number),
    };
    let got = value.shown();
    let field = shown(path.as_str());
    let message =
        format!("filter: {field:?} is declared datetime: expected {DATE_EXPECTED}, got {got}");
    Err(Error::invalid(Fault::Filter, message)
        .with("expected", DATE_EXPECTED)
        .with("got", got)
        .with("field", field.as_ref()))
}
