//! Handler of `POST query`: a search with one query vector or many. Called by the routes of `v2`; it asks `workers`
//! for a thread (or searches at once if the search is cheap) and `View` for the answer.
//!
//! The hot path: the body is read once, the search runs where it is cheapest, and the answer is written as
//! text without a tree in between.

use std::cell::RefCell;
use std::mem;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use nearfield_engine::{Error, Fault, Place, Tier, View};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{Hit, K_MAX, SearchParams, SearchStats};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{Kernel, PointId, Pool, ScoreKind, VectorSpec, unknown_field};
use utoipa::openapi::schema::{ArrayBuilder, OneOfBuilder};
use utoipa::openapi::{Ref, RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use super::names::{ScoreKindName, SearchTier};
use super::point::{self, FoundPoint, Shown};
use super::values::{Vector, Vectors, wrong_dimension};
use crate::host::Stopwatch;
use crate::http::{self, ApiError, Call, Growing, Result, request};
use crate::workers::{Cost, StoreResult};

/// Results wanted if the request does not say.
const K_DEFAULT: usize = 10;
/// Bytes of a hit before it is written, about: for the memory budget.
const RESULT_BYTES: u64 = 128;

request! {
    /// A question with one vector or many
    pub(super) struct Query {
        #[schema(value_type = Option<Vec<f32>>)]
        vector: Vector,
        /// Instead of vector: the answer is a list of lists
        #[schema(value_type = Option<Vec<Vec<f32>>>)]
        vectors: Vectors,
        /// Results wanted, 1 to 1,000,000; 10 if left out
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
        k: usize,
        /// Candidates a graph search keeps: more is slower and finds more
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 1_000_000)]
        ef: usize,
        /// Compare with every point
        exact: bool,
        /// Only points whose metadata pass, as in {"price": {"lt": 10}}
        #[schema(value_type = Option<Map<String, Value>>)]
        filter: Filter,
        /// all, active (memory and young files) or archive; all if left out
        search_tier: SearchTier,
        /// true if left out
        include_metadata: bool,
        include_vector: bool,
        /// Vector field searched; the default one if left out
        field: String,
    }
}

/// The nearest points, closest first
#[derive(Debug, ToSchema)]
pub(super) struct QueryAnswer {
    results: Results,
    #[schema(value_type = ScoreKindName)]
    score_kind: ScoreKind,
    // Read once the results are written.
    #[schema(value_type = f64)]
    query_time_ms: Stopwatch,
}

/// A list of points, or for several vectors a list of such lists.
#[derive(Debug)]
enum Results {
    One(Vec<Hit>),
    Many(Vec<(Vec<Hit>, SearchStats)>),
}

impl PartialSchema for Results {
    fn schema() -> RefOr<Schema> {
        let point = Ref::from_schema_name(FoundPoint::name());
        let points = || ArrayBuilder::new().items(point.clone());
        OneOfBuilder::new().item(points()).item(ArrayBuilder::new().items(points())).into()
    }
}

impl ToSchema for Results {
    fn schemas(schemas: &mut Vec<(String, RefOr<Schema>)>) {
        schemas.push((FoundPoint::name().into_owned(), FoundPoint::schema()));
        FoundPoint::schemas(schemas);
    }
}

