//! The connections there are, and which one is closed when there is no room for another.
//!
//! *Invariant.* A new connection is refused only if its own address holds all that one address may, and every
//! one of them is answering a request with a good key. Without room, the connection that is worth least is
//! closed, of several the one that did nothing for the longest time:
//!
//! 1. no good key so far, and no request being answered (also: no request yet)
//! 2. no good key so far
//! 3. a good key, and no request being answered
//!
//! If all are answering requests with a good key, the new one takes a place of a small reserve, in which only
//! health and metrics are answered.
//!
//! An IPv6 address counts as its /64, which is what one customer has at the least. Order is by a counter, not by
//! a clock.

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
pub(super) struct Places {
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
    open: BTreeMap<u64, Arc<Seat>>,
    by_network: HashMap<IpAddr, usize>,
}

/// What is known about one connection.
#[derive(Debug)]
pub(super) struct Seat {
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

/// A connection's place, held until it is dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Arc<Places>,
    number: u64,
    pub(super) seat: Arc<Seat>,
}

impl Places {
    /// Room for `all_max` connections, `each_max` of one address, and the reserve.
    pub(super) fn new(all_max: usize, each_max: usize) -> Arc<Places> {
        let (table, ticks) = (Mutex::default(), Arc::default());
        Arc::new(Places { all_max, each_max, table, ticks })
    }

    /// A place for a connection from `address`; `None` if that has to be closed.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Place> {
        let network = network(address);
        let mut table = lock(&self.table);
        let held = table.by_network.get(&network).copied().unwrap_or_default();
        if self.each_max > 0 && held >= self.each_max {
            table.evict(|seat| (seat.network == network).then(|| seat.worth()).flatten())?;
        }
        let in_reserve = table.general() >= self.all_max
            && table.evict(|seat| seat.worth().filter(|_| !seat.in_reserve)).is_none();
        if in_reserve && table.open.len() - table.general() >= RESERVED {
            table.evict(|seat| seat.in_reserve.then(|| (0, seat.tick())))?;
        }
        let seat = Arc::new(Seat::new(network, in_reserve, Arc::clone(&self.ticks)));
        let number = table.add(&seat);
        drop(table);
        Some(Place { places: Arc::clone(self), number, seat })
    }
}

impl Table {
    fn add(&mut self, seat: &Arc<Seat>) -> u64 {
        let number = self.next;
        self.next += 1;
        *self.by_network.entry(seat.network).or_default() += 1;
        self.open.insert(number, Arc::clone(seat));
        number
    }

    fn remove(&mut self, number: u64) -> Option<Arc<Seat>> {
        let seat = self.open.remove(&number)?;
        if let Some(count) = self.by_network.get_mut(&seat.network) {
            *count -= 1;
            if *count == 0 {
                self.by_network.remove(&seat.network);
            }
        }
        Some(seat)
    }

    /// Connections outside the reserve. O(connections).
    fn general(&self) -> usize {
        self.open.values().filter(|seat| !seat.in_reserve).count()
    }

    /// Closes the connection that is worth least, if one may be closed. O(connections).
    fn evict(&mut self, worth: impl Fn(&Seat) -> Option<(u8, u64)>) -> Option<()> {
        let worths = self.open.iter().filter_map(|(number, seat)| Some((worth(seat)?, *number)));
        let (_, number) = worths.min()?;
        self.remove(number)?.evicted.notify_one();
        Some(())
    }
}

impl Seat {
    fn new(network: IpAddr, in_reserve: bool, ticks: Arc<AtomicU64>) -> Seat {
        let seat = Seat {
            network,
            in_reserve,
            has_key: AtomicBool::new(false),
            is_busy: AtomicBool::new(false),
            tick: AtomicU64::new(0),
            ticks,
            pulse: Arc::default(),
            evicted: Notify::new(),
        };
        seat.touch();
        seat
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

impl Drop for Place {
    fn drop(&mut self) {
        lock(&self.places.table).remove(self.number);
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
    fn evicted(places: &Places, held: &[Place]) -> Vec<usize> {
        let table = lock(&places.table);
        let is_gone = |place: &Place| !table.open.contains_key(&place.number);
        held.iter().enumerate().filter(|(_, place)| is_gone(place)).map(|(at, _)| at).collect()
    }

    #[test]
    fn without_room_the_oldest_of_those_that_are_worth_least_leaves() {
        let places = Places::new(4, 0);
        let enter = || places.enter(address("10.0.0.1")).expect("a place");
        let mut held: Vec<Place> = (0..4).map(|_| enter()).collect();
        // 0: a key and idle; 1: no key and busy; 2, 3: no key and idle, 2 of them seen last.
        held[0].seat.has_key();
        held[1].seat.begin();
        held[2].seat.begin();
        held[2].seat.end();
        for expected in [vec![3], vec![2, 3], vec![1, 2, 3], vec![0, 1, 2, 3]] {
            let new = enter();
            new.seat.has_key();
            new.seat.begin();
            held.push(new);
            assert_eq!(evicted(&places, &held), expected);
        }
    }

    #[test]
    fn when_all_are_busy_the_reserve_takes_newcomers_and_gives_up_its_oldest() {
        let places = Places::new(2, 0);
        let enter = || places.enter(address("10.0.0.1")).expect("a place");
        let mut held: Vec<Place> = (0..2).map(|_| enter()).collect();
        for place in &held {
            place.seat.has_key();
            place.seat.begin();
        }
        held.extend((0..RESERVED + 1).map(|_| enter()));
        assert!(held[2..].iter().all(|place| place.seat.is_reserve()));
        assert_eq!(evicted(&places, &held), [2]);
        held[0].seat.end();
        assert!(!enter().seat.is_reserve(), "a place became free");
        assert_eq!(evicted(&places, &held), [0, 2]);
    }

    #[test]
    fn an_answer_that_is_not_sent_keeps_a_connection_busy() {
        let places = Places::new(1, 0);
        let held = places.enter(address("10.0.0.1")).expect("a place");
        held.seat.has_key();
        held.seat.pulse.set_unsent(true);
        assert!(places.enter(address("10.0.0.2")).expect("a place").seat.is_reserve());
        held.seat.pulse.set_unsent(false);
        assert!(!places.enter(address("10.0.0.2")).expect("a place").seat.is_reserve());
    }

    #[test]
    fn each_address_has_its_own_share_and_nothing_is_remembered_of_those_that_left() {
        let places = Places::new(100, 2);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let held: Vec<Place> = (0..2).filter_map(|_| places.enter(one)).collect();
        let others = places.enter(other).expect("another address");
        for place in held.iter().chain([&others]) {
            place.seat.has_key();
            place.seat.begin();
        }
        assert!(places.enter(one).is_none());
        assert!(places.enter(address("::ffff:10.0.0.1")).is_none(), "the same in other words");
        held[1].seat.end();
        let new = places.enter(one).expect("its own idle one leaves");
        assert_eq!(evicted(&places, &held), [1]);
        drop((held, others, new));
        let table = lock(&places.table);
        assert!(table.open.is_empty() && table.by_network.is_empty());
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let places = Places::new(100, 1);
        let held = places.enter(address("2001:db8::1")).expect("the first");
        held.seat.has_key();
        held.seat.begin();
        assert!(places.enter(address("2001:db8::2")).is_none());
        assert!(places.enter(address("2001:db8:0:1::2")).is_some());
    }
}
