//! `ConnectionSlots`: limits the open connections, and decides which one is closed when there is no room for another.
//! `Listener` enters each connection (`HeldSlot`); `gate` marks the `ConnectionSlot` of a request with a valid key.
//!
//! *Invariant.* A new connection is refused only if its own address holds all that one address may, and every
//! one of them is answering a request with a good key. Without room, the connection that is worth least is
//! closed, of several the one that did nothing for the longest time:
//!
//! 1. no good key so far, and no request being answered (also: no request yet)
//! 2. no good key so far
//! 3. a good key, and no request being answered
//!
//! If all are answering requests with a good key, the new one takes a slot of a small reserve, in which only
//! health and metrics are answered.
//!
//! An IPv6 address counts as its /64, which is what one customer has at the least.

use std::collections::{BTreeMap, HashMap};
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use tokio::sync::Notify;

use super::pace::Pulse;
use crate::host::lock;

/// The bits of an IPv6 address that name a network.
const NETWORK_BITS: u32 = 64;
/// Connections beyond the limit, for health and metrics.
pub(super) const RESERVED: usize = 16;

/// All connections from the network.
#[derive(Debug)]
pub(super) struct ConnectionSlots {
    all_max: usize,
    /// Of one address; 0: as many as there are.
    each_max: usize,
    table: Mutex<Table>,
    /// Counts what connections do.
    ticks: Arc<AtomicU64>,
}

#[derive(Debug, Default)]
struct Table {
    next: u64,
    open: BTreeMap<u64, Arc<ConnectionSlot>>,
    by_network: HashMap<IpAddr, usize>,
}

/// What is known about one connection.
#[derive(Debug)]
pub(super) struct ConnectionSlot {
    network: IpAddr,
    in_reserve: bool,
    /// A request with a good key came.
    has_key: AtomicBool,
    /// A request is being answered.
    is_busy: AtomicBool,
    /// When it last did something, on the common counter.
    tick: AtomicU64,
    ticks: Arc<AtomicU64>,
    /// What is known of its socket.
    pub(super) pulse: Arc<Pulse>,
    /// It has to leave.
    pub(super) evicted: Notify,
}

/// The slot that a connection holds until this is dropped.
#[derive(Debug)]
pub(super) struct HeldSlot {
    slots: Arc<ConnectionSlots>,
    number: u64,
    pub(super) slot: Arc<ConnectionSlot>,
}

impl ConnectionSlots {
    /// Room for `all_max` connections, `each_max` of one address, and the reserve.
    pub(super) fn new(all_max: usize, each_max: usize) -> Arc<ConnectionSlots> {
        let (table, ticks) = (Mutex::default(), Arc::default());
        Arc::new(ConnectionSlots { all_max, each_max, table, ticks })
    }

    /// A slot for a connection from `address`; `None` if that has to be closed.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<HeldSlot> {
        let network = network(address);
        let mut table = lock(&self.table);
        let held = table.by_network.get(&network).copied().unwrap_or_default();
        if self.each_max > 0 && held >= self.each_max {
            table.evict(|slot| (slot.network == network).then(|| slot.worth()).flatten())?;
        }
        let in_reserve = table.general() >= self.all_max
            && table.evict(|slot| slot.worth().filter(|_| !slot.in_reserve)).is_none();
        if in_reserve && table.open.len() - table.general() >= RESERVED {
            table.evict(|slot| slot.in_reserve.then(|| (0, slot.tick())))?;
        }
        let slot = Arc::new(ConnectionSlot::new(network, in_reserve, Arc::clone(&self.ticks)));
        let number = table.add(&slot);
        drop(table);
        Some(HeldSlot { slots: Arc::clone(self), number, slot })
    }
}

impl Table {
    fn add(&mut self, slot: &Arc<ConnectionSlot>) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.by_network.entry(slot.network).or_default() += 1;
        self.open.insert(number, Arc::clone(slot));
        number
    }

    fn remove(&mut self, number: u64) -> Option<Arc<ConnectionSlot>> {
        let slot = self.open.remove(&number)?;
        if let Some(count) = self.by_network.get_mut(&slot.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&slot.network);
            }
        }
        Some(slot)
    }

    /// Connections outside the reserve. O(connections).
    fn general(&self) -> usize {
        self.open.values().filter(|slot| !slot.in_reserve).count()
    }

    /// Closes the connection that is worth least, if one may be closed. O(connections).
    fn evict(&mut self, worth: impl Fn(&ConnectionSlot) -> Option<(u8, u64)>) -> Option<()> {
        let worths = self.open.iter().filter_map(|(number, slot)| Some((worth(slot)?, *number)));
        let (_, number) = worths.min()?;
        self.remove(number)?.evicted.notify_one();
        Some(())
    }
}

impl ConnectionSlot {
    fn new(network: IpAddr, in_reserve: bool, ticks: Arc<AtomicU64>) -> ConnectionSlot {
        let slot = ConnectionSlot {
            network,
            in_reserve,
            has_key: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            tick: AtomicU64::new(0),
            ticks,
            pulse: Arc::default(),
            evicted: Notify::new(),
        };
        slot.touch();
        slot
    }

    /// A request begins.
    pub(super) fn begin(&self) {
        self.is_busy.store(true, Ordering::Relaxed);
        self.touch();
    }

