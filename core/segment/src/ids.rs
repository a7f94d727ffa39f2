//! The identifier types: `PointId` (the caller's id of a point: an integer (i64 or u64), a UUID or a string),
//! `RowId` (a row in one segment), `Lsn` (a position in the log), `FileId` (a file); with the encoding of a
//! `PointId` and the hash functions of ids. Used by every crate; `segment::ids` holds the table from row to id.

use std::fmt;

use crate::error::{Error, Fault, Result, shown};
use crate::reader::ByteReader;

/// Longest string id, in bytes.
pub const STRING_ID_BYTES_MAX: usize = 256;

/// The kinds of ids in files.
pub(crate) const KIND_U64: u8 = 0;
pub(crate) const KIND_UUID: u8 = 1;
pub(crate) const KIND_STR: u8 = 2;
pub(crate) const KIND_I64: u8 = 3;

/// What the user calls a point. Ordered negative numbers < u64 < UUID < string; each kind by value.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PointId {
    /// A number below 0: every other number is a `U64`.
    I64(i64),
    /// A number.
    U64(u64),
    /// A UUID, big-endian as printed.
    Uuid(u128),
    /// 1 to 256 bytes of UTF-8 that are not a canonical UUID.
    Str(Box<str>),
}

impl From<i64> for PointId {
    fn from(number: i64) -> Self {
        u64::try_from(number).map_or(PointId::I64(number), PointId::U64)
    }
}

impl PointId {
    /// The id that is this number; `None` unless it is −2⁶³ to 2⁶⁴ − 1.
    pub fn from_integer(number: i128) -> Option<Self> {
        match u64::try_from(number) {
            Ok(number) => Some(PointId::U64(number)),
            Err(_) => i64::try_from(number).ok().map(PointId::I64),
        }
    }

    /// The id that a text writes in decimal digits, with a minus or without a sign.
    pub fn from_digits(text: &str) -> Option<Self> {
        // The standard library reads a plus too.
        let number = (!text.starts_with('+')).then(|| text.parse().ok())??;
        PointId::from_integer(number)
    }

    /// A string id. The canonical lower-case hyphenated form of a UUID becomes [`PointId::Uuid`]
    /// (lossless: it prints the same); every other form stays a string.
    ///
    /// # Errors
    /// `InvalidInput(Id)` if the text is empty or longer than [`STRING_ID_BYTES_MAX`].
    pub fn from_text(text: &str) -> Result<Self> {
        if text.is_empty() || text.len() > STRING_ID_BYTES_MAX {
            let start = shown(text);
            return Err(Error::invalid(
                Fault::Id,
                format!(
                    "a string id has 1 to {STRING_ID_BYTES_MAX} bytes, got {} bytes ({start:?})",
                    text.len()
                ),
            )
            .with("expected", format!("1 to {STRING_ID_BYTES_MAX} bytes"))
            .with("got", text.len()));
        }
        Ok(match parse_canonical_uuid(text) {
            Some(uuid) => PointId::Uuid(uuid),
            None => PointId::Str(text.into()),
        })
    }

    /// Fewest bytes of an encoded id: those of a string of one byte.
    pub const ENCODED_BYTES_MIN: u64 = 4;

