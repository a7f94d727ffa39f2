//! Parses the JSON text of a row's metadata in one pass: checks every rule and limit, and reports each value with its
//! path to a `Sink`. Entry: `walk`, called at ingest by `checks`, and by `PayloadBuilder` and `filter::probe`.
//! Also here: the limits, and `normalize_tag`.
//!
//! All limits and types are checked here and nowhere else: the same pass runs at ingest (before logging),
//! when a segment is built and when a filter must look into a text. No tree is built.
//!
//! | rule | limit |
//! |---|---|
//! | a row is one JSON object | at most 1 MiB of text |
//! | objects and lists inside each other | 32 |
//! | a key | 256 bytes, once per object (which of two would win is for no reader to guess) |
//! | `tags` at the top | null, a string or a list of strings, each at most 256 bytes |
//! | `entity_id`, `sequence_ts` at the top | null or an integer of 0 to 2^64 − 1 |
//!
//! Tags are filtered by their trimmed, lower-case forms; blank ones count as not given, so that a list of
//! nothing else is an empty list. Integers outside 64 bits are read as the nearest float, as most JSON
//! readers do.

use std::borrow::Cow;
use std::fmt;

use serde::de::{self, DeserializeSeed, MapAccess, SeqAccess, Visitor};

use super::scalar::{Number, Scalar};
use crate::error::{Error, Fault, Result, show_float, shown};

/// Largest JSON text of one row, in bytes.
pub const ROW_JSON_BYTES_MAX: usize = 1 << 20;
/// Objects and lists that may lie inside each other, the row itself counted.
pub const DEPTH_MAX: usize = 32;
/// Longest key and longest tag, in bytes; longer strings of other fields are not put into columns.
pub const KEY_BYTES_MAX: usize = 256;

/// The field whose strings are trimmed and lower-cased for filtering.
pub(crate) const TAGS: &str = "tags";

/// The node of the row itself.
pub(crate) const ROOT: u32 = 0;

/// Receives what a walk finds. Nodes are numbers of the receiver's own, one per path it cares about.
pub(crate) trait Sink {
    /// The node of `key` in an object at `parent`; `None` to skip what lies below.
    fn child(&mut self, parent: u32, key: &str) -> Option<u32>;
    /// Something is at `node`: any value, null, a list or an object. Before the calls below.
    fn exists(&mut self, node: u32);
    /// Null is at `node`, or in a list there.
    fn null(&mut self, node: u32);
    /// A list without elements is at `node`, or in a list there.
    fn empty(&mut self, node: u32);
    /// A value is at `node`, or in a list there.
    fn value(&mut self, node: u32, value: Scalar<'_>);
}

/// Reports what is in the metadata of a row to `sink`, in the order of the text (tags: sorted, unique). One copy of
/// the code for all sinks: a call costs less than reading the value it is about.
///
/// # Errors
/// `InvalidInput(Metadata)` with `expected`, `got` and `row`. The sink may have received a part of the row by then.
pub(crate) fn walk(json: &str, row: usize, sink: &mut dyn Sink) -> Result<()> {
    if json.len() > ROW_JSON_BYTES_MAX {
        let refusal = Refusal::new("", "at most 1 MiB of JSON", format!("{} bytes", json.len()));
        return Err(refusal.into_error(row));
    }
    let mut state = Walk { sink, refusal: None, tags: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let seed = Seed { walk: &mut state, node: Some(ROOT), depth: 0, expect: Expect::Row };
    let outcome = seed.deserialize(&mut deserializer).and_then(|()| deserializer.end());
    let Err(error) = outcome else { return Ok(()) };
    let refusal =
        state.refusal.unwrap_or_else(|| Refusal::new("", "valid JSON", format!("{error}")));
    Err(refusal.into_error(row).with("position", error.column()))
}

/// Trimmed and lower-cased, as tags are compared.
pub(crate) fn normalize_tag(text: &str) -> String {
    text.trim().to_lowercase()
}

/// Why a row is refused. In a walk it is kept aside while the JSON reader unwinds with an error of its own type.
pub(crate) struct Refusal {
    field: String,
    expected: &'static str,
    got: String,
}

impl Refusal {
    pub(super) fn new(field: &str, expected: &'static str, got: impl Into<String>) -> Self {
        Refusal { field: shown(field).into_owned(), expected, got: got.into() }
    }

    pub(super) fn into_error(self, row: usize) -> Error {
        self.of(format_args!("row {row}")).with("row", row)
    }

    /// The error for metadata of `owner`, a row or a point.
    pub(crate) fn of(self, owner: impl fmt::Display) -> Error {
        let Refusal { field, expected, got } = self;
        let place = if field.is_empty() { String::new() } else { format!("{field:?}: ") };
        let message = format!("metadata of {owner}: {place}expected {expected}, got {got}");
        Error::invalid(Fault::Metadata, message).with("expected", expected).with("got", got)
    }
}

struct Walk<'s> {
    sink: &'s mut dyn Sink,
    refusal: Option<Refusal>,
    tags: Vec<String>,
}

/// What may stand at the place that is read next.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Expect {
    Row,
    Any,
    Tags,
    Tag,
    Unsigned(&'static str),
}

impl Expect {
    fn of_top_key(key: &str) -> Self {
        match key {
            TAGS => Expect::Tags,
            "entity_id" => Expect::Unsigned("entity_id"),
            "sequence_ts" => Expect::Unsigned("sequence_ts"),
            _ => Expect::Any,
        }
    }

