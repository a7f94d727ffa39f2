//! `Entries`: the names and directories of `SimDisk` (`sim`): what processes see, what is durable, and the
//! changes in between. `after_power_cut` computes which names survive.
//!
//! A change of a directory becomes durable with the next sync of that directory; until then a power cut
//! keeps or loses it, each independently, under two rules of journalling file systems:
//!
//! * changes of one name happen in order: a kept one implies the earlier ones of its names;
//! * a rename is atomic: its file is never under neither name. Between two directories the new name is
//!   durable with a sync of the new directory, the removal of the old one with a sync of the old one *as
//!   well*; the old directory's sync alone settles nothing.

use std::collections::BTreeMap;
use std::io::{self, ErrorKind};

use super::super::name::{join, parent};
use crate::rng::Rng;
use crate::storage::disk::DirectoryEntry;

/// Number of a file, whatever its names.
pub(super) type Inode = u64;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Node {
    File(Inode),
    Dir,
}

pub(super) type Names = BTreeMap<String, Node>;

#[derive(Debug, Clone)]
enum Change {
    Add { path: String, node: Node },
    Remove { path: String, node: Node },
    Move { from: String, to: String, node: Node, old_synced: bool },
}

#[derive(Debug, Clone)]
struct Pending {
    change: Change,
    /// A failed sync forgot it: later syncs do not make it durable.
    forgotten: bool,
}

#[derive(Debug, Clone, Default)]
pub(super) struct Entries {
    live: Names,
    durable: Names,
    pending: Vec<Pending>,
}

impl Entries {
    /// Names that a power cut cannot change.
    pub(super) fn settled(names: Names) -> Self {
        Entries { live: names.clone(), durable: names, pending: Vec::new() }
    }

