//! One vector field of a segment: its originals, its codes and its index, each with the sections that hold it.
//! `VectorField` is opened by `Segment` and searched by `search`; `build` makes the sections.
//!
//! The one file that lists what a field may have: a new index or codec of fewer bytes gets an arm where fields are
//! opened and searched. A damaged index is left out and noted, because it is derived, and so are damaged codes; damage
//! to originals is an error. Not here: the search of inverted lists, which are chosen over all segments together
//! (`search/lists.rs`).

use std::borrow::Cow;
use std::cmp::Ordering;
use std::sync::OnceLock;

use crate::allowed::Allowed;
use crate::cancel::{self, GoOn};
use crate::error::Result;
use crate::format::{SectionKey, SectionKind, Sections, resident};
use crate::ids::RowId;
use crate::kernel::Kernel;
use crate::schema::VectorSpec;

use super::codes::{Approximations, Bounds, FourBitScorer, StoredCodes};
use super::guarded::Guarded;
use super::index::flat::{self, Wanted};
use super::index::graph::{Graph, Scratch, SearchBudget};
use super::index::lists::StoredLists;
use super::index::{AccessPath, Candidate, SearchStats};
use super::originals::{RowScorer, StoredRows, VectorRows};
use super::rerank::rerank;
use super::scorer::Scorer;

/// A field of an open segment.
#[derive(Debug)]
pub struct VectorField {
    name: String,
    is_mapped: bool,
    rows: StoredRows,
    graph: Option<Graph>,
    /// Of rows that have a graph.
    codes: Option<StoredCodes>,
    approximations: OnceLock<Option<Approximations>>,
    /// Where sections are read on demand.
    lists: Option<StoredLists>,
}

/// A search of one field.
#[derive(Clone, Copy)]
pub(crate) struct FieldSearch<'a> {
    /// How rows are found.
    pub path: AccessPath,
    /// The query, which was checked against the schema.
    pub vector: &'a [f32],
    /// Arithmetic to compute with.
    pub kernel: Kernel,
    /// Candidates wanted.
    pub k: usize,
    /// Rows that may be candidates.
    pub allowed: Allowed<'a>,
    /// How many those are.
    pub allowed_count: u32,
    /// Whether to go on.
    pub go_on: GoOn<'a>,
}

impl VectorField {
    /// Opens the field at position `ordinal` of the schema. On demand it reads nothing, and does without a graph; of a
    /// mapped file it reads the front of the graph.
    ///
    /// # Errors
    /// `Corrupt` if its rows are damaged; what the blob returns.
    pub(crate) fn open(
        sections: &Sections<'_>,
        ordinal: u16,
        name: &str,
        spec: &VectorSpec,
        degraded: &mut Vec<SectionKind>,
    ) -> Result<VectorField> {
        let mut field = VectorField {
            is_mapped: sections.residence.is_mapped(),
            name: name.to_owned(),
            rows: StoredRows::new(sections, ordinal, spec)?,
            graph: None,
            codes: None,
            approximations: OnceLock::new(),
            lists: None,
        };
        if sections.on_demand() {
            field.lists = StoredLists::find(sections, ordinal, spec);
            return Ok(field);
        }
        let graph = sections.find(SectionKey::of_field(SectionKind::Graph, ordinal));
        let graph = graph.map(|section| {
            if field.is_mapped {
                return Graph::open_mapped(section, sections.rows);
            }
            Graph::open(section.read_all(sections.residence)?, sections.rows)
        });
        let graph = graph.map(resident).transpose()?;
        if matches!(graph, Some(Err(_))) {
            degraded.push(SectionKind::Graph);
        }
        field.graph = graph.and_then(Result::ok);
        let codes = sections.find(SectionKey::of_field(SectionKind::Codes, ordinal));
        let codes = codes
            .filter(|_| field.graph.is_some())
            .map(|section| StoredCodes::open(section, sections.residence, spec, sections.rows));
        let codes = codes.map(resident).transpose()?;
        if matches!(codes, Some(Err(_))) {
            degraded.push(SectionKind::Codes);
        }
        field.codes = codes.and_then(Result::ok);
        if !field.is_mapped {
            field.approximations(field.rows()?);
        }
        Ok(field)
    }

