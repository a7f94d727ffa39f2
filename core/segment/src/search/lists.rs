//! Searches the inverted lists of all segments: picks the nearest lists, reads their codes, scores them, and
//! on request reranks the best rows on their stored vectors. Entry: `search_lists`, called by
//! `Prepared::search`; [`ListParams`] are its settings.
//!
//! Lists are chosen over all segments at once, because the cost is the number of runs in the file: lists
//! adjacent there, fetched by one range request. Distances are those of codes, near the exact ones, unless
//! the rows are reranked. Not here: how a list is stored and which lists are nearest (`vector::lists`).

use std::ops::Range;

use super::{Hit, Prepared, PreparedSource, SearchStats, nth, sort_hits};
use crate::allowed::Allowed;
use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::all;
use crate::ids::RowId;
use crate::metric::Metric;
use crate::vector::lists::{Budget, InvertedList, Spot, StoredLists, choose};
use crate::vector::{AccessPath, Codec, ListCodec, VectorField};

/// About as many bytes of lists are read by default: measured (docs/internals/decisions/0032).
const LIST_BYTES_DEFAULT: u64 = 1_400_000;
/// Fewest lists that are read by default, however large they are.
const LISTS_DEFAULT_MIN: usize = 16;
/// Runs that are read by default. A run is lists adjacent in the file, fetched by one range request. With the file
/// header and the list tables a first answer takes at most twelve requests.
pub const RUNS_DEFAULT: usize = 9;

/// Lists with less between them are fetched as one.
const MERGED_GAP_BYTES: u64 = 32 * 1024;

/// How inverted lists are searched.
#[derive(Debug, Clone, Copy)]
pub struct ListParams {
    /// Lists to read: `None` = about 1.4 MB of them, at least 16; `Some(n)` with n ≥ the number of lists reads every
    /// row.
    pub lists: Option<usize>,
    /// Most runs of lists, unless all are read.
    pub runs_max: usize,
    /// Rows to rerank on their stored vectors: max(this, k); 0 = no rerank.
    pub rerank: usize,
}

impl Default for ListParams {
    fn default() -> Self {
        ListParams { lists: None, runs_max: RUNS_DEFAULT, rerank: 0 }
    }
}

impl ListParams {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// `InvalidInput` for a number of 0 or above [`K_MAX`](super::K_MAX).
    pub fn check(&self) -> Result<()> {
        for (name, value) in [("lists", self.lists.unwrap_or(1)), ("runs_max", self.runs_max)] {
            super::check_count(name, value)?;
        }
        Ok(())
    }
}

/// A list as a choice: its bytes in the file, how near it is, and which it is of which source.
#[derive(Clone)]
struct Choice {
    range: Range<u64>,
    distance: f32,
    source: usize,
    list: usize,
}

/// A list that was read.
struct ReadList<'a> {
    source: usize,
    allowed: Allowed<'a>,
    list: InvertedList,
}

/// A scored row: its distance, which of the read lists has it, and where in that.
type Scored = (f32, usize, usize);

impl PreparedSource<'_> {
    /// The lists, if they are how the source is searched.
    fn lists(&self) -> Option<&StoredLists> {
        let AccessPath::Lists { .. } = self.plan.path else { return None };
        self.field.lists()
    }
}

