//! Handlers of `POST vectors` and `POST vectors/batch`: they read rows of JSON into one atomic batch (`Draft`) and
//! queue it in the collection service. Called by the routes of `v2`.
//!
//! Rows are read one at a time and gathered in the arrays of the batch. What a row must be is checked here only as far
//! as the arrays would hide it (their total length does not say which row was short); the rest is the engine's, in one
//! place.

use std::borrow::Cow;
use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use nearfield_engine::batch::{BATCH_ROWS_MAX, Batch, Draft};
use nearfield_engine::{Error, Fault, RowOutcome};
use nearfield_segment::{DEFAULT_FIELD, Lsn, PointId, Schema, shown, shown_list};
use serde::Serialize;
use utoipa::ToSchema;

use super::point;
use super::values::{Id, Metadata, Vector};
use crate::http::{self, ApiError, Call, Cursor, FromJson, Result, at_length, request};
use crate::workers::{Change, CollectionService, Written};

/// Rows whose memory beside their elements is reserved at once, and bytes of one: its id, the places of its metadata
/// and key, with the room that a growing list has.
const ROWS_AT_ONCE: usize = 1024;
const ROW_BYTES: u64 = 160;

/// Defines the struct of a row that is written: its purpose, what its id and its key do, and what it has besides.
macro_rules! row {
    ($name:ident: $about:tt, $id:tt, $key:tt, { $($more:tt)* }) => {
        request! {
            #[doc = $about]
            pub(super) struct $name in Rows {
                /// Of the default vector field
                #[schema(value_type = Option<Vec<f32>>)]
                vector: Vector,
                /// By vector field
                #[schema(value_type = Option<BTreeMap<String, Vec<f32>>>)]
                vectors: VectorsByField,
                #[doc = $id]
                id: Id,
                #[schema(value_type = Option<Map<String, Value>>)]
                metadata: Metadata,
                #[doc = $key]
                #[schema(min_length = 1, max_length = 256)]
                idempotency_key: String,
                $($more)*
            }
        }
    };
}

row! {
    Row: "A row to write",
    "Left out: an id is assigned. Either every row of a batch has one or none",
    "A later row with the same key is not written and answered with the id of this one",
    {}
}

row! {
    WriteOne: "One point to write",
    "Left out: an id is assigned",
    "A later point with the same key is not written and answered with the id of this one",
    {
        /// false: answered once it is checked and queued
        wait: bool,
    }
}

request! {
    /// Points to write as one atomic batch
    pub(super) struct WriteBatch in Rows {
        /// At most 1,000,000; an empty list is answered by 200 and changes nothing
        #[schema(value_type = Vec<Row>, max_items = 1_000_000)]
        vectors: AllRows,
        /// A later batch with the same key is not written and answered as this one
        #[schema(min_length = 1, max_length = 256)]
        idempotency_key: String,
        /// false: answered once it is checked and queued
        wait: bool,
    }
}

/// A change that was checked and queued
#[derive(Serialize, ToSchema)]
pub(super) struct Accepted {
    /// Rows of a write; 1 for a deletion
    pub(super) accepted: u64,
}

/// A point that was written
#[derive(Debug, ToSchema)]
pub(super) struct WrittenPoint {
    #[schema(value_type = Id)]
    id: PointId,
    /// false if it replaced one, or had been written before
    created: bool,
}

/// Points as they are written into an answer.
type WrittenPoints<'a> = dyn Iterator<Item = WrittenPoint> + 'a;

/// A batch that was written
#[derive(ToSchema)]
pub(super) struct WrittenBatch<'a> {
    /// In the order of the rows
    #[schema(value_type = Vec<WrittenPoint>)]
    results: &'a mut WrittenPoints<'a>,
    /// Its position in the log
    lsn: u64,
}

/// Answers `POST vectors`.
pub(super) async fn one(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let mut rows = Rows::new(&served.schema());
    let request: WriteOne = call.request_into(&mut rows).await?;
    let WriteOne { vector, vectors, id, metadata, idempotency_key, wait } = request;
    rows.push(Row { vector, vectors, id, metadata, idempotency_key })?;
    call.store()?.metrics().ingest_requests.inc();
    write(rows, None, wait, &served, &mut call, |points, _| {
        let mut out = b"{\"data\":".to_vec();
        points.next().into_iter().for_each(|point| point.write(&mut out));
        out.push(b'}');
        out
    })
    .await
}

