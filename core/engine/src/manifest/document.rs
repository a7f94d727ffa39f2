//! `Document`: a numbered JSON file with a checksum, the file form of manifests. `commit` writes the next number,
//! `load` reads one. Used by `Manifest` and `DatabaseManifest`.
//!
//! `<kind>-<number, 20 digits>` holds one line and the JSON behind it:
//!
//! ```text
//! nearfield-<kind> <version> <length of the JSON in bytes> <CRC32C, 8 hex digits>\n
//! ```
//!
//! The checksum covers the line up to the space before it, then the JSON. A document is written once by
//! `put_new`; the highest number is the truth. A damaged highest document is an error, never a reason to
//! use an older one.

use crc32c::{crc32c, crc32c_append};
use nearfield_segment::storage::{Storage, join};
use nearfield_segment::{Error, ErrorKind, Fault, Result, read_json};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

/// Newest version of both kinds of documents; every one from 1 is read, and the lowest that says
/// everything is written.
pub const MANIFEST_VERSION: u32 = 3;
/// Longest document: 64 MiB.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;
/// Longest first line.
const LINE_BYTES_MAX: usize = 96;

/// What a document is about. `check` holds before every write and after every read.
pub trait Document: Serialize + DeserializeOwned + Clone {
    /// First part of the file name, and of the first line after `nearfield-`.
    const KIND: &'static str;

    /// The lowest version whose readers use everything in it.
    fn version(&self) -> u32 {
        1
    }

    /// The number in the name.
    fn number(&self) -> u64;

    /// The document this one replaced; `None` for the first.
    fn parent(&self) -> Option<Parent>;

    /// Sets number and parent.
    fn set_place(&mut self, number: u64, parent: Option<Parent>);

    /// What is wrong with the content, if anything.
    ///
    /// # Errors
    /// A sentence about the first broken invariant.
    fn check(&self) -> std::result::Result<(), String>;
}

/// Names the document before this one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Parent {
    /// Its number.
    pub number: u64,
    /// Its checksum.
    pub crc: u32,
}

/// A document as it is on disk.
#[derive(Debug, Clone, PartialEq)]
pub struct Stored<D> {
    /// The content.
    pub document: D,
    /// The checksum in its first line.
    pub crc: u32,
}

impl<D: Document> Stored<D> {
    /// A copy with the next number and this one as parent: change it, then [`commit`] it.
    pub fn successor(&self) -> D {
        let mut next = self.document.clone();
        let number = self.document.number();
        next.set_place(number + 1, Some(Parent { number, crc: self.crc }));
        next
    }
}

/// Name of a document of this kind below `dir`.
pub fn document_name<D: Document>(dir: &str, number: u64) -> String {
    join(dir, &format!("{}-{number:020}", D::KIND))
}

/// Numbers of the documents in `dir`, ascending. Other names are ignored.
///
/// # Errors
/// Those of the storage.
pub fn list_numbers<D: Document>(storage: &dyn Storage, dir: &str) -> Result<Vec<u64>> {
    let number = |name: &String| {
        let digits = name.strip_prefix(D::KIND)?.strip_prefix('-')?;
        let plain = digits.len() == 20 && digits.bytes().all(|byte| byte.is_ascii_digit());
        if plain { digits.parse().ok() } else { None }
    };
    let mut numbers: Vec<u64> = storage.list(dir)?.iter().filter_map(number).collect();
    numbers.sort_unstable();
    Ok(numbers)
}

/// Reads one document.
///
/// # Errors
/// `NotFound`, `Corrupt` naming the file, `Version`, `Io`.
pub fn load<D: Document>(storage: &dyn Storage, dir: &str, number: u64) -> Result<Stored<D>> {
    let name = document_name::<D>(dir, number);
    let blob = storage.open(&name)?;
    if blob.len() > DOCUMENT_BYTES_MAX {
        let found = format!("expected at most {DOCUMENT_BYTES_MAX} bytes, found {}", blob.len());
        return Err(Error::corrupt(&name, "length", found));
    }
    let bytes = blob.read(0..blob.len())?;
    let stored: Stored<D> = decode(&bytes, &name)?;
    if stored.document.number() != number {
        let found = format!("expected {number}, found {}", stored.document.number());
        return Err(Error::corrupt(&name, "number", found));
    }
    Ok(stored)
}

/// Reads the document with the highest number; `None` if there is none. If a writer replaces it meanwhile,
/// the newer one.
///
/// # Errors
/// As [`load`]; a damaged newest document is an error even if older ones are whole.
pub fn load_newest<D: Document>(storage: &dyn Storage, dir: &str) -> Result<Option<Stored<D>>> {
    let newest = || Ok(list_numbers::<D>(storage, dir)?.pop());
    let mut listed = newest()?;
    // Ends: numbers only grow, and a writer commits finitely often while this reads.
    while let Some(number) = listed {
        match load(storage, dir, number) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                listed = newest()?;
                if listed == Some(number) {
                    return Err(error);
                }
            }
            other => return other.map(Some),
        }
    }
    Ok(None)
}

