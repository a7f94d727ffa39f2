//! Points as stored, in columns. Entries: `View::get` (by id), `View::page` (in the order of ids), `Scan`
//! (all); they return `Points`, with the `Columns` that were requested. Called by the server's point
//! requests, Python, `wasm` and row exports.
//!
//! This is the only reader of stored points; bindings, the server and exports convert the columns that it returns.
//! Metadata is the text that was given, borrowed from the view. Not here: what passes a filter (`view`).

use std::borrow::Cow;
use std::collections::BinaryHeap;

use nearfield_segment::cancel::{self, GoOn};
use nearfield_segment::filter::Filter;
use nearfield_segment::format::{Reads, all};
use nearfield_segment::{PointId, Result, RowId, RowSet};

use crate::read::view::View;

/// Rows of a page looked at between two checks whether to go on.
const CHECKED_ROWS: usize = 4096;

/// A row of a view: the index of its segment, and its row there.
pub type Place = (usize, RowId);

/// What is read of each point beside its id.
#[derive(Debug, Clone, Copy, Default)]
pub struct Columns<'a> {
    /// Vector fields.
    pub vectors: &'a [&'a str],
    /// Metadata.
    pub metadata: bool,
}

/// Points in columns; each column has as many entries as there are points, or none if it was not asked for.
#[derive(Debug, Default, Clone)]
pub struct Points<'a> {
    /// Ids.
    pub ids: Vec<PointId>,
    /// By field, in the order of [`Columns::vectors`]: elements, row-major.
    pub vectors: Vec<Vec<f32>>,
    /// JSON texts as given; `None` for a point without metadata.
    pub metadata: Vec<Option<Cow<'a, str>>>,
}

impl<'a> Points<'a> {
    fn new(columns: Columns<'_>) -> Points<'a> {
        Points { vectors: vec![Vec::new(); columns.vectors.len()], ..Points::default() }
    }

    /// Adds a point of `view`. Returns how many bytes of vectors and texts it has; what is missing of them is noted in
    /// `reads`.
    fn push(
        &mut self,
        view: &'a View,
        (id, place): (PointId, Place),
        columns: Columns<'_>,
        reads: &mut Reads,
    ) -> Result<usize> {
        let (segment, row) = (&view.segments[place.0].segment, place.1);
        let mut bytes = 0;
        for (field, elements) in columns.vectors.iter().zip(&mut self.vectors) {
            let field = segment.field(field)?;
            let (start, dim) = (elements.len(), field.spec().dim as usize);
            elements.resize(start + dim, 0.0);
            reads.note(field.decode(row, &mut elements[start..]))?;
            bytes += 4 * dim;
        }
        if columns.metadata {
            let text = reads.note(segment.text(row))?.flatten();
            bytes += text.as_deref().map_or(0, str::len);
            self.metadata.push(text);
        }
        self.ids.push(id);
        Ok(bytes)
    }
}

impl View {
    /// The points of these ids at these places, in that order. O(elements + bytes of texts).
    ///
    /// # Errors
    /// `NotFound` for an unknown field; `Corrupt` if bytes of metadata are damaged; `NotResident` after everything
    /// that is missing was requested.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn points(
        &self,
        found: impl IntoIterator<Item = (PointId, Place)>,
        columns: Columns<'_>,
    ) -> Result<Points<'_>> {
        let (mut points, mut reads) = (Points::new(columns), Reads::default());
        for point in found {
            points.push(self, point, columns, &mut reads)?;
        }
        reads.end()?;
        Ok(points)
    }

    /// The points of `ids` that there are, in that order, and the positions of those that are missing.
    /// O(ids × segments).
    ///
    /// # Errors
    /// As [`View::points`].
    pub fn get(&self, ids: &[PointId], columns: Columns<'_>) -> Result<(Points<'_>, Vec<usize>)> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        all(self.segments.iter().map(|live| live.segment.request_ids()))?;
        let places = all(ids.iter().map(|id| self.find(id)))?;
        for (position, (id, place)) in ids.iter().zip(places).enumerate() {
            match place {
                Some(place) => found.push((id.clone(), place)),
                None => missing.push(position),
            }
        }
        Ok((self.points(found, columns)?, missing))
    }

    /// The first `limit` points behind the id `after` that pass `filter`, in order of their ids; until `go_on` ends it.
    /// O(rows × log limit).
    ///
    /// # Errors
    /// As [`View::count`].
    pub fn page(
        &self,
        after: Option<&PointId>,
        limit: usize,
        filter: Option<&Filter>,
        go_on: GoOn<'_>,
    ) -> Result<Vec<(PointId, Place)>> {
        let mut smallest = BinaryHeap::new();
        for (index, (id, place)) in Scan::new(self, filter, go_on)?.points(self)?.enumerate() {
            if index.is_multiple_of(CHECKED_ROWS) {
                cancel::check(go_on)?;
            }
            if after.is_none_or(|after| id > *after) {
                smallest.push((id, place));
            }
            if smallest.len() > limit {
                smallest.pop();
            }
        }
        Ok(smallest.into_sorted_vec())
    }
}

