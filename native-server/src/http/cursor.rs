//! `Cursor`: a streaming JSON parser that reads a request body from front to back, once, straight into the
//! values that the engine takes. Used by `request` and the handlers of `api::v2`.
//!
//! A vector's numbers are never values of their own, and a filter or metadata is found but not taken apart.
//! Unknown and repeated keys of an object are refused, with the byte they are at. Depth is bounded by the
//! shape asked for; what is skipped whole is skipped without recursion.

use nearfield_segment::filter::near_names;
use nearfield_segment::shown;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::error::{ApiError, Result};
use super::floats::{self, Malformed, skip_blank};

/// A place in the text of a body, and the budget for what is read from there.
pub(crate) struct Cursor<'a> {
    text: &'a [u8],
    at: usize,
    reserve: &'a mut dyn FnMut(u64) -> Result<()>,
}

impl<'a> Cursor<'a> {
    /// Reads all of `text` by `read`; nothing may follow. `reserve` is called with the bytes of memory that values
    /// take beside those of the body.
    ///
    /// # Errors
    /// `bad_request` naming the byte, or what `read` returns.
    pub(crate) fn whole<T>(
        text: &'a [u8],
        reserve: &'a mut dyn FnMut(u64) -> Result<()>,
        read: impl FnOnce(&mut Cursor<'a>) -> Result<T>,
    ) -> Result<T> {
        let mut cursor = Cursor { text, at: 0, reserve };
        let value = read(&mut cursor)?;
        cursor.blank();
        if cursor.at < text.len() { Err(cursor.refuse("nothing more")) } else { Ok(value) }
    }

    /// Reserves memory for values that are about to be read.
    ///
    /// # Errors
    /// `resource_exhausted`.
    pub(crate) fn reserve(&mut self, bytes: u64) -> Result<()> {
        (self.reserve)(bytes)
    }

    /// Bytes behind the cursor.
    pub(crate) fn bytes_left(&self) -> usize {
        self.text.len() - self.at
    }

    /// An object of `keys`; `entry` is called with each key that is there, the cursor before its value, which it must
    /// read. `null` is the same as leaving the key out.
    pub(crate) fn object(
        &mut self,
        keys: &[&'static str],
        mut entry: impl FnMut(&'static str, &mut Cursor<'a>) -> Result<()>,
    ) -> Result<()> {
        let mut seen = Vec::with_capacity(keys.len());
        self.list(b'{', b'}', "an object", |cursor| {
            let start = cursor.at;
            let key = cursor.key()?;
            let known = keys.iter().find(|known| **known == key);
            let Some(known) = known.filter(|known| !seen.contains(known)) else {
                return Err(strange_key(start, &key, keys));
            };
            seen.push(known);
            cursor.expect(b':', "':'")?;
            if cursor.null() { Ok(()) } else { entry(known, cursor) }
        })
    }

    /// An object with keys of any name, each once.
    pub(crate) fn map(
        &mut self,
        mut entry: impl FnMut(String, &mut Cursor<'a>) -> Result<()>,
    ) -> Result<()> {
        self.list(b'{', b'}', "an object", |cursor| {
            let key = cursor.key()?.into_owned();
            cursor.expect(b':', "':'")?;
            entry(key, cursor)
        })
    }

    /// An array; `item` must read one value each time it is called.
    pub(crate) fn array(&mut self, item: impl FnMut(&mut Cursor<'a>) -> Result<()>) -> Result<()> {
        self.list(b'[', b']', "an array", item)
    }

    /// What stands between `open` and `close` with commas in between; `item` must read one of it.
    fn list(
        &mut self,
        open: u8,
        close: u8,
        what: &str,
        mut item: impl FnMut(&mut Cursor<'a>) -> Result<()>,
    ) -> Result<()> {
        self.expect(open, what)?;
        if self.eat(close) {
            return Ok(());
        }
        loop {
            item(self)?;
            if self.eat(close) {
                return Ok(());
            }
            self.expect(b',', if close == b']' { "',' or ']'" } else { "',' or '}'" })?;
        }
    }

    /// Appends an array of numbers to `out`.
    pub(crate) fn floats(&mut self, out: &mut Vec<f32>) -> Result<()> {
        match floats::array(self.text, self.at, out) {
            Ok(end) => {
                self.at = end;
                Ok(())
            }
            Err(Malformed { position, expected }) => {
                self.at = position;
                Err(self.refuse(expected))
            }
        }
    }

    /// True, and the cursor behind it, if the value is `null`.
    fn null(&mut self) -> bool {
        self.blank();
        let found = self.text[self.at..].starts_with(b"null");
        self.at += if found { 4 } else { 0 };
        found
    }

    /// One value as it stands.
    pub(crate) fn raw(&mut self) -> Result<&'a str> {
        self.value::<&'a RawValue>("a value").map(RawValue::get)
    }

    /// One value of a type that owns what it holds.
    pub(crate) fn read<T: DeserializeOwned>(&mut self, expected: &str) -> Result<T> {
        self.value(expected)
    }

    fn value<T: Deserialize<'a>>(&mut self, expected: &str) -> Result<T> {
        self.blank();
        let rest = serde_json::Deserializer::from_slice(&self.text[self.at..]);
        let mut values = rest.into_iter::<T>();
        match values.next() {
            Some(Ok(value)) => {
                self.at += values.byte_offset();
                Ok(value)
            }
            Some(Err(error)) if error.is_data() => Err(self.refuse(expected)),
            Some(Err(_)) | None => {
                self.at += values.byte_offset();
                Err(self.refuse(&format!("{expected} in good JSON")))
            }
        }
    }

    /// A key. Those of the interface are short and plain; others take the long way.
    fn key(&mut self) -> Result<std::borrow::Cow<'a, str>> {
        self.blank();
        let text: &'a [u8] = &self.text[self.at..];
        let plain = |byte: &u8| matches!(byte, b'a'..=b'z' | b'_');
        if let [b'"', inner @ ..] = text {
            let len = inner.iter().take_while(|byte| plain(byte)).count();
            if inner.get(len) == Some(&b'"') {
                self.at += len + 2;
                let key = std::str::from_utf8(&inner[..len]).expect("lower-case letters");
                return Ok(key.into());
            }
        }
        self.value::<String>("a key").map(Into::into)
    }

    fn expect(&mut self, byte: u8, expected: &str) -> Result<()> {
        if self.eat(byte) { Ok(()) } else { Err(self.refuse(expected)) }
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.blank();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn blank(&mut self) {
        self.at = skip_blank(self.text, self.at);
    }

    /// An error at the cursor.
    pub(crate) fn refuse(&mut self, expected: &str) -> ApiError {
        self.blank();
        let rest = &self.text[self.at.min(self.text.len())..];
        let got = String::from_utf8_lossy(&rest[..rest.len().min(16)]);
        let got = if rest.is_empty() { "the end".to_owned() } else { format!("{got:?}") };
        ApiError::malformed(self.at, expected, &got)
    }
}

fn strange_key(position: usize, key: &str, keys: &[&'static str]) -> ApiError {
    let short = shown(key);
    let known = keys.join(", ");
    let (expected, got) = if keys.contains(&key) {
        ("each key once".to_owned(), format!("{short:?} again"))
    } else {
        (format!("one of {known}"), format!("{short:?}"))
    };
    let near = near_names(key, keys.iter().copied());
    ApiError::malformed(position, &expected, &got).with("near", near)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<(Option<u64>, Vec<f32>, String)> {
        Cursor::whole(text.as_bytes(), &mut |_| Ok(()), |cursor| {
            let (mut k, mut vector, mut filter) = (None, Vec::new(), String::new());
            cursor.object(&["k", "vector", "filter"], |key, cursor| {
                match key {
                    "k" => k = Some(cursor.read("a whole number")?),
                    "vector" => cursor.floats(&mut vector)?,
                    "filter" => cursor.raw()?.clone_into(&mut filter),
                    other => unreachable!("{other}: not listed"),
                }
                Ok(())
            })?;
            Ok((k, vector, filter))
        })
    }

    #[test]
    fn an_object_is_read_in_any_order_and_its_parts_as_they_stand() {
        let text = r#" { "filter" : {"a":[1,{"b":"}"}]} , "vector":[1,2.5], "k":7 } "#;
        let (k, vector, filter) = read(text).expect("good");
        assert_eq!((k, vector), (Some(7), vec![1.0, 2.5]));
        assert_eq!(filter, r#"{"a":[1,{"b":"}"}]}"#);
        assert_eq!(read("{}").expect("empty").0, None);
    }

    #[test]
    fn bad_bodies_are_refused_at_their_byte() {
        let cases = [
            ("", 0),
            ("[]", 0),
            ("{", 1),
            ("{\"k\"}", 4),
            ("{\"k\":}", 5),
            ("{\"k\":1", 6),
            ("{\"k\":1}x", 7),
            ("{\"k\":1,}", 7),
            ("{\"k\":-1}", 5),
            ("{\"k\":1.5}", 5),
            ("{\"k\":\"1\"}", 5),
            ("{\"K\":1}", 1),
            ("{\"k\":1,\"k\":2}", 7),
            ("{\"vector\":[1,NaN]}", 13),
            ("{\"k\":18446744073709551616}", 5),
        ];
        for (text, position) in cases {
            let error = read(text).expect_err(text);
            assert_eq!(
                (error.status().as_u16(), error.position()),
                (400, Some(position)),
                "{text}"
            );
        }
    }

    #[test]
    fn what_is_skipped_may_be_nested_as_deep_as_it_likes() {
        let deep = format!("{{\"filter\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000));
        assert_eq!(read(&deep).expect("skipped").2.len(), 200_000);
        let unclosed = format!("{{\"filter\":{}}}", "[".repeat(100_000));
        assert!(read(&unclosed).is_err());
    }
}
