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
use nearfield_engine::batch::{BATCH_ROWS_MAX, Batch, Draft};
use nearfield_engine::{Error, Fault, RowOutcome};
use nearfield_segment::{DEFAULT_FIELD, Lsn, PointId, Schema, shown, shown_list};
use serde_json::json;

use super::answer;
use super::call::{Call, at_length};
use super::cursor::Cursor;
use super::error::{ApiError, Result};
use super::point;
use crate::workers::{Change, Served, Written};

const ONE_KEYS: [&str; 6] = ["vector", "vectors", "id", "metadata", "idempotency_key", "wait"];
const BATCH_KEYS: [&str; 3] = ["vectors", "idempotency_key", "wait"];
const ROW_KEYS: [&str; 5] = ["vector", "vectors", "id", "metadata", "idempotency_key"];

/// Rows whose memory beside their elements is reserved at once, and bytes of one: its id, the places of its metadata
/// and key, with the room that a growing list has.
const ROWS_AT_ONCE: usize = 1024;
const ROW_BYTES: u64 = 160;

/// Answers `POST vectors`.
pub(super) async fn one(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let body = call.json().await?;
    let mut rows = Rows::new(&served.schema());
    let read = |cursor: &mut Cursor<'_>| rows.read_row(cursor, &ONE_KEYS);
    at_length(body.len(), || Cursor::whole(&body, read))?;
    drop(body);
    call.store()?.metrics().ingest_requests.inc();
    write(rows, &served, &mut call, |points, _| {
        let mut out = b"{\"data\":".to_vec();
        points.next().into_iter().for_each(|point| write_point(&mut out, &point));
        out.push(b'}');
        out
    })
    .await
}

/// Answers `POST vectors/batch`. A batch without rows changes nothing and is not logged.
pub(super) async fn batch(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let body = call.json().await?;
    let mut rows = Rows::new(&served.schema());
    let mut given = false;
    at_length(body.len(), || {
        Cursor::whole(&body, |cursor| {
            cursor.object(&BATCH_KEYS, |key, cursor| match key {
                "vectors" => {
                    given = true;
                    cursor.array(|cursor| {
                        if rows.count.is_multiple_of(ROWS_AT_ONCE) {
                            call.reserve(ROWS_AT_ONCE as u64 * ROW_BYTES)?;
                        }
                        rows.read_row(cursor, &ROW_KEYS)
                    })
                }
                "wait" => rows.read_wait(cursor),
                _ => {
                    rows.idempotency_key = Some(cursor.read("a string")?);
                    Ok(())
                }
            })
        })
    })?;
    drop(body);
    if !given {
        let expected = "\"vectors\": a list of rows";
        let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
        return Err(error.with("expected", expected).into());
    }
    call.store()?.metrics().ingest_requests.inc();
    if rows.count == 0 {
        call.waits(rows.wait)?;
        let lsn = served.view().lsn;
        rows.into_batch(&served.schema(), call.now_ms())?;
        return Ok(answer::ok(json!({ "results": [], "lsn": lsn })));
    }
    write(rows, &served, &mut call, |points, lsn| {
        let mut out = b"{\"data\":{\"results\":[".to_vec();
        for (row, point) in points.enumerate() {
            out.extend_from_slice(if row > 0 { b"," } else { b"" });
            write_point(&mut out, &point);
        }
        out.extend_from_slice(format!("],\"lsn\":{lsn}}}}}").as_bytes());
        out
    })
    .await
}

/// The id of a row and what became of it.
type Point = (PointId, RowOutcome);

fn write_point(out: &mut Vec<u8>, (id, outcome): &Point) {
    out.extend_from_slice(b"{\"id\":");
    point::write_id(out, id);
    let created = *outcome == RowOutcome::Inserted;
    out.extend_from_slice(if created { b",\"created\":true}" } else { b",\"created\":false}" });
}

