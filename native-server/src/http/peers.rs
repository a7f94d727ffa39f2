//! How many connections each address has: so that nobody alone takes all there are.
//!
//! An IPv6 address counts as its /64, which is what one customer has at the least. Addresses without a
//! connection are forgotten, so the table is never longer than there are connections.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The hosts that somebody may speak for.
const NETWORK_BITS: u32 = 64;

/// Connections by address.
#[derive(Debug)]
pub(super) struct Peers {
    each_max: usize,
    open: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection of an address, counted until it is dropped.
#[derive(Debug)]
pub(super) struct Peer {
    peers: Arc<Peers>,
    network: IpAddr,
}

impl Peers {
    /// At most `each_max` connections for each address; 0: any number.
    pub(super) fn new(each_max: usize) -> Arc<Peers> {
        Arc::new(Peers { each_max, open: Mutex::default() })
    }

    /// Counts a connection from `address`; `None` if it has as many as it may.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Peer> {
        let network = network(address);
        let mut open = self.open();
        let count = open.entry(network).or_default();
        if self.each_max > 0 && *count >= self.each_max {
            return None;
        }
        *count += 1;
        drop(open);
        Some(Peer { peers: Arc::clone(self), network })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        let mut open = self.peers.open();
        if let Some(count) = open.get_mut(&self.network) {
            *count -= 1;
            if *count == 0 {
                open.remove(&self.network);
            }
        }
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

    #[test]
    fn each_address_has_its_own_share_and_nothing_is_remembered_of_who_left() {
        let peers = Peers::new(2);
        let (one, other) = (address("10.0.0.1"), address("10.0.0.2"));
        let held = [peers.enter(one), peers.enter(one)];
        assert!(held.iter().all(Option::is_some) && peers.enter(one).is_none());
        assert!(peers.enter(address("::ffff:10.0.0.1")).is_none(), "the same in other words");
        assert!(peers.enter(other).is_some());
        drop(held);
        assert!(peers.open().is_empty());
    }

    #[test]
    fn without_a_limit_all_come_from_one_address() {
        let peers = Peers::new(0);
        let held: Vec<_> = (0..1000).map(|_| peers.enter(address("127.0.0.1"))).collect();
        assert!(held.iter().all(Option::is_some));
    }

    #[test]
    fn the_addresses_of_one_network_count_together() {
        let peers = Peers::new(1);
        let _held = peers.enter(address("2001:db8::1")).expect("the first");
        assert!(peers.enter(address("2001:db8::2")).is_none());
        assert!(peers.enter(address("2001:db8:0:1::2")).is_some());
    }
}
