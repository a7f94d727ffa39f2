//! Zone maps of a segment: statistics by which a search skips it without reading it. `Stats` is built by
//! `SegmentBuilder`; `Stats::may_match` is called by `search::prepare`.
//!
//! [`Stats`] holds for each metadata path the range of its numbers, of its strings, and a [`Bloom`] filter of
//! the strings where there are few; [`Stats::may_match`] is false only if no row of the segment can pass a
//! filter. Wrong in one direction only: a `true` costs time, a `false` would cost answers.
//!
//! Not here: statistics of vectors, selectivity estimates (`filter::eval` counts exactly, and fast).

mod bloom;
mod bytes;
#[cfg(test)]
mod tests;

pub use bloom::Bloom;

use crate::error::Result;
use crate::filter::{Filter, Operand, Wanted};
use crate::ids::hash_bytes;
use crate::kinds::FieldKinds;
use crate::payload::{ColumnKind, Comparison, Field, FieldPath, KEY_BYTES_MAX, Number, Payload};
use crate::rowset::RowSet;

/// Strings of one path up to which they get a Bloom filter (of 10 KiB then); above, their range must do.
const BLOOM_TEXTS_MAX: usize = 8192;

/// Statistics of the metadata of one segment.
#[derive(Debug, Clone)]
pub struct Stats {
    rows: u32,
    /// False if rows have paths that are not listed.
    is_complete: bool,
    /// Sorted by path.
    paths: Vec<PathStats>,
}

/// What the rows of a segment have at one path.
#[derive(Debug, Clone)]
struct PathStats {
    path: FieldPath,
    is_in_every_row: bool,
    has_null: bool,
    has_empty: bool,
    /// Strings above 256 bytes, which `texts` does not cover.
    has_long: bool,
    has_false: bool,
    has_true: bool,
    numbers: Option<(Number, Number)>,
    texts: Option<TextStats>,
    /// The first and the last.
    instants: Option<(i64, i64)>,
}

#[derive(Debug, Clone)]
struct TextStats {
    first: String,
    last: String,
    bloom: Option<Bloom>,
}

impl Stats {
    /// Gathers the statistics. Looks at every column once.
    ///
    /// # Errors
    /// `Corrupt` if the metadata is damaged.
    pub fn build(payload: &Payload) -> Result<Self> {
        let mut paths = Vec::new();
        for (path, _) in payload.paths() {
            let field = payload.field(path).expect("the path was listed");
            paths.push(PathStats::build(path.clone(), &field, payload.rows())?);
        }
        Ok(Stats { rows: payload.rows(), is_complete: payload.is_complete(), paths })
    }

    /// False only if no row of the segment passes `filter`. `kinds` are the declared fields of the collection.
    /// O(nodes × log paths).
    pub fn may_match(&self, filter: &Filter, kinds: &FieldKinds) -> bool {
        let may_compare = |path: &FieldPath, comparison: Comparison, operand: &Operand| {
            self.may_have(path, |stats| {
                stats.may_compare(comparison, &Wanted::of(path, operand, kinds))
            })
        };
        match filter {
            Filter::MatchAll => true,
            Filter::And(filters) => filters.iter().all(|filter| self.may_match(filter, kinds)),
            Filter::Or(filters) => filters.iter().any(|filter| self.may_match(filter, kinds)),
            Filter::Not(filter) => self.may_miss(filter, kinds),
            Filter::Compare(path, comparison, operand) => may_compare(path, *comparison, operand),
            Filter::In(path, operands) => {
                operands.iter().any(|operand| may_compare(path, Comparison::Eq, operand))
            }
            Filter::Exists(path) => self.may_have(path, |_| true),
            Filter::IsEmpty(path) => self.may_have(path, |stats| stats.has_empty),
        }
    }

    /// False only if every row of the segment passes `filter`.
    fn may_miss(&self, filter: &Filter, kinds: &FieldKinds) -> bool {
        match filter {
            Filter::MatchAll => false,
            Filter::And(filters) => filters.iter().any(|filter| self.may_miss(filter, kinds)),
            Filter::Or(filters) => filters.iter().all(|filter| self.may_miss(filter, kinds)),
            Filter::Not(filter) => self.may_match(filter, kinds),
            Filter::Exists(path) => !self.path(path).is_some_and(|stats| stats.is_in_every_row),
            Filter::Compare(_, _, _) | Filter::In(_, _) | Filter::IsEmpty(_) => true,
        }
    }

