//! Handlers of `points/*` and `count`: get points by id, page through them, count them, delete them by id or by
//! filter. Called by the routes of `v2`.
//!
//! A page is in order of ids, so that the last id of one is where the next begins, whatever was written
//! between the two. A page costs a look at every row; `export` is the way to read everything.

use std::mem;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use bytes::Bytes;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Error, ErrorKind, Fault, Place, View};
use nearfield_segment::cancel::GoOn;
use nearfield_segment::filter::Filter;
use nearfield_segment::{DEFAULT_FIELD, PointId, shown, unknown_field};
use serde::Serialize;
use utoipa::ToSchema;

use super::point::{self, PointAnswer, Shown};
use super::values::{Id, Ids};
use super::write::Accepted;
use crate::http::{self, ApiError, Call, Growing, Result, at_length, request};
use crate::workers::{Change, Cost, StoreResult, Written};

/// Most points of one page, and most ids in one request for them.
const PAGE_MAX: usize = 10_000;
/// Points of a page if the request does not say.
const PAGE_DEFAULT: usize = 100;

type PageIds = Ids<PAGE_MAX>;
type DeletedIds = Ids<1_000_000>;

request! {
    /// Points by id, or a page of them
    pub(super) struct PointsGet {
        /// At most 10,000; unknown ones are left out of the answer
        #[schema(value_type = Option<Vec<Id>>, max_items = 10_000)]
        ids: PageIds,
        /// Instead of ids
        #[schema(value_type = Option<Map<String, Value>>)]
        filter: Filter,
        /// Points of a page, 1 to 10,000; 100 if left out
        #[schema(value_type = Option<u32>, minimum = 1, maximum = 10_000)]
        limit: usize,
        /// The page begins behind this id
        after: Id,
        /// true if left out
        include_metadata: bool,
        include_vector: bool,
        /// Vector field shown
        field: String,
    }
}

request! {
    /// Points to delete: by ids or by filter
    pub(super) struct PointsDelete {
        #[schema(value_type = Option<Vec<Id>>, max_items = 1_000_000)]
        ids: DeletedIds,
        #[schema(value_type = Option<Map<String, Value>>)]
        filter: Filter,
        /// false: answered once it is checked and queued
        wait: bool,
    }
}

request! {
    /// Which points are meant
    pub(super) struct Filtered {
        #[schema(value_type = Option<Map<String, Value>>)]
        filter: Filter,
    }
}

/// Points looked up
#[derive(ToSchema)]
pub(super) struct Points {
    #[schema(value_type = Vec<PointAnswer>)]
    points: Vec<(PointId, Place)>,
    /// Behind this id comes the next page; left out at the end
    #[schema(value_type = Option<Id>)]
    next: Option<PointId>,
}

/// What was deleted
#[derive(Serialize, ToSchema)]
pub(super) struct Deleted {
    deleted: u64,
    lsn: u64,
}

/// How many points
#[derive(Serialize, ToSchema)]
pub(super) struct Counted {
    count: u64,
}

/// A request for points with its defaults.
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
    let wanted = Wanted::of(call.request().await?)?;
    let view = served.view();
    wanted.check_field(&view)?;
    let cost = wanted.cost(&view);
    let out = Growing::new(Arc::clone(call.store()?), call.key);
    let body =
        call.store()?.search(call.key, cost, move |go_on| wanted.answer(&view, out, go_on)).await?;
    Ok(http::json(StatusCode::OK, body))
}

/// Answers `GET points/{id}`.
pub(super) async fn get_one(call: Call) -> Result<Response<Body>> {
    let id = path_id(&call)?;
    let view = call.served()?.view();
    let Some(place) = view.find(&id)? else {
        let message = format!("there is no point {}", shown(&id.to_string()));
        return Err(Error::new(ErrorKind::NotFound, message).into());
    };
    let mut out = b"{\"data\":".to_vec();
    let shown = Shown { metadata: true, vector: true };
    point::read_points(&view, &[(id, place)], default_field(&view), shown, |point| {
        point.write(&mut out);
        Ok(())
    })?;
    out.push(b'}');
    Ok(http::json(StatusCode::OK, out))
}

