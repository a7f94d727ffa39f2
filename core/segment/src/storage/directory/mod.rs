//! `Directory`: the `Storage` in a directory of a disk, and the one place where the order of writes and syncs
//! is decided. Made by `open_directory` on the operating system's `Disk`, by tests on the simulated disk.
//!
//! | operation | order |
//! |---|---|
//! | `put` | temporary file, write, sync file, rename over the name, sync directory |
//! | `put_new` | the same with a rename that does not replace |
//! | `append_new` | create, sync file, sync directory |
//! | `rename` | rename, sync the new directory, sync the old one |
//! | `link` | hard link (else a copy as by `put_new`), sync directory |
//! | `remove_durably` | unlink, sync directory |
//! | new directory | make, sync its parent, before its first use |
//!
//! Content is durable before a name shows it, and the name before the call returns. A directory that is
//! already there is synced into its parent once per instance all the same: a process that was killed may
//! have made it without getting to the sync. For files such names are made durable by `settle`.
//!
//! Does not retry: after a failed sync the content of the disk is unknown.

use std::collections::BTreeSet;
use std::io;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};

use super::blob::BytesBlob;
use super::disk::{Disk, DiskFile, LockAttempt};
use super::name::{self, TEMPORARY_PREFIX};
use super::writing::{FileAppender, write_synced};
use super::{Appender, Blob, Fill, Lock, LockMode, Storage, refused};
use crate::error::{Error, Result};

#[cfg(test)]
mod tests;

/// [`Storage`] over a [`Disk`].
#[derive(Debug)]
pub struct Directory<D: Disk> {
    disk: D,
    /// Directories that are there and durable.
    ready: Mutex<BTreeSet<String>>,
    next_temporary: AtomicU64,
}

impl<D: Disk> Directory<D> {
    /// Storage in the root of `disk`, which exists and is durable. Touches nothing.
    pub fn new(disk: D) -> Self {
        Directory { disk, ready: Mutex::new(BTreeSet::new()), next_temporary: AtomicU64::new(0) }
    }

    fn ready(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.ready.lock().expect("nothing panics while the set is held")
    }

    /// Makes sure that `dir` and its parents exist and survive a power cut.
    fn ensure_dir(&self, dir: &str) -> Result<()> {
        if dir.is_empty() || self.ready().contains(dir) {
            return Ok(());
        }
        self.ensure_dir(name::parent(dir))?;
        match self.disk.make_dir(dir) {
            Err(error) if error.kind() != io::ErrorKind::AlreadyExists => {
                return Err(Error::io("create directory", dir, error));
            }
            _ => self.sync_dir(name::parent(dir))?,
        }
        self.ready().insert(dir.to_owned());
        Ok(())
    }

    fn sync_dir(&self, dir: &str) -> Result<()> {
        self.disk.sync_dir(dir).map_err(|e| Error::io("sync directory", shown(dir), e))
    }

    /// Writes a durable file under a temporary name in the directory of `name`; returns that name.
    fn write_temporary(&self, name: &str, fill: Fill<'_>) -> Result<String> {
        self.ensure_dir(name::parent(name))?;
        let (temporary, file) = self.create_temporary(name)?;
        match write_synced(file, name, fill) {
            Ok(()) => Ok(temporary),
            Err(error) => Err(self.abandon(&temporary, error)),
        }
    }

    fn create_temporary(&self, name: &str) -> Result<(String, D::File)> {
        loop {
            // Ends: the number grows past those of the leftovers, which are finitely many.
            let number = self.next_temporary.fetch_add(1, Ordering::Relaxed);
            let part = format!("{TEMPORARY_PREFIX}{number}");
            let temporary = name::join(name::parent(name), &part);
            match self.disk.create(&temporary) {
                Ok(file) => return Ok((temporary, file)),
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(error) => return Err(Error::io("create", name, error)),
            }
        }
    }

    /// Frees the space of a write that failed; what cannot be removed now is left to `settle`.
    fn abandon(&self, temporary: &str, error: Error) -> Error {
        let _left = self.disk.unlink(temporary);
        error
    }

    /// Gives a durable temporary file its name, which must be free.
    fn publish_new(&self, temporary: &str, name: &str) -> Result<()> {
        if let Err(error) = self.disk.rename_new(temporary, name) {
            return Err(self.abandon(temporary, Error::io("create", name, error)));
        }
        self.sync_dir(name::parent(name))
    }

    /// Names of the files or of the directories in `dir`.
    fn list_kind(&self, dir: &str, directories: bool) -> Result<Vec<String>> {
        let entries = match self.disk.list(dir) {
            Ok(entries) => entries,
            Err(error) if is_missing(&error) => return Ok(Vec::new()),
            Err(error) => return Err(Error::io("list", shown(dir), error)),
        };
        let wanted = entries
            .into_iter()
            .filter(|entry| entry.is_dir == directories && name::is_part(&entry.name));
        let mut names: Vec<String> = wanted.map(|entry| entry.name).collect();
        names.sort_unstable();
        Ok(names)
    }

    fn copy(&self, from: &str, to: &str) -> Result<()> {
        let bytes = self.disk.read(from).map_err(|e| open_error(from, e))?;
        self.put_new(to, &bytes)
    }

    /// As [`settle_one`](Directory::settle_one), of a directory that may be missing and whose own name may not be durable.
    fn settle_top(&self, dir: &str) -> Result<(usize, Vec<String>)> {
        name::check_directory(dir)?;
        match self.disk.list(dir) {
            Err(error) if is_missing(&error) => return Ok((0, Vec::new())),
            _ => self.ensure_dir(dir)?,
        }
        self.settle_one(dir)
    }

