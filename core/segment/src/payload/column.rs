//! `Column`: a view of one column, the values of one kind at one path and the rows they belong to. Opened by
//! `columns`; its `select_…` methods are called by `filter::eval`.
//!
//! Selecting adds every row that has at least one value with the wanted property to a set. Values are kept
//! as unsigned distances from the smallest, so each selection becomes one range of distances, found once,
//! and one pass over the values in their stored width.

use super::block::{Block, ColumnEntry, cast, read_set};
use super::instant::parse_instant;
use super::layout::ColumnKind;
use super::scalar::{Comparison, Number};
use super::select;
use super::values::{Owners, Values};
use crate::rowset::RowSet;

type Found<T> = std::result::Result<T, String>;

/// One column, borrowed from its section.
#[derive(Debug)]
pub(crate) struct Column<'a> {
    kind: ColumnKind,
    rows: u32,
    base: u64,
    values: Values<'a>,
    owners: Owners<'a>,
    dictionary: Option<Dictionary<'a>>,
}

/// Sorted unique strings.
#[derive(Debug, Clone, Copy)]
struct Dictionary<'a> {
    offsets: &'a [u32],
    bytes: &'a [u8],
}

impl<'a> Column<'a> {
    pub(super) fn new(
        kind: ColumnKind,
        rows: u32,
        section: &'a [u8],
        entry: &ColumnEntry,
        values: &Block,
    ) -> Found<Self> {
        let piece = |block: &Block| &section[block.range.clone()];
        let bytes = piece(values);
        let values_in_place = match (kind, values.form) {
            (ColumnKind::Float, 8) => Values::Floats(cast(bytes)?),
            (ColumnKind::Float, width) => return Err(format!("floats of {width} bytes")),
            (_, 1) => Values::One(bytes),
            (_, 2) => Values::Two(cast(bytes)?),
            (_, 4) => Values::Four(cast(bytes)?),
            (_, 8) => Values::Eight(cast(bytes)?),
            (_, width) => return Err(format!("values of {width} bytes")),
        };
        let owners = match &entry.listed_rows {
            Some(listed) => Owners::Listed(cast(piece(listed))?),
            None => Owners::Dense(read_set(section, entry.presence.as_ref(), rows)?),
        };
        let dictionary = match (kind, &entry.dictionary_offsets, &entry.dictionary_bytes) {
            (ColumnKind::Keyword, Some(offsets), Some(bytes)) => {
                Some(Dictionary { offsets: cast(piece(offsets))?, bytes: piece(bytes) })
            }
            (ColumnKind::Keyword, _, _) => return Err("no dictionary".to_owned()),
            (_, None, None) => None,
            (_, _, _) => return Err("a dictionary of values that are no strings".to_owned()),
        };
        let base = values.base;
        Ok(Column { kind, rows, base, values: values_in_place, owners, dictionary })
    }

    /// Looks at every byte once: owners in order and in range, codes within the dictionary, strings
    /// sorted and UTF-8, floats finite.
    pub(super) fn check(&self) -> Found<()> {
        let expected = match &self.owners {
            Owners::Dense(_) => self.rows as usize,
            Owners::Listed(rows) => {
                if !rows.is_sorted() || rows.last().is_some_and(|last| *last >= self.rows) {
                    return Err(format!("rows out of order or beyond {} rows", self.rows));
                }
                rows.len()
            }
        };
        if self.values.len() != expected {
            return Err(format!("expected {expected} values, found {}", self.values.len()));
        }
        let greatest = self.values.greatest();
        match (self.kind, &self.dictionary) {
            (ColumnKind::Keyword, Some(dictionary)) => dictionary.check(self.base, greatest),
            (ColumnKind::Bool, _) if self.base != 0 || greatest > 1 => {
                Err("a value that is neither true nor false".to_owned())
            }
            (ColumnKind::Float, _) if !self.values.are_finite() => {
                Err("a float that is not finite".to_owned())
            }
            (ColumnKind::Int | ColumnKind::Datetime, _)
                if self.integer(greatest) > i128::from(i64::MAX) =>
            {
                Err("an integer above i64::MAX".to_owned())
            }
            (ColumnKind::Uint, _) if self.integer(greatest) > i128::from(u64::MAX) => {
                Err("an integer above u64::MAX".to_owned())
            }
            (_, _) => Ok(()),
        }
    }