thread_local! {
    /// Working memory of searches, kept by each thread that does some.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Answers `POST query`.
pub(super) async fn query(mut call: Call) -> Result<Response<Body>> {
    let watch = Stopwatch::start();
    let store = Arc::clone(call.store()?);
    let served = call.served()?;
    let search = Search::of(call.request().await?)?;
    let view = served.view();
    search.check(&view)?;
    store.metrics().query_requests.inc();
    let wanted = (search.k as u64).min(view.len()) * search.count() as u64;
    call.reserve(wanted * RESULT_BYTES)?;
    let (cost, kernel, threads) = (search.cost(&view), served.kernel(), Arc::clone(&store));
    let out = Growing::new(Arc::clone(&store), call.key);
    let answered =
        move |go_on: GoOn<'_>| search.answer(&view, kernel, || threads.search_pool(), out, go_on);
    let body = store.search(call.key, cost, answered).await?;
    // Others that are ready search first, and the answers leave together: waking a client for each costs more
    // than half as much as a short search.
    tokio::task::yield_now().await;
    store.metrics().observe_query(watch.seconds());
    Ok(http::json(StatusCode::OK, body))
}

/// A query with its defaults.
#[derive(Debug)]
struct Search {
    vectors: Vectors,
    /// The answer is a list of lists.
    many: bool,
    k: usize,
    ef: Option<usize>,
    exact: bool,
    filter: Option<Filter>,
    tier: Tier,
    field: String,
    shown: Shown,
}

impl Search {
    fn of(query: Query) -> Result<Search> {
        let (vectors, many) = match (query.vector, query.vectors) {
            (Some(Vector(elements)), None) => {
                let dim = elements.len();
                (Vectors { elements, dim }, false)
            }
            (None, Some(vectors)) => (vectors, true),
            (one, _) => {
                let got = if one.is_some() { 2 } else { 0 };
                let message = format!("expected \"vector\" or \"vectors\", got {got} of them");
                return Err(Error::invalid(Fault::Parameter, message).with("got", got).into());
            }
        };
        Ok(Search {
            vectors,
            many,
            k: query.k.unwrap_or(K_DEFAULT),
            ef: query.ef,
            exact: query.exact.unwrap_or(false),
            filter: query.filter,
            tier: query.search_tier.map_or(Tier::All, Tier::from),
            field: query.field.unwrap_or_default(),
            shown: Shown {
                metadata: query.include_metadata.unwrap_or(true),
                vector: query.include_vector.unwrap_or(false),
            },
        })
    }

    /// Query vectors. [`Search::check`] refuses a dimension of 0.
    fn count(&self) -> usize {
        self.vectors.elements.len() / self.vectors.dim
    }

    /// All vectors fit the field that is searched, and there are not too many results.
    fn check(&self, view: &View) -> Result<()> {
        let spec = view.schema.vectors.get(&self.field).ok_or_else(|| {
            unknown_field(&self.field, view.schema.vectors.keys().map(String::as_str))
        })?;
        let Vectors { elements, dim } = &self.vectors;
        if *dim != spec.dim as usize {
            return Err(wrong_dimension(0, spec.dim as usize, *dim));
        }
        for (row, vector) in elements.chunks_exact(*dim).enumerate() {
            spec.check_query(vector, row)?;
        }
        if self.k > K_MAX {
            return Err(ApiError::parameter("k", &format!("1 to {K_MAX}"), self.k));
        }
        Ok(())
    }

    fn params(&self) -> SearchParams<'_> {
        let Search { k, ef, exact, field, .. } = self;
        SearchParams { field, k: *k, ef: *ef, exact: *exact, filter: self.filter.as_ref() }
    }

    /// What a search will take: decides on which thread it runs, never what it answers.
    fn cost(&self, view: &View) -> Cost {
        let hits = (self.k as u64).min(view.len()) * self.count() as u64;
        let numbers = if self.shown.vector { self.vectors.dim as u64 } else { 0 };
        let found = Cost::of_query(view, self.params(), self.count());
        let found = found.and(Cost::of_hits(hits, numbers));
        found.and(Cost::of_filter(view, self.filter.as_ref()))
    }

    /// The whole answer as JSON.
    fn answer(
        &self,
        view: &View,
        kernel: Kernel,
        pool: impl FnOnce() -> Pool,
        out: Growing,
        go_on: GoOn<'_>,
    ) -> StoreResult<Bytes> {
        let query_time_ms = Stopwatch::start();
        let prepared = view.prepare_tier(self.tier, self.params(), kernel, go_on)?;
        let vectors = &self.vectors.elements;
        let results = if self.many {
            Results::Many(view.search_many(&prepared, vectors, &pool(), go_on)?)
        } else {
            Results::One(SCRATCH.with_borrow_mut(|scratch| {
                prepared.search(vectors, scratch, go_on).map(|(hits, _)| hits)
            })?)
        };
        let spec = &view.schema.vectors[&self.field];
        let score_kind = spec.metric.score_kind();
        QueryAnswer { results, score_kind, query_time_ms }.write(self, spec, view, out)
    }
}

impl QueryAnswer {
    fn write(
        &self,
        search: &Search,
        spec: &VectorSpec,
        view: &View,
        mut out: Growing,
    ) -> StoreResult<Bytes> {
        out.text.reserve(64 * search.k.min(1024));
        out.text.extend_from_slice(b"{\"data\":{\"results\":");
        match &self.results {
            Results::One(hits) => write_hits(&mut out, search, spec, view, hits)?,
            Results::Many(lists) => {
                out.text.push(b'[');
                for (index, (hits, _)) in lists.iter().enumerate() {
                    out.text.extend_from_slice(if index > 0 { b"," } else { b"" });
                    write_hits(&mut out, search, spec, view, hits)?;
                }
                out.text.push(b']');
            }
        }
        let kind = self.score_kind;
        let time_ms = self.query_time_ms.seconds() * 1e3;
        let rest = format!(",\"score_kind\":\"{kind}\",\"query_time_ms\":{time_ms:.3}}}}}");
        out.text.extend_from_slice(rest.as_bytes());
        Ok(out.finish())
    }
}

fn write_hits(
    out: &mut Growing,
    search: &Search,
    spec: &VectorSpec,
    view: &View,
    hits: &[Hit],
) -> StoreResult<()> {
    let found: Vec<(PointId, Place)> =
        hits.iter().map(|hit| (hit.id.clone(), (hit.source, hit.row))).collect();
    let mut scores = hits.iter().map(|hit| spec.metric.score(hit.distance));
    out.text.push(b'[');
    let mut separator: &[u8] = b"";
    point::read_points(view, &found, &search.field, search.shown, |point| {
        out.text.extend_from_slice(mem::replace(&mut separator, b","));
        let score = scores.next().expect("a score for each hit");
        FoundPoint::of(point, score).write(&mut out.text);
        out.pay()
    })?;
    out.text.push(b']');
    Ok(())
}
