//! What a reader sees: one instant of a collection (`View`), its known fields and points, and the recall of its index.
//! Nothing here changes anything or waits for the writer. Used by `write`, `export`, `database` and every binding.

pub(crate) mod fields;
pub(crate) mod points;
pub mod recall;
pub(crate) mod view;
