//! The files of a collection: where they are (`collection_path`), how long they stay (`history`, `pin`), and what is
//! left behind (`leftovers`, `quarantine`). Used by `write` and `database`; contents of segments are not read here.

mod collection_path;
pub(crate) mod history;
pub(crate) mod leftovers;
pub(crate) mod pin;
pub(crate) mod quarantine;
pub(crate) mod space;
pub(crate) mod transfer;

pub use collection_path::CollectionPath;