    /// Removes the leftovers in one directory and makes it durable. Returns how many there were, and
    /// the directories in it.
    fn settle_one(&self, dir: &str) -> Result<(usize, Vec<String>)> {
        let mut removed = 0;
        let mut inner = Vec::new();
        for entry in self.disk.list(dir).map_err(|e| Error::io("list", shown(dir), e))? {
            let path = name::join(dir, &entry.name);
            if entry.is_dir {
                inner.push(path);
            } else if name::is_temporary(&entry.name) {
                self.disk.unlink(&path).map_err(|e| Error::io("remove", &path, e))?;
                removed += 1;
            }
        }
        self.sync_dir(dir)?;
        Ok((removed, inner))
    }
}

impl<D: Disk> Storage for Directory<D> {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        name::check(name)?;
        let bytes = self.disk.read(name).map_err(|e| open_error(name, e))?;
        Ok(Arc::new(BytesBlob::new(name, bytes)))
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        name::check(name)?;
        let temporary = self.write_temporary(name, fill)?;
        if let Err(error) = self.disk.rename(&temporary, name) {
            return Err(self.abandon(&temporary, Error::io("replace", name, error)));
        }
        self.sync_dir(name::parent(name))
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        name::check(name)?;
        let temporary = self.write_temporary(name, &mut |out| {
            out.write_all(bytes).map_err(|e| Error::io("write", name, e))
        })?;
        self.publish_new(&temporary, name)
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        name::check(name)?;
        self.ensure_dir(name::parent(name))?;
        let mut file = self.disk.create(name).map_err(|e| Error::io("create", name, e))?;
        file.sync().map_err(|e| Error::io("sync", name, e))?;
        self.sync_dir(name::parent(name))?;
        Ok(Box::new(FileAppender::new(file, name)))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        self.list_kind(dir, false)
    }

    fn directories(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        self.list_kind(dir, true)
    }

    fn names(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        let mut names = match self.disk.names(dir) {
            Err(error) if is_missing(&error) => Vec::new(),
            listed => listed.map_err(|error| Error::io("list", shown(dir), error))?,
        };
        names.retain(|part| !name::is_temporary(part));
        names.sort_unstable();
        Ok(names)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        name::check(from)?;
        name::check(to)?;
        self.ensure_dir(name::parent(to))?;
        self.disk.rename_new(from, to).map_err(|e| pair_error("rename", from, to, e))?;
        self.sync_dir(name::parent(to))?;
        if name::parent(from) != name::parent(to) {
            self.sync_dir(name::parent(from))?;
        }
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        name::check(from)?;
        name::check(to)?;
        self.ensure_dir(name::parent(to))?;
        match self.disk.hard_link(from, to) {
            Ok(()) => self.sync_dir(name::parent(to)),
            Err(error) if has_no_links(&error) => self.copy(from, to),
            Err(error) => Err(pair_error("link", from, to, error)),
        }
    }

    fn remove(&self, name: &str) -> Result<()> {
        name::check(name)?;
        match self.disk.unlink(name) {
            Err(error) if !is_missing(&error) => Err(Error::io("remove", name, error)),
            _ => Ok(()),
        }
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        for part in names {
            self.remove(&name::join(dir, part))?;
        }
        match self.disk.sync_dir(dir) {
            Err(error) if names.is_empty() && is_missing(&error) => Ok(()),
            synced => synced.map_err(|error| Error::io("sync directory", shown(dir), error)),
        }
    }

    fn remove_directory(&self, dir: &str) -> Result<bool> {
        name::check(dir)?;
        self.ready().remove(dir);
        match self.disk.remove_dir(dir) {
            Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => Ok(false),
            Err(error) if !is_missing(&error) => Err(Error::io("remove directory", dir, error)),
            _ => Ok(true),
        }
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.disk.free_bytes().map_err(|e| Error::io("measure", "free space", e))
    }

    fn warnings(&self) -> Vec<String> {
        self.disk.warnings()
    }

    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        name::check(name)?;
        self.ensure_dir(name::parent(name))?;
        match self.disk.lock(name, mode, owner).map_err(|e| Error::io("lock", name, e))? {
            LockAttempt::Held(lock) => Ok(lock),
            LockAttempt::Refused { holder } => Err(refused(name, &holder)),
        }
    }

    fn settle(&self, dir: &str) -> Result<usize> {
        let (mut removed, mut waiting) = self.settle_top(dir)?;
        while let Some(dir) = waiting.pop() {
            let (count, inner) = self.settle_one(&dir)?;
            removed += count;
            waiting.extend(inner);
        }
        Ok(removed)
    }

    fn settle_names(&self, dir: &str) -> Result<usize> {
        Ok(self.settle_top(dir)?.0)
    }
}

fn shown(dir: &str) -> &str {
    if dir.is_empty() { "." } else { dir }
}

/// A path below a file is as missing as one below nothing.
fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

fn open_error(name: &str, error: io::Error) -> Error {
    let error =
        if is_missing(&error) { io::Error::new(io::ErrorKind::NotFound, error) } else { error };
    Error::io("open", name, error)
}

fn pair_error(action: &str, from: &str, to: &str, error: io::Error) -> Error {
    Error::io(action, &format!("{from} to {to}"), error)
}

/// How systems say that a medium has no hard links, that a file has too many, or that the two names
/// are on different media.
fn has_no_links(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::Unsupported
            | io::ErrorKind::PermissionDenied
            | io::ErrorKind::CrossesDevices
            | io::ErrorKind::TooManyLinks
    )
}
