//! A search over cells: which to read, their codes, and the originals of the best where asked for.

use nearfield_segment::cancel::always;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::K_MAX;
use nearfield_segment::vector::lists::{Budget, InvertedList, Spot, choose};
use nearfield_segment::vector::{Codec, ListCodec, RowScorer, SearchStats, flat};
use nearfield_segment::{
    Allowed, Error, Fault, Metric, PointId, Result, RowId, RowSet, VectorSpec, unknown_field,
};

use super::part::Part;
use super::reads::all;
use super::{PartialCollection, PartialExport};

/// About as many bytes of cells are read by default: measured (docs/internals/decisions/0032).
pub const CELL_BYTES_DEFAULT: u64 = 1_400_000;
/// Fewest cells that are read unasked, however large they are.
const CELLS_DEFAULT_MIN: usize = 16;
/// A good number of runs of cells: with the front and the tables a first answer is within twelve requests.
pub const REQUESTS_DEFAULT: usize = 9;

/// Cells with less between them are fetched as one.
const MERGED_GAP_BYTES: u64 = 32 * 1024;

/// What is asked.
#[derive(Debug, Clone, Copy)]
pub struct PartialSearchParams<'a> {
    /// Vector field searched.
    pub field: &'a str,
    /// The query.
    pub vector: &'a [f32],
    /// Results wanted; fewer come back if fewer rows were scored.
    pub k: usize,
    /// Cells to read: `None` = about [`CELL_BYTES_DEFAULT`] of them; as many as there are, or more = every row.
    pub cells: Option<usize>,
    /// Most runs of cells, unless all are read.
    pub requests_max: usize,
    /// Only points that pass.
    pub filter: Option<&'a Filter>,
    /// So many of the best by their codes are compared again by their originals, at least `k`; 0 = none are.
    pub rerank: usize,
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialHit {
    /// The point.
    pub id: PointId,
    /// Internal distance, smaller is closer.
    pub distance: f32,
    /// True if the distance is that of the original, in the bits of any exact search; else it is that of codes.
    pub exact: bool,
    /// Index of its segment.
    pub segment: usize,
    /// Its row there.
    pub row: RowId,
}

/// What was found and what it took.
#[derive(Debug, Clone, PartialEq)]
pub struct PartialAnswer {
    /// Nearest first; equal distances by id.
    pub hits: Vec<PartialHit>,
    /// Cells read.
    pub cells_searched: usize,
    /// Cells of the field.
    pub cells_total: usize,
    /// Rows compared with the query.
    pub rows_scored: u64,
    /// Rows compared by their originals after their codes.
    pub reranked: usize,
    /// Part of the live rows that were scored, or that the filter excludes: at 1 nothing was left out.
    pub coverage: f64,
}

/// A segment that is searched, with the rows that may be returned.
struct Source<'a> {
    part: &'a Part,
    allowed: RowSet,
}

/// Search parameters that were checked, with what they name.
struct Asked<'a> {
    params: &'a PartialSearchParams<'a>,
    export: &'a PartialExport,
    spec: &'a VectorSpec,
    field: u16,
}

/// A row that was scored.
struct Scored {
    distance: f32,
    exact: bool,
    segment: usize,
    row: RowId,
    id: PointId,
}

impl PartialExport {
    /// Answers from cells; segments without any are scanned, exactly. Call it again after `NotResident`, when what was wanted
    /// is here.
    ///
    /// # Errors
    /// `NotResident`; `InvalidInput` for an impossible query, `NotFound` for an unknown field; `Corrupt`.
    pub fn search(
        &self,
        collection: &PartialCollection,
        params: &PartialSearchParams<'_>,
    ) -> Result<PartialAnswer> {
        let asked = self.check(collection, params)?;
        let sources = sources(collection, &asked)?;
        let (chosen, cells_total) = asked.choose_cells(&sources)?;
        let read = |&(segment, cell): &(usize, usize)| {
            let cell = sources[segment].part.field(asked.field).cell(cell)?;
            Ok((segment, cell))
        };
        let cells = all(chosen.iter().map(read))?;
        let (mut scored, mut rows_scored) = asked.score(&sources, &cells);
        let reranked = asked.rerank(&sources, &mut scored)?;
        rows_scored += asked.scan(&sources, &mut scored)?;
        sort(&mut scored);
        scored.truncate(params.k);
        asked.limit_cosines(&mut scored);
        let allowed: u64 = sources.iter().map(|source| u64::from(source.allowed.count())).sum();
        let live = collection.live();
        let seen = (rows_scored + live - allowed).min(live);
        let coverage = if live == 0 { 1.0 } else { seen as f64 / live as f64 };
        let cells_searched = cells.len();
        let hits = scored.into_iter().map(Scored::hit).collect();
        Ok(PartialAnswer { hits, cells_searched, cells_total, rows_scored, reranked, coverage })
    }

