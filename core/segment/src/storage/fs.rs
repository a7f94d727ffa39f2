//! The operating system's file system (feature `fs`): `OsDisk` implements `Disk` with files, maps, locks.
//! `open_directory`, `open_existing_directory` and `open_target_directory` make a `Directory` on it; they are
//! called by the command line, the server and Python.
//!
//! Files of 64 KiB and more are mapped, shorter ones copied. *Do not edit or truncate files of a store
//! by hand*: touching a mapped page beyond a file's new end kills the process (SIGBUS). Nearfield itself
//! never does: blobs are immutable, append-only files grow only and are mapped up to the length they had
//! when opened, and one exclusive lock keeps a second writer out. For the same reason, and because their
//! locks and syncs promise too little, network file systems are refused.

use std::fs::{self, File, OpenOptions, TryLockError};
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::disk::{DirectoryEntry, Disk, DiskFile, LockAttempt};
use super::locks::{SHARED_HOLDERS, owner_line};
#[cfg(unix)]
use super::lost;
use super::mounts::network_type;
use super::{AlignedBuffer, Bytes, Directory, Lock, LockMode};
use crate::error::{Error, ErrorKind, Fault, Result};

/// Shorter files are read whole: a map costs a system call, a page fault and a table entry.
const MAPPED_BYTES_MIN: usize = 64 << 10;
/// An owner's line longer than this is cut in messages.
const OWNER_BYTES_MAX: u64 = 256;

/// Rights of group and others.
#[cfg(unix)]
const FOREIGN_RIGHTS: u32 = 0o077;

/// The access rights of new files and directories.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Access {
    /// Their owner alone, whatever the umask.
    Owner,
    /// As the umask allows.
    Umask,
}

/// Opens the directory at `path` as storage, creating it (durably) if missing; its parent exists. Files and
/// directories are for their owner alone, whatever the umask. A symbolic link to a directory is followed, once.
///
/// # Errors
/// `NotFound` without the parent; `InvalidInput(Parameter)` on a network file system, or for a symbolic link to
/// nothing; `Io` if it cannot be created or is a file.
pub fn open_directory(path: impl AsRef<Path>) -> Result<Directory<OsDisk>> {
    create_durably(path.as_ref(), Access::Owner)?;
    open_as(path.as_ref(), Access::Owner)
}

/// As [`open_directory`], for files that a user asks for at a place of their own: rights are those of the umask.
///
/// # Errors
/// As [`open_directory`].
pub fn open_target_directory(path: impl AsRef<Path>) -> Result<Directory<OsDisk>> {
    create_durably(path.as_ref(), Access::Umask)?;
    open_as(path.as_ref(), Access::Umask)
}

/// Opens the directory at `path` as storage; for readers, which must not create or change files.
///
/// # Errors
/// `NotFound` if there is none, else as [`open_directory`].
pub fn open_existing_directory(path: impl AsRef<Path>) -> Result<Directory<OsDisk>> {
    open_as(path.as_ref(), Access::Owner)
}

fn open_as(path: &Path, access: Access) -> Result<Directory<OsDisk>> {
    let name = path.display().to_string();
    let root = fs::canonicalize(path).map_err(|e| Error::io("open directory", &name, e))?;
    if !root.is_dir() {
        let error = io::Error::from(io::ErrorKind::NotADirectory);
        return Err(Error::io("open directory", &name, error));
    }
    refuse_network(&root)?;
    Ok(Directory::new(OsDisk { root, access }))
}

/// Creates a missing directory durably; its parent exists. One that is there and empty may be the work of a
/// process that was killed before it synced the parent, so that is done for it.
fn create_durably(path: &Path, access: Access) -> Result<()> {
    let name = path.display().to_string();
    let parent = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    if path.is_dir() {
        let empty = fs::read_dir(path).is_ok_and(|mut entries| entries.next().is_none());
        // Where the parent is not ours to open, neither was this directory ours to make.
        let synced = if empty { sync_directory(parent).or_else(forgive_foreign) } else { Ok(()) };
        return synced.map_err(|error| Error::io("create directory", &name, error));
    }
    if path.is_symlink() && !path.exists() {
        let message = format!("{name} is a symbolic link to a directory that does not exist");
        return Err(Error::invalid(Fault::Parameter, message).with("file", name));
    }
    if !parent.is_dir() {
        let shown = parent.display();
        let message =
            format!("{name} cannot be created, because {shown} is no directory; create that first");
        return Err(
            Error::new(ErrorKind::NotFound, message).with("file", parent.display().to_string())
        );
    }
    let made = match make_directory(path, access) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => sync_directory(parent),
    };
    made.map_err(|error| Error::io("create directory", &name, error))
}

