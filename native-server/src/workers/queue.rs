//! `Queues`: the write queue, a bounded queue for each collection, and the choice of the one that is written next. A
//! pure data structure without threads, used by `Committers`; times are durations on the caller's clock.
//!
//! *Invariants.* Items of one lane are taken in the order they came, by one taker at a time. A lane is taken
//! once it is due: at once for a caller that waits, later for one that does not, and at once when half full.
//! Of the items that were promised (answered before they are written) and are not written, none is
//! younger than the oldest by more than `behind_max`: that is all a crash can take.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

/// Bytes in one group, the first item aside: a group is one sync, and its callers are answered after it.
const GROUP_BYTES_MAX: u64 = 32 << 20;

/// Queues by number of lane; only lanes where something waits or is being written are here.
#[derive(Debug)]
pub(super) struct Queues<T> {
    lanes: BTreeMap<u64, Lane<T>>,
    /// Items in one lane.
    capacity: usize,
    /// From the oldest promised item that is not written to the youngest.
    behind_max: Duration,
    closed: bool,
}

#[derive(Debug)]
struct Lane<T> {
    waiting: VecDeque<Item<T>>,
    bytes: u64,
    due: Duration,
    busy: bool,
    /// When the oldest promised item of the group being written was.
    promised: Option<Duration>,
}

#[derive(Debug)]
struct Item<T> {
    item: T,
    bytes: u64,
    promised: Option<Duration>,
}

/// When an item is to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    /// It is to be taken then at the latest.
    pub(super) at: Duration,
    /// When that was promised to a caller that does not wait for it.
    pub(super) promised: Option<Duration>,
}

/// What there is to do.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Next<T> {
    /// Write these, then say [`Queues::done`].
    Group(u64, Vec<T>),
    /// Nothing before this time.
    WaitUntil(Duration),
    /// Nothing.
    Nothing,
}

/// Why an item was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refused {
    Full,
    /// Older promises of the lane are not kept yet.
    Behind,
    Closed,
}

impl<T> Queues<T> {
    pub(super) fn new(capacity: usize, behind_max: Duration) -> Queues<T> {
        Queues { lanes: BTreeMap::new(), capacity, behind_max, closed: false }
    }

    /// Adds an item of `bytes` bytes.
    pub(super) fn push(&mut self, lane: u64, item: T, bytes: u64, due: Due) -> Result<(), Refused> {
        if self.closed {
            return Err(Refused::Closed);
        }
        let lane = self.lanes.entry(lane).or_insert_with(|| Lane::empty(due.at));
        if lane.waiting.len() >= self.capacity {
            return Err(Refused::Full);
        }
        if let (Some(now), Some(oldest)) = (due.promised, lane.oldest_promise())
            && now.saturating_sub(oldest) > self.behind_max
        {
            return Err(Refused::Behind);
        }
        lane.due = if lane.waiting.is_empty() { due.at } else { lane.due.min(due.at) };
        lane.waiting.push_back(Item { item, bytes, promised: due.promised });
        lane.bytes += bytes;
        if lane.waiting.len() * 2 >= self.capacity || lane.bytes >= GROUP_BYTES_MAX {
            lane.due = Duration::ZERO;
        }
        Ok(())
    }

    /// The group that has been due longest.
    pub(super) fn next(&mut self, now: Duration) -> Next<T> {
        let free = self.lanes.iter_mut().filter(|(_, lane)| !lane.busy && !lane.waiting.is_empty());
        let Some((&number, lane)) = free.min_by_key(|(_, lane)| lane.due) else {
            return Next::Nothing;
        };
        if lane.due > now && !self.closed {
            return Next::WaitUntil(lane.due);
        }
        let group = lane.take();
        // What is left has waited as long; behind those of other lanes that have waited longer.
        lane.due = now;
        Next::Group(number, group)
    }

    /// The group of a lane is written.
    pub(super) fn done(&mut self, number: u64) {
        if let Some(lane) = self.lanes.get_mut(&number) {
            (lane.busy, lane.promised) = (false, None);
            if lane.waiting.is_empty() {
                self.lanes.remove(&number);
            }
        }
    }

    /// Takes nothing more; everything waiting is due.
    pub(super) fn close(&mut self) {
        self.closed = true;
    }

    pub(super) fn is_closed(&self) -> bool {
        self.closed
    }

    /// True if nothing waits and nothing is being written.
    pub(super) fn is_drained(&self) -> bool {
        self.lanes.is_empty()
    }

    /// True if something waits that is not being written.
    pub(super) fn is_waiting(&self) -> bool {
        self.lanes.values().any(|lane| !lane.busy && !lane.waiting.is_empty())
    }

    /// Items and bytes waiting in a lane.
    pub(super) fn depth(&self, lane: u64) -> (u64, u64) {
        self.lanes.get(&lane).map_or((0, 0), |lane| (lane.waiting.len() as u64, lane.bytes))
    }

    /// Gives up what still waits.
    pub(super) fn clear(&mut self) -> Vec<T> {
        let lanes = self.lanes.values_mut();
        let given_up =
            lanes.flat_map(|lane| lane.waiting.drain(..).map(|waiting| waiting.item)).collect();
        self.lanes.values_mut().for_each(|lane| lane.bytes = 0);
        self.lanes.retain(|_, lane| lane.busy);
        given_up
    }
}

impl<T> Lane<T> {
    fn empty(due: Duration) -> Lane<T> {
        Lane { waiting: VecDeque::new(), bytes: 0, due, busy: false, promised: None }
    }

    /// Promises are made in the order of the queue. Usually O(1): the first that waits is one.
    fn oldest_promise(&self) -> Option<Duration> {
        self.promised.or_else(|| self.waiting.iter().find_map(|waiting| waiting.promised))
    }

