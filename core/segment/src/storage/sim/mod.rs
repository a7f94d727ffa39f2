//! `SimDisk`: a simulated disk that loses power, fails and lies on command (feature `testing`). It implements
//! `Disk`; the crash tests of the engine open a `Directory` on it, cut the power (`restart`, `kill`) and open
//! the database again.
//!
//! It models what POSIX allows, not what a friendly kernel does: unsynced bytes are lost, kept or torn by
//! sector (`content`), unsynced names are lost or kept (`entries`), a file that was never synced may be gone
//! although its name is durable, and what a failed sync lost stays lost.
//!
//! Every primitive has a number, so that a test can run an operation once, count, and then fail each
//! primitive in turn. The same seed and the same calls give the same outcome; a seed is drawn from only
//! where something is undetermined. Reading through an open blob is no primitive: the bytes are a copy.
//!
//! A disk can also be full for good ([`SimDisk::set_full`]), drop its page cache ([`SimDisk::evict`]), rot
//! ([`SimDisk::edit`]) and lose whole files (by [`Disk::unlink`](super::Disk::unlink) from outside). Removing the
//! file of a lock frees its name, as on a real disk.
//!
//! Not modelled: more than one machine, order between directories, and bytes that change under an open blob.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::io::{self, ErrorKind, Write};
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::{DirectoryEntry, Disk, DiskFile, LockAttempt};
use super::locks::LockTable;
use super::name;
use super::{AlignedBuffer, Bytes, LockMode};
use crate::rng::Rng;
use content::Content;
use entries::{Entries, Inode, Names, Node};

mod content;
mod entries;
#[cfg(test)]
mod tests;

/// What a primitive can be made to do instead of succeeding.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Failure {
    /// The power fails: the primitive takes effect wholly, partly or not at all, and every later one fails
    /// until [`SimDisk::restart`].
    Crash,
    /// The medium fails (EIO). A write may have been done in part; after a failed sync unsynced data may be
    /// lost for good.
    Io,
    /// The medium is full (ENOSPC), as above.
    Full,
}

/// Which kind of sync a lying disk may leave out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SyncKind {
    /// Content of a file.
    File,
    /// Entries of a directory.
    Dir,
}

type Lie = Box<dyn Fn(SyncKind, &str) -> bool + Send>;

/// The disk. Clones are the same disk.
#[derive(Clone)]
pub struct SimDisk {
    state: Arc<Mutex<State>>,
}

struct State {
    rng: Rng,
    entries: Entries,
    contents: BTreeMap<Inode, Content>,
    next_inode: Inode,
    locks: LockTable,
    log: Vec<String>,
    failures: BTreeMap<u64, Failure>,
    lie: Option<Lie>,
    capacity_bytes: Option<u64>,
    /// Nothing that takes space succeeds: no byte, no name, no directory.
    full: bool,
    hard_links: bool,
    down: bool,
    /// What a failed sync of names leads to, if it is to be like a journal that aborts.
    aborts: bool,
    read_only: bool,
}

impl SimDisk {
    /// An empty disk; `seed` decides whatever a failing primitive leaves open.
    pub fn new(seed: u64) -> Self {
        SimDisk::boot(seed, Entries::default(), BTreeMap::new(), 0)
    }

    fn boot(
        seed: u64,
        entries: Entries,
        contents: BTreeMap<Inode, Content>,
        next_inode: Inode,
    ) -> Self {
        let state = State {
            rng: Rng::new(seed),
            entries,
            contents,
            next_inode,
            locks: LockTable::default(),
            log: Vec::new(),
            failures: BTreeMap::new(),
            lie: None,
            capacity_bytes: None,
            full: false,
            hard_links: true,
            down: false,
            aborts: false,
            read_only: false,
        };
        SimDisk { state: Arc::new(Mutex::new(state)) }
    }

