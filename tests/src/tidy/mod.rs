//! The rules of the house as functions: the tree in, findings out. One rule or family a file.
//!
//! Rules read text; they do not compile it. Where a rule cannot decide, it stays silent: a finding is
//! always worth a change. `tests/tests/tidy.rs` runs each rule over this checkout.

pub mod ambient;
pub mod floors;
pub mod headers;
pub mod hygiene;
pub mod links;
pub mod pages;
pub mod python;
pub mod rust;
pub mod sizes;
pub mod tree;
pub mod unsafety;
pub mod words;

use std::fmt;

pub use tree::{SourceFile, Tree};

/// One place that breaks a rule.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// Path from the root of the checkout.
    pub path: String,
    /// Line, counted from 1; 0 for the whole file.
    pub line: usize,
    /// What is wrong and what would be right.
    pub message: String,
}

impl Finding {
    /// A finding at `line` (from 1; 0 for the whole file) of `path`.
    pub fn new(path: &str, line: usize, message: impl Into<String>) -> Self {
        Finding { path: path.to_owned(), line, message: message.into() }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.path, self.line, self.message)
    }
}

/// A rule: every place in the tree that breaks it.
pub type Rule = fn(&Tree) -> Vec<Finding>;
