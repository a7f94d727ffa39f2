//! `JsonLines`: reads files of JSON lines: `{"id": …, "vector": […], …}`, one point a line. Opened by `rows::open`.
//!
//! `id` may be left out of all lines. Metadata is the object under `metadata`, or else all other keys;
//! its text is kept as it stands, so that numbers lose no digit. Empty lines are skipped.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{BufRead, BufReader, Read};

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;
use serde_json::Value;
use serde_json::value::RawValue;

use super::input::{check_dim, file_len};
use super::row_file::{RowFile, Rows};

/// Longest line: a vector of the largest dimension with 17 digits an element fits four times.
const LINE_BYTES_MAX: u64 = 8 << 20;
/// Text of documents from which a part of the file is handed over, whatever its rows.
const PART_BYTES_MAX: usize = 32 << 20;

/// An open file.
#[derive(Debug)]
pub(super) struct JsonLines<R> {
    name: String,
    source: R,
    dim: usize,
    /// Whether lines have ids, as the first one says.
    with_ids: bool,
    /// A point that was read ahead.
    first: Option<Line>,
    line: u64,
    offset: u64,
    len: u64,
}

#[derive(Debug)]
struct Line {
    id: Option<PointId>,
    vector: Vec<f32>,
    metadata: Option<String>,
}

impl JsonLines<BufReader<File>> {
    /// Opens a file and reads its first point, which says the dimension.
    ///
    /// # Errors
    /// As [`JsonLines::new`].
    pub(super) fn open(name: String, file: File) -> Result<Self> {
        let len = file_len(&file, &name)?;
        JsonLines::new(name, BufReader::with_capacity(1 << 16, file), len)
    }
}

impl<R: BufRead> JsonLines<R> {
    /// Reads the first point of a file of `len` bytes.
    ///
    /// # Errors
    /// `InvalidInput` naming the line; `Corrupt` for an empty file.
    pub(super) fn new(name: String, source: R, len: u64) -> Result<Self> {
        let (dim, line, offset) = (0, 0, 0);
        let mut lines =
            JsonLines { name, source, dim, with_ids: false, first: None, line, offset, len };
        let Some(first) = lines.next_line()? else {
            return Err(Error::corrupt(&lines.name, "line 1", "expected a point, found the end"));
        };
        lines.dim = check_dim(&lines.name, "line 1", first.vector.len() as u64)?;
        lines.with_ids = first.id.is_some();
        lines.first = Some(first);
        Ok(lines)
    }

    fn next_line(&mut self) -> Result<Option<Line>> {
        let mut text = Vec::new();
        loop {
            text.clear();
            let mut bounded = (&mut self.source).take(LINE_BYTES_MAX);
            let read = bounded.read_until(b'\n', &mut text);
            let read = read.map_err(|error| Error::io("read", &self.name, error))? as u64;
            if read == 0 {
                return Ok(None);
            }
            self.line += 1;
            self.offset += read;
            if read == LINE_BYTES_MAX && !text.ends_with(b"\n") {
                return Err(self.refused(Fault::Parameter, "longer than 8 MiB"));
            }
            if !text.iter().all(u8::is_ascii_whitespace) {
                return self.parse(&text).map(Some);
            }
        }
    }

    fn parse(&self, text: &[u8]) -> Result<Line> {
        let mut keys: BTreeMap<String, Box<RawValue>> = serde_json::from_slice(text)
            .map_err(|error| self.refused(Fault::Parameter, &error.to_string()))?;
        let Some(vector) = keys.remove("vector") else {
            let known: Vec<String> = keys.into_keys().take(8).collect();
            let message = format!("expected a key \"vector\", found {known:?}");
            return Err(self.refused(Fault::Parameter, &message));
        };
        let vector = serde_json::from_str(vector.get()).map_err(|error| {
            self.refused(Fault::Parameter, &format!("vector: expected numbers: {error}"))
        })?;
        let id = keys.remove("id").map(|id| self.id(&id)).transpose()?;
        Ok(Line { id, vector, metadata: self.metadata(keys)? })
    }

    fn id(&self, raw: &RawValue) -> Result<PointId> {
        let value: Value = serde_json::from_str(raw.get()).expect("a raw value is valid JSON");
        let number = value.as_u64().map(PointId::U64);
        let number = number.or_else(|| value.as_i64().map(PointId::from)).map(Ok);
        let id = number.or_else(|| value.as_str().map(PointId::from_text));
        id.unwrap_or_else(|| {
            let message = format!("id: expected -2^63 to 2^64 - 1 or a string, got {}", raw.get());
            Err(Error::invalid(Fault::Id, message))
        })
        .map_err(|error| error.context(format!("{}: line {}", self.name, self.line)))
    }