    /// The disk after a power cut now (or at the crash that has happened) and power-up: locks, failures,
    /// capacity and lies are gone, primitives count from 0. This one stays down.
    #[must_use]
    pub fn restart(&self, seed: u64) -> SimDisk {
        let mut state = self.state();
        state.down = true;
        let mut rng = Rng::new(seed);
        let mut names = state.entries.after_power_cut(&mut rng);
        let contents = contents_after_power_cut(&state.contents, &mut names, &mut rng);
        SimDisk::boot(rng.next_u64(), Entries::settled(names), contents, state.next_inode)
    }

    /// The disk after its process was killed, with the power on: everything visible stays visible, and what
    /// was not durable still is not. Otherwise as [`restart`](SimDisk::restart).
    #[must_use]
    pub fn kill(&self, seed: u64) -> SimDisk {
        let mut state = self.state();
        state.down = true;
        SimDisk::boot(seed, state.entries.clone(), state.contents.clone(), state.next_inode)
    }

    /// Makes the primitive with this number fail; the first one is 0.
    pub fn fail_at(&self, op_index: u64, failure: Failure) {
        self.state().failures.insert(op_index, failure);
    }

    /// Number of primitives so far, which is the number of the next one.
    pub fn op_count(&self) -> u64 {
        self.state().log.len() as u64
    }

    /// The primitives so far, as `rename a b`; for messages.
    pub fn op_log(&self) -> Vec<String> {
        self.state().log.clone()
    }

    /// From now on syncs that `lie` says yes to return `Ok` and do nothing.
    pub fn ignore_sync(&self, lie: impl Fn(SyncKind, &str) -> bool + Send + 'static) {
        self.state().lie = Some(Box::new(lie));
    }

    /// Limits the bytes of all named files; writes beyond fail with ENOSPC.
    pub fn set_capacity(&self, capacity_bytes: u64) {
        self.state().capacity_bytes = Some(capacity_bytes);
    }

    /// Fills the disk to the last block, or frees space again: while it is full no byte can be written, and no file,
    /// directory, link or name in another directory can be made. Removing works.
    pub fn set_full(&self, full: bool) {
        self.state().full = full;
    }

    /// The page cache drops what is clean, also what a failed sync marked clean and never wrote. Blobs that are
    /// open keep what they have.
    pub fn evict(&self) {
        self.state().contents.values_mut().for_each(Content::evict);
    }

    /// From now on a failed sync of a directory makes the disk read-only, as a file system does whose journal
    /// aborts.
    pub fn abort_on_failed_sync_of_names(&self) {
        self.state().aborts = true;
    }

    /// From now on hard links are not supported.
    pub fn refuse_hard_links(&self) {
        self.state().hard_links = false;
    }

    /// Changes the bytes of a file outside the storage, durably: bit rot, or an editor.
    ///
    /// # Panics
    /// If there is no such file.
    pub fn edit(&self, path: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut state = self.state();
        let inode = state.entries.file(path).expect("the test names a file that is there");
        let mut bytes = state.contents.get(&inode).map_or(Vec::new(), |c| c.live().to_vec());
        change(&mut bytes);
        state.contents.insert(inode, Content::settled(bytes));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nothing panics while the disk is held")
    }

    /// Counts a primitive and says how it is to fail, if it is.
    fn begin(&self, op: String) -> io::Result<(MutexGuard<'_, State>, Option<Failure>)> {
        let mut state = self.state();
        if state.down {
            return Err(error_of(Failure::Crash));
        }
        let failure = state.failures.get(&(state.log.len() as u64)).copied();
        let reads = ["read ", "list ", "lock ", "free_bytes"];
        let refused = state.read_only && !reads.iter().any(|read| op.starts_with(read));
        state.log.push(op);
        if refused {
            return Err(ErrorKind::ReadOnlyFilesystem.into());
        }
        state.down = failure == Some(Failure::Crash);
        Ok((state, failure))
    }

