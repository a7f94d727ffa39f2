//! `SlotStorage`: storage in a pool of files that are open in advance, where opening a file is asynchronous:
//! in a browser (OPFS). The host, `wasm`'s store, opens a number of files beforehand, *slots* (the trait
//! `Slots`), and names live inside of them:
//!
//! | bytes of a slot | content |
//! |---|---|
//! | 0 | header: name, kind, length, sequence, checksum (`header`) |
//! | 4096 | the same header once more |
//! | 8192 | content |
//!
//! | operation | order |
//! |---|---|
//! | `put`, `put_new` | free slot, write content, flush, header with the name; the header of a replaced blob then becomes a free one |
//! | `append_new` | free slot, cut, flush, header |
//! | `rename` | header with the new name |
//! | `link` | a copy as by `put_new` |
//! | `remove` | header of a free slot, then cut |
//! | every header | first copy, flush, second copy, flush |
//! | opening | headers that a crash left half written, then free slots are cut |
//!
//! Invariant: a name is shown by a header only when its content is durable, and at any moment one of the two
//! copies of a header is whole. So a torn header leaves the old name or the new one; two damaged copies are
//! rot, and refuse the store. Of two slots with one name the higher sequence counts.
//!
//! Does not make slots: the host adds them between operations, and without a free one a write is `StorageFull`.

use std::fmt::Debug;
use std::io;

mod file;
mod header;
mod pool;
#[cfg(any(test, feature = "testing"))]
mod sim;
mod table;
#[cfg(test)]
mod tests;

pub use pool::SlotStorage;
#[cfg(any(test, feature = "testing"))]
pub use sim::SimSlots;

/// Which slot of a pool; they are numbered from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SlotId(pub u32);

/// Files that this process alone has open for reading and writing. They outlive it; names and order do not
/// matter. Errors are the system's own.
pub trait Slots: Send + Sync + Debug {
    /// How many there are. Grows when the host adds some, which are empty; never shrinks.
    fn count(&self) -> u32;

    /// Length of the file in bytes.
    fn len(&self, slot: SlotId) -> io::Result<u64>;

    /// Fills `out` from `offset` on.
    ///
    /// # Errors
    /// `UnexpectedEof` if the file ends before.
    fn read(&self, slot: SlotId, offset: u64, out: &mut [u8]) -> io::Result<()>;

    /// Writes all of `bytes` at `offset`; the file grows as needed. Not durable before `flush`.
    ///
    /// # Errors
    /// `StorageFull` or `QuotaExceeded` if there is no space, and others; any part may have been written.
    fn write(&self, slot: SlotId, offset: u64, bytes: &[u8]) -> io::Result<()>;

    /// Cuts the file, or fills it up with zeros, to `len_bytes`. Not durable before `flush`.
    fn truncate(&self, slot: SlotId, len_bytes: u64) -> io::Result<()>;

    /// Makes all that was done to this file durable.
    ///
    /// # Errors
    /// After an error nothing written before counts as durable until it is written and flushed again.
    fn flush(&self, slot: SlotId) -> io::Result<()>;
}