    fn field(self) -> &'static str {
        match self {
            Expect::Row | Expect::Any => "",
            Expect::Tags | Expect::Tag => TAGS,
            Expect::Unsigned(name) => name,
        }
    }

    fn expected(self) -> &'static str {
        match self {
            Expect::Row => "a JSON object",
            Expect::Any => "a JSON value",
            Expect::Tags => "a string or a list of strings",
            Expect::Tag => "a string",
            Expect::Unsigned(_) => "an integer from 0 to 2^64 − 1",
        }
    }
}

/// The place that is read next.
struct Seed<'w, 's> {
    walk: &'w mut Walk<'s>,
    node: Option<u32>,
    depth: usize,
    expect: Expect,
}

impl Seed<'_, '_> {
    fn refuse<T, E: de::Error>(self, refusal: Refusal) -> std::result::Result<T, E> {
        self.walk.refusal = Some(refusal);
        Err(E::custom("refused"))
    }

    fn refuse_type<T, E: de::Error>(self, got: impl Into<String>) -> std::result::Result<T, E> {
        let refusal = Refusal::new(self.expect.field(), self.expect.expected(), got);
        self.refuse(refusal)
    }

    fn scalar<E: de::Error>(self, value: Scalar<'_>) -> std::result::Result<(), E> {
        let is_unsigned = matches!(value, Scalar::Number(Number::Int(0..) | Number::Uint(_)));
        match self.expect {
            Expect::Any => {}
            Expect::Unsigned(_) if is_unsigned => {}
            Expect::Row | Expect::Tags | Expect::Tag | Expect::Unsigned(_) => {
                return self.refuse_type(match value {
                    Scalar::Text(_) => "a string".to_owned(),
                    Scalar::Number(_) | Scalar::Bool(_) => value.shown(),
                });
            }
        }
        if let Some(node) = self.node {
            self.walk.sink.exists(node);
            self.walk.sink.value(node, value);
        }
        Ok(())
    }

    fn tag<E: de::Error>(self, text: &str) -> std::result::Result<(), E> {
        if text.len() > KEY_BYTES_MAX {
            let got = format!("{} bytes", text.len());
            return self.refuse(Refusal::new(TAGS, "at most 256 bytes a tag", got));
        }
        let tag = normalize_tag(text);
        if !tag.is_empty() {
            self.walk.tags.push(tag);
        }
        if self.expect == Expect::Tags {
            self.finish_tags();
        }
        Ok(())
    }

    /// Reports the tags gathered so far as one list.
    fn finish_tags(self) {
        let Walk { sink, tags, .. } = self.walk;
        tags.sort_unstable();
        tags.dedup();
        let Some(node) = self.node else { return tags.clear() };
        sink.exists(node);
        if tags.is_empty() {
            sink.empty(node);
        }
        for tag in tags.drain(..) {
            sink.value(node, Scalar::Text(&tag));
        }
    }
}

