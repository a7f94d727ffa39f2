//! `Turns`: coordinates the threads that run tasks of one collection with callers that need to be alone (full
//! compaction, recovery). Used by `Collection`.
//!
//! Background work enters and leaves as it likes, unless a caller waits to be alone: then nothing new enters, and what
//! runs is expected to stop at its next step. Checkpoints never wait for merges.
//!
//! Knows nothing of tasks that a host steps by itself (`Collection::begin`).

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// The running tasks and the waiting callers of a collection.
#[derive(Debug, Default)]
pub(crate) struct Turns {
    state: Mutex<State>,
    changed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    /// Threads that work.
    working: usize,
    /// Threads that have stopped working, ever.
    ended: u64,
    /// Callers that wait for exclusive use.
    waiting: usize,
}

/// A thread that works, until it is dropped.
#[derive(Debug)]
pub(crate) struct Turn<'a>(&'a Turns);

impl Turns {
    /// For background work; `None` while a caller waits to be alone.
    pub(crate) fn enter_unless_wanted(&self) -> Option<Turn<'_>> {
        let mut state = self.state();
        (state.waiting == 0).then(|| self.begin(&mut state))
    }

    /// For work that a caller asked for and that is short.
    pub(crate) fn enter(&self) -> Turn<'_> {
        self.begin(&mut self.state())
    }

    /// Waits until nothing else works, then calls `work`: nothing but [`Turns::enter`] begins before it returns.
    pub(crate) fn alone<'a, R>(&'a self, work: impl FnOnce(Turn<'a>) -> R) -> R {
        let mut state = self.state();
        state.waiting += 1;
        let waits = |state: &mut State| state.working > 0;
        let waited = self.changed.wait_while(state, waits);
        let turn = self.begin(&mut waited.unwrap_or_else(PoisonError::into_inner));
        let _until_done = Waiting(self);
        work(turn)
    }

    /// True while a caller waits to be alone.
    pub(crate) fn is_wanted(&self) -> bool {
        self.state().waiting > 0
    }

    /// How many threads have stopped working, ever.
    pub(crate) fn ended(&self) -> u64 {
        self.state().ended
    }

    /// Waits until another thread has stopped working since there were `seen` of them. False if none works.
    pub(crate) fn wait_for_end(&self, seen: u64) -> bool {
        let waits = |state: &mut State| state.ended == seen && state.working > 0;
        let waited = self.changed.wait_while(self.state(), waits);
        waited.unwrap_or_else(PoisonError::into_inner).ended > seen
    }

    fn begin(&self, state: &mut State) -> Turn<'_> {
        state.working += 1;
        Turn(self)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.working -= 1;
        state.ended += 1;
        self.0.changed.notify_all();
    }
}

/// A caller that waits or is alone.
struct Waiting<'a>(&'a Turns);

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.state().waiting -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn background_work_enters_unless_a_caller_waits_and_the_caller_is_alone() {
        let turns = Turns::default();
        let background = turns.enter_unless_wanted().expect("nothing waits");
        std::thread::scope(|scope| {
            let alone = scope.spawn(|| turns.alone(|_turn| turns.state().working));
            while !turns.is_wanted() {
                std::thread::yield_now();
            }
            assert!(turns.enter_unless_wanted().is_none());
            drop(background);
            assert_eq!(alone.join().expect("no panic"), 1);
        });
        assert!(turns.enter_unless_wanted().is_some());
    }

    #[test]
    fn an_end_is_waited_for_only_while_something_works() {
        let turns = Turns::default();
        assert!(!turns.wait_for_end(turns.ended()));
        let turn = turns.enter();
        let seen = turns.ended();
        std::thread::scope(|scope| {
            let waits = scope.spawn(|| turns.wait_for_end(seen));
            drop(turn);
            assert!(waits.join().expect("no panic"));
        });
    }
}
