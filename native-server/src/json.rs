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
