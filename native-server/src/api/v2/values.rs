//! Reads the values of requests from JSON: ids (`Ids`), vectors (`Vector`), metadata. Used by the request structs of
//! `query`, `points` and `write`.
//!
//! A vector is read straight into the array that the engine takes. Memory for lists is reserved while they grow.

use std::borrow::Cow;

use nearfield_engine::{Error, Fault};
use nearfield_segment::{PointId, shown};
use serde_json::Value;
use utoipa::openapi::schema::{ObjectBuilder, OneOfBuilder, Type};
use utoipa::openapi::{RefOr, Schema};
use utoipa::{PartialSchema, ToSchema};

use crate::http::{ApiError, Cursor, FromJson, Result};

/// Bytes of a number in a body and the comma behind it, at least.
const NUMBER_BYTES: usize = 2;
/// Most places made for numbers before they are read.
const FLOATS_AT_ONCE: usize = 4096;
/// Most query vectors in one request.
const QUERIES_MAX: usize = 10_000;
/// Places of a list of ids that are made at once at least, and bytes of one while the list grows.
const IDS_AT_ONCE: usize = 64;
const ID_BYTES: u64 = 2 * size_of::<PointId>() as u64;

/// An integer from -2^63 to 2^64 - 1, or a string of 1 to 256 bytes.
#[derive(Debug)]
pub(super) struct Id(pub(super) PointId);

impl PartialSchema for Id {
    fn schema() -> RefOr<Schema> {
        let number = ObjectBuilder::new().schema_type(Type::Integer);
        let text = ObjectBuilder::new().schema_type(Type::String);
        let text = text.min_length(Some(1)).max_length(Some(256));
        OneOfBuilder::new().item(number).item(text).into()
    }
}

impl ToSchema for Id {}

impl<S> FromJson<S> for Id {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let text = cursor.raw()?;
        if let Some(id) = PointId::from_digits(text) {
            return Ok(Id(id));
        }
        if text.starts_with('"')
            && let Ok(Value::String(text)) = serde_json::from_str(text)
        {
            return Ok(Id(PointId::from_text(&text)?));
        }
        let got = shown(text);
        let message = format!("id: expected -2^63 to 2^64 - 1 or a string, got {got}");
        Err(Error::invalid(Fault::Id, message).with("got", got.as_ref()).into())
    }
}

/// A list of at most `MAX` ids.
#[derive(Debug)]
pub(super) struct Ids<const MAX: usize>(pub(super) Vec<PointId>);

impl<S, const MAX: usize> FromJson<S> for Ids<MAX> {
    fn read(cursor: &mut Cursor<'_>, shared: &mut S) -> Result<Self> {
        let mut ids = Vec::new();
        cursor.array(|cursor| {
            if ids.len() == ids.capacity() {
                let more = ids.capacity().max(IDS_AT_ONCE);
                cursor.reserve(more as u64 * ID_BYTES)?;
                ids.reserve_exact(more);
            }
            ids.push(Id::read(cursor, shared)?.0);
            if ids.len() > MAX {
                let message = format!("ids: expected at most {MAX}, got more");
                return Err(Error::invalid(Fault::Parameter, message).with("expected", MAX).into());
            }
            Ok(())
        })?;
        Ok(Ids(ids))
    }
}

/// A vector.
#[derive(Debug)]
pub(super) struct Vector(pub(super) Vec<f32>);

impl<S> FromJson<S> for Vector {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let mut elements = places_for_floats(cursor);
        cursor.floats(&mut elements)?;
        Ok(Vector(elements))
    }
}

/// Query vectors of the same dimension.
#[derive(Debug)]
pub(super) struct Vectors {
    /// One after the other.
    pub(super) elements: Vec<f32>,
    pub(super) dim: usize,
}

impl<S> FromJson<S> for Vectors {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        let mut vectors = Vectors { elements: places_for_floats(cursor), dim: 0 };
        let mut row = 0;
        cursor.array(|cursor| {
            let before = vectors.elements.len();
            cursor.floats(&mut vectors.elements)?;
            let len = vectors.elements.len() - before;
            if row == 0 {
                vectors.dim = len;
            }
            if len != vectors.dim {
                return Err(wrong_dimension(row, vectors.dim, len));
            }
            row += 1;
            if row > QUERIES_MAX {
                let message = format!("vectors: expected at most {QUERIES_MAX}, got more");
                let error = Error::invalid(Fault::Parameter, message);
                return Err(error.with("expected", QUERIES_MAX).into());
            }
            Ok(())
        })?;
        Ok(vectors)
    }
}

/// An empty array with places for the numbers that follow: grown by doubling it would be copied several times.
fn places_for_floats(cursor: &Cursor<'_>) -> Vec<f32> {
    Vec::with_capacity((cursor.bytes_left() / NUMBER_BYTES).min(FLOATS_AT_ONCE))
}

/// The refusal of query vector `row`.
pub(super) fn wrong_dimension(row: usize, expected: usize, got: usize) -> ApiError {
    let message = format!("vector {row}: expected {expected} elements, got {got}");
    let error = Error::invalid(Fault::Dimension, message);
    error.with("expected", expected).with("got", got).with("row", row).into()
}

/// Metadata as given; the engine checks that it is an object.
#[derive(Debug)]
pub(super) struct Metadata(pub(super) Cow<'static, str>);

impl<S> FromJson<S> for Metadata {
    fn read(cursor: &mut Cursor<'_>, _: &mut S) -> Result<Self> {
        Ok(Metadata(Cow::Owned(cursor.raw()?.to_owned())))
    }
}
