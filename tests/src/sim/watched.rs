//! Storage that calls a watcher before each operation.
//!
//! Names of files that are being written are hidden from a disk behind temporary ones; a watcher knows
//! the real ones. A watcher may also look at the store from outside, in the middle of anything.

use std::fmt;
use std::sync::Arc;

use nearfield_segment::Result;
use nearfield_segment::storage::{Appender, Blob, Fill, Lock, LockMode, Storage};

/// Called with the operation and the name it is about, before it happens.
pub type Watcher = Arc<dyn Fn(&'static str, &str) + Send + Sync>;

/// A storage and its watcher.
pub struct Watched {
    inner: Arc<dyn Storage>,
    watcher: Watcher,
}

impl Watched {
    /// Tells `watcher` about each call to `inner`.
    pub fn new(inner: Arc<dyn Storage>, watcher: Watcher) -> Watched {
        Watched { inner, watcher }
    }

    fn tell(&self, operation: &'static str, name: &str) {
        (self.watcher)(operation, name);
    }
}

impl fmt::Debug for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Watched({:?})", self.inner)
    }
}

impl Storage for Watched {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        self.tell("open", name);
        self.inner.open(name)
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        self.tell("put", name);
        self.inner.put(name, fill)
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.tell("put_new", name);
        self.inner.put_new(name, bytes)
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        self.tell("append_new", name);
        let (inner, watcher) = (self.inner.append_new(name)?, Arc::clone(&self.watcher));
        Ok(Box::new(WatchedAppender { inner, watcher, name: name.to_owned() }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        self.tell("list", dir);
        self.inner.list(dir)
    }

    fn directories(&self, dir: &str) -> Result<Vec<String>> {
        self.tell("directories", dir);
        self.inner.directories(dir)
    }

    fn names(&self, dir: &str) -> Result<Vec<String>> {
        self.tell("names", dir);
        self.inner.names(dir)
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.tell("rename", to);
        self.inner.rename(from, to)
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        self.tell("link", to);
        self.inner.link(from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.tell("remove", name);
        self.inner.remove(name)
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        self.tell("remove_durably", dir);
        self.inner.remove_durably(dir, names)
    }

    fn remove_directory(&self, dir: &str) -> Result<bool> {
        self.tell("remove_directory", dir);
        self.inner.remove_directory(dir)
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        self.inner.free_bytes()
    }

    fn warnings(&self) -> Vec<String> {
        self.inner.warnings()
    }

    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        self.tell("lock", name);
        self.inner.lock(name, mode, owner)
    }

    fn settle(&self, dir: &str) -> Result<usize> {
        self.tell("settle", dir);
        self.inner.settle(dir)
    }

    fn settle_names(&self, dir: &str) -> Result<usize> {
        self.tell("settle", dir);
        self.inner.settle_names(dir)
    }
}

struct WatchedAppender {
    inner: Box<dyn Appender>,
    watcher: Watcher,
    name: String,
}

impl fmt::Debug for WatchedAppender {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "WatchedAppender({})", self.name)
    }
}

impl Appender for WatchedAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        (self.watcher)("write", &self.name);
        self.inner.write(bytes)
    }

    fn sync(&mut self) -> Result<()> {
        (self.watcher)("sync", &self.name);
        self.inner.sync()
    }
}
