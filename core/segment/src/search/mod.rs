//! Searches several segments at once. `prepare` plans each `Source` (skip, exact, graph, inverted lists);
//! `Prepared::search` scores candidates and merges the k nearest by (distance, id). Called by `View::prepare` and
//! `View::search_many` of the engine. `plan` chooses the access path, `lists` searches inverted lists, `VectorField`
//! the rest.
//!
//! The order of results is total: distance bits first, then point id (u64 < UUID < string). Nothing here
//! depends on threads, clocks or caches: the same sources and query give the same hits, bit for bit.
//! A point is live in at most one source, so merging needs no de-duplication.

mod lists;
mod plan;

pub use lists::{ListParams, RUNS_DEFAULT};
pub use plan::{PlanInput, plan, rows_scored};

pub use crate::vector::AccessPath;

pub use crate::vector::graph::EF_DEFAULT;

use crate::allowed::Allowed;
use crate::cancel::GoOn;
use crate::error::{Error, Fault, Result};
use crate::filter::Filter;
use crate::format::all;
use crate::ids::{PointId, RowId};
use crate::kernel::Kernel;
use crate::kinds::FieldKinds;
use crate::rowset::{DeadRows, RowSet};
use crate::segment::Segment;
use crate::vector::graph::Scratch;
use crate::vector::{self, Candidate, FieldSearch, VectorField};

/// Most results of one query.
pub const K_MAX: usize = 1_000_000;

/// A segment and the rows of it that no longer count.
#[derive(Debug, Clone, Copy)]
pub struct Source<'a> {
    /// The rows.
    pub segment: &'a Segment,
    /// Deleted or replaced rows.
    pub dead: &'a DeadRows,
    /// The metadata fields that are declared in the collection.
    pub fields: &'a FieldKinds,
    /// Not looked at: no row of it is allowed.
    pub skipped: bool,
}

/// Search parameters: all but the vector.
#[derive(Debug, Clone, Copy)]
pub struct SearchParams<'a> {
    /// Vector field searched.
    pub field: &'a str,
    /// Results wanted; fewer come back if fewer rows are allowed.
    pub k: usize,
    /// Length of the candidate list of graph searches; `None` = the default.
    pub ef: Option<usize>,
    /// Score every allowed row.
    pub exact: bool,
    /// Only points that pass.
    pub filter: Option<&'a Filter>,
}

impl SearchParams<'_> {
    /// Whether the numbers make sense.
    ///
    /// # Errors
    /// `InvalidInput` for a number of 0 or above [`K_MAX`].
    pub fn check(&self) -> Result<()> {
        check_count("k", self.k)?;
        self.ef.map_or(Ok(()), |ef| check_count("ef", ef))
    }
}

/// One result.
#[derive(Debug, Clone, PartialEq)]
pub struct Hit {
    /// The point.
    pub id: PointId,
    /// Internal distance, smaller is closer; [`crate::Metric::score`] makes the user's number of it.
    pub distance: f32,
    /// Index of the source it was found in.
    pub source: usize,
    /// Its row there.
    pub row: RowId,
}

/// How one source is searched and why.
#[derive(Debug, Clone, serde::Serialize)]
pub struct SourcePlan {
    /// Name of the segment.
    pub segment: String,
    /// Rows in it.
    pub rows: u32,
    /// Rows that are live and pass the filter.
    pub allowed: u32,
    /// True if statistics alone showed that no row can pass, or the source was to be skipped.
    pub pruned: bool,
    /// The access path chosen.
    #[serde(flatten)]
    pub path: AccessPath,
}

/// What a query cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct SearchStats {
    /// Sources searched; those of inverted lists whether or not one of their lists was near enough.
    pub segments_searched: u32,
    /// Sources that statistics or the filter excluded.
    pub segments_pruned: u32,
    /// Vectors scored, or refused by their approximation.
    pub vectors_scored: u64,
    /// Nodes of graphs whose neighbours were looked at.
    pub nodes_expanded: u64,
    /// Inverted lists read.
    #[serde(skip_serializing_if = "is_zero")]
    pub lists_read: u32,
    /// Rows found by their codes that were reranked on their stored vectors.
    #[serde(skip_serializing_if = "is_zero")]
    pub reranked: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(count: &u32) -> bool {
    *count == 0
}

impl std::ops::AddAssign for SearchStats {
    fn add_assign(&mut self, other: Self) {
        self.segments_searched += other.segments_searched;
        self.segments_pruned += other.segments_pruned;
        self.vectors_scored += other.vectors_scored;
        self.nodes_expanded += other.nodes_expanded;
        self.lists_read += other.lists_read;
        self.reranked += other.reranked;
    }
}

