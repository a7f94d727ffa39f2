//! `Searcher`: runs searches for Python: one query on the caller's thread with reused memory (`one`), many in
//! steps on a pool (`many`); both return `Hits`. Called by `collection`.

use std::sync::{Arc, Mutex, PoisonError};

use nearfield_engine::View;
use nearfield_segment::cancel::never_cancelled;
use nearfield_segment::search::{SearchParams, SearchStats};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{Kernel, Pool};
use pyo3::prelude::*;

use crate::error::Result;
use crate::handle::spec_of;
use crate::hits::Hits;

/// Queries each thread answers by graphs between two looks at Ctrl-C.
const QUERIES_PER_STEP: usize = 128;

/// Working memory of single queries, one for each that ran at the same time.
#[derive(Debug, Default)]
pub(crate) struct Searcher {
    spare: Mutex<Vec<Scratch>>,
}

impl Searcher {
    fn take_scratch(&self) -> Scratch {
        let mut spare = self.spare.lock().unwrap_or_else(PoisonError::into_inner);
        spare.pop().unwrap_or_default()
    }

    fn return_scratch(&self, scratch: Scratch) {
        self.spare.lock().unwrap_or_else(PoisonError::into_inner).push(scratch);
    }

    /// The answer for one vector, on this thread. Call detached.
    pub(crate) fn one(
        &self,
        view: &Arc<View>,
        params: SearchParams<'_>,
        query: &[f32],
        kernel: Kernel,
    ) -> Result<Hits> {
        spec_of(view).check_query(query, 0)?;
        let prepared = view.prepare(params, kernel)?;
        let mut scratch = self.take_scratch();
        let found = prepared.search(query, &mut scratch, &never_cancelled);
        self.return_scratch(scratch);
        let (hits, stats) = found?;
        let metric = spec_of(view).metric;
        Ok(Hits::new(Arc::clone(view), metric, true, vec![hits], stats))
    }
}

/// The answers for many vectors, with looks at Ctrl-C.
pub(crate) fn many(
    py: Python<'_>,
    view: &Arc<View>,
    params: SearchParams<'_>,
    queries: &[f32],
    kernel: Kernel,
    pool: &Pool,
) -> Result<Hits> {
    let (spec, exact) = (spec_of(view), params.exact);
    let dim = spec.dim as usize;
    let prepared = py.detach(|| {
        let vectors = queries.chunks_exact(dim).enumerate();
        vectors.into_iter().try_for_each(|(row, vector)| spec.check_query(vector, row))?;
        view.prepare(params, kernel)
    })?;
    let (mut answers, mut total) = (Vec::new(), SearchStats::default());
    let at_once = if exact { view.exact_queries_at_once(dim) } else { QUERIES_PER_STEP };
    for step in queries.chunks(at_once * pool.threads() * dim) {
        py.check_signals()?;
        for (hits, stats) in
            py.detach(|| view.search_many(&prepared, step, pool, &never_cancelled))?
        {
            answers.push(hits);
            total += stats;
        }
    }
    Ok(Hits::new(Arc::clone(view), spec.metric, false, answers, total))
}
