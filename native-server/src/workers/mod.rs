//! The threads around the synchronous engine: they write, search, merge and check, and callers wait for them.
//! Entry: `Store`, opened by `nearfield serve` and used by the handlers of `api`.
//!
//! *Invariants.* No caller waits without a bound: every queue has a capacity, a full one refuses. A request is
//! answered exactly once, also when a thread panics. The three kinds of work (short searches on the thread of the
//! request, long searches, writes and upkeep each on threads of their own) cannot take each other's threads.
//!
//! | file | what |
//! |---|---|
//! | `store`, `opening` | the open database, by which requests reach everything else; how it is opened |
//! | `service` | one collection as requests see it |
//! | `managed` | one collection as the threads see it, and what all threads share |
//! | `queue`, `committer` | changes that wait to be written (pure); the threads that write them, one sync a group |
//! | `cost`, `search` | whether a search is short; the threads for long ones, their deadline and cancellation |
//! | `shares` | a queue with fair shares (pure) |
//! | `schedule`, `upkeep` | what a collection needs next (pure); the threads that do it |
//! | `background` | how long work runs beside requests |
//! | `jobs` | work that an operator starts |
//! | `budget`, `trimming` | memory that is reserved for queues, requests and merges; freed memory given back |
//! | `health`, `stats` | what is wrong, in words; what is going on, in numbers |
//! | `scrub` | the thread that reads and checks files again, little by little |
//! | `damage` | files in which damage was met |
//! | `error` | errors of the engine and refusals of the server |
//!
//! Here are threads and no sockets; an `async fn` awaits a channel, some with a deadline, and nothing else.

mod background;
mod budget;
mod committer;
mod cost;
mod damage;
mod error;
mod health;
mod jobs;
mod managed;
mod opening;
mod queue;
mod schedule;
mod scrub;
mod search;
mod service;
mod shares;
mod stats;
mod store;
mod trimming;
mod upkeep;

#[cfg(test)]
mod tests;

pub use budget::Reservation;
pub use cost::Cost;
pub use damage::Met;
pub use error::{StoreError, StoreResult};
pub use health::Readiness;
pub use opening::warn_of_recovery;
pub use service::{CollectionService, Written};
pub use shares::Owner;
pub use stats::{CollectionStats, StoreStats};
pub use store::Store;

pub use nearfield_engine::batch::Change;

pub use crate::catalog::{Job, JobId, JobKind, JobState};