/// Writes rows as one batch; `text` makes the answer once that is durable.
async fn write(
    rows: Rows,
    served: &Served,
    call: &mut Call,
    text: impl FnOnce(&mut dyn Iterator<Item = Point>, Lsn) -> Vec<u8> + Send,
) -> Result<Response<Body>> {
    let (count, given) = (rows.count, (!rows.ids.is_empty()).then(|| rows.ids.clone()));
    let (bytes, wait, now_ms) = (rows.memory_bytes(), call.waits(rows.wait)?, call.now_ms());
    let batch = at_length(bytes, || rows.into_batch(&served.schema(), now_ms))?;
    // The queue counts the batch.
    call.release();
    Ok(match served.write(Change::Batch(batch), wait).await? {
        Written::Queued => answer::data(StatusCode::ACCEPTED, json!({ "accepted": count })),
        Written::Durable(applied) => {
            let mut points = applied.points(given.as_deref());
            answer::json(StatusCode::CREATED, text(&mut points, applied.lsn))
        }
    })
}

/// Rows of a request, gathered by field.
#[derive(Debug)]
struct Rows {
    count: usize,
    ids: Vec<PointId>,
    /// Name, dimension and elements of each vector field.
    fields: Vec<(String, usize, Vec<f32>)>,
    metadata: Vec<Option<Cow<'static, str>>>,
    /// Of single rows.
    keys: Vec<Option<Cow<'static, str>>>,
    /// Of the whole batch.
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
            keys: Vec::new(),
            idempotency_key: None,
            wait: None,
        }
    }

    /// About what the rows take. O(rows).
    fn memory_bytes(&self) -> usize {
        let elements: usize = self.fields.iter().map(|(_, _, elements)| elements.len()).sum();
        let texts = self.metadata.iter().flatten().map(|text| text.len());
        4 * elements + texts.sum::<usize>()
    }

    /// One row with the keys allowed there.
    fn read_row(&mut self, cursor: &mut Cursor<'_>, keys: &[&'static str]) -> Result<()> {
        let row = self.count;
        if row == BATCH_ROWS_MAX {
            let message = format!("vectors: expected at most {BATCH_ROWS_MAX} rows, got more");
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", BATCH_ROWS_MAX).into());
        }
        let (mut metadata, mut row_key) = (None, None::<String>);
        cursor.object(keys, |key, cursor| {
            match key {
                "vector" => self.read_vector(DEFAULT_FIELD, cursor)?,
                "vectors" => cursor.map(|name, cursor| self.read_vector(&name, cursor))?,
                "id" => self.ids.push(point::read_id(cursor)?),
                "metadata" => metadata = Some(Cow::Owned(cursor.raw()?.to_owned())),
                "wait" => self.read_wait(cursor)?,
                _ => row_key = Some(cursor.read("a string")?),
            }
            Ok(())
        })?;
        self.count += 1;
        self.metadata.push(metadata);
        self.keys.push(row_key.map(Cow::Owned));
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
        let Some(position) = self.fields.iter().position(|(there, ..)| there == name) else {
            let known = shown_list(self.fields.iter().map(|(name, ..)| name.as_str()));
            let name = shown(name);
            let message = format!("row {}: there is no vector field {name:?}", self.count);
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", known).with("got", name.as_ref()).into());
        };
        let (_, dim, elements) = &mut self.fields[position];
        elements.reserve(*dim);
        cursor.floats(elements)
    }

    fn read_wait(&mut self, cursor: &mut Cursor<'_>) -> Result<()> {
        self.wait = Some(cursor.read("true or false")?);
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
            row_keys: self.keys,
            time_ms,
            idempotency_key: self.idempotency_key,
            ..Draft::default()
        };
        Ok(Batch::new(draft, schema)?)
    }
}

fn dimension(row: usize, field: &str, expected: usize, got: usize) -> ApiError {
    let field =
        if field == DEFAULT_FIELD { "vector".to_owned() } else { format!("{:?}", shown(field)) };
    let message = format!("row {row}: {field}: expected {expected} elements, got {got}");
    let error = Error::invalid(Fault::Dimension, message);
    error.with("expected", expected).with("got", got).with("row", row).into()
}