#[cfg(unix)]
fn make_directory(path: &Path, access: Access) -> io::Result<()> {
    let mut builder = fs::DirBuilder::new();
    if access == Access::Owner {
        std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    }
    builder.create(path)
}

/// Other systems keep such rights elsewhere.
#[cfg(not(unix))]
fn make_directory(path: &Path, _access: Access) -> io::Result<()> {
    fs::create_dir(path)
}

/// Has `options` make files for their owner alone, if that is the access.
#[cfg(unix)]
fn restricted(mut options: OpenOptions, access: Access) -> OpenOptions {
    if access == Access::Owner {
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    }
    options
}

/// Other systems keep such rights elsewhere.
#[cfg(not(unix))]
fn restricted(options: OpenOptions, _access: Access) -> OpenOptions {
    options
}

fn forgive_foreign(error: io::Error) -> io::Result<()> {
    let foreign = [
        io::ErrorKind::PermissionDenied,
        io::ErrorKind::InvalidInput,
        io::ErrorKind::ReadOnlyFilesystem,
        io::ErrorKind::Unsupported,
    ];
    if foreign.contains(&error.kind()) { Ok(()) } else { Err(error) }
}

fn refuse_network(root: &Path) -> Result<()> {
    // Systems without this file are not checked.
    let Ok(mountinfo) = fs::read("/proc/self/mountinfo") else { return Ok(()) };
    match network_type(&String::from_utf8_lossy(&mountinfo), &root.to_string_lossy()) {
        None => Ok(()),
        Some(kind) => Err(Error::invalid(
            Fault::Parameter,
            format!(
                "{} is on a network file system ({kind}), whose locks and syncs cannot be relied on; \
                 use a local disk",
                root.display()
            ),
        )
        .with("expected", "a local file system")
        .with("got", kind)),
    }
}

/// A directory of the operating system.
#[derive(Debug)]
pub struct OsDisk {
    root: PathBuf,
    access: Access,
}

impl OsDisk {
    fn path(&self, path: &str) -> PathBuf {
        self.root.join(path)
    }
}

impl Disk for OsDisk {
    type File = OsFile;

