//! A collection as its users hold it: one handle for reading, writing and upkeep, safe to share.
//!
//! It adds no behaviour to writer, follower and view; it holds the locks. Readers never wait for a lock
//! that is held during IO. At most one task runs at a time; work asked for by a caller takes the slot from
//! background work, which then starts again later.

use std::ops::ControlFlow;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, TryLockError};

use nearfield_segment::filter::Filter;
use nearfield_segment::{Error, ErrorKind, Kernel, Pool, Result};

use crate::batch::Batch;
use crate::quarantine::{self, QuarantineStats};
use crate::recovery::{self, Follower, RecoveryReport};
use crate::state::Applied;
use crate::task::{Progress, Task};
use crate::view::View;
use crate::writer::{Reader, Site, Writer};

/// Called between the steps of a task; may pause, and stops the task by breaking.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// An open collection.
#[derive(Debug)]
pub struct Collection {
    name: String,
    kernel: Kernel,
    reader: Reader,
    role: Role,
    /// Held while a task runs.
    slot: Mutex<()>,
    /// Callers who want the slot; background work makes way for them.
    waiting: AtomicU32,
    recovery: Mutex<RecoveryReport>,
}

/// What a vacuum removed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, serde::Serialize)]
pub struct Vacuumed {
    /// Files that nothing needed any more.
    pub removed: u64,
    /// Files in quarantine that were too old, too many or too much.
    pub evicted: u64,
}

#[derive(Debug)]
enum Role {
    Writer(Box<Mutex<Writer>>),
    Follower(Box<Mutex<Follower>>),
    Export,
}

impl Collection {
    pub(crate) fn writing(name: &str, writer: Writer, recovery: RecoveryReport) -> Collection {
        let (kernel, reader) = (writer.options.segment.kernel, writer.reader());
        let role = Role::Writer(Box::new(Mutex::new(writer)));
        Collection::new(name, kernel, reader, role, recovery)
    }

    pub(crate) fn following(name: &str, follower: Follower, kernel: Kernel) -> Collection {
        let reader = follower.reader();
        let role = Role::Follower(Box::new(Mutex::new(follower)));
        Collection::new(name, kernel, reader, role, RecoveryReport::default())
    }

    pub(crate) fn exported(name: &str, view: View, kernel: Kernel) -> Collection {
        let reader = Reader::new(view);
        Collection::new(name, kernel, reader, Role::Export, RecoveryReport::default())
    }

    fn new(
        name: &str,
        kernel: Kernel,
        reader: Reader,
        role: Role,
        recovery: RecoveryReport,
    ) -> Collection {
        let (slot, waiting) = (Mutex::new(()), AtomicU32::new(0));
        let recovery = Mutex::new(recovery);
        Collection { name: name.to_owned(), kernel, reader, role, slot, waiting, recovery }
    }

    /// Its name in the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arithmetic its searches run on.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The newest view. A follower's moves on with [`Collection::refresh`].
    pub fn view(&self) -> Arc<View> {
        self.reader.view()
    }