    fn check<'a>(
        &'a self,
        collection: &'a PartialCollection,
        params: &'a PartialSearchParams<'a>,
    ) -> Result<Asked<'a>> {
        let numbers = [
            ("k", params.k),
            ("cells", params.cells.unwrap_or(1)),
            ("requests_max", params.requests_max),
        ];
        if let Some((name, value)) = numbers.into_iter().find(|&(_, v)| v == 0 || v > K_MAX) {
            let message = format!("{name}: expected 1 to {K_MAX}, got {value}");
            return Err(Error::invalid(Fault::Parameter, message)
                .with("expected", format!("1 to {K_MAX}"))
                .with("got", value));
        }
        let (field, spec) = collection.vector_field(params.field)?;
        spec.check_query(params.vector, 0)?;
        Ok(Asked { params, export: self, spec, field })
    }
}

impl PartialCollection {
    /// Position and spec of a vector field.
    pub(super) fn vector_field(&self, name: &str) -> Result<(u16, &VectorSpec)> {
        let mut fields = (0..).zip(&self.schema.vectors);
        let found = fields.find(|(_, (field, _))| field.as_str() == name);
        found
            .map(|(ordinal, (_, spec))| (ordinal, spec))
            .ok_or_else(|| unknown_field(name, self.schema.vectors.keys().map(String::as_str)))
    }
}

/// Segments with the rows that may be returned. Asks for all that a search needs beside the cells.
fn sources<'a>(collection: &'a PartialCollection, asked: &Asked<'_>) -> Result<Vec<Source<'a>>> {
    let parts = &collection.parts;
    let filter = asked.params.filter;
    let known = filter.map_or(Ok(()), |filter| collection.check_fields(filter));
    let ready = parts.iter().flat_map(|part| {
        let field = part.field(asked.field);
        let rows = match field.table() {
            Ok(Some(_)) => Ok(()),
            Ok(None) => all([field.all_rows().map(drop), part.ids().map(drop)]).map(drop),
            Err(error) => Err(error),
        };
        let columns = filter.map_or(Ok(()), |_| part.columns().map(drop));
        [rows, columns]
    });
    all([known].into_iter().chain(ready))?;
    let source = |part: &'a Part| {
        let passing = filter.map(|filter| part.passing(filter)).transpose()?;
        let allowed = passing.unwrap_or_else(|| part.live().clone());
        Ok(Source { part, allowed })
    };
    all(parts.iter().map(source))
}

