//! `Rows`: rows of vectors with ids and metadata; `RowFile`: the trait of what yields them part by part.
//! Implemented by each format of `rows` and by `ViewRows`; read by `nearfield import` and `rows::write`.

use nearfield_engine::Result;
use nearfield_segment::{FieldKinds, PointId};

/// Some consecutive rows of a file.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Rows {
    /// Number of rows.
    pub(crate) count: usize,
    /// Elements, row-major.
    pub(crate) vectors: Vec<f32>,
    /// Ids by row; empty if the file has none.
    pub(crate) ids: Vec<PointId>,
    /// JSON objects by row; empty if the file has none.
    pub(crate) metadata: Vec<Option<String>>,
}

/// Which kinds of ids there are in a place.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum IdKind {
    /// No ids.
    None,
    /// All are numbers from 0 to 2^63 − 1.
    Numbers,
    /// All are numbers from 0 to 2^64 − 1, some of them above 2^63 − 1.
    Large,
    /// All are numbers from −2^63 to 2^63 − 1, some of them negative.
    Signed,
    /// All are UUIDs or strings.
    Text,
    /// Some are numbers and some text, or numbers are both below 0 and above 2^63 − 1.
    Mixed,
}

impl IdKind {
    /// The kind of ids of this kind and one more.
    pub(super) fn with(self, id: &PointId) -> IdKind {
        let one = match id {
            PointId::I64(_) => IdKind::Signed,
            PointId::U64(number) if i64::try_from(*number).is_err() => IdKind::Large,
            PointId::U64(_) => IdKind::Numbers,
            PointId::Uuid(_) | PointId::Str(_) => IdKind::Text,
        };
        match (self, one) {
            (IdKind::None, _) => one,
            (same, _) if same == one => same,
            (IdKind::Numbers, IdKind::Large | IdKind::Signed) => one,
            (IdKind::Large | IdKind::Signed, IdKind::Numbers) => self,
            (_, _) => IdKind::Mixed,
        }
    }
}

/// A file of vectors, open at its next row.
pub(crate) trait RowFile {
    /// Elements of a row.
    fn dim(&self) -> usize;

    /// Metadata fields that are dates by their type, where the file has types.
    fn fields(&self) -> FieldKinds {
        FieldKinds::NONE
    }

    /// Number of rows, where the file says it.
    fn rows(&self) -> Option<u64>;

    /// How much of the file has been read, as (done, total) in a unit of its own.
    fn progress(&self) -> (u64, u64);

    /// The next rows, at most `count_max`; none at the end.
    ///
    /// # Errors
    /// `Corrupt` with file and offset or line, `InvalidInput` for what is well-formed but not usable.
    fn next_rows(&mut self, count_max: usize) -> Result<Rows>;
}
