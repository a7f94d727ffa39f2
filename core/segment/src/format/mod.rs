//! Layout of a segment file: a front that describes all of it, then sections. `Front` and `Sections` are used
//! by `Segment::open` and `SegmentBuilder`, `Section` by every reader of a section.
//!
//! ```text
//! 0            64            64 + 64 × sections          front_len                              file_len
//! | header     | entries …   | block checksums (u32 …)   | section | pad | section | pad …      |
//! ```
//!
//! Sections start at multiples of 64, in the order of their entries, without overlap; pads are written as
//! zeros and never read. Each 64 KiB block of a section has a CRC32C in the front; the front has its own.
//! Little-endian throughout.
//! `docs/internals/format.md` holds the tables. What a section means is the business of the module that reads it.

mod front;
mod guard;
mod reads;
mod section;
mod sections;
mod verified;

pub use front::{
    BLOCK_BYTES, FORMAT_VERSION, FRONT_PREFIX_BYTES, Front, OLDEST_READABLE_VERSION, SectionEntry,
    SectionKind, decode_table, encode_table, front_len,
};
pub use reads::{Reads, all, once, resident};
pub use section::{Residence, Section};
pub use sections::{SectionKey, Sections};
pub use verified::Verified;

pub(crate) use guard::Guard;
pub(crate) use section::check_bytes;
pub(crate) use sections::Content;

/// Next multiple of 64.
pub fn align64(offset: u64) -> u64 {
    offset.next_multiple_of(64)
}
