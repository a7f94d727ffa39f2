//! Parses the JSON text of a filter to a tree of bounded size, and refuses a key that is twice in one object. Called
//! by `json`; `reading_bytes_max`, the memory of parsing, is reserved by the server's `request`.
//!
//! *Invariant.* The limits of a filter hold while the text is read: a text above them is refused at the first
//! value too many, so that the tree takes at most a few tens of MiB whatever the text says. The node count here
//! is a lower bound of the exact one of [`Filter::check_limits`](super::Filter::check_limits), because the
//! meaning of a key is not known yet: entries whose value is no object, and empty objects.
//!
//! Each node comes with at most three objects and lists (`{"a":{"in":[…]}}`), which bounds what has no entries of
//! its own. Not here: what the tree means (`json`).

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

use super::ast::{
    FILTER_NODES_MAX, FILTER_TEXT_BYTES_MAX, FILTER_VALUES_MAX, IN_VALUES_MAX, check,
};
use crate::error::{Error, Fault, Result, shown};

/// Objects and lists for each node that is allowed: more than any node has, so that this limit is met only by what
/// is no filter.
const CONTAINERS_PER_NODE: usize = 4;
/// Bytes of an object with one entry, of the text's tree and of the filter.
const CONTAINER_BYTES: usize = 1 << 10;
/// Bytes of a value in both, with the room that a growing list has.
const VALUE_BYTES: usize = 128;

/// Most bytes of memory that [`Filter::from_json_text`](super::Filter::from_json_text) takes for `text`, result
/// included. O(length), a fraction of what reading costs.
pub fn reading_bytes_max(text: &str) -> u64 {
    if text.len() > FILTER_TEXT_BYTES_MAX {
        return 0;
    }
    let count = |wanted: fn(u8) -> bool| text.bytes().filter(|byte| wanted(*byte)).count();
    let containers = count(|byte| matches!(byte, b'{' | b'['));
    let values = count(|byte| byte == b',');
    let containers = containers.min(CONTAINERS_PER_NODE * FILTER_NODES_MAX) * CONTAINER_BYTES;
    let values = values.min(FILTER_VALUES_MAX + FILTER_NODES_MAX) * VALUE_BYTES;
    (containers + values + 2 * text.len()) as u64
}

/// # Errors
/// `InvalidInput(Filter)` if the text is not one JSON value, is nested deeper than 128, has a key twice or is
/// above a limit of filters.
pub(super) fn parse(text: &str) -> Result<Value> {
    check("bytes of the text of a filter", FILTER_TEXT_BYTES_MAX, text.len())?;
    let mut counts = Counts::default();
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let read = Build(&mut counts).deserialize(&mut deserializer);
    read.and_then(|value| deserializer.end().map(|()| value)).map_err(|error| {
        counts.refusal.unwrap_or_else(|| {
            Error::invalid(Fault::Filter, format!("filter: {error}"))
                .with("expected", "JSON, each key once in an object")
                .with("got", error.to_string())
                .with("position", error.column())
        })
    })
}

/// What was read so far, and why reading stopped.
#[derive(Default)]
struct Counts {
    nodes: usize,
    containers: usize,
    values: usize,
    refusal: Option<Error>,
}

impl Counts {
    fn node(&mut self) -> Result<()> {
        self.nodes += 1;
        check("nodes of a filter", FILTER_NODES_MAX, self.nodes)
    }

    fn container(&mut self) -> Result<()> {
        self.containers += 1;
        let most = CONTAINERS_PER_NODE * FILTER_NODES_MAX;
        check("objects and lists of a filter", most, self.containers)
    }

    /// One more value of a list that has `count` of them now.
    fn value(&mut self, count: usize) -> Result<()> {
        self.values += 1;
        check("values of an `in` list", IN_VALUES_MAX, count)?;
        check("values of all lists of a filter", FILTER_VALUES_MAX, self.values)
    }

    /// Keeps the refusal while the JSON reader unwinds with an error of its own type.
    fn hold<E: serde::de::Error>(&mut self, outcome: Result<()>) -> std::result::Result<(), E> {
        outcome.map_err(|error| {
            self.refusal = Some(error);
            E::custom("refused")
        })
    }
}

/// Builds the value that is read next.
struct Build<'c>(&'c mut Counts);

impl<'de> DeserializeSeed<'de> for Build<'_> {
    type Value = Value;

    fn deserialize<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Build<'_> {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON")
    }

    fn visit_bool<E>(self, value: bool) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_u64<E>(self, value: u64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> std::result::Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, text: &str) -> std::result::Result<Value, E> {
        Ok(text.into())
    }

    fn visit_unit<E>(self) -> std::result::Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<Value, A::Error> {
        let counts = self.0;
        let counted = counts.container();
        counts.hold::<A::Error>(counted)?;
        let (mut items, mut values) = (Vec::new(), 0);
        while let Some(item) = list.next_element_seed(Build(&mut *counts))? {
            if !item.is_object() {
                values += 1;
                let counted = counts.value(values);
                counts.hold::<A::Error>(counted)?;
            }
            items.push(item);
        }
        Ok(Value::Array(items))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> std::result::Result<Value, A::Error> {
        let counts = self.0;
        let counted = counts.container();
        counts.hold::<A::Error>(counted)?;
        let mut map = Map::new();
        while let Some(key) = entries.next_key::<String>()? {
            if map.contains_key(&key) {
                let key = shown(&key);
                return Err(A::Error::custom(format_args!("the key {key:?} is there twice")));
            }
            let value = entries.next_value_seed(Build(&mut *counts))?;
            if !value.is_object() && key != "field" {
                let counted = counts.node();
                counts.hold::<A::Error>(counted)?;
            }
            map.insert(key, value);
        }
        if map.is_empty() {
            let counted = counts.node();
            counts.hold::<A::Error>(counted)?;
        }
        Ok(Value::Object(map))
    }
}
