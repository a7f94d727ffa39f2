//! `Content`: the bytes of one file of `SimDisk` (`sim`), what readers see, and what a power cut leaves of it
//! (`after_power_cut`).
//!
//! Files only grow, so the durable bytes are a prefix of the live ones, except for *holes*: sectors whose
//! pages a failed sync marked clean. Nothing writes those again, so they read as zeros after a power cut
//! however many syncs succeed later, until a new write touches their sector.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::rng::Rng;

const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    live: Vec<u8>,
    durable_len: usize,
    /// Whether the file itself, as opposed to a name of it, was ever synced.
    inode_durable: bool,
    /// Lost bytes by sector.
    holes: BTreeMap<usize, Range<usize>>,
}

impl Content {
    /// A file that a power cut cannot change.
    pub(super) fn settled(live: Vec<u8>) -> Self {
        let durable_len = live.len();
        Content { live, durable_len, inode_durable: true, holes: BTreeMap::new() }
    }

    /// What readers see.
    pub(super) fn live(&self) -> &[u8] {
        &self.live
    }

    pub(super) fn append(&mut self, bytes: &[u8]) {
        // The write makes its first page dirty again, and with it what a failed sync lost there.
        self.holes.remove(&(self.live.len() / SECTOR_BYTES));
        self.live.extend_from_slice(bytes);
    }

    pub(super) fn sync(&mut self) {
        self.durable_len = self.live.len();
        self.inode_durable = true;
    }

    /// A sync that fails: by chance, dirty sectors are lost and forgotten.
    pub(super) fn fail_sync(&mut self, rng: &mut Rng) {
        for (sector, range) in sectors(self.durable_len..self.live.len()) {
            if rng.below(2) == 0 {
                self.holes.insert(sector, range);
            }
        }
    }

    /// The page cache drops its clean pages, those that a failed sync lost among them: readers see the medium.
    pub(super) fn evict(&mut self) {
        for range in self.holes.values() {
            self.live[range.clone()].fill(0);
        }
    }

    /// The file after power-up: synced bytes as they are; of the rest nothing, all, or any sectors up to
    /// any length. `None` if the file was never synced and is gone although a name may be left.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Option<Vec<u8>> {
        if !self.inode_durable && rng.below(4) == 0 {
            return None;
        }
        let dirty = self.live.len() - self.durable_len;
        let mut left = self.live.clone();
        for range in self.holes.values() {
            left[range.clone()].fill(0);
        }
        match rng.below(4) {
            0 => left.truncate(self.durable_len),
            1 => {}
            _ => {
                left.truncate(self.durable_len + rng.below(dirty as u64 + 1) as usize);
                for (_, range) in sectors(self.durable_len..left.len()) {
                    if rng.below(2) == 0 {
                        left[range].fill(0);
                    }
                }
            }
        }
        Some(left)
    }
}

/// The sectors that `range` touches, each with its part of the range.
fn sectors(range: Range<usize>) -> impl Iterator<Item = (usize, Range<usize>)> {
    let numbers = range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES);
    numbers.filter_map(move |sector| {
        let start = range.start.max(sector * SECTOR_BYTES);
        let end = range.end.min((sector + 1) * SECTOR_BYTES);
        (start < end).then_some((sector, start..end))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn outcomes(content: &Content) -> Vec<Option<Vec<u8>>> {
        (0..200).map(|seed| content.after_power_cut(&mut Rng::new(seed))).collect()
    }

    #[test]
    fn synced_bytes_survive_and_later_ones_may_be_lost_kept_or_torn() {
        let mut content = Content::default();
        content.append(&[1; 700]);
        content.sync();
        content.append(&[2; 3000]);
        let outcomes = outcomes(&content);
        let lens: Vec<usize> = outcomes.iter().flatten().map(Vec::len).collect();
        assert_eq!(lens.len(), 200, "a synced file does not vanish");
        assert!(lens.contains(&700) && lens.contains(&3700), "lost and kept");
        for left in outcomes.iter().flatten() {
            assert_eq!(left[..700], [1; 700]);
        }
        let torn = |left: &&Vec<u8>| left[700..].contains(&0) && left[700..].contains(&2);
        assert!(outcomes.iter().flatten().any(|left| torn(&left)), "torn");
    }

    #[test]
    fn a_file_never_synced_may_be_gone_or_empty() {
        let mut content = Content::default();
        content.append(&[1; 10]);
        let outcomes = outcomes(&content);
        assert!(outcomes.contains(&None) && outcomes.contains(&Some(Vec::new())));
    }

    #[test]
    fn bytes_lost_by_a_failed_sync_stay_lost_after_a_good_one() {
        let mut lost = false;
        for seed in 0..20 {
            let mut content = Content::default();
            content.append(&[1; 2048]);
            content.fail_sync(&mut Rng::new(seed));
            content.sync();
            let left = content.after_power_cut(&mut Rng::new(seed)).expect("it was synced");
            lost |= left.contains(&0);
            assert_eq!(content.live(), [1; 2048], "the page cache hides it");
            content.evict();
            assert_eq!(content.live(), left, "until it drops the pages");
        }
        assert!(lost);
    }
}
