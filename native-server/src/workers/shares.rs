//! `Shares`: a fair queue, in which work waits in a lane for each owner, and owners take turns. Used by
//! `SearchThreads`; an `Owner` is a key.
//!
//! *Invariants.* Each lane is bounded, in work that waits and in work that runs. An owner with a thousand jobs
//! waiting delays another owner's next job by at most one of its own.

use std::collections::{BTreeMap, VecDeque};

use crate::catalog::KeyId;

/// Whose work it is: a key, or the control socket.
pub type Owner = Option<KeyId>;

/// Work that waits and runs, by owner.
#[derive(Debug)]
pub(super) struct Shares<T> {
    /// Work that one owner may have waiting.
    waiting_max: usize,
    /// Work of one owner that may run at once.
    running_max: usize,
    lanes: BTreeMap<Owner, Lane<T>>,
    /// Owners with work that waits, the next one first.
    turns: VecDeque<Owner>,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<T>,
    running: usize,
}

impl<T> Shares<T> {
    pub(super) fn new(waiting_max: usize, running_max: usize) -> Shares<T> {
        let (lanes, turns) = (BTreeMap::new(), VecDeque::new());
        Shares { waiting_max, running_max, lanes, turns }
    }

    /// Adds work; returns it if the owner's lane is full. Work that is not `wanted` any more makes room.
    pub(super) fn push(
        &mut self,
        owner: Owner,
        work: T,
        wanted: impl Fn(&T) -> bool,
    ) -> Result<(), T> {
        let empty = || Lane { waiting: VecDeque::new(), running: 0 };
        let lane = self.lanes.entry(owner).or_insert_with(empty);
        if lane.waiting.len() >= self.waiting_max {
            lane.waiting.retain(wanted);
        }
        if lane.waiting.len() >= self.waiting_max {
            return Err(work);
        }
        lane.waiting.push_back(work);
        if !self.turns.contains(&owner) {
            self.turns.push_back(owner);
        }
        Ok(())
    }

    /// The next work, of the owner whose turn it is. It runs until [`Shares::done`].
    pub(super) fn next(&mut self) -> Option<(Owner, T)> {
        for _ in 0..self.turns.len() {
            let owner = self.turns.pop_front()?;
            let Some(lane) = self.lanes.get_mut(&owner) else { continue };
            if lane.running >= self.running_max {
                self.turns.push_back(owner);
                continue;
            }
            let Some(work) = lane.waiting.pop_front() else { continue };
            lane.running += 1;
            if !lane.waiting.is_empty() {
                self.turns.push_back(owner);
            }
            return Some((owner, work));
        }
        None
    }

    /// Work of an owner has ended.
    pub(super) fn done(&mut self, owner: Owner) {
        if let Some(lane) = self.lanes.get_mut(&owner) {
            lane.running -= 1;
            if lane.running == 0 && lane.waiting.is_empty() {
                self.lanes.remove(&owner);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn owner(hex: char) -> Owner {
        KeyId::parse(&format!("nfk_000000000000000{hex}"))
    }

    fn push(shares: &mut Shares<u32>, owner: Owner, work: u32) -> Result<(), u32> {
        shares.push(owner, work, |work| *work < 100)
    }

    #[test]
    fn owners_take_turns_however_much_each_has_waiting() {
        let (a, b, c) = (owner('a'), owner('b'), None);
        let mut shares = Shares::new(8, 8);
        for (owner, work) in [(a, 1), (a, 2), (a, 3), (a, 4), (b, 5), (b, 6), (c, 7)] {
            push(&mut shares, owner, work).expect("there is room");
        }
        let order: Vec<u32> = std::iter::from_fn(|| shares.next()).map(|(_, work)| work).collect();
        assert_eq!(order, [1, 5, 7, 2, 6, 3, 4]);
        for owner in [a, a, a, a, b, b, c] {
            shares.done(owner);
        }
        assert!(shares.lanes.is_empty() && shares.turns.is_empty(), "{shares:?}");
    }

    #[test]
    fn an_owner_at_its_limit_waits_while_others_run() {
        let (a, b) = (owner('a'), owner('b'));
        let mut shares = Shares::new(8, 2);
        for (owner, work) in [(a, 1), (a, 2), (a, 3), (b, 4)] {
            push(&mut shares, owner, work).expect("there is room");
        }
        assert_eq!(shares.next(), Some((a, 1)));
        assert_eq!(shares.next(), Some((b, 4)));
        assert_eq!(shares.next(), Some((a, 2)));
        assert_eq!(shares.next(), None, "two of a run");
        shares.done(a);
        assert_eq!(shares.next(), Some((a, 3)));
    }

    #[test]
    fn a_full_lane_drops_what_is_not_wanted_and_else_refuses() {
        let (a, b) = (owner('a'), owner('b'));
        let mut shares = Shares::new(2, 1);
        for work in [1, 100] {
            push(&mut shares, a, work).expect("there is room");
        }
        push(&mut shares, a, 2).expect("100 is not wanted");
        assert_eq!(push(&mut shares, a, 3), Err(3));
        push(&mut shares, b, 4).expect("each owner has its own lane");
    }
}