    /// The answer is made, and is to be sent.
    pub(super) fn end(&self) {
        self.pulse.answer_begins();
        self.is_busy.store(false, Ordering::Relaxed);
        self.touch();
    }

    fn touch(&self) {
        self.tick.store(self.ticks.fetch_add(1, Ordering::Relaxed), Ordering::Relaxed);
    }

    /// Whether only health and metrics are answered.
    pub(super) fn is_reserve(&self) -> bool {
        self.in_reserve
    }

    /// Its request has a good key.
    pub(super) fn has_key(&self) {
        self.has_key.store(true, Ordering::Relaxed);
    }

    fn tick(&self) -> u64 {
        self.tick.load(Ordering::Relaxed)
    }

    /// Class and age of a connection that may be closed; the smallest goes first.
    fn worth(&self) -> Option<(u8, u64)> {
        let is_idle = !self.is_busy.load(Ordering::Relaxed) && !self.pulse.has_unsent();
        let class = match (self.has_key.load(Ordering::Relaxed), is_idle) {
            (false, true) => 0,
            (false, false) => 1,
            (true, true) => 2,
            (true, false) => return None,
        };
        Some((class, self.tick()))
    }
}

impl Drop for HeldSlot {
    fn drop(&mut self) {
        lock(&self.slots.table).remove(self.number);
    }
}

fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V4(address) => address.into(),
        IpAddr::V6(address) => {
            let host_bits = u128::BITS - NETWORK_BITS;
            Ipv6Addr::from_bits(address.to_bits() >> host_bits << host_bits).into()
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn address(text: &str) -> IpAddr {
        text.parse().expect("an address")
    }

    /// The numbers of those of `held` that had to leave.
    fn evicted(places: &ConnectionSlots, held: &[HeldSlot]) -> Vec<usize> {
        let table = lock(&places.table);
        let is_gone = |place: &HeldSlot| !table.open.contains_key(&place.number);
        held.iter().enumerate().filter(|(_, place)| is_gone(place)).map(|(at, _)| at).collect()
    }

    #[test]
    fn without_room_the_oldest_of_those_that_are_worth_least_leaves() {
        let places = ConnectionSlots::new(4, 0);
        let enter = || places.enter(address("10.0.0.1")).expect("a slot");
        let mut held: Vec<HeldSlot> = (0..4).map(|_| enter()).collect();
        // 0: a key and idle; 1: no key and busy; 2, 3: no key and idle, 2 of them seen last.
        held[0].slot.has_key();
        held[1].slot.begin();
        held[2].slot.begin();
        held[2].slot.end();
        for expected in [vec![3], vec![2, 3], vec![1, 2, 3], vec![0, 1, 2, 3]] {
            let new = enter();
            new.slot.has_key();
            new.slot.begin();
            held.push(new);
            assert_eq!(evicted(&places, &held), expected);
        }
    }

    #[test]
    fn when_all_are_busy_the_reserve_takes_newcomers_and_gives_up_its_oldest() {
        let places = ConnectionSlots::new(2, 0);
        let enter = || places.enter(address("10.0.0.1")).expect("a slot");
        let mut held: Vec<HeldSlot> = (0..2).map(|_| enter()).collect();
        for place in &held {
            place.slot.has_key();
            place.slot.begin();
        }
        held.extend((0..RESERVED + 1).map(|_| enter()));
        assert!(held[2..].iter().all(|place| place.slot.is_reserve()));
        assert_eq!(evicted(&places, &held), [2]);
        held[0].slot.end();
        assert!(!enter().slot.is_reserve(), "a slot became free");
        assert_eq!(evicted(&places, &held), [0, 2]);
    }

    #[test]
    fn an_answer_that_is_not_sent_keeps_a_connection_busy() {
        let places = ConnectionSlots::new(1, 0);
        let held = places.enter(address("10.0.0.1")).expect("a slot");
        held.slot.has_key();
        held.slot.pulse.set_unsent(true);
        assert!(places.enter(address("10.0.0.2")).expect("a slot").slot.is_reserve());
        held.slot.pulse.set_unsent(false);
        assert!(!places.enter(address("10.0.0.2")).expect("a slot").slot.is_reserve());
    }

    #[test]
    fn each_address_has_its_own_share_and_nothing_is_remembered_of_those_that_left() {
        let places = ConnectionSlots::new(100, 2);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let held: Vec<HeldSlot> = (0..2).filter_map(|_| places.enter(one)).collect();
        let others = places.enter(other).expect("another address");
        for place in held.iter().chain([&others]) {
            place.slot.has_key();
            place.slot.begin();
        }
        assert!(places.enter(one).is_none());
        assert!(places.enter(address("::ffff:10.0.0.1")).is_none(), "the same in other words");
        held[1].slot.end();
        let new = places.enter(one).expect("its own idle one leaves");
        assert_eq!(evicted(&places, &held), [1]);
        drop((held, others, new));
        let table = lock(&places.table);
        assert!(table.open.is_empty() && table.by_network.is_empty());
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let places = ConnectionSlots::new(100, 1);
        let held = places.enter(address("2001:db8::1")).expect("the first");
        held.slot.has_key();
        held.slot.begin();
        assert!(places.enter(address("2001:db8::2")).is_none());
        assert!(places.enter(address("2001:db8:0:1::2")).is_some());
    }
}
