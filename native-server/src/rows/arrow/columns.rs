//! `Columns`: decides from the schema of an Arrow table which column is what: vectors, ids, metadata. Called
//! by `table` when a stream or a file begins.
//!
//! | column | role |
//! |---|---|
//! | the one named by the caller, else `vector`, `embedding` or `emb`, else the only list of floats | vectors |
//! | named like another vector field of the collection | vectors of that field |
//! | the one named by the caller, else `id` or `_id` | ids |
//! | `id_is_number`, marked as ours | which texts of `id` are numbers |
//! | `idempotency_key` (text) | keys of the rows |
//! | `metadata` (text or struct) | whole JSON objects; no further column may be there |
//! | all others | one key of the metadata each |
//!
//! Timestamps and dates, also in lists and structs, declare their field `datetime`; a text column `metadata` says so in
//! its own metadata, as we write it.
//!
//! Types that no role can use are refused here by the name of their column, before any row is read.

use std::collections::BTreeMap;

use arrow_schema::{DataType, Field, FieldRef, Schema as Table};
use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::payload::FieldPath;
use nearfield_segment::{DEFAULT_FIELD, FieldKind, FieldKinds, Schema, shown, shown_list};

/// Deepest nesting of lists and objects; the engine refuses deeper metadata anyway.
const DEPTH_MAX: usize = 32;
const VECTOR_NAMES: [&str; 3] = ["vector", "embedding", "emb"];
const ID_NAMES: [&str; 2] = ["id", "_id"];
const KEY_NAME: &str = "idempotency_key";
/// What a column of times of day or durations has to be instead: metadata has no type for them.
const INSTEAD_OF_TIMES: &str = "dates, or numbers instead of times of day or durations: store an integer such as \
                                microseconds";
pub(super) const METADATA_NAME: &str = "metadata";
pub(super) const NUMBERS_NAME: &str = "id_is_number";
/// Key of a field's own metadata by which we know [`NUMBERS_NAME`] again.
pub(super) const OURS: &str = "nearfield";
/// Key of the own metadata of [`METADATA_NAME`] with the declared fields of its objects, as in a schema.
pub(super) const DECLARED: &str = "nearfield.fields";

/// Columns named by the caller, where the usual names are not wanted.
#[derive(Debug, Clone, Default)]
pub(crate) struct ColumnNames {
    /// The vectors.
    pub(crate) vector: Option<String>,
    /// The ids.
    pub(crate) id: Option<String>,
}

/// Positions of columns by what they are for.
#[derive(Debug)]
pub(super) struct Columns {
    /// By vector field.
    pub(super) vectors: BTreeMap<String, usize>,
    pub(super) id: Option<usize>,
    pub(super) id_is_number: Option<usize>,
    pub(super) keys: Option<usize>,
    pub(super) metadata: Metadata,
    /// Fields that are dates by the types of the columns.
    pub(super) fields: FieldKinds,
}

/// Where metadata comes from.
#[derive(Debug)]
pub(super) enum Metadata {
    /// No column is left for it.
    None,
    /// One column of whole objects.
    Whole(usize),
    /// Each column is a key.
    Columns(Vec<usize>),
}

impl Columns {
    /// Finds the columns; `schema` is that of the collection, if it is known.
    ///
    /// # Errors
    /// `InvalidInput` naming the column and what was expected.
    pub(super) fn find(
        table: &Table,
        names: &ColumnNames,
        schema: Option<&Schema>,
    ) -> Result<Columns> {
        let mut free: Vec<usize> = (0..table.fields().len()).collect();
        let mut take = |position: Option<usize>| {
            free.retain(|free| Some(*free) != position);
            position
        };
        let mut vectors = BTreeMap::new();
        for name in schema.into_iter().flat_map(|schema| schema.vectors.keys()) {
            if name != DEFAULT_FIELD {
                let position = take(Some(named(table, name)?)).expect("it is there");
                vectors.insert(name.clone(), position);
            }
        }
        if schema.is_none_or(|schema| schema.default_field().is_some()) {
            let position = take(Some(vector_column(table, names)?)).expect("it is there");
            vectors.insert(DEFAULT_FIELD.to_owned(), position);
        }
        let id = match &names.id {
            Some(name) => Some(named(table, name)?),
            None => first_of(table, &ID_NAMES),
        };
        let id = take(id);
        let ours = |field: &&FieldRef| field.metadata().contains_key(OURS);
        let numbers = table.fields().find(NUMBERS_NAME).filter(|(_, field)| ours(field));
        let id_is_number = take(numbers.map(|(position, _)| position));
        let keys = take(first_of(table, &[KEY_NAME]));
        let metadata = metadata(table, free)?;
        for (position, field) in table.fields().iter().enumerate() {
            if id == Some(position) {
                check_id(field)?;
            } else if !vectors.values().any(|taken| *taken == position) {
                check_type(field.name(), field, 0)?;
            }
        }
        for (name, position) in &vectors {
            check_vector(table.field(*position), name, schema)?;
        }
        let fields = declared(table, &metadata)?;
        Ok(Columns { vectors, id, id_is_number, keys, metadata, fields })
    }
}