/// A search planned over sources, for any number of vectors.
#[derive(Debug)]
pub struct Prepared<'a> {
    kernel: Kernel,
    params: SearchParams<'a>,
    lists: ListParams,
    sources: Vec<PreparedSource<'a>>,
}

#[derive(Debug)]
struct PreparedSource<'a> {
    source: Source<'a>,
    field: &'a VectorField,
    passing: Option<RowSet>,
    plan: SourcePlan,
}

impl PreparedSource<'_> {
    /// The rows that may be returned.
    fn allowed(&self) -> Allowed<'_> {
        match &self.passing {
            Some(rows) => Allowed::Only(rows),
            None if self.source.dead.count() == 0 => Allowed::All,
            None => Allowed::Except(self.source.dead),
        }
    }
}

fn check_count(name: &str, value: usize) -> Result<()> {
    if (1..=K_MAX).contains(&value) {
        return Ok(());
    }
    let message = format!("{name}: expected 1 to {K_MAX}, got {value}");
    Err(Error::invalid(Fault::Parameter, message)
        .with("expected", format!("1 to {K_MAX}"))
        .with("got", value))
}

/// Evaluates the filter and chooses an access path for each source. O(rows) with a filter, else O(sources).
///
/// # Errors
/// `InvalidInput` for `k = 0`, `k` or `ef` above [`K_MAX`], `NotFound` for an unknown field, `Cancelled` if
/// `go_on` ends it; `NotResident` after every source has requested what it lacks; `Corrupt`.
pub fn prepare<'a>(
    sources: impl IntoIterator<Item = Source<'a>>,
    params: SearchParams<'a>,
    kernel: Kernel,
    go_on: GoOn<'_>,
) -> Result<Prepared<'a>> {
    params.check()?;
    let sources = all(sources.into_iter().map(|source| prepare_source(source, &params, go_on)))?;
    Ok(Prepared { kernel, params, lists: ListParams::default(), sources })
}

fn prepare_source<'a>(
    source: Source<'a>,
    params: &SearchParams<'a>,
    go_on: GoOn<'_>,
) -> Result<PreparedSource<'a>> {
    let segment = source.segment;
    let field = segment.field(params.field)?;
    let live = segment.rows() - source.dead.count();
    if live > 0 && !source.skipped {
        segment.load(field, params.exact, params.filter.is_some())?;
    }
    let stats_exclude =
        |filter| segment.stats().is_some_and(|stats| !stats.may_match(filter, source.fields));
    let pruned = source.skipped || params.filter.is_some_and(stats_exclude);
    let passing = match params.filter {
        _ if pruned || live == 0 => Some(RowSet::empty(segment.rows())),
        Some(filter) => {
            Some(segment.matching(filter, source.fields, &source.dead.live(), go_on)?)
        }
        None => None,
    };
    let allowed = passing.as_ref().map_or(live, RowSet::count);
    let input = PlanInput {
        rows: segment.rows(),
        allowed,
        has_graph: field.graph().is_some(),
        lists: list_count(field, params.exact || allowed == 0)?,
        k: params.k,
        ef: params.ef,
        exact: params.exact,
    };
    let path = plan(input);
    let name = segment.name().to_owned();
    let plan = SourcePlan { segment: name, rows: segment.rows(), allowed, pruned, path };
    Ok(PreparedSource { source, field, passing, plan })
}

/// Inverted lists that a search of the field may use.
fn list_count(field: &VectorField, without: bool) -> Result<u32> {
    match field.lists().filter(|_| !without) {
        Some(lists) => Ok(lists.table()?.places().len() as u32),
        None => Ok(0),
    }
}