    /// Adds the rows with a number `v` for which `v <comparison> operand`. Numbers and instants only.
    pub(crate) fn select_numbers(&self, comparison: Comparison, operand: Number, out: &mut RowSet) {
        if let Values::Floats(values) = self.values {
            if let Some((low, high)) = operand.floats(comparison) {
                select::matching(values, &self.owners, out, |v| low <= v && v <= high);
            }
        } else if let Some((low, high)) = operand.integers(comparison) {
            let base = self.integer(0);
            self.select_distances(low.saturating_sub(base), high.saturating_sub(base), out);
        }
    }

    /// Adds the rows with `value`. Booleans only.
    pub(crate) fn select_bool(&self, value: bool, out: &mut RowSet) {
        self.select_distances(i128::from(value), i128::from(value), out);
    }

    /// Adds the rows with a string `v` for which `v <comparison> operand`, by bytes. Keywords only.
    pub(crate) fn select_texts(&self, comparison: Comparison, operand: &str, out: &mut RowSet) {
        let Some(dictionary) = &self.dictionary else { return };
        let (below, below_or_equal) = dictionary.find(operand);
        let codes = comparison.range_in_sorted(dictionary.len(), below, below_or_equal);
        self.select_distances(codes.start as i128, codes.end as i128 - 1, out);
    }

    /// Adds the rows with a number or instant equal to one of `operands`. O(values × log operands).
    pub(crate) fn select_any_number(&self, operands: &[Number], out: &mut RowSet) {
        if let Values::Floats(values) = self.values {
            let mut wanted: Vec<Number> = operands.to_vec();
            wanted.sort_unstable();
            let is_wanted = |v: f64| wanted.binary_search(&Number::Float(v)).is_ok();
            return select::matching(values, &self.owners, out, is_wanted);
        }
        let distances = operands
            .iter()
            .filter_map(|operand| operand.integers(Comparison::Eq))
            .filter_map(|(value, _)| u64::try_from(value.saturating_sub(self.integer(0))).ok());
        self.select_any_distance(distances.collect(), out);
    }

    /// Adds the rows with a string that is one of `operands`.
    pub(crate) fn select_any_text(&self, operands: &[&str], out: &mut RowSet) {
        let Some(dictionary) = &self.dictionary else { return };
        let codes = operands.iter().map(|operand| dictionary.find(operand));
        let known = codes.filter(|(below, below_or_equal)| below < below_or_equal);
        self.select_any_distance(known.map(|(code, _)| code as u64).collect(), out);
    }

    /// Adds the rows with a string that is a date whose instant passes. Keywords only. O(strings + values).
    pub(crate) fn select_dates(&self, passes: impl Fn(i64) -> bool, out: &mut RowSet) {
        let dates = self.texts().map(|text| parse_instant(text).is_some_and(&passes));
        let codes = (0..).zip(dates).filter(|(_, passes)| *passes);
        self.select_any_distance(codes.map(|(code, _)| code).collect(), out);
    }

    /// Smallest and greatest number or instant. Numbers and instants only; `None` if there are none.
    pub(crate) fn bounds(&self) -> Option<(Number, Number)> {
        match &self.owners {
            Owners::Dense(present) => {
                self.bounds_of(present.iter().map(|row| self.number(row.index())))
            }
            Owners::Listed(_) => {
                self.bounds_of((0..self.values.len()).map(|index| self.number(index)))
            }
        }
    }

    /// The first and the last instant. Instants only; `None` if there are none.
    pub(crate) fn instant_bounds(&self) -> Option<(i64, i64)> {
        match self.bounds()? {
            (Number::Int(first), Number::Int(last)) => Some((first, last)),
            (_, _) => None,
        }
    }

