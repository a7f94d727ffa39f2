//! Whether everything that was acknowledged can be served, and if not, why: words for a person.

use serde::Serialize;

/// What health routes say.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Readiness {
    /// The process works at all.
    pub live: bool,
    /// Every collection reads and writes.
    pub ready: bool,
    /// What stands in the way, one sentence each.
    pub blockers: Vec<String>,
    /// `recovered: …` or `degraded: … blockers=a | b`.
    pub report: String,
}
