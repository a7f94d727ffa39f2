//! `points/*` and `count`: looking points up, paging through them, deleting them.
//!
//! A page is in order of ids, so that the last id of one is where the next begins, whatever was written
//! between the two. It costs a look at every row; who wants everything takes `export`.

use std::collections::BinaryHeap;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Error, ErrorKind, Fault, View};
use nearfield_segment::cancel::{self, GoOn};
use nearfield_segment::filter::Filter;
use nearfield_segment::segment::Segment;
use nearfield_segment::{DEFAULT_FIELD, PointId, RowId, shown, unknown_field};
use serde_json::json;

use super::answer::{self, Growing};
use super::call::{Call, at_length};
use super::cursor::Cursor;
use super::error::Result;
use super::point::{self, Shown};
use crate::workers::{Change, Cost, StoreResult, Written};

/// Most points of one page, and most ids in one request for them.
const PAGE_MAX: usize = 10_000;
/// Most ids in one request to delete.
const DELETED_MAX: usize = 1_000_000;
/// Ids whose memory is reserved at once, and bytes of one, with the room that a growing list has.
const IDS_AT_ONCE: usize = 4096;
const ID_BYTES: u64 = 2 * size_of::<PointId>() as u64;
/// Rows looked at between two checks whether to go on.
const CHECKED_ROWS: usize = 4096;
/// Points of a page if the request does not say.
const PAGE_DEFAULT: usize = 100;

const GET_KEYS: [&str; 7] =
    ["ids", "filter", "limit", "after", "include_metadata", "include_vector", "field"];
const DELETE_KEYS: [&str; 3] = ["ids", "filter", "wait"];
const COUNT_KEYS: [&str; 1] = ["filter"];

/// A request for points.
#[derive(Debug)]
struct Wanted {
    ids: Option<Vec<PointId>>,
    filter: Option<Filter>,
    limit: usize,
    after: Option<PointId>,
    shown: Shown,
    field: String,
}

/// Answers `POST points/get`.
pub(super) async fn get(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let body = call.json().await?;
    let wanted = at_length(body.len(), || Wanted::read(&body, |text| call.filter(text)))?;
    drop(body);
    let view = served.view();
    wanted.check_field(&view)?;
    let cost = wanted.cost(&view);
    let out = Growing::new(Arc::clone(call.store()?), call.key);
    let body =
        call.store()?.search(call.key, cost, move |go_on| wanted.answer(&view, out, go_on)).await?;
    Ok(answer::json(StatusCode::OK, body))
}

/// Answers `GET points/{id}`.
pub(super) async fn get_one(call: Call) -> Result<Response<Body>> {
    let id = path_id(&call)?;
    let view = call.served()?.view();
    let Some((source, row)) = view.find(&id) else {
        let message = format!("there is no point {}", shown(&id.to_string()));
        return Err(Error::new(ErrorKind::NotFound, message).into());
    };
    let mut out = b"{\"data\":".to_vec();
    let shown = Shown { metadata: true, vector: true };
    write_point(&mut out, &id, &view.segments[source].segment, row, default_field(&view), shown)?;
    out.push(b'}');
    Ok(answer::json(StatusCode::OK, out))
}

/// Answers `POST points/delete`.
pub(super) async fn delete(mut call: Call) -> Result<Response<Body>> {
    let (mut ids, mut filter, mut wait) = (None, None, None);
    let body = call.json().await?;
    at_length(body.len(), || {
        Cursor::whole(&body, |cursor| {
            cursor.object(&DELETE_KEYS, |key, cursor| {
                match key {
                    "ids" => {
                        ids = Some(read_ids(cursor, DELETED_MAX, |bytes| call.reserve(bytes))?)
                    }
                    "filter" => filter = Some(call.filter(cursor.raw()?)?),
                    _ => wait = Some(cursor.read("true or false")?),
                }
                Ok(())
            })
        })
    })?;
    if ids.is_some() != filter.is_some() {
        call.store()?.metrics().ingest_requests.inc();
    }
    match (ids, filter) {
        (Some(ids), None) => delete_ids(call, ids, wait).await,
        (None, Some(filter)) => delete_where(call, filter, wait).await,
        (Some(_), Some(_)) | (None, None) => Err(either("\"ids\" or \"filter\"")),
    }
}

/// Deletes what passes a filter. The writer evaluates it, and nothing else is written meanwhile: one that takes
/// longer than a search may is refused before.
async fn delete_where(call: Call, filter: Filter, wait: Option<bool>) -> Result<Response<Body>> {
    let view = call.served()?.view();
    let cost = Cost::of_filter(&view, Some(&filter));
    if !cost.is_short() {
        let tried = filter.clone();
        let count = move |go_on: GoOn<'_>| Ok(view.count_while(Some(&tried), go_on)?);
        call.store()?.search(call.key, cost, count).await?;
    }
    carry_out(call, Change::DeleteWhere(filter), wait).await
}

