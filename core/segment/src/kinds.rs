//! `FieldKinds`: the declared metadata fields of a collection (path → `FieldKind`). Part of `Schema` and of a batch;
//! read by filters, statistics and `PayloadBuilder`.
//!
//! A list in the order of paths, not a map: declarations are few, and code for one more kind of map is kilobytes of
//! the page's module.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Error as _, MapAccess, Visitor};

use crate::names::names;

/// What the values of a metadata field are declared to be.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum FieldKind {
    /// Dates as texts, compared as moments.
    Datetime,
}

names!(FieldKind, "kind of field", Datetime = "datetime");

/// Declared metadata fields, by path in its text form. JSON: an object of path → name of the kind.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FieldKinds {
    /// Sorted by path, each once.
    fields: Vec<(String, FieldKind)>,
}

impl FieldKinds {
    /// None.
    pub const NONE: FieldKinds = FieldKinds { fields: Vec::new() };

    /// How many.
    pub fn len(&self) -> usize {
        self.fields.len()
    }

    /// True if none is declared.
    pub fn is_empty(&self) -> bool {
        self.fields.is_empty()
    }

    /// The kind of a field, if it is declared. O(log fields).
    pub fn get(&self, path: &str) -> Option<FieldKind> {
        let place = self.place(path).ok()?;
        Some(self.fields[place].1)
    }

    /// Paths and kinds, in the order of paths.
    pub fn iter(&self) -> impl Iterator<Item = (&str, FieldKind)> {
        self.fields.iter().map(|(path, kind)| (path.as_str(), *kind))
    }

    /// The paths, sorted.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        self.fields.iter().map(|(path, _)| path.as_str())
    }

    /// These, and those of `others` that are not among them.
    pub fn with<'a>(&'a self, others: &FieldKinds) -> Cow<'a, FieldKinds> {
        let mut all = Cow::Borrowed(self);
        for (path, kind) in others.iter().filter(|(path, _)| self.get(path).is_none()) {
            all.to_mut().insert(path.to_owned(), kind);
        }
        all
    }

    /// Keeps those whose path passes.
    pub fn retain(&mut self, mut keeps: impl FnMut(&str) -> bool) {
        self.fields.retain(|(path, _)| keeps(path));
    }

    /// Declares a field; false if it was declared before, which stays.
    pub fn insert(&mut self, path: String, kind: FieldKind) -> bool {
        let place = self.place(&path);
        if let Err(place) = place {
            self.fields.insert(place, (path, kind));
        }
        place.is_err()
    }

    fn place(&self, path: &str) -> Result<usize, usize> {
        self.fields.binary_search_by(|(other, _)| other.as_str().cmp(path))
    }
}

impl FromIterator<(String, FieldKind)> for FieldKinds {
    fn from_iter<I: IntoIterator<Item = (String, FieldKind)>>(fields: I) -> Self {
        let mut kinds = FieldKinds::NONE;
        for (path, kind) in fields {
            kinds.insert(path, kind);
        }
        kinds
    }
}

impl serde::Serialize for FieldKinds {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.iter())
    }
}

impl<'de> serde::Deserialize<'de> for FieldKinds {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(Reader)
    }
}

struct Reader;

impl<'de> Visitor<'de> for Reader {
    type Value = FieldKinds;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of field → kind")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<FieldKinds, A::Error> {
        let mut kinds = FieldKinds::NONE;
        while let Some((path, kind)) = map.next_entry::<String, FieldKind>()? {
            if !kinds.insert(path, kind) {
                return Err(A::Error::custom("expected each field once"));
            }
        }
        Ok(kinds)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn declarations_are_an_object_of_json() {
        let read = |text: &str| serde_json::from_str::<FieldKinds>(text);
        let kinds = read(r#"{"b":"datetime","a.b":"datetime"}"#).expect("legal");
        assert_eq!(kinds.paths().collect::<Vec<_>>(), ["a.b", "b"]);
        assert_eq!((kinds.get("b"), kinds.get("a")), (Some(FieldKind::Datetime), None));
        let text = serde_json::to_string(&kinds).expect("plain data");
        assert_eq!(text, r#"{"a.b":"datetime","b":"datetime"}"#);
        let (a, b) = (read(r#"{"a":"datetime"}"#), read(r#"{"b":"datetime"}"#));
        let mut both = a.expect("legal").with(&b.expect("legal")).into_owned();
        assert_eq!(both.paths().collect::<Vec<_>>(), ["a", "b"]);
        both.retain(|path| path != "a");
        assert_eq!(both.paths().collect::<Vec<_>>(), ["b"]);
        for wrong in
            [r#"{"a":"date"}"#, r#"{"a":1}"#, r#"["a"]"#, r#"{"a":"datetime","a":"datetime"}"#]
        {
            assert!(read(wrong).is_err(), "{wrong}");
        }
    }
}
