//! `HealthRegistry`: the readiness of the server and of each collection, with blockers and warnings as text. Written
//! by all workers, each under its `Topic`; read by the route `readyz` (`Readiness`) and by metrics.
//!
//! A thread that meets a problem notes it under its topic, and clears the note when the part works again. A
//! *blocker* makes the server not ready; a *warning* does not.

use std::collections::BTreeMap;
use std::sync::Mutex;

use crate::host::lock;
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
    /// `recovered: …`, or `degraded: … blockers=a | b`; `warnings=` where there are any.
    pub report: String,
}

/// What a note is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Topic {
    /// A collection could not be opened.
    Opening,
    /// Files of the present are damaged; what does not read there is answered.
    Damage,
    /// A collection cannot be written.
    Writing,
    /// The last write found the disk full; nothing is broken, and only the next write tells whether it is so
    /// still.
    Space,
    /// Damage that a compaction repairs, or that hurts earlier moments alone.
    Worn,
    /// Background work fails; reading and writing go on.
    Upkeep,
    /// Changes that were accepted with `wait=false` and could not be written.
    Lost,
    /// The server is closing.
    Closing,
}

impl Topic {
    fn blocks(self) -> bool {
        match self {
            Topic::Opening | Topic::Damage | Topic::Writing | Topic::Closing => true,
            Topic::Space | Topic::Worn | Topic::Upkeep | Topic::Lost => false,
        }
    }
}

/// The notes of a server.
#[derive(Debug, Default)]
pub(super) struct HealthRegistry {
    notes: Mutex<BTreeMap<(Topic, String), String>>,
}

impl HealthRegistry {
    /// Notes a problem with `what` (a collection, or "" for the server), in place of an older one.
    pub(super) fn note(&self, topic: Topic, what: &str, words: String) {
        lock(&self.notes).insert((topic, what.to_owned()), words);
    }

    /// It works again.
    pub(super) fn clear(&self, topic: Topic, what: &str) {
        lock(&self.notes).remove(&(topic, what.to_owned()));
    }

    /// A collection of this name is no more.
    pub(super) fn forget(&self, what: &str) {
        lock(&self.notes).retain(|(_, named), _| named != what);
    }

    /// Whether everything can be served; `figures` say what is.
    pub(super) fn readiness(&self, figures: &str) -> Readiness {
        let notes = lock(&self.notes);
        let words = |blocks: bool| -> Vec<String> {
            let those = notes.iter().filter(|((topic, _), _)| topic.blocks() == blocks);
            those.map(|(_, words)| words.clone()).collect()
        };
        let (blockers, warnings) = (words(true), words(false));
        let mut report = match blockers.as_slice() {
            [] => format!("recovered: {figures}"),
            _ => format!("degraded: {figures} blockers={}", blockers.join(" | ")),
        };
        if !warnings.is_empty() {
            report = format!("{report} warnings={}", warnings.join(" | "));
        }
        Readiness { live: true, ready: blockers.is_empty(), blockers, report }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_blocks_is_named_until_it_works_again() {
        let health = HealthRegistry::default();
        assert_eq!(health.readiness("1 collection").report, "recovered: 1 collection");
        health.note(Topic::Writing, "a", "a: the disk is full".to_owned());
        health.note(Topic::Opening, "b", "b: damaged".to_owned());
        health.note(Topic::Upkeep, "a", "a: no checkpoint".to_owned());
        let readiness = health.readiness("1 collection");
        assert!(!readiness.ready && readiness.live);
        let report = "degraded: 1 collection blockers=b: damaged | a: the disk is full \
                      warnings=a: no checkpoint";
        assert_eq!(readiness.report, report);
        health.clear(Topic::Writing, "a");
        health.forget("b");
        let report = "recovered: 1 collection warnings=a: no checkpoint";
        let readiness = health.readiness("1 collection");
        assert_eq!((readiness.ready, readiness.report.as_str()), (true, report));
    }
}