/// Answers `POST vectors/batch`. A batch without rows changes nothing and is not logged.
pub(super) async fn batch(mut call: Call) -> Result<Response<Body>> {
    let served = call.served()?;
    let mut rows = Rows::new(&served.schema());
    let request: WriteBatch = call.request_into(&mut rows).await?;
    let WriteBatch { vectors, idempotency_key: key, wait } = request;
    if vectors.is_none() {
        let expected = "\"vectors\": a list of rows";
        let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
        return Err(error.with("expected", expected).into());
    }
    call.store()?.metrics().ingest_requests.inc();
    if rows.count == 0 {
        call.waits(wait)?;
        let lsn = served.view().lsn;
        rows.into_batch(key, &served.schema(), call.server.now_ms())?;
        let nothing = WrittenBatch { results: &mut std::iter::empty(), lsn: lsn.0 };
        return Ok(http::json(StatusCode::OK, nothing.text()));
    }
    write(rows, key, wait, &served, &mut call, |results, lsn| {
        WrittenBatch { results, lsn: lsn.0 }.text()
    })
    .await
}

/// Writes rows as one batch; `text` makes the answer once that is durable.
async fn write(
    rows: Rows,
    key: Option<String>,
    wait: Option<bool>,
    served: &CollectionService,
    call: &mut Call,
    text: impl FnOnce(&mut dyn Iterator<Item = WrittenPoint>, Lsn) -> Vec<u8> + Send,
) -> Result<Response<Body>> {
    let (count, given) = (rows.count as u64, (!rows.ids.is_empty()).then(|| rows.ids.clone()));
    let (bytes, wait, now_ms) = (rows.memory_bytes(), call.waits(wait)?, call.server.now_ms());
    let batch = at_length(bytes, || rows.into_batch(key, &served.schema(), now_ms))?;
    // The queue counts the batch.
    call.release();
    Ok(match served.write(Change::Batch(batch), wait).await? {
        Written::Queued => http::data(StatusCode::ACCEPTED, Accepted { accepted: count }),
        Written::Durable(applied) => {
            let mut points = applied
                .points(given.as_deref())
                .map(|(id, outcome)| WrittenPoint { id, created: outcome == RowOutcome::Inserted });
            http::json(StatusCode::CREATED, text(&mut points, applied.lsn))
        }
    })
}

impl WrittenPoint {
    fn write(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(b"{\"id\":");
        point::write_id(out, &self.id);
        let created: &[u8] = if self.created { b"true" } else { b"false" };
        out.extend_from_slice(b",\"created\":");
        out.extend_from_slice(created);
        out.push(b'}');
    }
}

impl WrittenBatch<'_> {
    /// The answer as JSON.
    fn text(self) -> Vec<u8> {
        let mut out = b"{\"data\":{\"results\":[".to_vec();
        for (row, point) in self.results.enumerate() {
            out.extend_from_slice(if row > 0 { b"," } else { b"" });
            point.write(&mut out);
        }
        out.extend_from_slice(format!("],\"lsn\":{}}}}}", self.lsn).as_bytes());
        out
    }
}

/// The vectors of a row by field are in the [`Rows`] that the row's values share: each is read straight into the array
/// of its field, so that an entry takes no memory of its own.
#[derive(Debug)]
pub(super) struct VectorsByField;

impl FromJson<Rows> for VectorsByField {
    fn read(cursor: &mut Cursor<'_>, rows: &mut Rows) -> Result<Self> {
        let mut seen = Vec::new();
        cursor.map(|name, cursor| {
            let position = rows.position(&name)?;
            if seen.contains(&position) {
                return Err(cursor.refuse("each vector field once"));
            }
            seen.push(position);
            let (_, _, elements) = &mut rows.fields[position];
            cursor.floats(elements)
        })?;
        Ok(VectorsByField)
    }
}

/// All rows of a batch are in the [`Rows`] that its values share.
#[derive(Debug)]
pub(super) struct AllRows;

impl FromJson<Rows> for AllRows {
    fn read(cursor: &mut Cursor<'_>, rows: &mut Rows) -> Result<Self> {
        cursor.array(|cursor| {
            if rows.count.is_multiple_of(ROWS_AT_ONCE) {
                cursor.reserve(ROWS_AT_ONCE as u64 * ROW_BYTES)?;
            }
            let row = Row::read(cursor, rows)?;
            rows.push(row)
        })?;
        Ok(AllRows)
    }
}

