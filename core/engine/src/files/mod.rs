//! The files of a collection: where they are, how long they stay, and what is left behind.
//!
//! Files are immutable. This room knows their names and lifetimes, and never reads what is in segments.

mod collection_path;
pub(crate) mod history;
pub(crate) mod leftovers;
pub(crate) mod pin;
pub(crate) mod quarantine;
pub(crate) mod space;
pub(crate) mod transfer;

pub use collection_path::CollectionPath;
