//! Parses the header of a `.npy` file: type of the elements, order, shape. Used by `npy` and `npz`.
//!
//! | offset | size | field |
//! |---|---|---|
//! | 0 | 6 | magic `\x93NUMPY` |
//! | 6 | 2 | version: 1.0, 2.0 or 3.0 |
//! | 8 | 2 (version 1) or 4 | length of the text that follows |
//!
//! The text is a Python dictionary: `{'descr': '<f4', 'fortran_order': False, 'shape': (3, 4), }`. Only
//! such a dictionary is read; nothing is evaluated. Structured and object arrays are refused.

use std::io::Read;

use nearfield_engine::{Error, Fault, Result};

use super::date::Unit;

const MAGIC: &[u8; 6] = b"\x93NUMPY";
/// NumPy itself refuses longer ones by default.
const TEXT_BYTES_MAX: u64 = 10_000;
/// NumPy's own limit was 32, and is 64 now.
const DIMENSIONS_MAX: usize = 64;

/// Longest text of an element: 8 MiB.
const TEXT_CHARACTERS_MAX: usize = 2 << 20;

/// Kinds of elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Float,
    Signed,
    Unsigned,
    Bool,
    /// Characters of four bytes, padded with zeros.
    Text,
    /// Points in time as i64; the least one is none.
    Datetime(Unit),
}

/// What the header says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) kind: Kind,
    /// Bytes of an element.
    pub(super) width: usize,
    pub(super) big_endian: bool,
    /// Columns lie one after the other, not rows.
    pub(super) fortran_order: bool,
    pub(super) shape: Vec<u64>,
    /// Where the elements begin.
    pub(super) body_offset: u64,
}

impl Header {
    /// Reads and checks a header, and that a file of `file_len` bytes holds exactly what it announces.
    ///
    /// # Errors
    /// `Corrupt` with the offset, `InvalidInput(Parameter)` for arrays that are no numbers.
    pub(super) fn read(name: &str, from: &mut dyn Read, file_len: u64) -> Result<Header> {
        let mut fixed = [0; 8];
        take(name, from, &mut fixed, 0)?;
        if &fixed[..6] != MAGIC {
            return Err(Error::corrupt(name, "offset 0", "not a .npy file (wrong magic)"));
        }
        let len_bytes: usize = match fixed[6] {
            1 => 2,
            2 | 3 => 4,
            version => {
                let found = format!("version {version}.{}, expected 1.0 to 3.0", fixed[7]);
                return Err(Error::corrupt(name, "offset 6", found));
            }
        };
        let mut len = [0; 4];
        take(name, from, &mut len[..len_bytes], 8)?;
        let len = u64::from(u32::from_le_bytes(len));
        let text_offset = 8 + len_bytes as u64;
        if len > TEXT_BYTES_MAX || text_offset + len > file_len {
            let most = TEXT_BYTES_MAX.min(file_len.saturating_sub(text_offset));
            let found = format!("a header of {len} bytes, at most {most} are possible");
            return Err(Error::corrupt(name, "offset 8", found));
        }
        let mut text = vec![0; len as usize];
        take(name, from, &mut text, text_offset)?;
        let header = parse(name, &text, text_offset)?;
        header.check_len(name, file_len)?;
        Ok(header)
    }

    fn check_len(&self, name: &str, file_len: u64) -> Result<()> {
        let elements = self.shape.iter().try_fold(1u64, |product, &n| product.checked_mul(n));
        let body = elements.and_then(|elements| elements.checked_mul(self.width as u64));
        let there = file_len - self.body_offset;
        if body == Some(there) {
            return Ok(());
        }
        let announced = body.map_or("more than 2^64".to_owned(), |body| body.to_string());
        let found = format!("{there} bytes of elements, shape {:?} needs {announced}", self.shape);
        Err(Error::corrupt(name, format!("offset {}", self.body_offset), found)
            .with("offset", self.body_offset))
    }
}

fn take(name: &str, from: &mut dyn Read, bytes: &mut [u8], offset: u64) -> Result<()> {
    from.read_exact(bytes).map_err(|error| super::input::read_error(name, offset, error))
}

fn parse(name: &str, text: &[u8], text_offset: u64) -> Result<Header> {
    let mut cursor = Cursor { name, text, at: 0, offset: text_offset };
    let (mut descr, mut fortran_order, mut shape) = (None, None, None);
    cursor.expect(b'{')?;
    while !cursor.eat(b'}') {
        let key = cursor.string()?;
        cursor.expect(b':')?;
        let twice = match key.as_str() {
            "descr" => descr.replace(cursor.element()?).is_some(),
            "fortran_order" => fortran_order.replace(cursor.boolean()?).is_some(),
            "shape" => shape.replace(cursor.tuple()?).is_some(),
            _ => return Err(cursor.corrupt(&format!("key {key:?}, which no version has"))),
        };
        if twice {
            return Err(cursor.corrupt(&format!("key {key:?} twice")));
        }
        if !cursor.eat(b',') {
            cursor.expect(b'}')?;
            break;
        }
    }
    cursor.skip_space();
    if cursor.at != text.len() {
        return Err(cursor.corrupt("more after the dictionary"));
    }
    let (Some((kind, width, big_endian)), Some(fortran_order), Some(shape)) =
        (descr, fortran_order, shape)
    else {
        return Err(cursor.corrupt("expected the keys descr, fortran_order and shape"));
    };
    let body_offset = text_offset + text.len() as u64;
    Ok(Header { kind, width, big_endian, fortran_order, shape, body_offset })
}

