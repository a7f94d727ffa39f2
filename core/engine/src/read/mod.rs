//! What a reader sees: one instant of a collection, its fields and points, and how well an index answers for it.
//!
//! Nothing here changes anything or waits for the writer.

pub(crate) mod fields;
pub(crate) mod points;
pub mod recall;
pub(crate) mod view;