impl Prepared<'_> {
    /// The field of the sources that are searched by lists; `None` if none is.
    fn listed_field(&self) -> Option<&VectorField> {
        self.sources.iter().find(|source| source.lists().is_some()).map(|source| source.field)
    }

    /// Adds the nearest rows of the sources that are searched by lists.
    pub(super) fn search_lists(
        &self,
        vector: &[f32],
        hits: &mut Vec<Hit>,
        stats: &mut SearchStats,
        go_on: GoOn<'_>,
    ) -> Result<()> {
        let Some(field) = self.listed_field() else { return Ok(()) };
        let codec = ListCodec::new(field.spec());
        let chosen = self.choose_lists(vector, &codec)?;
        let lists = all(chosen.iter().map(|choice| self.read(choice)))?;
        stats.lists_read = lists.len() as u32;
        let mut scored = Vec::new();
        let query = codec.query(vector);
        for (place, read) in lists.iter().enumerate() {
            cancel::check(go_on)?;
            let positions = (0..read.list.rows().len() as u32).map(RowId);
            let rows = read.list.rows();
            let positions: Vec<RowId> =
                positions.filter(|at| read.allowed.contains(rows[at.index()])).collect();
            let distances = read.list.distances(self.kernel, &query, &positions);
            scored.extend(distances.zip(&positions).map(|(d, at)| (d, place, at.index())));
        }
        stats.vectors_scored += scored.len() as u64;
        let rerank = self.lists.rerank;
        // Rows that tie with the last stay: ids decide between those.
        let limit = nth(scored.iter().map(|row| row.0).collect(), self.params.k.max(rerank));
        scored.retain(|row| row.0.total_cmp(&limit).is_le());
        let hit = |(distance, place, at): Scored| {
            let ReadList { source, list, .. } = &lists[place];
            Hit { id: list.id(at), distance, source: *source, row: list.rows()[at] }
        };
        hits.extend(scored.into_iter().map(hit));
        if rerank > 0 {
            sort_hits(hits);
            hits.truncate(rerank.max(self.params.k));
            self.rerank(vector, hits)?;
            stats.reranked = hits.len() as u32;
        }
        Ok(())
    }

    /// The lists to read, in the order of the file.
    fn choose_lists(&self, vector: &[f32], codec: &ListCodec) -> Result<Vec<Choice>> {
        let query = codec.query(vector);
        let mut choices = Vec::new();
        for (source, prepared) in self.sources.iter().enumerate() {
            let Some(lists) = prepared.lists() else { continue };
            let table = lists.table()?;
            let distances = table.distances(self.kernel, &query);
            let places = table.places().iter().zip(distances).enumerate();
            choices.extend(places.map(|(list, (place, distance))| {
                let range = lists.start() + place.range.start..lists.start() + place.range.end;
                Choice { range, distance, source, list }
            }));
        }
        choices.sort_by_key(|choice| choice.range.start);
        let mut end = None;
        let spot = |choice: &Choice| {
            let joined = end.is_some_and(|end| choice.range.start <= end + MERGED_GAP_BYTES);
            end = Some(choice.range.end);
            Spot { distance: choice.distance, joined }
        };
        let spots: Vec<Spot> = choices.iter().map(spot).collect();
        let bytes: u64 = choices.iter().map(|choice| choice.range.end - choice.range.start).sum();
        let usual = LIST_BYTES_DEFAULT * choices.len() as u64 / bytes.max(1);
        let lists = self.lists.lists.unwrap_or((usual as usize).max(LISTS_DEFAULT_MIN));
        // A search of all lists has no bound on its runs.
        let runs = if lists >= spots.len() { spots.len() } else { self.lists.runs_max };
        let chosen = choose(&spots, Budget { lists, runs });
        Ok(chosen.into_iter().map(|position| choices[position].clone()).collect())
    }

    fn read(&self, choice: &Choice) -> Result<ReadList<'_>> {
        let source = &self.sources[choice.source];
        let lists = source.lists().expect("choices are of sources with lists");
        let list = lists.list(choice.list)?;
        Ok(ReadList { source: choice.source, allowed: source.allowed(), list })
    }

    /// Replaces the distances of codes with exact distances.
    fn rerank(&self, vector: &[f32], hits: &mut [Hit]) -> Result<()> {
        let distance =
            |hit: &Hit| self.sources[hit.source].field.distance(hit.row, vector, self.kernel);
        let distances = all(hits.iter().map(distance))?;
        hits.iter_mut().zip(distances).for_each(|(hit, distance)| hit.distance = distance);
        Ok(())
    }

    /// Codes are not of length one: moves cosines that they put beyond ±1 to ±1. The rows are chosen by then.
    pub(super) fn limit_cosines(&self, hits: &mut [Hit]) {
        let cosine = self.listed_field().is_some_and(|field| field.spec().metric == Metric::Cosine);
        if !cosine || self.lists.rerank > 0 {
            return;
        }
        for hit in hits.iter_mut().filter(|hit| self.sources[hit.source].lists().is_some()) {
            hit.distance = hit.distance.clamp(-1.0, 1.0);
        }
        sort_hits(hits);
    }
}
