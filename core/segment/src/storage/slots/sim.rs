//! `SimSlots`: a simulated pool of slots that loses power, fails and fills up on command (feature `testing`).
//! The crash tests run `SlotStorage` on it.
//!
//! Between two flushes of a file any of its sectors may be on the medium as it was at any moment, and so may
//! its length. What a failed flush lost stays lost until it is written again. Every primitive that changes
//! something has a number, as on the simulated disk. Reads do not fail, and slots once added are durable.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{self, ErrorKind};
use std::ops::Range;
use std::sync::{Arc, Mutex, MutexGuard};

use super::{SlotId, Slots};
use crate::rng::Rng;
use crate::storage::Failure;

/// Smaller than any real one, so that even a short header can be torn.
const SECTOR_BYTES: usize = 32;
type Sector = [u8; SECTOR_BYTES];

/// The pool. Clones are the same pool.
#[derive(Debug, Clone)]
pub struct SimSlots {
    state: Arc<Mutex<State>>,
}

#[derive(Debug)]
struct State {
    rng: Rng,
    files: Vec<File>,
    log: Vec<String>,
    failures: BTreeMap<u64, Failure>,
    /// Flushes that say they did something and did nothing.
    ignored: BTreeSet<u64>,
    flush_count: u64,
    capacity_bytes: Option<usize>,
    down: bool,
}

#[derive(Debug, Clone, Default)]
struct File {
    live: Vec<u8>,
    durable: Vec<u8>,
    /// What each sector has been since it was durable, newest last.
    versions: BTreeMap<usize, Vec<Sector>>,
    /// How long the file has been since then.
    lens: Vec<usize>,
    /// Sectors whose live bytes no flush makes durable: a failed one took them for written.
    holes: BTreeSet<usize>,
}

impl SimSlots {
    /// A pool of empty files; `seed` decides what a failure leaves open.
    pub fn new(seed: u64, count: usize) -> Self {
        SimSlots::with(seed, vec![File::default(); count])
    }

    fn with(seed: u64, files: Vec<File>) -> Self {
        let state = State {
            rng: Rng::new(seed),
            files,
            log: Vec::new(),
            failures: BTreeMap::new(),
            ignored: BTreeSet::new(),
            flush_count: 0,
            capacity_bytes: None,
            down: false,
        };
        SimSlots { state: Arc::new(Mutex::new(state)) }
    }

    /// The pool after a power cut now (or at the crash that has happened). This one stays down.
    #[must_use]
    pub fn restart(&self, seed: u64) -> SimSlots {
        let mut state = self.state();
        state.down = true;
        let mut rng = Rng::new(seed);
        let files = state.files.iter().map(|file| file.after_power_cut(&mut rng)).collect();
        SimSlots::with(rng.next_u64(), files)
    }

    /// The pool after its process was killed with the power on: what was written is visible, and not durable
    /// unless it was before.
    #[must_use]
    pub fn kill(&self, seed: u64) -> SimSlots {
        let mut state = self.state();
        state.down = true;
        SimSlots::with(seed, state.files.clone())
    }

    /// Adds empty files.
    pub fn add(&self, count: usize) {
        let mut state = self.state();
        let len = state.files.len() + count;
        state.files.resize_with(len, File::default);
    }

    /// Makes the primitive with this number fail; the first one is 0.
    pub fn fail_at(&self, op_index: u64, failure: Failure) {
        self.state().failures.insert(op_index, failure);
    }

    /// Makes the flush with this number, counted from now, do nothing and return `Ok`.
    pub fn ignore_flush(&self, flush_index: u64) {
        let mut state = self.state();
        let flush = state.flush_count + flush_index;
        state.ignored.insert(flush);
    }

    /// Limits the bytes of all files.
    pub fn set_capacity(&self, capacity_bytes: usize) {
        self.state().capacity_bytes = Some(capacity_bytes);
    }

    /// Bytes of all files.
    pub fn used_bytes(&self) -> usize {
        self.state().files.iter().map(|file| file.live.len()).sum()
    }

    /// Number of primitives so far.
    pub fn op_count(&self) -> u64 {
        self.state().log.len() as u64
    }

    /// The primitives so far, as `flush 3`.
    pub fn op_log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// Changes the bytes of a file outside the storage, durably.
    ///
    /// # Panics
    /// If there is no such slot.
    pub fn edit(&self, slot: SlotId, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let file = &mut state.files[slot.0 as usize];
        let mut live = file.live.clone();
        change(&mut live);
        *file = File { durable: live.clone(), live, ..File::default() };
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the pool is held")
    }

    /// Counts a primitive and says how it is to fail, if it is.
    fn begin(&self, op: String) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.state();
        if state.down {
            return Err(error_of(Failure::Crash));
        }
        let failure = state.failures.get(&(state.log.len() as u64)).copied();
        state.log.push(op);
        state.down = failure == Some(Failure::Crash);
        Ok((state, failure))
    }
}

impl Slots for SimSlots {
    fn count(&self) -> u32 {
        self.state().files.len() as u32
    }

    fn len(&self, slot: SlotId) -> io::Result<u64> {
        Ok(self.state().files[slot.0 as usize].live.len() as u64)
    }

    fn read(&self, slot: SlotId, offset: u64, out: &mut [u8]) -> io::Result<()> {
        let state = self.state();
        let start = offset as usize;
        let bytes = state.files[slot.0 as usize].live.get(start..start + out.len());
        out.copy_from_slice(bytes.ok_or(ErrorKind::UnexpectedEof)?);
        Ok(())
    }

