//! `Collection`: the handle of one collection, for reading (`view`), writing (`apply_all`) and maintenance
//! (`maintain`, `compact`), safe to share between threads. Returned by `Database::collection`; used by the
//! server's workers, Python, `wasm` and the command line.
//!
//! It adds no behaviour to writer, follower and view; it holds the locks. Readers never wait for a lock
//! that is held during IO. Tasks run beside each other and beside writes; the writer is held only to plan one and to
//! commit it. A full compaction or a recovery waits for the others to end; background merges make way for it, and
//! start again later.

use std::ops::ControlFlow;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use nearfield_segment::filter::Filter;
use nearfield_segment::{Error, ErrorKind, Kernel, Pool, Result};

use crate::database::open_logs::OpenLogs;
use crate::database::turns::Turns;
use crate::files::CollectionPath;
use crate::files::quarantine::{self, QuarantineStats};
use crate::read::view::View;
use crate::write::batch::{Applied, Batch, Change};
use crate::write::recovery::{self, Follower, RecoveryReport};
use crate::write::task::{MergeOutput, MergeScope, Progress, Task};
use crate::write::writer::{CollectionStats, Reader, Writer};

/// Called between the steps of a task; may pause, and stops the task by breaking.
pub type Watch<'a> = &'a mut dyn FnMut(Progress) -> ControlFlow<()>;

/// Carries a task out: [`Task::run`], on the thread, at the pace and for as long as the host likes.
pub type Carry<'a> = &'a mut dyn FnMut(Task) -> Result<MergeOutput>;

/// An open collection.
#[derive(Debug)]
pub struct Collection {
    name: String,
    kernel: Kernel,
    reader: Reader,
    role: Role,
    turns: Turns,
    recovery: Mutex<RecoveryReport>,
    /// Why its files belong to this handle no more, once they do not.
    gone: OnceLock<String>,
}

/// What [`Collection::begin`] found to do.
#[derive(Debug)]
pub enum Begun {
    /// Work to be carried out and handed to [`Collection::end`].
    Task(Box<Task>),
    /// No merge is due; whether something was tidied up.
    Tidied(bool),
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
    Writer(Arc<Mutex<Writer>>, Arc<OpenLogs>),
    Follower(Box<Mutex<Follower>>),
    Export,
}

impl Collection {
    pub(crate) fn writing(
        name: &str,
        writer: Writer,
        recovery: RecoveryReport,
        open_logs: Arc<OpenLogs>,
    ) -> Collection {
        let (kernel, reader) = (writer.options.segment.kernel, writer.reader());
        let role = Role::Writer(Arc::new(Mutex::new(writer)), open_logs);
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
        let (turns, recovery) = (Turns::default(), Mutex::new(recovery));
        let gone = OnceLock::new();
        Collection { name: name.to_owned(), kernel, reader, role, turns, recovery, gone }
    }

    /// Its name in the database.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// The arithmetic its searches run on.
    pub fn kernel(&self) -> Kernel {
        self.kernel
    }

    /// The newest view, if the collection is still there.
    ///
    /// # Errors
    /// `NotFound` once it was dropped or replaced.
    pub fn current(&self) -> Result<Arc<View>> {
        self.check_there()?;
        Ok(self.view())
    }

    /// From now on every call that can fail does: the collection was dropped or replaced, as `cause` says.
    pub(crate) fn mark_gone(&self, cause: &str) {
        // The first cause stays.
        let _known = self.gone.set(format!("collection {:?}: {cause}", self.name));
    }

    fn check_there(&self) -> Result<()> {
        match self.gone.get() {
            Some(cause) => {
                Err(Error::new(ErrorKind::NotFound, cause.clone()).with("got", self.name.as_str()))
            }
            None => Ok(()),
        }
    }

    /// The newest view, also of a collection that was dropped since: what is held stays readable. See
    /// [`Collection::current`]. A follower's moves on with [`Collection::refresh`].
    pub fn view(&self) -> Arc<View> {
        self.reader.view()
    }

    /// Numbers as of the newest view: log, memory, idempotency keys. Never waits for a running fsync.
    pub fn stats(&self) -> CollectionStats {
        self.reader.stats()
    }

