//! Reads one-dimensional arrays of a `.npz` file, one value for each row, as ids or as JSON (`Column`). Used by `npz`.

use std::io::Read;

use nearfield_engine::{Error, Fault, Result};
use nearfield_segment::PointId;
use serde_json::Value;

use super::super::date::{Unit, date_text};
use super::super::input::read_error;
use super::super::npy::{doubles, integers, moments, texts};
use super::super::npy_header::{Header, Kind};

/// An array, open at its next value.
#[derive(Debug)]
pub(super) struct Column<R> {
    /// Name in the archive.
    pub(super) name: String,
    header: Header,
    source: R,
    row: u64,
}

impl<R: Read> Column<R> {
    /// An array whose header was read from `source`.
    pub(super) fn new(name: String, header: Header, source: R) -> Self {
        Column { name, header, source, row: 0 }
    }

    /// Whether values are text.
    pub(super) fn is_text(&self) -> bool {
        self.header.kind == Kind::Text
    }

    /// Whether values are bools.
    pub(super) fn is_bool(&self) -> bool {
        self.header.kind == Kind::Bool
    }

    /// Whether values are points in time.
    pub(super) fn is_datetime(&self) -> bool {
        matches!(self.header.kind, Kind::Datetime(_))
    }

    /// The next `count` values as JSON; `None` for NaN and NaT.
    ///
    /// # Errors
    /// `Corrupt`; `InvalidInput(Metadata)` for infinity, and for a moment that no calendar has.
    pub(super) fn json(&mut self, count: usize) -> Result<Vec<Option<Value>>> {
        let bytes = self.bytes(count)?;
        let row = self.row - count as u64;
        Ok(match self.header.kind {
            Kind::Bool => bytes.iter().map(|&byte| Some(Value::Bool(byte != 0))).collect(),
            Kind::Text => self.texts(&bytes)?.into_iter().map(|text| Some(text.into())).collect(),
            Kind::Signed | Kind::Unsigned => {
                let numbers = integers(&self.header, &bytes).expect("both kinds are whole numbers");
                numbers.into_iter().map(|number| Some(whole(number))).collect()
            }
            Kind::Datetime(unit) => {
                let moments = moments(&self.header, &bytes).into_iter().zip(row..);
                moments.map(|(moment, row)| self.date(moment, unit, row)).collect::<Result<_>>()?
            }
            Kind::Float => {
                let numbers = doubles(&self.header, &bytes).into_iter().zip(row..);
                numbers.map(|(number, row)| self.float(number, row)).collect::<Result<_>>()?
            }
        })
    }

    /// The next `count` values as ids; those of `numbers` that are true mark texts that are numbers.
    ///
    /// # Errors
    /// `Corrupt`; `InvalidInput(Id)` for a value that is no id.
    pub(super) fn ids(&mut self, count: usize, numbers: Option<&[u8]>) -> Result<Vec<PointId>> {
        let bytes = self.bytes(count)?;
        let first = self.row - count as u64;
        let refused = |row: usize, found: String| {
            let row = first + row as u64;
            let expected = "-2^63 to 2^64 - 1 or a text";
            let message = format!("{:?}: row {row}: expected {expected}, got {found}", self.name);
            Error::invalid(Fault::Id, message).with("row", row).with("got", found)
        };
        if let Some(values) = integers(&self.header, &bytes) {
            let id = |(row, number): (usize, i128)| {
                PointId::from_integer(number).ok_or_else(|| refused(row, number.to_string()))
            };
            return values.into_iter().enumerate().map(id).collect();
        }
        if self.header.kind != Kind::Text {
            return Err(refused(0, "an array of floats or bools".into()));
        }
        let is_number = |row: usize| numbers.is_some_and(|marks| marks[row] != 0);
        let id = |(row, text): (usize, String)| match is_number(row) {
            true => PointId::from_digits(&text).ok_or_else(|| refused(row, text)),
            false => PointId::from_text(&text).map_err(|error| refused(row, error.to_string())),
        };
        self.texts(&bytes)?.into_iter().enumerate().map(id).collect()
    }

    /// The next `count` elements as they lie in the file.
    ///
    /// # Errors
    /// `Corrupt`.
    pub(super) fn bytes(&mut self, count: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; count * self.header.width];
        let offset = self.header.body_offset + self.row * self.header.width as u64;
        let read = self.source.read_exact(&mut bytes);
        read.map_err(|error| read_error(&self.name, offset, error))?;
        self.row += count as u64;
        Ok(bytes)
    }

    fn texts(&self, bytes: &[u8]) -> Result<Vec<String>> {
        texts(&self.header, bytes)
            .ok_or_else(|| Error::corrupt(&self.name, "text", "a character Unicode has not"))
    }

    fn date(&self, moment: Option<i64>, unit: Unit, row: u64) -> Result<Option<Value>> {
        let Some(moment) = moment else { return Ok(None) };
        let Some(text) = date_text(moment, unit) else {
            let message =
                format!("{:?}: row {row}: expected a date of the years 0000 to 9999", self.name);
            return Err(Error::invalid(Fault::Metadata, message).with("row", row));
        };
        Ok(Some(text.into()))
    }

    fn float(&self, number: f64, row: u64) -> Result<Option<Value>> {
        if number.is_infinite() {
            let message = format!("{:?}: row {row}: expected a finite number", self.name);
            return Err(Error::invalid(Fault::Metadata, message).with("row", row));
        }
        if self.header.width == 8 || number.is_nan() {
            return Ok((!number.is_nan()).then(|| number.into()));
        }
        // By way of text, so that 0.1 as f32 does not become 0.10000000149011612.
        Ok(format!("{:?}", number as f32).parse::<f64>().ok().map(Value::from))
    }
}

/// No element of an array is wider than 64 bits.
fn whole(number: i128) -> Value {
    u64::try_from(number).map_or_else(|_| Value::from(number as i64), Value::from)
}