/// A position among the live rows of a view that pass a filter, in the order of segments and rows. Takes one view
/// throughout: the one it was made for.
#[derive(Debug, Clone)]
pub struct Scan {
    /// By segment.
    rows: Vec<RowSet>,
    next: Place,
}

impl Scan {
    /// All live rows, or those that pass `filter`, until `go_on` ends it. O(rows).
    ///
    /// # Errors
    /// As [`View::count`].
    pub fn new(view: &View, filter: Option<&Filter>, go_on: GoOn<'_>) -> Result<Scan> {
        let rows = match filter {
            Some(filter) => view.matching(filter, go_on)?,
            None => view.live_rows(),
        };
        Ok(Scan { rows, next: (0, RowId(0)) })
    }

    /// Goes on at `place`, which need not be a row of the scan.
    #[must_use]
    pub fn at(self, place: Place) -> Scan {
        Scan { next: place, ..self }
    }

    /// Number of points of the whole scan.
    pub fn total(&self) -> u64 {
        self.rows.iter().map(|rows| u64::from(rows.count())).sum()
    }

    /// Where it goes on; `None` at the end.
    pub fn place(&self) -> Option<Place> {
        (self.next.0 < self.rows.len()).then_some(self.next)
    }

    /// The points that are left, with their places. Reads the ids of every segment.
    ///
    /// # Errors
    /// `NotResident`, `Corrupt`.
    pub fn points<'a>(
        &'a self,
        view: &'a View,
    ) -> Result<impl Iterator<Item = (PointId, Place)> + use<'a>> {
        let ids = all(view.segments.iter().map(|live| live.segment.ids()))?;
        let (segment, from) = self.next;
        let left = self.rows.iter().zip(ids).enumerate().skip(segment);
        Ok(left.flat_map(move |(index, (rows, ids))| {
            let from = if index == segment { from } else { RowId(0) };
            (from.0..rows.len())
                .map(RowId)
                .filter(|&row| rows.contains(row))
                .map(move |row| (ids.id(row), (index, row)))
        }))
    }

    /// The next points: `count_max`, or fewer once their vectors and texts have `bytes_max` bytes; none at the end.
    /// After an error the same points are next.
    ///
    /// # Errors
    /// As [`View::points`].
    pub fn next<'a>(
        &mut self,
        view: &'a View,
        columns: Columns<'_>,
        count_max: usize,
        bytes_max: usize,
    ) -> Result<Points<'a>> {
        let (mut points, mut reads) = (Points::new(columns), Reads::default());
        let (mut bytes, mut next) = (0, (self.rows.len(), RowId(0)));
        for (id, place) in self.points(view)? {
            if points.ids.len() == count_max || bytes >= bytes_max {
                next = place;
                break;
            }
            bytes += points.push(view, (id, place), columns, &mut reads)?;
        }
        reads.end()?;
        self.next = next;
        Ok(points)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use nearfield_segment::cancel::never_cancelled;
    use nearfield_segment::{Encoding, Metric, Pool, Schema};
    use serde_json::json;

    use super::*;
    use crate::write::batch::{Batch, Draft};
    use crate::{Database, ManualClock, Options};

    /// Points `{"n": id}` with the vector `[id]` in several segments, ids falling; 3 is deleted.
    fn view() -> Arc<View> {
        let clock = Arc::new(ManualClock::new(1));
        let database = Database::in_memory(Options::default(), clock, 1).expect("opens");
        let schema = Schema::dense(1, Metric::L2, Encoding::F32).expect("a good schema");
        let collection = database.create("points", &schema).expect("creates");
        let apply = |draft| {
            let batch = Batch::new(draft, &schema).expect("a good batch");
            collection.apply(batch, &Pool::SERIAL).expect("applies");
        };
        for ids in [[9u64, 8, 7], [6, 5, 4], [3, 2, 1]] {
            apply(Draft {
                ids: Some(ids.map(PointId::U64).to_vec()),
                rows: 3,
                vectors: [(String::new(), ids.map(|id| id as f32).to_vec().into())].into(),
                metadata: ids.map(|id| Some(format!("{{\"n\":{id}}}").into())).to_vec(),
                ..Draft::default()
            });
        }
        apply(Draft { deletes: vec![PointId::U64(3)], ..Draft::default() });
        collection.view()
    }

    fn ids(points: &Points<'_>) -> Vec<PointId> {
        points.ids.clone()
    }

    fn numbers<const N: usize>(ids: [u64; N]) -> Vec<PointId> {
        ids.map(PointId::U64).to_vec()
    }

    #[test]
    fn columns_are_in_the_order_of_the_ids_and_missing_ones_are_named() {
        let columns = Columns { vectors: &[""], metadata: true };
        let view = view();
        let (points, missing) = view.get(&numbers([5, 3, 9]), columns).expect("reads");
        assert_eq!((ids(&points), missing), (numbers([5, 9]), vec![1]));
        assert_eq!(points.vectors, [[5.0, 9.0]]);
        assert_eq!(points.metadata[1].as_deref(), Some("{\"n\":9}"));
    }

    #[test]
    fn a_scan_goes_on_where_it_stopped_and_ends_at_either_bound() {
        let (view, all) = (view(), Columns { vectors: &[""], metadata: true });
        let mut scan = Scan::new(&view, None, &never_cancelled).expect("begins");
        assert_eq!(scan.total(), 8);
        let mut next = |count, bytes| ids(&scan.next(&view, all, count, bytes).expect("reads"));
        assert_eq!(next(2, usize::MAX), numbers([9, 8]));
        assert_eq!(next(9, 12), numbers([7, 6]), "a point has eleven bytes");
        assert_eq!(next(4, usize::MAX), numbers([5, 4, 2, 1]));
        assert_eq!(scan.place(), None);
        let again = Scan::new(&view, None, &never_cancelled).expect("begins").at((1, RowId(1)));
        assert_eq!(
            again.points(&view).expect("reads").map(|(id, _)| id).collect::<Vec<_>>(),
            numbers([5, 4, 2, 1])
        );
    }

    #[test]
    fn a_page_is_in_the_order_of_ids() {
        let view = view();
        let filter = Filter::from_json(&json!({"n": {"lt": 8}})).expect("a filter");
        let page =
            view.page(Some(&PointId::U64(1)), 3, Some(&filter), &never_cancelled).expect("reads");
        let found: Vec<PointId> = page.into_iter().map(|(id, _)| id).collect();
        assert_eq!(found, numbers([2, 4, 5]));
    }
}
