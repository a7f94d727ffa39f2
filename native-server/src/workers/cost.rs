//! `Cost`: estimates the work of a search or a look-up, so that long ones run on the search threads
//! (`workers::search`) and not on the threads that answer requests. Called by the handlers `query` and `points`.

use nearfield_engine::View;
use nearfield_segment::filter::{Filter, reads_texts};
use nearfield_segment::search::{EF_DEFAULT, PlanInput, SearchParams, rows_scored};

/// Bytes of a column that one test of a filter reads for each row, about.
const TEST_ROW_BYTES: u64 = 8;
/// A test that reads the text of a row takes about as long as reading so many bytes.
const TEXT_ROW_BYTES: u64 = 4 << 10;
/// Values of an `in` that are looked for in about the time of one test.
const VALUES_PER_TEST: u64 = 16;
/// A filter of more tests is long whatever its rows: even its cost would take a while to find.
const TESTS_MAX: u64 = 64;

/// Finding an id in one segment and copying out its metadata, in the bytes that could be read meanwhile.
const LOOKUP_BYTES: u64 = 4 << 10;
/// Writing a hit with its metadata as text, likewise.
const HIT_BYTES: u64 = 1 << 10;
/// Writing one number of a vector as text, likewise.
const WRITTEN_NUMBER_BYTES: u64 = 256;

/// An estimate of the bytes a piece of work touches.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cost {
    bytes: u64,
}

impl Cost {
    /// Next to nothing.
    pub const SHORT: Cost = Cost { bytes: 0 };
    /// Work of unknown length.
    pub const LONG: Cost = Cost { bytes: u64::MAX };

    /// Work that touches about `bytes` bytes.
    pub fn bytes(bytes: u64) -> Cost {
        Cost { bytes }
    }

    /// Writing `hits` found points as text, with so many `numbers` of a vector for each.
    pub fn of_hits(hits: u64, numbers: u64) -> Cost {
        let each = HIT_BYTES.saturating_add(WRITTEN_NUMBER_BYTES.saturating_mul(numbers));
        Cost { bytes: each.saturating_mul(hits) }
    }

    /// Looking up `points` points of `view` by id, and writing so many `numbers` of a vector for each.
    pub fn of_points(view: &View, points: usize, numbers: u64) -> Cost {
        let found = LOOKUP_BYTES.saturating_mul(view.segments.len() as u64 + 1);
        let each = found.saturating_add(WRITTEN_NUMBER_BYTES.saturating_mul(numbers));
        Cost { bytes: each.saturating_mul(points as u64) }
    }

    /// This and `other`.
    pub fn and(self, other: Cost) -> Cost {
        Cost { bytes: self.bytes.saturating_add(other.bytes) }
    }

    /// Evaluating a filter over `view`: rows × tests, more for tests that read texts. O(segments × tests), both
    /// only as far as the work is still short.
    pub fn of_filter(view: &View, filter: Option<&Filter>) -> Cost {
        let Some(filter) = filter else { return Cost::SHORT };
        let tests = tests(filter);
        if tests > TESTS_MAX {
            return Cost::LONG;
        }
        let mut cost = Cost::SHORT;
        for live in &view.segments {
            if !cost.is_short() {
                break;
            }
            let reads_texts =
                live.segment.payload().is_ok_and(|payload| reads_texts(filter, payload));
            let row_bytes = if reads_texts { TEXT_ROW_BYTES } else { TEST_ROW_BYTES };
            let rows = u64::from(live.segment.rows());
            cost = cost.and(Cost::bytes(rows.saturating_mul(tests * row_bytes)));
        }
        cost
    }

    /// A search for each of so many `vectors` over `view`, the filter aside. O(segments).
    pub fn of_query(view: &View, params: SearchParams<'_>, vectors: usize) -> Cost {
        let candidates = params.ef.unwrap_or(EF_DEFAULT).max(params.k);
        let per_segment = view.segments.iter().map(|live| {
            let rows = live.segment.rows();
            let Ok(field) = live.segment.field(params.field) else { return 0 };
            let row_bytes = 4 * u64::from(field.spec().dim);
            let scored = rows_scored(PlanInput {
                rows,
                allowed: rows,
                has_graph: field.graph().is_some(),
                lists: 0,
                k: candidates,
                ef: Some(candidates),
                exact: params.exact,
            });
            (vectors as u64).saturating_mul(scored.saturating_mul(row_bytes))
        });
        Cost { bytes: per_segment.fold(0, u64::saturating_add) }
    }

    /// Whether the thread that answers requests may do it itself.
    pub fn is_short(self) -> bool {
        self.bytes <= SHORT_BYTES_MAX
    }
}

/// Passes over the rows that a filter makes, about. O(nodes).
fn tests(filter: &Filter) -> u64 {
    match filter {
        Filter::MatchAll => 0,
        Filter::And(filters) | Filter::Or(filters) => filters.iter().map(tests).sum(),
        Filter::Not(filter) => tests(filter),
        Filter::In(_, values) => 1 + values.len() as u64 / VALUES_PER_TEST,
        Filter::Compare(_, _, _) | Filter::Exists(_) | Filter::IsEmpty(_) => 1,
    }
}

/// About a millisecond of one core's memory bandwidth.
const SHORT_BYTES_MAX: u64 = 8 << 20;

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nearfield_engine::batch::{Batch, Draft};
    use nearfield_engine::{Database, ManualClock, Options};
    use nearfield_segment::{Encoding, Metric, Pool, Schema};
    use serde_json::json;

    use super::*;

    /// 5,000 rows with a number and a text of 400 bytes.
    fn view() -> Arc<View> {
        let clock = Arc::new(ManualClock::new(1));
        let db = Database::in_memory(Options::default(), clock, 7).expect("in memory");
        let schema = Schema::dense(1, Metric::L2, Encoding::F32).expect("a good schema");
        let collection = db.create("points", &schema).expect("creates");
        let text = "x".repeat(400);
        let row = |n| Some(json!({ "n": n, "text": text }).to_string().into());
        let draft = Draft {
            rows: 5_000,
            vectors: [(String::new(), vec![0.5; 5_000].into())].into(),
            metadata: (0..5_000).map(row).collect(),
            time_ms: 1,
            ..Draft::default()
        };
        let batch = Batch::new(draft, &schema).expect("good rows");
        collection.apply(batch, &Pool::SERIAL).expect("written");
        collection.view()
    }

    #[test]
    fn the_cost_of_a_filter_grows_with_its_tests_and_with_texts() {
        let view = view();
        let is_short = |filter: serde_json::Value| {
            let filter = Filter::from_json(&filter).expect("a good filter");
            Cost::of_filter(&view, Some(&filter)).is_short()
        };
        let many = |count: usize| json!({"or": vec![json!({"n": 1}); count]});
        assert!(is_short(json!({"n": 1})) && is_short(json!({"text": "y"})) && is_short(many(60)));
        assert!(!is_short(many(65)), "by its tests");
        assert!(!is_short(json!({"text": {"lt": "y"}})), "by the texts of its rows");
        assert!(is_short(json!({"n": {"in": (0..500).collect::<Vec<_>>()}})));
        assert!(!is_short(json!({"n": {"in": (0..5_000).collect::<Vec<_>>()}})), "by its values");
    }
}
