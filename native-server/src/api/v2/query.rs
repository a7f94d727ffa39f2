//! `POST query`: one question, one or many vectors.
//!
//! The hot path: the body is read once, the search runs where it is cheapest, and the answer is written as
//! text without a tree in between.

use std::cell::RefCell;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use nearfield_engine::{Error, Fault, Tier, View};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use nearfield_segment::search::{EF_DEFAULT, Hit, K_MAX, Question};
use nearfield_segment::vector::graph::Scratch;
use nearfield_segment::{Kernel, Pool, shown, unknown_field};

use super::answer::{self, Growing};
use super::call::{Call, at_length};
use super::cursor::Cursor;
use super::error::{ApiError, Result};
use super::point::{self, Shown};
use crate::host::Stopwatch;
use crate::workers::{Asked, Cost, StoreResult};

/// Most query vectors in one request.
const QUERIES_MAX: usize = 10_000;
/// Results wanted if the request does not say.
const K_DEFAULT: usize = 10;
/// Bytes of a hit before it is written, about: for the memory budget.
const RESULT_BYTES: u64 = 128;

/// Bytes of a number in a body and the comma behind it, at least.
const NUMBER_BYTES: usize = 2;
/// Most places made for numbers before they are read.
const FLOATS_AT_ONCE: usize = 4096;

const KEYS: [&str; 10] = [
    "vector",
    "vectors",
    "k",
    "ef",
    "exact",
    "filter",
    "search_tier",
    "include_metadata",
    "include_vector",
    "field",
];

