//! The section table as a map: `Sections` finds the sections of an opened file by `SectionKey` (kind, field, ordinal);
//! `Content` is a section before it is written. Used by `Segment::open` and `SegmentBuilder`. Not here: reading a
//! section (`section`), the layout of the table (`front`).

use std::ops::Deref;
use std::sync::Arc;

use crate::error::{Error, Result};
use crate::storage::Bytes;

use super::front::{SectionEntry, SectionKind};
use super::section::{Residence, Section};

/// Which section of a segment; no two have the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct SectionKey {
    /// What it holds.
    pub kind: SectionKind,
    /// Which vector field, by position in name order; 0 where there is none.
    pub field: u16,
    /// How a kind with several encodings is encoded.
    pub encoding: u16,
    /// Distinguishes several sections of one kind and field.
    pub ordinal: u32,
}

impl SectionKey {
    /// The one section of a kind, of no field.
    pub fn of(kind: SectionKind) -> Self {
        SectionKey::of_field(kind, 0)
    }

    /// The one section of a kind and field.
    pub fn of_field(kind: SectionKind, field: u16) -> Self {
        SectionKey { kind, field, encoding: 0, ordinal: 0 }
    }
}

impl SectionEntry {
    /// Which section it is.
    pub fn key(&self) -> SectionKey {
        let SectionEntry { kind, field, encoding, ordinal, .. } = *self;
        SectionKey { kind, field, encoding, ordinal }
    }
}

/// The sections of a segment.
#[derive(Debug, Clone, Copy)]
pub struct Sections<'a> {
    /// What the file is called in errors.
    pub name: &'a str,
    /// All of them.
    pub sections: &'a [Arc<Section>],
    /// Rows of the segment.
    pub rows: u32,
    /// Where the bytes that searches read should be.
    pub residence: Residence,
}

impl<'a> Sections<'a> {
    /// The section of this key.
    pub fn find(&self, key: SectionKey) -> Option<&'a Arc<Section>> {
        self.sections.iter().find(|section| section.entry().key() == key)
    }

    /// The section of this key, which must be there.
    ///
    /// # Errors
    /// `Corrupt` if it is not.
    pub fn get(&self, key: SectionKey) -> Result<&'a Arc<Section>> {
        self.find(key).ok_or_else(|| {
            let SectionKey { kind, field, .. } = key;
            let found = format!("no section {kind} of field {field}");
            Error::corrupt(self.name, "section table", found)
        })
    }

    /// True if nothing is read before it is used.
    pub fn on_demand(&self) -> bool {
        self.residence == Residence::OnDemand
    }

    /// All bytes of a section that must be there.
    ///
    /// # Errors
    /// `Corrupt` if it is not, or is damaged; what the blob returns.
    pub fn required(&self, key: SectionKey) -> Result<Bytes> {
        self.get(key)?.read_all(self.residence)
    }
}

/// Bytes of a section or of a part of it, freed once they are copied to the file.
type Piece = Box<dyn Deref<Target = [u8]>>;

/// What a section will hold: the pieces one after the other.
pub(crate) struct Content {
    pub(crate) key: SectionKey,
    pub(crate) pieces: Vec<Piece>,
}

impl Content {
    pub(crate) fn of(key: SectionKey, bytes: impl Deref<Target = [u8]> + 'static) -> Content {
        Content { key, pieces: vec![Box::new(bytes)] }
    }

    pub(crate) fn len(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.len() as u64).sum()
    }
}
