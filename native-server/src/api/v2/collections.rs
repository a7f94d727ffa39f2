//! `collections`: making, listing and dropping them.

use std::collections::BTreeMap;
use std::panic::resume_unwind;
use std::sync::Arc;

use axum::body::Body;
use axum::http::StatusCode;
use axum::response::Response;
use nearfield_engine::{Error, Fault};
use nearfield_segment::{DEFAULT_FIELD, Encoding, Metric, Schema, VectorSpec};

use super::answer;
use super::call::Call;
use super::cursor::Cursor;
use super::describe::{CollectionInfo, Collections, Dropped};
use super::error::Result;
use crate::workers::{Served, Store};

const KEYS: [&str; 5] = ["name", "dim", "metric", "store", "vectors"];
const SPEC_KEYS: [&str; 3] = ["dim", "metric", "store"];

/// Vector fields of a collection that is created here.
const FIELDS_MAX: usize = 256;

/// A vector field as asked for.
#[derive(Debug, Default)]
struct Field {
    dim: Option<u32>,
    metric: Option<Metric>,
    store: Option<Encoding>,
}

/// Answers `POST collections`.
pub(super) async fn create(mut call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let (name, schema) = read(&call.json().await?)?;
    let maker = Arc::clone(&store);
    let served = run_blocking(move || maker.create(&name, &schema)).await?;
    Ok(answer::data(StatusCode::CREATED, info(&store, &served)))
}

/// Answers `GET collections`.
pub(super) async fn list(call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let names = store.names();
    let described = names.iter().map(|name| match store.collection(Some(name)) {
        Ok(served) => info(&store, &served),
        Err(error) => CollectionInfo::unavailable(name, &error.to_string()),
    });
    let collections = described.collect();
    Ok(answer::ok(Collections { collections }))
}

/// Answers `GET collections/{name}`.
pub(super) async fn get(call: Call) -> Result<Response<Body>> {
    Ok(answer::ok(info(call.store()?, &*call.served()?)))
}

/// Answers `DELETE collections/{name}`.
pub(super) async fn remove(call: Call) -> Result<Response<Body>> {
    let store = Arc::clone(call.store()?);
    let name = call.collection.unwrap_or_default();
    let dropped = name.clone();
    run_blocking(move || store.drop_collection(&name)).await?;
    Ok(answer::ok(Dropped { dropped }))
}

/// Runs work that waits for the disk, on a thread of the runtime's pool for such work. A panic of it is a panic of
/// the caller.
async fn run_blocking<R: Send + 'static>(
    work: impl FnOnce() -> nearfield_engine::Result<R> + Send + 'static,
) -> Result<R> {
    let ended = tokio::task::spawn_blocking(work).await;
    Ok(ended.unwrap_or_else(|error| resume_unwind(error.into_panic()))?)
}

fn info(store: &Store, served: &Served) -> CollectionInfo {
    let all = store.stats().collections;
    let stats = all.into_iter().find(|stats| stats.name == served.name());
    CollectionInfo::new(served, stats.unwrap_or_default())
}

fn read(body: &[u8]) -> Result<(String, Schema)> {
    let (mut name, mut default, mut vectors) = (None, Field::default(), None);
    Cursor::whole(body, |cursor| {
        cursor.object(&KEYS, |key, cursor| {
            match key {
                "name" => name = Some(cursor.read::<String>("a string")?),
                "vectors" => vectors = Some(read_fields(cursor)?),
                _ => default.read(key, cursor)?,
            }
            Ok(())
        })
    })?;
    let Some(name) = name else { return Err(missing("name", "the collection's name")) };
    let schema = match vectors {
        Some(_) if default.is_given() => {
            let expected =
                "either \"vectors\" or \"dim\", \"metric\" and \"store\" of the default field";
            let error = Error::invalid(Fault::Parameter, format!("expected {expected}"));
            return Err(error.with("expected", expected).into());
        }
        Some(vectors) if vectors.is_empty() => {
            return Err(missing("vectors", "at least one vector field by name"));
        }
        Some(vectors) => Schema { vectors },
        None => Schema { vectors: BTreeMap::from([(DEFAULT_FIELD.to_owned(), default.spec()?)]) },
    };
    Ok((name, schema))
}

fn read_fields(cursor: &mut Cursor<'_>) -> Result<BTreeMap<String, VectorSpec>> {
    let mut fields = BTreeMap::new();
    cursor.map(|name, cursor| {
        let mut field = Field::default();
        cursor.object(&SPEC_KEYS, |key, cursor| field.read(key, cursor))?;
        if fields.len() == FIELDS_MAX {
            let message = format!("vectors: expected at most {FIELDS_MAX} fields, got more");
            let error = Error::invalid(Fault::Parameter, message);
            return Err(error.with("expected", FIELDS_MAX).into());
        }
        if fields.insert(name, field.spec()?).is_some() {
            return Err(cursor.refuse("each vector field once"));
        }
        Ok(())
    })?;
    Ok(fields)
}

impl Field {
    fn read(&mut self, key: &str, cursor: &mut Cursor<'_>) -> Result<()> {
        match key {
            "dim" => self.dim = Some(cursor.read("a whole number")?),
            "metric" => self.metric = Some(cursor.read("\"cosine\", \"dot\" or \"l2\"")?),
            _ => self.store = Some(cursor.read("\"f32\" or \"f16\"")?),
        }
        Ok(())
    }

    fn is_given(&self) -> bool {
        self.dim.is_some() || self.metric.is_some() || self.store.is_some()
    }

    fn spec(self) -> Result<VectorSpec> {
        let Some(dim) = self.dim else { return Err(missing("dim", "elements of a vector")) };
        let metric = self.metric.unwrap_or(Metric::Cosine);
        Ok(VectorSpec { dim, metric, store: self.store.unwrap_or_default() })
    }
}

fn missing(key: &'static str, what: &str) -> super::error::ApiError {
    let message = format!("expected \"{key}\": {what}");
    Error::invalid(Fault::Parameter, message).with("expected", key).into()
}
