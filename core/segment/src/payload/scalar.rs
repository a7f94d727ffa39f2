//! `Scalar`: a single value of metadata, and the exact order of numbers (`Number`, `Comparison`). `filter`
//! compares with it, `payload` stores it.
//!
//! Numbers compare by what they are worth, whatever their kind: no comparison rounds, so `2^53 + 1` is
//! greater than the float `2^53`. To compare a whole column at once an operand is turned into the inclusive
//! range of integers, or of floats, that satisfies it.

use std::cmp::Ordering;

use serde_json::Value;

use crate::error::{show_float, shown};

/// A finite number as JSON has it. Compares and orders by value across kinds (`1 == 1.0`).
#[derive(Debug, Clone, Copy)]
pub enum Number {
    /// An integer that fits an `i64`.
    Int(i64),
    /// An integer above `i64::MAX`.
    Uint(u64),
    /// Anything else; never NaN or infinite.
    Float(f64),
}

/// What a value must satisfy, seen against an operand.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Comparison {
    /// Equal.
    Eq,
    /// Less than the operand.
    Lt,
    /// Less than or equal to the operand.
    Lte,
    /// Greater than the operand.
    Gt,
    /// Greater than or equal to the operand.
    Gte,
}

/// One value found in a row. Null is not a value but a state of the path.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Scalar<'a> {
    Number(Number),
    Bool(bool),
    Text(&'a str),
}

impl Scalar<'_> {
    /// In a message.
    pub(crate) fn shown(self) -> String {
        match self {
            Scalar::Number(Number::Int(value)) => value.to_string(),
            Scalar::Number(Number::Uint(value)) => value.to_string(),
            Scalar::Number(Number::Float(value)) => show_float(value),
            Scalar::Bool(value) => value.to_string(),
            Scalar::Text(text) => format!("{:?}", shown(text)),
        }
    }
}

impl Comparison {
    /// True if `ordering` (of a value against the operand) satisfies the comparison.
    pub fn accepts(self, ordering: Ordering) -> bool {
        match self {
            Comparison::Eq => ordering.is_eq(),
            Comparison::Lt => ordering.is_lt(),
            Comparison::Lte => ordering.is_le(),
            Comparison::Gt => ordering.is_gt(),
            Comparison::Gte => ordering.is_ge(),
        }
    }

    /// The inclusive range of positions that satisfy the comparison in a sorted list, of which the first
    /// `below` are less than the operand and the first `below_or_equal` are not greater.
    pub(crate) fn range_in_sorted(
        self,
        count: usize,
        below: usize,
        below_or_equal: usize,
    ) -> std::ops::Range<usize> {
        match self {
            Comparison::Eq => below..below_or_equal,
            Comparison::Lt => 0..below,
            Comparison::Lte => 0..below_or_equal,
            Comparison::Gt => below_or_equal..count,
            Comparison::Gte => below..count,
        }
    }
}

impl Number {
    /// The smallest kind that holds `value`.
    pub fn from_u64(value: u64) -> Self {
        i64::try_from(value).map_or(Number::Uint(value), Number::Int)
    }

    /// `None` for NaN and infinities.
    pub fn from_f64(value: f64) -> Option<Self> {
        value.is_finite().then_some(Number::Float(value))
    }

    /// A JSON number; `None` if it is not finite (which JSON text cannot say).
    pub fn from_json(number: &serde_json::Number) -> Option<Self> {
        if let Some(value) = number.as_i64() {
            return Some(Number::Int(value));
        }
        match number.as_u64() {
            Some(value) => Some(Number::from_u64(value)),
            None => number.as_f64().and_then(Number::from_f64),
        }
    }

    /// As a JSON number.
    pub fn to_json(self) -> Value {
        match self {
            Number::Int(value) => value.into(),
            Number::Uint(value) => value.into(),
            Number::Float(value) => value.into(),
        }
    }

    /// The inclusive range of integers `v` for which `v <comparison> self` holds; `None` if there are none.
    /// Ends beyond every 64-bit integer are saturated.
    pub(crate) fn integers(self, comparison: Comparison) -> Option<(i128, i128)> {
        let (floor, ceil) = match self {
            Number::Int(value) => (i128::from(value), i128::from(value)),
            Number::Uint(value) => (i128::from(value), i128::from(value)),
            // `as` saturates, far outside the range of any column.
            Number::Float(value) => (value.floor() as i128, value.ceil() as i128),
        };
        match comparison {
            Comparison::Eq => (floor == ceil).then_some((floor, ceil)),
            Comparison::Lt => Some((i128::MIN, ceil.saturating_sub(1))),
            Comparison::Lte => Some((i128::MIN, floor)),
            Comparison::Gt => Some((floor.saturating_add(1), i128::MAX)),
            Comparison::Gte => Some((ceil, i128::MAX)),
        }
    }

