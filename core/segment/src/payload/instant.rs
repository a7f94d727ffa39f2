//! `parse_instant` (text → microseconds since 1970 in UTC): the texts of fields declared `datetime`. Used by `build`,
//! `checks`, `column` and `filter`.
//!
//! | text | instant |
//! |---|---|
//! | `2020-01-01T10:00:00.5+01:00` (RFC 3339; `t`, `z` and a blank for `T` too) | that moment |
//! | the same without a zone | of UTC |
//! | `2020-01-01` | its midnight in UTC |
//! | second 60 | the first moment of the next minute |
//!
//! Years are 0000 to 9999, zones less than 24 hours. Digits beyond microseconds do not count. Anything else is no
//! date, nor is a text above [`DATE_BYTES_MAX`].

use chrono::DateTime;

/// Longest text of a date: room for any zone, and more digits of a second than any clock has.
const DATE_BYTES_MAX: usize = 64;
/// Length of a date without a time.
const DAY_BYTES: usize = "2020-01-01".len();

/// Microseconds since 1970 of the moment that `text` names; `None` if it is no date.
pub fn parse_instant(text: &str) -> Option<i64> {
    if text.len() > DATE_BYTES_MAX {
        return None;
    }
    let moment = match DateTime::parse_from_rfc3339(text) {
        Ok(moment) => moment,
        Err(_) => DateTime::parse_from_rfc3339(&completed(text)).ok()?,
    };
    // A leap second has more than a million microseconds; beyond that the sum rounds down, before 1970 too.
    Some(moment.timestamp() * 1_000_000 + i64::from(moment.timestamp_subsec_micros()))
}

/// The text with the parts of RFC 3339 that may be left out: the time, and the zone.
fn completed(text: &str) -> String {
    let time = if text.len() == DAY_BYTES { "T00:00:00" } else { "" };
    format!("{text}{time}Z")
}