    /// What the last recovery found: at opening, or after a failed write.
    pub fn recovery(&self) -> RecoveryReport {
        self.recovery.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// True if this handle can change the collection.
    pub fn is_writable(&self) -> bool {
        matches!(self.role, Role::Writer(..))
    }

    /// Moves a follower on to what its writer has made durable; others are always there.
    ///
    /// # Errors
    /// As for opening; `NotFound` once it was dropped or replaced.
    pub fn refresh(&self) -> Result<Arc<View>> {
        self.check_there()?;
        if let Role::Follower(follower) = &self.role {
            let mut locked = follower.lock().unwrap_or_else(|poisoned| {
                let mut locked = poisoned.into_inner();
                locked.distrust();
                follower.clear_poison();
                locked
            });
            return locked.refresh();
        }
        Ok(self.view())
    }

    /// Makes a batch durable and visible. See [`Collection::apply_all`].
    ///
    /// # Errors
    /// As [`Collection::apply_all`].
    pub fn apply(&self, batch: Batch<'_>, pool: &Pool) -> Result<Applied> {
        let mut answers = self.apply_all(vec![batch.into()], pool);
        answers.pop().expect("one answer per change")
    }

    /// Removes the points that pass a filter. Readers see all of it at once. It is one atomic batch, unless the ids of
    /// the points take more than half a GiB: a crash before the answer may then leave the first batches of several.
    ///
    /// # Errors
    /// As [`Writer::apply_all`].
    pub fn delete_where(&self, filter: &Filter) -> Result<Applied> {
        let mut answers = self.apply_all(vec![Change::DeleteWhere(filter.clone())], &Pool::SERIAL);
        answers.pop().expect("one answer per change")
    }

    /// Makes changes durable with one sync and visible in order; each is atomic, but for a
    /// [delete by filter](Collection::delete_where) with very many ids, and one that is itself wrong fails alone. If
    /// too much is waiting in memory, checkpoints first.
    ///
    /// One answer for each change, in order. Errors are those of [`Writer::apply_all`], and `ReadOnly` for
    /// a handle that cannot write.
    pub fn apply_all(&self, changes: Vec<Change<'_>>, pool: &Pool) -> Vec<Result<Applied>> {
        let count = changes.len();
        let bytes = changes.iter().map(Change::bytes_max).sum();
        match self.make_room(bytes, pool).and_then(|()| self.writer()) {
            Ok(mut writer) => {
                let answers = writer.apply_all(changes);
                let open = writer.has_open_log();
                drop(writer);
                if let (true, Role::Writer(writer, logs)) = (open, &self.role) {
                    logs.note(writer);
                }
                answers
            }
            Err(error) => (0..count).map(|_| Err(error.again())).collect(),
        }
    }

    /// Writes what is in memory to a file and archives the log behind it. Merges go on beside it.
    ///
    /// # Errors
    /// As [`Task::run`] and [`Writer::finish`]; `Conflict` while the host has a checkpoint [begun](Collection::begin).
    pub fn checkpoint(&self, pool: &Pool) -> Result<()> {
        let mut carry = |task: Task| task.run(pool, &mut |_| ControlFlow::Continue(()));
        self.merge_by(MergeScope::Checkpoint, &mut carry).map(drop)
    }

    /// Merges everything into one segment in its final form: a checkpoint, then all files; where there are no
    /// files, in one step. What is written meanwhile stays beside it. `watch` sees the last part.
    ///
    /// # Errors
    /// As [`Collection::checkpoint`]; `Cancelled` if `watch` breaks.
    pub fn compact(&self, pool: &Pool, watch: Watch<'_>) -> Result<()> {
        let mut carry = |task: Task| match task.level() == 0 {
            true => task.run(pool, &mut |_| ControlFlow::Continue(())),
            false => task.run(pool, watch),
        };
        self.merge_by(MergeScope::Everything, &mut carry).map(drop)
    }

    /// Does one piece of background work of a scope if there is any. Several threads may call this at once: their merges have
    /// different inputs. True if it did.
    ///
    /// # Errors
    /// As [`Task::run`] and [`Writer::finish`]. Making way for a caller is no error.
    pub fn maintain(&self, scope: MergeScope, pool: &Pool, watch: Watch<'_>) -> Result<bool> {
        let mut carry = |task: Task| {
            let makes_way = !task.is_checkpoint();
            task.run(pool, &mut |progress| match makes_way && self.is_wanted() {
                true => ControlFlow::Break(()),
                false => watch(progress),
            })
        };
        self.maintain_by(scope, &mut carry)
    }

    /// As [`Collection::maintain`], in the host's own way: `carry` should stop a merge that is
    /// no checkpoint with `Cancelled` once [`Collection::is_wanted`].
    ///
    /// # Errors
    /// What `carry` returns except `Cancelled`, and those of [`Writer::finish`].
    pub fn maintain_by(&self, scope: MergeScope, carry: Carry<'_>) -> Result<bool> {
        let Some(_turn) = self.turns.enter_unless_wanted() else { return Ok(false) };
        match self.carry_out(scope, carry) {
            Err(error) if error.kind() == ErrorKind::Cancelled => Ok(false),
            other => other,
        }
    }

    /// Work for a caller, which waits for it. A checkpoint waits for one that is under way, a full compaction for
    /// all tasks, and background merges make way for it. False if there was nothing to do.
    ///
    /// # Errors
    /// What `carry` returns, and those of [`Writer::finish`]; those of [`Collection::checkpoint`].
    pub fn merge_by(&self, scope: MergeScope, carry: Carry<'_>) -> Result<bool> {
        match scope {
            MergeScope::Due | MergeScope::Worthwhile | MergeScope::Outdated => {
                let _turn = self.turns.enter();
                self.carry_out(scope, carry)
            }
            MergeScope::Checkpoint => self.checkpoint_by(carry),
            MergeScope::Everything => {
                let view = self.view();
                // What is damaged is made again; what was not used so far is not known to be.
                view.segments.iter().for_each(|live| live.segment.find_damage());
                let files = view.segments.iter().any(|live| live.file.is_some());
                let written = files && self.checkpoint_by(carry)?;
                let (_turn, begun) = self.turns.alone(|turn| (turn, self.begin(scope)));
                Ok(self.end_of(begun?, carry)? || written)
            }
        }
    }

    fn checkpoint_by(&self, carry: Carry<'_>) -> Result<bool> {
        loop {
            let seen = self.turns.ended();
            let turn = self.turns.enter();
            let (task, waits) = {
                let mut writer = self.writer()?;
                (writer.plan(MergeScope::Checkpoint), writer.is_checkpointing())
            };
            match task {
                Some(task) => return self.end_of(self.checked(task)?, carry),
                None if !waits => return self.writer()?.tidy(),
                None => {}
            }
            drop(turn);
            // Its own turn has ended since.
            if !self.turns.wait_for_end(seen + 1) {
                let message = "a checkpoint was begun and is not ended yet";
                return Err(Error::new(ErrorKind::Conflict, message));
            }
        }
    }

    /// True if a caller waits for background merges to make way.
    pub fn is_wanted(&self) -> bool {
        self.turns.is_wanted()
    }

    /// Calls `work` with the writer, under the writer's lock.
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
        self.turns.alone(|_turn| {
            if let Some(report) = recovery::reopen(&mut *self.writer()?)? {
                *self.recovery.lock().unwrap_or_else(PoisonError::into_inner) = report;
            }
            Ok(())
        })
    }

