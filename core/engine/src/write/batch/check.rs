//! Checks a batch, as far as that is possible without the state of its collection: dimensions, norms, ids, metadata,
//! idempotency keys. Called by `Batch::new` and `decode`.
//!
//! One idempotency key names the whole batch, or some rows have keys of their own; never both, and rows with keys
//! come without deletes. A repeated batch is then wholly known or wholly new, and leaving a row out cannot take
//! away what the deletes of its batch made room for.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use nearfield_segment::{
    Error, Fault, FieldKinds, PointId, Result, Schema, VectorSpec, payload, shown, shown_list,
};
use serde_json::Value;

use crate::manifest::check_declared;

/// How many ids an error about duplicates names.
const NAMED_IDS_MAX: usize = 10;

/// Longest idempotency key, in bytes.
pub const IDEMPOTENCY_KEY_BYTES_MAX: usize = 256;

/// What vectors and metadata are held to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rules {
    /// The rules for new batches.
    New,
    /// The rules for batches of the log: new ones may be stricter than those by which they were accepted.
    Logged,
}

pub(super) fn count(
    what: &str,
    got: usize,
    relation: &str,
    expected: usize,
    ok: bool,
) -> Result<()> {
    if ok {
        return Ok(());
    }
    let message = format!("{what}: expected {relation} {expected}, got {got}");
    Err(Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", got))
}

pub(super) fn id(id: &PointId) -> Result<()> {
    match id {
        PointId::I64(0..) => Err(Error::invalid(
            Fault::Id,
            format!("{id} is not negative and must be given as a u64"),
        )),
        PointId::I64(_) | PointId::U64(_) | PointId::Uuid(_) => Ok(()),
        PointId::Str(text) if PointId::from_text(text)? == *id => Ok(()),
        PointId::Str(text) => {
            Err(Error::invalid(Fault::Id, format!("{text} is a UUID and must be given as one")))
        }
    }
}

/// Growing ids are distinct at the cost of one pass; others are sorted by hash.
pub(super) fn distinct(ids: &[PointId]) -> Result<()> {
    if ids.is_sorted_by(|a, b| a < b) {
        return Ok(());
    }
    let mut sorted: Vec<(u64, &PointId)> = ids.iter().map(|id| (id.hash64(), id)).collect();
    sorted.sort_unstable();
    let mut twice: Vec<_> =
        sorted.windows(2).filter(|pair| pair[0] == pair[1]).map(|pair| pair[0].1).collect();
    if twice.is_empty() {
        return Ok(());
    }
    twice.sort_unstable();
    twice.dedup();
    let named: Vec<String> = twice.iter().take(NAMED_IDS_MAX).map(ToString::to_string).collect();
    let more = if twice.len() > named.len() { ", …" } else { "" };
    let message =
        format!("{} ids occur twice in one batch: {}{more}", twice.len(), named.join(", "));
    let values: Vec<Value> = twice.iter().take(NAMED_IDS_MAX).map(|id| id_value(id)).collect();
    Err(Error::invalid(Fault::DuplicateId, message).with("ids", values).with("got", twice.len()))
}

fn id_value(id: &PointId) -> Value {
    match id {
        PointId::I64(number) => Value::from(*number),
        PointId::U64(number) => Value::from(*number),
        PointId::Uuid(_) | PointId::Str(_) => Value::from(id.to_string()),
    }
}

pub(super) fn vectors(
    vectors: &BTreeMap<String, Cow<'_, [f32]>>,
    rows: usize,
    first_row: usize,
    schema: &Schema,
    rules: Rules,
) -> Result<()> {
    let field_error = |name: &str, problem: &str| {
        let known = shown_list(schema.vectors.keys().map(String::as_str));
        let name = shown(name);
        Error::invalid(Fault::Parameter, format!("vector field {name:?}: {problem}"))
            .with("expected", known)
            .with("got", name.as_ref())
    };
    if let Some(name) = vectors.keys().find(|name| !schema.vectors.contains_key(*name)) {
        return Err(field_error(name, "the collection has no such field"));
    }
    let check = match rules {
        Rules::New => VectorSpec::check,
        Rules::Logged => VectorSpec::check_stored,
    };
    for (name, spec) in &schema.vectors {
        let elements = match vectors.get(name) {
            Some(elements) => elements,
            None if rows == 0 => continue,
            None => return Err(field_error(name, "missing")),
        };
        let dim = spec.dim as usize;
        if elements.len() != rows * dim {
            return Err(Error::invalid(
                Fault::Dimension,
                format!(
                    "vector field {name:?}: expected {rows} rows of {dim} elements, got {} elements",
                    elements.len()
                ),
            )
            .with("expected", rows * dim)
            .with("got", elements.len()));
        }
        for (row, vector) in (first_row..).zip(elements.chunks_exact(dim)) {
            check(spec, vector, row)?;
        }
    }
    Ok(())
}

/// Checks what a batch declares.
pub(super) fn fields(fields: &FieldKinds) -> Result<()> {
    check_declared(fields).map_err(|problem| Error::invalid(Fault::Metadata, problem))
}

/// Checks the metadata texts of new batches; `kinds` are all declared fields.
pub(super) fn metadata(
    texts: &[Option<Cow<'_, str>>],
    first_row: usize,
    kinds: &FieldKinds,
) -> Result<()> {
    let mut texts =
        (first_row..).zip(texts).filter_map(|(row, text)| Some((row, text.as_deref()?)));
    texts.try_for_each(|(row, text)| payload::validate(text, row, kinds))
}

/// Checks both kinds of keys of a draft; returns those of the rows, none if no row has one.
pub(super) fn keys<'a>(
    deletes: &[PointId],
    rows: usize,
    batch_key: Option<&str>,
    row_keys: Vec<Option<Cow<'a, str>>>,
) -> Result<Vec<Option<Cow<'a, str>>>> {
    if let Some(key) = batch_key {
        check_len("idempotency key", key)?;
    }
    let given = row_keys.len();
    count("row keys", given, "one per row:", rows, given == 0 || given == rows)?;
    let mut seen = HashSet::new();
    for (row, key) in row_keys.iter().enumerate() {
        let Some(key) = key.as_deref() else { continue };
        check_len(&format!("idempotency key of row {row}"), key)?;
        if !seen.insert(key) {
            let key = shown(key);
            let message = format!("two rows of one batch have the idempotency key {key:?}");
            return Err(Error::invalid(Fault::Parameter, message).with("got", key.as_ref()));
        }
    }
    let beside = match (batch_key.is_some(), deletes.is_empty()) {
        _ if seen.is_empty() => return Ok(Vec::new()),
        (false, true) => return Ok(row_keys),
        (true, _) => "a key of the whole batch",
        (false, false) => "deletes",
    };
    let message = format!("expected idempotency keys of rows or {beside}, got both in one batch");
    Err(Error::invalid(Fault::Parameter, message).with("got", "both"))
}

fn check_len(what: &str, key: &str) -> Result<()> {
    let len = key.len();
    if (1..=IDEMPOTENCY_KEY_BYTES_MAX).contains(&len) {
        return Ok(());
    }
    let expected = format!("1 to {IDEMPOTENCY_KEY_BYTES_MAX} bytes");
    let message = format!("{what}: expected {expected}, got {len}");
    Err(Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", len))
}