    /// The strings of the dictionary, sorted by bytes.
    pub(crate) fn texts(&self) -> impl Iterator<Item = &'a str> + '_ {
        let dictionary = self.dictionary;
        let count = dictionary.as_ref().map_or(0, Dictionary::len);
        (0..count).filter_map(move |code| std::str::from_utf8(dictionary?.get(code)).ok())
    }

    fn bounds_of(&self, numbers: impl Iterator<Item = Number>) -> Option<(Number, Number)> {
        numbers.fold(None, |bounds, number| match bounds {
            None => Some((number, number)),
            Some((low, high)) => Some((low.min(number), high.max(number))),
        })
    }

    fn number(&self, index: usize) -> Number {
        let distance = match self.values {
            Values::One(values) => u64::from(values[index]),
            Values::Two(values) => u64::from(values[index]),
            Values::Four(values) => u64::from(values[index]),
            Values::Eight(values) => values[index],
            Values::Floats(values) => return Number::Float(values[index]),
        };
        let value = self.integer(distance);
        i64::try_from(value).map_or(Number::Uint(value as u64), Number::Int)
    }

    /// The integer at a distance from the base.
    fn integer(&self, distance: u64) -> i128 {
        let base = match self.kind {
            ColumnKind::Int | ColumnKind::Datetime => i128::from(self.base as i64),
            ColumnKind::Uint | ColumnKind::Float | ColumnKind::Bool | ColumnKind::Keyword => {
                i128::from(self.base)
            }
        };
        base + i128::from(distance)
    }

    /// Adds the rows with a value at a distance of `low` to `high` from the base.
    fn select_distances(&self, low: i128, high: i128, out: &mut RowSet) {
        let low = low.max(0);
        let high = high.min(i128::from(u64::MAX));
        if low > high {
            return;
        }
        // Both fit: 0 <= low <= high <= u64::MAX.
        select::distances(self.values, &self.owners, low as u64, high as u64, out);
    }

    fn select_any_distance(&self, mut wanted: Vec<u64>, out: &mut RowSet) {
        wanted.sort_unstable();
        wanted.dedup();
        select::any_distance(self.values, &self.owners, &wanted, out);
    }
}

impl<'a> Dictionary<'a> {
    fn len(&self) -> usize {
        self.offsets.len().saturating_sub(1)
    }

    fn get(&self, code: usize) -> &'a [u8] {
        // They were checked; a page of a map may have rotted since.
        let range = self.offsets[code] as usize..self.offsets[code + 1] as usize;
        self.bytes.get(range).unwrap_or_default()
    }

    /// How many strings are below `text`, and how many below or equal.
    fn find(&self, text: &str) -> (usize, usize) {
        let (mut low, mut high) = (0, self.len());
        while low < high {
            let middle = low.midpoint(high);
            match self.get(middle).cmp(text.as_bytes()) {
                std::cmp::Ordering::Less => low = middle + 1,
                std::cmp::Ordering::Equal => return (middle, middle + 1),
                std::cmp::Ordering::Greater => high = middle,
            }
        }
        (low, low)
    }

    fn check(&self, base: u64, greatest_code: u64) -> Found<()> {
        if base != 0 || greatest_code >= self.len() as u64 {
            return Err(format!("code {greatest_code} of {} strings", self.len()));
        }
        let ends_right = self.offsets.last().is_some_and(|end| *end as usize == self.bytes.len());
        if !self.offsets.is_sorted() || !ends_right {
            return Err("dictionary offsets out of order or beyond its bytes".to_owned());
        }
        for code in 0..self.len() {
            if std::str::from_utf8(self.get(code)).is_err() {
                return Err(format!("string {code} is not UTF-8"));
            }
            if code > 0 && self.get(code - 1) >= self.get(code) {
                return Err(format!("string {code} is not in order"));
            }
        }
        Ok(())
    }
}
