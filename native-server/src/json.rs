//! Values of the core as JSON: `id` (a `PointId`) and `time` (milliseconds → RFC 3339). Called by the
//! commands, the log and the server's answers.

use chrono::{DateTime, SecondsFormat, Utc};
use nearfield_segment::PointId;
use serde_json::{Value, json};

/// A number stays a number; UUIDs and strings are strings.
pub(crate) fn id(id: &PointId) -> Value {
    match id {
        PointId::I64(number) => json!(number),
        PointId::U64(number) => json!(number),
        PointId::Uuid(_) | PointId::Str(_) => json!(id.to_string()),
    }
}

/// Milliseconds since 1970 as RFC 3339 text in UTC: `2023-11-14T22:13:20.000Z`.
pub(crate) fn time(ms: u64) -> String {
    let time = i64::try_from(ms).ok().and_then(DateTime::from_timestamp_millis);
    time.unwrap_or(DateTime::<Utc>::MAX_UTC).to_rfc3339_opts(SecondsFormat::Millis, true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        let table = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_399_999, "2000-02-28T23:59:59.999Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (951_868_800_000, "2000-03-01T00:00:00.000Z"),
            (1_700_000_000_123, "2023-11-14T22:13:20.123Z"),
            (1_735_689_599_000, "2024-12-31T23:59:59.000Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
            (253_402_300_799_999, "9999-12-31T23:59:59.999Z"),
        ];
        for (ms, text) in table {
            assert_eq!(time(ms), text);
        }
        assert!(time(u64::MAX).ends_with('Z'), "beyond the calendar");
    }
}
