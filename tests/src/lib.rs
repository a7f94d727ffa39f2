//! What tests of several crates share: data, and the rules of the house as functions over the tree.
//!
//! Nothing outside `tests/` imports this crate, and it is never published.

#[cfg(feature = "server")]
pub mod data;
pub mod fixture;
pub mod oracle;
pub mod rule;
pub mod sim;
pub mod tidy;
