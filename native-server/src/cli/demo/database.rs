//! The demo's database: `open`, `upsert`, and `broken`, which reports a promise that did not hold. Called by
//! the parts of the demo.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use nearfield_engine::batch::{Batch, Draft};
use nearfield_engine::{Collection, Database, Error, ErrorKind, Mode};
use nearfield_segment::storage::{Storage, open_directory};
use nearfield_segment::{DEFAULT_FIELD, PointId, Pool};

use crate::cli::exit::{Failure, Result};
use crate::cli::store;

/// Opens the demo's database for writing. Graphs are built from `graph_rows_min` rows on.
pub(super) fn open(dir: &Path, graph_rows_min: u32, memtable_bytes_max: u64) -> Result<Database> {
    let storage: Arc<dyn Storage> = Arc::new(open_directory(dir)?);
    let mut options = store::options()?;
    options.segment.graph_rows_min = graph_rows_min;
    options.memtable_bytes_max = memtable_bytes_max;
    Ok(store::open_with(storage, Mode::Write, options, "demo")?)
}

/// One atomic, durable batch of points with numbers as ids.
pub(super) fn upsert(
    collection: &Collection,
    first_id: u64,
    vectors: &[f32],
    metadata: Vec<String>,
) -> Result {
    let view = collection.view();
    let dim = view.schema.default_field().map_or(1, |spec| spec.dim as usize);
    let rows = vectors.len() / dim;
    let draft = Draft {
        ids: Some((first_id..).take(rows).map(PointId::U64).collect()),
        rows,
        vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), Cow::Borrowed(vectors))]),
        metadata: metadata.into_iter().map(|text| Some(Cow::Owned(text))).collect(),
        ..Draft::default()
    };
    let batch = Batch::new(draft, &view.schema)?;
    collection.apply(batch, &Pool::SERIAL)?;
    Ok(())
}

/// A promise that did not hold in this run.
pub(super) fn broken(what: String) -> Failure {
    Error::new(ErrorKind::Corrupt, what).into()
}
