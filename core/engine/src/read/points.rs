//! Points as stored, in columns: by id, by place, or one after the other.
//!
//! This is the only reader of stored points; bindings, the server and exports convert the columns that it returns.
//! Metadata is the text that was given, borrowed from the view. Not here: what passes a filter (`view`).

use std::borrow::Cow;

use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use nearfield_segment::{PointId, Result, RowId, RowSet};

use crate::read::view::View;

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

    /// Adds a point of `view`. Returns how many bytes of vectors and texts it has.
    fn push(&mut self, view: &'a View, place: Place, columns: Columns<'_>) -> Result<usize> {
        let (segment, row) = (&view.segments[place.0].segment, place.1);
        let mut bytes = 0;
        for (field, elements) in columns.vectors.iter().zip(&mut self.vectors) {
            let rows = segment.field(field)?.rows();
            let start = elements.len();
            elements.resize(start + rows.dim(), 0.0);
            rows.decode(row, &mut elements[start..]);
            bytes += 4 * rows.dim();
        }
        if columns.metadata {
            let text = segment.payload().json(row)?;
            bytes += text.map_or(0, str::len);
            self.metadata.push(text.map(Cow::Borrowed));
        }
        self.ids.push(segment.id_of(row));
        Ok(bytes)
    }
}

impl View {
    /// The points at `places`, in that order. O(elements + bytes of texts).
    ///
    /// # Errors
    /// `NotFound` for an unknown field; `Corrupt` if bytes of metadata are damaged.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn points(
        &self,
        places: impl IntoIterator<Item = Place>,
        columns: Columns<'_>,
    ) -> Result<Points<'_>> {
        let mut points = Points::new(columns);
        for place in places {
            points.push(self, place, columns)?;
        }
        Ok(points)
    }

    /// The id of the point at a place.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn id_at(&self, (segment, row): Place) -> PointId {
        self.segments[segment].segment.id_of(row)
    }

    /// The points of `ids` that there are, in that order, and the positions of those that are missing.
    /// O(ids × segments).
    ///
    /// # Errors
    /// As [`View::points`].
    pub fn get(&self, ids: &[PointId], columns: Columns<'_>) -> Result<(Points<'_>, Vec<usize>)> {
        let (mut points, mut missing) = (Points::new(columns), Vec::new());
        for (position, id) in ids.iter().enumerate() {
            match self.find(id) {
                Some(place) => drop(points.push(self, place, columns)?),
                None => missing.push(position),
            }
        }
        Ok((points, missing))
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
    /// As [`View::count_while`].
    pub fn new(view: &View, filter: Option<&Filter>, go_on: GoOn<'_>) -> Result<Scan> {
        let rows = match filter {
            Some(filter) => view.matching_while(filter, go_on)?,
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

    /// The places of the points that are left.
    pub fn places(&self) -> impl Iterator<Item = Place> {
        let (segment, from) = self.next;
        let left = self.rows.iter().enumerate().skip(segment);
        left.flat_map(move |(index, rows)| {
            let from = if index == segment { from } else { RowId(0) };
            (from.0..rows.len())
                .map(RowId)
                .filter(|&row| rows.contains(row))
                .map(move |row| (index, row))
        })
    }

    /// The next points: `count_max`, or fewer once their vectors and texts have `bytes_max` bytes; none at the end.
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
        let (mut points, mut bytes) = (Points::new(columns), 0);
        let mut next = (self.rows.len(), RowId(0));
        for place in self.places() {
            if points.ids.len() == count_max || bytes >= bytes_max {
                next = place;
                break;
            }
            bytes += points.push(view, place, columns)?;
        }
        self.next = next;
        Ok(points)
    }
}