    /// Removes files that neither the present nor the past to be kept needs, and what has been in quarantine
    /// for long. Returns how many files of each.
    ///
    /// # Errors
    /// As [`Writer::vacuum`]; `ReadOnly` for a handle that cannot write.
    pub fn vacuum(&self) -> Result<Vacuumed> {
        let mut writer = self.writer()?;
        let removed = writer.vacuum()?;
        let CollectionPath { storage, dir, .. } = &writer.location;
        let evicted = quarantine::clean(&**storage, dir, &writer.options, writer.clock.now_ms())?;
        Ok(Vacuumed { removed, evicted })
    }

    /// What is in quarantine. O(files).
    ///
    /// # Errors
    /// `Io`; `ReadOnly` for a handle that cannot write.
    pub fn quarantine(&self) -> Result<QuarantineStats> {
        self.with_writer(|writer| {
            quarantine::stats(&*writer.location.storage, &writer.location.dir)
        })
    }

    /// Before `bytes` are logged: a writer that stopped because the disk was full recovers once there is
    /// space again, and what is in memory goes to a file if it is too much.
    fn make_room(&self, bytes: u64, pool: &Pool) -> Result<()> {
        let (poisoned, full) = {
            let writer = self.writer()?;
            let poisoned = writer.poisoned();
            if poisoned == Some(ErrorKind::StorageFull)
                && let Err(error) = writer.check_space(bytes)
            {
                if quarantine::empty(&*writer.location.storage, &writer.location.dir)? == 0 {
                    return Err(error);
                }
                writer.check_space(bytes)?;
            }
            (poisoned, writer.memory_bytes() >= writer.options.memtable_bytes_hard)
        };
        if poisoned == Some(ErrorKind::StorageFull) {
            self.recover()?;
        }
        match full.then(|| self.checkpoint(pool)) {
            // The host steps it, perhaps on this thread, and the bound is passed meanwhile.
            Some(Err(error)) if error.kind() == ErrorKind::Conflict => Ok(()),
            other => other.unwrap_or(Ok(())),
        }
    }

