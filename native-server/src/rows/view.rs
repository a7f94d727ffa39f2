//! `ViewRows`: reads the live rows of a `View` like a row file, to write them to another format. Used by `nearfield
//! export` and the route `export`.
//!
//! Rows come segment by segment, in the order they lie there. The view does not change meanwhile.

use std::borrow::Cow;
use std::sync::Arc;

use nearfield_engine::{Columns, Error, Fault, Result, Scan, View};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use nearfield_segment::{DEFAULT_FIELD, FieldKinds};

use super::row_file::{IdKind, RowFile, Rows};

/// Text of documents from which a part is handed over, whatever its rows.
const PART_BYTES_MAX: usize = 32 << 20;

/// Live rows of a view that pass a filter, open at the next one.
#[derive(Debug)]
pub(crate) struct ViewRows {
    view: Arc<View>,
    scan: Scan,
    columns: Columns<'static>,
    dim: usize,
    done: u64,
    total: u64,
}

impl ViewRows {
    /// All live rows, or those that pass `filter`, unless `go_on` ends the search for them. O(rows).
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` for a collection that has not exactly the default vector field;
    /// `InvalidInput(Filter)`; `Cancelled`.
    pub(crate) fn new(
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
        let scan = Scan::new(&view, filter, go_on)?;
        let columns = Columns { vectors: &[DEFAULT_FIELD], metadata: true };
        let total = scan.total();
        Ok(ViewRows { view, scan, columns, dim, done: 0, total })
    }

    /// The same rows without their elements.
    pub(crate) fn without_vectors(self) -> ViewRows {
        ViewRows { columns: Columns { vectors: &[], metadata: true }, ..self }
    }

    /// What kinds of ids there are, from the next row to the last. O(rows).
    ///
    /// # Errors
    /// `Corrupt` if ids are damaged.
    pub(crate) fn id_kind(&self) -> Result<IdKind> {
        let points = self.scan.points(&self.view)?;
        Ok(points.fold(IdKind::None, |kind, (id, _)| kind.with(&id)))
    }
}

impl RowFile for ViewRows {
    fn dim(&self) -> usize {
        self.dim
    }

    fn fields(&self) -> FieldKinds {
        self.view.schema.fields.clone()
    }

    fn rows(&self) -> Option<u64> {
        Some(self.total)
    }

    fn progress(&self) -> (u64, u64) {
        (self.done, self.total)
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        let points = self.scan.next(&self.view, self.columns, count_max, PART_BYTES_MAX)?;
        let count = points.ids.len();
        self.done += count as u64;
        let metadata = points.metadata.into_iter().map(|text| text.map(Cow::into_owned)).collect();
        let vectors = points.vectors.into_iter().next().unwrap_or_default();
        Ok(Rows { ids: points.ids, vectors, metadata, count })
    }
}