impl Asked<'_> {
    /// Cells to read, as (segment, cell), and how many there are.
    fn choose_cells(&self, sources: &[Source<'_>]) -> Result<(Vec<(usize, usize)>, usize)> {
        let query = ListCodec::new(self.spec).query(self.params.vector);
        let (mut places, mut total) = (Vec::new(), 0);
        for (segment, source) in sources.iter().enumerate() {
            let field = source.part.field(self.field);
            let Some(table) = field.table()? else { continue };
            total += table.places().len();
            if source.allowed.is_empty() {
                continue;
            }
            let start = field.cells_start();
            let cells =
                table.places().iter().zip(table.distances(self.export.kernel, &query)).enumerate();
            places.extend(cells.map(|(cell, (place, distance))| {
                (start + place.range.start..start + place.range.end, distance, (segment, cell))
            }));
        }
        places.sort_by_key(|(range, _, _)| range.start);
        let mut end = None;
        let spot = |(range, distance, _): &(std::ops::Range<u64>, f32, (usize, usize))| {
            let joined = end.is_some_and(|end| range.start <= end + MERGED_GAP_BYTES);
            end = Some(range.end);
            Spot { distance: *distance, joined }
        };
        let spots: Vec<Spot> = places.iter().map(spot).collect();
        let bytes: u64 = places.iter().map(|(range, _, _)| range.end - range.start).sum();
        let usual = CELL_BYTES_DEFAULT * places.len() as u64 / bytes.max(1);
        let cells = self.params.cells.unwrap_or((usual as usize).max(CELLS_DEFAULT_MIN));
        // A search of all cells has no bound on its runs.
        let runs = if cells >= spots.len() { spots.len() } else { self.params.requests_max };
        let chosen = choose(&spots, Budget { lists: cells, runs });
        Ok((chosen.into_iter().map(|position| places[position].2).collect(), total))
    }

    /// The best of the allowed rows by their codes, and how many were compared.
    fn score(&self, sources: &[Source<'_>], cells: &[(usize, InvertedList)]) -> (Vec<Scored>, u64) {
        let query = ListCodec::new(self.spec).query(self.params.vector);
        let mut found = Vec::new();
        for (place, (segment, cell)) in cells.iter().enumerate() {
            let allowed = Allowed::Only(&sources[*segment].allowed);
            let positions = (0..cell.rows().len() as u32).map(RowId);
            let may_return = |position: &RowId| allowed.contains(cell.rows()[position.index()]);
            let positions: Vec<RowId> = positions.filter(may_return).collect();
            let distances = cell.distances(self.export.kernel, &query, &positions);
            let places = positions.iter().map(|position| (place, position.index()));
            found.extend(
                distances.zip(places).map(|(distance, (place, index))| (distance, place, index)),
            );
        }
        let count = found.len() as u64;
        keep_best(&mut found, self.params.k.max(self.params.rerank));
        let scored = found.into_iter().map(|(distance, place, index)| {
            let (segment, cell) = &cells[place];
            let (row, id) = (cell.rows()[index], cell.id(index));
            Scored { distance, exact: false, segment: *segment, row, id }
        });
        (scored.collect(), count)
    }

    /// Puts exact distances in the place of those of codes; returns how many.
    fn rerank(&self, sources: &[Source<'_>], scored: &mut Vec<Scored>) -> Result<usize> {
        if self.params.rerank == 0 {
            return Ok(0);
        }
        sort(scored);
        scored.truncate(self.params.rerank.max(self.params.k));
        let distance = |scored: &Scored| {
            let field = sources[scored.segment].part.field(self.field);
            field.distance(scored.row, self.params.vector, self.export.kernel)
        };
        let distances = all(scored.iter().map(distance))?;
        for (scored, distance) in scored.iter_mut().zip(&distances) {
            (scored.distance, scored.exact) = (*distance, true);
        }
        Ok(distances.len())
    }

    /// Codes are not of length one: moves cosines that they put beyond ±1 to ±1. The rows are chosen by then.
    fn limit_cosines(&self, scored: &mut [Scored]) {
        if self.spec.metric == Metric::Cosine {
            for scored in scored.iter_mut().filter(|scored| !scored.exact) {
                scored.distance = scored.distance.clamp(-1.0, 1.0);
            }
            sort(scored);
        }
    }

    /// Adds the nearest rows of segments without cells; returns how many were compared.
    fn scan(&self, sources: &[Source<'_>], scored: &mut Vec<Scored>) -> Result<u64> {
        let mut stats = SearchStats::default();
        for (segment, source) in sources.iter().enumerate() {
            let field = source.part.field(self.field);
            if field.has_cells() {
                continue;
            }
            let (all_rows, ids) = (field.all_rows()?, source.part.ids()?);
            let rows = all_rows.rows()?;
            let scorer = RowScorer::new(rows, self.export.kernel, self.params.vector);
            let tie = |a, b| ids.id(a).cmp(&ids.id(b));
            let allowed = Allowed::Only(&source.allowed);
            let found = flat::search(
                &scorer,
                rows.len(),
                allowed,
                flat::Wanted::nearest(self.params.k),
                tie,
                &mut stats,
                &always,
            )?;
            scored.extend(found.into_iter().map(|candidate| {
                let (distance, row) = (candidate.distance(), candidate.row());
                Scored { distance, exact: true, segment, row, id: ids.id(row) }
            }));
        }
        Ok(stats.scored)
    }
}

/// Keeps the `count` nearest and all that tie with the last of them: ids decide between those.
fn keep_best(found: &mut Vec<(f32, usize, usize)>, count: usize) {
    if found.len() <= count {
        return;
    }
    let (_, last, _) = found.select_nth_unstable_by(count - 1, |a, b| a.0.total_cmp(&b.0));
    let last = last.0;
    found.retain(|(distance, _, _)| distance.total_cmp(&last).is_le());
}

fn sort(scored: &mut [Scored]) {
    scored.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
}

impl Scored {
    fn hit(self) -> PartialHit {
        let Scored { distance, exact, segment, row, id } = self;
        PartialHit { id, distance, exact, segment, row }
    }
}