    fn may_have(&self, path: &FieldPath, may: impl FnOnce(&PathStats) -> bool) -> bool {
        self.path(path).map_or(!self.is_complete, may)
    }

    fn path(&self, path: &FieldPath) -> Option<&PathStats> {
        let index = self.paths.binary_search_by(|stats| stats.path.cmp(path)).ok()?;
        Some(&self.paths[index])
    }
}

impl PathStats {
    fn build(path: FieldPath, field: &Field<'_>, rows: u32) -> Result<Self> {
        let mut bools = [RowSet::empty(rows), RowSet::empty(rows)];
        if let Some(column) = field.column(ColumnKind::Bool)? {
            column.select_bool(false, &mut bools[0]);
            column.select_bool(true, &mut bools[1]);
        }
        let mut numbers: Option<(Number, Number)> = None;
        for kind in [ColumnKind::Int, ColumnKind::Uint, ColumnKind::Float] {
            let Some(column) = field.column(kind)? else { continue };
            let Some((low, high)) = column.bounds() else { continue };
            numbers = Some(numbers.map_or((low, high), |(a, b)| (a.min(low), b.max(high))));
        }
        let texts = match field.column(ColumnKind::Keyword)? {
            Some(column) => TextStats::build(&column.texts().collect::<Vec<_>>()),
            None => None,
        };
        let instants = match field.column(ColumnKind::Datetime)? {
            Some(column) => column.instant_bounds(),
            None => None,
        };
        Ok(PathStats {
            path,
            is_in_every_row: field.exists()?.count() == rows,
            has_null: !field.null()?.is_empty(),
            has_empty: !field.empty()?.is_empty(),
            has_long: field.has_long(),
            has_false: !bools[0].is_empty(),
            has_true: !bools[1].is_empty(),
            numbers,
            texts,
            instants,
        })
    }

    /// False only if no value at the path compares so to what is wanted.
    fn may_compare(&self, comparison: Comparison, wanted: &Wanted<'_>) -> bool {
        match wanted {
            Wanted::Null => comparison == Comparison::Eq && self.has_null,
            Wanted::Bool(false) => comparison == Comparison::Eq && self.has_false,
            Wanted::Bool(true) => comparison == Comparison::Eq && self.has_true,
            Wanted::Number(operand) => {
                self.numbers.is_some_and(|(low, high)| may_lie(comparison, &low, &high, operand))
            }
            // A segment that was built before the field was declared has its dates among the strings.
            Wanted::Datetime(operand) => {
                self.texts.is_some()
                    || self
                        .instants
                        .is_some_and(|(low, high)| may_lie(comparison, &low, &high, operand))
            }
            Wanted::Text(operand) => {
                let may_be_long = match comparison {
                    Comparison::Eq => operand.len() > KEY_BYTES_MAX,
                    Comparison::Lt | Comparison::Lte | Comparison::Gt | Comparison::Gte => true,
                };
                self.has_long && may_be_long
                    || self
                        .texts
                        .as_ref()
                        .is_some_and(|texts| texts.may_compare(comparison, operand))
            }
        }
    }
}

impl TextStats {
    /// `texts` is sorted; `None` if there are none.
    fn build(texts: &[&str]) -> Option<Self> {
        let (first, last) = (texts.first()?, texts.last()?);
        let hashes = || texts.iter().map(|text| hash_bytes(text.as_bytes())).collect::<Vec<_>>();
        let bloom = (texts.len() <= BLOOM_TEXTS_MAX).then(|| Bloom::build(&hashes()));
        Some(TextStats { first: (*first).to_owned(), last: (*last).to_owned(), bloom })
    }

    fn may_compare(&self, comparison: Comparison, operand: &str) -> bool {
        let is_absent = comparison == Comparison::Eq
            && self
                .bloom
                .as_ref()
                .is_some_and(|bloom| !bloom.may_contain(hash_bytes(operand.as_bytes())));
        !is_absent && may_lie(comparison, self.first.as_str(), self.last.as_str(), operand)
    }
}

/// False only if no value from `low` to `high` compares so to the operand.
fn may_lie<T: Ord + ?Sized>(comparison: Comparison, low: &T, high: &T, operand: &T) -> bool {
    match comparison {
        Comparison::Eq => low <= operand && operand <= high,
        Comparison::Lt => low < operand,
        Comparison::Lte => low <= operand,
        Comparison::Gt => high > operand,
        Comparison::Gte => high >= operand,
    }
}