    /// Plans under the writer's lock, works without it, finishes under it.
    fn carry_out(&self, scope: MergeScope, carry: Carry<'_>) -> Result<bool> {
        self.end_of(self.begin(scope)?, carry)
    }

    fn end_of(&self, begun: Begun, carry: Carry<'_>) -> Result<bool> {
        match begun {
            Begun::Task(task) => self.end(carry(*task)).map(|()| true),
            Begun::Tidied(done) => Ok(done),
        }
    }

    /// The first half of [`Collection::maintain`], for a host that takes the steps of its tasks itself, between
    /// its other calls. It may have several; each goes to [`Collection::end`], or is dropped, which frees its inputs.
    /// The host drops its tasks before it recovers.
    ///
    /// # Errors
    /// `StorageFull` if the vectors alone would not fit; those of [`Writer::tidy`].
    pub fn begin(&self, scope: MergeScope) -> Result<Begun> {
        let mut writer = self.writer()?;
        let Some(task) = writer.plan(scope) else {
            return writer.tidy().map(Begun::Tidied);
        };
        drop(writer);
        self.checked(task)
    }

    /// A task for which there is space.
    fn checked(&self, task: Task) -> Result<Begun> {
        match task.check_space() {
            Ok(()) => Ok(Begun::Task(Box::new(task))),
            Err(error) => {
                drop(task);
                self.end(Err(error)).map(|()| Begun::Tidied(true))
            }
        }
    }

    /// Commits what became of a task that was begun, and tidies up.
    ///
    /// # Errors
    /// That of `output`, and those of [`Writer::finish`].
    pub fn end(&self, output: Result<MergeOutput>) -> Result<()> {
        let mut writer = self.writer()?;
        if let Err(error) = &output {
            writer.leave_out(error);
        }
        let finished = output.and_then(|output| writer.finish(output));
        if finished.as_ref().is_err_and(|error| error.kind() == ErrorKind::StorageFull) {
            // The next attempt shall find what space there is.
            let _left = quarantine::empty(&*writer.location.storage, &writer.location.dir);
        }
        // Done is done, and failed is failed: files left behind take space, and are tried again.
        let _left = writer.tidy();
        finished
    }

    fn writer(&self) -> Result<MutexGuard<'_, Writer>> {
        self.check_there()?;
        match &self.role {
            Role::Writer(mutex, _) => Ok(mutex.lock().unwrap_or_else(|poisoned| {
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

#[cfg(test)]
mod tests {
    use std::panic::{AssertUnwindSafe, catch_unwind};

    use nearfield_segment::storage::{Directory, SimDisk, Storage};
    use nearfield_segment::{Encoding, Metric, Schema};

    use super::*;
    use crate::clock::ManualClock;
    use crate::database::{Database, Mode};
    use crate::options::Options;
    use crate::write::batch::Draft;

    #[test]
    fn a_reader_whose_thread_panicked_opens_everything_anew() {
        let disk = SimDisk::new(1);
        let open = |mode| {
            let storage: Arc<dyn Storage> = Arc::new(Directory::new(disk.clone()));
            let clock = Arc::new(ManualClock::new(1));
            Database::open(storage, mode, Options::default(), clock, 7, "test").expect("opens")
        };
        let writes = open(Mode::Write);
        let schema = Schema::dense(1, Metric::L2, Encoding::F32).expect("a good schema");
        let written = writes.create("points", &schema).expect("creates");
        let read = open(Mode::Read).collection("points").expect("opens");
        let Role::Follower(follower) = &read.role else { panic!("opened for reading") };
        let panics = || -> () {
            let _held = follower.lock().expect("no panic yet");
            panic!("on purpose")
        };
        assert!(catch_unwind(AssertUnwindSafe(panics)).is_err());
        let vectors = [(String::new(), vec![1.0].into())].into();
        let draft = Draft { rows: 1, vectors, ..Draft::default() };
        let batch = Batch::new(draft, &schema).expect("a good batch");
        written.apply(batch, &Pool::SERIAL).expect("writes");
        assert_eq!(read.refresh().expect("goes on").len(), 1);
        assert!(!follower.is_poisoned());
    }
}