    fn metadata(&self, mut keys: BTreeMap<String, Box<RawValue>>) -> Result<Option<String>> {
        let Some(metadata) = keys.remove("metadata") else {
            let object = (!keys.is_empty()).then(|| serde_json::to_string(&keys));
            let object = object.transpose();
            return Ok(object.expect("keys are strings and values are valid JSON"));
        };
        if let Some(other) = keys.keys().next() {
            let message = format!(
                "expected metadata under \"metadata\" or beside it, found both ({other:?})"
            );
            return Err(self.refused(Fault::Metadata, &message));
        }
        Ok((metadata.get() != "null").then(|| metadata.get().to_owned()))
    }

    fn refused(&self, fault: Fault, found: &str) -> Error {
        Error::invalid(fault, format!("{}: line {}: {found}", self.name, self.line))
            .with("file", self.name.clone())
            .with("line", self.line)
    }

    fn check(&self, line: &Line) -> Result<()> {
        if line.vector.len() != self.dim {
            let (expected, got) = (self.dim, line.vector.len());
            let message = format!("expected {expected} elements as in the first line, got {got}");
            return Err(self.refused(Fault::Dimension, &message));
        }
        if line.id.is_some() != self.with_ids {
            let message = "expected an id in every line or in none";
            return Err(self.refused(Fault::Id, message));
        }
        Ok(())
    }
}

impl<R: BufRead> RowFile for JsonLines<R> {
    fn dim(&self) -> usize {
        self.dim
    }

    fn rows(&self) -> Option<u64> {
        None
    }

    fn progress(&self) -> (u64, u64) {
        (self.offset, self.len)
    }

    fn next_rows(&mut self, count_max: usize) -> Result<Rows> {
        let (mut rows, mut bytes) = (Rows::default(), 0);
        while rows.count < count_max && bytes < PART_BYTES_MAX {
            let ahead = self.first.take();
            let Some(line) = ahead.map_or_else(|| self.next_line(), |line| Ok(Some(line)))? else {
                break;
            };
            self.check(&line)?;
            bytes += line.metadata.as_ref().map_or(0, String::len);
            rows.count += 1;
            rows.vectors.extend(line.vector);
            rows.ids.extend(line.id);
            rows.metadata.push(line.metadata);
        }
        Ok(rows)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Result<Rows> {
        let lines = JsonLines::new("f.jsonl".into(), text.as_bytes(), text.len() as u64);
        lines?.next_rows(100)
    }

    #[test]
    fn metadata_is_kept_as_it_stands_under_its_key_or_beside_it() {
        let text = "{\"id\":7,\"vector\":[1,2.5],\"n\":1.10,\"a\":null}\n\n\
                    {\"vector\":[0,1e-3],\"id\":\"x\",\"metadata\":{\"n\": 10000000000000000000001}}\n";
        let rows = read(text).expect("two points");
        assert_eq!(rows.ids, [PointId::U64(7), PointId::from_text("x").expect("short")]);
        assert_eq!(rows.vectors, [1.0, 2.5, 0.0, 0.001]);
        let expected = ["{\"a\":null,\"n\":1.10}", "{\"n\": 10000000000000000000001}"];
        assert_eq!(rows.metadata, expected.map(|text| Some(text.to_owned())));
    }

    #[test]
    fn a_bad_line_is_refused_by_its_number() {
        let good = "{\"id\":1,\"vector\":[1,2]}\n";
        let cases = [
            ("{\"id\":1}", "\"vector\""),
            ("{\"id\":1,\"vector\":[1]}", "2 elements"),
            ("{\"id\":1,\"vector\":\"no\"}", "expected numbers"),
            ("{\"vector\":[1,2]}", "every line or in none"),
            ("{\"id\":-9223372036854775809,\"vector\":[1,2]}", "got -9223372036854775809"),
            ("{\"id\":1.5,\"vector\":[1,2]}", "got 1.5"),
            ("{\"id\":1,\"vector\":[1,2],\"metadata\":{},\"x\":1}", "found both"),
            ("{\"id\":1,\"vector\":[1,2]", "EOF"),
            ("[1,2]", "expected a map"),
        ];
        for (line, part) in cases {
            let error = read(&format!("{good}{line}\n")).expect_err(line);
            let message = error.message();
            assert!(message.starts_with("f.jsonl: line 2: "), "{message}");
            assert!(message.contains(part), "{message}");
        }
        assert!(read("\n \n").expect_err("no point").message().contains("found the end"));
    }

    #[test]
    fn an_endless_line_is_refused_before_memory_is_full() {
        let endless = BufReader::new(std::io::repeat(b' '));
        let error = JsonLines::new("f".into(), endless, u64::MAX).expect_err("no line ends");
        assert!(error.message().contains("longer than 8 MiB"), "{}", error.message());
    }
}
