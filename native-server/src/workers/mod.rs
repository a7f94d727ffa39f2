//! The threads around the synchronous engine: who writes, who searches, who tidies up, and who has to wait.
//!
//! *Invariants.* Nobody waits without a bound: every queue has a capacity, a full one refuses. A request is
//! answered exactly once, also when a thread panics. The three kinds of work (short searches where they
//! arrive, long searches, writes and upkeep each on threads of their own) cannot take each other's threads.
//!
//! | file | what |
//! |---|---|
//! | `store` | the open database and its threads, the door for everybody |
//! | `served` | one collection: reading, and writing through its queue |
//! | `jobs` | checkpoint, compaction, snapshot, verification: asked for, remembered |
//! | `cost` | whether a search is short |
//! | `budget` | memory that is promised to queues and requests |
//! | `readiness`, `stats` | what is wrong, in words; what is going on, in numbers |
//! | `code` | refusals that are the server's, not the engine's |
//!
//! Here are threads and no sockets; an `async fn` awaits a channel and nothing else.

mod budget;
mod code;
mod cost;
mod jobs;
mod readiness;
mod served;
mod stats;
mod store;

pub use budget::Reservation;
pub use code::Code;
pub use cost::Cost;
pub use jobs::{Job, JobKind, JobState};
pub use readiness::Readiness;
pub use served::{Change, Served, Written};
pub use stats::{CollectionStats, StoreStats};
pub use store::Store;