/// Writes a document under its number: the moment the change it describes happens.
///
/// # Errors
/// `InvalidInput(Parameter)` for a document that would be too long to be read; nothing was written then.
/// `Conflict` if another process committed that number; else those of the storage, after which it is
/// unknown whether the commit happened: load the newest.
///
/// # Panics
/// If an invariant of the document is broken.
pub fn commit<D: Document>(storage: &dyn Storage, dir: &str, document: D) -> Result<Stored<D>> {
    if let Err(problem) = check(&document) {
        panic!("a manifest must not be written in this state: {problem}");
    }
    let (bytes, crc) = encode(&document);
    let len = bytes.len() as u64;
    if len > DOCUMENT_BYTES_MAX {
        let message = format!(
            "the {} document would have {len} bytes, at most {DOCUMENT_BYTES_MAX} can be read; nothing was changed",
            D::KIND
        );
        let error = Error::invalid(Fault::Parameter, message);
        return Err(error.with("expected", DOCUMENT_BYTES_MAX).with("got", len));
    }
    storage.put_new(&document_name::<D>(dir, document.number()), &bytes)?;
    Ok(Stored { document, crc })
}

/// The bytes of a document, and its checksum.
pub(crate) fn encode<D: Document>(document: &D) -> (Vec<u8>, u32) {
    let json = serde_json::to_vec(document).expect("maps with string keys and numbers serialize");
    let start = format!("nearfield-{} {} {}", D::KIND, document.version(), json.len());
    let crc = crc32c_append(crc32c(start.as_bytes()), &json);
    let mut bytes = format!("{start} {crc:08x}\n").into_bytes();
    bytes.extend_from_slice(&json);
    (bytes, crc)
}

/// The inverse of [`encode`], for bytes that may be anything.
pub(crate) fn decode<D: Document>(bytes: &[u8], name: &str) -> Result<Stored<D>> {
    let corrupt = |place: &str, found: String| Error::corrupt(name, place, found);
    let (line, json) = bytes
        .iter()
        .take(LINE_BYTES_MAX)
        .position(|&byte| byte == b'\n')
        .and_then(|end| Some((std::str::from_utf8(&bytes[..end]).ok()?, &bytes[end + 1..])))
        .ok_or_else(|| corrupt("first line", "not a manifest".to_owned()))?;
    let line =
        Line::parse::<D>(line).ok_or_else(|| corrupt("first line", format!("found {line:?}")))?;
    if line.len != json.len() as u64 {
        return Err(corrupt("length", format!("expected {}, found {}", line.len, json.len())));
    }
    let crc = crc32c_append(crc32c(line.start.as_bytes()), json);
    if crc != line.crc {
        return Err(corrupt("checksum", format!("expected {:08x}, found {crc:08x}", line.crc)));
    }
    if !(1..=MANIFEST_VERSION).contains(&line.version) {
        let expected = format!("1 to {MANIFEST_VERSION}");
        let message = format!("{name}: version {}; this build reads {expected}", line.version);
        return Err(Error::new(ErrorKind::Version, message)
            .with("expected", expected)
            .with("got", line.version)
            .with("file", name));
    }
    let document: D = read_json(json).map_err(|error| corrupt("content", error.to_string()))?;
    check(&document).map_err(|problem| corrupt("content", problem))?;
    Ok(Stored { document, crc })
}

/// The parts of the first line.
struct Line<'a> {
    start: &'a str,
    version: u32,
    len: u64,
    crc: u32,
}

impl<'a> Line<'a> {
    /// Only the exact form that `encode` writes.
    fn parse<D: Document>(line: &'a str) -> Option<Self> {
        let (start, crc) = line.rsplit_once(' ')?;
        let (kind, numbers) = start.split_once(' ')?;
        let (version, len) = numbers.split_once(' ')?;
        let line_parts = Line {
            start,
            version: version.parse().ok()?,
            len: len.parse().ok()?,
            crc: u32::from_str_radix(crc, 16).ok()?,
        };
        let exact = kind.strip_prefix("nearfield-") == Some(D::KIND)
            && version == line_parts.version.to_string()
            && len == line_parts.len.to_string()
            && crc == format!("{:08x}", line_parts.crc);
        exact.then_some(line_parts)
    }
}

fn check<D: Document>(document: &D) -> std::result::Result<(), String> {
    let expected = document.parent().map_or(Some(1), |parent| parent.number.checked_add(1));
    if expected != Some(document.number()) {
        let parent = document.parent().map_or(0, |parent| parent.number);
        return Err(format!("number {} after {parent}", document.number()));
    }
    if document.number() == u64::MAX {
        return Err("the numbers are used up".to_owned());
    }
    document.check()
}
