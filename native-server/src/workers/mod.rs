//! The threads around the synchronous engine: who writes, who searches, who tidies up, and who has to wait.
//!
//! *Invariants.* Nobody waits without a bound: every queue has a capacity, a full one refuses. A request is
//! answered exactly once, also when a thread panics. The three kinds of work (short searches where they
//! arrive, long searches, writes and upkeep each on threads of their own) cannot take each other's threads.
//!
//! | file | what |
//! |---|---|
//! | `store`, `opening` | the open database, the door for everybody; how it comes to be |
//! | `served` | one collection as requests see it |
//! | `queue`, `committer` | what waits to be written (pure); the threads that write it, a group with one sync |
//! | `cost`, `search` | whether a search is short; the threads for those that are not |
//! | `shares`, `patience` | a queue with fair shares (pure); deadline and cancellation of a search |
//! | `care`, `upkeep` | what a collection needs next (pure); the threads that do it |
//! | `background` | how long work is carried out beside requests |
//! | `jobs` | what an operator asks for |
//! | `line`, `context` | what the threads share of a collection, and of the server |
//! | `budget`, `trimming` | memory that is reserved for queues, requests and merges; freed memory given back |
//! | `readiness`, `stats` | what is wrong, in words; what is going on, in numbers |
//! | `scrub` | the thread that reads and checks files again, little by little |
//! | `damage` | files in which damage was met |
//! | `error` | errors of the engine and refusals of the server |
//!
//! Here are threads and no sockets; an `async fn` awaits a channel, some with a deadline, and nothing else.

mod background;
mod budget;
mod care;
mod committer;
mod context;
mod cost;
mod damage;
mod error;
mod jobs;
mod line;
mod opening;
mod patience;
mod queue;
mod readiness;
mod scrub;
mod search;
mod served;
mod shares;
mod stats;
mod store;
mod trimming;
mod upkeep;

#[cfg(test)]
mod tests;

pub use budget::Reservation;
pub use cost::{Asked, Cost};
pub use error::{StoreError, StoreResult};
pub use jobs::{Job, JobKind};
pub use opening::warn_of_recovery;
pub use readiness::Readiness;
pub use served::{Served, Written};
pub use shares::Owner;
pub use stats::{CollectionStats, StoreStats};
pub use store::Store;

pub use nearfield_engine::batch::Change;

pub use crate::catalog::JobState;
