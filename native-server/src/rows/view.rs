//! The live rows of a view, read like a file: for writing them to one.
//!
//! Rows come segment by segment, in the order they lie there. The view does not change meanwhile.

use std::sync::Arc;

use nearfield_engine::{Error, Fault, Result, View};
use nearfield_segment::cancel::{GoOn, always};
use nearfield_segment::filter::Filter;
use nearfield_segment::{DEFAULT_FIELD, PointId, RowId, RowSet};

use super::{IdKind, RowFile, Rows};

/// Text of documents from which a part is handed over, whatever its rows.
const PART_BYTES_MAX: usize = 32 << 20;

/// Live rows of a view that pass a filter, open at the next one.
#[derive(Debug)]
pub(crate) struct ViewRows {
    view: Arc<View>,
    /// By segment.
    rows: Vec<RowSet>,
    dim: usize,
    with_vectors: bool,
    /// The segment that is read, and what is left of it.
    segment: usize,
    left: std::vec::IntoIter<RowId>,
    done: u64,
    total: u64,
}

impl ViewRows {
    /// All live rows, or those that pass `filter`. O(rows).
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` for a collection that has not exactly the default vector field;
    /// `InvalidInput(Filter)`.
    pub(crate) fn new(view: Arc<View>, filter: Option<&Filter>) -> Result<ViewRows> {
        ViewRows::new_while(view, filter, &always)
    }

    /// As [`ViewRows::new`], until `go_on` ends it.
    ///
    /// # Errors
    /// As [`ViewRows::new`]; `Cancelled`.
    pub(crate) fn new_while(
        view: Arc<View>,
        filter: Option<&Filter>,
        go_on: GoOn<'_>,
    ) -> Result<ViewRows> {
        let fields: Vec<&String> = view.schema.vectors.keys().collect();
        let Some(spec) = view.schema.default_field().filter(|_| fields.len() == 1) else {
            let expected = "a collection with the default vector field only (or a .near file)";
            let message = format!("expected {expected}, this one has {fields:?}");
            return Err(Error::invalid(Fault::Parameter, message).with("expected", expected));
        };
        let dim = spec.dim as usize;
        let rows = match filter {
            Some(filter) => view.matching_while(filter, go_on)?,
            None => view.live_rows(),
        };
        let total = rows.iter().map(|rows| u64::from(rows.count())).sum();
        let left = rows.first().map_or_else(Vec::new, |rows| rows.iter().collect()).into_iter();
        Ok(ViewRows { view, rows, dim, with_vectors: true, segment: 0, left, done: 0, total })
    }

    /// The same rows without their elements.
    pub(crate) fn without_vectors(self) -> ViewRows {
        ViewRows { with_vectors: false, ..self }
    }

    /// What kinds of ids there are, from the next row to the last. O(rows).
    pub(crate) fn id_kind(&self) -> IdKind {
        let segments = self.view.segments.iter().zip(&self.rows);
        let ids = segments.flat_map(|(live, rows)| rows.iter().map(|row| live.segment.id_of(row)));
        ids.fold(IdKind::None, |kind, id| kind.with(&id))
    }

    /// The next row that is left, in whichever segment.
    fn next_row(&mut self) -> Option<RowId> {
        loop {
            if let Some(row) = self.left.next() {
                return Some(row);
            }
            let rows = self.rows.get(self.segment + 1)?;
            self.segment += 1;
            self.left = rows.iter().collect::<Vec<_>>().into_iter();
        }
    }
}

impl RowFile for ViewRows {
    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> Option<u64> {
        Some(self.total)
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.total)
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        let (mut rows, mut bytes) = (Rows::default(), 0);
        while rows.count < count_max && bytes < PART_BYTES_MAX {
            let Some(row) = self.next_row() else { break };
            let segment = &self.view.segments[self.segment].segment;
            if self.with_vectors {
                let start = rows.vectors.len();
                rows.vectors.resize(start + self.dim, 0.0);
                segment.field(DEFAULT_FIELD)?.rows().decode(row, &mut rows.vectors[start..]);
            }
            rows.ids.push(segment.id_of(row));
            let metadata = segment.payload().json(row)?.map(str::to_owned);
            bytes += metadata.as_ref().map_or(0, String::len) + 4 * self.dim;
            rows.metadata.push(metadata);
            rows.count += 1;
            self.done += 1;
        }
        Ok(rows)
    }
}

impl IdKind {
    /// The kind of ids of this kind and one more.
    pub(super) fn with(self, id: &PointId) -> IdKind {
        let one = match id {
            PointId::U64(_) => IdKind::Numbers,
            PointId::Uuid(_) | PointId::Str(_) => IdKind::Text,
        };
        match self {
            IdKind::None => one,
            same if same == one => same,
            IdKind::Numbers | IdKind::Text | IdKind::Mixed => IdKind::Mixed,
        }
    }
}
