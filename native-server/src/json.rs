//! Values of the core as JSON, the way every command prints them.

use nearfield_segment::{PointId, ScoreKind};
use serde_json::{Value, json};

/// A number stays a number; UUIDs and strings are strings.
pub(crate) fn id(id: &PointId) -> Value {
    match id {
        PointId::U64(number) => json!(number),
        PointId::Uuid(_) | PointId::Str(_) => json!(id.to_string()),
    }
}

/// `similarity` or `distance`.
pub(crate) fn score_kind(kind: ScoreKind) -> &'static str {
    match kind {
        ScoreKind::Similarity => "similarity",
        ScoreKind::Distance => "distance",
    }
}

/// A time as RFC 3339 in UTC, to the millisecond.
pub(crate) fn time(ms: u64) -> String {
    let (days, in_day) = (ms / 86_400_000, ms % 86_400_000);
    let (year, month, day) = date(days);
    let (hours, minutes) = (in_day / 3_600_000, in_day / 60_000 % 60);
    let (seconds, millis) = (in_day / 1_000 % 60, in_day % 1_000);
    format!("{year:04}-{month:02}-{day:02}T{hours:02}:{minutes:02}:{seconds:02}.{millis:03}Z")
}

/// Year, month and day of a day since 1970 (Hinnant, *chrono-compatible low-level date algorithms*,
/// `civil_from_days`): years begin in March, so that the leap day is the last of its year.
fn date(days: u64) -> (u64, u64, u64) {
    const ERA_DAYS: u64 = 146_097;
    let since = days + 719_468;
    let (era, day_of_era) = (since / ERA_DAYS, since % ERA_DAYS);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted + 2) / 5 + 1;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    (era * 400 + year_of_era + u64::from(month <= 2), month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_the_calendar_has_them() {
        let cases = [
            (0, "1970-01-01T00:00:00.000Z"),
            (951_782_400_000, "2000-02-29T00:00:00.000Z"),
            (1_709_251_199_999, "2024-02-29T23:59:59.999Z"),
            (4_107_542_400_000, "2100-03-01T00:00:00.000Z"),
        ];
        for (ms, text) in cases {
            assert_eq!(time(ms), text);
        }
    }
}