    fn create(&self, path: &str) -> io::Result<OsFile> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true);
        let file = restricted(options, self.access).open(self.path(path))?;
        Ok(OsFile { file, synced: false })
    }

    fn read(&self, path: &str) -> io::Result<Bytes> {
        let path = self.path(path);
        // Asked before opening, because opening a pipe waits for its other end.
        if !fs::metadata(&path)?.is_file() {
            return Err(io::Error::new(io::ErrorKind::NotFound, "not a regular file"));
        }
        let mut file = File::open(&path)?;
        let len = usize::try_from(file.metadata()?.len())
            .map_err(|_| io::Error::new(io::ErrorKind::FileTooLarge, "larger than memory"))?;
        if len >= MAPPED_BYTES_MIN {
            return map(&file, len);
        }
        let mut buffer = AlignedBuffer::zeroed(len);
        file.read_exact(buffer.as_mut_slice())?;
        Ok(Bytes::from(buffer))
    }

    fn list(&self, dir: &str) -> io::Result<Vec<DirectoryEntry>> {
        let mut entries = Vec::new();
        for entry in fs::read_dir(self.path(dir))? {
            let entry = entry?;
            let kind = entry.file_type()?;
            if let Ok(name) = entry.file_name().into_string()
                && (kind.is_file() || kind.is_dir())
            {
                entries.push(DirectoryEntry { name, is_dir: kind.is_dir() });
            }
        }
        Ok(entries)
    }

    fn names(&self, dir: &str) -> io::Result<Vec<String>> {
        let name =
            |entry: io::Result<fs::DirEntry>| Ok(entry?.file_name().to_string_lossy().into_owned());
        fs::read_dir(self.path(dir))?.map(name).collect()
    }

    fn rename(&self, from: &str, to: &str) -> io::Result<()> {
        fs::rename(self.path(from), self.path(to))
    }

    fn rename_new(&self, from: &str, to: &str) -> io::Result<()> {
        rename_new(&self.path(from), &self.path(to))
    }

    fn hard_link(&self, from: &str, to: &str) -> io::Result<()> {
        fs::hard_link(self.path(from), self.path(to))
    }

    fn unlink(&self, path: &str) -> io::Result<()> {
        fs::remove_file(self.path(path))
    }

    fn make_dir(&self, path: &str) -> io::Result<()> {
        make_directory(&self.path(path), self.access)
    }

    fn remove_dir(&self, path: &str) -> io::Result<()> {
        fs::remove_dir(self.path(path))
    }

    fn sync_dir(&self, path: &str) -> io::Result<()> {
        sync_directory(&self.path(path))
    }

    #[cfg(unix)]
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        let stat = rustix::fs::statvfs(&self.root)?;
        Ok(Some(stat.f_bavail.saturating_mul(stat.f_frsize)))
    }

    #[cfg(not(unix))]
    fn free_bytes(&self) -> io::Result<Option<u64>> {
        Ok(None)
    }

    #[cfg(unix)]
    fn warnings(&self) -> Vec<String> {
        use std::os::unix::fs::PermissionsExt;

        let Ok(facts) = fs::metadata(&self.root) else { return Vec::new() };
        let (mode, root) = (facts.permissions().mode() & 0o7777, self.root.display());
        if self.access == Access::Umask || mode & FOREIGN_RIGHTS == 0 {
            return Vec::new();
        }
        vec![format!(
            "{root} is open to other users (mode {mode:o}); files made by earlier versions may be readable there: \
             chmod 700 {root}"
        )]
    }

    fn lock(&self, path: &str, mode: LockMode, owner: &str) -> io::Result<LockAttempt> {
        let path = self.path(path);
        let file = open_lock(&path, mode, self.access)?;
        let taken = match mode {
            LockMode::Exclusive => file.try_lock(),
            LockMode::Shared => file.try_lock_shared(),
        };
        match taken {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                return Ok(LockAttempt::Refused { holder: holder(&file, mode) });
            }
            Err(TryLockError::Error(error)) => return Err(error),
        }
        let mut lock = OsLock {
            file,
            mode,
            #[cfg(unix)]
            path,
        };
        if mode == LockMode::Exclusive {
            lock.file.set_len(0)?;
            // The line is for messages only: a full disk must not keep out the writer, which frees space.
            let _unnamed = writeln!(lock.file, "{}", owner_line(owner));
        }
        Ok(LockAttempt::Held(Box::new(lock)))
    }
}

/// A file being written.
#[derive(Debug)]
pub struct OsFile {
    file: File,
    synced: bool,
}

impl Write for OsFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.file.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

impl DiskFile for OsFile {
    /// The first sync carries the new inode whole, later ones only data and length.
    fn sync(&mut self) -> io::Result<()> {
        if self.synced {
            return self.file.sync_data();
        }
        self.file.sync_all()?;
        self.synced = true;
        Ok(())
    }
}

/// Maps the first `len` bytes, which the file has.
fn map(file: &File, len: usize) -> io::Result<Bytes> {
    // SAFETY: the map is sound as long as no process changes or truncates these bytes. Blobs are written
    // under another name and never edited after their rename; append-only files are only extended, and
    // `len` is their length now; the store's exclusive lock keeps our other writers out. Truncation by
    // other programs is excluded by the documentation of this module and of the data directory.
    let map = unsafe { memmap2::MmapOptions::new().len(len).map(file)? };
    Ok(Bytes::from_map(Arc::new(map), 0..len))
}

#[cfg(unix)]
fn sync_directory(path: &Path) -> io::Result<()> {
    File::open(path)?.sync_all()
}

/// Other systems cannot open a directory as a file; their renames are journalled.
#[cfg(not(unix))]
#[expect(clippy::unnecessary_wraps, reason = "on Unix it may fail")]
fn sync_directory(_path: &Path) -> io::Result<()> {
    Ok(())
}

