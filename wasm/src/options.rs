//! `CallOptions`: the options of a call, read from the one JSON text that `wasm/js` writes of them. Used by `Reading`.

use nearfield_engine::{Columns, Error, Fault, Result};
use nearfield_segment::DEFAULT_FIELD;
use nearfield_segment::filter::Filter;
#[cfg(not(feature = "store"))]
use nearfield_segment::search::ListParams;
use nearfield_segment::search::SearchParams;
use serde_json::Value;

/// The arguments of a call without its vectors: the JSON of all calls.
#[derive(Debug)]
pub(crate) struct CallOptions(Value);

impl CallOptions {
    pub(crate) fn read(text: &str) -> Result<CallOptions> {
        let problem = |error| Error::invalid(Fault::Parameter, format!("options: {error}"));
        serde_json::from_str(text).map(CallOptions).map_err(problem)
    }

    /// A number, if it is given.
    pub(crate) fn count(&self, name: &str) -> Result<Option<usize>> {
        let Some(value) = self.0.get(name) else { return Ok(None) };
        let count = value.as_u64().and_then(|value| usize::try_from(value).ok());
        let refused =
            || Error::invalid(Fault::Parameter, format!("{name}: expected a whole number"));
        Ok(Some(count.ok_or_else(refused)?))
    }

    pub(crate) fn flag(&self, name: &str) -> bool {
        self.0.get(name).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(crate) fn field(&self) -> &str {
        self.0.get("field").and_then(Value::as_str).unwrap_or(DEFAULT_FIELD)
    }

    /// The requested parts of each point; `fields` is [`CallOptions::field`].
    pub(crate) fn columns<'a>(&self, fields: &'a [&'a str]) -> Columns<'a> {
        let vectors = if self.flag("vectors") { fields } else { &[] };
        Columns { vectors, metadata: self.flag("metadata") }
    }

    pub(crate) fn filter(&self) -> Result<Option<Filter>> {
        self.0.get("filter").map(Filter::from_json).transpose()
    }

    pub(crate) fn params<'a>(&'a self, filter: Option<&'a Filter>) -> Result<SearchParams<'a>> {
        Ok(SearchParams {
            field: self.field(),
            k: self.count("k")?.unwrap_or(10),
            ef: self.count("ef")?,
            exact: self.flag("exact"),
            filter,
        })
    }

    /// How inverted lists are searched, of a file in part.
    #[cfg(not(feature = "store"))]
    pub(crate) fn lists(&self) -> Result<ListParams> {
        let rerank = self.count("rerank")?.unwrap_or(0);
        Ok(ListParams { lists: self.count("cells")?, rerank, ..ListParams::default() })
    }
}
