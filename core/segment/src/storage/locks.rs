//! `LockTable`: advisory locks within one process, for storages that no other process can reach. Used by
//! `MemoryStorage`, `SlotStorage` and the simulated disk. `owner_line`, the text a lock file holds, is also
//! used by `fs`.
//!
//! The rules are those of file locks: one exclusive holder or any number of shared ones, refused without
//! waiting, released when dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::LockAttempt;
use super::{Lock, LockMode, lost, refused};
use crate::error::Result;

/// Stands for shared holders in the message of a refusal; they leave no line of their own.
pub(super) const SHARED_HOLDERS: &str = "readers (shared)";

/// The one line an exclusive holder leaves.
pub(super) fn owner_line(owner: &str) -> &str {
    owner.lines().next().unwrap_or_default()
}

#[derive(Debug)]
enum Holders {
    Exclusive(String),
    Shared(usize),
}

/// The held locks of one medium, by name. Clones are the same table.
#[derive(Debug, Clone, Default)]
pub(super) struct LockTable {
    held: Arc<Mutex<Held>>,
}

#[derive(Debug, Default)]
struct Held {
    holders: BTreeMap<String, Holders>,
    /// How often the file of a name was removed.
    removed: BTreeMap<String, u64>,
}

impl Held {
    fn generation(&self, name: &str) -> u64 {
        self.removed.get(name).copied().unwrap_or(0)
    }
}

impl LockTable {
    /// Takes the lock or returns the line of its holder.
    pub(super) fn attempt(&self, name: &str, mode: LockMode, owner: &str) -> LockAttempt {
        let mut held = self.table();
        let generation = held.generation(name);
        match (held.holders.get_mut(name), mode) {
            (None, LockMode::Exclusive) => {
                held.holders
                    .insert(name.to_owned(), Holders::Exclusive(owner_line(owner).to_owned()));
            }
            (None, LockMode::Shared) => {
                held.holders.insert(name.to_owned(), Holders::Shared(1));
            }
            (Some(Holders::Shared(count)), LockMode::Shared) => *count += 1,
            (Some(Holders::Shared(_)), LockMode::Exclusive) => {
                return LockAttempt::Refused { holder: SHARED_HOLDERS.to_owned() };
            }
            (Some(Holders::Exclusive(owner)), _) => {
                return LockAttempt::Refused { holder: owner.clone() };
            }
        }
        let (table, name) = (self.clone(), name.to_owned());
        LockAttempt::Held(Box::new(HeldLock { table, name, generation }))
    }

    /// The file of a name is gone: a lock held on it no longer excludes others.
    #[cfg(any(test, feature = "testing"))]
    pub(super) fn forget(&self, name: &str) {
        let mut held = self.table();
        held.holders.remove(name);
        *held.removed.entry(name.to_owned()).or_default() += 1;
    }

    /// Takes the lock.
    ///
    /// # Errors
    /// `Locked`, as [`Storage::lock`](super::Storage::lock).
    pub(super) fn take(&self, name: &str, mode: LockMode, owner: &str) -> Result<Box<dyn Lock>> {
        match self.attempt(name, mode, owner) {
            LockAttempt::Held(lock) => Ok(lock),
            LockAttempt::Refused { holder } => Err(refused(name, &holder)),
        }
    }

    fn table(&self) -> MutexGuard<'_, Held> {
        self.held.lock().expect("nothing panics while the table is held")
    }
}

#[derive(Debug)]
struct HeldLock {
    table: LockTable,
    name: String,
    generation: u64,
}

impl Lock for HeldLock {
    fn check(&self) -> Result<()> {
        let current = self.table.table().generation(&self.name);
        if current == self.generation { Ok(()) } else { Err(lost(&self.name)) }
    }
}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let mut held = self.table.table();
        if held.generation(&self.name) != self.generation {
            return;
        }
        if let Some(Holders::Shared(count)) = held.holders.get_mut(&self.name)
            && *count > 1
        {
            *count -= 1;
        } else {
            held.holders.remove(&self.name);
        }
    }
}
