//! The schema of a collection: `Schema` maps names of vector fields to a `VectorSpec` (dimension, metric,
//! `Encoding`), which checks vectors, and has the declared metadata fields (`FieldKinds`). `VectorSpec::check_stored`
//! is called by `Batch::new`, `check_query` by `View` and the query handlers. Also here: the limits of dimension and
//! norm.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::error::{Error, ErrorKind, Fault, Result, show_float, shown, shown_list};
use crate::kinds::FieldKinds;
use crate::metric::Metric;
use crate::names::names;

/// Largest dimension of a vector.
pub const DIM_MAX: usize = 65_536;

/// Name of the vector field that is meant when none is named.
pub const DEFAULT_FIELD: &str = "";

/// Largest squared length of a vector: above it sums of products could overflow f32.
pub const SQUARED_NORM_MAX: f64 = f32::MAX as f64 / 8.0;

/// Smallest squared length of a vector that is not zero: below it squares of elements vanish in f32,
/// and with them the order of distances.
pub const SQUARED_NORM_MIN: f64 = f32::MIN_POSITIVE as f64 * 64.0;

/// Numbers below this round to a finite half.
const HALF_LIMIT: f32 = 65_520.0;

/// Numbers up to this round to a half of zero.
const HALF_VANISHES: f32 = 1.0 / (1 << 25) as f32;

/// How the original elements of a vector are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Encoding {
    /// As given, four bytes an element.
    #[default]
    F32,
    /// Rounded to IEEE half precision at ingest, two bytes an element; `get` and exact search mean
    /// the rounded values.
    F16,
}

names!(Encoding, "store", F32 = "f32", F16 = "f16");

/// One vector field.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VectorSpec {
    /// Elements per vector, 1 to [`DIM_MAX`].
    pub dim: u32,
    /// How vectors of this field are compared.
    pub metric: Metric,
    /// How their elements are stored.
    #[serde(default)]
    pub store: Encoding,
}

/// The vector fields of a collection by name, of which [`DEFAULT_FIELD`] is the default one, and the metadata fields
/// whose kind is declared.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Schema {
    /// Dense vector fields.
    pub vectors: BTreeMap<String, VectorSpec>,
    /// Declared metadata fields.
    #[serde(default, skip_serializing_if = "FieldKinds::is_empty")]
    pub fields: FieldKinds,
}

impl Schema {
    /// A schema with one dense default field.
    ///
    /// # Errors
    /// `InvalidInput(Parameter)` unless `1 <= dim <= DIM_MAX`.
    pub fn dense(dim: usize, metric: Metric, store: Encoding) -> Result<Self> {
        if dim == 0 || dim > DIM_MAX {
            return Err(Error::invalid(
                Fault::Parameter,
                format!("dim: expected 1 to {DIM_MAX}, got {dim}"),
            )
            .with("expected", format!("1 to {DIM_MAX}"))
            .with("got", dim));
        }
        let spec = VectorSpec { dim: dim as u32, metric, store };
        let vectors = BTreeMap::from([(DEFAULT_FIELD.to_owned(), spec)]);
        Ok(Schema { vectors, fields: FieldKinds::NONE })
    }

    /// The default field, if the schema has one.
    pub fn default_field(&self) -> Option<&VectorSpec> {
        // The empty name sorts first; comparing empty strings costs a microcode assist with AVX-512.
        let (name, spec) = self.vectors.first_key_value()?;
        name.is_empty().then_some(spec)
    }
}

/// The refusal of a vector field that is not among `known`.
pub fn unknown_field<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Error {
    let (name, known) = (shown(name), shown_list(known));
    Error::new(ErrorKind::NotFound, format!("no vector field {name:?}; there are {known:?}"))
        .with("expected", known)
        .with("got", name.as_ref())
}

/// Sum of squares in f64, in eight lanes and one order: the same bits on every machine.
pub(crate) fn squared_norm(values: &[f32]) -> f64 {
    let mut lanes = [0.0f64; 8];
    let (blocks, rest) = values.as_chunks::<8>();
    for block in blocks {
        for (lane, &value) in lanes.iter_mut().zip(block) {
            *lane += f64::from(value) * f64::from(value);
        }
    }
    for (lane, &value) in lanes.iter_mut().zip(rest) {
        *lane += f64::from(value) * f64::from(value);
    }
    let [a, b, c, d, e, f, g, h] = lanes;
    ((a + e) + (c + g)) + ((b + f) + (d + h))
}