    /// Approximations of the rows, for scans: made at the first call.
    fn approximations(&self, rows: VectorRows<'_>) -> Option<&Approximations> {
        let made = || if self.graph.is_some() { None } else { Approximations::of(rows) };
        self.approximations.get_or_init(made).as_ref()
    }

    /// Name in the schema.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Dimension, metric, storage.
    pub fn spec(&self) -> &VectorSpec {
        self.rows.spec()
    }

    /// The stored rows, all of which are read.
    ///
    /// # Errors
    /// `Corrupt` if they are damaged; what the blob returns.
    pub fn rows(&self) -> Result<VectorRows<'_>> {
        self.rows.all()
    }

    /// Writes the stored values of a row; `out` has `dim` places.
    ///
    /// # Errors
    /// As [`VectorField::rows`].
    ///
    /// # Panics
    /// If there is no such row or `out` has another length.
    pub fn decode(&self, row: RowId, out: &mut [f32]) -> Result<()> {
        self.rows.decode(row, out)
    }

    /// The exact distance of one row, in the bits of any exact search.
    ///
    /// # Errors
    /// As [`VectorField::rows`].
    pub(crate) fn distance(&self, row: RowId, query: &[f32], kernel: Kernel) -> Result<f32> {
        self.rows.distance(row, query, kernel)
    }

    /// The graph, if the field has one that is whole.
    pub fn graph(&self) -> Option<&Graph> {
        self.graph.as_ref().filter(|graph| !graph.is_damaged())
    }

    /// The codes, if the field has some that are whole.
    fn codes(&self) -> Option<&StoredCodes> {
        self.codes.as_ref().filter(|codes| !codes.is_damaged())
    }

    /// The inverted lists, if the field is searched by them: where rows are read on demand.
    pub fn lists(&self) -> Option<&StoredLists> {
        self.lists.as_ref()
    }

    /// Bytes of memory of what is kept beside the sections.
    pub fn beside_bytes(&self) -> u64 {
        self.approximations.get().and_then(Option::as_ref).map_or(0, Approximations::bytes)
    }

    /// The nearest allowed rows, closest first, at least `k` where the path finds as many; of those farther than
    /// `limit` any may be missing. A walk through the graph that would cost more than a scan of the allowed rows, or
    /// finds the graph damaged, ends as such a scan. Rows at one distance are ordered by `tie`.
    ///
    /// # Errors
    /// `Cancelled` once `go_on` returns false; as [`VectorField::rows`].
    pub(crate) fn search<'s>(
        &self,
        search: &FieldSearch<'_>,
        limit: impl FnOnce() -> f32,
        tie: impl Fn(RowId, RowId) -> Ordering,
        scratch: &'s mut Scratch,
        stats: &mut SearchStats,
    ) -> Result<Cow<'s, [Candidate]>> {
        let FieldSearch { path, k, allowed, go_on, .. } = *search;
        let mut scorer = self.scorer(search.kernel, search.vector)?;
        if let (AccessPath::Graph { ef }, Some(graph)) = (path, self.graph()) {
            let scored_max = u64::from(search.allowed_count);
            let budget = SearchBudget { ef: ef as usize, k, scored_max };
            let walk = Walk { graph, budget, search };
            if self.walk(&walk, &mut scorer, scratch, stats)? {
                scorer.originals.end()?;
                return Ok(Cow::Borrowed(scratch.results()));
            }
        }
        cancel::check(go_on)?;
        let limit = if scorer.bounds.is_some() { limit() } else { f32::INFINITY };
        let wanted = Wanted { k, limit };
        let found = flat::search(&scorer, self.rows.len(), allowed, wanted, tie, stats, go_on)?;
        scorer.originals.end()?;
        Ok(Cow::Owned(found))
    }

    /// Walks the graph, by codes where there are some, for the results of the scratch; false if it gave up or found the
    /// graph damaged.
    fn walk<'a>(
        &'a self,
        walk: &Walk<'_>,
        scorer: &mut FieldScorer<'a>,
        scratch: &mut Scratch,
        stats: &mut SearchStats,
    ) -> Result<bool> {
        let FieldSearch { kernel, vector, .. } = *walk.search;
        if let Some(codes) = self.codes() {
            let query = &scorer.originals.scorer().query()[..vector.len()];
            let by_codes = FourBitScorer::new(codes.rows(), kernel, query);
            scorer.codes = Some(Guarded::new(by_codes, codes.guards()));
            let has_found = walk.run(scorer, codes.extra_candidates(), scratch, stats)?;
            // Damaged codes are done without from now on.
            if scorer.codes.take().is_none_or(|codes| codes.end().is_ok()) {
                return Ok(has_found);
            }
        }
        walk.run(scorer, 0, scratch, stats)
    }

    fn scorer(&self, kernel: Kernel, query: &[f32]) -> Result<FieldScorer<'_>> {
        if self.graph.is_none() {
            // A scan reads all rows, and approximations are made of them.
            self.rows()?;
        }
        let (rows, guards) = self.rows.guarded()?;
        let originals = RowScorer::new(rows, kernel, query);
        let bounds = |approximations| Bounds::new(approximations, rows, kernel, originals.query());
        let bounds = self.approximations(rows).map(bounds);
        Ok(FieldScorer { codes: None, originals: Guarded::new(originals, guards), bounds })
    }
}