#[cfg(any(target_os = "linux", target_os = "macos"))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    use rustix::fs::{CWD, RenameFlags, renameat_with};
    use rustix::io::Errno;

    match renameat_with(CWD, from, CWD, to, RenameFlags::NOREPLACE) {
        Err(Errno::INVAL | Errno::NOSYS | Errno::NOTSUP) => look_then_rename(from, to),
        other => Ok(other?),
    }
}

#[cfg(not(any(target_os = "linux", target_os = "macos")))]
fn rename_new(from: &Path, to: &Path) -> io::Result<()> {
    look_then_rename(from, to)
}

/// Not atomic; enough under the store's exclusive lock, whose holder never uses a name twice at once.
fn look_then_rename(from: &Path, to: &Path) -> io::Result<()> {
    match fs::symlink_metadata(to) {
        Ok(_) => Err(io::Error::from(io::ErrorKind::AlreadyExists)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => fs::rename(from, to),
        Err(error) => Err(error),
    }
}

/// Opens or makes the file of a lock. Sharing needs no write access to one that is there. A new file is synced, so that
/// its name is not durable before the file is: a full disk might not be able to make it again.
fn open_lock(path: &Path, mode: LockMode, access: Access) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).truncate(false);
    match (options.open(path), mode) {
        (Err(error), _) if error.kind() == io::ErrorKind::NotFound => {}
        (Err(_), LockMode::Shared) => return File::open(path),
        (opened, _) => return opened,
    }
    options.create(true);
    let file = restricted(options, access).open(path)?;
    file.sync_all()?;
    Ok(file)
}

/// The line of the holder that refused `mode`.
fn holder(file: &File, mode: LockMode) -> String {
    // If sharing is possible the holders are shared, and the line in the file is an earlier one's.
    if mode == LockMode::Exclusive && file.try_lock_shared().is_ok() {
        return SHARED_HOLDERS.to_owned();
    }
    let mut line = Vec::new();
    // The line only serves a message; where a system forbids reading a locked file it stays empty.
    let _unread = file.take(OWNER_BYTES_MAX).read_to_end(&mut line);
    owner_line(&String::from_utf8_lossy(&line)).to_owned()
}

/// A held lock; closing the file releases it.
#[derive(Debug)]
struct OsLock {
    file: File,
    mode: LockMode,
    #[cfg(unix)]
    path: PathBuf,
}

impl Lock for OsLock {
    #[cfg(unix)]
    fn check(&self) -> Result<()> {
        use std::os::unix::fs::MetadataExt;

        let name = self.path.display().to_string();
        let held = self.file.metadata().map_err(|error| Error::io("look at", &name, error))?;
        match fs::metadata(&self.path) {
            Ok(named) if (named.dev(), named.ino()) == (held.dev(), held.ino()) => Ok(()),
            Err(error) if error.kind() != io::ErrorKind::NotFound => {
                Err(Error::io("look at", &name, error))
            }
            _ => Err(lost(&name)),
        }
    }
}

