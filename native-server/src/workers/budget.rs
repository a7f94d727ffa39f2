//! Memory promised to queues, requests and rows not yet in files.

/// Memory held for a request; given back when dropped.
#[derive(Debug)]
pub struct Reservation {
    pub(crate) bytes: u64,
}

impl Reservation {
    /// How much it holds.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }
}