/// The question, as read.
#[derive(Debug)]
struct Ask {
    vectors: Vec<f32>,
    /// Elements of each query vector.
    dim: usize,
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

thread_local! {
    /// Working memory of searches, kept by each thread that does some.
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

/// Answers `POST query`.
pub(super) async fn query(mut call: Call) -> Result<Response<Body>> {
    let watch = Stopwatch::start();
    let store = Arc::clone(call.store()?);
    let served = call.served()?;
    let body = call.json().await?;
    let ask = at_length(body.len(), || Ask::read(&body, |text| call.filter(text)))?;
    drop(body);
    let view = served.view();
    ask.check(&view)?;
    store.metrics().query_requests.inc();
    let wanted = (ask.k as u64).min(view.len()) * (ask.vectors.len() / ask.dim) as u64;
    call.reserve(wanted * RESULT_BYTES)?;
    let (cost, kernel, threads) = (ask.cost(&view), served.kernel(), Arc::clone(&store));
    let out = Growing::new(Arc::clone(&store), call.key);
    let answered =
        move |go_on: GoOn<'_>| ask.answer(&view, kernel, || threads.search_pool(), out, go_on);
    let body = store.search(call.key, cost, answered).await?;
    // Others that are ready search first, and the answers leave together: waking a client for each costs more
    // than half as much as a short search.
    tokio::task::yield_now().await;
    store.metrics().observe_query(watch.seconds());
    Ok(answer::json(StatusCode::OK, body))
}

impl Ask {
    /// Reads a body; `read_filter` reads the text of a filter.
    fn read(body: &[u8], mut read_filter: impl FnMut(&str) -> Result<Filter>) -> Result<Ask> {
        let mut ask = Ask {
            // Grown by doubling it would be copied several times.
            vectors: Vec::with_capacity((body.len() / NUMBER_BYTES).min(FLOATS_AT_ONCE)),
            dim: 0,
            many: false,
            k: K_DEFAULT,
            ef: None,
            exact: false,
            filter: None,
            tier: Tier::All,
            field: String::new(),
            shown: Shown { metadata: true, vector: false },
        };
        let mut vectors_given = 0;
        Cursor::whole(body, |cursor| {
            cursor.object(&KEYS, |key, cursor| {
                match key {
                    "vector" | "vectors" => {
                        vectors_given += 1;
                        ask.many = key == "vectors";
                        ask.read_vectors(cursor)?;
                    }
                    "k" => ask.k = cursor.read("a whole number")?,
                    "ef" => ask.ef = Some(cursor.read("a whole number")?),
                    "exact" => ask.exact = cursor.read("true or false")?,
                    "filter" => ask.filter = Some(read_filter(cursor.raw()?)?),
                    "search_tier" => ask.tier = read_tier(cursor)?,
                    "include_metadata" => ask.shown.metadata = cursor.read("true or false")?,
                    "include_vector" => ask.shown.vector = cursor.read("true or false")?,
                    _ => ask.field = cursor.read("the name of a vector field")?,
                }
                Ok(())
            })
        })?;
        if vectors_given == 1 {
            return Ok(ask);
        }
        let message = format!("expected \"vector\" or \"vectors\", got {vectors_given} of them");
        Err(Error::invalid(Fault::Parameter, message).with("got", vectors_given).into())
    }

    fn read_vectors(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        if !self.many {
            cursor.floats(&mut self.vectors)?;
            self.dim = self.vectors.len();
            return Ok(());
        }
        let mut row = 0;
        cursor.array(|cursor| {
            let before = self.vectors.len();
            cursor.floats(&mut self.vectors)?;
            let len = self.vectors.len() - before;
            if row == 0 {
                self.dim = len;
            }
            if len != self.dim {
                return Err(dimension(row, self.dim, len));
            }
            row += 1;
            if row > QUERIES_MAX {
                let message = format!("vectors: expected at most {QUERIES_MAX}, got more");
                let error = Error::invalid(Fault::Parameter, message);
                return Err(error.with("expected", QUERIES_MAX).into());
            }
            Ok(())
        })
    }

    /// All vectors fit the field asked for, and there are not too many results.
    fn check(&self, view: &View) -> Result<()> {
        let spec = view.schema.vectors.get(&self.field).ok_or_else(|| {
            unknown_field(&self.field, view.schema.vectors.keys().map(String::as_str))
        })?;
        if self.dim != spec.dim as usize {
            return Err(dimension(0, spec.dim as usize, self.dim));
        }
        for (row, vector) in self.vectors.chunks_exact(self.dim).enumerate() {
            spec.check_query(vector, row)?;
        }
        if self.k > K_MAX {
            let message = format!("k: expected 1 to {K_MAX}, got {}", self.k);
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", format!("1 to {K_MAX}")).with("got", self.k).into());
        }
        Ok(())
    }

    /// What a search will take: decides on which thread it runs, never what it answers.
    fn cost(&self, view: &View) -> Cost {
        let asked = Asked {
            field: &self.field,
            vectors: self.vectors.len() / self.dim,
            candidates: self.ef.unwrap_or(EF_DEFAULT).max(self.k),
            exact: self.exact,
        };
        let hits = (self.k as u64).min(view.len()) * asked.vectors as u64;
        let numbers = if self.shown.vector { self.dim as u64 } else { 0 };
        let found = Cost::of_query(view, asked).and(Cost::of_hits(hits, numbers));
        found.and(Cost::of_filter(view, self.filter.as_ref()))
    }

    /// The whole answer as JSON.
    fn answer(
        &self,
        view: &View,
        kernel: Kernel,
        pool: impl FnOnce() -> Pool,
        mut out: Growing,
        go_on: GoOn<'_>,
    ) -> StoreResult<Bytes> {
        let watch = Stopwatch::start();
        let question = Question {
            field: &self.field,
            k: self.k,
            ef: self.ef,
            exact: self.exact,
            filter: self.filter.as_ref(),
        };
        let prepared = view.prepare_while(self.tier, question, kernel, go_on)?;
        out.text.reserve(64 * self.k.min(1024));
        out.text.extend_from_slice(b"{\"data\":{\"results\":");
        out.text.extend_from_slice(if self.many { b"[" } else { b"" });
        if self.many {
            let answers = view.search_many_while(&prepared, &self.vectors, &pool(), go_on)?;
            for (index, (hits, _)) in answers.iter().enumerate() {
                out.text.extend_from_slice(if index > 0 { b"," } else { b"" });
                self.write_hits(&mut out, view, hits)?;
            }
        } else {
            let hits = SCRATCH.with_borrow_mut(|scratch| {
                prepared.search_while(&self.vectors, scratch, go_on).map(|(hits, _)| hits)
            })?;
            self.write_hits(&mut out, view, &hits)?;
        }
        out.text.extend_from_slice(if self.many { b"]" } else { b"" });
        let spec = &view.schema.vectors[&self.field];
        let kind = spec.metric.score_kind().name();
        let time_ms = watch.seconds() * 1e3;
        let rest = format!(",\"score_kind\":\"{kind}\",\"query_time_ms\":{time_ms:.3}}}}}");
        out.text.extend_from_slice(rest.as_bytes());
        Ok(out.finish())
    }

    fn write_hits(&self, out: &mut Growing, view: &View, hits: &[Hit]) -> StoreResult<()> {
        let spec = &view.schema.vectors[&self.field];
        out.text.push(b'[');
        for (rank, hit) in hits.iter().enumerate() {
            let text = &mut out.text;
            text.extend_from_slice(if rank > 0 { b",{\"id\":" } else { b"{\"id\":" });
            point::write_id(text, &hit.id);
            text.extend_from_slice(b",\"score\":");
            point::write_float(text, spec.metric.score(hit.distance));
            let segment = &view.segments[hit.source].segment;
            point::write_rest(text, segment, hit.row, &self.field, self.shown)?;
            text.push(b'}');
            out.pay()?;
        }
        out.text.push(b']');
        Ok(())
    }
}

fn read_tier(cursor: &mut Cursor<'_>) -> Result<Tier> {
    let expected = "\"all\", \"active\" or \"archive\"";
    match cursor.read::<String>(expected)?.as_str() {
        "all" => Ok(Tier::All),
        "active" => Ok(Tier::Active),
        "archive" => Ok(Tier::Archive),
        other => {
            let error =
                Error::invalid(Fault::Parameter, format!("search_tier: expected {expected}"));
            Err(error.with("expected", expected).with("got", shown(other).as_ref()).into())
        }
    }
}

fn dimension(row: usize, expected: usize, got: usize) -> ApiError {
    let message = format!("vector {row}: expected {expected} elements, got {got}");
    let error = Error::invalid(Fault::Dimension, message);
    error.with("expected", expected).with("got", got).with("row", row).into()
}