fn named(table: &Table, name: &str) -> Result<usize> {
    table.fields().find(name).map(|(position, _)| position).ok_or_else(|| {
        let there = shown_list(table.fields().iter().map(|field| field.name().as_str()));
        let message = format!("expected a column {name:?}, found {there:?}");
        Error::invalid(Fault::Parameter, message).with("expected", name).with("got", there)
    })
}

fn first_of(table: &Table, names: &[&str]) -> Option<usize> {
    names.iter().find_map(|name| table.fields().find(name)).map(|(position, _)| position)
}

fn vector_column(table: &Table, names: &ColumnNames) -> Result<usize> {
    if let Some(name) = &names.vector {
        return named(table, name);
    }
    let lists = |position: &usize| list_of_floats(table.field(*position)).is_some();
    if let Some(position) = first_of(table, &VECTOR_NAMES) {
        return Ok(position);
    }
    let found: Vec<usize> = (0..table.fields().len()).filter(lists).collect();
    if let [only] = found.as_slice() {
        return Ok(*only);
    }
    let names = match found.as_slice() {
        [] => shown_list(table.fields().iter().map(|field| field.name().as_str())),
        several => {
            shown_list(several.iter().map(|&position| table.field(position).name().as_str()))
        }
    };
    let expected = "a column \"vector\", \"embedding\" or \"emb\", or only one list of floats";
    let message = format!("expected {expected}, found {names:?}");
    Err(Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", names))
}

/// Elements of a fixed-size list, 0 for lists of any size; `None` if it is no list of floats.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
pub(super) fn list_of_floats(field: &Field) -> Option<usize> {
    let (items, size) = match field.data_type() {
        DataType::FixedSizeList(items, size) => (items, usize::try_from(*size).ok()?.max(1)),
        DataType::List(items) | DataType::LargeList(items) => (items, 0),
        _ => return None,
    };
    let floats =
        matches!(items.data_type(), DataType::Float16 | DataType::Float32 | DataType::Float64);
    floats.then_some(size)
}

fn check_vector(column: &Field, name: &str, schema: Option<&Schema>) -> Result<()> {
    let column_name = shown(column.name());
    let Some(size) = list_of_floats(column) else {
        let got = type_name(column.data_type());
        let message = format!("column {column_name:?}: expected a list of floats, found {got}");
        return Err(Error::invalid(Fault::Parameter, message).with("got", got));
    };
    let dim = schema.and_then(|schema| schema.vectors.get(name)).map(|spec| spec.dim as usize);
    match dim {
        Some(dim) if size != 0 && size != dim => {
            let message = format!("column {column_name:?}: expected {dim} elements, got {size}");
            let error = Error::invalid(Fault::Dimension, message);
            Err(error.with("expected", dim).with("got", size))
        }
        Some(_) | None => Ok(()),
    }
}

fn metadata(table: &Table, free: Vec<usize>) -> Result<Metadata> {
    let whole = free.iter().copied().find(|&position| {
        let field = table.field(position);
        field.name() == METADATA_NAME
            && (is_text(field.data_type()) || matches!(field.data_type(), DataType::Struct(_)))
    });
    let Some(whole) = whole else {
        return Ok(if free.is_empty() { Metadata::None } else { Metadata::Columns(free) });
    };
    match free.into_iter().find(|&position| position != whole) {
        None => Ok(Metadata::Whole(whole)),
        Some(other) => {
            let other = shown(table.field(other).name());
            let expected = "metadata in a column \"metadata\" or in columns of their own";
            let message = format!("expected {expected}, found both ({other:?})");
            Err(Error::invalid(Fault::Metadata, message).with("expected", expected))
        }
    }
}

/// The fields that the columns of the metadata declare.
fn declared(table: &Table, metadata: &Metadata) -> Result<FieldKinds> {
    let mut fields = FieldKinds::NONE;
    match metadata {
        Metadata::None => {}
        Metadata::Columns(positions) => {
            for field in positions.iter().map(|&position| table.field(position)) {
                declare(field.data_type(), &mut vec![field.name()], &mut fields);
            }
        }
        Metadata::Whole(position) => {
            let field = table.field(*position);
            declare(field.data_type(), &mut Vec::new(), &mut fields);
            if let Some(text) = field.metadata().get(DECLARED) {
                let expected =
                    format!("{DECLARED:?} of column {METADATA_NAME:?}: expected fields and kinds");
                fields = serde_json::from_str(text).map_err(|error| {
                    Error::invalid(Fault::Metadata, format!("{expected}, found {error}"))
                })?;
            }
        }
    }
    Ok(fields)
}

/// Declares what of a type is a date; `keys` lead to it.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is no date"
)]
fn declare<'t>(data_type: &'t DataType, keys: &mut Vec<&'t str>, fields: &mut FieldKinds) {
    use DataType as T;
    match data_type {
        T::Timestamp(..) | T::Date32 | T::Date64 => {
            let path = FieldPath::from_keys(keys.iter());
            fields.insert(path.as_str().to_owned(), FieldKind::Datetime);
        }
        T::List(items) | T::LargeList(items) | T::FixedSizeList(items, _) => {
            declare(items.data_type(), keys, fields);
        }
        T::Struct(inner) => {
            for field in inner {
                keys.push(field.name());
                declare(field.data_type(), keys, fields);
                keys.pop();
            }
        }
        _ => {}
    }
}

