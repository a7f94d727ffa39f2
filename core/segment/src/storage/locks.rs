//! Advisory locks within one process, for media that no other process can reach.
//!
//! The rules are those of file locks: one exclusive holder or any number of shared ones, refused without
//! waiting, released when dropped.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard};

use super::disk::LockAttempt;
use super::{Lock, LockMode, refused};
use crate::error::Result;

/// What refused callers are told about shared holders, who leave no line of their own.
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
    held: Arc<Mutex<BTreeMap<String, Holders>>>,
}

impl LockTable {
    /// Takes the lock or says who holds it.
    pub(super) fn attempt(&self, name: &str, mode: LockMode, owner: &str) -> LockAttempt {
        let mut held = self.table();
        match (held.get_mut(name), mode) {
            (None, LockMode::Exclusive) => {
                held.insert(name.to_owned(), Holders::Exclusive(owner_line(owner).to_owned()));
            }
            (None, LockMode::Shared) => {
                held.insert(name.to_owned(), Holders::Shared(1));
            }
            (Some(Holders::Shared(count)), LockMode::Shared) => *count += 1,
            (Some(Holders::Shared(_)), LockMode::Exclusive) => {
                return LockAttempt::Refused { holder: SHARED_HOLDERS.to_owned() };
            }
            (Some(Holders::Exclusive(owner)), _) => {
                return LockAttempt::Refused { holder: owner.clone() };
            }
        }
        LockAttempt::Held(Box::new(HeldLock { table: self.clone(), name: name.to_owned() }))
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

    fn table(&self) -> MutexGuard<'_, BTreeMap<String, Holders>> {
        self.held.lock().expect("nothing panics while the table is held")
    }
}

#[derive(Debug)]
struct HeldLock {
    table: LockTable,
    name: String,
}

impl Lock for HeldLock {}

impl Drop for HeldLock {
    fn drop(&mut self) {
        let mut held = self.table.table();
        if let Some(Holders::Shared(count)) = held.get_mut(&self.name)
            && *count > 1
        {
            *count -= 1;
        } else {
            held.remove(&self.name);
        }
    }
}