    /// A primitive that happens or does not.
    fn act<T>(
        &self,
        op: String,
        effect: impl FnOnce(&mut State) -> io::Result<T>,
    ) -> io::Result<T> {
        let (mut state, failure) = self.begin(op)?;
        match failure {
            None => effect(&mut state),
            Some(failure) => {
                if failure == Failure::Crash && state.rng.below(2) == 0 {
                    // Whether it worked is the restarted disk's to show.
                    let _unseen = effect(&mut state);
                }
                Err(error_of(failure))
            }
        }
    }
}

impl fmt::Debug for SimDisk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SimDisk({} primitives)", self.op_count())
    }
}

impl Disk for SimDisk {
    type File = SimFile;

    fn create(&self, path: &str) -> io::Result<SimFile> {
        self.act(format!("create {path}"), |state| {
            let inode = state.create(path)?;
            Ok(SimFile { disk: self.clone(), inode, path: path.to_owned() })
        })
    }

    fn read(&self, path: &str) -> io::Result<Bytes> {
        self.act(format!("read {path}"), |state| {
            let missing = |_| io::Error::from(ErrorKind::NotFound);
            let inode = state.entries.file(path).map_err(missing)?;
            let live = state.contents.get(&inode).map_or(&[][..], Content::live);
            Ok(Bytes::from(AlignedBuffer::copy_of(live)))
        })
    }

