//! Instants of columns as texts (`date_text`), which a field declared `datetime` takes. Used by `arrow` and `npz`.
//!
//! A number of days is a date; finer units are a date and a time without a zone, which is UTC. The text has every digit
//! of its unit that is not zero, in groups of three.

use arrow_array::temporal_conversions::{
    date32_to_datetime, timestamp_ms_to_datetime, timestamp_ns_to_datetime,
    timestamp_s_to_datetime, timestamp_us_to_datetime,
};

/// What a number counts since 1970.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Unit {
    Days,
    Seconds,
    Milliseconds,
    Microseconds,
    Nanoseconds,
}

/// The text of a moment; `None` if it is so far away that no calendar has it.
pub(super) fn date_text(value: i64, unit: Unit) -> Option<String> {
    let moment = match unit {
        Unit::Days => {
            let midnight = date32_to_datetime(i32::try_from(value).ok()?)?;
            return Some(format!("{:?}", midnight.date()));
        }
        Unit::Seconds => timestamp_s_to_datetime(value),
        Unit::Milliseconds => timestamp_ms_to_datetime(value),
        Unit::Microseconds => timestamp_us_to_datetime(value),
        Unit::Nanoseconds => timestamp_ns_to_datetime(value),
    };
    Some(format!("{:?}", moment?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_the_digits_of_its_unit() {
        let second = 1_577_872_800;
        for (value, unit, text) in [
            (18_262, Unit::Days, "2020-01-01"),
            (-719_528, Unit::Days, "0000-01-01"),
            (second, Unit::Seconds, "2020-01-01T10:00:00"),
            (second * 1_000 + 5, Unit::Milliseconds, "2020-01-01T10:00:00.005"),
            (-1, Unit::Microseconds, "1969-12-31T23:59:59.999999"),
            (second * 1_000_000_000 + 1, Unit::Nanoseconds, "2020-01-01T10:00:00.000000001"),
            // Ten thousand years are not: the engine refuses the text.
            (2_932_897, Unit::Days, "+10000-01-01"),
        ] {
            assert_eq!(date_text(value, unit).as_deref(), Some(text), "{value} {unit:?}");
        }
        assert_eq!(date_text(i64::MAX, Unit::Days), None);
        assert_eq!(date_text(i64::MIN, Unit::Seconds), None);
    }
}
