//! Points of a partial export by place or id: metadata, vectors, lists of ids.
//!
//! Calls take many rows, so that the missing ranges of all of them are requested together.

use nearfield_segment::filter::Filter;
use nearfield_segment::format::{Section, SectionKind};
use nearfield_segment::payload::TextPlaces;
use nearfield_segment::{Error, PointId, Result};

use std::borrow::Cow;

use super::PartialCollection;
use super::part::Part;
use super::reads::all;
use crate::read::points::{Columns, Place, Points};

impl PartialCollection {
    /// The columns of points whose places and ids are known. Asks for all that is missing of all columns.
    ///
    /// # Errors
    /// As [`PartialCollection::metadata`] and [`PartialCollection::vectors`].
    ///
    /// # Panics
    /// If there is no such row.
    pub fn points(
        &self,
        found: Vec<(Place, PointId)>,
        columns: Columns<'_>,
    ) -> Result<Points<'static>> {
        let (places, ids): (Vec<Place>, Vec<PointId>) = found.into_iter().unzip();
        let texts = columns.metadata.then(|| self.metadata(&places)).transpose();
        let vectors = all(columns.vectors.iter().map(|field| self.vectors(field, &places)));
        let (texts, vectors) = (texts?.unwrap_or_default(), vectors?);
        let metadata = texts.into_iter().map(|text| text.map(Cow::Owned)).collect();
        Ok(Points { ids, vectors, metadata })
    }

    /// The points of `ids` that there are, in that order, and the positions of those that are missing. Reads the ids
    /// of every segment.
    ///
    /// # Errors
    /// As [`PartialCollection::points`].
    pub fn get(
        &self,
        ids: &[PointId],
        columns: Columns<'_>,
    ) -> Result<(Points<'static>, Vec<usize>)> {
        let (mut found, mut missing) = (Vec::new(), Vec::new());
        for (position, (id, place)) in ids.iter().zip(self.find(ids)?).enumerate() {
            match place {
                Some(place) => found.push((place, id.clone())),
                None => missing.push(position),
            }
        }
        Ok((self.points(found, columns)?, missing))
    }

    /// The metadata of rows, as given; `None` for a row without any. Two rounds: where the texts are, and the texts.
    ///
    /// # Errors
    /// `NotResident`; `Corrupt`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn metadata(&self, places: &[Place]) -> Result<Vec<Option<String>>> {
        let range = |&(segment, row): &Place| {
            let part: &Part = &self.parts[segment];
            let texts = TextPlaces::new(part.rows());
            let section = part.section(SectionKind::Metadata)?;
            let bytes = section.read(texts.entry(row))?;
            let range = texts.text(&bytes, section.entry().len);
            range.map(|range| (section, range)).map_err(|error| error.context(&part.name))
        };
        let ranges = all(places.iter().map(range))?;
        let text = |(section, range): (&Section, std::ops::Range<u64>)| {
            let bytes = section.read(range)?;
            let text = std::str::from_utf8(&bytes)
                .map_err(|error| Error::corrupt("metadata", "text", error))?;
            Ok((!text.is_empty()).then(|| text.to_owned()))
        };
        all(ranges.into_iter().map(text))
    }

    /// The stored vectors of rows, one after the other.
    ///
    /// # Errors
    /// `NotResident`; `NotFound` for an unknown field; `Corrupt`.
    ///
    /// # Panics
    /// If there is no such row.
    pub fn vectors(&self, field: &str, places: &[Place]) -> Result<Vec<f32>> {
        let (ordinal, spec) = self.vector_field(field)?;
        let dim = spec.dim as usize;
        let mut values = vec![0.0; places.len() * dim];
        let read = |(&(segment, row), out): (&Place, &mut [f32])| {
            self.parts[segment].field(ordinal).decode(row, out)
        };
        all(places.iter().zip(values.chunks_exact_mut(dim)).map(read))?;
        Ok(values)
    }

    /// Where live points are; `None` for ids there are not. Reads the ids of every segment.
    ///
    /// # Errors
    /// `NotResident`; `Corrupt`.
    pub fn find(&self, ids: &[PointId]) -> Result<Vec<Option<Place>>> {
        let tables = all(self.parts.iter().map(Part::ids))?;
        let find = |id: &PointId| {
            let newest_first = self.parts.iter().zip(&tables).enumerate().rev();
            newest_first.into_iter().find_map(|(segment, (part, table))| {
                let row = table.find(id).filter(|&row| part.live().contains(row))?;
                Some((segment, row))
            })
        };
        Ok(ids.iter().map(find).collect())
    }

    /// The first `count` live points behind `after` (from the start if `None`) that pass the filter, by segment
    /// and row.
    ///
    /// # Errors
    /// `NotResident`; `InvalidInput(Filter)`; `Corrupt`.
    pub fn scan(
        &self,
        after: Option<Place>,
        count: usize,
        filter: Option<&Filter>,
    ) -> Result<Vec<(Place, PointId)>> {
        let passing = self.passing(filter)?;
        let tables = all(self.parts.iter().map(Part::ids))?;
        let rows = passing.iter().zip(&tables).enumerate().flat_map(|(segment, (rows, ids))| {
            rows.iter().map(move |row| ((segment, row), ids.id(row)))
        });
        let is_behind = |place: &Place| after.is_none_or(|after| *place > after);
        Ok(rows.filter(|(place, _)| is_behind(place)).take(count).collect())
    }

    /// Number of live points that pass a filter.
    ///
    /// # Errors
    /// `NotResident`; `InvalidInput(Filter)`; `Corrupt`.
    pub fn count(&self, filter: Option<&Filter>) -> Result<u64> {
        Ok(self.passing(filter)?.iter().map(|rows| u64::from(rows.count())).sum())
    }

    /// Live rows of each segment that pass.
    pub(super) fn passing(
        &self,
        filter: Option<&Filter>,
    ) -> Result<Vec<nearfield_segment::RowSet>> {
        let Some(filter) = filter else {
            return Ok(self.parts.iter().map(|part| part.live().clone()).collect());
        };
        self.check_fields(filter)?;
        all(self.parts.iter().map(Part::columns))?;
        all(self.parts.iter().map(|part| part.passing(filter)))
    }
}
