//! `POST vectors` and `POST vectors/batch`: rows of JSON to one atomic batch.
//!
//! Rows are read straight into the arrays of the batch. What a row must be is checked here only as far as
//! the arrays would hide it (their total length does not say which row was short); the rest is the
//! engine's, in one place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Error, Fault};
use nearfield_segment::{DEFAULT_FIELD, PointId, Schema, payload};
use serde_json::json;

use super::answer;
use super::call::Call;
use super::cursor::Cursor;
use super::error::{ApiError, Result};
use super::point;
use crate::workers::{Change, Served, Written};

const ONE_KEYS: [&str; 6] = ["vector", "vectors", "id", "metadata", "idempotency_key", "wait"];
const BATCH_KEYS: [&str; 3] = ["vectors", "idempotency_key", "wait"];
const ROW_KEYS: [&str; 4] = ["vector", "vectors", "id", "metadata"];

/// Answers `POST vectors`.
pub(super) async fn one(mut call: Call) -> Result<Response<Body>> {
    call.store()?.metrics().ingest_requests.inc();
    let served = call.served()?;
    let body = call.json().await?;
    let mut rows = Rows::new(&served.schema());
    Cursor::whole(&body, |cursor| rows.read_row(cursor, &ONE_KEYS))?;
    drop(body);
    let wait = call.waits(rows.wait)?;
    Ok(match write(call.now_ms(), &served, rows, wait).await? {
        None => accepted(1),
        Some((applied, ids)) => {
            answer::data(StatusCode::CREATED, result(&ids[0], applied.replaced == 0))
        }
    })
}

/// Answers `POST vectors/batch`.
pub(super) async fn batch(mut call: Call) -> Result<Response<Body>> {
    call.store()?.metrics().ingest_requests.inc();
    let served = call.served()?;
    let body = call.json().await?;
    let mut rows = Rows::new(&served.schema());
    Cursor::whole(&body, |cursor| {
        cursor.object(&BATCH_KEYS, |key, cursor| match key {
            "vectors" => cursor.array(|cursor| rows.read_row(cursor, &ROW_KEYS)),
            _ => rows.read_setting(key, cursor),
        })
    })?;
    drop(body);
    let (count, wait, view) = (rows.count, call.waits(rows.wait)?, served.view());
    let Some((applied, ids)) = write(call.now_ms(), &served, rows, wait).await? else {
        return Ok(accepted(count));
    };
    let created = |id: &PointId| applied.replaced == 0 || view.find(id).is_none();
    let results: Vec<_> = ids.iter().map(|id| result(id, created(id))).collect();
    Ok(answer::data(StatusCode::CREATED, json!({ "results": results, "lsn": applied.lsn })))
}

fn result(id: &PointId, created: bool) -> serde_json::Value {
    json!({ "id": crate::json::id(id), "created": created })
}

fn accepted(count: usize) -> Response<Body> {
    answer::data(StatusCode::ACCEPTED, json!({ "accepted": count }))
}

/// Writes rows as one batch: what became of it with the ids of all rows, or nothing if it only waits.
async fn write(
    now_ms: u64,
    served: &Served,
    rows: Rows,
    wait: bool,
) -> Result<Option<(Applied, Vec<PointId>)>> {
    let (given, count) = (rows.ids.clone(), rows.count);
    let batch = rows.into_batch(&served.schema(), now_ms)?;
    match served.write(Change::Batch(batch), wait).await? {
        Written::Queued => Ok(None),
        Written::Durable(applied) => {
            let ids = match applied.first_assigned {
                Some(first) => (first..=u64::MAX).take(count).map(PointId::U64).collect(),
                None => given,
            };
            Ok(Some((applied, ids)))
        }
    }
}

/// Rows of a request, gathered by field.
#[derive(Debug)]
struct Rows {
    count: usize,
    ids: Vec<PointId>,
    /// Name, dimension and elements of each vector field.
    fields: Vec<(String, usize, Vec<f32>)>,
    metadata: Vec<Option<Cow<'static, str>>>,
    idempotency_key: Option<String>,
    wait: Option<bool>,
}

impl Rows {
    fn new(schema: &Schema) -> Rows {
        let field = |(name, spec): (&String, &nearfield_segment::VectorSpec)| {
            (name.clone(), spec.dim as usize, Vec::new())
        };
        let fields = schema.vectors.iter().map(field).collect();
        Rows {
            count: 0,
            ids: Vec::new(),
            fields,
            metadata: Vec::new(),
            idempotency_key: None,
            wait: None,
        }
    }

    /// One row; all of the batch's settings may stand beside it if `keys` has them.
    fn read_row(&mut self, cursor: &mut Cursor<'_>, keys: &[&'static str]) -> Result<()> {
        let row = self.count;
        let mut metadata = None;
        cursor.object(keys, |key, cursor| {
            match key {
                "vector" => self.read_vector(DEFAULT_FIELD, cursor)?,
                "vectors" => cursor.map(|name, cursor| self.read_vector(&name, cursor))?,
                "id" if cursor.null() => {}
                "id" => self.ids.push(point::read_id(cursor)?),
                "metadata" if cursor.null() => {}
                "metadata" => metadata = Some(Cow::Owned(cursor.raw()?.to_owned())),
                _ => self.read_setting(key, cursor)?,
            }
            Ok(())
        })?;
        self.count += 1;
        self.metadata.push(metadata);
        if !self.ids.is_empty() && self.ids.len() != self.count {
            let message = format!("row {row}: expected an id in every row or in none");
            return Err(Error::invalid(Fault::Id, message).with("row", row).into());
        }
        for (name, dim, elements) in &self.fields {
            let got = elements.len() - row * dim;
            if got != *dim {
                return Err(dimension(row, name, *dim, got));
            }
        }
        Ok(())
    }

    fn read_vector(&mut self, name: &str, cursor: &mut Cursor<'_>) -> Result<()> {
        let known: Vec<String> = self.fields.iter().map(|(name, ..)| name.clone()).collect();
        let Some((_, dim, elements)) = self.fields.iter_mut().find(|(there, ..)| there == name)
        else {
            let message = format!("row {}: there is no vector field {name:?}", self.count);
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", known).with("got", name).into());
        };
        elements.reserve(*dim);
        cursor.floats(elements)
    }

    fn read_setting(&mut self, key: &str, cursor: &mut Cursor<'_>) -> Result<()> {
        if key == "wait" {
            self.wait = cursor.read("true, false or null")?;
        } else {
            self.idempotency_key = cursor.read("a string or null")?;
        }
        Ok(())
    }

    fn into_batch(self, schema: &Schema, time_ms: u64) -> Result<Batch<'static>> {
        let vectors =
            self.fields.into_iter().map(|(name, _, elements)| (name, Cow::Owned(elements)));
        let vectors: BTreeMap<String, Cow<'static, [f32]>> = vectors.collect();
        let draft = Draft {
            ids: (!self.ids.is_empty()).then_some(self.ids),
            rows: self.count,
            vectors,
            metadata: self.metadata,
            time_ms,
            idempotency_key: self.idempotency_key,
            ..Draft::default()
        };
        Ok(Batch::new(draft, schema, &payload::validate)?)
    }
}

fn dimension(row: usize, field: &str, expected: usize, got: usize) -> ApiError {
    let field = if field == DEFAULT_FIELD { "vector".to_owned() } else { format!("{field:?}") };
    let message = format!("row {row}: {field}: expected {expected} elements, got {got}");
    let error = Error::invalid(Fault::Dimension, message);
    error.with("expected", expected).with("got", got).with("row", row).into()
}