/// Rows of a request, gathered by field.
#[derive(Debug)]
pub(super) struct Rows {
    count: usize,
    ids: Vec<PointId>,
    /// Name, dimension and elements of each vector field.
    fields: Vec<(String, usize, Vec<f32>)>,
    metadata: Vec<Option<Cow<'static, str>>>,
    /// Of single rows.
    keys: Vec<Option<Cow<'static, str>>>,
}

impl Rows {
    fn new(schema: &Schema) -> Rows {
        let field = |(name, spec): (&String, &nearfield_segment::VectorSpec)| {
            (name.clone(), spec.dim as usize, Vec::new())
        };
        let fields = schema.vectors.iter().map(field).collect();
        Rows { count: 0, ids: Vec::new(), fields, metadata: Vec::new(), keys: Vec::new() }
    }

    /// About what the rows take. O(rows).
    fn memory_bytes(&self) -> usize {
        let elements: usize = self.fields.iter().map(|(_, _, elements)| elements.len()).sum();
        let texts = self.metadata.iter().flatten().map(|text| text.len());
        4 * elements + texts.sum::<usize>()
    }

    /// Adds a row, of which `vectors` were read already.
    fn push(&mut self, new: Row) -> Result<()> {
        let row = self.count;
        if row == BATCH_ROWS_MAX {
            let message = format!("vectors: expected at most {BATCH_ROWS_MAX} rows, got more");
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", BATCH_ROWS_MAX).into());
        }
        let Row { vector, vectors: _, id, metadata, idempotency_key } = new;
        if let Some(Vector(new)) = vector {
            let position = self.position(DEFAULT_FIELD)?;
            let (_, _, elements) = &mut self.fields[position];
            if elements.is_empty() {
                *elements = new;
            } else {
                elements.extend_from_slice(&new);
            }
        }
        self.count += 1;
        self.ids.extend(id.map(|Id(id)| id));
        self.metadata.push(metadata.map(|Metadata(text)| text));
        self.keys.push(idempotency_key.map(Cow::Owned));
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

    /// The position of a vector field.
    fn position(&self, name: &str) -> Result<usize> {
        self.fields.iter().position(|(there, ..)| there == name).ok_or_else(|| {
            let known = shown_list(self.fields.iter().map(|(name, ..)| name.as_str()));
            let name = shown(name);
            let message = format!("row {}: there is no vector field {name:?}", self.count);
            let error = Error::invalid(Fault::Parameter, message);
            error.with("expected", known).with("got", name.as_ref()).into()
        })
    }

    fn into_batch(
        self,
        key: Option<String>,
        schema: &Schema,
        time_ms: u64,
    ) -> Result<Batch<'static>> {
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
            idempotency_key: key,
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

#[cfg(test)]
mod tests {
    use nearfield_segment::{Encoding, FieldKinds, Metric, VectorSpec};

    use super::*;

    /// The error of a row, and the places for elements that were made until then.
    fn refused(text: &str) -> (ApiError, usize) {
        let spec = VectorSpec { dim: 2, metric: Metric::L2, store: Encoding::F32 };
        let vectors = ["", "a"].map(|name| (name.to_owned(), spec.clone())).into();
        let mut rows = Rows::new(&Schema { vectors, fields: FieldKinds::NONE });
        let mut reserve = |bytes| panic!("{bytes} bytes reserved");
        let row =
            Cursor::whole(text.as_bytes(), &mut reserve, |cursor| Row::read(cursor, &mut rows));
        let places = rows.fields.iter().map(|(_, _, elements)| elements.capacity());
        (row.expect_err("not a row"), places.sum())
    }

    #[test]
    fn many_vectors_of_an_unknown_or_repeated_field_are_refused_before_memory_is_taken_for_them() {
        let entries = |name: &str| vec![format!("\"{name}\":[]"); 10_000].join(",");
        let (error, places) = refused(&format!("{{\"vectors\":{{{}}}}}", entries("b")));
        let message = format!("{error:?}");
        assert!(message.contains("row 0: there is no vector field"), "{message}");
        assert_eq!(places, 0);
        for name in ["", "a"] {
            let (error, places) = refused(&format!("{{\"vectors\":{{{}}}}}", entries(name)));
            let second =
                "{\"vectors\":{".len() + 2 * "\"\":[],".len() + 2 * name.len() - "[],".len();
            assert_eq!((error.position(), places), (Some(second as u64), 0), "{error:?}");
        }
    }
}