/// Answers `DELETE points/{id}`.
pub(super) async fn delete_one(call: Call) -> Result<Response<Body>> {
    let id = path_id(&call)?;
    call.store()?.metrics().ingest_requests.inc();
    delete_ids(call, vec![id], None).await
}

/// Answers `POST count`.
pub(super) async fn count(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let mut filter = None;
    let body = call.json().await?;
    let read = |cursor: &mut Cursor<'_>| {
        cursor.object(&COUNT_KEYS, |_, cursor| {
            filter = Some(call.filter(cursor.raw()?)?);
            Ok(())
        })
    };
    at_length(body.len(), || Cursor::whole(&body, read))?;
    let view = served.view();
    let cost = Cost::of_filter(&view, filter.as_ref());
    let count = call
        .store()?
        .search(call.key, cost, move |go_on| Ok(view.count_while(filter.as_ref(), go_on)?))
        .await?;
    Ok(answer::ok(json!({ "count": count })))
}

async fn delete_ids(call: Call, ids: Vec<PointId>, wait: Option<bool>) -> Result<Response<Body>> {
    if ids.is_empty() {
        // Nothing to change, and nothing to log.
        let (lsn, _checked) = (call.served()?.view().lsn, call.waits(wait)?);
        return Ok(answer::ok(json!({ "deleted": 0, "lsn": lsn })));
    }
    let schema = call.served()?.schema();
    let time_ms = call.now_ms();
    let draft = Draft { deletes: ids, time_ms, ..Draft::default() };
    let bytes = draft.deletes.len() * size_of::<PointId>();
    let batch = at_length(bytes, || Batch::new(draft, &schema))?;
    carry_out(call, Change::Batch(batch), wait).await
}

async fn carry_out(
    call: Call,
    change: Change<'static>,
    wait: Option<bool>,
) -> Result<Response<Body>> {
    let wait = call.waits(wait)?;
    Ok(match call.served()?.write(change, wait).await? {
        Written::Durable(Applied { deleted, lsn, .. }) => {
            answer::ok(json!({ "deleted": deleted, "lsn": lsn }))
        }
        Written::Queued => answer::data(StatusCode::ACCEPTED, json!({ "accepted": 1 })),
    })
}

impl Wanted {
    /// Reads a body; `read_filter` reads the text of a filter.
    fn read(body: &[u8], mut read_filter: impl FnMut(&str) -> Result<Filter>) -> Result<Wanted> {
        let mut wanted = Wanted {
            ids: None,
            filter: None,
            limit: PAGE_DEFAULT,
            after: None,
            shown: Shown { metadata: true, vector: false },
            field: String::new(),
        };
        Cursor::whole(body, |cursor| {
            cursor.object(&GET_KEYS, |key, cursor| {
                match key {
                    "ids" => wanted.ids = Some(read_ids(cursor, PAGE_MAX, |_| Ok(()))?),
                    "filter" => wanted.filter = Some(read_filter(cursor.raw()?)?),
                    "limit" => wanted.limit = cursor.read("a whole number")?,
                    "after" => wanted.after = Some(point::read_id(cursor)?),
                    "include_metadata" => wanted.shown.metadata = cursor.read("true or false")?,
                    "include_vector" => wanted.shown.vector = cursor.read("true or false")?,
                    _ => wanted.field = cursor.read("the name of a vector field")?,
                }
                Ok(())
            })
        })?;
        if wanted.ids.is_some() && wanted.filter.is_some() {
            return Err(either("\"ids\" or \"filter\""));
        }
        if !(1..=PAGE_MAX).contains(&wanted.limit) {
            let (expected, got) = (format!("1 to {PAGE_MAX}"), wanted.limit);
            let message = format!("limit: expected {expected}, got {got}");
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", expected).with("got", got).into());
        }
        Ok(wanted)
    }

    fn check_field(&self, view: &View) -> Result<()> {
        if !self.shown.vector || view.schema.vectors.contains_key(&self.field) {
            return Ok(());
        }
        Err(unknown_field(&self.field, view.schema.vectors.keys().map(String::as_str)).into())
    }

    /// A page is a look at every row, and then like a look-up.
    fn cost(&self, view: &View) -> Cost {
        let spec = view.schema.vectors.get(&self.field).filter(|_| self.shown.vector);
        let numbers = spec.map_or(0, |spec| u64::from(spec.dim));
        match &self.ids {
            Some(ids) => Cost::of_points(view, ids.len(), numbers),
            None => {
                let points = self.limit.min(usize::try_from(view.len()).unwrap_or(usize::MAX));
                let page = Cost::of_points(view, points, numbers).and(Cost::bytes(view.len() * 16));
                page.and(Cost::of_filter(view, self.filter.as_ref()))
            }
        }
    }

