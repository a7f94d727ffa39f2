//! What a search or a look-up will take, so that long ones do not hold up the threads that answer requests.

use nearfield_engine::View;

/// Vectors that a graph search looks at for each candidate it keeps.
const SCORED_PER_CANDIDATE: u64 = 16;
/// Bytes of columns that a filter reads for each row, about.
const FILTER_ROW_BYTES: u64 = 8;

/// Finding an id in one segment and copying out its metadata, in the bytes that could be read meanwhile.
const LOOKUP_BYTES: u64 = 4 << 10;
/// Writing one number of a vector as text, likewise.
const WRITTEN_NUMBER_BYTES: u64 = 256;

/// What a query asks for, as far as its cost depends on it.
#[derive(Debug, Clone, Copy)]
pub struct Asked<'a> {
    /// The vector field.
    pub field: &'a str,
    /// How many vectors are asked with.
    pub vectors: usize,
    /// How many candidates a graph search keeps: `ef`, or `k` if that is more.
    pub candidates: usize,
    /// Every row is compared.
    pub exact: bool,
    /// There is a filter.
    pub filtered: bool,
}

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

    /// A query over `view`. O(segments).
    pub fn of_query(view: &View, asked: Asked<'_>) -> Cost {
        let per_segment = view.segments.iter().map(|live| {
            let rows = u64::from(live.segment.rows());
            let Ok(field) = live.segment.field(asked.field) else { return 0 };
            let row_bytes = 4 * u64::from(field.spec().dim);
            let candidates = (asked.candidates as u64).saturating_mul(SCORED_PER_CANDIDATE);
            let scans = asked.exact || field.graph().is_none();
            let scored = if scans { rows } else { rows.min(candidates) };
            let vectors = (asked.vectors as u64).saturating_mul(scored.saturating_mul(row_bytes));
            vectors.saturating_add(if asked.filtered { rows * FILTER_ROW_BYTES } else { 0 })
        });
        Cost { bytes: per_segment.fold(0, u64::saturating_add) }
    }

    /// Whether the thread that answers requests may do it itself.
    pub fn is_short(self) -> bool {
        self.bytes <= SHORT_BYTES_MAX
    }
}

/// About a millisecond of one core's memory bandwidth.
const SHORT_BYTES_MAX: u64 = 8 << 20;