impl VectorSpec {
    /// Checks a vector that is to be stored: its number of elements, that they are finite, and that
    /// distances to it are neither too large nor too small for f32. Zeros are a vector.
    ///
    /// # Errors
    /// `InvalidInput(Dimension)` or `InvalidInput(NonFinite)`, naming `row` and the first bad column.
    pub fn check(&self, vector: &[f32], row: usize) -> Result<()> {
        let squared_norm = self.check_size(vector, row)?;
        if squared_norm > 0.0 && squared_norm < SQUARED_NORM_MIN {
            let (expected, got) = (SQUARED_NORM_MIN.sqrt(), squared_norm.sqrt());
            let message = format!(
                "row {row}: expected zeros or a length of at least {}, got {}: distances would vanish in \
                 32-bit floats",
                show_float(expected),
                show_float(got)
            );
            return Err(outside(message, row).with("expected", expected).with("got", got));
        }
        let largest = || vector.iter().fold(0.0f32, |largest, x| largest.max(x.abs()));
        if self.store == Encoding::F16 && squared_norm > 0.0 && largest() <= HALF_VANISHES {
            let (expected, got) = (f64::from(HALF_VANISHES), f64::from(largest()));
            let message = format!(
                "row {row}: expected zeros or an element beyond ±{}, got {} at most: all would become 0 in \
                 half precision",
                show_float(expected),
                show_float(got)
            );
            return Err(outside(message, row).with("expected", expected).with("got", got));
        }
        Ok(())
    }

    /// Checks a query: what [`check`](VectorSpec::check) does, and that a query for cosine has a
    /// direction. Every row has cosine 0 to zeros, so there is nothing to choose by.
    ///
    /// # Errors
    /// As `check`; `InvalidInput(NonFinite)` for zeros if the metric is cosine.
    pub fn check_query(&self, vector: &[f32], row: usize) -> Result<()> {
        self.check(vector, row)?;
        if self.metric == Metric::Cosine && vector.iter().all(|&x| x == 0.0) {
            let message = format!(
                "row {row}: expected a query with a direction, got zeros: their cosine is not defined"
            );
            return Err(outside(message, row).with("expected", "an element other than 0"));
        }
        Ok(())
    }

    /// Checks a vector that was accepted before, by this build or an earlier one that took shorter
    /// vectors: as [`check`](VectorSpec::check), without a least length.
    ///
    /// # Errors
    /// As `check`.
    pub fn check_stored(&self, vector: &[f32], row: usize) -> Result<()> {
        self.check_size(vector, row).map(drop)
    }

    /// The squared length of a vector that fits.
    fn check_size(&self, vector: &[f32], row: usize) -> Result<f64> {
        let dim = self.dim as usize;
        if vector.len() != dim {
            return Err(Error::invalid(
                Fault::Dimension,
                format!("row {row}: expected {dim} elements, got {}", vector.len()),
            )
            .with("expected", dim)
            .with("got", vector.len())
            .with("row", row));
        }
        let squared_norm = squared_norm(vector);
        let fits = |x: &f32| self.store == Encoding::F32 || x.abs() < HALF_LIMIT;
        if squared_norm <= SQUARED_NORM_MAX && vector.iter().all(fits) {
            return Ok(squared_norm);
        }
        if let Some(column) = vector.iter().position(|x| x.is_finite() && !fits(x)) {
            let message = format!(
                "row {row}, column {column}: expected a number within ±65504 (half precision), got {}",
                show_float(vector[column].into())
            );
            return Err(Error::invalid(Fault::NonFinite, message)
                .with("expected", "within ±65504")
                .with("got", show_float(vector[column].into()))
                .with("row", row)
                .with("column", column));
        }
        Err(match vector.iter().position(|x| !x.is_finite()) {
            Some(column) => Error::invalid(
                Fault::NonFinite,
                format!(
                    "row {row}, column {column}: expected a finite number, got {}",
                    show_float(vector[column].into())
                ),
            )
            .with("expected", "finite")
            .with("got", show_float(vector[column].into()))
            .with("row", row)
            .with("column", column),
            None => Error::invalid(
                Fault::NonFinite,
                format!(
                    "row {row}: expected a length of at most {}, got {}: distances would overflow \
                     32-bit floats",
                    show_float(SQUARED_NORM_MAX.sqrt()),
                    show_float(squared_norm.sqrt())
                ),
            )
            .with("expected", SQUARED_NORM_MAX.sqrt())
            .with("got", squared_norm.sqrt())
            .with("row", row),
        })
    }
}

fn outside(message: String, row: usize) -> Error {
    Error::invalid(Fault::NonFinite, message).with("row", row)
}