    /// What the last recovery found: at opening, or after a failed write.
    pub fn recovery(&self) -> RecoveryReport {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if this handle can change the collection.
    pub fn is_writable(&self) -> bool {
        matches!(self.role, Role::Writer(_))
    }

    /// Moves a follower on to what its writer has made durable; others are always there.
    ///
    /// # Errors
    /// As for opening.
    pub fn refresh(&self) -> Result<Arc<View>> {
        if let Role::Follower(follower) = &self.role {
            return follower.lock().expect("followers do not panic").refresh();
        }
        Ok(self.view())
    }

    /// Makes a batch durable and visible. If too much is waiting in memory, checkpoints first.
    ///
    /// # Errors
    /// As [`Writer::apply`]; `ReadOnly` for a handle that cannot write.
    pub fn apply(&self, batch: Batch<'_>, pool: &Pool) -> Result<Applied> {
        self.make_room(pool)?;
        self.writer()?.apply(batch)
    }

    /// Removes the points that pass a filter, as one atomic batch.
    ///
    /// # Errors
    /// As [`Writer::delete_rows`], and `InvalidInput(Filter)`.
    pub fn delete_where(&self, filter: &Filter) -> Result<Applied> {
        let mut writer = self.writer()?;
        let rows = writer.reader().view().matching(filter)?;
        writer.delete_rows(&rows)
    }

    /// Writes what is in memory to a file and archives the log behind it.
    ///
    /// # Errors
    /// As [`Task::run`] and [`Writer::finish`].
    pub fn checkpoint(&self, pool: &Pool) -> Result<()> {
        self.run(Writer::plan_checkpoint, pool, &mut |_| ControlFlow::Continue(()))
    }

    /// Merges everything into one segment in its final form.
    ///
    /// # Errors
    /// As [`Task::run`] and [`Writer::finish`]; `Cancelled` if `watch` breaks.
    pub fn compact(&self, pool: &Pool, watch: Watch<'_>) -> Result<()> {
        self.run(Writer::plan_compaction, pool, watch)
    }

    /// Does one piece of background work if any is due and nobody else is at work. True if it did.
    ///
    /// # Errors
    /// As [`Task::run`] and [`Writer::finish`]. Making way for a caller is no error.
    pub fn maintain(&self, pool: &Pool, watch: Watch<'_>) -> Result<bool> {
        let _slot = match self.slot.try_lock() {
            Ok(slot) => slot,
            Err(TryLockError::WouldBlock) => return Ok(false),
            Err(TryLockError::Poisoned(poisoned)) => poisoned.into_inner(),
        };
        let Some(task) = self.writer()?.plan() else { return Ok(false) };
        let mut make_way = |progress| {
            let asked = self.waiting.load(Ordering::Relaxed) > 0;
            if asked { ControlFlow::Break(()) } else { watch(progress) }
        };
        match self.carry_out(task, pool, &mut make_way) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Calls `work` with the writer, which nobody else has meanwhile.
    ///
    /// # Errors
    /// `ReadOnly`, or what `work` returns.
    pub fn with_writer<R>(&self, work: impl FnOnce(&mut Writer) -> Result<R>) -> Result<R> {
        work(&mut *self.writer()?)
    }

    /// Runs recovery again on a writer that was poisoned by a full disk or a failed write.
    ///
    /// # Errors
    /// As for opening.
    pub fn recover(&self) -> Result<()> {
        // No task may be writing: recovery would take its files for leftovers.
        let _slot = self.take_slot();
        if let Some(report) = recovery::reopen(&mut *self.writer()?)? {
            *self.recovery.lock().unwrap_or_else(PoisonError::into_inner) = report;
        }
        Ok(())
    }

    /// Removes files that neither the present nor the past to be kept needs, and what has been in quarantine
    /// for long. Returns how many files of each.
    ///
    /// # Errors
    /// As [`Writer::vacuum`]; `ReadOnly` for a handle that cannot write.
    pub fn vacuum(&self) -> Result<Vacuumed> {
        let _slot = self.take_slot();
        let mut writer = self.writer()?;
        let removed = writer.vacuum()?;
        let Site { storage, dir, .. } = &writer.site;
        let evicted = quarantine::clean(&**storage, dir, &writer.options, writer.clock.now_ms())?;
        Ok(Vacuumed { removed, evicted })
    }

    /// What is in quarantine. O(files).
    ///
    /// # Errors
    /// `Io`; `ReadOnly` for a handle that cannot write.
    pub fn quarantine(&self) -> Result<QuarantineStats> {
        self.with_writer(|writer| quarantine::stats(&*writer.site.storage, &writer.site.dir))
    }

    /// The slot for a caller: background work makes way.
    fn take_slot(&self) -> MutexGuard<'_, ()> {
        self.waiting.fetch_add(1, Ordering::Relaxed);
        let slot = self.slot.lock();
        self.waiting.fetch_sub(1, Ordering::Relaxed);
        slot.unwrap_or_else(PoisonError::into_inner)
    }

    fn make_room(&self, pool: &Pool) -> Result<()> {
        let (poisoned, full) = {
            let writer = self.writer()?;
            (writer.poisoned(), writer.memory_bytes() >= writer.options.memtable_bytes_hard)
        };
        if poisoned == Some(ErrorKind::StorageFull) {
            self.recover()?;
        }
        if full { self.checkpoint(pool) } else { Ok(()) }
    }

    fn run(
        &self,
        plan: impl FnOnce(&mut Writer) -> Option<Task>,
        pool: &Pool,
        watch: Watch<'_>,
    ) -> Result<()> {
        let _slot = self.take_slot();
        let Some(task) = plan(&mut *self.writer()?) else { return Ok(()) };
        self.carry_out(task, pool, watch)
    }

    fn carry_out(&self, task: Task, pool: &Pool, watch: Watch<'_>) -> Result<()> {
        let output = task.run(pool, watch);
        let mut writer = self.writer()?;
        match output {
            Ok(output) => {
                writer.finish(output)?;
                writer.vacuum().map(drop)
            }
            Err(error) => {
                writer.abandon();
                if error.kind() == ErrorKind::StorageFull {
                    // The next attempt shall find what space there is.
                    quarantine::empty(&*writer.site.storage, &writer.site.dir)?;
                }
                Err(error)
            }
        }
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        match &self.role {
            Role::Writer(mutex) => Ok(mutex.lock().unwrap_or_else(|poisoned| {
                let mut writer = poisoned.into_inner();
                writer.refuse("a thread panicked while it was writing");
                // The writer remembers from here on, so that recovery can end it.
                mutex.clear_poison();
                writer
            })),
            Role::Follower(_) | Role::Export => Err(Error::new(
                ErrorKind::ReadOnly,
                format!("collection {:?} is open for reading only", self.name),
            )),
        }
    }
}
