//! `Filter`: the syntax tree of a metadata filter, its operands (`Operand`) and its limits (`FILTER_DEPTH_MAX` …,
//! `Filter::check_limits`). `json` parses into it; `eval`, `probe` and `stats` evaluate it.
//!
//! There is no node for what can be said with others: `ne` is [`Filter::Not`] of a comparison, `nin` of
//! [`Filter::In`], tags are a field like any other.

use crate::error::{Error, Fault, Result};
use crate::payload::{Comparison, FieldPath, Number, TAGS};

/// Filters inside each other.
pub const FILTER_DEPTH_MAX: usize = 64;
/// Nodes of one filter.
pub const FILTER_NODES_MAX: usize = 10_000;
/// Values of one `in` list.
pub const IN_VALUES_MAX: usize = 65_536;
/// Values of all lists of one filter together.
pub const FILTER_VALUES_MAX: usize = 4 * IN_VALUES_MAX;
/// Bytes of the JSON text of one filter.
pub const FILTER_TEXT_BYTES_MAX: usize = 4 << 20;

/// Which rows to keep. The table of the module page says what each node means.
#[derive(Debug, Clone, PartialEq)]
pub enum Filter {
    /// Every row.
    MatchAll,
    /// Rows that every one of the filters keeps; all rows if there are none.
    And(Vec<Filter>),
    /// Rows that at least one of the filters keeps; no row if there are none.
    Or(Vec<Filter>),
    /// Rows the filter does not keep.
    Not(Box<Filter>),
    /// Rows with a value at the path that compares so to the operand.
    Compare(FieldPath, Comparison, Operand),
    /// Rows with a value at the path that is equal to one of the operands.
    In(FieldPath, Vec<Operand>),
    /// Rows with anything at the path: also null, an empty list, an object.
    Exists(FieldPath),
    /// Rows with an empty list at the path.
    IsEmpty(FieldPath),
}

/// What a value is compared to.
#[derive(Debug, Clone, PartialEq)]
pub enum Operand {
    /// An explicit null; equality only.
    Null,
    /// True or false; equality only.
    Bool(bool),
    /// A number, compared exactly with numbers of every kind.
    Number(Number),
    /// A string, compared by its UTF-8 bytes.
    Text(String),
}

impl Filter {
    /// Rows with at least one of `tags`, however they are spelled; no row if there are none.
    pub fn tags_any<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        let operands = tags.into_iter().map(|tag| Operand::Text(tag.into()));
        Filter::In(FieldPath::from_keys([TAGS]), operands.collect())
    }

    /// Rows with all of `tags`, however they are spelled; every row if there are none.
    pub fn tags_all<T: Into<String>>(tags: impl IntoIterator<Item = T>) -> Self {
        let path = FieldPath::from_keys([TAGS]);
        let has = |tag: T| Filter::Compare(path.clone(), Comparison::Eq, Operand::Text(tag.into()));
        Filter::And(tags.into_iter().map(has).collect())
    }

    /// The opposite filter.
    #[must_use]
    pub fn negated(self) -> Self {
        Filter::Not(Box::new(self))
    }

    /// Paths whose *values* the filter asks for, sorted, each once. A path that is only tested for
    /// existence is not among them: to ask whether an unknown field exists is no mistake.
    pub fn fields(&self) -> Vec<&FieldPath> {
        let mut fields = Vec::new();
        let mut rest = vec![self];
        while let Some(filter) = rest.pop() {
            match filter {
                Filter::MatchAll | Filter::Exists(_) => {}
                Filter::And(filters) | Filter::Or(filters) => rest.extend(filters),
                Filter::Not(filter) => rest.push(filter),
                Filter::Compare(path, _, _) | Filter::In(path, _) | Filter::IsEmpty(path) => {
                    fields.push(path);
                }
            }
        }
        fields.sort_unstable();
        fields.dedup();
        fields
    }

    /// Checks the limits above. Parsers call it last, so that no evaluation has to.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` with `expected` and `got`.
    pub fn check_limits(&self) -> Result<()> {
        let (mut nodes, mut values) = (0, 0);
        let mut rest = vec![(self, 1)];
        while let Some((filter, depth)) = rest.pop() {
            nodes += 1;
            check("filters inside each other", FILTER_DEPTH_MAX, depth)?;
            check("nodes of a filter", FILTER_NODES_MAX, nodes)?;
            match filter {
                Filter::And(filters) | Filter::Or(filters) => {
                    rest.extend(filters.iter().map(|filter| (filter, depth + 1)));
                }
                Filter::Not(filter) => rest.push((filter, depth + 1)),
                Filter::In(_, operands) => {
                    values += operands.len();
                    check("values of an `in` list", IN_VALUES_MAX, operands.len())?;
                    check("values of all lists of a filter", FILTER_VALUES_MAX, values)?;
                }
                Filter::MatchAll
                | Filter::Compare(_, _, _)
                | Filter::Exists(_)
                | Filter::IsEmpty(_) => {}
            }
        }
        Ok(())
    }
}

/// Refuses `got` above `most`, naming `what` is limited.
pub(super) fn check(what: &str, most: usize, got: usize) -> Result<()> {
    if got <= most {
        return Ok(());
    }
    let message = format!("{what}: expected at most {most}, got {got}");
    Err(Error::invalid(Fault::Filter, message)
        .with("expected", format!("at most {most}"))
        .with("got", got))
}