    fn answer(&self, view: &Arc<View>, mut out: Growing, go_on: GoOn<'_>) -> StoreResult<Bytes> {
        out.text.extend_from_slice(b"{\"data\":{\"points\":[");
        let mut first = true;
        let mut write = |out: &mut Growing, id: &PointId, segment: &Segment, row| {
            if !std::mem::take(&mut first) {
                out.text.push(b',');
            }
            write_point(&mut out.text, id, segment, row, &self.field, self.shown)?;
            out.pay()
        };
        let Some(ids) = &self.ids else {
            let page = self.page(view, go_on)?;
            for (id, source, row) in page.iter().take(self.limit) {
                write(&mut out, id, &view.segments[*source].segment, *row)?;
            }
            out.text.push(b']');
            if page.len() > self.limit {
                out.text.extend_from_slice(b",\"next\":");
                point::write_id(&mut out.text, &page[self.limit - 1].0);
            }
            out.text.extend_from_slice(b"}}");
            return Ok(out.finish());
        };
        for id in ids {
            if let Some((source, row)) = view.find(id) {
                write(&mut out, id, &view.segments[source].segment, row)?;
            }
        }
        out.text.extend_from_slice(b"]}}");
        Ok(out.finish())
    }

    /// The points of the page in order of their ids, and one more if there is one.
    fn page(
        &self,
        view: &View,
        go_on: GoOn<'_>,
    ) -> nearfield_engine::Result<Vec<(PointId, usize, RowId)>> {
        let sets = match &self.filter {
            Some(filter) => view.matching_while(filter, go_on)?,
            None => view.live_rows(),
        };
        let mut smallest = BinaryHeap::with_capacity(self.limit + 2);
        for (source, rows) in sets.iter().enumerate() {
            let segment = &view.segments[source].segment;
            for (index, row) in rows.iter().enumerate() {
                if index.is_multiple_of(CHECKED_ROWS) {
                    cancel::check(go_on)?;
                }
                let id = segment.id_of(row);
                if self.after.as_ref().is_some_and(|after| id <= *after) {
                    continue;
                }
                smallest.push((id, source, row));
                if smallest.len() > self.limit + 1 {
                    smallest.pop();
                }
            }
        }
        Ok(smallest.into_sorted_vec())
    }
}

fn write_point(
    out: &mut Vec<u8>,
    id: &PointId,
    segment: &Segment,
    row: RowId,
    field: &str,
    shown: Shown,
) -> nearfield_engine::Result<()> {
    out.extend_from_slice(b"{\"id\":");
    point::write_id(out, id);
    point::write_rest(out, segment, row, field, shown)?;
    out.push(b'}');
    Ok(())
}

/// The field shown if none is named: the default one, or the first.
fn default_field(view: &View) -> &str {
    view.schema.vectors.keys().next().map_or(DEFAULT_FIELD, String::as_str)
}

/// A list of ids; `reserve` hears of its memory while it grows.
fn read_ids(
    cursor: &mut Cursor<'_>,
    count_max: usize,
    mut reserve: impl FnMut(u64) -> Result<()>,
) -> Result<Vec<PointId>> {
    let mut ids = Vec::new();
    cursor.array(|cursor| {
        if ids.len().is_multiple_of(IDS_AT_ONCE) {
            reserve(IDS_AT_ONCE as u64 * ID_BYTES)?;
        }
        ids.push(point::read_id(cursor)?);
        if ids.len() > count_max {
            let message = format!("ids: expected at most {count_max}, got more");
            return Err(Error::invalid(Fault::Parameter, message)
                .with("expected", count_max)
                .into());
        }
        Ok(())
    })?;
    Ok(ids)
}

fn path_id(call: &Call) -> Result<PointId> {
    let text = call.id.as_deref().unwrap_or_default();
    match call.parameter("as") {
        None => point::path_id(text, false),
        Some("string") => point::path_id(text, true),
        Some(other) => {
            let other = shown(other);
            let message = format!("as: expected string, got {other:?}");
            let error = Error::invalid(Fault::Parameter, message);
            Err(error.with("expected", "string").with("got", other.as_ref()).into())
        }
    }
}

fn either(expected: &str) -> super::error::ApiError {
    let message = format!("expected {expected}, and not both");
    Error::invalid(Fault::Parameter, message).with("expected", expected).into()
}

#[cfg(test)]
mod tests {
    use nearfield_engine::{Database, ManualClock, Options};
    use nearfield_segment::{Encoding, Metric, Schema};

    use super::*;

    #[test]
    fn looking_up_a_few_points_is_short_and_ten_thousand_is_not() {
        let clock = Arc::new(ManualClock::new(1));
        let db = Database::in_memory(Options::default(), clock, 7).expect("in memory");
        let schema = Schema::dense(768, Metric::L2, Encoding::F32).expect("a good schema");
        let view = db.create("points", &schema).expect("creates").view();
        let no_filter = |_: &str| unreachable!("no body has one");
        let is_short = |points: usize, include_vector| {
            let ids: Vec<usize> = (0..points).collect();
            let body = json!({ "ids": ids, "include_vector": include_vector }).to_string();
            Wanted::read(body.as_bytes(), no_filter).expect("good").cost(&view).is_short()
        };
        assert!(is_short(1, false) && is_short(10, true) && is_short(1_000, false));
        assert!(!is_short(10_000, false), "by their number");
        assert!(!is_short(1_000, true), "by their vectors");
    }
}
