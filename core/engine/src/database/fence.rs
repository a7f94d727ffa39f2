//! `Fence`: protects a database from a second writer. `Fenced` is a `Storage` that refuses changes once the lock file
//! is no longer the one that the writer locked. Made by `Database` when it is opened for writing.
//!
//! A lock belongs to a file, not to a name: once the file is removed or replaced, another process can lock the new
//! one and become a writer too. Each change looks first, and is refused from then on. A change that is under way
//! at that moment is not stopped; the manifest and log of two writers then differ in their epochs.

use std::sync::{Arc, PoisonError, RwLock};

use nearfield_segment::storage::{Appender, Blob, Fill, Lock, LockMode, Storage};
use nearfield_segment::{Error, ErrorKind, Result};

/// The lock that changes need, until it is given up.
#[derive(Debug)]
pub(crate) struct Fence(RwLock<Option<Box<dyn Lock>>>);

impl Fence {
    /// Gives the lock up, even if other handles to the storage exist: no change succeeds from now on.
    pub(crate) fn give_up(&self) {
        drop(self.0.write().unwrap_or_else(PoisonError::into_inner).take());
    }

    fn check(&self) -> Result<()> {
        match &*self.0.read().unwrap_or_else(PoisonError::into_inner) {
            Some(lock) => lock.check(),
            None => Err(Error::new(ErrorKind::ReadOnly, "the database was closed")),
        }
    }
}

/// A storage and the lock that its changes need.
#[derive(Debug)]
pub(crate) struct Fenced {
    inner: Arc<dyn Storage>,
    lock: Arc<Fence>,
}

impl Fenced {
    /// Changes of `inner` need `lock` from now on.
    pub(crate) fn new(inner: Arc<dyn Storage>, lock: Box<dyn Lock>) -> Fenced {
        Fenced { inner, lock: Arc::new(Fence(RwLock::new(Some(lock)))) }
    }

    /// What its changes need.
    pub(crate) fn fence(&self) -> Arc<Fence> {
        Arc::clone(&self.lock)
    }
}

impl Storage for Fenced {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        self.inner.open(name)
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        self.lock.check()?;
        self.inner.put(name, fill)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.lock.check()?;
        self.inner.put_new(name, bytes)
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        self.lock.check()?;
        let (inner, lock) = (self.inner.append_new(name)?, Arc::clone(&self.lock));
        Ok(Box::new(FencedAppender { inner, lock }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.inner.list(dir)
    }

    fn directories(&self, dir: &str) -> Result<Vec<String>> {
        self.inner.directories(dir)
    }

    fn names(&self, dir: &str) -> Result<Vec<String>> {
        self.inner.names(dir)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.lock.check()?;
        self.inner.rename(from, to)
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        self.lock.check()?;
        self.inner.link(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.lock.check()?;
        self.inner.remove(name)
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        self.lock.check()?;
        self.inner.remove_durably(dir, names)
    }

    fn remove_directory(&self, dir: &str) -> Result<bool> {
        self.lock.check()?;
        self.inner.remove_directory(dir)
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.inner.free_bytes()
    }

    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        self.inner.lock(name, mode, owner)
    }

    fn settle(&self, dir: &str) -> Result<usize> {
        self.lock.check()?;
        self.inner.settle(dir)
    }

    fn settle_names(&self, dir: &str) -> Result<usize> {
        self.lock.check()?;
        self.inner.settle_names(dir)
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }
}

/// The end of a log file that may be written to under the lock.
#[derive(Debug)]
struct FencedAppender {
    inner: Box<dyn Appender>,
    lock: Arc<Fence>,
}

impl Appender for FencedAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        self.lock.check()?;
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        self.lock.check()?;
        self.inner.sync()
    }
}
