//! `MemoryStorage`: the `Storage` in memory. Made by `Database::in_memory` and `Database::from_export`, and by tests.
//!
//! Lives as long as the last clone. Locks hold among the users of one instance. Durable means here:
//! visible to every other user.

use std::collections::BTreeMap;
use std::io;
use std::sync::{Arc, Mutex, MutexGuard};

use super::blob::BytesBlob;
use super::locks::LockTable;
use super::{AlignedBuffer, Appender, Blob, Bytes, Fill, Lock, LockMode, Storage, listing, name};
use crate::error::Result;

/// [`Storage`] in memory. Clones are the same storage.
#[derive(Debug, Clone, Default)]
pub struct MemoryStorage {
    files: Arc<Mutex<BTreeMap<String, File>>>,
    locks: LockTable,
}

#[derive(Debug, Clone)]
enum File {
    Blob(Bytes),
    Log(Arc<Mutex<Vec<u8>>>),
}

impl MemoryStorage {
    /// An empty one.
    pub fn new() -> Self {
        MemoryStorage::default()
    }

    fn files(&self) -> MutexGuard<'_, BTreeMap<String, File>> {
        self.files.lock().expect("nothing panics while the names are held")
    }
}

impl Storage for MemoryStorage {
    fn open(&self, name: &str) -> Result<Arc<dyn Blob>> {
        name::check(name)?;
        let file = self.files().get(name).cloned();
        let bytes = match file {
            Some(File::Blob(bytes)) => bytes,
            Some(File::Log(log)) => Bytes::from(AlignedBuffer::copy_of(&content(&log))),
            None => return Err(listing::failure("open", name, io::ErrorKind::NotFound)),
        };
        Ok(Arc::new(BytesBlob::new(name, bytes)))
    }

    fn put(&self, name: &str, fill: Fill<'_>) -> Result<()> {
        name::check(name)?;
        let mut content = AlignedBuffer::default();
        fill(&mut content)?;
        let bytes = Bytes::from(content);
        let mut files = self.files();
        listing::check_place(&files, name)?;
        files.insert(name.to_owned(), File::Blob(bytes));
        Ok(())
    }

    fn put_new(&self, name: &str, bytes: &[u8]) -> Result<()> {
        name::check(name)?;
        let bytes = Bytes::from(AlignedBuffer::copy_of(bytes));
        insert_new(&mut self.files(), name, File::Blob(bytes))
    }

    fn append_new(&self, name: &str) -> Result<Box<dyn Appender>> {
        name::check(name)?;
        let log = Arc::default();
        insert_new(&mut self.files(), name, File::Log(Arc::clone(&log)))?;
        Ok(Box::new(MemoryAppender { log }))
    }

    fn list(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        Ok(listing::files(&self.files(), dir))
    }

    fn directories(&self, dir: &str) -> Result<Vec<String>> {
        name::check_directory(dir)?;
        Ok(listing::directories(&self.files(), dir))
    }

    fn rename(&self, from: &str, to: &str) -> Result<()> {
        let mut files = self.files();
        add_name(&mut files, from, to)?;
        files.remove(from);
        Ok(())
    }

    fn link(&self, from: &str, to: &str) -> Result<()> {
        add_name(&mut self.files(), from, to)
    }

    fn remove(&self, name: &str) -> Result<()> {
        name::check(name)?;
        self.files().remove(name);
        Ok(())
    }

    fn remove_durably(&self, dir: &str, names: &[String]) -> Result<()> {
        names.iter().try_for_each(|part| self.remove(&name::join(dir, part)))
    }

    fn lock(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        name::check(name)?;
        let mut files = self.files();
        if !files.contains_key(name) {
            insert_new(&mut files, name, File::Log(Arc::default()))?;
        }
        self.locks.take(name, mode, owner)
    }
}

#[derive(Debug)]
struct MemoryAppender {
    log: Arc<Mutex<Vec<u8>>>,
}

impl Appender for MemoryAppender {
    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        content(&self.log).extend_from_slice(bytes);
        Ok(())
    }

    fn sync(&mut self) -> Result<()> {
        Ok(())
    }
}

fn content(log: &Mutex<Vec<u8>>) -> MutexGuard<'_, Vec<u8>> {
    log.lock().expect("nothing panics while a log is held")
}

fn add_name(files: &mut BTreeMap<String, File>, from: &str, to: &str) -> Result<()> {
    name::check(from)?;
    name::check(to)?;
    let Some(file) = files.get(from).cloned() else {
        return Err(listing::failure("open", from, io::ErrorKind::NotFound));
    };
    insert_new(files, to, file)
}

fn insert_new(files: &mut BTreeMap<String, File>, name: &str, file: File) -> Result<()> {
    if files.contains_key(name) {
        return Err(listing::failure("create", name, io::ErrorKind::AlreadyExists));
    }
    listing::check_place(files, name)?;
    files.insert(name.to_owned(), file);
    Ok(())
}