/// Whether values are strings, whatever their layout.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
pub(super) fn is_text(data_type: &DataType) -> bool {
    match data_type {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Dictionary(_, values) => {
            matches!(**values, DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View)
        }
        _ => false,
    }
}

fn check_id(field: &Field) -> Result<()> {
    let data_type = field.data_type();
    if data_type.is_integer() || is_text(data_type) || *data_type == DataType::FixedSizeBinary(16) {
        return Ok(());
    }
    let (expected, got) = ("integers, text or UUIDs of 16 bytes", type_name(data_type));
    let column = shown(field.name());
    let message = format!("column {column:?}: ids: expected {expected}, found {got}");
    Err(Error::invalid(Fault::Id, message).with("expected", expected).with("got", got))
}

/// A type as a message names it: that of a struct would list all of its fields.
fn type_name(data_type: &DataType) -> String {
    shown(&data_type.to_string()).into_owned()
}

/// Refuses what cannot become JSON.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "types of the arrow crates; what is not named is refused"
)]
fn check_type(column: &str, field: &Field, depth: usize) -> Result<()> {
    use DataType as T;
    let refused = |found: &str| {
        let expected = "bools, numbers, text, lists or structs of them";
        let column = shown(column);
        let message = format!("column {column:?}: expected {expected}, found {found}");
        Err(Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", found))
    };
    if depth > DEPTH_MAX {
        return refused("lists or structs nested too deeply");
    }
    match field.data_type() {
        T::Boolean | T::Int8 | T::Int16 | T::Int32 | T::Int64 | T::Null => Ok(()),
        T::UInt8 | T::UInt16 | T::UInt32 | T::UInt64 => Ok(()),
        T::Float16 | T::Float32 | T::Float64 | T::Decimal128(..) => Ok(()),
        T::Timestamp(..) | T::Date32 | T::Date64 => Ok(()),
        times if times.is_temporal() => {
            let (expected, found) = (INSTEAD_OF_TIMES, type_name(times));
            let column = shown(column);
            let message = format!("column {column:?}: expected {expected}, found {found}");
            Err(Error::invalid(Fault::Metadata, message)
                .with("expected", expected)
                .with("got", found))
        }
        text if is_text(text) => Ok(()),
        T::List(items) | T::LargeList(items) | T::FixedSizeList(items, 1..) => {
            check_type(column, items, depth + 1)
        }
        T::Struct(fields) if !fields.is_empty() => {
            fields.iter().try_for_each(|field| check_type(column, field, depth + 1))
        }
        other => refused(&type_name(other)),
    }
}