    /// Appends the id as files hold it: u8 kind, then 0: the u64; 1: the UUID as u128; 2: u16 length and text; 3: the
    /// negative i64.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            PointId::I64(value) => {
                out.push(KIND_I64);
                out.extend_from_slice(&value.to_le_bytes());
            }
            PointId::U64(value) => {
                out.push(KIND_U64);
                out.extend_from_slice(&value.to_le_bytes());
            }
            PointId::Uuid(value) => {
                out.push(KIND_UUID);
                out.extend_from_slice(&value.to_le_bytes());
            }
            PointId::Str(text) => {
                out.push(KIND_STR);
                out.extend_from_slice(&(text.len() as u16).to_le_bytes());
                out.extend_from_slice(text.as_bytes());
            }
        }
    }

    /// Bytes that [`encode`](PointId::encode) appends.
    pub fn encoded_bytes(&self) -> usize {
        1 + match self {
            PointId::I64(_) | PointId::U64(_) => size_of::<u64>(),
            PointId::Uuid(_) => size_of::<u128>(),
            PointId::Str(text) => size_of::<u16>() + text.len(),
        }
    }

    /// Reads what [`encode`](PointId::encode) wrote.
    ///
    /// # Errors
    /// `Corrupt` for an unknown kind, a number of the other sign, text that is no UTF-8, or too few bytes.
    pub fn decode(reader: &mut ByteReader<'_>) -> Result<PointId> {
        let at = reader.at();
        let [kind] = reader.array()?;
        match kind {
            KIND_U64 => reader.u64().map(PointId::U64),
            KIND_UUID => reader.u128().map(PointId::Uuid),
            KIND_STR => {
                let len_bytes = usize::from(reader.u16()?);
                Ok(PointId::Str(reader.text(len_bytes)?.into()))
            }
            KIND_I64 => match reader.u64()? as i64 {
                value @ ..0 => Ok(PointId::I64(value)),
                value => Err(reader.corrupt_at(at, format!("{value} as a negative id"))),
            },
            unknown => Err(reader.corrupt_at(at, format!("unknown kind of id {unknown}"))),
        }
    }

    /// A 64-bit hash, the same on every machine and in every version: files of format 1 depend on it. A caller that
    /// chooses ids can make them collide: tables use [`IdHash`].
    pub fn hash64(&self) -> u64 {
        self.hash_from(0)
    }

    fn hash_from(&self, start: u64) -> u64 {
        match self {
            // Not the hash of any number, whatever the start.
            PointId::I64(value) => !mix64(*value as u64 ^ 0x9E37_79B9_7F4A_7C15 ^ start),
            PointId::U64(value) => mix64(*value ^ 0x9E37_79B9_7F4A_7C15 ^ start),
            PointId::Uuid(value) => mix64(
                (*value as u64) ^ mix64((*value >> 64) as u64 ^ 0xC2B2_AE3D_27D4_EB4F ^ start),
            ),
            PointId::Str(text) => hash_bytes_from(start, text.as_bytes()),
        }
    }
}

/// How the ids of one file are hashed, in its table and its Bloom filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum IdHash {
    /// Format 1: by [`PointId::hash64`].
    Fixed,
    /// By a seed that was drawn after the ids were chosen.
    Seeded([u64; 2]),
}

impl IdHash {
    /// The hash of a new file. Its identity is drawn when its rows are fixed, and reveals nothing of the next
    /// ([`Rng::file_id`](crate::Rng::file_id)), so no client can choose ids that collide in it.
    pub fn of_file(file: FileId) -> Self {
        IdHash::Seeded([(file.0 >> 64) as u64, file.0 as u64])
    }

    /// The hash of an id.
    pub fn hash(self, id: &PointId) -> u64 {
        match self {
            IdHash::Fixed => id.hash64(),
            IdHash::Seeded([start, end]) => mix64(id.hash_from(start) ^ end),
        }
    }
}

impl fmt::Display for PointId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            PointId::I64(value) => write!(f, "{value}"),
            PointId::U64(value) => write!(f, "{value}"),
            PointId::Uuid(value) => f.write_str(&format_uuid(*value)),
            PointId::Str(text) => f.write_str(text),
        }
    }
}

/// The canonical lower-case hyphenated form.
pub fn format_uuid(value: u128) -> String {
    let hex = format!("{value:032x}");
    format!("{}-{}-{}-{}-{}", &hex[..8], &hex[8..12], &hex[12..16], &hex[16..20], &hex[20..])
}

/// The inverse of [`format_uuid`]; `None` for any other form.
pub fn parse_canonical_uuid(text: &str) -> Option<u128> {
    let bytes = text.as_bytes();
    if bytes.len() != 36 {
        return None;
    }
    let mut value: u128 = 0;
    for (position, &byte) in bytes.iter().enumerate() {
        if matches!(position, 8 | 13 | 18 | 23) {
            if byte != b'-' {
                return None;
            }
            continue;
        }
        let digit = match byte {
            b'0'..=b'9' => byte - b'0',
            b'a'..=b'f' => byte - b'a' + 10,
            _ => return None,
        };
        value = value << 4 | u128::from(digit);
    }
    Some(value)
}