/// The unread rest of the header's text.
struct Cursor<'a> {
    name: &'a str,
    text: &'a [u8],
    at: usize,
    offset: u64,
}

impl Cursor<'_> {
    fn corrupt(&self, found: &str) -> Error {
        let offset = self.offset + self.at as u64;
        Error::corrupt(self.name, format!("header, offset {offset}"), found).with("offset", offset)
    }

    fn skip_space(&mut self) {
        let space = |byte: &&u8| matches!(byte, b' ' | b'\n' | b'\t' | b'\r');
        self.at += self.text[self.at..].iter().take_while(space).count();
    }

    fn eat(&mut self, byte: u8) -> bool {
        self.skip_space();
        let found = self.text.get(self.at) == Some(&byte);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8) -> Result<()> {
        if self.eat(byte) {
            return Ok(());
        }
        let found = self
            .text
            .get(self.at)
            .map_or("the end".to_owned(), |&byte| format!("{:?}", char::from(byte)));
        Err(self.corrupt(&format!("expected {:?}, found {found}", char::from(byte))))
    }

    fn string(&mut self) -> Result<String> {
        let quote = if self.eat(b'"') {
            b'"'
        } else {
            self.expect(b'\'')?;
            b'\''
        };
        let rest = &self.text[self.at..];
        let end = rest.iter().position(|&byte| byte == quote || byte == b'\\');
        let Some(end) = end.filter(|&end| rest[end] == quote) else {
            return Err(self.corrupt("a string that does not end"));
        };
        self.at += end + 1;
        Ok(String::from_utf8_lossy(&rest[..end]).into_owned())
    }

    fn word(&mut self) -> &[u8] {
        self.skip_space();
        let rest = &self.text[self.at..];
        let len = rest.iter().take_while(|byte| byte.is_ascii_alphanumeric()).count();
        self.at += len;
        &rest[..len]
    }

    fn boolean(&mut self) -> Result<bool> {
        match self.word() {
            b"True" => Ok(true),
            b"False" => Ok(false),
            _ => Err(self.corrupt("expected True or False")),
        }
    }

    fn tuple(&mut self) -> Result<Vec<u64>> {
        self.expect(b'(')?;
        let mut numbers = Vec::new();
        while !self.eat(b')') {
            let digits = std::str::from_utf8(self.word()).ok().and_then(|word| word.parse().ok());
            let Some(number) = digits else {
                return Err(self.corrupt("expected a whole number below 2^64 in shape"));
            };
            if numbers.len() == DIMENSIONS_MAX {
                return Err(self.corrupt("more dimensions than NumPy has"));
            }
            numbers.push(number);
            if !self.eat(b',') {
                self.expect(b')')?;
                break;
            }
        }
        Ok(numbers)
    }

    /// `'<f4'`: byte order, kind, bytes.
    fn element(&mut self) -> Result<(Kind, usize, bool)> {
        self.skip_space();
        if self.text.get(self.at) == Some(&b'[') {
            return Err(self.unsupported("a structured array"));
        }
        let descr = self.string()?;
        let (order, rest) = descr.split_at_checked(1).unwrap_or(("", ""));
        let (kind, width) = rest.split_at_checked(1).unwrap_or(("", ""));
        let kind = match (kind, width) {
            ("f", "2" | "4" | "8") => Kind::Float,
            ("i", "1" | "2" | "4" | "8") => Kind::Signed,
            ("u", "1" | "2" | "4" | "8") => Kind::Unsigned,
            ("b", "1") => Kind::Bool,
            ("M", "8[D]") => Kind::Datetime(Unit::Days),
            ("M", "8[s]") => Kind::Datetime(Unit::Seconds),
            ("M", "8[ms]") => Kind::Datetime(Unit::Milliseconds),
            ("M", "8[us]") => Kind::Datetime(Unit::Microseconds),
            ("M", "8[ns]") => Kind::Datetime(Unit::Nanoseconds),
            ("U", _) => return self.text(order, width),
            _ => return Err(self.unsupported(&descr)),
        };
        let big_endian = match order {
            "<" | "|" | "=" => false,
            ">" => true,
            _ => return Err(self.unsupported(&descr)),
        };
        let width = width.split('[').next().and_then(|digits| digits.parse().ok());
        Ok((kind, width.expect("one of the digits above"), big_endian))
    }

    /// `'<U7'`: seven characters.
    fn text(&self, order: &str, characters: &str) -> Result<(Kind, usize, bool)> {
        let characters = characters.parse().ok().filter(|n| (1..=TEXT_CHARACTERS_MAX).contains(n));
        let Some(characters) = characters else {
            return Err(self.unsupported("a text of no or too many characters"));
        };
        Ok((Kind::Text, 4 * characters, order == ">"))
    }

    fn unsupported(&self, descr: &str) -> Error {
        let expected = "float16, float32, float64, an integer type, bool, str, or datetime64 of D, s, ms, us or ns";
        let message = format!("{}: element type: expected {expected}, got {descr:?}", self.name);
        Error::invalid(Fault::Parameter, message).with("expected", expected).with("got", descr)
    }
}
