//! `Verified`: which pieces of a blob were checked: a bit each, good until the blob forgets bytes. Held by
//! `Section` and `StoredLists`.
//!
//! Bytes that were taken out of a blob may come back as others. The blob counts such moments
//! ([`crate::storage::Blob::changes`]); what was checked before the last of them counts no more.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

/// A set of checked pieces.
#[derive(Debug)]
pub struct Verified {
    words: Vec<AtomicU64>,
    changes: AtomicU64,
    /// All were checked, of a blob that forgets nothing.
    is_complete: AtomicBool,
}

impl Verified {
    /// None of `count` pieces.
    pub fn new(count: usize) -> Self {
        let words: Vec<AtomicU64> = (0..count.div_ceil(64)).map(|_| AtomicU64::new(0)).collect();
        // Bits without a piece do not stand in the way of a whole word.
        if let Some(last) = words.last().filter(|_| !count.is_multiple_of(64)) {
            last.store(u64::MAX << (count % 64), Ordering::Relaxed);
        }
        Verified { words, changes: AtomicU64::new(0), is_complete: AtomicBool::new(false) }
    }

    /// True if the piece was checked since the blob last forgot bytes, which it has done `changes` times.
    pub fn has(&self, piece: usize, changes: u64) -> bool {
        if self.changes.load(Ordering::Relaxed) != changes
            && self.changes.swap(changes, Ordering::Relaxed) != changes
        {
            self.words.iter().for_each(|word| word.store(0, Ordering::Relaxed));
        }
        self.words[piece / 64].load(Ordering::Relaxed) >> (piece % 64) & 1 == 1
    }

    /// True if the piece was checked, of a blob that forgets nothing.
    #[inline]
    pub fn has_ever(&self, piece: usize) -> bool {
        self.words[piece / 64].load(Ordering::Relaxed) >> (piece % 64) & 1 == 1
    }

    /// True if all pieces were checked, of a blob that forgets nothing.
    pub fn is_complete(&self) -> bool {
        if !self.is_complete.load(Ordering::Relaxed) {
            let mut words = self.words.iter().map(|word| word.load(Ordering::Relaxed));
            if !words.all(|word| word == u64::MAX) {
                return false;
            }
            self.is_complete.store(true, Ordering::Relaxed);
        }
        true
    }

    /// The piece was checked.
    pub fn add(&self, piece: usize) {
        self.words[piece / 64].fetch_or(1 << (piece % 64), Ordering::Relaxed);
    }
}
