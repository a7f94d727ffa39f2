//! `FieldPath`: where in a row's metadata a value is: the keys from the outside in. `parse` reads its text.
//! Used by `filter`, the columns of `payload`, and the known fields of the engine.
//!
//! The text form joins keys with dots: `a.b` is key `b` inside the object under key `a`. Inside a key a dot
//! is written `\.` and a backslash `\\`; nothing else may follow a backslash, so that every path has exactly
//! one text. An empty key is legal, as in JSON (`a.` is key `` inside `a`). Lists have no place in a path:
//! what is inside a list lies at the path of the list.

use std::fmt;

use crate::error::{Error, Fault, Result, shown};

/// A path in its text form. Ordered by the bytes of that text.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FieldPath(Box<str>);

impl FieldPath {
    /// Reads the text form.
    ///
    /// # Errors
    /// `InvalidInput(Filter)` if a backslash is followed by anything but a dot or a backslash.
    pub fn parse(text: &str) -> Result<Self> {
        let mut characters = text.chars();
        while let Some(character) = characters.next() {
            if character == '\\' && !matches!(characters.next(), Some('.' | '\\')) {
                let text = shown(text);
                return Err(Error::invalid(
                    Fault::Filter,
                    format!("field {text:?}: after a backslash expected `.` or another backslash"),
                )
                .with("expected", "`\\.` or `\\\\`")
                .with("got", text.as_ref()));
            }
        }
        Ok(FieldPath(text.into()))
    }

    /// A path from its keys, outermost first. No keys give the same path as one empty key.
    pub fn from_keys<K: AsRef<str>>(keys: impl IntoIterator<Item = K>) -> Self {
        let mut text = String::new();
        for (index, key) in keys.into_iter().enumerate() {
            if index > 0 {
                text.push('.');
            }
            push_escaped(&mut text, key.as_ref());
        }
        FieldPath(text.into())
    }

    /// The path of `key` inside this one.
    pub(crate) fn child(&self, key: &str) -> Self {
        let mut text = format!("{self}.");
        push_escaped(&mut text, key);
        FieldPath(text.into())
    }

    /// The keys, outermost first.
    pub fn keys(&self) -> Vec<String> {
        let mut keys = vec![String::new()];
        let mut characters = self.0.chars();
        while let Some(character) = characters.next() {
            let key = keys.last_mut().expect("there is always one key");
            match character {
                '.' => keys.push(String::new()),
                '\\' => key.extend(characters.next()),
                _ => key.push(character),
            }
        }
        keys
    }

    /// The text form.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for FieldPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

fn push_escaped(text: &mut String, key: &str) {
    for character in key.chars() {
        if matches!(character, '.' | '\\') {
            text.push('\\');
        }
        text.push(character);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn dots_and_backslashes_inside_keys_are_escaped() {
        assert_eq!(FieldPath::from_keys(["a", "b"]).as_str(), "a.b");
        assert_eq!(FieldPath::from_keys(["a.b"]).as_str(), r"a\.b");
        assert_eq!(FieldPath::parse(r"a\.b\\.").expect("legal").keys(), [r"a.b\", ""]);
        for text in [r"a\", r"a\b", r"\\\"] {
            let error = FieldPath::parse(text).expect_err(text);
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput(Fault::Filter));
        }
    }

    proptest! {
        #[test]
        fn keys_survive_the_text_form(keys in prop::collection::vec(r"[a.\\é]{0,4}", 1..5)) {
            let path = FieldPath::from_keys(&keys);
            prop_assert_eq!(FieldPath::parse(path.as_str()).expect("own text").keys(), keys);
        }

        #[test]
        fn every_legal_text_is_the_only_one_of_its_path(text in r"[a.\\]{0,6}") {
            if let Ok(path) = FieldPath::parse(&text) {
                prop_assert_eq!(FieldPath::from_keys(path.keys()), path);
            }
        }
    }
}