/// A walk of a graph for a query.
struct Walk<'a> {
    graph: &'a Graph,
    budget: SearchBudget,
    search: &'a FieldSearch<'a>,
}

impl Walk<'_> {
    fn run(
        &self,
        scorer: &FieldScorer<'_>,
        extra_candidates: usize,
        scratch: &mut Scratch,
        stats: &mut SearchStats,
    ) -> Result<bool> {
        let FieldSearch { allowed, go_on, .. } = *self.search;
        let budget = SearchBudget { ef: self.budget.ef + extra_candidates, ..self.budget };
        let found = match self.graph.search(scorer, allowed, budget, scratch, stats, go_on) {
            // It is done without from now on.
            Err(_) if self.graph.is_damaged() => false,
            walked => walked?.is_some(),
        };
        cancel::check(go_on)?;
        Ok(found)
    }
}

/// Scores originals. A scan refuses most rows by their approximations first, where there are some; a walk scores codes,
/// where there are some, and the originals of the nearest. One type for both, and so one copy of each walk.
struct FieldScorer<'a> {
    codes: Option<Guarded<'a, FourBitScorer<'a>>>,
    originals: Guarded<'a, RowScorer<'a>>,
    bounds: Option<Bounds<'a>>,
}

impl Scorer for FieldScorer<'_> {
    #[inline]
    fn score_many(&self, rows: &[RowId], out: &mut [f32]) {
        match &self.codes {
            Some(codes) => codes.score_many(rows, out),
            None => self.originals.score_many(rows, out),
        }
    }

    #[inline]
    fn prefetch(&self, rows: &[RowId]) {
        match &self.codes {
            Some(codes) => codes.prefetch(rows),
            None => self.originals.prefetch(rows),
        }
    }

    fn score_exactly(&self, rows: &[RowId], out: &mut [f32]) {
        self.originals.score_many(rows, out);
    }

    fn rerank(&self, found: &mut Vec<Candidate>, k: usize) -> u64 {
        if self.codes.is_some() { rerank(found, &self.originals, k) } else { 0 }
    }

    fn refuse(&self, limit: f32, rows: &mut Vec<RowId>) {
        if let Some(bounds) = &self.bounds {
            bounds.refuse(limit, rows);
        }
    }
}