/// Answers `POST points/delete`.
pub(super) async fn delete(mut call: Call) -> Result<Response<Body>> {
    let PointsDelete { ids, filter, wait } = call.request().await?;
    if ids.is_some() != filter.is_some() {
        call.store()?.metrics().ingest_requests.inc();
    }
    match (ids, filter) {
        (Some(Ids(ids)), None) => delete_ids(call, ids, wait).await,
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
        let count = move |go_on: GoOn<'_>| Ok(view.count(Some(&tried), go_on)?);
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
    let Filtered { filter } = call.request().await?;
    let view = served.view();
    let cost = Cost::of_filter(&view, filter.as_ref());
    let count = call
        .store()?
        .search(call.key, cost, move |go_on| Ok(view.count(filter.as_ref(), go_on)?))
        .await?;
    Ok(http::ok(Counted { count }))
}

async fn delete_ids(call: Call, ids: Vec<PointId>, wait: Option<bool>) -> Result<Response<Body>> {
    if ids.is_empty() {
        // Nothing to change, and nothing to log.
        let (lsn, _checked) = (call.served()?.view().lsn, call.waits(wait)?);
        return Ok(http::ok(Deleted { deleted: 0, lsn: lsn.0 }));
    }
    let schema = call.served()?.schema();
    let time_ms = call.server.now_ms();
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
        Written::Durable(Applied { deleted, lsn, .. }) => http::ok(Deleted { deleted, lsn: lsn.0 }),
        Written::Queued => http::data(StatusCode::ACCEPTED, Accepted { accepted: 1 }),
    })
}

impl Wanted {
    fn of(request: PointsGet) -> Result<Wanted> {
        let wanted = Wanted {
            ids: request.ids.map(|Ids(ids)| ids),
            filter: request.filter,
            limit: request.limit.unwrap_or(PAGE_DEFAULT),
            after: request.after.map(|Id(id)| id),
            shown: Shown {
                metadata: request.include_metadata.unwrap_or(true),
                vector: request.include_vector.unwrap_or(false),
            },
            field: request.field.unwrap_or_default(),
        };
        if wanted.ids.is_some() && wanted.filter.is_some() {
            return Err(either("\"ids\" or \"filter\""));
        }
        if !(1..=PAGE_MAX).contains(&wanted.limit) {
            return Err(ApiError::parameter("limit", &format!("1 to {PAGE_MAX}"), wanted.limit));
        }
        Ok(wanted)
    }

    fn check_field(&self, view: &View) -> Result<()> {
        if !self.shown.vector || view.schema.vectors.contains_key(&self.field) {
            return Ok(());
        }
        Err(unknown_field(&self.field, view.schema.vectors.keys().map(String::as_str)).into())
    }

    /// A page costs a look at every row, and then as much as a look-up.
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

    fn answer(&self, view: &Arc<View>, out: Growing, go_on: GoOn<'_>) -> StoreResult<Bytes> {
        let Some(ids) = &self.ids else {
            let after = self.after.as_ref();
            let mut points = view.page(after, self.limit + 1, self.filter.as_ref(), go_on)?;
            let more = points.len() > self.limit;
            points.truncate(self.limit);
            let next = points.last().filter(|_| more).map(|(id, _)| id.clone());
            return Points { points, next }.write(self, view, out);
        };
        let mut points = Vec::with_capacity(ids.len());
        for id in ids {
            points.extend(view.find(id)?.map(|place| (id.clone(), place)));
        }
        Points { points, next: None }.write(self, view, out)
    }
}

impl Points {
    fn write(self, wanted: &Wanted, view: &View, mut out: Growing) -> StoreResult<Bytes> {
        out.text.extend_from_slice(b"{\"data\":{\"points\":[");
        let mut separator: &[u8] = b"";
        point::read_points(view, &self.points, &wanted.field, wanted.shown, |point| {
            out.text.extend_from_slice(mem::replace(&mut separator, b","));
            point.write(&mut out.text);
            out.pay()
        })?;
        out.text.push(b']');
        if let Some(next) = &self.next {
            out.text.extend_from_slice(b",\"next\":");
            point::write_id(&mut out.text, next);
        }
        out.text.extend_from_slice(b"}}");
        Ok(out.finish())
    }
}

/// The field shown if none is named: the default one, or the first.
fn default_field(view: &View) -> &str {
    view.schema.vectors.keys().next().map_or(DEFAULT_FIELD, String::as_str)
}

fn path_id(call: &Call) -> Result<PointId> {
    let text = call.id.as_deref().unwrap_or_default();
    match call.parameter("as") {
        None => point::path_id(text, false),
        Some("string") => point::path_id(text, true),
        Some(other) => Err(ApiError::parameter("as", "string", shown(other))),
    }
}

fn either(expected: &str) -> ApiError {
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
        let is_short = |points: usize, include_vector| {
            let ids = Ids((0..points as u64).map(PointId::U64).collect());
            let (ids, include_vector) = (Some(ids), Some(include_vector));
            let request = PointsGet { ids, include_vector, ..PointsGet::default() };
            Wanted::of(request).expect("good").cost(&view).is_short()
        };
        assert!(is_short(1, false) && is_short(10, true) && is_short(1_000, false));
        assert!(!is_short(10_000, false), "by their number");
        assert!(!is_short(1_000, true), "by their vectors");
    }
}
