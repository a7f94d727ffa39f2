//! A storage in memory for tests: files can be edited, and the next write or sync can be made to fail.
//!
//! Used by the unit tests of `log` only.

use std::collections::BTreeMap;
use std::io::Write;
use std::ops::Range;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};

use nearfield_segment::storage::{
    AlignedBuffer, Appender, Blob, Bytes, Fill, Lock, LockMode, Storage,
};
use nearfield_segment::{Error, ErrorKind, Result};

type Files = BTreeMap<String, Vec<u8>>;

/// Clones share their files.
#[derive(Debug, Clone, Default)]
pub(crate) struct TestStorage {
    files: Arc<Mutex<Files>>,
    /// Writes and syncs of appenders that still succeed; negative is no limit.
    budget: Arc<AtomicI64>,
}

impl TestStorage {
    pub(crate) fn new() -> Self {
        let storage = TestStorage::default();
        storage.fail_after(-1);
        storage
    }

    /// Lets `count` more appender calls succeed, then one fail, then all succeed again.
    pub(crate) fn fail_after(&self, count: i64) {
        self.budget.store(count, Ordering::SeqCst);
    }

    pub(crate) fn files(&self) -> Files {
        self.files.lock().expect("no test panics while holding it").clone()
    }

    pub(crate) fn with_files(files: Files) -> Self {
        let storage = TestStorage::new();
        *storage.files.lock().expect("fresh") = files;
        storage
    }

    fn edit<R>(&self, edit: impl FnOnce(&mut Files) -> R) -> R {
        edit(&mut self.files.lock().expect("no test panics while holding it"))
    }

    fn spend(&self, what: &str, name: &str) -> Result<()> {
        if self.budget.fetch_sub(1, Ordering::SeqCst) == 0 {
            return Err(Error::io(what, name, std::io::Error::other("injected")));
        }
        Ok(())
    }
}

fn missing(name: &str) -> Error {
    Error::new(ErrorKind::NotFound, format!("no file {name}"))
}

fn exists(name: &str) -> Error {
    Error::new(ErrorKind::Conflict, format!("file {name} exists"))
}

impl Storage for TestStorage {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        let bytes = self.edit(|files| files.get(name).map(|bytes| AlignedBuffer::copy_of(bytes)));
        Ok(Arc::new(TestBlob(bytes.ok_or_else(|| missing(name))?.into())))
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        let mut bytes = Vec::new();
        fill(&mut bytes as &mut dyn Write)?;
        self.edit(|files| files.insert(name.to_owned(), bytes));
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        self.edit(|files| {
            if files.contains_key(name) {
                return Err(exists(name));
            }
            files.insert(name.to_owned(), bytes.to_vec());
            Ok(())
        })
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        self.put_new(name, b"")?;
        Ok(Box::new(TestAppender { storage: self.clone(), name: name.to_owned() }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        let prefix = if dir.is_empty() { String::new() } else { format!("{dir}/") };
        let inside = |name: &String| {
            name.strip_prefix(&prefix).filter(|rest| !rest.contains('/')).map(str::to_owned)
        };
        Ok(self.edit(|files| files.keys().filter_map(inside).collect()))
    }

    fn directories(&self, _dir: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        self.link(from, to)?;
        self.remove(from)
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        let bytes = self.edit(|files| files.get(from).cloned()).ok_or_else(|| missing(from))?;
        self.put_new(to, &bytes)
    }

    fn remove(&self, name: &str) -> Result<()> {
        self.edit(|files| files.remove(name));
        Ok(())
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|name| self.remove(&format!("{dir}/{name}")))
    }

    fn free_bytes(&self) -> Result<Option<u64>> {
        Ok(None)
    }

    fn lock(&self, _name: &str, _mode: LockMode, _owner: &str) -> Result<Box<dyn Lock>> {
        Ok(Box::new(TestLock))
    }
}

#[derive(Debug)]
struct TestLock;

impl Lock for TestLock {}

#[derive(Debug)]
struct TestBlob(Bytes);

impl Blob for TestBlob {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, range: Range<u64>) -> Result<Bytes> {
        if range.start > range.end || range.end > self.len() {
            return Err(Error::corrupt("blob", "range", format!("{range:?}")));
        }
        Ok(self.0.slice(range.start as usize..range.end as usize))
    }
}

#[derive(Debug)]
struct TestAppender {
    storage: TestStorage,
    name: String,
}

impl Appender for TestAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        let spent = self.storage.spend("write", &self.name);
        // A failing write may have written a part.
        let written = if spent.is_ok() { bytes } else { &bytes[..bytes.len() / 2] };
        self.storage.edit(|files| {
            files
                .get_mut(&self.name)
                .expect("not removed while written")
                .extend_from_slice(written);
        });
        spent
    }

    fn sync(&mut self) -> Result<()> {
        self.storage.spend("sync", &self.name)
    }
}