/// 64-bit finalizer of SplitMix64 (Steele et al., 2014): every input bit reaches every output bit.
pub fn mix64(mut value: u64) -> u64 {
    value = (value ^ (value >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
    value = (value ^ (value >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
    value ^ (value >> 31)
}

/// Hash of bytes by eight-byte words through [`mix64`]; the length is part of it.
pub fn hash_bytes(bytes: &[u8]) -> u64 {
    hash_bytes_from(0, bytes)
}

fn hash_bytes_from(start: u64, bytes: &[u8]) -> u64 {
    let mut hash = mix64(bytes.len() as u64 ^ 0x2545_F491_4F6C_DD1D ^ start);
    for chunk in bytes.chunks(8) {
        let mut word = [0; 8];
        word[..chunk.len()].copy_from_slice(chunk);
        hash = mix64(hash ^ u64::from_le_bytes(word));
    }
    hash
}

/// A row inside one segment, from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct RowId(pub u32);

impl RowId {
    /// As an index into per-row arrays.
    #[inline]
    pub fn index(self) -> usize {
        self.0 as usize
    }
}

/// A position in a collection's log: one per atomic batch, growing, assigned by the log.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    PartialOrd,
    Ord,
    Default,
    serde::Serialize,
    serde::Deserialize,
)]
pub struct Lsn(pub u64);

impl Lsn {
    /// The next position.
    #[must_use]
    pub fn next(self) -> Lsn {
        Lsn(self.0 + 1)
    }
}

impl fmt::Display for Lsn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Identity of a file, a segment or a collection: 128 random bits, printed as a UUID.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct FileId(pub u128);

impl fmt::Display for FileId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&format_uuid(self.0))
    }
}

impl serde::Serialize for FileId {
    fn serialize<S: serde::Serializer>(
        &self,
        serializer: S,
    ) -> std::result::Result<S::Ok, S::Error> {
        serializer.serialize_str(&format_uuid(self.0))
    }
}

impl<'de> serde::Deserialize<'de> for FileId {
    fn deserialize<D: serde::Deserializer<'de>>(
        deserializer: D,
    ) -> std::result::Result<Self, D::Error> {
        let text = std::borrow::Cow::<'de, str>::deserialize(deserializer)?;
        parse_canonical_uuid(&text)
            .map(FileId)
            .ok_or_else(|| serde::de::Error::custom(format!("{text:?} is not a canonical UUID")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_canonical_form_of_a_uuid_becomes_one() {
        let text = "01234567-89ab-cdef-0123-456789abcdef";
        let id = PointId::from_text(text).expect("valid");
        assert_eq!(id, PointId::Uuid(0x0123_4567_89ab_cdef_0123_4567_89ab_cdef));
        assert_eq!(id.to_string(), text);
        for other in [&text.to_uppercase(), &text.replace('-', ""), "7", &format!("{{{text}}}")] {
            assert!(matches!(PointId::from_text(other), Ok(PointId::Str(_))), "{other}");
        }
    }

    #[test]
    fn kinds_are_ordered_negative_u64_uuid_string() {
        let ids = [
            PointId::from(i64::MIN),
            PointId::from(-1),
            PointId::from(0),
            PointId::U64(u64::MAX),
            PointId::Uuid(0),
            PointId::Uuid(u128::MAX),
            PointId::from_text("0").expect("valid"),
        ];
        assert!(ids.is_sorted());
    }

    #[test]
    fn ids_at_the_ends_of_64_bits_round_trip() {
        for id in [
            PointId::from(i64::MIN),
            PointId::from(-1),
            PointId::U64(1 << 63),
            PointId::U64(u64::MAX),
        ] {
            let mut bytes = Vec::new();
            id.encode(&mut bytes);
            assert_eq!(bytes.len(), id.encoded_bytes());
            let mut reader = ByteReader::new("test", "id", &bytes);
            assert_eq!(PointId::decode(&mut reader).expect("whole"), id);
            assert_eq!(PointId::from_digits(&id.to_string()), Some(id));
        }
        for none in ["-9223372036854775809", "18446744073709551616", "--1", "1.0", ""] {
            assert_eq!(PointId::from_digits(none), None, "{none}");
        }
        let mut bytes = vec![KIND_I64];
        bytes.extend_from_slice(&1u64.to_le_bytes());
        let error = PointId::decode(&mut ByteReader::new("test", "id", &bytes)).expect_err("1");
        assert_eq!(error.kind(), crate::ErrorKind::Corrupt);
    }

    #[test]
    fn over_long_and_empty_ids_are_refused_with_their_length() {
        assert!(PointId::from_text(&"x".repeat(256)).is_ok());
        for text in [String::new(), "x".repeat(257)] {
            let error = PointId::from_text(&text).expect_err("must be refused");
            assert_eq!(error.kind(), crate::ErrorKind::InvalidInput(Fault::Id));
            assert_eq!(error.detail("got"), Some(&text.len().into()));
        }
    }

    #[test]
    fn hashes_are_frozen_because_files_depend_on_them() {
        assert_eq!(PointId::U64(1).hash64(), mix64(1 ^ 0x9E37_79B9_7F4A_7C15));
        assert_ne!(hash_bytes(b"a"), hash_bytes(b"a\0"));
    }
}
