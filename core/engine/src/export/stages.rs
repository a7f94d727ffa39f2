//! Partial downloads of an export: which byte ranges to fetch next for a `Stage` (`stage_ranges`), and which bytes are
//! wrong. Used by `wasm`'s file of ranges.
//!
//! The collections of an export that is opened on demand are views like any other, over a blob of which bytes may be
//! missing. A call never waits: what it lacks it requests of the blob, all of it that is known at that point, and fails
//! with `NotResident`; the owner of a `RangeBlob` fetches what is wanted and makes the same call again. A first answer
//! needs the front with the delete lists, the list tables, and a few runs of lists: three rounds.
//!
//! Every byte is checked against a checksum before it counts. Bytes that are not those of the export are `Corrupt` with
//! the detail `offset`, never a wrong answer. Not here: fetching.

use std::ops::Range;

use nearfield_segment::format::{BLOCK_BYTES, SectionEntry, SectionKind};

use super::Export;

/// What may be downloaded beside the searches, in the order in which it helps.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Stage {
    /// The front and the delete lists: what opening needs.
    Header,
    /// The list tables: searches then need one round for lists.
    ListTables,
    /// The inverted lists: every search is answered without a request.
    Codes,
    /// Rows, ids and metadata: exact distances, filters and metadata without a request.
    Rows,
}

impl Export {
    /// The sections of all segments.
    fn entries(&self) -> impl Iterator<Item = &SectionEntry> {
        let segments = self.collections.iter().flat_map(|(_, view)| &view.segments);
        segments.flat_map(|live| &live.segment.front().sections)
    }

    /// Ranges of the file that a stage consists of, ascending. Bytes of earlier stages are not in it.
    pub fn stage_ranges(&self, stage: Stage) -> Vec<Range<u64>> {
        let from_the_start = match stage {
            Stage::Header => Some(0..self.front_len),
            Stage::ListTables | Stage::Codes | Stage::Rows => None,
        };
        let of_stage = self.entries().filter(|entry| stage_of(entry.kind) == Some(stage));
        let sections = of_stage.map(|entry| entry.offset..entry.offset + entry.len);
        let mut ranges: Vec<Range<u64>> = from_the_start.into_iter().chain(sections).collect();
        ranges.sort_by_key(|range| range.start);
        ranges.retain(|range| !range.is_empty());
        ranges
    }

    /// Blocks of the whole file, given as `file`, whose bytes do not have their checksum.
    pub fn damaged(&self, file: &[u8]) -> Vec<Range<u64>> {
        let mut damaged = Vec::new();
        for entry in self.entries() {
            for (block, &crc) in (0..).zip(&entry.block_crcs) {
                let start = entry.offset + block * BLOCK_BYTES;
                let end = (start + BLOCK_BYTES).min(entry.offset + entry.len);
                let bytes = file.get(start as usize..end as usize);
                if bytes.is_none_or(|bytes| crc32c::crc32c(bytes) != crc) {
                    damaged.push(start..end);
                }
            }
        }
        damaged
    }
}

/// The stage that reads sections of a kind; some are read by whole exports only.
fn stage_of(kind: SectionKind) -> Option<Stage> {
    match kind {
        SectionKind::Deletes => Some(Stage::Header),
        SectionKind::CellTable => Some(Stage::ListTables),
        SectionKind::Cells => Some(Stage::Codes),
        SectionKind::Ids
        | SectionKind::Columns
        | SectionKind::IdBloom
        | SectionKind::InverseNorms
        | SectionKind::Vectors
        | SectionKind::Metadata => Some(Stage::Rows),
        SectionKind::Schema
        | SectionKind::Stats
        | SectionKind::Graph
        | SectionKind::Codes
        | SectionKind::Unknown(_) => None,
    }
}
