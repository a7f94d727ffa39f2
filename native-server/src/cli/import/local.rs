//! `nearfield import` into a directory: reads rows from a `Source` and applies them as batches to the collection.
//! Entry: `import` (`Order` → `Outcome`), called if no other process has the directory open for writing.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Applied, Collection, Database, Error, Fault};
use nearfield_segment::{DEFAULT_FIELD, FieldKinds, Metric, Pool, Schema};
use serde_json::json;

use super::super::exit::Result;
use super::super::store;
use super::order::{Order, Outcome, Tally, conflict};
use super::source::Source;
use crate::host::Stopwatch;
use crate::rows::Rows;
use crate::workers::warn_of_recovery;

/// Reads all rows into the collection, and builds its index if `compact`.
///
/// # Errors
/// What the file or the engine refuses; batches before it stay.
pub(super) fn import(
    database: &Database,
    order: &Order,
    source: &mut Source,
    clock: Stopwatch,
    pool: &Pool,
    compact: bool,
) -> Result<Outcome> {
    let collection = collection(database, order, source.dim())?;
    warn_of_recovery(&collection);
    let tally = fill(&collection, order, source, pool)?;
    let load_s = clock.seconds();
    if compact {
        store::compact(&collection, pool, "indexing")?;
    }
    let (view, index_s) = (collection.view(), Some(clock.seconds() - load_s));
    let (total, lsn) = (view.len(), json!(view.lsn));
    Ok(Outcome { tally, total, lsn, dim: source.dim(), load_s, index_s })
}

/// The collection named, made if it is missing, refused if it is of another kind than asked for.
fn collection(database: &Database, order: &Order, dim: usize) -> Result<Arc<Collection>> {
    let name = &order.collection;
    if !database.names().contains(name) {
        let metric = order.metric.unwrap_or(Metric::Cosine);
        let schema = Schema::dense(dim, metric, order.store.unwrap_or_default())?;
        return Ok(database.create(name, &schema)?);
    }
    let collection = database.collection(name)?;
    let view = collection.view();
    let Some(spec) = view.schema.default_field() else {
        let message = format!("collection {name:?} has no default vector field");
        return Err(Error::invalid(Fault::Parameter, message).into());
    };
    if spec.dim as usize != dim {
        return Err(conflict(order, "dim", spec.dim.to_string(), format!("dim {dim}")).into());
    }
    if let Some(metric) = order.metric.filter(|metric| *metric != spec.metric) {
        let (there, asked) = (spec.metric.name(), metric.name());
        return Err(conflict(order, "metric", there.into(), format!("--metric {asked}")).into());
    }
    if order.store.is_some_and(|store| store != spec.store) {
        let there = spec.store.to_string();
        return Err(conflict(order, "elements kept as", there, "another --store".into()).into());
    }
    Ok(collection)
}

fn fill(collection: &Collection, order: &Order, source: &mut Source, pool: &Pool) -> Result<Tally> {
    let mut tally = Tally::default();
    loop {
        let rows = source.next_batch()?;
        if rows.count == 0 {
            return Ok(tally);
        }
        let applied = apply(collection, rows, source.fields(), pool).map_err(|error| {
            error.context(format!("{}: rows from {}", order.file.display(), tally.rows))
        })?;
        tally.rows += applied.inserted + applied.replaced;
        tally.inserted += applied.inserted;
        tally.replaced += applied.replaced;
    }
}

/// Applies rows as one batch, which declares `fields`.
fn apply(
    collection: &Collection,
    rows: Rows,
    fields: FieldKinds,
    pool: &Pool,
) -> nearfield_engine::Result<Applied> {
    let draft = Draft {
        ids: (!rows.ids.is_empty()).then_some(rows.ids),
        rows: rows.count,
        vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Owned(rows.vectors))]),
        metadata: rows.metadata.into_iter().map(|text| text.map(Cow::Owned)).collect(),
        fields,
        ..Draft::default()
    };
    let batch = Batch::new(draft, &collection.view().schema)?;
    collection.apply(batch, pool)
}