impl Prepared<'_> {
    /// The access path chosen for each source.
    pub fn plans(&self) -> impl Iterator<Item = &SourcePlan> {
        self.sources.iter().map(|source| &source.plan)
    }

    /// The vector field searched.
    pub fn field(&self) -> &str {
        self.params.field
    }

    /// Searches inverted lists with these parameters.
    ///
    /// # Errors
    /// `InvalidInput` for numbers of 0 or above [`K_MAX`].
    pub fn with_lists(self, lists: ListParams) -> Result<Self> {
        lists.check()?;
        Ok(Prepared { lists, ..self })
    }

    /// The `k` nearest allowed points to `vector`, which was checked against the field's spec.
    ///
    /// # Errors
    /// `NotResident`, `Corrupt`; `Cancelled` if `go_on` ends it.
    pub fn search(
        &self,
        vector: &[f32],
        scratch: &mut Scratch,
        go_on: GoOn<'_>,
    ) -> Result<(Vec<Hit>, SearchStats)> {
        let (mut hits, mut stats) = (Vec::new(), SearchStats::default());
        self.search_lists(vector, &mut hits, &mut stats, go_on)?;
        for (index, source) in self.sources.iter().enumerate() {
            match source.plan.path {
                AccessPath::Nothing => stats.segments_pruned += 1,
                AccessPath::Lists { .. } => stats.segments_searched += 1,
                AccessPath::Exact | AccessPath::Graph { .. } => {
                    let cost = self.search_source(index, vector, &mut hits, scratch, go_on)?;
                    stats.segments_searched += 1;
                    stats.vectors_scored += cost.scored;
                    stats.nodes_expanded += cost.hops;
                    stats.reranked += cost.reranked as u32;
                }
            }
        }
        sort_hits(&mut hits);
        hits.truncate(self.params.k);
        self.limit_cosines(&mut hits);
        Ok((hits, stats))
    }

    /// Inverted lists of all sources, whatever the filter excludes; 0 for an exact search, which uses none.
    ///
    /// # Errors
    /// None after a search: `NotResident`, `Corrupt`.
    pub fn lists_total(&self) -> Result<u32> {
        self.sources.iter().map(|source| list_count(source.field, self.params.exact)).sum()
    }

    /// Part of the live rows that a search of inverted lists scored or that the filter excludes: at 1 nothing was left
    /// out. Says nothing of a graph, which leaves out rows that it need not look at.
    pub fn coverage(&self, stats: &SearchStats) -> f64 {
        let (mut live, mut allowed) = (0, 0);
        for PreparedSource { source, plan, .. } in &self.sources {
            live += u64::from(plan.rows - source.dead.count());
            allowed += u64::from(plan.allowed);
        }
        let seen = (stats.vectors_scored + live - allowed).min(live);
        if live == 0 { 1.0 } else { seen as f64 / live as f64 }
    }

    fn search_source(
        &self,
        index: usize,
        vector: &[f32],
        hits: &mut Vec<Hit>,
        scratch: &mut Scratch,
        go_on: GoOn<'_>,
    ) -> Result<vector::SearchStats> {
        let prepared = &self.sources[index];
        let ids = prepared.source.segment.ids()?;
        let allowed = prepared.allowed();
        let SourcePlan { path, allowed: allowed_count, .. } = prepared.plan;
        let k = self.params.k.min(allowed_count as usize);
        let kernel = self.kernel;
        let search = FieldSearch { path, vector, kernel, k, allowed, allowed_count, go_on };
        let tie = |a, b| ids.id(a).cmp(&ids.id(b));
        let mut stats = vector::SearchStats::default();
        let candidates =
            prepared.field.search(&search, || self.limit(hits), tie, scratch, &mut stats)?;
        let nearest = with_ties(&candidates, k);
        hits.extend(nearest.iter().map(|candidate| Hit {
            id: ids.id(candidate.row()),
            distance: candidate.distance(),
            source: index,
            row: candidate.row(),
        }));
        Ok(stats)
    }

    /// The distance beyond which no more hits are needed, after those found. O(hits).
    fn limit(&self, hits: &[Hit]) -> f32 {
        nth(hits.iter().map(|hit| hit.distance).collect(), self.params.k)
    }
}

/// The `count`-th of the distances in ascending order; infinity if there are fewer. O(distances).
fn nth(mut distances: Vec<f32>, count: usize) -> f32 {
    if distances.len() < count {
        return f32::INFINITY;
    }
    *distances.select_nth_unstable_by(count - 1, f32::total_cmp).1
}

/// The first `k` candidates and all that tie with the last of them; ids decide between those later.
fn with_ties(candidates: &[Candidate], k: usize) -> &[Candidate] {
    let Some(last) = candidates.get(k.wrapping_sub(1)) else { return candidates };
    let ties = candidates[k..].iter().take_while(|c| c.distance() == last.distance()).count();
    &candidates[..k + ties]
}

/// Best first; equal distances by id.
fn sort_hits(hits: &mut [Hit]) {
    hits.sort_unstable_by(|a, b| a.distance.total_cmp(&b.distance).then_with(|| a.id.cmp(&b.id)));
}