    fn write(&self, slot: SlotId, offset: u64, bytes: &[u8]) -> io::Result<()> {
        let op = format!("write {} at {offset} ({} bytes)", slot.0, bytes.len());
        let (mut state, failure) = self.begin(op)?;
        let room = state.room(slot, offset as usize + bytes.len());
        let failure = failure.or((room < bytes.len()).then_some(Failure::Full));
        let done = match failure {
            None => bytes.len(),
            Some(_) => state.rng.below(room.min(bytes.len()) as u64 + 1) as usize,
        };
        state.files[slot.0 as usize].write(offset as usize, &bytes[..done]);
        failure.map_or(Ok(()), |failure| Err(error_of(failure)))
    }

    fn truncate(&self, slot: SlotId, len_bytes: u64) -> io::Result<()> {
        let (mut state, failure) = self.begin(format!("truncate {} to {len_bytes}", slot.0))?;
        let happens = failure.is_none() || state.rng.below(2) == 0;
        let file = &mut state.files[slot.0 as usize];
        if happens {
            file.truncate(len_bytes as usize);
        }
        failure.map_or(Ok(()), |failure| Err(error_of(failure)))
    }

    fn flush(&self, slot: SlotId) -> io::Result<()> {
        let (mut state, failure) = self.begin(format!("flush {}", slot.0))?;
        let number = state.flush_count;
        state.flush_count += 1;
        let State { files, rng, ignored, .. } = &mut *state;
        let file = &mut files[slot.0 as usize];
        match failure {
            None if ignored.contains(&number) => {}
            None => file.flush(),
            Some(Failure::Crash) if rng.below(2) == 0 => file.flush(),
            Some(Failure::Crash) => {}
            Some(Failure::Io | Failure::Full) => file.fail_flush(rng),
        }
        failure.map_or(Ok(()), |failure| Err(error_of(failure)))
    }
}

impl State {
    /// Bytes of a write up to `end` in `slot` for which there is space, if it is too long for all.
    fn room(&self, slot: SlotId, end: usize) -> usize {
        let Some(capacity_bytes) = self.capacity_bytes else { return usize::MAX };
        let used: usize = self.files.iter().map(|file| file.live.len()).sum();
        let grows = end.saturating_sub(self.files[slot.0 as usize].live.len());
        let free = capacity_bytes.saturating_sub(used);
        if grows <= free { usize::MAX } else { free }
    }
}

impl File {
    fn write(&mut self, offset: usize, bytes: &[u8]) {
        let end = offset + bytes.len();
        if end > self.live.len() {
            self.live.resize(end, 0);
            self.lens.push(end);
        }
        self.live[offset..end].copy_from_slice(bytes);
        self.touch(offset..end);
    }

    fn truncate(&mut self, len: usize) {
        let old = self.live.len();
        self.live.resize(len, 0);
        self.lens.push(len);
        // Its last sector is written with zeros behind the new end.
        self.touch(len.min(old)..old.max(len));
    }

    /// Notes what the sectors of a range are now.
    fn touch(&mut self, range: Range<usize>) {
        for sector in range.start / SECTOR_BYTES..range.end.div_ceil(SECTOR_BYTES) {
            let now = sector_of(&self.live, sector);
            self.versions.entry(sector).or_default().push(now);
            self.holes.remove(&sector);
        }
    }

    fn flush(&mut self) {
        let before = std::mem::replace(&mut self.durable, self.live.clone());
        for &sector in &self.holes {
            set_sector(&mut self.durable, sector, sector_of(&before, sector));
        }
        self.versions.clear();
        self.lens.clear();
    }

    fn fail_flush(&mut self, rng: &mut Rng) {
        let dirty: Vec<usize> = self.versions.keys().copied().collect();
        for sector in dirty {
            if rng.below(2) == 0 {
                self.versions.remove(&sector);
                self.holes.insert(sector);
            }
        }
    }

    fn after_power_cut(&self, rng: &mut Rng) -> File {
        // All old and all new are drawn often enough to be met.
        let mode = rng.below(4);
        let mut pick = |count: usize| match mode {
            0 => 0,
            1 => count,
            _ => rng.below(count as u64 + 1) as usize,
        };
        let len = match pick(self.lens.len()) {
            0 => self.durable.len(),
            number => self.lens[number - 1],
        };
        let mut left = self.durable.clone();
        left.resize(len, 0);
        for (&sector, versions) in &self.versions {
            if let number @ 1.. = pick(versions.len()) {
                set_sector(&mut left, sector, versions[number - 1]);
            }
        }
        File { live: left.clone(), durable: left, ..File::default() }
    }
}

/// Zeros behind the end of the file.
fn sector_of(bytes: &[u8], sector: usize) -> Sector {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    let mut out = [0; SECTOR_BYTES];
    out[..end - start].copy_from_slice(&bytes[start..end]);
    out
}

/// As much of it as lies within the file.
fn set_sector(bytes: &mut [u8], sector: usize, content: Sector) {
    let start = (sector * SECTOR_BYTES).min(bytes.len());
    let end = (start + SECTOR_BYTES).min(bytes.len());
    bytes[start..end].copy_from_slice(&content[..end - start]);
}

fn error_of(failure: Failure) -> io::Error {
    match failure {
        Failure::Crash => io::Error::other("simulated crash"),
        Failure::Io => io::Error::other("simulated input/output error"),
        Failure::Full => io::Error::new(ErrorKind::QuotaExceeded, "simulated full quota"),
    }
}