    /// The inclusive range of floats `v` for which `v <comparison> self` holds; `None` if there are none.
    pub(crate) fn floats(self, comparison: Comparison) -> Option<(f64, f64)> {
        let nearest = match self {
            Number::Int(value) => value as f64,
            Number::Uint(value) => value as f64,
            Number::Float(value) => value,
        };
        // The greatest float not above the number and the least one not below it.
        let (floor, ceil) = match Number::Float(nearest).cmp(&self) {
            Ordering::Equal => (nearest, nearest),
            Ordering::Greater => (nearest.next_down(), nearest),
            Ordering::Less => (nearest, nearest.next_up()),
        };
        let is_exact = floor == ceil;
        match comparison {
            Comparison::Eq => is_exact.then_some((floor, ceil)),
            Comparison::Lt if is_exact => Some((f64::NEG_INFINITY, floor.next_down())),
            Comparison::Gt if is_exact => Some((ceil.next_up(), f64::INFINITY)),
            Comparison::Lt | Comparison::Lte => Some((f64::NEG_INFINITY, floor)),
            Comparison::Gt | Comparison::Gte => Some((ceil, f64::INFINITY)),
        }
    }
}

impl Ord for Number {
    fn cmp(&self, other: &Self) -> Ordering {
        match (*self, *other) {
            (Number::Int(a), Number::Int(b)) => a.cmp(&b),
            (Number::Uint(a), Number::Uint(b)) => a.cmp(&b),
            (Number::Int(_), Number::Uint(_)) => Ordering::Less,
            (Number::Uint(_), Number::Int(_)) => Ordering::Greater,
            (Number::Float(a), Number::Float(b)) => float_order(a, b),
            (Number::Int(a), Number::Float(b)) => integer_order(i128::from(a), b),
            (Number::Uint(a), Number::Float(b)) => integer_order(i128::from(a), b),
            (Number::Float(a), Number::Int(b)) => integer_order(i128::from(b), a).reverse(),
            (Number::Float(a), Number::Uint(b)) => integer_order(i128::from(b), a).reverse(),
        }
    }
}

impl PartialOrd for Number {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Number {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other).is_eq()
    }
}

impl Eq for Number {}

fn float_order(a: f64, b: f64) -> Ordering {
    a.partial_cmp(&b).expect("numbers are finite")
}

/// `integer` against `float`, exactly: the whole part first, then what is left of it.
fn integer_order(integer: i128, float: f64) -> Ordering {
    // `as` saturates beyond every 64-bit integer, which keeps the order.
    let whole = float.trunc() as i128;
    integer.cmp(&whole).then_with(|| float_order(0.0, float.fract()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const TWO_53: i64 = 1 << 53;

    fn number() -> impl Strategy<Value = Number> {
        let edges = prop::sample::select(vec![0, 1, -1, 2, TWO_53, TWO_53 + 1, i64::MAX, i64::MIN]);
        prop_oneof![
            any::<i64>().prop_map(Number::Int),
            edges.clone().prop_map(Number::Int),
            any::<u64>().prop_map(Number::from_u64),
            edges.prop_map(|value| Number::Float(value as f64)),
            (-4i64..4).prop_map(|value| Number::Float(value as f64 / 2.0)),
            any::<f64>().prop_filter_map("finite", Number::from_f64),
            Just(Number::Float(-0.0)),
            Just(Number::Float(18_446_744_073_709_551_616.0)),
            Just(Number::Uint(u64::MAX)),
        ]
    }

    const ALL: [Comparison; 5] =
        [Comparison::Eq, Comparison::Lt, Comparison::Lte, Comparison::Gt, Comparison::Gte];

    #[test]
    fn integers_and_floats_compare_without_rounding() {
        let float = Number::Float(TWO_53 as f64);
        assert!(Number::Int(TWO_53 + 1) > float && Number::Int(TWO_53) == float);
        assert!(Number::Uint(u64::MAX) < Number::Float(u64::MAX as f64));
        assert!(Number::Int(i64::MAX) < Number::Float(i64::MAX as f64));
        assert!(Number::Int(0) == Number::Float(-0.0) && Number::Int(-1) > Number::Float(-1.5));
        assert!(Number::Float(f64::MAX) > Number::Uint(u64::MAX));
    }

    proptest! {
        #[test]
        fn ranges_hold_exactly_the_numbers_that_compare(value in number(), operand in number()) {
            for comparison in ALL {
                let expected = comparison.accepts(value.cmp(&operand));
                let integers = operand.integers(comparison);
                let in_integers = |v: i128| integers.is_some_and(|(lo, hi)| lo <= v && v <= hi);
                let found = match value {
                    Number::Int(v) => in_integers(i128::from(v)),
                    Number::Uint(v) => in_integers(i128::from(v)),
                    Number::Float(v) => {
                        operand.floats(comparison).is_some_and(|(lo, hi)| lo <= v && v <= hi)
                    }
                };
                prop_assert_eq!(found, expected, "{:?} {:?} {:?}", value, comparison, operand);
            }
        }

        #[test]
        fn the_order_is_total(a in number(), b in number(), c in number()) {
            prop_assert_eq!(a.cmp(&b), b.cmp(&a).reverse());
            if a <= b && b <= c {
                prop_assert!(a <= c);
            }
        }
    }
}