impl<'de> DeserializeSeed<'de> for Seed<'_, '_> {
    type Value = ();

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Seed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expect.expected())
    }

    fn visit_bool<E: de::Error>(self, value: bool) -> std::result::Result<(), E> {
        self.scalar(Scalar::Bool(value))
    }

    fn visit_i64<E: de::Error>(self, value: i64) -> std::result::Result<(), E> {
        self.scalar(Scalar::Number(Number::Int(value)))
    }

    fn visit_u64<E: de::Error>(self, value: u64) -> std::result::Result<(), E> {
        self.scalar(Scalar::Number(Number::from_u64(value)))
    }

    fn visit_f64<E: de::Error>(self, value: f64) -> std::result::Result<(), E> {
        match Number::from_f64(value) {
            Some(number) => self.scalar(Scalar::Number(number)),
            None => self.refuse(Refusal::new("", "a finite number", show_float(value))),
        }
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<(), E> {
        match self.expect {
            Expect::Tags | Expect::Tag => self.tag(text),
            Expect::Row | Expect::Any | Expect::Unsigned(_) => self.scalar(Scalar::Text(text)),
        }
    }

    fn visit_unit<E: de::Error>(self) -> std::result::Result<(), E> {
        if matches!(self.expect, Expect::Row | Expect::Tag) {
            return self.refuse_type("null");
        }
        if let Some(node) = self.node {
            self.walk.sink.exists(node);
            self.walk.sink.null(node);
        }
        Ok(())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> std::result::Result<(), A::Error> {
        let expect = match self.expect {
            Expect::Any => Expect::Any,
            Expect::Tags => Expect::Tag,
            Expect::Row | Expect::Tag | Expect::Unsigned(_) => return self.refuse_type("a list"),
        };
        let (node, depth) = (self.node, self.depth + 1);
        if depth > DEPTH_MAX {
            return self.refuse(Refusal::new("", "at most 32 levels of nesting", "more"));
        }
        let mut is_empty = true;
        while let Some(()) =
            list.next_element_seed(Seed { walk: &mut *self.walk, node, depth, expect })?
        {
            is_empty = false;
        }
        if expect == Expect::Tag {
            self.finish_tags();
        } else if let Some(node) = node {
            self.walk.sink.exists(node);
            if is_empty {
                self.walk.sink.empty(node);
            }
        }
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> std::result::Result<(), A::Error> {
        if !matches!(self.expect, Expect::Row | Expect::Any) {
            return self.refuse_type("an object");
        }
        let depth = self.depth + 1;
        if depth > DEPTH_MAX {
            return self.refuse(Refusal::new("", "at most 32 levels of nesting", "more"));
        }
        if let Some(node) = self.node {
            self.walk.sink.exists(node);
        }
        let mut keys: Vec<Cow<'de, str>> = Vec::new();
        while let Some(key) = map.next_key_seed(Key)? {
            if key.len() > KEY_BYTES_MAX {
                let got = format!("{} bytes", key.len());
                return self.refuse(Refusal::new(&key, "a key of at most 256 bytes", got));
            }
            let expect = if depth == 1 { Expect::of_top_key(&key) } else { Expect::Any };
            let node = self.node.and_then(|node| self.walk.sink.child(node, &key));
            map.next_value_seed(Seed { walk: &mut *self.walk, node, depth, expect })?;
            keys.push(key);
        }
        keys.sort_unstable();
        match keys.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(pair) => {
                let refusal = Refusal::new(&pair[0], "each key once in an object", "it twice");
                self.refuse(refusal)
            }
            None => Ok(()),
        }
    }
}

/// A key, borrowed from the text unless it has escapes.
struct Key;

impl<'de> DeserializeSeed<'de> for Key {
    type Value = Cow<'de, str>;

    fn deserialize<D: de::Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> std::result::Result<Cow<'de, str>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<'de> Visitor<'de> for Key {
    type Value = Cow<'de, str>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a key")
    }

    fn visit_borrowed_str<E: de::Error>(
        self,
        text: &'de str,
    ) -> std::result::Result<Cow<'de, str>, E> {
        Ok(Cow::Borrowed(text))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> std::result::Result<Cow<'de, str>, E> {
        Ok(Cow::Owned(text.to_owned()))
    }
}