impl Drop for OsLock {
    fn drop(&mut self) {
        if self.mode == LockMode::Exclusive {
            // A line that stays behind is harmless: it is shown only while the lock is held.
            let _stays = self.file.set_len(0);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::storage::Storage;

    #[test]
    fn a_directory_is_created_for_writers_only_and_only_in_one_that_is_there() {
        let root = tempfile::tempdir().unwrap();
        let path = root.path().join("a");
        let error = open_existing_directory(&path).expect_err("nothing is there");
        assert_eq!(error.kind(), ErrorKind::NotFound);
        let error = open_directory(path.join("b")).expect_err("its parent is not there");
        assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
        assert!(!path.exists());
        open_directory(&path).unwrap().put_new("x", b"1").unwrap();
        assert_eq!(open_existing_directory(&path).unwrap().list("").unwrap(), ["x"]);
        let error = open_directory(path.join("x")).expect_err("x is a file");
        assert_eq!(error.kind(), ErrorKind::Io, "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn a_symbolic_link_is_followed_to_a_directory_and_refused_to_nothing() {
        let root = tempfile::tempdir().unwrap();
        let (real, link) = (root.path().join("real"), root.path().join("link"));
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let error = open_directory(&link).expect_err("it leads to nothing");
        assert_eq!(error.kind(), ErrorKind::InvalidInput(Fault::Parameter), "{error}");
        assert!(!real.exists());
        open_directory(&real).unwrap().put_new("x", b"1").unwrap();
        let storage = open_directory(&link).unwrap();
        assert_eq!(storage.list("").unwrap(), ["x"]);
        let _held = storage.lock("lock", LockMode::Exclusive, "").unwrap();
        let other = open_directory(&real).unwrap();
        let error = other.lock("lock", LockMode::Exclusive, "").expect_err("the same lock");
        assert_eq!(error.kind(), ErrorKind::Locked);
    }

    #[cfg(unix)]
    #[test]
    fn a_lock_whose_file_was_removed_or_replaced_says_so() {
        let root = tempfile::tempdir().unwrap();
        let storage = open_directory(root.path()).unwrap();
        let lock = storage.lock("lock", LockMode::Exclusive, "").unwrap();
        lock.check().unwrap();
        fs::remove_file(root.path().join("lock")).unwrap();
        assert_eq!(lock.check().expect_err("removed").kind(), ErrorKind::Locked);
        let second = storage.lock("lock", LockMode::Exclusive, "").unwrap();
        assert_eq!(lock.check().expect_err("replaced").kind(), ErrorKind::Locked);
        second.check().unwrap();
    }

    #[test]
    fn a_mapped_log_shows_the_length_it_had_when_opened() {
        let root = tempfile::tempdir().unwrap();
        let storage = open_directory(root.path()).unwrap();
        let mut log = storage.append_new("log").unwrap();
        log.write(&vec![1; MAPPED_BYTES_MIN + 5]).unwrap();
        let before = storage.open("log").unwrap();
        log.write(&vec![2; 10 * MAPPED_BYTES_MIN]).unwrap();
        let bytes = before.read(0..before.len()).unwrap();
        assert_eq!(bytes.len(), MAPPED_BYTES_MIN + 5);
        assert!(bytes.iter().all(|byte| *byte == 1));
    }

    #[test]
    fn foreign_entries_are_not_listed_and_do_not_hang_a_reader() {
        let root = tempfile::tempdir().unwrap();
        let storage = open_directory(root.path()).unwrap();
        storage.put_new("blob", b"1").unwrap();
        std::fs::write(root.path().join("odd name"), b"").unwrap();
        std::fs::write(root.path().join(".tmp-99"), b"").unwrap();
        std::fs::create_dir(root.path().join("sub")).unwrap();
        #[cfg(unix)]
        std::os::unix::fs::symlink("/dev/zero", root.path().join("zero")).unwrap();
        assert_eq!(storage.list("").unwrap(), ["blob"]);
        let error = storage.open("zero").expect_err("a device is no blob");
        assert_eq!(error.kind(), ErrorKind::NotFound);
    }

    #[test]
    fn the_look_before_the_rename_refuses_a_taken_name() {
        let root = tempfile::tempdir().unwrap();
        let (from, to) = (root.path().join("from"), root.path().join("to"));
        std::fs::write(&from, b"1").unwrap();
        std::fs::write(&to, b"2").unwrap();
        let error = look_then_rename(&from, &to).expect_err("taken");
        assert_eq!(error.kind(), io::ErrorKind::AlreadyExists);
        std::fs::remove_file(&to).unwrap();
        look_then_rename(&from, &to).unwrap();
        assert_eq!(std::fs::read(&to).unwrap(), b"1");
    }

    #[test]
    fn readers_in_the_way_of_a_writer_are_named_as_such() {
        let root = tempfile::tempdir().unwrap();
        let storage = open_directory(root.path()).unwrap();
        drop(storage.lock("lock", LockMode::Exclusive, "an earlier writer").unwrap());
        let _reader = storage.lock("lock", LockMode::Shared, "").unwrap();
        let error = storage.lock("lock", LockMode::Exclusive, "me").expect_err("shared");
        assert!(error.message().contains(SHARED_HOLDERS), "{error}");
    }

    #[cfg(unix)]
    #[test]
    fn free_space_is_known() {
        let root = tempfile::tempdir().unwrap();
        let free = open_directory(root.path()).unwrap().free_bytes().unwrap();
        assert!(free.is_some_and(|bytes| bytes > 0), "{free:?}");
    }
}