    fn list(&self, dir: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.act(format!("list {dir}"), |state| state.entries.list(dir))
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        self.act(format!("rename {from} {to}"), |state| state.rename(from, to, true))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        self.act(format!("rename_new {from} {to}"), |state| state.rename(from, to, false))
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        self.act(format!("hard_link {from} {to}"), |state| {
            if !state.hard_links {
                return Err(ErrorKind::Unsupported.into());
            }
            let inode = state.entries.file(from)?;
            state.add(to, Node::File(inode))
        })
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        self.act(format!("unlink {path}"), |state| {
            state.entries.unlink(path)?;
            state.locks.forget(path);
            Ok(())
        })
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        self.act(format!("make_dir {path}"), |state| state.add(path, Node::Dir))
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        self.act(format!("remove_dir {path}"), |state| state.entries.remove_dir(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        let (mut state, failure) = self.begin(format!("sync_dir {path}"))?;
        if failure.is_none() && state.lies(SyncKind::Dir, path) {
            return Ok(());
        }
        let State { entries, rng, .. } = &mut *state;
        match failure {
            None => {
                entries.sync(path)?;
                state.forget_unreachable();
                Ok(())
            }
            Some(Failure::Crash) => {
                if rng.below(2) == 0 {
                    entries.sync(path)?;
                }
                Err(error_of(Failure::Crash))
            }
            Some(failure) => {
                entries.fail_sync(path, rng);
                state.read_only = state.aborts;
                Err(error_of(failure))
            }
        }
    }

    fn free_bytes(&self) -> io::Result<Option<u64>> {
        self.act("free_bytes".to_owned(), |state| Ok(state.free_bytes()))
    }

    fn lock(&self, path: &str, mode: LockMode, owner: &str) -> io::Result<LockAttempt> {
        self.act(format!("lock {path}"), |state| {
            if state.entries.file(path).is_err() {
                let inode = state.create(path)?;
                // Its name is not durable yet.
                state.contents.entry(inode).or_default().sync();
            }
            Ok(state.locks.attempt(path, mode, owner))
        })
    }
}

impl State {
    fn create(&mut self, path: &str) -> io::Result<Inode> {
        let inode = self.next_inode;
        self.add(path, Node::File(inode))?;
        self.next_inode += 1;
        self.contents.insert(inode, Content::default());
        Ok(inode)
    }

    /// Makes a name. One that is there is refused as such before there is talk of space, as systems do.
    fn add(&mut self, path: &str, node: Node) -> io::Result<()> {
        self.entries.check_new(path)?;
        self.check_space()?;
        self.entries.add(path, node)
    }

    /// Within a directory a rename needs no space.
    fn rename(&mut self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        if name::parent(from) != name::parent(to) {
            self.entries.file(from)?;
            self.check_space()?;
        }
        self.entries.rename(from, to, replace)
    }

    fn check_space(&self) -> io::Result<()> {
        if self.full { Err(error_of(Failure::Full)) } else { Ok(()) }
    }

    /// Appends what there is room for; a file without names keeps nothing.
    fn append(&mut self, inode: Inode, bytes: &[u8]) -> io::Result<usize> {
        let room = if self.full { 0 } else { self.free_bytes().unwrap_or(u64::MAX) };
        let len = bytes.len().min(usize::try_from(room).unwrap_or(usize::MAX));
        if len == 0 && !bytes.is_empty() {
            return Err(error_of(Failure::Full));
        }
        if let Some(content) = self.contents.get_mut(&inode) {
            content.append(&bytes[..len]);
        }
        Ok(len)
    }

    fn free_bytes(&self) -> Option<u64> {
        let capacity_bytes = self.capacity_bytes?;
        let named: BTreeSet<Inode> = self.entries.live_inodes().collect();
        let contents = named.iter().filter_map(|inode| self.contents.get(inode));
        let used: u64 = contents.map(|content| content.live().len() as u64).sum();
        Some(capacity_bytes.saturating_sub(used))
    }

    fn lies(&self, kind: SyncKind, path: &str) -> bool {
        self.lie.as_ref().is_some_and(|lie| lie(kind, path))
    }

    fn forget_unreachable(&mut self) {
        let reachable: BTreeSet<Inode> = self.entries.inodes().collect();
        self.contents.retain(|inode, _| reachable.contains(inode));
    }
}

/// A file of a [`SimDisk`] being written.
#[derive(Debug)]
pub struct SimFile {
    disk: SimDisk,
    inode: Inode,
    path: String,
}

impl Write for SimFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let op = format!("write {} ({} bytes)", self.path, bytes.len());
        let (mut state, failure) = self.disk.begin(op)?;
        let Some(failure) = failure else {
            return state.append(self.inode, bytes);
        };
        let done = state.rng.below(bytes.len() as u64 + 1) as usize;
        // How much was written before the failure is unknown to the caller either way.
        let _unseen = state.append(self.inode, &bytes[..done]);
        Err(error_of(failure))
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl DiskFile for SimFile {
    fn sync(&mut self) -> io::Result<()> {
        let (mut state, failure) = self.disk.begin(format!("sync_file {}", self.path))?;
        let ignored = failure.is_none() && state.lies(SyncKind::File, &self.path);
        let State { contents, rng, .. } = &mut *state;
        let Some(content) = contents.get_mut(&self.inode).filter(|_| !ignored) else {
            return failure.map_or(Ok(()), |failure| Err(error_of(failure)));
        };
        match failure {
            None => content.sync(),
            Some(Failure::Crash) if rng.below(2) == 0 => content.sync(),
            Some(Failure::Crash) => {}
            Some(Failure::Io | Failure::Full) => content.fail_sync(rng),
        }
        failure.map_or(Ok(()), |failure| Err(error_of(failure)))
    }
}

/// Contents for the names that survived; names of files that did not are taken away.
fn contents_after_power_cut(
    contents: &BTreeMap<Inode, Content>,
    names: &mut Names,
    rng: &mut Rng,
) -> BTreeMap<Inode, Content> {
    let mut left = BTreeMap::new();
    for (inode, content) in contents {
        if names.values().any(|node| *node == Node::File(*inode))
            && let Some(bytes) = content.after_power_cut(rng)
        {
            left.insert(*inode, Content::settled(bytes));
        }
    }
    names.retain(|_, node| match node {
        Node::File(inode) => left.contains_key(inode),
        Node::Dir => true,
    });
    left
}

fn error_of(failure: Failure) -> io::Error {
    match failure {
        Failure::Crash => io::Error::other("simulated crash"),
        Failure::Io => io::Error::other("simulated input/output error"),
        Failure::Full => io::Error::new(ErrorKind::StorageFull, "simulated full disk"),
    }
}
