//! Values of the core as JSON, the way every command prints them.

use nearfield_segment::PointId;
use serde_json::{Value, json};

/// A number stays a number; UUIDs and strings are strings.
pub(crate) fn id(id: &PointId) -> Value {
    match id {
        PointId::U64(number) => json!(number),
        PointId::Uuid(_) | PointId::Str(_) => json!(id.to_string()),
    }
}

/// Milliseconds since 1970 as RFC 3339 text in UTC: `2023-11-14T22:13:20.000Z`.
pub(crate) fn time(ms: u64) -> String {
    let (days, ms_of_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (seconds, millis) = (ms_of_day / 1000, ms_of_day % 1000);
    let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
    format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}.{millis:03}Z")
}

/// Year, month and day, `days` after 1970-01-01. Counts in eras of 400 years that begin on 1 March, so that
/// a leap day is the last of its year (Hinnant, *chrono-Compatible Low-Level Date Algorithms*).
fn date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let since_march = days + 719_468;
    let (era, of_era) = (since_march / ERA_DAYS, since_march % ERA_DAYS);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + u64::from(month <= 2), month, day)
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
    }
}