    /// The next group, which is being written from now on.
    fn take(&mut self) -> Vec<T> {
        self.busy = true;
        let (mut group, mut group_bytes) = (Vec::new(), 0);
        while let Some(Item { bytes, .. }) = self.waiting.front()
            && (group.is_empty() || group_bytes + bytes <= GROUP_BYTES_MAX)
        {
            group_bytes += bytes;
            let Some(Item { item, promised, .. }) = self.waiting.pop_front() else { break };
            self.promised = self.promised.or(promised);
            group.push(item);
        }
        self.bytes -= group_bytes;
        group
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Duration = Duration::from_secs(10);
    const LATER: Duration = Duration::from_secs(11);
    const SECOND: Duration = Duration::from_secs(1);

    /// For a caller that waits.
    fn at(at: Duration) -> Due {
        Due { at, promised: None }
    }

    fn queues(items: &[(u64, char, Duration)]) -> Queues<char> {
        let mut queues = Queues::new(8, SECOND);
        for &(lane, item, due) in items {
            queues.push(lane, item, 1, at(due)).expect("there is room");
        }
        queues
    }

    #[test]
    fn one_taker_gets_everything_that_waits_for_a_collection_in_order() {
        let mut queues = queues(&[(1, 'a', NOW), (1, 'b', LATER), (1, 'c', NOW)]);
        assert_eq!(queues.next(NOW), Next::Group(1, vec!['a', 'b', 'c']));
        queues.push(1, 'd', 1, at(NOW)).expect("there is room");
        assert_eq!(queues.next(NOW), Next::Nothing, "its group is being written");
        queues.done(1);
        assert_eq!(queues.next(NOW), Next::Group(1, vec!['d']));
        queues.done(1);
        assert!(queues.is_drained());
    }

    #[test]
    fn what_nobody_waits_for_is_taken_after_the_interval_or_with_what_is_due() {
        let mut queues = queues(&[(1, 'a', LATER)]);
        assert_eq!(queues.next(NOW), Next::WaitUntil(LATER));
        assert_eq!(queues.next(LATER), Next::Group(1, vec!['a']));
        queues.done(1);
        queues.push(1, 'b', 1, at(LATER)).expect("there is room");
        queues.push(1, 'c', 1, at(NOW)).expect("there is room");
        assert_eq!(queues.next(NOW), Next::Group(1, vec!['b', 'c']));
    }

    #[test]
    fn the_collection_that_has_been_due_longest_is_next() {
        let mut queues = queues(&[(1, 'a', LATER), (2, 'b', NOW)]);
        assert_eq!(queues.next(LATER), Next::Group(2, vec!['b']));
        queues.push(2, 'c', 1, at(LATER)).expect("there is room");
        assert_eq!(queues.next(LATER), Next::Group(1, vec!['a']));
    }

    #[test]
    fn a_full_queue_refuses_and_a_half_full_one_is_due() {
        let mut queues = queues(&[(1, 'a', LATER); 4]);
        assert!(matches!(queues.next(NOW), Next::Group(1, group) if group.len() == 4));
        for _ in 0..8 {
            queues.push(1, 'b', 1, at(LATER)).expect("there is room");
        }
        assert_eq!(queues.push(1, 'c', 1, at(LATER)), Err(Refused::Full));
        assert_eq!(queues.push(2, 'c', 1, at(LATER)), Ok(()), "each has its own");
        assert_eq!(queues.depth(1), (8, 8));
    }

    #[test]
    fn a_group_is_bounded_in_bytes_but_never_empty() {
        let mut queues = Queues::new(8, SECOND);
        for item in ['a', 'b', 'c'] {
            queues.push(1, item, GROUP_BYTES_MAX, at(NOW)).expect("there is room");
        }
        for item in ['a', 'b', 'c'] {
            assert_eq!(queues.next(NOW), Next::Group(1, vec![item]));
            queues.done(1);
        }
    }

    #[test]
    fn closing_makes_everything_due_and_takes_nothing_more() {
        let mut queues = queues(&[(1, 'a', LATER), (2, 'b', LATER)]);
        queues.close();
        assert_eq!(queues.push(1, 'c', 1, at(NOW)), Err(Refused::Closed));
        assert!(matches!(queues.next(NOW), Next::Group(_, _)));
        assert!(!queues.is_drained());
        assert_eq!(queues.clear().len(), 1);
        queues.done(1);
        assert!(queues.is_drained());
    }

    #[test]
    fn nothing_more_is_promised_while_an_old_promise_is_not_kept() {
        let promise = |second: u32| {
            let now = SECOND * second;
            Due { at: now + SECOND / 2, promised: Some(now) }
        };
        let mut queues = Queues::new(100, SECOND);
        queues.push(1, 'a', 1, promise(10)).expect("there is room");
        queues.push(1, 'b', 1, promise(11)).expect("the oldest is a second old");
        assert_eq!(queues.push(1, 'c', 1, promise(12)), Err(Refused::Behind));
        assert_eq!(queues.next(LATER), Next::Group(1, vec!['a', 'b']));
        assert_eq!(queues.push(1, 'c', 1, promise(12)), Err(Refused::Behind), "not written yet");
        assert_eq!(queues.push(2, 'c', 1, promise(12)), Ok(()), "each has its own");
        assert_eq!(
            queues.push(1, 'w', 1, at(LATER)),
            Ok(()),
            "a caller that waits was promised nothing"
        );
        queues.done(1);
        assert_eq!(queues.push(1, 'c', 1, promise(12)), Ok(()));
    }
}