    /// The file of that name.
    pub(super) fn file(&self, path: &str) -> io::Result<Inode> {
        match self.live.get(path) {
            Some(Node::File(inode)) => Ok(*inode),
            Some(Node::Dir) => Err(ErrorKind::IsADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }

    /// Whether a name may be made: its directory is there, and nothing has the name.
    pub(super) fn check_new(&self, path: &str) -> io::Result<()> {
        self.check_parent(path)?;
        if self.live.contains_key(path) { Err(ErrorKind::AlreadyExists.into()) } else { Ok(()) }
    }

    pub(super) fn add(&mut self, path: &str, node: Node) -> io::Result<()> {
        self.check_new(path)?;
        self.live.insert(path.to_owned(), node);
        self.push(Change::Add { path: path.to_owned(), node });
        Ok(())
    }

    pub(super) fn unlink(&mut self, path: &str) -> io::Result<()> {
        let node = Node::File(self.file(path)?);
        self.live.remove(path);
        self.push(Change::Remove { path: path.to_owned(), node });
        Ok(())
    }

    /// Removes an empty directory.
    pub(super) fn remove_dir(&mut self, path: &str) -> io::Result<()> {
        if !self.list(path)?.is_empty() {
            return Err(ErrorKind::DirectoryNotEmpty.into());
        }
        self.live.remove(path);
        self.push(Change::Remove { path: path.to_owned(), node: Node::Dir });
        Ok(())
    }

    pub(super) fn rename(&mut self, from: &str, to: &str, replace: bool) -> io::Result<()> {
        let node = Node::File(self.file(from)?);
        self.check_parent(to)?;
        match self.live.get(to) {
            Some(_) if !replace => return Err(ErrorKind::AlreadyExists.into()),
            Some(Node::Dir) => return Err(ErrorKind::IsADirectory.into()),
            Some(Node::File(_)) | None => {}
        }
        self.live.remove(from);
        self.live.insert(to.to_owned(), node);
        let (from, to) = (from.to_owned(), to.to_owned());
        self.push(Change::Move { from, to, node, old_synced: false });
        Ok(())
    }

    pub(super) fn list(&self, dir: &str) -> io::Result<Vec<DirectoryEntry>> {
        self.check_dir(dir)?;
        let prefix = join(dir, "");
        let below = self.live.range(prefix.clone()..).map_while(|(path, node)| {
            path.strip_prefix(&prefix).map(|name| (name.to_owned(), *node == Node::Dir))
        });
        let direct = below.filter(|(name, _)| !name.contains('/'));
        Ok(direct.map(|(name, is_dir)| DirectoryEntry { name, is_dir }).collect())
    }

    /// Makes the changes of `dir` durable.
    pub(super) fn sync(&mut self, dir: &str) -> io::Result<()> {
        self.check_dir(dir)?;
        let split = std::mem::take(&mut self.pending).into_iter().flat_map(|p| p.seen_by_sync(dir));
        self.pending = split.collect();
        let keep: Vec<bool> = self.pending.iter().map(|p| p.is_settled_by_sync(dir)).collect();
        self.commit(keep);
        Ok(())
    }

    /// A sync that fails: by chance, changes of `dir` are forgotten.
    pub(super) fn fail_sync(&mut self, dir: &str, rng: &mut Rng) {
        for pending in &mut self.pending {
            if pending.change.paths().any(|path| parent(path) == dir) && rng.below(2) == 0 {
                pending.forgotten = true;
            }
        }
    }

    /// The names after power-up: none, all, or any of the pending changes happened.
    pub(super) fn after_power_cut(&self, rng: &mut Rng) -> Names {
        let mut left = self.clone();
        let fate = rng.below(4);
        let kept = |rng: &mut Rng| match fate {
            0 => false,
            1 => true,
            _ => rng.below(2) == 0,
        };
        let keep = self.pending.iter().map(|_| kept(rng)).collect();
        left.commit(keep);
        drop_unreachable(left.durable)
    }

    /// Files that have a name now, or may have one after a power cut.
    pub(super) fn inodes(&self) -> impl Iterator<Item = Inode> {
        let pending = self.pending.iter().map(|pending| pending.change.node());
        let named = self.live.values().chain(self.durable.values()).copied();
        named.chain(pending).filter_map(inode_of)
    }

    /// Files that have a name now; one with several comes several times.
    pub(super) fn live_inodes(&self) -> impl Iterator<Item = Inode> {
        self.live.values().copied().filter_map(inode_of)
    }

    fn push(&mut self, change: Change) {
        self.pending.push(Pending { change, forgotten: false });
    }

    /// Applies the changes marked in `keep`, and the earlier ones of their names, to the durable state.
    fn commit(&mut self, mut keep: Vec<bool>) {
        for later in (0..keep.len()).rev().filter(|&i| keep[i]).collect::<Vec<_>>() {
            self.keep_earlier(later, &mut keep);
        }
        let mut keep = keep.into_iter();
        let durable = &mut self.durable;
        self.pending.retain(|pending| {
            let kept = keep.next().expect("one mark per change");
            if kept {
                pending.change.apply(durable);
            }
            !kept
        });
    }

    fn keep_earlier(&self, later: usize, keep: &mut [bool]) {
        for earlier in (0..later).rev() {
            let shares = |path: &str| self.pending[later].change.paths().any(|other| other == path);
            if !keep[earlier] && self.pending[earlier].change.paths().any(shares) {
                keep[earlier] = true;
                self.keep_earlier(earlier, keep);
            }
        }
    }

    fn check_parent(&self, path: &str) -> io::Result<()> {
        self.check_dir(parent(path))
    }

    fn check_dir(&self, dir: &str) -> io::Result<()> {
        match self.live.get(dir) {
            _ if dir.is_empty() => Ok(()),
            Some(Node::Dir) => Ok(()),
            Some(Node::File(_)) => Err(ErrorKind::NotADirectory.into()),
            None => Err(ErrorKind::NotFound.into()),
        }
    }
}

impl Pending {
    /// The change as it stands after a sync of `dir`: a rename between directories falls in two when its
    /// new directory is synced first, and remembers a sync of the old one.
    fn seen_by_sync(mut self, dir: &str) -> Vec<Pending> {
        let forgotten = self.forgotten;
        if let Change::Move { from, to, node, old_synced } = &mut self.change
            && !forgotten
            && parent(from) != parent(to)
        {
            if parent(from) == dir {
                *old_synced = true;
            } else if parent(to) == dir && !*old_synced {
                let add = Change::Add { path: to.clone(), node: *node };
                let remove = Change::Remove { path: from.clone(), node: *node };
                return [add, remove].map(|change| Pending { change, forgotten }).into();
            }
        }
        vec![self]
    }

    fn is_settled_by_sync(&self, dir: &str) -> bool {
        let place = match &self.change {
            Change::Add { path, .. } | Change::Remove { path, .. } => path,
            Change::Move { to, .. } => to,
        };
        !self.forgotten && parent(place) == dir
    }
}

impl Change {
    fn paths(&self) -> impl Iterator<Item = &str> {
        let (first, second) = match self {
            Change::Add { path, .. } | Change::Remove { path, .. } => (path, None),
            Change::Move { from, to, .. } => (from, Some(to)),
        };
        std::iter::once(first).chain(second).map(String::as_str)
    }

    fn node(&self) -> Node {
        match self {
            Change::Add { node, .. } | Change::Remove { node, .. } | Change::Move { node, .. } => {
                *node
            }
        }
    }

    fn apply(&self, names: &mut Names) {
        match self {
            Change::Add { path, node } => {
                names.insert(path.clone(), *node);
            }
            Change::Remove { path, node } => remove_if(names, path, *node),
            Change::Move { from, to, node, .. } => {
                remove_if(names, from, *node);
                names.insert(to.clone(), *node);
            }
        }
    }
}

fn remove_if(names: &mut Names, path: &str, node: Node) {
    if names.get(path) == Some(&node) {
        names.remove(path);
    }
}

fn inode_of(node: Node) -> Option<Inode> {
    match node {
        Node::File(inode) => Some(inode),
        Node::Dir => None,
    }
}

/// A directory whose own name was lost takes with it what is in it.
fn drop_unreachable(names: Names) -> Names {
    let mut reachable = Names::new();
    // Parents sort before what is in them.
    for (path, node) in names {
        let above = parent(&path);
        if above.is_empty() || reachable.get(above) == Some(&Node::Dir) {
            reachable.insert(path, node);
        }
    }
    reachable
}
